from oasjax.evaluation.table import metric_names, score_table

AFTER = {
    "all": {"pckh@0.5": {"head": 50.04, "mean": 40.0}, "people_left_out": {"pckh@0.5": 2}},
    "visible": {"pckh@0.5": {"head": 60.0, "mean": 45.0}},
    "occluded": {"pckh@0.5": {"head": None, "mean": 12.345}},
}


def test_table_has_a_line_per_split_and_result_with_rounded_numbers():
    lines = score_table({"mean pose": AFTER, "after": AFTER}).splitlines()
    assert lines[0].split() == ["pckh@0.5", "head", "mean"]
    assert lines[2].split() == ["all", "mean", "pose", "50.0", "40.0"]
    assert lines[-1].split() == ["occluded", "after", "-", "12.3"]
    assert len(lines) == 2 + 3 * 2
    assert len({len(line) for line in lines}) == 1


def test_missing_split_prints_dashes_and_counts_are_no_metric():
    table = score_table({"after": {"all": AFTER["all"], "occluded": None}})
    assert table.splitlines()[-1].split() == ["occluded", "after", "-", "-"]
    assert metric_names({"after": AFTER}) == ["pckh@0.5"]

from oasjax.evaluation.table import metric_names, score_table

AFTER = {
    "all": {"pckh@0.5": {"head": 50.043, "mean": 40.0}, "people_left_out": {"pckh@0.5": 2}},
    "visible": {"pckh@0.5": {"head": 60.0, "mean": 45.0}},
    "occluded": {"pckh@0.5": {"head": None, "mean": 12.345678}},
}


def test_table_has_a_line_per_split_and_result_with_rounded_numbers():
    lines = score_table({"mean pose": AFTER, "after": AFTER}).splitlines()
    assert lines[0].split() == ["pckh@0.5", "head", "mean"]
    assert lines[2].split() == ["all", "mean", "pose", "50.04", "40.00"]
    assert lines[-1].split() == ["occluded", "after", "-", "12.35"]
    assert len(lines) == 2 + 3 * 2
    assert len({len(line) for line in lines}) == 1


def test_missing_split_prints_dashes_and_counts_are_no_metric():
    table = score_table({"after": {"all": AFTER["all"], "occluded": None}})
    assert table.splitlines()[-1].split() == ["occluded", "-", "-"]
    assert metric_names({"after": AFTER}) == ["pckh@0.5"]


def test_a_single_result_goes_unnamed_and_columns_are_as_wide_as_they_need_to_be():
    assert score_table({"a long name": AFTER}) == "\n".join(
        [
            "pckh@0.5   head   mean",
            "----------------------",
            "all       50.04  40.00",
            "visible   60.00  45.00",
            "occluded      -  12.35",
        ]
    )


def test_average_precision_is_a_fraction_of_three_decimals_beside_percents():
    both = {"all": {"pck@0.2": {"mean": 7.0}, "keypoints": {"AP": 0.52874, "mean_unweighted": None}}}
    percent, fraction = score_table({"x": both}).split("\n\n")
    assert percent.splitlines()[2].split() == ["all", "7.00"]
    assert fraction.splitlines()[0].split() == ["keypoints", "AP", "plain", "mean"]
    assert fraction.splitlines()[2].split() == ["all", "0.529", "-"]

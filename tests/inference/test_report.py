import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from oasjax.datasets.skeletons import MPII
from oasjax.inference.report import loss_curves, person_pictures, write_report


def person(rng):
    return {
        "image": rng.integers(0, 255, (64, 64, 3), dtype=np.uint8),
        "predicted_keypoints": rng.uniform(0, 64, (16, 2)),
        "predicted_occlusion": rng.uniform(0, 1, 16),
        "scores": rng.uniform(0, 1, 16),
        "keypoints": rng.uniform(0, 64, (16, 2)),
        "visibility": rng.integers(0, 3, 16).astype(np.int8),
        "predicted_occlusion_map": rng.uniform(0, 1, (16, 16)),
        "occlusion_map": np.zeros((16, 16)),
        "caption": "a <tall> person",
    }


def scores(value):
    parts = {"head": None, "mean": value, "mean_unweighted": value}
    metrics = {split: {"pckh@0.5": dict(parts)} for split in ("all", "visible", "occluded")}
    metrics["all"]["people_left_out"] = {"pckh@0.5": 4}
    return metrics


def write(tmp_path, **changes):
    rng = np.random.default_rng(0)
    arguments = {
        "title": "A & B",
        "metrics": {
            "before": scores(1.25),
            "after": scores(41.04),
            "mean_pose": scores(22.0),
            "data": {"train": {"people": 10, "hidden": 0.25}},
        },
        "history": [{"step": n, "loss": math.exp(-n), "mimic_loss": 1.0} for n in range(9)],
        "people": [person(rng), person(rng)],
        "skeleton": MPII,
        "config_text": "model: <hourglass>",
        "command": "oasjax train --config quickstart",
    } | changes
    return write_report(tmp_path / "report.html", **arguments).read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Fails on tags that do not close in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Elements of SVG may close themselves."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_has_table_curves_people_config_and_needs_nothing_from_outside(tmp_path):
    page = write(tmp_path)
    for text in ("A &amp; B", "41.0", "22.0", "1.2", "after training", "oasjax train --config"):
        assert text in page
    assert "model: &lt;hourglass&gt;" in page and "a &lt;tall&gt; person" in page
    assert "4 people without a reference length" in page
    assert page.count("data:image/jpeg;base64,") == 2 * 4
    assert page.count("data:image/svg+xml;base64,") == 1
    assert "<script" not in page and "<link" not in page
    assert not re.search(r"\s(src|href)=(?!['\"]?data:)", page)
    checker = Balance()
    checker.feed(page)
    assert not checker.open


def test_the_note_says_that_this_is_a_toy_unless_told_otherwise(tmp_path):
    assert "This is a toy" in write(tmp_path)
    assert "my own words" in write(tmp_path, note="my own words")


def test_a_second_test_set_has_a_table_of_its_own(tmp_path):
    metrics = {"after": scores(41.0), "pasted_joints": {"after": scores(17.5)}, "steps": 3}
    page = write(tmp_path, metrics=metrics | {"data": {"occluded": None}})
    assert page.count("<thead>") == 3 and "Scores: pasted joints" in page and "17.5" in page


def test_fractions_stand_beside_percents_and_a_tile_shows_the_first_metric(tmp_path):
    parts = {"AP": 0.71234, "AP50": None}
    after = {split: {"keypoints": dict(parts)} for split in ("all", "visible", "occluded")}
    after["all"]["occlusion"] = {"auroc": 0.87654, "joints": 321}
    page = write(tmp_path, metrics={"after": after, "mean_pose": scores(22.0)})
    assert "keypoints AP" in page and page.count("0.712") == 3 + 3
    assert "0.877" in page and "<td>321</td>" in page and "22.0" in page
    # Visible and occluded joints are what calibration tells apart: it has one group of lines.
    table = page[page.index("<th>occlusion</th>") :]
    assert table[: table.index("</table>")].count("scope=rowgroup") == 1


def test_a_report_without_history_people_or_scores_is_still_a_page(tmp_path):
    page = write(tmp_path, history=[], people=[], metrics={})
    assert "A &amp; B" in page and "data:image" not in page and "<table" not in page


def test_each_scalar_has_a_panel_the_total_first_and_a_wide_range_is_logarithmic():
    history = [{"step": n, "mimic_loss": 2.0, "loss": 10.0**-n} for n in range(5)]
    figure = loss_curves(history)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["loss", "mimic loss"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert loss_curves([]) is None and loss_curves([{"step": 1}]) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_leave_a_gap(bad):
    history = [{"step": 0, "loss": 1.0}, {"step": 1, "loss": bad}, {"step": 2, "loss": 3.0}]
    raw, smooth = loss_curves(history).axes[0].lines
    np.testing.assert_array_equal(raw.get_xdata(), [0, 2])
    np.testing.assert_array_equal(smooth.get_ydata(), [1.0, 3.0])
    assert not loss_curves([{"step": 0, "loss": bad}]).axes[0].lines


@pytest.mark.parametrize(
    ("absent", "hidden_is_known"),
    [(("predicted_occlusion_map",), True), (("predicted_occlusion", "predicted_occlusion_map"), False)],
)
def test_without_predicted_maps_there_is_no_heat(tmp_path, absent, hidden_is_known):
    """From a classifier, which knows who is hidden, and from a network without an occlusion head."""
    full = person(np.random.default_rng(0))
    example = full | dict.fromkeys((*absent, "occlusion_map"))
    pictures, expected = person_pictures(example, MPII), person_pictures(full, MPII)
    assert list(pictures) == ["predicted", "truth"] and len(expected) == 4
    np.testing.assert_array_equal(pictures["truth"], expected["truth"])
    assert (pictures["predicted"] == expected["predicted"]).all() == hidden_is_known
    page = write(tmp_path, people=[example])
    assert page.count("data:image/jpeg;base64,") == 2 and "hidden joint" in page
    assert "occlusion map near 1" not in page
    assert "occlusion map near 1" in write(tmp_path)


def test_unlabelled_joints_are_not_in_the_picture_of_the_truth():
    example = person(np.random.default_rng(0)) | {"visibility": np.zeros(16, np.int8)}
    pictures = person_pictures(example, MPII)
    example["keypoints"] = np.full((16, 2), np.nan)
    np.testing.assert_array_equal(pictures["truth"], person_pictures(example, MPII)["truth"])
    assert (pictures["predicted"] != pictures["truth"]).any()

import json

import pytest

from oasjax.errors import UserError
from oasjax.inference.boxes import PersonBox, read_boxes

IMAGES = ["photos/a.jpg", "photos/COCO_val2014_000000000139.jpg", "b.png"]


def read(tmp_path, content, images=IMAGES):
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_boxes(path, images)


def test_boxes_by_name_come_in_the_order_of_the_pictures(tmp_path):
    content = {"b.png": [[1, 2, 3, 4.5], [5, 6, 7, 8]], "photos/a.jpg": []}
    assert read(tmp_path, content) == [
        [],
        [],
        [PersonBox((1.0, 2.0, 3.0, 4.5)), PersonBox((5.0, 6.0, 7.0, 8.0))],
    ]


def test_coco_detections_match_by_name_or_number_and_other_categories_are_left_out(tmp_path):
    content = [
        {"image_id": 139, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5},
        {"image_id": 139, "category_id": 18, "bbox": [0, 0, 9, 9], "score": 0.9},
        {"file_name": "a.jpg", "bbox": [-3, 0, 10, 10]},
    ]
    first, second, third = read(tmp_path, content)
    assert first == [PersonBox((-3.0, 0.0, 10.0, 10.0), 1.0)]
    assert second == [PersonBox((0.0, 0.0, 10.0, 10.0), 0.5)]
    assert third == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("3", "must hold an object"),
        ({"a.jpg": 5}, "'a.jpg'.*expected a list"),
        ({"a.jpg": [1, 2, 3, 4]}, "'a.jpg', box 0.*four finite numbers"),
        ({"a.jpg": [[0, 0, 5, 5], [1, 2, 3]]}, "'a.jpg', box 1"),
        ({"a.jpg": [[1, 2, "3", 4]]}, "box 0"),
        ({"a.jpg": [[1, 2, True, 4]]}, "box 0"),
        ('{"a.jpg": [[1, 2, NaN, 4]]}', "box 0.*finite"),
        ('{"a.jpg": [[1, Infinity, 3, 4]]}', "box 0.*finite"),
        ({"a.jpg": [[1, 2, -3, 4]]}, "box 0.*positive"),
        ({"a.jpg": [[1, 2, 3, 0]]}, "box 0.*positive"),
        ({"c.jpg": []}, "'c.jpg' is not among"),
        ([5], "record 0"),
        ([{"file_name": "a.jpg"}], "record 0.*'bbox'"),
        ([{"bbox": [1, 2, 3, 4]}], "record 0.*file_name"),
        ([{"image_id": 140, "bbox": [1, 2, 3, 4]}], "record 0.*140 is not among"),
        ([{"image_id": 139, "bbox": [1, 2, 3, 4], "score": "high"}], "record 0.*score"),
        ([{"image_id": 139, "bbox": [1, 2, -3, 4]}], "record 0.*positive"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_file_and_record(tmp_path, content, message):
    with pytest.raises(UserError, match=f"boxes.json.*{message}") as raised:
        read(tmp_path, content)
    assert "\n" not in str(raised.value)


def test_a_missing_or_unreadable_file_is_named(tmp_path):
    with pytest.raises(UserError, match="not found: .*none.json"):
        read_boxes(tmp_path / "none.json", IMAGES)
    with pytest.raises(UserError, match="cannot read"):
        read_boxes(tmp_path, IMAGES)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="not valid JSON"):
        read_boxes(tmp_path / "binary.json", IMAGES)


def test_a_name_that_fits_two_pictures_asks_for_the_path(tmp_path):
    images = ["x/a.jpg", "y/a.jpg"]
    with pytest.raises(UserError, match="fits several"):
        read(tmp_path, {"a.jpg": []}, images)
    assert read(tmp_path, {"y/a.jpg": [[0, 0, 1, 1]]}, images)[1] == [PersonBox((0.0, 0.0, 1.0, 1.0))]

import copy
import gc
import json

import numpy as np
import pycocotools.mask
import pytest

from oasjax.datasets.coco_format import (
    compressed_counts,
    images_of,
    person_category_number,
    read_detected_boxes,
    read_document,
    read_keypoint_file,
)
from oasjax.errors import UserError

DOCUMENT = {
    "images": [
        {"id": 5, "file_name": "five.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "three.jpg", "width": 20, "height": 10},
    ],
    "categories": [{"id": 4, "name": "car"}, {"id": 1, "name": "person", "keypoints": ["head", "foot"]}],
    "annotations": [
        {"id": 30, "image_id": 3, "category_id": 1, "keypoints": [1, 2, 2, 3.5, 4, 1],
         "bbox": [0, 1, 8, 9], "area": 50.5, "iscrowd": 0},
        {"id": 31, "image_id": 3, "category_id": 4, "bbox": "a car's"},
        {"id": 50, "image_id": 5, "category_id": 1, "keypoints": [-9, 99, 1, 0, 0, 0],
         "bbox": [2, 2, 5, 5], "area": 25},
        {"id": 51, "image_id": 5, "category_id": 1, "keypoints": [0, 0, 0, 0, 0, 0],
         "bbox": [2, 2, 6, 6], "area": 0, "iscrowd": 0},
        {"id": 52, "image_id": 5, "category_id": 1, "keypoints": [7, 7, 2, 0, 0, 0],
         "bbox": [0, 0, 20, 20], "area": 400, "iscrowd": 1},
    ],
}  # fmt: skip


def write(tmp_path, change=lambda document: None):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    path = tmp_path / "people.json"
    path.write_text(json.dumps(document))
    return path


def test_people_come_picture_by_picture_with_what_the_annotators_wrote(tmp_path):
    file = read_keypoint_file(write(tmp_path), 2)
    assert [image.file_name for image in file.images] == ["five.jpg", "three.jpg"]
    assert (file.images[0].number, file.images[0].width, file.images[0].height) == (5, 40, 30)
    assert file.person_numbers.tolist() == [50, 51, 52, 30]
    assert file.image_index.tolist() == [0, 0, 0, 1]
    assert file.keypoints[[0, 3]].tolist() == [[[-9, 99], [0, 0]], [[1, 2], [3.5, 4]]]
    assert file.visibility.tolist() == [[1, 0], [0, 0], [2, 0], [2, 1]]
    assert file.bbox_xywh[3].tolist() == [0, 1, 8, 9]
    assert file.area.tolist() == [25, 0, 400, 50.5]
    assert file.is_crowd.tolist() == [False, False, True, False]
    assert file.to_ignore.tolist() == [False, True, True, False]
    assert [entry["id"] for entry in file.entries] == [50, 51, 52, 30]
    assert file.category["name"] == "person"


def test_a_file_without_people_is_read(tmp_path):
    file = read_keypoint_file(write(tmp_path, lambda document: document["annotations"].clear()), 2)
    assert file.keypoints.shape == (0, 2, 2) and file.to_ignore.shape == (0,)


def test_what_may_be_missing_is_filled_in_or_nan(tmp_path):
    def remove(document):
        for key in ("bbox", "area"):
            document["annotations"][0][key] = None
            del document["annotations"][3][key]

    path = write(tmp_path, remove)
    file = read_keypoint_file(path, 2, needs_area=False, needs_box=False)
    # The joints (1, 2) and (3.5, 4), a tenth more on each side.
    np.testing.assert_allclose(file.bbox_xywh[3], [0.75, 1.8, 3, 2.4])
    assert np.isnan(file.bbox_xywh[1]).all() and np.isnan(file.area[[1, 3]]).all()
    with pytest.raises(UserError, match="annotation 51 lacks `area`"):
        read_keypoint_file(path, 2, needs_box=False)
    with pytest.raises(UserError, match=r"annotation 51 lacks `bbox`, 4 numbers"):
        read_keypoint_file(path, 2, needs_area=False)


def set_person(**fields):
    return lambda document: document["annotations"][0].update(fields)


def drop(key, position, field):
    return lambda document: document[key][position].pop(field)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "no list `images`"),
        (lambda d: d.pop("categories"), "no list `categories`"),
        (lambda d: d.update(annotations={}), "no list `annotations`"),
        (lambda d: d["annotations"].append(7), "JSON number at position 5 of `annotations`"),
        (drop("images", 1, "id"), "the image at position 1 lacks `id`"),
        (drop("images", 1, "file_name"), "image 3 lacks `file_name`"),
        (drop("images", 0, "height"), "image 5 lacks `height`"),
        (lambda d: d["images"][0].update(width=0), "image 5 has 0 as `width`"),
        (lambda d: d["images"][0].update(id=3), "2 images have the id 3"),
        (lambda d: d["images"][0].update(file_name=""), 'image 5 has "" as `file_name`'),
        (drop("annotations", 0, "id"), "the annotation at position 0 lacks `id`"),
        (set_person(id="30"), 'the annotation at position 0 has "30" as `id`, expected an integer'),
        (set_person(id=50), "2 annotations have the id 50"),
        (set_person(image_id=99), "annotation 30 belongs to image 99, which `images` does not hold"),
        (drop("annotations", 0, "image_id"), "annotation 30 lacks `image_id`"),
        (drop("annotations", 0, "category_id"), "annotation 30 lacks `category_id`"),
        (drop("annotations", 0, "keypoints"), "annotation 30 lacks `keypoints`, 6 numbers"),
        (set_person(keypoints=[1, 2, 2]), r"annotation 30 has \[1, 2, 2\] as `keypoints`, expected 6"),
        (set_person(keypoints=[0] * 51), "annotation 30 has 51 entries as `keypoints`, expected 6"),
        (set_person(keypoints=[1, "x", 2, 0, 0, 0]), "annotation 30 has .* as `keypoints`"),
        (set_person(keypoints=[1, 2, 3, 0, 0, 0]), "annotation 30 has v = 3 at joint 0"),
        (set_person(keypoints=[1, 2, 0.9, 0, 0, 0]), "annotation 30 has v = 0.9 at joint 0"),
        (set_person(keypoints=[1, 2, None, 0, 0, 0]), "annotation 30 has v = nan at joint 0"),
        (set_person(keypoints=[0, 0, 0, np.nan, 2, 1]), r"joint 1 .* of annotation 30 \(three\.jpg\) is"),
        (set_person(keypoints=[0, 0, 0, 5, np.inf, 1]), r"joint 1 .* of annotation 30 \(three\.jpg\) is"),
        (set_person(bbox=[1, 2, 3]), r"annotation 30 has \[1, 2, 3\] as `bbox`"),
        (set_person(area="large"), 'annotation 30 has "large" as `area`'),
        (set_person(iscrowd=2), "annotation 30 has 2 as `iscrowd`, expected 0 or 1"),
        (lambda d: d["categories"][1].pop("keypoints"), "has 0 categories with a list `keypoints`"),
        (lambda d: d["categories"][0].update(keypoints=["wheel"]), "has 2 categories with"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_entry(tmp_path, change, message):
    path = write(tmp_path, change)
    with pytest.raises(UserError, match=message) as raised:
        read_keypoint_file(path, 2)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_another_number_of_joints_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"people\.json: people have 2 joints \(head, foot, ...\), expected 17"
    ):
        read_keypoint_file(write(tmp_path), 17)
    assert read_keypoint_file(write(tmp_path)).keypoints.shape == (4, 2, 2)


def test_an_unlabelled_joint_may_lie_anywhere(tmp_path):
    file = read_keypoint_file(write(tmp_path, set_person(keypoints=[np.nan, 1e9, 0, 1, 1, 1])), 2)
    assert file.visibility[3].tolist() == [0, 1]


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "[" * 100_000, "<html>", "\xff\xfe"])
def test_a_broken_file_is_no_json(tmp_path, text):
    path = tmp_path / "people.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"people\.json is no whole JSON file") as raised:
        read_keypoint_file(path)
    assert len(str(raised.value)) < 400
    assert gc.isenabled()


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "people.json"
    with pytest.raises(UserError, match=r"Annotations not found: .*people\.json"):
        read_document(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match="holds a JSON list, not an object"):
        read_document(path)


def test_a_list_of_pictures_needs_no_annotations(tmp_path):
    document = {"images": DOCUMENT["images"]}
    assert [image.number for image in images_of(tmp_path, document)] == [5, 3]
    assert person_category_number(document) == 1
    assert person_category_number({"categories": [{"id": 7, "name": "person"}]}) == 7
    assert person_category_number({"categories": [{"id": 8, "name": "doll", "keypoints": ["a"]}]}) == 8


def polygon_mask(polygon, height, width):
    """Pixels whose centres lie in a convex polygon given clockwise."""
    points = np.array(polygon).reshape(-1, 2)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    inside = np.ones((height, width), bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, 0), strict=True):
        inside &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
    return inside


def decode(counts, height, width):
    return pycocotools.mask.decode({"size": [height, width], "counts": counts}).astype(bool)


# pycocotools decodes by means that numpy has deprecated.
decodes = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@decodes
def test_polygons_become_one_mask():
    left, right = [2, 3, 12, 3, 12, 9, 2, 9], [20, 1, 25, 1, 25, 11, 20, 11]
    mask = decode(compressed_counts([left, right], 20, 30), 20, 30)
    np.testing.assert_array_equal(mask, polygon_mask(left, 20, 30) | polygon_mask(right, 20, 30))
    assert mask.sum() == 10 * 6 + 5 * 10


@decodes
def test_run_lengths_count_down_the_columns():
    counts = compressed_counts({"size": [4, 3], "counts": [5, 2, 5]}, 4, 3)
    assert np.argwhere(decode(counts, 4, 3)).tolist() == [[1, 1], [2, 1]]
    again = compressed_counts({"size": [4, 3], "counts": counts.decode()}, 4, 3)
    assert again == counts


@decodes
def test_compressed_codes_are_kept_and_only_those_that_fill_the_picture():
    rng = np.random.default_rng(0)
    for density in (0.0, 0.02, 0.5, 1.0):
        mask = (rng.random((60, 80)) < density).astype(np.uint8, order="F")
        mask[:, 20:60] = 0  # runs of more than one character
        code = pycocotools.mask.encode(np.asfortranarray(mask))
        text = code["counts"].decode()
        assert compressed_counts({"size": [60, 80], "counts": text}, 60, 80) == code["counts"]
        assert compressed_counts({"size": [60, 79], "counts": text}, 60, 79) is None
        assert compressed_counts({"size": [61, 80], "counts": text}, 61, 80) is None
        assert compressed_counts({"size": [60, 80], "counts": text[:-1]}, 60, 80) is None


@pytest.mark.parametrize("nothing", [None, []])
def test_no_segmentation_is_an_empty_code(nothing):
    assert compressed_counts(nothing, 10, 10) == b""


@pytest.mark.parametrize(
    "segmentation",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[]],
        [7, 8],
        [["a"] * 6],
        [[[1, 2], [3, 4], [5, 6], [1, 1], [2, 2], [3, 3]]],
        [[1, 1, 5, 1, 5, 5], [1, np.nan, 5, 1, 5, 5]],
        [[1, 1, 1000, 1, 5, 5]],
        {"counts": [5, 2, 5], "size": [3, 4]},
        {"counts": [5, 2, 4], "size": [10, 10]},
        {"counts": [-5, 100, 5], "size": [10, 10]},
        {"counts": [5.5, 94.5], "size": [10, 10]},
        {"counts": "no such code", "size": [10, 10]},
        {"counts": "oooooo0", "size": [10, 10]},
        {"counts": [5, 2, 5]},
        {"size": [10, 10]},
        "polygon",
    ],
)  # fmt: skip
def test_a_segmentation_that_means_nothing_is_none(segmentation):
    assert compressed_counts(segmentation, 10, 10) is None


def test_a_picture_that_no_reader_accepts_has_no_mask():
    size = 20_000
    assert compressed_counts({"size": [size, size], "counts": [size * size]}, size, size) is None


BOXES = [
    {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5},
    {"image_id": 6, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1},
]


def test_a_detectors_file_is_read(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(BOXES))
    boxes = read_detected_boxes(path)
    assert boxes.image_numbers.tolist() == [5, 6] and boxes.category_numbers.tolist() == [1, 3]
    assert boxes.bbox_xywh[0].tolist() == [1, 2, 3.5, 4] and boxes.scores.tolist() == [0.5, 1]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"boxes": BOXES}, "holds a JSON object, expected a list of boxes"),
        ([*BOXES, 7], "JSON number at position 2"),
        ([{**BOXES[0], "bbox": [1, 2]}], r"the box at position 0 has \[1, 2\] as `bbox`"),
        ([BOXES[0], {**BOXES[1], "score": np.nan}], "the box at position 1 has the score nan"),
        ([BOXES[0], {"image_id": 5}], "the box at position 1 lacks `score`"),
        ([{**BOXES[0], "image_id": "5"}], 'the box at position 0 has "5" as `image_id`'),
    ],
)
def test_a_faulty_box_is_named(tmp_path, contents, message):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(contents))
    with pytest.raises(UserError, match=message) as raised:
        read_detected_boxes(path)
    assert str(path) in str(raised.value)

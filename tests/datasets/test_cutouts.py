"""Cut-outs along masks: which are taken, how they are scaled, where they come from."""

import json
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask
import pytest

from oasjax.datasets import cutouts
from oasjax.datasets.coco_person import annotations as coco_person
from oasjax.datasets.cutouts import cut_out, is_large, read_cutouts
from oasjax.datasets.skeletons import COCO, MPII
from oasjax.errors import UserError
from oasjax.input_pipeline.arrays_source import ArraysSource
from oasjax.input_pipeline.files_source import FilesSource

HEIGHT, WIDTH = 60, 80


def picture(colour: int) -> np.ndarray:
    """The left half of this grey, the right half white."""
    image = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
    image[:, WIDTH // 2 :] = 255
    return image


def left_box(height: int = 40, width: int = 20) -> np.ndarray:
    """A mask whose right side is the edge between grey and white."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10 : 10 + height, WIDTH // 2 - width : WIDTH // 2] = True
    return mask


def code(mask: np.ndarray) -> dict:
    encoded = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def write_picture(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])


def instances(num: int, mask: np.ndarray | None = None, **fields) -> dict:
    """A file of pictures 0.png, 1.png, ... with one object each; its grey is 10 times its number."""
    mask = left_box() if mask is None else mask
    images = [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in range(num)]
    annotations = [
        {"id": 9 + n, "image_id": n, "category_id": 7, "segmentation": code(mask), **fields}
        for n in range(num)
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "kite"}]}


def write_instances(path: Path, document: dict, pictures: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    for image in document["images"]:
        write_picture(pictures / image["file_name"], picture(10 * image["id"]))
    return path


def arrays(**changes) -> ArraysSource:
    num = 6
    columns = {
        "image": np.stack([picture(10 * n) for n in range(num)]),
        "keypoints": np.zeros((num, 16, 2), np.float32),
        "visibility": np.zeros((num, 16), np.int8),
        "occlusion_known": np.zeros((num, 16), bool),
        "bbox_xywh": np.tile(np.float32([0, 0, 8, 8]), (num, 1)),
        "head_size": np.ones(num, np.float32),
        "area": np.ones(num, np.float32),
    }
    return ArraysSource(columns | changes, MPII)


def greys(bank: np.ndarray) -> list[int]:
    """The colour of each cut-out, which must be one."""
    colours = [np.unique(cutout[cutout[..., 3] == 255][:, :3]) for cutout in bank]
    assert all(len(colour) == 1 for colour in colours)
    return [int(colour[0]) for colour in colours]


@pytest.mark.parametrize("size", [20, 64], ids=["shrunk", "enlarged"])
def test_a_cutout_keeps_its_aspect_and_lies_in_the_middle(size):
    cutout = cut_out(picture(90), left_box(), size)
    assert cutout.shape == (size, size, 4)
    expected = np.zeros((size, size), np.uint8)
    expected[:, size // 4 : 3 * size // 4] = 255
    np.testing.assert_array_equal(cutout[..., 3], expected)
    assert greys(cutout[None]) == [90]


@pytest.mark.parametrize("size", [17, 70], ids=["shrunk", "enlarged"])
def test_at_slanted_edges_nothing_behind_shines_through(size):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:50, 10:50] = np.tri(40)
    cutout = cut_out(np.where(mask[..., None], np.uint8(90), np.uint8(255)).repeat(3, -1), mask, size)
    assert greys(cutout[None]) == [90]
    assert abs((cutout[..., 3] == 255).mean() - 0.5) < 0.05


def test_holes_stay_open():
    mask = left_box(40, 40)
    mask[20:40, 10:30] = False
    alpha = cut_out(picture(0), mask, 40)[..., 3]
    np.testing.assert_array_equal(alpha[10:30, 10:30], 0)
    assert (alpha == 255).sum() == 40 * 40 - 20 * 20


@pytest.mark.parametrize(
    ("height", "width", "large"), [(16, 16, True), (40, 15, False), (15, 40, False), (0, 0, False)]
)
def test_masks_must_be_wide_and_high(height, width, large):
    assert is_large(left_box(height, width)) is large


def test_masks_must_fill_a_part_of_the_picture():
    mask = np.zeros((200, 300), bool)
    mask[:20, :59] = True
    assert not is_large(mask)
    mask[:20, :60] = True
    assert is_large(mask)


def test_masks_of_arrays_are_taken_and_the_seed_decides_which():
    source = arrays(mask=np.stack([left_box()] * 6))
    bank = read_cutouts(source, 3, 24, 0)
    assert bank.shape == (3, 24, 24, 4)
    assert len(set(greys(bank)) & {0, 10, 20, 30, 40, 50}) == 3
    np.testing.assert_array_equal(bank, read_cutouts(source, 3, 24, 0))
    assert len({tuple(greys(read_cutouts(source, 3, 24, seed))) for seed in range(5)}) > 1
    assert sorted(greys(read_cutouts(source, 99, 24, 0))) == [0, 10, 20, 30, 40, 50]


def test_small_masks_are_left_out():
    masks = np.stack([left_box()] * 2 + [left_box(40, 10)] * 3 + [np.zeros_like(left_box())])
    assert sorted(greys(read_cutouts(arrays(mask=masks), 99, 24, 0))) == [0, 10]


def test_run_length_codes_of_files_are_decoded_over_their_picture(tmp_path):
    people = []
    for n in range(4):
        write_picture(tmp_path / f"{n}.png", picture(10 * n))
        counts = code(left_box())["counts"].encode()
        path = tmp_path / f"{n}.png"
        people.append({"image_id": path.name, "image_path": path, "segmentation": counts})
    people[2]["segmentation"] = b""
    people[3]["segmentation"] = code(np.ones((9, 9), bool))["counts"].encode()  # of another picture
    del people[0]["segmentation"]  # as in a mixture with data that have no masks
    assert greys(read_cutouts(FilesSource(people, MPII), 9, 24, 0)) == [10]


def test_people_without_masks_end_in_one_sentence():
    with pytest.raises(UserError, match="No mask in the training data.*augment.patches.cutouts.*COCO"):
        read_cutouts(arrays(), 3, 24, 0)


def test_the_search_ends_where_masks_are_rare(monkeypatch):
    monkeypatch.setattr(cutouts, "_TRIES", 2)
    seen = []
    source = arrays(mask=np.zeros((6, HEIGHT, WIDTH), bool))
    monkeypatch.setattr(ArraysSource, "__getitem__", lambda self, n: seen.append(n) or {"image_id": ""})
    with pytest.raises(UserError, match="No mask"):
        read_cutouts(source, 2, 24, 0)
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        ("instances.json", "."),
        ("instances.json", "images"),
        ("annotations/instances_val2017.json", "val2017"),
        ("instances_val2017.json", "val2017"),
        ("annotations/instances.json", "images"),
    ],
)
def test_pictures_of_a_file_are_found_where_they_usually_lie(tmp_path, file, pictures):
    path = write_instances(tmp_path / file, instances(3), tmp_path / pictures)
    assert sorted(greys(read_cutouts(str(path), 9, 24, 0))) == [0, 10, 20]
    np.testing.assert_array_equal(read_cutouts(path, 2, 24, 5), read_cutouts(str(path), 2, 24, 5))


def test_of_a_file_what_cannot_be_cut_is_passed_over(tmp_path):
    document = instances(7)
    entries = document["annotations"]
    entries[1]["iscrowd"] = 1
    entries[2]["segmentation"] = [[1, 2, 3, 4]]
    entries[3]["image_id"] = 77
    del entries[4]["segmentation"]
    document["images"][5].update(width=HEIGHT, height=WIDTH)
    entries[5]["segmentation"] = code(left_box().T)
    path = write_instances(tmp_path / "instances.json", document, tmp_path)
    (tmp_path / "6.png").unlink()
    assert greys(read_cutouts(path, 9, 24, 0)) == [0]


def test_polygons_are_masks(tmp_path):
    corners = [20, 10, 40, 10, 40, 50, 20, 50]
    path = write_instances(tmp_path / "a.json", instances(1, segmentation=[corners]), tmp_path)
    alpha = read_cutouts(path, 1, 40, 0)[0, ..., 3]
    assert abs((alpha == 255).sum() - 20 * 40) <= 40


def test_a_file_without_large_masks_or_pictures_or_annotations_is_named(tmp_path):
    path = write_instances(tmp_path / "small" / "a.json", instances(2, left_box(9, 9)), tmp_path / "small")
    with pytest.raises(UserError, match="No mask in .*small/a.json fills 2%.*16 pixels"):
        read_cutouts(path, 2, 24, 0)
    path = tmp_path / "b" / "instances_train2017.json"
    path.parent.mkdir()
    path.write_text(json.dumps(instances(2)))
    with pytest.raises(UserError, match="None of the 2 pictures of .*b/instances_train2017.json.*train2017"):
        read_cutouts(path, 2, 24, 0)
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(UserError, match="instances_train2017.json has no list `annotations`"):
        read_cutouts(path, 2, 24, 0)
    with pytest.raises(UserError, match=r"not found: .*missing.json"):
        read_cutouts(tmp_path / "missing.json", 2, 24, 0)


@pytest.mark.realdata
def test_real_photographs_give_people_and_objects(data_dir):
    folder = coco_person.find_folder(data_dir)
    people = FilesSource(coco_person.read_people(folder, "train"), COCO)
    objects = folder / "annotations" / "instances_train2017.json"
    for source in (people, objects):
        bank = read_cutouts(source, 16, 48, 0)
        assert 1 <= len(bank) <= 16 and bank.shape[1:] == (48, 48, 4)
        drawn = bank[..., 3] == 255
        # The longer side of a mask fills the square, tips aside, and a mask is no empty frame.
        assert np.median(np.maximum(drawn.any(1).sum(1), drawn.any(2).sum(1))) >= 44
        assert drawn.mean((1, 2)).min() > 0.02
        assert set(np.unique(bank[..., 3])) <= {0, 255}

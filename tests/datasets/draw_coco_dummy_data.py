"""Draws the dummy data of the data sets in COCO's form: stick figures, a few kilobytes.

python tests/datasets/draw_coco_dummy_data.py oasjax/datasets
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask

from oasjax.datasets.skeletons import COCO, CROWDPOSE, Skeleton

WIDTH, HEIGHT = 64, 56
# Where joints lie in the figure's box, from (0, 0) to (1, 1).
PLACES = {
    "nose": (0.5, 0.1), "left_eye": (0.55, 0.05), "right_eye": (0.45, 0.05), "left_ear": (0.6, 0.08),
    "right_ear": (0.4, 0.08), "head_top": (0.5, 0.0), "neck": (0.5, 0.2),
    "left_shoulder": (0.75, 0.25), "right_shoulder": (0.25, 0.25), "left_elbow": (0.9, 0.4),
    "right_elbow": (0.1, 0.4), "left_wrist": (1.0, 0.55), "right_wrist": (0.0, 0.55),
    "left_hip": (0.65, 0.55), "right_hip": (0.35, 0.55), "left_knee": (0.65, 0.8), "right_knee": (0.35, 0.8),
    "left_ankle": (0.7, 1.0), "right_ankle": (0.3, 1.0),
}  # fmt: skip
OWN = Skeleton(
    name="doll",
    joints=("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle"),
    flip_pairs=((1, 2), (3, 4)),
    limbs=((1, 0), (0, 2), (1, 3), (2, 4), (3, 4)),
    parts={},
    torso=None,
    sigmas=None,
)


def person(skeleton: Skeleton, number: int, image: int, box, flags=None) -> dict:
    """An annotation; `flags` are the joints' v, by default 2, 1, 0 in turn."""
    left, top, width, height = box
    if flags is None:
        flags = [(2, 1, 0)[(joint + number) % 3] for joint in range(skeleton.num_joints)]
    keypoints: list[int] = []
    for name, flag in zip(skeleton.joints, flags, strict=True):
        x, y = PLACES[name]
        keypoints += [round(left + x * width), round(top + y * height), flag] if flag else [0, 0, 0]
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": sum(flag > 0 for flag in flags),
        "bbox": list(box),
        "iscrowd": 0,
    }


def with_polygon(annotation: dict) -> dict:
    left, top, width, height = annotation["bbox"]
    corners = [left, top + height, left + width / 2, top, left + width, top + height]
    return {**annotation, "segmentation": [corners], "area": width * height / 2}


def with_compressed_mask(annotation: dict) -> dict:
    left, top, width, height = annotation["bbox"]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    counts = pycocotools.mask.encode(mask)["counts"].decode()
    return {
        **annotation,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts},
        "area": width * height,
    }


def crowd(number: int, image: int, num_joints: int) -> dict:
    """The left half of a picture, as an uncompressed run-length code."""
    half = HEIGHT * WIDTH // 2
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "keypoints": [0] * (3 * num_joints),
        "num_keypoints": 0,
        "bbox": [0, 0, WIDTH // 2, HEIGHT],
        "iscrowd": 1,
        "area": half,
        "segmentation": {"size": [HEIGHT, WIDTH], "counts": [0, half, half]},
    }


def document(skeleton: Skeleton, names: list[str], annotations: list[dict], **fields) -> dict:
    """A file of COCO's form; its pictures are numbered from 1."""
    return {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, **fields}
            for number, name in enumerate(names, 1)
        ],
        "categories": [
            {
                "id": 1,
                "name": "person" if skeleton is not OWN else OWN.name,
                "keypoints": list(skeleton.joints),
                "skeleton": [[a + 1, b + 1] for a, b in skeleton.limbs],
            }
        ],
        "annotations": annotations,
    }


def write(path: Path, contents: dict, images_dir: Path, skeleton: Skeleton) -> None:
    """The annotation file, and its pictures: limbs on a background of a colour of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents) + "\n")
    for image in contents["images"]:
        shade = 60 + 37 * image["id"] % 100
        picture = np.full((HEIGHT, WIDTH, 3), (shade, 160 - shade, 120), np.uint8)
        for annotation in contents["annotations"]:
            if annotation["image_id"] != image["id"]:
                continue
            joints = np.array(annotation["keypoints"]).reshape(-1, 3)
            for a, b in skeleton.limbs:
                if joints[a, 2] and joints[b, 2]:
                    cv2.line(picture, joints[a, :2].tolist(), joints[b, :2].tolist(), (240, 240, 240), 2)
        target = images_dir / image["file_name"]
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), picture, [cv2.IMWRITE_JPEG_QUALITY, 70] if target.suffix == ".jpg" else [])


def draw_all(root: Path) -> None:
    """The four folders `root`/NAME/dummy_data."""
    folder = root / "coco_person" / "dummy_data"
    train = [
        with_polygon(person(COCO, 11, 1, (4, 6, 20, 44))),
        with_polygon(person(COCO, 12, 2, (30, 4, 24, 48))),
        with_polygon(person(COCO, 13, 1, (36, 8, 20, 40), [1] * 17)),
        crowd(900100000002, 2, 17),
        with_polygon(person(COCO, 14, 3, (20, 20, 6, 10), [0] * 17)),
    ]
    names = ["000000000009.jpg", "000000000025.jpg", "000000000030.jpg"]
    path = folder / "annotations" / "person_keypoints_train2017.json"
    write(path, document(COCO, names, train), folder / "train2017", COCO)
    validation = [
        with_polygon(person(COCO, 21, 1, (10, 5, 30, 45))),
        with_polygon(person(COCO, 22, 1, (44, 5, 10, 20), [0] * 17)),
    ]
    path = folder / "annotations" / "person_keypoints_val2017.json"
    names = ["000000000139.jpg", "000000000285.jpg"]
    write(path, document(COCO, names, validation), folder / "val2017", COCO)
    test = document(COCO, ["000000000001.jpg"], [])
    test = {"images": test["images"], "categories": [{"id": 1, "name": "person"}]}
    path = folder / "annotations" / "image_info_test-dev2017.json"
    write(path, {**test, "annotations": []}, folder / "test2017", COCO)

    folder = root / "crowdpose" / "dummy_data"
    for number, split in enumerate(("train", "val", "test")):
        people = [
            person(CROWDPOSE, 10 * number + 1, 1, (4, 6, 20, 44)),
            person(CROWDPOSE, 10 * number + 2, 1, (20, 8, 24, 40)),
        ]
        contents = document(CROWDPOSE, [f"{100000 + number}.jpg"], people, crowdIndex=0.5)
        path = folder / "annotations" / f"crowdpose_{split}.json"
        write(path, contents, folder / "images", CROWDPOSE)

    folder = root / "ochuman" / "dummy_data"
    for number, split in enumerate(("val", "test")):
        people = [
            with_compressed_mask(person(COCO, 10 * number + 1, 1, (4, 6, 28, 44))),
            with_compressed_mask(person(COCO, 10 * number + 2, 1, (20, 8, 30, 40))),
        ]
        path = folder / f"ochuman_coco_format_{split}_range_0.00_1.00.json"
        write(path, document(COCO, [f"{817 + number:06d}.jpg"], people), folder / "images", COCO)

    folder = root / "keypoints_json" / "dummy_data"
    bare = person(OWN, 2, 2, (8, 10, 40, 30), [2, 2, 1, 0, 2])
    for key in ("bbox", "num_keypoints", "iscrowd"):
        del bare[key]
    train = [with_polygon(person(OWN, 1, 1, (20, 6, 24, 40), [2] * 5)), bare]
    contents = document(OWN, ["a.jpg", "more/b.png"], train)
    write(folder / "train.json", contents, folder / "images", OWN)
    validation = [person(OWN, 1, 1, (12, 6, 30, 42), [1, 2, 2, 2, 0])]
    write(folder / "validation.json", document(OWN, ["c.jpg"], validation), folder / "images", OWN)


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]))

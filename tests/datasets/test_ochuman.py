import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pycocotools.mask
import pytest

import oasjax.datasets.ochuman
from oasjax.datasets.ochuman.annotations import (
    annotation_file,
    find_folder,
    read_ignored,
    read_people,
    splits_of,
)

DUMMY_DATA = Path(oasjax.datasets.ochuman.__file__).parent / "dummy_data"


def test_masks_and_areas_are_those_of_the_file():
    for split in ("validation", "test"):
        people = read_people(DUMMY_DATA, split)
        entries = json.loads(annotation_file(DUMMY_DATA, split).read_text())["annotations"]
        for person, entry in zip(people, entries, strict=True):
            assert person["segmentation"] == entry["segmentation"]["counts"].encode()
            assert person["area"] == entry["area"] == entry["bbox"][2] * entry["bbox"][3]
        codes = [{"size": [56, 64], "counts": person["segmentation"]} for person in people]
        assert pycocotools.mask.area(codes).tolist() == [28 * 44, 30 * 40]


def test_there_is_no_split_to_train_on():
    assert oasjax.datasets.ochuman.annotations.SPLITS == splits_of(DUMMY_DATA) == ("validation", "test")


def test_pictures_may_lie_beside_the_annotations(tmp_path):
    folder = shutil.copytree(DUMMY_DATA, tmp_path / "ochuman")
    for path in (folder / "images").iterdir():
        path.rename(folder / path.name)
    assert find_folder(tmp_path) == folder
    [first, _] = read_people(folder, "validation")
    assert first["image_path"] == str(folder / "000817.jpg")


@pytest.mark.realdata
def test_the_real_data_are_counted_as_their_file_says(data_dir):
    folder = find_folder(data_dir)
    for split in splits_of(folder):
        document = json.loads(annotation_file(folder, split).read_text())
        people = read_people(folder, split)
        labelled = [entry for entry in document["annotations"] if any(entry["keypoints"][2::3])]
        assert len(people) == len(labelled)
        assert len(read_ignored(folder, split)) == len(document["annotations"]) - len(labelled)
        visibility = Counter(np.concatenate([person["visibility"] for person in people]).tolist())
        assert visibility == Counter(v for entry in labelled for v in entry["keypoints"][2::3])
        counts = {entry["segmentation"]["counts"].encode() for entry in labelled}
        assert {person["segmentation"] for person in people} == counts
        if len(document["images"]) == 3:  # the cut with a known content
            assert len(people) == 5 and visibility == {0: 12, 1: 7, 2: 66}

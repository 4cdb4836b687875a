"""Each row of the table of bad input in docs/data.md has the outcome that stands beside it."""

import io
import json
import re
import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from ml_collections import ConfigDict
from PIL import Image

from oasjax.cli.main import main
from oasjax.datasets.skeletons import COCO
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, open_source
from oasjax.input_pipeline.crop import CropConfig

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
WIDTH, HEIGHT = 60, 40
NUM_PICTURES = 4


def picture():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([x * 4, y * 6, 255 - x * 2 - y * 3], -1).astype(np.uint8))


def encoded(image, form="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


class Folder:
    """Four pictures `0.jpg` ... with a person each, in COCO's form."""

    def __init__(self, path):
        self.path = path
        (path / "images").mkdir()
        for n in range(NUM_PICTURES):
            self.put(f"{n}.jpg", encoded(picture()))
        points = np.random.default_rng(0).uniform((12, 7), (40, 30), (NUM_PICTURES, 17, 2)).round(1)
        self.document = {
            "images": [
                {"id": n, "file_name": f"{n}.jpg", "width": WIDTH, "height": HEIGHT}
                for n in range(NUM_PICTURES)
            ],
            "annotations": [
                {
                    "id": 10 + n, "image_id": n, "category_id": 1, "iscrowd": 0, "bbox": [10, 5, 35, 30],
                    "area": 800, "num_keypoints": 17,
                    "keypoints": np.column_stack([points[n], np.full(17, 2)]).ravel().tolist(),
                }
                for n in range(NUM_PICTURES)
            ],
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": []}],
        }  # fmt: skip
        self.write()

    def put(self, name, data):
        (self.path / "images" / name).write_bytes(data)

    def write(self, text=None):
        (self.path / "train.json").write_text(json.dumps(self.document) if text is None else text)

    def person(self, index, **entries):
        self.document["annotations"][index].update(entries)
        self.write()

    def joint(self, index, x, y, visibility):
        self.document["annotations"][index]["keypoints"][:3] = [x, y, visibility]
        self.write()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return Folder(tmp_path / "data")


@pytest.fixture
def check(tmp_path, capsys):
    """Runs check-data: (exit code, the report, stdout, the last line of stderr)."""

    def run(name, path):
        out, report = tmp_path / "people.png", tmp_path / "report.json"
        words = ["check-data", name, "--data_dir", path, "--out", out, "--json", report, "--num", "2"]
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        content = json.loads(report.read_text()) if report.exists() else None
        return code, content, captured.out, (captured.err.strip().splitlines() or [""])[-1]

    return run


def train_on(folder):
    """All crops of the train split, as evaluation makes them."""
    data = ConfigDict(
        {
            "name": "keypoints_json", "source": "arrays", "data_dir": str(folder.path), "boxes_path": "",
            "arrays_path": "", "prepared_dir": "", "train_size": 0, "eval_size": 0,
        }
    )  # fmt: skip
    crop = CropConfig(input_size_wh=(16, 16), padding=1.25, rotation_deg=0.0, scale_factor=0.0)
    source = open_source(data, "train")
    return list(open_eval_batches(source, crop, "arrays", batch_size=2))


def huge_png(side=30_000):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def deep_png():
    return encoded(Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257), "PNG")


def turned_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(picture(), exif=exif)


# Row of the table -> the contents of a picture, and a part of the reason.
BROKEN_PICTURES = {
    "cut JPEG": (encoded(picture())[:-30], "1.jpg is truncated"),
    "cut PNG": (encoded(picture(), "PNG")[:-30], "1.jpg is truncated"),
    "empty file": (b"", "1.jpg is not a JPEG or PNG"),
    "web page or text saved as .jpg": (b"<!DOCTYPE html><html>404</html>", "1.jpg is not a JPEG or PNG"),
    "GIF, WebP, BMP, TIFF, whatever the ending": (encoded(picture(), "BMP"), "1.jpg is not a JPEG or PNG"),
    "PNG of 30000 x 30000 pixels": (huge_png(), "1.jpg is 30000 x 30000 pixels by its header"),
}
# -> what the report counts it as.
CONVERTED_PICTURES = {
    "JPEG named .png, PNG named .jpg": (encoded(picture(), "PNG"), "other ending"),
    "picture turned by its EXIF orientation": (turned_jpeg(), "EXIF orientation"),
    "grey picture": (encoded(picture().convert("L")), "grey"),
    "CMYK picture": (encoded(picture().convert("CMYK")), "CMYK"),
    "16-bit picture": (deep_png(), "16 bits"),
    "palette, transparency": (encoded(picture().convert("RGBA"), "PNG"), "transparent"),
}


@pytest.mark.parametrize("row", BROKEN_PICTURES)
def test_a_broken_picture_is_listed_and_training_stops_at_it(row, folder, check):
    data, reason = BROKEN_PICTURES[row]
    folder.put("1.jpg", data)
    code, report, shown, _ = check("keypoints_json", folder.path)
    assert code == 0 and report["splits"]["train"]["pictures"]["broken"] == 1
    assert reason in report["splits"]["train"]["pictures"]["broken_names"][0]["reason"]
    assert "1 pictures cannot be opened" in shown and reason in shown
    with pytest.raises(UserError, match=r"1\.jpg"):
        train_on(folder)


@pytest.mark.parametrize("row", CONVERTED_PICTURES)
def test_an_odd_picture_is_read_and_counted(row, folder, check):
    data, trait = CONVERTED_PICTURES[row]
    folder.put("1.jpg", data)
    code, report, shown, _ = check("keypoints_json", folder.path)
    pictures = report["splits"]["train"]["pictures"]
    assert (code, pictures["broken"], pictures["traits"][trait]) == (0, 0, 1)
    assert f"1 {trait}" in shown
    assert len(train_on(folder)) == 2
    if row.startswith("picture turned"):
        assert pictures["other_size_names"] == ["1.jpg: 60 x 40 by the annotations, 40 x 60 in fact"]
        assert "turned_pictures" in [finding["code"] for finding in report["findings"]]


def test_missing_pictures_are_named_and_only_all_of_them_are_fatal(folder, check):
    (folder.path / "images" / "2.jpg").unlink()
    code, report, shown, _ = check("keypoints_json", folder.path)
    assert code == 0 and report["splits"]["train"]["pictures"]["missing_names"] == ["2.jpg"]
    assert "train: 1 pictures are missing: 2.jpg" in shown
    assert len(train_on(folder)) == 2
    for path in (folder.path / "images").iterdir():
        path.unlink()
    code, _, _, line = check("keypoints_json", folder.path)
    assert code == 2 and "0.jpg" in line and str(folder.path) in line


def test_a_folder_with_broken_pictures_alone_cannot_be_used(folder, check):
    for n in range(NUM_PICTURES):
        folder.put(f"{n}.jpg", b"")
    code, report, _, line = check("keypoints_json", folder.path)
    assert code == 2 and "0.jpg is not a JPEG or PNG" in line
    assert report["splits"]["train"]["pictures"]["broken"] == NUM_PICTURES


def cut_json(folder):
    folder.write(json.dumps(folder.document)[:-50])


def json_of_another_form(folder):
    folder.write("[1, 2]")


def too_many_joints(folder):
    folder.document["annotations"][2]["keypoints"] += [1, 1, 2]
    folder.write()


def nan_joint(folder):
    folder.joint(2, float("nan"), 5, 2)


def same_annotation_id(folder):
    folder.person(2, id=10)


def same_image_id(folder):
    folder.document["images"][2]["id"] = 1
    folder.write()


def unknown_picture(folder):
    folder.person(2, image_id=99)


def strange_flag(folder):
    folder.joint(2, 5, 5, 3)


# Row -> what is done to the annotations, parts of the one sentence.
REFUSED = {
    "JSON that is cut or none": (cut_json, ("train.json", "is no whole JSON file")),
    "JSON of another form": (json_of_another_form, ("train.json", "COCO's form")),
    "another number of joints": (too_many_joints, ("train.json", "annotation 12", "51 numbers")),
    "NaN or infinity as a labelled joint": (nan_joint, ("train.json", "annotation 12", "nan")),
    "annotation id twice": (same_annotation_id, ("train.json", "10")),
    "image id twice": (same_image_id, ("train.json", "1")),
    "annotation of a picture that is not listed": (unknown_picture, ("train.json", "annotation 12", "99")),
    "v other than 0, 1, 2": (strange_flag, ("train.json", "annotation 12", "3")),
}


@pytest.mark.parametrize("row", REFUSED)
def test_annotations_that_mean_nothing_are_refused_with_file_and_record(row, folder, check):
    change, parts = REFUSED[row]
    change(folder)
    code, report, _, line = check("keypoints_json", folder.path)
    assert code == 2 and "error" in report["splits"]["train"]
    assert all(part in line for part in parts), line
    with pytest.raises(UserError, match=r"train\.json"):
        train_on(folder)


def test_a_cut_or_foreign_mat_file_is_refused(tmp_path, check):
    (tmp_path / "lsp" / "images").mkdir(parents=True)
    path = tmp_path / "lsp" / "joints.mat"
    scipy.io.savemat(path, {"joints": np.ones((14, 3, 30))})
    whole = path.read_bytes()
    for contents in (whole[: len(whole) // 2], b"<html>", b""):
        path.write_bytes(contents)
        code, _, _, line = check("lsp_extended", tmp_path / "lsp")
        assert code == 2 and "joints.mat is no whole MATLAB file" in line
    scipy.io.savemat(path, {"other": np.zeros(3)})
    code, _, _, line = check("lsp_extended", tmp_path / "lsp")
    assert code == 2 and "joints.mat lacks the variable joints" in line


def test_a_cut_or_foreign_h5_file_is_refused(tmp_path, check):
    (tmp_path / "images").mkdir()
    path = tmp_path / "valid.h5"
    with h5py.File(path, "w") as file:
        file["part"] = np.zeros((3, 16, 2))
    whole = path.read_bytes()
    for contents in (whole, whole[: len(whole) // 2], b"<html>"):
        path.write_bytes(contents)
        code, _, _, line = check("mpii", tmp_path)
        assert code == 2 and "valid.h5" in line


def test_joints_outside_the_picture_are_kept_and_counted(folder, check):
    folder.joint(0, -500, 10, 2)
    folder.joint(1, 20, 9000, 1)
    code, report, _, _ = check("keypoints_json", folder.path)
    joints = report["splits"]["train"]["joints"]
    assert (code, joints["labelled"], joints["outside"]) == (0, 17 * NUM_PICTURES, 2)
    assert joints["per_joint"]["nose"]["outside"] == 2
    keypoints = np.concatenate([host["image_keypoints"] for _, host in train_on(folder)])
    assert [-500, 10] in keypoints[:, 0].tolist()


def test_people_without_a_labelled_joint_are_ignored_and_nobody_else_is_fatal(folder, check):
    nothing = [0] * 51
    folder.person(0, keypoints=nothing, num_keypoints=0)
    code, report, _, _ = check("keypoints_json", folder.path)
    assert code == 0 and report["splits"]["train"]["people"]["ignored"] == 1
    assert report["splits"]["train"]["people"]["usable"] == 3
    for n in range(NUM_PICTURES):
        folder.person(n, keypoints=nothing, num_keypoints=0)
    code, report, shown, line = check("keypoints_json", folder.path)
    assert code == 2 and "nobody in train can be used" in line
    assert "have v = 0 for every joint" in shown
    with pytest.raises(UserError, match="holds no people"):
        train_on(folder)


def test_a_person_whose_box_has_no_area_is_left_out_and_counted(folder, check):
    folder.person(1, bbox=[5, 5, 0, 20])
    code, report, shown, _ = check("keypoints_json", folder.path)
    people = report["splits"]["train"]["people"]
    assert (code, people["usable"], sum(people["left_out"].values())) == (0, 3, 1)
    assert "annotation 11 (1.jpg)" in shown
    numbers = [number for _, host in train_on(folder) for number in host["person_number"].tolist()]
    assert set(numbers) == {10, 12, 13}


def test_a_crowd_is_ignored(folder, check):
    folder.person(1, iscrowd=1)
    code, report, _, _ = check("keypoints_json", folder.path)
    people = report["splits"]["train"]["people"]
    assert (code, people["usable"], people["ignored"]) == (0, 3, 1)


# Rows with a test of their own above, or in the tests of `oasjax score`.
OTHER_ROWS = {
    "picture missing": test_missing_pictures_are_named_and_only_all_of_them_are_fatal,
    "all pictures broken": test_a_folder_with_broken_pictures_alone_cannot_be_used,
    ".mat that is cut, none, or of other contents": test_a_cut_or_foreign_mat_file_is_refused,
    ".h5 or .npz that is cut, none, or of other contents": test_a_cut_or_foreign_h5_file_is_refused,
    "joints outside the picture": test_joints_outside_the_picture_are_kept_and_counted,
    "all joints of a person unlabelled": (
        test_people_without_a_labelled_joint_are_ignored_and_nobody_else_is_fatal
    ),
    "box without area": test_a_person_whose_box_has_no_area_is_left_out_and_counted,
    "crowd": test_a_crowd_is_ignored,
    "prediction for an unknown picture": "tests/cli/test_score.py",
    "empty file of predictions": "tests/evaluation/test_prediction_files.py",
}


def test_every_row_of_the_table_is_tested_here():
    section = DOCS.read_text().split("## Bad input")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row not in ("input", "picture", "annotation", "prediction")]
    tested = {**BROKEN_PICTURES, **CONVERTED_PICTURES, **REFUSED, **OTHER_ROWS}
    assert sorted(rows) == sorted(tested)
    assert not [row for row in rows if re.search(r"\s{2}", row)]

"""`oasjax check-data`: the report, its JSON form, the contact sheet, the exit codes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import oasjax.datasets.lsp_extended
from oasjax.cli import check_data
from oasjax.cli.main import main
from oasjax.datasets.lsp_extended import annotations as lsp_extended
from oasjax.datasets.skeletons import COCO, LSP
from oasjax.datasets.synthetic_people import render_person
from oasjax.input_pipeline import DATA
from oasjax.input_pipeline.arrays_source import save_arrays
from oasjax.input_pipeline.decode import read_image

DUMMY_DATA = Path(oasjax.datasets.lsp_extended.__file__).parent / "dummy_data"


@pytest.fixture
def check(tmp_path, capsys):
    """Runs check-data in an empty folder: (exit code, report, stdout, stderr)."""

    def run(*words, out="people.png"):
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        words = ["check-data", *words, "--out", tmp_path / out, "--json", report]
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        content = json.loads(report.read_text()) if report.exists() else None
        return code, content, captured.out, captured.err

    return run


def test_a_data_set_is_counted_split_by_split_beside_the_published_figures(check, tmp_path):
    code, report, shown, _ = check("lsp_extended", "--data_dir", DUMMY_DATA)
    assert code == 0
    assert (report["data"], report["folder"]) == ("lsp_extended", str(DUMMY_DATA))
    for split in ("train", "test"):
        people = lsp_extended.read_people(DUMMY_DATA, split)
        found = report["splits"][split]
        labelled = sum(int((person["visibility"] > 0).sum()) for person in people)
        assert found["people"]["usable"] == found["pictures"]["present"] == len(people)
        assert found["pictures"]["named"] == people.num_pictures
        assert found["joints"]["labelled"] == found["joints"]["unknown"] == labelled
        assert found["annotated"]["people"] == len(lsp_extended.read_visibility(DUMMY_DATA, split))
    assert re.search(r"^pictures named +\d+ +9,600 +\d+ +400$", shown, re.MULTILINE)
    assert re.search(r"^  present +4 +2$", shown, re.MULTILINE)
    assert re.search(r"^head_top +4 ", shown, re.MULTILINE)
    assert f"contact sheet: {tmp_path / 'people.png'}" in shown


def test_the_contact_sheet_has_the_people_asked_for_and_none_if_none(check, tmp_path):
    sizes = {}
    for num in ("0", "1", "6"):
        (tmp_path / "people.png").unlink(missing_ok=True)
        assert check("lsp_extended", "--data_dir", DUMMY_DATA, "--num", num)[0] == 0
        if (tmp_path / "people.png").exists():
            sizes[num] = read_image(tmp_path / "people.png").shape[1]
    assert set(sizes) == {"1", "6"} and sizes["6"] > 4 * sizes["1"]


def test_another_seed_shows_other_people(check, tmp_path):
    sheets = []
    for seed in ("0", "0", "1"):
        check("lsp_extended", "--data_dir", DUMMY_DATA, "--num", "2", "--seed", seed)
        sheets.append((tmp_path / "people.png").read_bytes())
    assert sheets[0] == sheets[1] != sheets[2]


def test_one_split_alone(check):
    code, report, _, _ = check("lsp_extended", "--data_dir", DUMMY_DATA, "--split", "test")
    assert code == 0 and list(report["splits"]) == ["test"]


def test_the_data_folder_may_come_from_the_environment(check, monkeypatch):
    monkeypatch.setenv("OASJAX_DATA_DIR", str(DUMMY_DATA))
    assert check("lsp_extended")[0] == 0


def test_drawn_people_need_no_folder(check, monkeypatch):
    monkeypatch.setattr(check_data, "_DRAWN_PEOPLE", 3)
    code, report, _, _ = check("synthetic_people", "--num", "2")
    assert code == 0 and report["folder"] is None
    assert list(report["splits"]) == ["studio", "street"]
    hidden = [int((render_person(0, n, look="studio")["visibility"] == 1).sum()) for n in range(3)]
    assert report["splits"]["studio"]["joints"]["occluded"] == sum(hidden)


def test_an_npz_file_of_arrays_can_be_checked(check, tmp_path):
    rng = np.random.default_rng(0)
    save_arrays(
        tmp_path / "people.npz",
        {
            "image": rng.integers(0, 255, (3, 40, 30, 3), np.uint8),
            "keypoints": rng.uniform(0, 29, (3, 14, 2)).astype(np.float32),
            "visibility": np.repeat(np.int8([[2], [1], [0]]), 14, axis=1),
            "occlusion_known": np.ones((3, 14), bool),
            "bbox_xywh": np.tile(np.float32([0, 0, 30, 40]), (3, 1)),
            "head_size": np.full(3, np.nan, np.float32),
            "area": np.full(3, 1200, np.float32),
        },
        LSP,
    )
    code, report, _, _ = check(tmp_path / "people.npz", "--num", "3")
    joints = report["splits"]["all"]["joints"]
    assert (code, joints["visible"], joints["occluded"], joints["hidden_share"]) == (0, 14, 14, 0.5)


def own_data(folder, split, image_name, shade):
    """One person with 17 joints in one picture."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 50), (shade, 90, 90)).save(folder / "images" / image_name)
    points = np.random.default_rng(0).uniform(10, 40, (17, 2)).round()
    document = {
        "images": [{"id": 1, "file_name": image_name, "width": 60, "height": 50}],
        "annotations": [
            {
                "id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 40, 40], "area": 1200,
                "iscrowd": 0, "num_keypoints": 17,
                "keypoints": np.column_stack([points, np.full(17, 2)]).ravel().tolist(),
            }
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
    }  # fmt: skip
    (folder / f"{split}.json").write_text(json.dumps(document))
    return document


def test_ones_own_data_are_explained(check, tmp_path):
    document = own_data(tmp_path / "data", "train", "a.jpg", 10)
    document["annotations"][0]["keypoints"][2::3] = [1] * 17
    (tmp_path / "data" / "train.json").write_text(json.dumps(document))
    own_data(tmp_path / "data", "validation", "b.jpg", 10)  # the same pixels under another name
    code, report, shown, _ = check("keypoints_json", "--data_dir", tmp_path / "data")
    assert code == 0
    found = {(each["split"], each["code"]): each for each in report["findings"]}
    assert found["train", "visible_as_1"]["serious"] and ("validation", "visible_as_1") not in found
    assert found["all", "shared_pictures"]["records"] == ["b.jpg (= a.jpg)"]
    for each in report["findings"]:
        assert each["sentence"] in shown and list(each) == [
            "split", "code", "serious", "sentence", "count", "records",
        ]  # fmt: skip
    assert shown.index("would spoil") < shown.index("worth knowing")


def test_findings_are_shown_though_the_reader_refuses_the_file(check, tmp_path):
    document = own_data(tmp_path / "data", "train", "a.jpg", 10)
    document["annotations"][0]["image_id"] = 5
    (tmp_path / "data" / "train.json").write_text(json.dumps(document))
    code, report, shown, error = check("keypoints_json", "--data_dir", tmp_path / "data")
    assert code == 2 and "have an `image_id` that no entry of `images` has" in shown
    assert "image 5" in report["splits"]["train"]["error"] and "image 5" in error


def test_ones_own_joints_that_make_no_skeleton_are_refused_with_the_findings(check, tmp_path):
    document = own_data(tmp_path / "data", "train", "a.jpg", 10)
    document["categories"][0].update(keypoints=["a", "a"])
    (tmp_path / "data" / "train.json").write_text(json.dumps(document))
    code, _, shown, error = check("keypoints_json", "--data_dir", tmp_path / "data")
    assert code == 2 and "train.json" in error and "would spoil scores or training" in shown


def test_a_split_that_cannot_be_read_does_not_hide_the_others(check, tmp_path):
    own_data(tmp_path / "data", "train", "a.jpg", 10)
    (tmp_path / "data" / "validation.json").write_text("[]")
    code, report, _, _ = check("crowdpose", "--data_dir", tmp_path / "data")
    assert code == 2 and report is None
    own_data(tmp_path / "data", "validation", "b.jpg", 20)
    text = (tmp_path / "data" / "validation.json").read_text()
    (tmp_path / "data" / "validation.json").write_text(text.replace('"image_id": 1', '"image_id": 2'))
    code, report, shown, _ = check("keypoints_json", "--data_dir", tmp_path / "data")
    assert code == 0 and "validation cannot be read" in shown
    assert "error" in report["splits"]["validation"] and report["splits"]["train"]["people"]["usable"] == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nonsense"], ("nonsense", "coco_person", "mpii")),
        (["mpii", "--data_dir", "/no/such/folder"], ("/no/such/folder", "mpii_human_pose_v1_u12_1.mat")),
        (["lsp_extended", "--data_dir", DUMMY_DATA, "--split", "eval"], ("eval", "train, test")),
        (["synthetic_people", "--split", "sky"], ("sky", "studio, street")),
        (["gone.npz"], ("gone.npz",)),
        (["synthetic_people", "--out", "no/such/folder/a.png"], ("no/such/folder",)),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words, expected, capsys, monkeypatch):
    monkeypatch.setattr(check_data, "_DRAWN_PEOPLE", 1)
    assert main(["check-data", *map(str, words)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and all(part in lines[0] for part in expected)


def test_without_any_folder_the_option_is_named(capsys, monkeypatch):
    monkeypatch.delenv("OASJAX_DATA_DIR", raising=False)
    assert main(["check-data", "mpii"]) == 2
    assert "--data_dir" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["-1", "many"])
def test_a_number_of_people_that_is_none_exits_2(word, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["check-data", "synthetic_people", f"--num={word}"])
    assert exit_info.value.code == 2


def keys_of(report):
    """The paths of all keys, with names of splits, joints and figures replaced by *."""

    def walk(value, path):
        if isinstance(value, dict):
            names = {"splits", "per_joint", "published", "traits", "left_out"}
            inner = path.split(".")[-1] in names
            for key, each in value.items():
                yield from walk(each, f"{path}.{'*' if inner else key}")
        else:
            yield path

    return set(walk(report, ""))


def test_the_json_has_the_documented_form(check):
    _, report, _, _ = check("lsp_extended", "--data_dir", DUMMY_DATA)
    counts = ("labelled", "visible", "occluded", "unknown", "outside", "hidden_share")
    pictures = (
        "named", "present", "missing", "broken", "other_size", "missing_names", "broken_names",
        "other_size_names",
    )  # fmt: skip
    assert keys_of(report) == {
        ".data", ".folder", ".pictures_opened", ".findings", ".contact_sheet",
        *(f".splits.*.annotated.{key}" for key in ("people", "labelled", "occluded")),
        *(f".splits.*.pictures.{key}" for key in pictures),
        *(f".splits.*.people.{key}" for key in ("usable", "ignored")),
        *(f".splits.*.joints.{key}" for key in ("total", *counts)),
        *(f".splits.*.joints.per_joint.*.{key}" for key in counts),
        *(f".splits.*.published.*.{key}" for key in ("number", "source", "certain")),
    }  # fmt: skip
    text = check_data.__doc__
    for path in keys_of(report):
        assert f'"{path.split(".")[-1]}"' in text, path


def test_fast_looks_at_headers_only(check, tmp_path):
    own_data(tmp_path / "data", "train", "a.jpg", 10)
    path = tmp_path / "data" / "images" / "a.jpg"
    data = bytearray(path.read_bytes())
    table = data.index(b"\xff\xc4")  # a Huffman table that cannot be
    data[table + 5 : table + 21] = b"\xff" * 16
    path.write_bytes(data)
    code, report, _, _ = check("keypoints_json", "--data_dir", tmp_path / "data", "--fast")
    assert code == 0 and report["pictures_opened"] == "headers"
    code, report, _, _ = check("keypoints_json", "--data_dir", tmp_path / "data")
    assert code == 2 and report["pictures_opened"] == "decoded"


def test_every_data_set_of_the_pipeline_can_be_named(capsys, tmp_path):
    for name in set(DATA) - {"synthetic_people"}:
        assert main(["check-data", name, "--data_dir", str(tmp_path)]) == 2
        assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["coco_person", "crowdpose", "ochuman", "mpii"])
def test_real_data_are_counted_as_their_files_say(name, check, data_dir):
    from importlib import import_module

    annotations = import_module(f"oasjax.datasets.{name}.annotations")
    folder = annotations.find_folder(data_dir)
    code, report, _, _ = check(name, "--data_dir", data_dir, "--num", "6")
    assert code == 0
    for split, found in report["splits"].items():
        if "error" in found:
            continue
        people = annotations.read_people(folder, split)
        visibility = np.stack([person["visibility"] for person in people])
        assert found["people"]["usable"] == len(people)
        assert found["joints"]["labelled"] == (visibility > 0).sum()
        assert found["joints"]["occluded"] == (visibility == 1).sum()
        assert found["pictures"]["broken"] == found["pictures"]["other_size"] == 0

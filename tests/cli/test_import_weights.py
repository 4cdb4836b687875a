"""`oasjax import-weights`: what it prints, what it passes on, and one sentence for what is wrong."""

import json

import cv2
import numpy as np
import pytest

from oasjax.cli.import_weights import parse_size
from oasjax.cli.main import main
from oasjax.errors import UserError
from oasjax.weights import model_import
from oasjax.weights.hrnet_layout import HRNET
from oasjax.weights.published import Network


@pytest.mark.golden
def test_published_weights_are_imported_and_then_predict(golden_dir, tmp_path, capsys):
    file = golden_dir / "hourglass_princeton" / "state_dict.npz"
    words = ["import-weights", "hourglass", file, "--out", tmp_path / "m", "--input", "64x128"]
    assert main([str(word) for word in words]) == 0
    printed = capsys.readouterr().out
    for text in (str(file), "princeton-vl", "64x128", "skip_layer", str(tmp_path / "m")):
        assert text in printed
    picture = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    words = ["predict", "--model", tmp_path / "m", tmp_path / "a.png", "--out", tmp_path / "found"]
    assert main([str(word) for word in words]) == 0
    document = json.loads((tmp_path / "found" / "predictions.json").read_text())
    assert document["model"] == "hourglass"
    keypoints = document["images"][0]["people"][0]["keypoints"]
    assert keypoints[0].keys() == {"name", "x", "y", "score", "occlusion"}
    assert {keypoint["occlusion"] for keypoint in keypoints} == {None}


@pytest.fixture
def calls(monkeypatch):
    """The calls of the library function, which gives a fixed answer here."""
    calls = []
    config = {"skeleton": "coco", "data": {"input_size_wh": (192, 256)}}
    network = Network(HRNET, {"modules": (1,)}, (), 17)
    answer = model_import.Imported("w.pth", "00", network, config, 1234567, {}, ())
    monkeypatch.setattr(model_import, "import_weights", lambda *words: calls.append(words) or answer)
    return calls


def test_arguments_are_passed_on_and_the_summary_is_printed(calls, capsys):
    assert main(["import-weights", "hrnet", "w.pth", "--out", "m"]) == 0
    assert (
        main(["import-weights", "hrnet", "w.pth", "--out", "m", "--skeleton", "coco", "--input=64x96"]) == 0
    )
    assert calls == [("hrnet", "w.pth", "m", None, None), ("hrnet", "w.pth", "m", "coco", (64, 96))]
    first = capsys.readouterr().out.split("model folder: m\n")[0]
    assert first == (
        "w.pth: HRNet (leoxiaobin/deep-high-resolution-net.pytorch)\n"
        "  sizes: modules (1,)\n"
        "  joints: 17 (coco)\n"
        "  crops: 192x256 pixels, colours normalised as 'imagenet'\n"
        "  parameters: 1,234,567\n"
    )


@pytest.mark.parametrize("text", ["192", "192x", "x256", "192 x 256", "0x64", "64x-1", "1e2x64"])
def test_a_crop_that_is_no_width_and_height_is_refused_before_the_file_is_read(text, capsys):
    with pytest.raises(UserError, match="as in 192x256"):
        parse_size(text)
    assert main(["import-weights", "hrnet", "gone.pth", "--out", "m", f"--input={text}"]) == 2
    assert capsys.readouterr().err.startswith("oasjax: --input is ")


@pytest.mark.parametrize(
    "words, says",
    [
        (["hrnet", "gone.pth"], "gone.pth"),
        (["hrnet", "gone.npz"], "no such file of weights: gone.npz"),
        (["hourglass", "notes.txt"], "notes.txt is no file of weights by its name"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_written(words, says, tmp_path, capsys):
    assert main(["import-weights", *words, "--out", str(tmp_path / "m")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("oasjax: ") and says in line
    assert not (tmp_path / "m").exists()

"""The suite `input`, with a few people."""

import importlib
import importlib.util
import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.benchmarks import building, loading, report
from experiments.benchmarks.harness import OK, Effort, Row, run

ONE_ROUND = Effort(fewest=1, most=1, seconds=0)
CASE = {"pictures": "drawn", "crop": "192x256"}


@pytest.fixture(autouse=True)
def few_people(monkeypatch):
    monkeypatch.setattr(loading, "PEOPLE", 6)
    monkeypatch.setattr(loading, "BATCH", 4)
    monkeypatch.setattr(loading, "PICTURES", 3)
    for people in (loading.drawn_people, loading.coco_people):
        people.cache_clear()


def test_the_suite_is_declared_for_real_and_drawn_pictures():
    suite = loading.SUITE
    cases = suite.cases({name: axis.values for name, axis in suite.axes.items()})
    assert [suite.label(case) for case in cases] == [
        "drawn 192x256", "drawn 288x384", "coco 192x256", "coco 288x384",
    ]  # fmt: skip
    names = {each.name for each in suite.contenders}
    assert {suite.reference, *(target.contender for target in suite.targets)} <= names


def test_drawn_pictures_have_the_sizes_and_the_bits_of_photographs():
    for person in loading.drawn_people():
        height, width = cv2.imread(person["image_path"]).shape[:2]
        assert (width, height) in loading.SIZES
        bits = 8 * Path(person["image_path"]).stat().st_size / (width * height)
        assert 3.4 < bits < 6.0  # the quartiles of COCO's
        left, top, box_width, box_height = person["bbox_xywh"]
        assert 0 <= left < width - box_width / 2 and top >= 0 and top + box_height <= height


@pytest.mark.parametrize("pictures", ["drawn", pytest.param("coco", marks=pytest.mark.realdata)])
@pytest.mark.parametrize("crop", loading.CROPS)
@pytest.mark.filterwarnings("ignore")  # TensorFlow uses what others have deprecated.
def test_all_contenders_cut_the_same_crops(pictures, crop, request):
    if pictures == "coco":
        request.getfixturevalue("data_dir")  # skips without it
    case = {"pictures": pictures, "crop": crop}
    rows = run(loading.CONTENDERS, case, reference=loading.REFERENCE, effort=ONE_ROUND)
    without = (
        set() if importlib.util.find_spec("tensorflow") else {"ours, tf.data", "ours, tf.data, all cores"}
    )
    for row in rows:
        if row.contender in without:
            assert row.status == "tensorflow is not installed"
        else:
            assert row.status == OK, row
            assert row.sizes["image"] > 1e4
            assert row.differences["image"] < 1e-3
            assert row.differences["keypoints"] < 1e-5


def test_every_contender_takes_its_share_of_people(monkeypatch):
    taken = []
    real = loading.FilesSource.__getitem__
    monkeypatch.setattr(
        loading.FilesSource, "__getitem__", lambda self, index: taken.append(index) or real(self, index)
    )
    monkeypatch.setattr(loading, "_num_cores", lambda: 3)
    counts = {}
    for contender in loading.CONTENDERS:
        if contender.name.startswith("ours") and "tf.data" not in contender.name:
            taken.clear()
            contender.build(CASE).run()
            counts[contender.name] = len(taken)
    assert counts == {"ours": 6, "ours, threads": 6, "ours, threads, all cores": 18}


def test_without_tensorflow_and_without_coco_the_rows_say_so(monkeypatch):
    real = importlib.import_module

    def missing(module):
        if module.endswith("tfds_source"):
            raise ModuleNotFoundError(name="tensorflow")
        return real(module)

    monkeypatch.setattr(building.importlib, "import_module", missing)
    rows = run(loading.CONTENDERS, CASE, reference=loading.REFERENCE, effort=ONE_ROUND)
    assert {row.status for row in rows if "tf.data" in row.contender} == {"tensorflow is not installed"}
    assert {row.status for row in rows if "tf.data" not in row.contender} == {OK}
    monkeypatch.delenv("OASJAX_DATA_DIR", raising=False)
    rows = run(loading.CONTENDERS[:3], CASE | {"pictures": "coco"}, reference="", effort=ONE_ROUND)
    assert {row.status for row in rows} == {"OASJAX_DATA_DIR is not set"}


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system keeps no thread on a core")
def test_one_core_holds_for_all_threads_and_ends():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    allowed, num_threads = os.sched_getaffinity(0), cv2.getNumThreads()
    try:
        with loading.one_core():
            assert len(os.sched_getaffinity(0)) == 1
            assert os.sched_getaffinity(thread.native_id) == os.sched_getaffinity(0)
            assert cv2.getNumThreads() == 1
        assert os.sched_getaffinity(0) == os.sched_getaffinity(thread.native_id) == allowed
        assert cv2.getNumThreads() == num_threads
    finally:
        done.set()
        thread.join()


def test_the_whole_loader_normalises_and_draws_a_peak_on_each_joint_inside():
    size_wh = (192, 256)
    keypoints = np.float32([[40, 80], [191, 255], [-100, 30], [-6, 100]])
    example = {"image": np.full((256, 192, 3), 51, np.uint8), "keypoints": keypoints}
    loading._add_colours_and_targets(example, size_wh)
    np.testing.assert_allclose(
        example["pixels"][:, 0, 0], (0.2 - loading._MEAN) / loading._DEVIATION, rtol=1e-5
    )
    assert example["pixels"].shape == (3, 256, 192)
    heatmaps = example["heatmaps"]
    assert heatmaps.shape == (4, 64, 48)
    assert np.unravel_index(heatmaps[0].argmax(), (64, 48)) == (20, 10) and heatmaps[0].max() == 1
    assert heatmaps[0, 20, 12] == pytest.approx(np.exp(-0.5))
    assert heatmaps[1].argmax() == 64 * 48 - 1
    assert not heatmaps[2].any()
    assert heatmaps[3].argmax() == 25 * 48 and 0 < heatmaps[3].max() < 1


def test_people_per_second_are_tabulated():
    rows = [Row(CASE, loading.REFERENCE, "", OK, rounds=1, calls=1, median=0.5, minimum=0.5,
                lower_quartile=0.5, upper_quartile=0.5, ratio=1.0)]  # fmt: skip
    environment = {"cores": 1, "processor": "p", "jax_devices": [], "seed": 0, "python": "3", "packages": {}}
    text = report.markdown(loading.SUITE, rows, environment, "the command")
    table = text.split("People per second and core")[1].split("</details>")[0]
    assert f"| OpenCV loader | {loading.SUITE.rate.a_call / 0.5:.0f} |" in table
    assert "Temporary megabytes" not in text

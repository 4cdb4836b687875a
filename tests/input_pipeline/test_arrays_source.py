import numpy as np
import pytest

from oasjax.datasets.skeletons import LSP, MPII
from oasjax.errors import UserError
from oasjax.input_pipeline.arrays_source import ArraysSource, load_arrays, save_arrays


def test_a_record_is_one_row_of_each_array(arrays):
    record = ArraysSource(arrays, MPII)[3]
    for key, array in arrays.items():
        np.testing.assert_array_equal(record[key], array[3])
    assert record["example_id"] == 3 and record["image_id"] == "3"


def test_saved_arrays_come_back_with_their_skeleton(arrays, tmp_path):
    path = tmp_path / "people.npz"
    save_arrays(path, arrays, MPII)
    source = load_arrays(path)
    assert source.skeleton is MPII and len(source) == 7
    np.testing.assert_array_equal(source[6]["image"], arrays["image"][6])


def test_missing_arrays_are_named(arrays, tmp_path):
    del arrays["area"], arrays["visibility"]
    save_arrays(tmp_path / "people.npz", arrays, MPII)
    with pytest.raises(UserError, match=r"people\.npz lacks the arrays visibility, area"):
        load_arrays(tmp_path / "people.npz")


def test_wrong_shapes_and_types_are_named(arrays):
    with pytest.raises(UserError, match=r"keypoints has shape \(7, 16, 2\), expected \(7, 14, 2\)"):
        ArraysSource(arrays, LSP)
    with pytest.raises(UserError, match=r"bbox_xywh has shape \(6, 4\), expected \(7, 4\)"):
        ArraysSource({**arrays, "bbox_xywh": arrays["bbox_xywh"][:6]}, MPII)
    with pytest.raises(UserError, match=r"box_score has shape \(7, 2\), expected \(7\)"):
        ArraysSource({**arrays, "box_score": np.ones((7, 2), np.float32)}, MPII)
    with pytest.raises(UserError, match="image has dtype float32, expected uint8"):
        ArraysSource({**arrays, "image": arrays["image"].astype(np.float32)}, MPII)


def test_files_that_are_no_arrays_are_refused(arrays, tmp_path):
    path = tmp_path / "people.npz"
    with pytest.raises(UserError, match=r"Arrays not found: .*people\.npz"):
        load_arrays(path)
    save_arrays(path, arrays, MPII)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"people\.npz is no whole \.npz file"):
        load_arrays(path)
    path.write_text("hello")
    with pytest.raises(UserError, match=r"people\.npz is no whole \.npz file"):
        load_arrays(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"single\.npy is no whole \.npz file"):
        load_arrays(tmp_path / "single.npy")


def test_pickled_contents_are_refused(arrays, tmp_path):
    arrays["image_id"] = np.array(list("abcdefg"), object)
    save_arrays(tmp_path / "people.npz", arrays, MPII)
    with pytest.raises(UserError, match="no whole .npz file of plain arrays"):
        load_arrays(tmp_path / "people.npz")


def test_an_unknown_skeleton_is_refused_with_the_choices(arrays, tmp_path):
    np.savez(tmp_path / "people.npz", **arrays)
    with pytest.raises(UserError, match="must be one of mpii, lsp"):
        load_arrays(tmp_path / "people.npz")

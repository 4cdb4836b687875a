import itertools
import threading

import numpy as np
import pytest

from oasjax.datasets.skeletons import MPII
from oasjax.errors import UserError
from oasjax.input_pipeline.arrays_source import ArraysSource
from oasjax.input_pipeline.batching import eval_batches, train_batches
from oasjax.input_pipeline.crop import CropConfig, MapGrid
from oasjax.input_pipeline.order import epoch_order

CROP = CropConfig((24, 32), rotation_deg=20.0, scale_factor=0.25)


def take(source, count, **options):
    options = {"seed": 0, "start_step": 0, "batch_size": 4, **options}
    batches = train_batches(source, CROP, **options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_batches_equal(a, b):
    assert len(a) == len(b)
    for (device_a, host_a), (device_b, host_b) in zip(a, b, strict=True):
        for part_a, part_b in ((device_a, device_b), (host_a, host_b)):
            assert part_a.keys() == part_b.keys()
            for key, value in part_a.items():
                np.testing.assert_array_equal(value, part_b[key], err_msg=key)


def test_a_batch_has_the_promised_keys_shapes_and_types(source):
    [(device, host)] = take(source, 1)
    assert {key: (value.shape, value.dtype.name) for key, value in device.items()} == {
        "image": ((4, 32, 24, 3), "uint8"),
        "keypoints": ((4, 16, 2), "float32"),
        "visibility": ((4, 16), "int8"),
        "occlusion_known": ((4, 16), "bool"),
        "crop_to_image": ((4, 2, 3), "float32"),
        "example_id": ((4,), "int32"),
        "valid": ((4,), "bool"),
    }
    assert set(host) == {
        "image_keypoints", "visibility", "occlusion_known", "head_size", "area", "bbox_xywh",
        "example_id", "image_id", "image_number", "person_number", "box_score", "valid",
    }  # fmt: skip
    assert host["image_id"] == [str(i) for i in host["example_id"]]
    assert host["image_keypoints"].dtype == np.float32


def test_maps_are_in_every_batch_of_a_crop_with_a_grid_and_in_no_other(arrays):
    crop = CropConfig((24, 32), occlusion_grid=MapGrid((6, 8), (4.0, 4.0), (1.5, 1.5)))
    labels = {"occlusion_map": np.ones((7, 5, 5), np.float32)}
    labels["occlusion_map_to_image"] = np.tile(np.eye(2, 3) * 9, (7, 1, 1))
    for people, labelled in ((arrays, False), (arrays | labels, True)):
        [(device, host)] = eval_batches(ArraysSource(people, MPII), crop, batch_size=7)
        assert device["occlusion_map"].shape == (7, 8, 6) and device["occlusion_map"].dtype == np.float32
        assert np.isfinite(device["occlusion_map"]).all() == labelled
        assert "occlusion_map" not in host
    [(device, _)] = eval_batches(ArraysSource(arrays | labels, MPII), CROP, batch_size=7)
    assert "occlusion_map" not in device


def test_the_data_sets_own_numbers_and_the_boxes_scores_go_along(source, arrays):
    def host_of(source):
        [(_, host)] = eval_batches(source, CROP, batch_size=7)
        return [host[key] for key in ("image_number", "person_number", "box_score")]

    given = [np.arange(7) * 10**12, np.arange(7) + 3, np.linspace(0, 1, 7, dtype=np.float32)]
    names = ("image_number", "person_number", "box_score")
    numbered = host_of(ArraysSource(arrays | dict(zip(names, given, strict=True)), MPII))
    absent = host_of(source)
    for values, expected, default in zip(numbered, given, (-1, -1, 1), strict=True):
        np.testing.assert_array_equal(values, expected)
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(absent.pop(0), np.full(7, default, expected.dtype), strict=True)


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(source):
    batches = take(source, 6, num_threads=1, prefetch=0)
    assert_batches_equal(batches, take(source, 6, num_threads=3, prefetch=4))


def test_another_seed_gives_another_order_and_other_crops(source):
    a, b = take(source, 6, seed=0), take(source, 6, seed=1)
    assert any((x["example_id"] != y["example_id"]).any() for (x, _), (y, _) in zip(a, b, strict=True))
    image_of = [
        {int(i): image for d, _ in run for i, image in zip(d["example_id"], d["image"], strict=True)}
        for run in (a, b)
    ]
    assert any((image_of[0][i] != image_of[1][i]).any() for i in image_of[0])


def test_an_example_is_cut_differently_in_the_next_epoch(source):
    crop = CropConfig((24, 32), rotation_deg=20.0, rotation_probability=1.0, scale_factor=0.25)
    batches = train_batches(source, crop, seed=0, start_step=0, batch_size=7)
    crops = {}
    for device, _ in itertools.islice(batches, 8):
        for example_id, matrix in zip(device["example_id"], device["crop_to_image"], strict=True):
            crops.setdefault(int(example_id), set()).add(matrix.tobytes())
    batches.close()
    assert all(len(matrices) == 8 for matrices in crops.values())


def test_a_resumed_run_gives_the_tail_of_the_unbroken_one(source):
    assert_batches_equal(take(source, 9)[5:], take(source, 4, start_step=5))


def test_each_epoch_holds_each_example_once(source):
    ids = np.concatenate([device["example_id"] for device, _ in take(source, 7)])
    for epoch, chunk in enumerate(ids.reshape(4, 7)):
        np.testing.assert_array_equal(chunk, epoch_order(0, epoch, 7))


def test_the_processes_slices_make_up_the_global_batch(source):
    whole = take(source, 5)
    parts = [take(source, 5, process_index=i, process_count=2) for i in range(2)]
    for (device, host), (first, first_host), (second, second_host) in zip(whole, *parts, strict=True):
        for key, value in device.items():
            np.testing.assert_array_equal(value, np.concatenate([first[key], second[key]]))
        for key, value in host.items():
            np.testing.assert_array_equal(value, np.concatenate([first_host[key], second_host[key]]))


def test_evaluation_visits_every_example_once_and_marks_the_padding(source):
    batches = list(eval_batches(source, CROP, batch_size=3))
    ids = np.concatenate([device["example_id"] for device, _ in batches])
    valid = np.concatenate([device["valid"] for device, _ in batches])
    assert ids[valid].tolist() == list(range(7))
    assert valid.tolist() == [True] * 7 + [False] * 2
    assert all(len(device["image"]) == 3 for device, _ in batches)
    np.testing.assert_array_equal(batches[-1][1]["valid"], [True, False, False])


def test_evaluation_on_two_processes_makes_up_the_same_batches(source):
    whole = list(eval_batches(source, CROP, batch_size=4))
    parts = [
        list(eval_batches(source, CROP, batch_size=4, process_index=i, process_count=2)) for i in range(2)
    ]
    for (device, _), (first, _), (second, _) in zip(whole, *parts, strict=True):
        for key, value in device.items():
            np.testing.assert_array_equal(value, np.concatenate([first[key], second[key]]))


def test_evaluation_cuts_the_plain_box(source):
    first, second = (list(eval_batches(source, CROP, batch_size=7)) for _ in range(2))
    assert_batches_equal(first, second)
    matrices = first[0][0]["crop_to_image"]
    assert (matrices == matrices[0]).all()
    assert (matrices[:, 0, 1] == 0).all()


@pytest.mark.parametrize("make", ["train", "eval"])
def test_a_batch_that_does_not_divide_over_the_processes_is_refused_at_once(source, make):
    with pytest.raises(UserError, match=r"batch size 4 does not divide evenly over 3 process"):
        if make == "train":
            train_batches(source, CROP, seed=0, start_step=0, batch_size=4, process_count=3)
        else:
            eval_batches(source, CROP, batch_size=4, process_count=3)


def crop_threads():
    return [t for t in threading.enumerate() if t.name.startswith("oasjax-crop") and t.is_alive()]


def test_closing_the_batches_ends_their_threads(source):
    batches = train_batches(source, CROP, seed=0, start_step=0, batch_size=4, prefetch=3)
    next(batches)
    assert crop_threads()
    batches.close()
    assert not crop_threads()


def test_an_error_in_a_thread_reaches_the_consumer_and_ends_the_threads(source, arrays):
    arrays["bbox_xywh"][5] = np.nan
    batches = eval_batches(source, CROP, batch_size=2)
    assert next(batches)[0]["example_id"].tolist() == [0, 1]
    assert next(batches)[0]["example_id"].tolist() == [2, 3]
    with pytest.raises(UserError, match=r"example 5"):
        next(batches)
    assert not crop_threads()


def test_memory_stays_flat_over_2000_steps(source, grown_over_2000_batches):
    batches = train_batches(source, CropConfig((64, 96)), seed=0, start_step=0, batch_size=2)
    grown, produced = grown_over_2000_batches(batches)
    batches.close()
    assert grown < produced / 4

import json

import cv2
import numpy as np
import pytest

import oasjax
from oasjax import config_sections
from oasjax.datasets.skeletons import MPII
from oasjax.errors import UserError
from oasjax.inference.boxes import PersonBox
from oasjax.inference.predictor import Predictor, load
from oasjax.input_pipeline.crop import CropConfig

SIZE = 32


class BrightestPixel:
    """A model without weights: every joint is where the crop is brightest. Remembers its calls."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        grey = images.astype(np.float64).sum(-1)
        weights = np.where(grey > 0.5 * grey.max(axis=(1, 2), keepdims=True), grey, 0.0)
        weights += 1e-9
        ys, xs = np.mgrid[: images.shape[1], : images.shape[2]]
        total = weights.sum(axis=(1, 2))
        x, y = ((weights * c).sum(axis=(1, 2)) / total for c in (xs, ys))
        keypoints = np.repeat(np.stack([x, y], -1)[:, None], MPII.num_joints, 1).astype(np.float32)
        return {
            "keypoints": keypoints,
            "scores": np.full(keypoints.shape[:2], 0.5, np.float32),
            "occlusion": np.full(keypoints.shape[:2], 1.2, np.float32),
            "occlusion_map": np.zeros((len(images), 8, 8), np.float32),
        }


def predictor(predict_fn=None, batch_size=2):
    crop = CropConfig(input_size_wh=(SIZE, SIZE), padding=1.25)
    return Predictor(predict_fn or BrightestPixel(), MPII, crop, "brightest", batch_size)


def picture(x, y, width=160, height=120):
    """Black, with a soft white dot centred at (x, y)."""
    canvas = np.zeros((height, width, 3), np.uint8)
    cv2.circle(canvas, (x, y), 8, (255, 255, 255), -1)
    return canvas


def test_joints_come_back_in_the_pixels_of_the_picture():
    (result,) = predictor().predict([picture(110, 40)])
    assert (result.width, result.height) == (160, 120)
    (person,) = result.people
    # A crop pixel is 5 picture pixels wide, and this model finds the dot to half of one.
    np.testing.assert_allclose(person.keypoints, np.full((16, 2), (110, 40)), atol=2.5)
    np.testing.assert_array_equal(person.bbox_xywh, [0, 0, 160, 120])
    np.testing.assert_array_equal(person.occlusion, np.ones(16))


def test_people_stay_with_their_pictures_and_every_batch_has_the_same_shape():
    model = BrightestPixel()
    boxes = [
        [[20, 20, 60, 60], PersonBox((90.0, 10.0, 60.0, 80.0), 0.5), [0, 0, 160, 120]],
        [],
        [[40, 30, 50, 50]],
    ]
    images = [picture(50, 50), picture(9, 9), picture(70, 60)]
    # A second dot, inside the second box alone.
    cv2.circle(images[0], (120, 50), 8, (255, 255, 255), -1)
    results = predictor(model, batch_size=3).predict(images, boxes)
    assert model.shapes == [(3, SIZE, SIZE, 3)] * 2
    assert [len(result.people) for result in results] == [3, 0, 1]
    first, second, _ = results[0].people
    np.testing.assert_allclose(first.keypoints[0], (50, 50), atol=1.0)
    np.testing.assert_allclose(second.keypoints[0], (120, 50), atol=1.0)
    np.testing.assert_allclose(results[2].people[0].keypoints[0], (70, 60), atol=1.0)
    assert first.score == pytest.approx(0.5) and second.score == pytest.approx(0.25)


def test_the_result_of_a_person_does_not_depend_on_the_batch():
    images = [picture(30 + 10 * n, 50) for n in range(5)]
    alone = [predictor(batch_size=1).predict([image])[0].people[0].keypoints for image in images]
    together = predictor(batch_size=4).predict(images)
    for one, result in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, result.people[0].keypoints)


def test_without_boxes_the_picture_itself_is_the_crop():
    seen = []

    def spy(images):
        seen.append(images.copy())
        return BrightestPixel()(images)

    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    predictor(spy).predict([image])
    np.testing.assert_array_equal(seen[0][0], image)


def test_no_pictures_give_no_results_and_the_model_is_not_called():
    model = BrightestPixel()
    assert predictor(model).predict([]) == []
    assert predictor(model).predict([picture(5, 5)], [[]])[0].people == ()
    assert model.shapes == []


def test_a_missing_or_broken_picture_is_named(tmp_path):
    with pytest.raises(UserError, match="none.jpg"):
        predictor().predict([tmp_path / "none.jpg"])
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(UserError, match="text.jpg"):
        predictor().predict([str(tmp_path / "text.jpg")])


def test_a_box_off_the_picture_is_refused_with_its_number():
    with pytest.raises(UserError, match="box 1 of image 0.*outside"):
        predictor().predict([picture(5, 5)], [[[0, 0, 10, 10], [160, 0, 10, 10]]])


def test_an_array_that_is_no_picture_is_a_value_error():
    for wrong in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)):
        with pytest.raises((ValueError, TypeError)):
            predictor().predict([wrong])
    with pytest.raises(ValueError, match="2 lists of boxes for 1 images"):
        predictor().predict([picture(5, 5)], [[], []])


def test_a_single_picture_in_place_of_a_list_is_a_value_error():
    """A path must not be taken as a list of letters."""
    with pytest.raises(ValueError, match="pass a list of pictures"):
        predictor().predict("person.png")


def test_a_model_that_gives_nan_is_reported_as_broken():
    def broken(images):
        output = BrightestPixel()(images)
        return output | {"scores": output["scores"] * np.nan}

    with pytest.raises(UserError, match="'brightest'.*not finite"):
        predictor(broken).predict([picture(5, 5)])


@pytest.mark.parametrize("absent", [("occlusion_map",), ("occlusion", "occlusion_map")])
def test_what_a_model_does_not_predict_is_none(absent):
    def silent(images):
        return {name: value for name, value in BrightestPixel()(images).items() if name not in absent}

    (person,) = predictor(silent).predict([picture(5, 5)])[0].people
    (full,) = predictor().predict([picture(5, 5)])[0].people
    for name in ("occlusion", "occlusion_map"):
        assert getattr(full, name) is not None
        assert (getattr(person, name) is None) == (name in absent)
    np.testing.assert_array_equal(person.keypoints, full.keypoints)


DATA = config_sections.data().to_dict()


def test_load_is_reachable_from_the_top_of_the_library():
    assert oasjax.load is load
    with pytest.raises(AttributeError, match="loaad"):
        _ = oasjax.loaad


def test_load_says_what_is_wrong_with_a_folder(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="model.safetensors.*checkpoints"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="config.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": "spider"}, "unknown skeleton 'spider'.*mpii"),
        ({"skeleton": ["mpii"]}, "unknown skeleton"),
        ({"data": {"padding": 1.25}}, "lacks the entry 'geometry'"),
        ({}, "lacks the entry 'task'"),
        ({"data": DATA | {"padding": "much"}}, "wrong type"),
        ({"data": DATA | {"input_size_wh": 64}}, "wrong type"),
        ({"model": "hourglass"}, "wrong type"),
    ],
)
def test_an_incomplete_configuration_is_named(tmp_path, change, message):
    from oasjax.weights.model_folder import save_model

    config = {
        "skeleton": "mpii",
        "model": {"name": "oasnet"},
        "data": DATA,
    }
    save_model(tmp_path, {"params": {"w": np.zeros(1)}}, config | change, "")
    with pytest.raises(UserError, match=f"config.json.*{message}"):
        load(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())


def test_a_saved_network_is_loaded_and_predicts_as_before_it_was_saved(tmp_path):
    import jax

    from oasjax.cli.config_files import load_config
    from oasjax.training.tasks import make_predict_fn, make_task
    from oasjax.weights.model_folder import save_model

    config = load_config("quickstart").to_dict()
    config["model"]["hourglass"] |= {"depth": 1, "features": 8, "stem_features": 2}
    config["data"]["input_size_wh"] = [32, 32]
    variables = jax.device_get(make_task(config).init(0))
    save_model(tmp_path, variables, config, "# tiny\n")
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    (person,) = oasjax.load(tmp_path, batch_size=2).predict([image])[0].people
    assert person.keypoints.shape == (16, 2) and person.occlusion_map.ndim == 2
    assert ((person.occlusion >= 0) & (person.occlusion <= 1)).all()
    images = jax.numpy.asarray([image, image])
    expected = jax.device_get(make_predict_fn(config)(variables, images))
    np.testing.assert_allclose(person.scores, np.clip(expected["scores"][0], 0, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(person.keypoints, expected["keypoints"][0], atol=1e-2)

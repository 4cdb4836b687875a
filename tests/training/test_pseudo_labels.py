"""Pseudo labels: predicted once for people of unknown occlusion, kept by the model's digest, and used."""

import jax
import numpy as np
import pytest

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people import synthetic_arrays
from oasjax.errors import UserError
from oasjax.input_pipeline.arrays_source import ArraysSource
from oasjax.training import loop, pseudo_labels
from oasjax.training.pseudo_labels import with_pseudo_labels
from oasjax.training.tasks import make_task
from oasjax.weights.model_folder import save_model


def people(untold: int = 3, told: int = 2) -> ArraysSource:
    arrays = dict(synthetic_arrays(0, untold + told, size=48, look="studio", num_processes=1))
    arrays["occlusion_known"] = arrays["occlusion_known"].copy()
    arrays["occlusion_known"][:untold] = False
    arrays["visibility"] = np.where(arrays["occlusion_known"], arrays["visibility"], 2).astype(np.int8)
    return ArraysSource(arrays, MPII)


@pytest.fixture(scope="module")
def labelling_model(tiny_config, tmp_path_factory):
    """Function `seed -> model folder` of an untrained network."""

    def make(seed: int):
        folder = tmp_path_factory.mktemp("labels") / "model"
        config = tiny_config()
        variables = jax.device_get(make_task(config).init(seed))
        kept = {group: {"net": variables[group]["net"]} for group in ("params", "model_state")}
        save_model(folder, kept, config.to_dict(), "# labels\n")
        return folder

    return make


def data_of(tiny_config, model, tmp_path):
    return tiny_config(
        f"--config.data.pseudo_labels={model}", f"--config.data.prepared_dir={tmp_path / 'kept'}"
    ).data


def test_people_of_unknown_occlusion_get_the_map_that_the_model_predicts(
    tiny_config, labelling_model, tmp_path
):
    model = labelling_model(3)
    source = people()
    labelled = with_pseudo_labels(source, data_of(tiny_config, model, tmp_path), lambda _: None)
    assert len(labelled) == 5 and labelled.skeleton == MPII
    assert ["occlusion_map" in labelled[n] for n in range(5)] == [True] * 3 + [False] * 2
    maps = np.stack([labelled[n]["occlusion_map"] for n in range(3)])
    assert maps.shape == (3, 8, 8) and maps.min() >= 0 and maps.max() <= 1 and maps.std() > 0
    assert not np.allclose(maps[0], maps[1])
    # Cells lie on the crop of the labelling model: its corner cells inside the padded box.
    record = labelled[0]
    corners = record["occlusion_map_to_image"] @ np.array([[0, 7], [0, 7], [1, 1]])
    left, top, width, height = record["bbox_xywh"]
    middle = np.array([left + width / 2, top + height / 2])
    np.testing.assert_allclose(corners.mean(1), middle, atol=0.1)


def test_labels_are_predicted_once_for_the_same_weights_and_people(
    tiny_config, labelling_model, tmp_path, monkeypatch
):
    calls = []
    original = pseudo_labels.predict_maps
    monkeypatch.setattr(pseudo_labels, "predict_maps", lambda *a: calls.append(len(a[0])) or original(*a))
    model, said = labelling_model(3), []
    data = data_of(tiny_config, model, tmp_path)
    first = with_pseudo_labels(people(), data, said.append)
    again = with_pseudo_labels(people(), data, said.append)
    assert calls == [3]
    assert "predicting the occlusion maps of 3 people" in said[0]
    assert "occlusion maps of 3 people: " in said[1]
    np.testing.assert_array_equal(first[1]["occlusion_map"], again[1]["occlusion_map"])
    # Other weights, other people, a damaged file: anew.
    other = with_pseudo_labels(people(), data_of(tiny_config, labelling_model(4), tmp_path), said.append)
    assert calls == [3, 3] and not np.allclose(other[0]["occlusion_map"], first[0]["occlusion_map"])
    with_pseudo_labels(people(untold=2, told=2), data, said.append)
    assert calls == [3, 3, 2]
    for file in (tmp_path / "kept" / "pseudo_labels").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    with_pseudo_labels(people(), data, said.append)
    assert calls == [3, 3, 2, 3]


def test_what_cannot_be_labelled_is_explained(tiny_config, labelling_model, tmp_path):
    model = labelling_model(3)
    with pytest.raises(UserError, match="tell of everybody what is occluded"):
        with_pseudo_labels(people(untold=0), data_of(tiny_config, model, tmp_path), lambda _: None)
    with pytest.raises(UserError, match="no such model"):
        with_pseudo_labels(people(), data_of(tiny_config, tmp_path / "gone", tmp_path), lambda _: None)
    config = tiny_config("--config.model.occlusion_head=none", "--config.model.erase_reconstruct.erase=False")
    variables = jax.device_get(make_task(config).init(0))
    kept = {group: {"net": variables[group]["net"]} for group in ("params", "model_state")}
    save_model(tmp_path / "plain", kept, config.to_dict(), "")
    with pytest.raises(UserError, match="predicts no occlusion map"):
        with_pseudo_labels(people(), data_of(tiny_config, tmp_path / "plain", tmp_path), lambda _: None)


def test_a_run_trains_on_the_labels(tiny_config, labelling_model, tmp_path, monkeypatch):
    """The batches have the maps, and the clean branch of unknown people has an occlusion loss."""
    monkeypatch.setattr(loop, "open_source", lambda data, split, skeleton=None: people(24, 0))
    config = tiny_config(
        f"--config.data.pseudo_labels={labelling_model(3)}",
        f"--config.data.prepared_dir={tmp_path / 'kept'}",
        "--config.data.eval_size=0",
        "--config.data.train_size=0",
        "--config.train.num_steps=2",
        "--config.optimizer.schedule.warmup_steps=0",
        "--config.augment.patches.max_patches=0",
    )
    result = loop.train_and_evaluate(config, tmp_path / "run", say=lambda _: None)
    assert result.signal == 0
    history = (tmp_path / "run" / "history.jsonl").read_text()
    assert '"occlusion": 0.0' not in history and '"occlusion"' in history

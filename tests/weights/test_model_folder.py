import json

import numpy as np
import pytest

from oasjax.errors import UserError
from oasjax.weights.model_folder import flatten_variables, load_model, save_model

VARIABLES = {
    "params": {"conv": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4).T, "bias": np.ones(3)}},
    "batch_stats": {"norm": {"mean": np.float32(2.5)}},
}


def save(folder):
    save_model(folder, VARIABLES, {"skeleton": "mpii", "size": [64, 64]}, "# A card\n")
    return folder


def test_saved_model_comes_back_with_names_values_types_and_config(tmp_path):
    variables, config = load_model(save(tmp_path / "new" / "model"))
    assert config == {"skeleton": "mpii", "size": [64, 64]}
    expected, got = flatten_variables(VARIABLES), flatten_variables(variables)
    assert list(got) and set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == value.dtype and got[name].shape == value.shape
    assert (tmp_path / "new" / "model" / "card.md").read_text() == "# A card\n"


def test_saving_again_replaces_the_model_and_leaves_no_temporary_files(tmp_path):
    save(tmp_path)
    save_model(tmp_path, {"params": {"w": np.zeros(2)}}, {"skeleton": "lsp"}, "")
    variables, config = load_model(tmp_path)
    assert config["skeleton"] == "lsp" and set(variables["params"]) == {"w"}
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"model.safetensors", "config.json", "card.md"}


def test_a_name_with_a_slash_is_refused_because_it_could_not_be_read_back():
    with pytest.raises(ValueError, match="a/b"):
        flatten_variables({"a/b": np.zeros(1)})


def test_missing_folder_and_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        load_model(tmp_path / "nowhere")
    save(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="model.safetensors"):
        load_model(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match="config.json"):
        load_model(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 100])
def test_truncated_weights_are_a_clear_error(tmp_path, keep):
    weights = save(tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(UserError, match="model.safetensors is broken"):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_broken_config_is_a_clear_error(tmp_path, text):
    (save(tmp_path) / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json"):
        load_model(tmp_path)


def test_config_is_plain_json(tmp_path):
    assert json.loads((save(tmp_path) / "config.json").read_text())["skeleton"] == "mpii"

"""Pretrained weights take the place of the backbone's, and of the head layers that fit."""

import numpy as np
import pytest

from oasjax.errors import UserError
from oasjax.weights.model_folder import flatten_variables, save_model, unflatten_variables
from oasjax.weights.pretrained import initialise_from

# A task's variables: a backbone, two heads, a critic.
SHAPES = {
    "params/net/backbone/stem/conv/kernel": (3, 3, 3, 4),
    "params/net/backbone/stem/bn/scale": (4,),
    "params/net/head0/joints/kernel": (1, 1, 4, 16),
    "params/net/head0/joints/bias": (16,),
    "params/net/head1/reconstruction/reduce/bn/scale": (6,),
    "params/critic/conv/kernel": (3, 3, 4, 4),
    "model_state/net/backbone/stem/bn/mean": (4,),
    "model_state/net/head1/reconstruction/reduce/bn/mean": (6,),
    "model_state/critic/initial/conv/kernel": (3, 3, 4, 4),
}


def variables_of(shapes, value):
    return unflatten_variables({path: np.full(shape, value, np.float32) for path, shape in shapes.items()})


def folder_with(tmp_path, changes):
    """A model folder of ones; None leaves a variable out."""
    shapes = {path: shape for path, shape in (SHAPES | changes).items() if shape is not None}
    save_model(tmp_path / "m", variables_of(shapes, 1.0), {}, "")
    return tmp_path / "m"


def taken(variables) -> set[str]:
    return {path for path, array in flatten_variables(variables).items() if (array == 1).all()}


NETWORK = {path for path in SHAPES if "/net/" in path}


def test_the_whole_network_is_taken_where_it_fits_and_nothing_else(tmp_path):
    start = variables_of(SHAPES, 0.0)
    variables, kept = initialise_from(start, folder_with(tmp_path, {}))
    assert taken(variables) == NETWORK and kept == []
    assert {path: array.shape for path, array in flatten_variables(variables).items()} == SHAPES
    assert taken(start) == set()


@pytest.mark.parametrize(
    "changes, layer",
    [
        (
            {"params/net/head0/joints/kernel": (1, 1, 4, 17), "params/net/head0/joints/bias": (17,)},
            "head0/joints",
        ),
        # A layer is taken as a whole: its bias alone would fit.
        ({"params/net/head0/joints/kernel": (1, 1, 8, 16)}, "head0/joints"),
        ({"model_state/net/head1/reconstruction/reduce/bn/mean": None}, "head1/reconstruction/reduce/bn"),
    ],
)
def test_head_layers_that_do_not_fit_keep_their_first_weights_and_are_named(changes, layer, tmp_path):
    variables, kept = initialise_from(variables_of(SHAPES, 0.0), folder_with(tmp_path, changes))
    assert kept == [layer]
    assert taken(variables) == {path for path in NETWORK if f"/net/{layer}/" not in path}


@pytest.mark.parametrize(
    "changes, says",
    [
        (
            {"params/net/backbone/stem/conv/kernel": (3, 3, 3, 8)},
            r"params/net/backbone/stem/conv/kernel is \(3, 3, 3, 8\) there and \(3, 3, 3, 4\) here$",
        ),
        (
            {"model_state/net/backbone/stem/bn/mean": None},
            r"model_state/net/backbone/stem/bn/mean is missing there and \(4,\) here$",
        ),
        (
            {"params/net/backbone/extra/bias": (2,)},
            r"params/net/backbone/extra/bias is \(2,\) there and missing here$",
        ),
        ({f"params/net/backbone/l{n}/bias": (1,) for n in range(9)}, "and 3 more$"),
    ],
)
def test_a_backbone_that_differs_is_refused_with_the_differences(changes, says, tmp_path):
    folder = folder_with(tmp_path, changes)
    with pytest.raises(UserError, match=says) as error:
        initialise_from(variables_of(SHAPES, 0.0), folder)
    assert str(folder) in str(error.value) and "backbones differ" in str(error.value)


def test_a_folder_that_is_no_model_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        initialise_from(variables_of(SHAPES, 0.0), tmp_path / "nowhere")

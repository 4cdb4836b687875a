"""The first state: values by name, no compiled random numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.training.state import initial_leaf, initial_variables
from oasjax.training.tasks import make_task


def test_kernels_have_the_variance_of_lecun_and_are_truncated():
    kernel = initial_leaf("net/conv/kernel", (3, 3, 64, 128), seed=0)
    std = 1 / np.sqrt(9 * 64)
    np.testing.assert_allclose(kernel.std(), std, rtol=0.01)
    assert np.abs(kernel).max() <= 2 * std / 0.87962566 + 1e-7
    assert kernel.dtype == np.float32


def test_maps_and_classes_begin_near_zero(tiny_config):
    params = make_task(tiny_config()).init(0)["params"]["net"]
    for head in ("joints", "occlusion"):
        kernel = params["head0"][head]["kernel"]
        assert 0.0005 < kernel.std() < 0.002
    others = jax.tree.leaves(params["head0"]["reconstruction"])
    assert all(leaf.std() > 0.02 for leaf in others if leaf.ndim == 4)


def test_each_kernel_has_its_own_stream():
    first = initial_leaf("a/kernel", (4, 4), seed=0)
    np.testing.assert_array_equal(first, initial_leaf("a/kernel", (4, 4), seed=0))
    assert (first != initial_leaf("b/kernel", (4, 4), seed=0)).all()
    assert (first != initial_leaf("a/kernel", (4, 4), seed=1)).all()


def test_the_names_of_batch_norm_start_as_identity():
    module = nn.BatchNorm(use_running_average=False)
    variables = initial_variables(module, jax.ShapeDtypeStruct((2, 3), jnp.float32), seed=0)
    np.testing.assert_array_equal(variables["params"]["scale"], 1)
    np.testing.assert_array_equal(variables["params"]["bias"], 0)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0)


def test_a_name_without_a_rule_is_an_error():
    with pytest.raises(ValueError, match="'embedding'"):
        initial_leaf("net/embedding", (2,), seed=0)

"""What every backbone does: it calls the heads in order, saves memory with remat, computes in bfloat16."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.models.erase_reconstruct import EraseReconstruct
from oasjax.models.hourglass import StackedHourglass
from oasjax.models.hrnet import HRNet
from oasjax.models.oasnet import OASNet

NUM_JOINTS = 3
IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 32, 16, 3)).astype(np.float32)
BACKBONES = {
    "hourglass": lambda **options: StackedHourglass(
        num_stacks=2, depth=2, features=8, stem_features=4, **options
    ),
    "hrnet": lambda **options: HRNet(((4, 8), (4, 8)), (1, 1), (1, 1), **options),
}


def plain_network(name: str, **options) -> OASNet:
    backbone = BACKBONES[name](**options)
    dtype = options.get("dtype", jnp.float32)
    return OASNet(backbone, NUM_JOINTS, "none", EraseReconstruct(erase=False, reconstruct=False), dtype)


def variables_of(net: OASNet):
    """Random weights; those of batch norms away from 1 and 0."""
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), IMAGES)
    random = np.random.default_rng(1)

    def draw(path, leaf):
        noise = random.normal(0, 0.3, leaf.shape).astype(np.float32)
        if path[-1].key == "kernel":
            return noise
        return noise + 1 if path[-1].key == "scale" else np.exp(noise) if path[-1].key == "var" else noise

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def name(request) -> str:
    return request.param


def test_remat_gives_the_same_numbers_and_keeps_less(name):
    results, kept = {}, {}
    variables = variables_of(plain_network(name))
    for remat in (False, True):
        net = plain_network(name, remat=remat)
        assert jax.tree.structure(variables_of(net)) == jax.tree.structure(variables)

        def loss(params, batch_stats, images, net=net):
            collections = {"params": params, "batch_stats": batch_stats}
            output, state = net.apply(collections, images, True, mutable=["batch_stats"])
            return jnp.mean(jnp.square(output.heatmaps)), state

        weights = variables["params"], variables["batch_stats"]
        results[remat] = jax.jit(jax.value_and_grad(loss, has_aux=True))(*weights, IMAGES)
        # The leaves of a vjp are what the forward pass keeps for the backward pass. Large pictures: the
        # weights are kept as well.
        large = jax.ShapeDtypeStruct((8, 256, 256, 3), jnp.float32)
        backward = jax.eval_shape(
            lambda p, s, x, f=loss: jax.vjp(lambda p: f(p, s, x)[0], p)[1], *weights, large
        )
        kept[remat] = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))
    np.testing.assert_allclose(results[True][0][0], results[False][0][0], rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), *results.values())
    assert kept[True] < 0.5 * kept[False]


def test_with_remat_every_residual_block_is_computed_again(name):
    blocks = {"hourglass": 3 + 2 * (3 * 2 + 1 + 1), "hrnet": 4 + 2 + 2}[name]
    for remat, expected in ((False, 0), (True, blocks)):
        net = plain_network(name, remat=remat)
        shapes = jax.eval_shape(lambda x, net=net: net.init(jax.random.key(0), x, False), IMAGES)
        jaxpr = jax.make_jaxpr(lambda v, x, net=net: net.apply(v, x, False))(shapes, IMAGES)
        names = [equation.primitive.name for equation in jaxpr.eqns]
        assert sum(found in ("checkpoint", "remat2") for found in names) == expected


def test_bfloat16_features_come_from_float32_weights(name):
    net = plain_network(name)
    variables = variables_of(net)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    narrow = plain_network(name, dtype=jnp.bfloat16)
    both = jax.jit(lambda v, x: (net.apply(v, x, False), narrow.apply(v, x, False)))
    exact, rough = both(variables, IMAGES)
    assert rough.features.dtype == jnp.bfloat16 and rough.heatmaps.dtype == jnp.float32
    error = np.std(rough.heatmaps - exact.heatmaps) / np.std(exact.heatmaps)
    assert 1e-4 < error < 0.05


class Output(NamedTuple):
    """What a head gives; `number` tells one from another."""

    heatmaps: jax.Array
    number: int


def test_heads_are_called_in_order_and_their_outputs_returned(name):
    calls, returned = [], []

    def head(stack, features):
        calls.append((stack, features.shape, features.dtype))
        return Output(features[..., :NUM_JOINTS], stack)

    def initialise(images):
        outputs, variables = backbone.init_with_output(jax.random.key(0), images, False, head)
        returned.extend(output.number for output in outputs)
        return variables

    backbone = BACKBONES[name]()
    jax.eval_shape(initialise, IMAGES)
    stacks, channels = {"hourglass": ([0, 1], 8), "hrnet": ([0], 4)}[name]
    assert calls == [(stack, (2, 8, 4, channels), jnp.float32) for stack in stacks]
    assert returned == stacks and backbone.num_stacks == len(stacks) and backbone.stride == 4

"""The convolution and the forms of its weight gradient, against XLA's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from oasjax.ops.convolution import Geometry, convolution, kernel_gradient_by_group

CASES = [
    # size, inputs, outputs, geometry
    (1, 6, 4, Geometry()),
    (1, 6, 4, Geometry(stride=2)),
    (1, 6, 4, Geometry(padding=1)),
    (1, 6, 4, Geometry(groups=2)),
    (3, 6, 4, Geometry(padding=1)),
    (3, 6, 4, Geometry(stride=2, padding=1)),
    (3, 6, 4, Geometry(padding=4, dilation=4)),
    (7, 3, 4, Geometry(stride=2, padding=3)),
    (3, 6, 4, Geometry(padding=1, groups=2)),
    (3, 6, 12, Geometry(stride=2, padding=1, groups=3)),
    (3, 6, 6, Geometry(stride=2, padding=2, dilation=2, groups=6)),
    (4, 6, 6, Geometry(stride=4, groups=2)),
]


def plain(x, kernel, geometry):
    """The same convolution as XLA differentiates it."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (geometry.stride,) * 2,
        ((geometry.padding,) * 2,) * 2,
        rhs_dilation=(geometry.dilation,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=geometry.groups,
    )


def values_and_gradients(convolve, case, dtype):
    size, inputs, outputs, geometry = case
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(3, 9, 8, inputs)), dtype)
    kernel = jnp.asarray(random.normal(size=(size, size, inputs // geometry.groups, outputs)), dtype)

    @jax.jit
    def run(x, kernel):
        y, transposed = jax.vjp(lambda x, kernel: convolve(x, kernel, geometry), x, kernel)
        y_bar = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), dtype)
        return y, *transposed(y_bar)

    return run(x, kernel)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_both_gradients_are_those_of_the_plain_convolution(case):
    ours = values_and_gradients(convolution, case, jnp.float32)
    default = values_and_gradients(plain, case, jnp.float32)
    for a, b in zip(ours, default, strict=True):
        assert jnp.abs(a - b).max() <= 1e-5 * jnp.abs(b).max()


@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[9]], ids=str)
def test_gradients_are_exact_in_float64_and_keep_the_type_in_bfloat16(case):
    with jax.enable_x64(True):
        for a, b in zip(
            *(values_and_gradients(c, case, jnp.float64) for c in (convolution, plain)), strict=True
        ):
            assert a.dtype == jnp.float64
            assert jnp.abs(a - b).max() <= 1e-13 * jnp.abs(b).max()
    for a, b in zip(
        *(values_and_gradients(c, case, jnp.bfloat16) for c in (convolution, plain)), strict=True
    ):
        assert a.dtype == jnp.bfloat16
        # Sums of some two hundred products, rounded to 8 bits in another order.
        assert jnp.abs(a - b).astype(jnp.float32).max() <= 0.02 * jnp.abs(b).astype(jnp.float32).max()


def test_a_1x1_gradient_multiplies_both_operands_as_they_lie_in_memory():
    """With the operands of the product swapped, XLA:CPU transposes the larger one first."""
    x, kernel = jnp.zeros((1, 4, 4, 6)), jnp.zeros((1, 1, 6, 4))
    jaxpr = jax.make_jaxpr(jax.grad(lambda kernel: convolution(x, kernel, Geometry()).sum()))(kernel)
    (product,) = [
        e for e in jaxpr.eqns if e.primitive.name == "dot_general" and e.outvars[0].aval.shape == (6, 4)
    ]
    assert [v.aval.shape for v in product.invars] == [(16, 6), (16, 4)]
    assert not [e for e in jaxpr.eqns if e.primitive.name == "transpose" and e.invars[0].aval.ndim == 4]


@pytest.mark.parametrize("platform, loops", [("cpu", True), ("cuda", False), ("tpu", False)])
def test_groups_are_taken_one_by_one_on_a_cpu_alone(platform, loops):
    geometry = Geometry(padding=1, groups=2)
    x, kernel = jnp.zeros((1, 4, 4, 6)), jnp.zeros((3, 3, 3, 4))
    gradient = jax.jit(jax.grad(lambda kernel: convolution(x, kernel, geometry).sum()))
    text = jax.export.export(gradient, platforms=[platform])(kernel).mlir_module()
    assert ("stablehlo.while" in text) == loops
    assert ("batch_group_count = 2" in text) != loops


def test_the_gradient_by_group_is_a_gradient():
    """By finite differences, so that it does not rest on XLA's."""
    geometry = Geometry(stride=2, padding=1, groups=2)
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, bar = (jnp.asarray(random.normal(size=shape)) for shape in ((2, 6, 6, 4), (2, 3, 3, 6)))
        kernel, direction = (jnp.asarray(random.normal(size=(3, 3, 2, 6))) for _ in range(2))
        gradient = kernel_gradient_by_group(x, bar, size=3, geometry=geometry)
        there, here = (jnp.vdot(plain(x, kernel + h * direction, geometry), bar) for h in (1e-3, -1e-3))
        # The convolution is linear in its kernel: a difference of any length is exact.
        np.testing.assert_allclose(jnp.vdot(gradient, direction), (there - here) / 2e-3, rtol=1e-10)

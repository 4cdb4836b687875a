"""Counts worked out by hand: output elements x taps x input channels, or rows x columns x inner length."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.extend.core.primitives import closed_call_p

from oasjax.models.multiply_adds import multiply_adds


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def convolve(x, kernel, **options):
    """A convolution of layout NHWC, HWIO; by default with a stride of 1 and padding 1."""
    defaults = {"window_strides": (1, 1), "padding": ((1, 1), (1, 1))}
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, dimension_numbers=numbers, **(defaults | options))


def square(x):
    """24 multiply-adds for 2x2 matrices in a batch of 3."""
    return x @ x


MATRICES = shape(3, 2, 2)


@pytest.mark.parametrize(
    ("image", "kernel", "options", "expected"),
    [
        # 2 x 5 x 4 outputs of 3 channels; 9 taps of 7 channels. The padding counts.
        ((2, 5, 4, 7), (3, 3, 7, 3), {}, 2 * 5 * 4 * 3 * 9 * 7),
        ((2, 5, 4, 7), (3, 3, 7, 3), {"padding": "VALID"}, 2 * 3 * 2 * 3 * 9 * 7),
        ((1, 8, 6, 2), (3, 5, 2, 3), {"window_strides": (2, 1)}, 4 * 4 * 3 * 15 * 2),
        # Dilation spreads the taps; there are as many.
        ((1, 9, 9, 2), (3, 3, 2, 5), {"rhs_dilation": (2, 3), "padding": ((2, 2), (3, 3))}, 81 * 5 * 9 * 2),
        # 2 groups: each output channel sees 3 of the 6 input channels.
        ((1, 4, 4, 6), (3, 3, 3, 8), {"feature_group_count": 2}, 16 * 8 * 9 * 3),
        # One group for each channel.
        ((1, 4, 4, 6), (3, 3, 1, 6), {"feature_group_count": 6}, 16 * 6 * 9),
        # 2 groups of the batch of 4: the output has a batch of 2, and half of its channels see each group.
        ((4, 4, 4, 3), (3, 3, 3, 8), {"batch_group_count": 2}, 2 * 16 * 8 * 9 * 3),
    ],
)
def test_a_convolution_counts_outputs_times_taps_times_channels_of_a_group(image, kernel, options, expected):
    assert multiply_adds(lambda x, k: convolve(x, k, **options), shape(*image), shape(*kernel)) == expected


def test_the_layout_of_a_convolution_makes_no_difference():
    """All seven sizes differ, so that a mistaken axis shows."""

    def channels_first(x, kernel):
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("CNWH", "IWOH", "WNCH"))

    count = multiply_adds(channels_first, shape(7, 2, 4, 6), shape(7, 1, 5, 3))
    assert count == 2 * 6 * 4 * 5 * (3 * 1) * 7


@pytest.mark.parametrize(
    ("size", "stride", "padding", "rows", "columns"),
    [
        # Outputs in each direction, times the taps that meet a pixel there. The input has 3 x 5 pixels.
        (4, 2, "SAME", 6 * 2, 10 * 2),
        (4, 4, "SAME", 12 * 1, 20 * 1),
        (2, 2, "VALID", 6 * 1, 10 * 1),
        (6, 3, "VALID", 12 * 2, 18 * 2),
        (3, 2, "SAME", 3 * 1 + 3 * 2, 5 * 1 + 5 * 2),  # one tap and two taps in turn
        (5, 1, "VALID", 7 * 5, 9 * 5),  # a convolution like any other
    ],
)
def test_a_transposed_convolution_does_not_count_the_zeros_between_pixels(
    size, stride, padding, rows, columns
):
    def grow(x, kernel):
        return lax.conv_transpose(x, kernel, (stride, stride), padding)

    count = multiply_adds(grow, shape(2, 3, 5, 7), shape(size, size, 7, 11))
    assert count == 2 * rows * columns * 7 * 11


@pytest.mark.parametrize(
    ("taps", "options", "expected"),
    [
        # Three pixels at 0, 2 and 4 of a line. One tap at -1 ... 5 meets each of them once;
        (1, {"padding": [(1, 1)]}, 3),
        # at 0, 2, 4 as well;
        (1, {"padding": [(0, 0)], "window_strides": [2]}, 3),
        # two taps that are two apart at 0 ... 2 meet two pixels or none.
        (2, {"padding": [(0, 0)], "rhs_dilation": [2]}, 2 + 0 + 2),
    ],
)
def test_where_taps_meet_pixels_depends_on_padding_stride_and_dilation(taps, options, expected):
    def line(x, kernel):
        options_of_all = {"window_strides": [1], "lhs_dilation": [2], **options}
        return lax.conv_general_dilated(x, kernel, dimension_numbers=("NWC", "WIO", "NWC"), **options_of_all)

    assert multiply_adds(line, shape(1, 3, 1), shape(taps, 1, 1)) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (2, 2)},
        {"window_strides": (2, 1), "feature_group_count": 2},
        {"rhs_dilation": (2, 2), "padding": ((2, 2), (2, 2))},
    ],
)
def test_the_gradients_of_a_convolution_cost_twice_what_it_costs_itself(options):
    """Each product takes part once in the gradient of the input, once in that of the kernel."""
    groups = options.get("feature_group_count", 1)
    arguments = shape(2, 8, 6, 4), shape(3, 3, 4 // groups, 10)
    forward = multiply_adds(lambda x, k: convolve(x, k, **options), *arguments)
    step = jax.value_and_grad(lambda x, k: convolve(x, k, **options).sum(), argnums=(0, 1))
    assert multiply_adds(step, *arguments) == 3 * forward > 0


@pytest.mark.parametrize(
    ("subscripts", "left", "right", "expected"),
    [
        ("ij,jk->ik", (2, 3), (3, 5), 2 * 3 * 5),
        ("bij,bjk->bik", (7, 2, 3), (7, 3, 5), 7 * 2 * 3 * 5),
        ("bijl,bjlk->bik", (7, 2, 3, 4), (7, 3, 4, 5), 7 * 2 * 3 * 4 * 5),
        ("bhwi,io->bhwo", (1, 6, 4, 3), (3, 5), 6 * 4 * 3 * 5),
        ("i,i->", (9,), (9,), 9),
    ],
)
def test_a_matrix_product_counts_rows_times_columns_times_inner_length(subscripts, left, right, expected):
    assert multiply_adds(lambda x, y: jnp.einsum(subscripts, x, y), shape(*left), shape(*right)) == expected


def test_what_is_elementwise_counts_nothing_and_products_add_up():
    def network(x, kernel, weights):
        x = jax.nn.relu(convolve(x, kernel) * 3.0 + 1.0)
        return jax.nn.softmax(x.mean((1, 2)) @ weights)

    arguments = shape(1, 4, 4, 2), shape(3, 3, 2, 5), shape(5, 6)
    assert multiply_adds(network, *arguments) == 16 * 5 * 9 * 2 + 5 * 6


def with_custom_vjp(x):
    @jax.custom_vjp
    def function(x):
        return square(x)

    function.defvjp(lambda x: (square(x), x), lambda x, g: (g @ x + x @ g,))
    return function(x)


def with_custom_jvp(x):
    @jax.custom_jvp
    def function(x):
        return square(x)

    function.defjvp(lambda primals, tangents: (square(*primals), square(*tangents)))
    return function(x)


def with_closed_call(x):
    """What JAX makes of functions that it has traced already."""
    params = closed_call_p.get_bind_params({"call_jaxpr": jax.make_jaxpr(square)(x)})
    (result,) = closed_call_p.bind(x, **params)
    return result


@pytest.mark.parametrize(
    ("function", "rounds"),
    [
        (jax.jit(square), 1),
        (jax.checkpoint(square), 1),
        (with_custom_vjp, 1),
        (with_custom_jvp, 1),
        (with_closed_call, 1),
        (lambda x: lax.scan(lambda x, _: (square(x), None), x, length=5), 5),
        (lambda x: lax.fori_loop(0, 4, lambda _, x: square(x), x), 4),
        (lambda x: lax.map(jax.jit(square), jnp.stack([x, x])), 2),
        (jax.jit(jax.checkpoint(lambda x: with_custom_vjp(with_custom_jvp(square(x))))), 3),
        (
            lambda x: lax.scan(
                lambda x, _: (lax.scan(lambda x, _: (square(square(x)), None), x, length=3)[0], None),
                square(x),
                length=5,
            ),
            1 + 5 * 3 * 2,
        ),
    ],
)
def test_products_inside_of_other_functions_count_as_often_as_they_run(function, rounds):
    assert multiply_adds(function, MATRICES) == rounds * 24


def test_the_backward_pass_of_a_custom_vjp_counts_what_that_computes():
    step = jax.value_and_grad(lambda x: with_custom_vjp(x).sum())
    assert multiply_adds(step, MATRICES) == (1 + 2) * 24


def test_rematerialisation_counts_the_forward_pass_again():
    def step(function):
        return jax.value_and_grad(lambda x: jnp.sin(function(x)).sum())

    plain = multiply_adds(step(lambda x: jnp.sin(square(x)) @ x), MATRICES)
    again = multiply_adds(step(jax.checkpoint(lambda x: jnp.sin(square(x)) @ x)), MATRICES)
    # Two products forward, each with two in its gradient; the first is needed again, the last is not.
    assert plain == 6 * 24
    assert again == 7 * 24


def test_of_several_branches_the_largest_counts():
    branches = [lambda x: x, lambda x: square(square(x)), square]
    assert multiply_adds(lambda i, x: lax.switch(i, branches, x), 0, MATRICES) == 2 * 24
    assert multiply_adds(lambda x: lax.cond(x[0, 0, 0] > 0, square, square, x), MATRICES) == 24


def test_of_the_forms_for_several_platforms_one_counts():
    def function(x):
        return lax.platform_dependent(x, cpu=lambda x: jnp.einsum("bij,bjk->bik", x, x), default=square)

    assert multiply_adds(function, MATRICES) == 24


def test_a_while_loop_with_products_is_refused_and_one_without_counts_nothing():
    def until_large(step):
        return lambda x: lax.while_loop(lambda x: x.sum() < 9, step, square(x))

    assert multiply_adds(until_large(lambda x: 2 * x), MATRICES) == 24
    with pytest.raises(ValueError, match="while loop"):
        multiply_adds(jax.jit(until_large(square)), MATRICES)


def test_a_body_that_may_run_any_number_of_times_is_refused_by_name():
    """The shapes in a `shard_map` are those of one device of many."""
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    sharded = jax.shard_map(square, mesh=mesh, in_specs=spec, out_specs=spec)
    with pytest.raises(ValueError, match="shard_map"):
        multiply_adds(sharded, MATRICES)


def test_nothing_is_computed_and_no_count_is_too_large():
    """A product of 10^18 multiply-adds, of matrices of 4 terabytes; in floating point the 1 would be lost."""
    side = 10**6
    count = multiply_adds(lambda x, y: (x @ x, y @ y), shape(side, side), shape(1, 1))
    assert count == 10**18 + 1


def test_arguments_may_be_trees_and_arrays():
    count = multiply_adds(lambda tree, y: tree["a"] @ y, {"a": shape(2, 3)}, jnp.ones((3, 4)))
    assert count == 24

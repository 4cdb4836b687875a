"""The weight gradient of one convolution, in every form that was tried, and PyTorch's.

All contenders get the same input and the same gradient of the output, float32 NHWC, and give the gradient of
the kernel. What `oasjax.ops.convolution` does was chosen from this table.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmarks.building import compiled, cpu_torch
from experiments.benchmarks.harness import Built, Case, Contender, Effort, Skip, Value
from experiments.benchmarks.suite import Axis, Suite
from oasjax.ops.convolution import Geometry, convolution, kernel_gradient_by_group, kernel_gradient_by_product

SEED = 0
EVERYWHERE: Mapping[str, Value] = {}


class Layer(NamedTuple):
    """A convolution and the size of its input."""

    height: int
    width: int
    inputs: int
    outputs: int
    size: int = 3
    stride: int = 1
    groups: int = 1

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.stride, self.size // 2, 1, self.groups)

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        return self.size, self.size, self.inputs // self.groups, self.outputs

    @property
    def name(self) -> str:
        stride = f"/{self.stride}" if self.stride > 1 else ""
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        size = f"{self.size}x{self.size}{stride}"
        return f"{size} {self.inputs}->{self.outputs}{groups} at {self.height}x{self.width}"


LAYERS = {
    layer.name: layer
    for layer in (
        # The hourglass at 256x256.
        Layer(256, 256, 3, 64, size=7, stride=2),
        Layer(64, 64, 256, 128, size=1),
        Layer(64, 64, 128, 128),
        Layer(32, 32, 128, 128),
        # HRNet-W32 at 256x192.
        Layer(64, 48, 32, 32),
        Layer(32, 24, 64, 64),
        Layer(16, 12, 128, 128),
        Layer(8, 6, 256, 256),
        Layer(64, 48, 256, 32),
        Layer(32, 24, 64, 128, stride=2),
        # ResNeXt 32x8d.
        Layer(32, 64, 256, 256, groups=32),
        Layer(32, 64, 512, 512, stride=2, groups=32),
        Layer(8, 16, 1024, 1024, groups=32),
    )
}


@lru_cache(maxsize=1)
def arrays(layer: Layer, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and gradient of the output."""
    random = np.random.default_rng(SEED)
    shape = (batch, layer.height, layer.width, layer.inputs)
    kernel = jax.ShapeDtypeStruct(layer.kernel_shape, jnp.float32)
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    y = jax.eval_shape(partial(convolution, geometry=layer.geometry), x, kernel)
    return random.standard_normal(shape, np.float32), random.standard_normal(y.shape, np.float32)


# (layer, input, gradient of the output) -> gradient of the kernel
Form = Callable[[Layer, jax.Array, jax.Array], jax.Array]


def _default(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """What JAX derives from `conv_general_dilated`."""
    pad = layer.size // 2
    kernel = jnp.zeros(layer.kernel_shape)
    forward = partial(
        lax.conv_general_dilated,
        x,
        window_strides=(layer.stride,) * 2,
        padding=((pad, pad),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=layer.groups,
    )
    return jax.linear_transpose(forward, kernel)(bar)[0]


def _ours(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    kernel = jnp.zeros(layer.kernel_shape)
    return jax.vjp(lambda kernel: convolution(x, kernel, layer.geometry), kernel)[1](bar)[0]


def _only_1x1(layer: Layer) -> None:
    if layer.size > 1:
        raise Skip("for 1x1 alone")


def _only_larger_without_groups(layer: Layer) -> None:
    if layer.size == 1 or layer.groups > 1:
        raise Skip("for kernels above 1x1, without groups, alone")


def _only_groups(layer: Layer) -> None:
    if layer.groups == 1:
        raise Skip("with groups alone")


def _product(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    _only_1x1(layer)
    return kernel_gradient_by_product(x, bar)


def _product_swapped(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """What JAX derives from an einsum: (bar^T x)^T."""
    _only_1x1(layer)
    rows, columns = x.reshape(-1, layer.inputs), bar.reshape(-1, layer.outputs)
    return lax.dot_general(columns, rows, (((0,), (0,)), ((), ()))).T[None, None]


def _taps(layer: Layer, x: jax.Array, bar: jax.Array) -> list[jax.Array]:
    """The input as each tap of the kernel sees it, as rows of cells."""
    pad, stride, (_, height, width, _) = layer.size // 2, layer.stride, bar.shape
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return [
        padded[
            :, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride
        ].reshape(-1, layer.inputs)
        for i in range(layer.size)
        for j in range(layer.size)
    ]


def _tap_products(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """A product for each tap."""
    _only_larger_without_groups(layer)
    columns = bar.reshape(-1, layer.outputs)
    products = [lax.dot_general(tap, columns, (((0,), (0,)), ((), ()))) for tap in _taps(layer, x, bar)]
    return jnp.stack(products).reshape(layer.kernel_shape)


def _tap_products_transposed(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """A product for each tap, with the output's gradient transposed once for all of them."""
    _only_larger_without_groups(layer)
    rows = bar.reshape(-1, layer.outputs).T
    return jnp.stack([(rows @ tap).T for tap in _taps(layer, x, bar)]).reshape(layer.kernel_shape)


def _by_image(form: Form) -> Form:
    """One image after the other, summed."""

    def gradient(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
        def add(total: jax.Array, pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            return total + form(layer, pair[0][None], pair[1][None]), None

        return lax.scan(add, jnp.zeros(layer.kernel_shape), (x, bar))[0]

    return gradient


def _patches(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """All taps side by side, one product (im2col)."""
    _only_larger_without_groups(layer)
    patches = jnp.concatenate(_taps(layer, x, bar), axis=-1)
    product = lax.dot_general(patches, bar.reshape(-1, layer.outputs), (((0,), (0,)), ((), ())))
    return product.reshape(layer.kernel_shape)


def _by_group(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """A product of patches for each group, one after the other."""
    _only_groups(layer)
    return kernel_gradient_by_group(x, bar, size=layer.size, geometry=layer.geometry)


def _batched_over_groups(layer: Layer, x: jax.Array, bar: jax.Array) -> jax.Array:
    """For each tap one batched product over the groups."""
    _only_groups(layer)
    columns = bar.reshape(-1, layer.groups, layer.outputs // layer.groups)
    products = [
        jnp.einsum("ngi,ngo->igo", tap.reshape(-1, layer.groups, layer.inputs // layer.groups), columns)
        for tap in _taps(layer, x, bar)
    ]
    return jnp.stack(products).reshape(layer.kernel_shape)


def _jax_contender(name: str, form: Form, only: Mapping[str, Value] = EVERYWHERE) -> Contender:
    def build(case: Case) -> Built:
        layer = LAYERS[case["layer"]]
        x, bar = map(jnp.asarray, arrays(layer, case["batch"]))
        call, seconds, temp_bytes = compiled(jax.jit(partial(form, layer)), x, bar)
        return Built(
            lambda: jax.block_until_ready(call(x, bar)),
            lambda gradient: {"gradient": np.asarray(gradient)},
            seconds,
            temp_bytes,
        )

    return Contender(name, build, "", only)


def _torch_channels_last(case: Case) -> Built:
    torch = cpu_torch()
    backward = torch.ops.aten.convolution_backward
    layer = LAYERS[case["layer"]]
    x, bar = (torch.from_numpy(a).permute(0, 3, 1, 2) for a in arrays(layer, case["batch"]))
    kernel = torch.zeros(layer.outputs, layer.inputs // layer.groups, layer.size, layer.size)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    pair, pad = [layer.stride] * 2, [layer.size // 2] * 2

    def run() -> Any:
        wanted = [False, True, False]
        return backward(bar, x, kernel, None, pair, pad, [1, 1], False, [0, 0], layer.groups, wanted)[1]

    return Built(run, lambda gradient: {"gradient": gradient.permute(2, 3, 1, 0).numpy()})


REFERENCE = "default"

SUITE = Suite(
    name="kernel_gradient",
    summary="Weight gradient of one convolution",
    contenders=(
        _jax_contender(REFERENCE, _default),
        _jax_contender("ours", _ours),
        _jax_contender("product", _product),
        _jax_contender("product, operands swapped", _product_swapped),
        _jax_contender("taps", _tap_products),
        _jax_contender("taps, by image", _by_image(_tap_products), only={"batch": 4}),
        _jax_contender("taps, transposed once", _tap_products_transposed),
        _jax_contender(
            "taps, transposed once, by image", _by_image(_tap_products_transposed), only={"batch": 4}
        ),
        _jax_contender("patches", _patches),
        _jax_contender("patches, by group", _by_group),
        _jax_contender("taps, batched over groups", _batched_over_groups),
        Contender("torch channels_last", _torch_channels_last),
    ),
    reference=REFERENCE,
    axes={"layer": Axis("", tuple(LAYERS)), "batch": Axis("B", (1, 4))},
    panels=("batch",),
    over="batch",
    outputs=("gradient",),
    headline={"layer": Layer(64, 64, 128, 128).name, "batch": 4},
    packages=("oasjax", "jax", "jaxlib", "numpy", "torch"),
    seed=SEED,
    effort=Effort(patience=5.0),
)

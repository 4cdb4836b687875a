"""Keypoints in pixels of a crop <-> heatmaps, by the convention of `config.target`.

| codec | target, centred | prediction | cell 0 lies at pixel |
|---|---|---|---|
| `subpixel` (ours) | at the joint | parabola through the logarithms | (s - 1) / 2, the middle of its pixels |
| `hrnet` | at the nearest cell | a quarter of a cell towards the higher neighbour | 0 |
| `hourglass` | at the cell that holds the joint | the same, by another rule for the border | s / 2 |
| `dark` | at the joint | Newton's step on the logarithm of the blurred map | 0 |
| `udp` | at the joint | the same, with other differences | 0, and the last cell at the last pixel |

The published four expect crops cut as their networks saw them (`config.data.geometry`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from oasjax.codecs import dark, heatmap, hourglass, hrnet, udp
from oasjax.codecs.heatmap_accuracy import HeatmapAccuracy, hourglass_accuracy, hrnet_accuracy
from oasjax.ops.choices import check_choice


@dataclass(frozen=True)
class Codec:
    """A convention bound to one size of crops. Pairs are (x, y); whatever comes in, no bfloat16 is used.

    Attributes:
        map_size_wh: width and height of the maps in cells.
        pitch_px, first_cell_px: crop pixel of cell c = first_cell_px + pitch_px * c.
        draw: (points in cells (*b, k, 2), labelled (*b, k)) -> (maps (*b, h, w, k), drawn (*b, k)).
        locate: maps (*b, h, w, k) -> (points in cells (*b, k, 2), peak values (*b, k)).
        shifts_mirrored: maps of a mirrored crop are moved by one cell (HRNet's SHIFT_HEATMAP).
        whole_pixels: final positions in the picture are cut to whole pixels (`hourglass.whole_pixels`).
        accuracy: (predicted maps, targets (b, h, w, k)) -> how many joints are found, for the training log.
    """

    map_size_wh: tuple[int, int]
    pitch_px: tuple[float, float]
    first_cell_px: tuple[float, float]
    draw: Callable[..., Any]
    locate: Callable[..., Any]
    shifts_mirrored: bool = False
    whole_pixels: bool = False
    accuracy: Callable[..., HeatmapAccuracy] = hrnet_accuracy

    def to_cells(self, points_px: Float[Array, "*b 2"]) -> Float[Array, "*b 2"]:
        """Crop pixels -> cells, not rounded."""
        points = _wide(points_px)
        return (points - jnp.asarray(self.first_cell_px, points.dtype)) / jnp.asarray(
            self.pitch_px, points.dtype
        )

    def encode(
        self, points_px: Float[Array, "*b k 2"], labelled: Bool[Array, "*b k"]
    ) -> tuple[Float[Array, "*b h w k"], Bool[Array, "*b k"]]:
        """Targets, and which joints have one: labelled, and near enough to the crop for the convention.

        The maps of the other joints are zero, whatever their coordinates (also NaN).
        """
        return self.draw(self.to_cells(points_px), labelled)

    def decode(self, maps: Float[Array, "*b h w k"]) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
        """Positions in crop pixels and peak values."""
        cells, scores = self.locate(_wide(maps))
        pitch, first = jnp.asarray(self.pitch_px, cells.dtype), jnp.asarray(self.first_cell_px, cells.dtype)
        return first + pitch * cells, scores

    def mirror(self, maps: Float[Array, "*b h w k"]) -> Float[Array, "*b h w k"]:
        """Maps of the mirrored crop, turned back to lie over those of the crop itself.

        Left and right joints are not swapped. With pixel x of the crop at W - 1 - x of the mirrored one,
        `subpixel` and `udp` leave nothing over; in `hrnet`, `dark` (after their shift) and `hourglass` the
        result lies one pixel too far right, a quarter of a cell at stride 4, as in the published code.
        """
        mirrored = maps[..., ::-1, :]
        return heatmap.move_right(mirrored) if self.shifts_mirrored else mirrored


def _wide(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _subpixel(target: Mapping[str, Any], stride: int, input_size_wh: tuple[int, int]) -> Codec:
    first_px = (stride - 1) / 2
    return _codec(
        target, stride, input_size_wh, heatmap.draw, heatmap.decode, first_px, accuracy=hourglass_accuracy
    )


def _hrnet(target: Mapping[str, Any], stride: int, input_size_wh: tuple[int, int]) -> Codec:
    return _codec(target, stride, input_size_wh, hrnet.encode, hrnet.decode, shifts_mirrored=True)


def _hourglass(target: Mapping[str, Any], stride: int, input_size_wh: tuple[int, int]) -> Codec:
    first_px = stride / 2
    return _codec(
        target,
        stride,
        input_size_wh,
        hrnet.encode,
        hourglass.decode,
        first_px,
        whole_pixels=True,
        accuracy=hourglass_accuracy,
    )


def _dark(target: Mapping[str, Any], stride: int, input_size_wh: tuple[int, int]) -> Codec:
    locate = partial(dark.decode, blur_kernel=target["blur_kernel"])
    return _codec(target, stride, input_size_wh, dark.encode, locate, shifts_mirrored=True)


def _udp(target: Mapping[str, Any], stride: int, input_size_wh: tuple[int, int]) -> Codec:
    locate = partial(udp.decode, blur_kernel=target["blur_kernel"])
    codec = _codec(target, stride, input_size_wh, udp.encode, locate)
    x, y = ((side - 1) / (cells - 1) for side, cells in zip(input_size_wh, codec.map_size_wh, strict=True))
    return replace(codec, pitch_px=(x, y))


def _codec(
    target: Mapping[str, Any],
    stride: int,
    input_size_wh: tuple[int, int],
    draw: Callable[..., Any],
    locate: Callable[..., Any],
    first_px: float = 0.0,
    **more: Any,
) -> Codec:
    width, height = (side // stride for side in input_size_wh)
    return Codec(
        map_size_wh=(width, height),
        pitch_px=(float(stride), float(stride)),
        first_cell_px=(first_px, first_px),
        draw=partial(draw, height=height, width=width, sigma_cells=target["sigma_cells"]),
        locate=locate,
        **more,
    )


CODECS = {"subpixel": _subpixel, "hrnet": _hrnet, "hourglass": _hourglass, "dark": _dark, "udp": _udp}


def make_codec(target: Mapping[str, Any], *, stride: int, input_size_wh: tuple[int, int]) -> Codec:
    """The codec `target["codec"]` for crops of one size.

    Args:
        target: `config.target`: `codec`, `sigma_cells`, `blur_kernel`.
        stride: of the network: crop pixels per cell.
        input_size_wh: width and height of the crops in pixels.

    Raises ValueError for an unknown codec, a sigma that is not above 0 and an even blur kernel.
    """
    check_choice("codec", target["codec"], CODECS)
    if not target["sigma_cells"] > 0:
        raise ValueError(f"sigma_cells is {target['sigma_cells']}; it must be above 0")
    if target["blur_kernel"] < 1 or target["blur_kernel"] % 2 == 0:
        raise ValueError(
            f"blur_kernel is {target['blur_kernel']}; it must be odd, such as 11 for sigma_cells 2"
        )
    return CODECS[target["codec"]](target, stride, input_size_wh)

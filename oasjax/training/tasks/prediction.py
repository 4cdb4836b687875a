"""From the maps of a person's crops to predictions: mirror images, several scales, decoding."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from oasjax.codecs import occlusion_map, pyramid
from oasjax.codecs.codec import Codec
from oasjax.models.oasnet import OASNetOutput

# `heatmaps` (b, h, w, k); of the occlusion head `occlusion_map` (b, h, w, 1) or `occlusion` (b, k).
Maps = dict[str, Array]


def last_maps(output: OASNetOutput) -> Maps:
    """What the last stack says."""
    maps = {"heatmaps": output.heatmaps[-1]}
    if output.occlusion_maps is not None:
        maps["occlusion_map"] = output.occlusion_maps[-1]
    if output.occlusion_logits is not None:
        _, occluded, visible = jnp.moveaxis(output.occlusion_logits[-1], -1, 0)
        # P(occluded) / (P(occluded) + P(visible))
        maps["occlusion"] = jax.nn.sigmoid(occluded - visible)
    return maps


def with_mirror_image(
    maps_of: Callable[[Array], Maps],
    images: Float[Array, "b y x 3"],
    codec: Codec,
    permutation: Int[np.ndarray, "k"],
) -> Maps:
    """Mean of the maps of crops and of their mirror images, turned back."""
    maps, mirrored = maps_of(images), maps_of(images[:, :, ::-1])
    turned_back: dict[str, Callable[[Array], Array]] = {
        "heatmaps": lambda x: codec.mirror(x)[..., permutation],
        "occlusion_map": codec.mirror,
        "occlusion": lambda x: x[:, permutation],
    }
    return {name: (value + turned_back[name](mirrored[name])) / 2 for name, value in maps.items()}


def predictions_of(maps: Maps, codec: Codec) -> dict[str, Array]:
    """Keypoints in crop pixels, scores, occlusion and the occlusion map, from one crop a person."""
    keypoints, scores = codec.decode(maps["heatmaps"])
    return {"keypoints": keypoints, "scores": scores} | _occlusion(maps, keypoints, codec)


def predictions_over_scales(
    maps: Maps,
    codec: Codec,
    size_wh: tuple[int, int],
    center_px: tuple[float, float],
    scales: Sequence[float],
) -> dict[str, Array]:
    """As `predictions_of`, from the crops of all scales together, in pixels of the crop of scale 1.

    Args:
        maps: with an axis for the scales after that of the people.
        size_wh, center_px: of the crops, and where they have the middle of the person's box.
        scales: as many as that axis has entries.
    """
    axes = list(zip(size_wh, center_px, codec.map_size_wh, codec.pitch_px, codec.first_cell_px, strict=True))

    def readings(positions: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Weights (s, n, m) along x and along y that read the maps at these positions."""
        return [
            np.stack(
                [
                    pyramid.resampling(
                        places,
                        size=size,
                        center=center,
                        scale=scale,
                        num_cells=cells,
                        pitch_px=pitch,
                        first_cell_px=first,
                    )
                    for scale in scales
                ]
            )
            for places, (size, center, cells, pitch, first) in zip(positions, axes, strict=True)
        ]

    canvas = [pyramid.canvas_pixels(size, center, scales) for size, center, *_ in axes]
    columns, rows = readings(canvas)
    keypoints, scores = pyramid.decode(
        pyramid.average(maps["heatmaps"], rows, columns), (float(canvas[0][0]), float(canvas[1][0]))
    )
    averaged = {name: jnp.mean(value, axis=1) for name, value in maps.items() if name == "occlusion"}
    if "occlusion_map" in maps:
        columns, rows = readings([first + pitch * np.arange(cells) for *_, cells, pitch, first in axes])
        averaged["occlusion_map"] = pyramid.average(maps["occlusion_map"], rows, columns)
    return {"keypoints": keypoints, "scores": scores} | _occlusion(averaged, keypoints, codec)


def _occlusion(maps: Maps, keypoints: Float[Array, "b k 2"], codec: Codec) -> dict[str, Array]:
    """`occlusion` (b, k), and `occlusion_map` (b, h, w) where there is one, both clipped to [0, 1]."""
    if "occlusion_map" in maps:
        return {
            "occlusion": occlusion_map.decode(maps["occlusion_map"], codec.to_cells(keypoints)),
            "occlusion_map": jnp.clip(maps["occlusion_map"][..., 0], 0.0, 1.0),
        }
    return {"occlusion": maps["occlusion"]} if "occlusion" in maps else {}

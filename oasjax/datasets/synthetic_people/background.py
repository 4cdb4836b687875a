"""Backgrounds: soft studio backdrops and busy streets, painted at picture resolution."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from oasjax.datasets.synthetic_people.appearance import rgb_from_hsv

_SHIFT = 4


def paint_background(rng: np.random.Generator, size: int, look: str) -> UInt8[np.ndarray, "s s 3"]:
    """A square background of `size` pixels for one of the looks."""
    return _studio(rng, size) if look == "studio" else _street(rng, size)


def _studio(rng: np.random.Generator, size: int) -> UInt8[np.ndarray, "s s 3"]:
    base = rng.random(3) * (360, 0.30, 0.35) + (0, 0.04, 0.60)
    corners = base + (rng.random((3, 3, 3)) - 0.5) * (40, 0.12, 0.30)
    picture = _spread(_valid_rgb(corners), size)
    if rng.random() < 0.55:  # a floor
        horizon = int(size * rng.uniform(0.62, 0.9))
        picture[horizon:] = cv2.convertScaleAbs(picture[horizon:], alpha=rng.uniform(0.78, 0.94))
    _clutter(rng, picture, base, spread=(140.0, 0.30, 0.45), most=3, scale=0.28)
    return picture


def _street(rng: np.random.Generator, size: int) -> UInt8[np.ndarray, "s s 3"]:
    base = rng.random(3) * (360, 0.40, 0.55) + (0, 0.05, 0.25)
    kind = rng.integers(4)
    if kind == 0:  # patches of a rough wall or of foliage
        cells = int(rng.integers(5, 24))
        tones = base + (rng.random((cells, cells, 3)) - 0.5) * (50, 0.25, 0.45)
        picture = _spread(_valid_rgb(tones), size)
    else:
        tones = base + (rng.random((3, 3, 3)) - 0.5) * (60, 0.25, 0.35)
        picture = _spread(_valid_rgb(tones), size)
    if kind == 1:
        _stripes(rng, picture, base)
    if kind >= 2:
        _facade(rng, picture)
    horizon = int(size * rng.uniform(0.6, 0.95))
    ground = _valid_rgb(rng.random((2, 6, 3)) * (60, 0.25, 0.2) + (20, 0.0, rng.uniform(0.2, 0.6)))
    picture[horizon:] = _spread(ground, size, size - horizon)
    _clutter(rng, picture, np.array([180.0, 0.4, 0.5]), spread=(360.0, 0.8, 0.8), most=9, scale=0.20)
    return picture


def _valid_rgb(hsv: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    return rgb_from_hsv(np.clip(hsv, (-360, 0.0, 0.05), (720, 1.0, 1.0)))


def _spread(
    colors: Float[np.ndarray, "h w 3"], width: int, height: int | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Blend a coarse grid of colours over a picture (square without `height`)."""
    size = (width, width if height is None else height)
    return cv2.resize(colors.astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)


def _stripes(rng: np.random.Generator, picture: UInt8[np.ndarray, "s s 3"], base: np.ndarray) -> None:
    size = len(picture)
    color = tuple(_valid_rgb(base + (rng.random(3) - 0.5) * (80, 0.4, 0.7)).tolist())
    pitch = size * rng.uniform(0.06, 0.22)
    slope = rng.uniform(-0.7, 0.7) * (rng.random() < 0.6)
    upright = rng.random() < 0.5
    for start in np.arange(-size, 2 * size, pitch):
        band = np.array(
            [
                [start, 0],
                [start + pitch * 0.5, 0],
                [start + pitch * 0.5 + slope * size, size],
                [start + slope * size, size],
            ]
        )
        band = band if upright else band[:, ::-1]
        cv2.fillConvexPoly(picture, np.rint(band * 16).astype(np.int32), color, cv2.LINE_AA, _SHIFT)


def _facade(rng: np.random.Generator, picture: UInt8[np.ndarray, "s s 3"]) -> None:
    """Rows of windows."""
    size = len(picture)
    columns, rows = rng.integers(2, 6, size=2).tolist()
    fill = rng.uniform(0.4, 0.75, 2).tolist()
    tones = _valid_rgb(rng.random((columns, rows, 3)) * (60, 0.5, 0.6) + (190, 0.05, 0.15)).tolist()
    for i in range(columns):
        for j in range(rows):
            first = int((i + 0.15) * size / columns), int((j + 0.15) * size / rows)
            last = int(first[0] + fill[0] * size / columns), int(first[1] + fill[1] * size / rows)
            cv2.rectangle(picture, first, last, tones[i][j], -1)


def _clutter(
    rng: np.random.Generator,
    picture: UInt8[np.ndarray, "s s 3"],
    base_hsv: Float[np.ndarray, "3"],
    spread: tuple[float, float, float],
    most: int,
    scale: float,
) -> None:
    """Up to `most` discs, bars and slanting blocks in colours around a base."""
    size = len(picture)
    number = int(rng.integers(most // 3, most + 1))
    colors = _valid_rgb(base_hsv + (rng.random((number, 3)) - 0.5) * spread).tolist()
    for color, draw in zip(colors, rng.random((number, 6)).tolist(), strict=True):
        x, y, w, h, turn, kind = draw
        if kind < 0.3:
            center, radius = (
                (int(x * size * 16), int(y * size * 16)),
                (0.2 + w) * 0.5 * scale * size,
            )
            cv2.circle(picture, center, int(radius * 16), color, -1, cv2.LINE_AA, _SHIFT)
            continue
        extent = (0.15 + w) * scale * size, (0.15 + h) * scale * size
        if kind < 0.6:
            extent = extent[0] * 0.3, extent[1] * 3
        angle = 0.0 if turn < 0.5 else (turn - 0.75) * 240
        corners = cv2.boxPoints(((x * size, y * size), extent, angle))
        cv2.fillConvexPoly(picture, np.rint(corners * 16).astype(np.int32), color, cv2.LINE_AA, _SHIFT)

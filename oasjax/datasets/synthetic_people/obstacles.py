"""Obstacles: the objects that stand in front of people."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8

from oasjax.datasets.synthetic_people.appearance import rgb_from_hsv
from oasjax.datasets.synthetic_people.canvas import OBJECT, Canvas, prepare_shapes

# In a picture of width and height 1.
Polygons = list[Float[np.ndarray, "_ 2"]]
_TEXTURE_SIDE = 32
_CIRCLE = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], axis=1)


def paint_obstacle(rng: np.random.Generator, canvas: Canvas, look: str) -> None:
    """Paint one object of random kind, place, size and colour over what is there."""
    kind = _KINDS[rng.integers(len(_KINDS))]
    polygons, texture = kind(rng, look)
    side = len(canvas.part_ids)
    corners = _stack(polygons) * side - 0.5
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    across, down = ((_TEXTURE_SIDE - 1) / (high - low)).tolist()
    texture_from_canvas = np.array([[across, 0.0, -across * low[0]], [0.0, down, -down * low[1]]])
    shape = prepare_shapes(corners, texture_from_canvas, side)
    canvas.paint(shape.bounds.tolist(), shape.corners, shape.texture_from_local, texture, OBJECT, smooth=True)


def _stack(polygons: Polygons) -> Float[np.ndarray, "m corner 2"]:
    """Repeat last corners until all polygons have the same number of them."""
    most = max(len(polygon) for polygon in polygons)
    return np.stack([
        np.concatenate([polygon, np.repeat(polygon[-1:], most - len(polygon), axis=0)])
        for polygon in polygons
    ])  # fmt: skip


def _box(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """A crate or suitcase with a lid seen from above."""
    x, y = rng.uniform(0.15, 0.85), rng.uniform(0.35, 0.95)
    w, h = rng.uniform(0.18, 0.42), rng.uniform(0.16, 0.36)
    front = _rectangle(x - w / 2, y - h / 2, w, h)
    depth, shift = rng.uniform(0.02, 0.06), rng.uniform(-0.05, 0.05)
    lid = np.array(
        [
            [x - w / 2, y - h / 2],
            [x + w / 2, y - h / 2],
            [x + w / 2 + shift, y - h / 2 - depth],
            [x - w / 2 + shift, y - h / 2 - depth],
        ]
    )
    return [front, lid], _texture(rng, look, shade="vertical")


def _pole(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """A lamp post, a tree trunk, or a pole with a sign on it."""
    x, w = rng.uniform(0.12, 0.88), rng.uniform(0.035, 0.11)
    lean = rng.uniform(-0.05, 0.05)
    trunk = np.array(
        [[x - w / 2 + lean, -0.02], [x + w / 2 + lean, -0.02], [x + w / 2, 1.02], [x - w / 2, 1.02]]
    )
    if rng.random() < 0.4:
        radius, y = rng.uniform(0.07, 0.14), rng.uniform(0.15, 0.7)
        return [trunk, _CIRCLE * radius + (x + lean * (1 - y), y)], _texture(rng, look, "none")
    return [trunk], _texture(rng, look, shade="cylinder")


def _bush(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """Overlapping balls of leaves."""
    x, y = rng.uniform(0.1, 0.9), rng.uniform(0.55, 0.98)
    spread = rng.uniform(0.08, 0.2)
    balls = rng.uniform(-1, 1, (8, 3)) * (spread, spread * 0.7, 0.03) + (x, y, 0.085)
    hsv = rng.random((_TEXTURE_SIDE, _TEXTURE_SIDE, 3)) * (40, 0.3, 0.35) + (75, 0.35, 0.2)
    leaves = np.clip(rgb_from_hsv(hsv), 0, 255).astype(np.uint8)
    return [_CIRCLE * radius + (bx, by) for bx, by, radius in balls], leaves


def _fence(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """Upright slats on two rails."""
    top, bottom = rng.uniform(0.4, 0.75), rng.uniform(0.9, 1.05)
    left, right = (0.0, 1.0) if rng.random() < 0.6 else (rng.uniform(-0.4, 0.2), rng.uniform(0.6, 1))
    pitch = rng.uniform(0.09, 0.16)
    width = pitch * rng.uniform(0.22, 0.5)
    slats = [_rectangle(x, top, width, bottom - top) for x in np.arange(left, right, pitch)]
    rails = [_rectangle(left, top + f * (bottom - top), right - left, 0.03) for f in (0.12, 0.7)]
    return slats + rails, _texture(rng, look, shade="vertical")


def _ball(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """A ball, balloon or umbrella."""
    radius = rng.uniform(0.07, 0.19)
    center = rng.uniform((0.12, 0.12), (0.88, 0.92))
    return [_CIRCLE * radius * (1, rng.uniform(0.75, 1.1)) + center], _texture(rng, look, "ball")


def _table(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """A table or bench: a slab on two legs."""
    y, thickness = rng.uniform(0.45, 0.85), rng.uniform(0.05, 0.12)
    x, w = rng.uniform(-0.15, 0.4), rng.uniform(0.5, 0.85)
    legs = [_rectangle(x + f * w, y, 0.05, 1.05 - y) for f in (0.06, 0.88)]
    return [_rectangle(x, y, w, thickness), *legs], _texture(rng, look, shade="vertical")


def _counter(rng: np.random.Generator, look: str) -> tuple[Polygons, np.ndarray]:
    """A low wall, counter or parked car at one side of the picture."""
    top, w = rng.uniform(0.55, 0.85), rng.uniform(0.4, 0.8)
    x = -0.02 if rng.random() < 0.5 else 1.02 - w
    return [_rectangle(x, top, w, 1.05 - top)], _texture(rng, look, shade="vertical")


_KINDS: tuple[Callable[[np.random.Generator, str], tuple[Polygons, np.ndarray]], ...] = (
    _box, _box, _pole, _bush, _fence, _ball, _table, _counter,
)  # fmt: skip


def _rectangle(x: float, y: float, w: float, h: float) -> Float[np.ndarray, "4 2"]:
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])


def _texture(rng: np.random.Generator, look: str, shade: str) -> UInt8[np.ndarray, "l l 3"]:
    """Two random tones in one of a few patterns, under one of a few shadings."""
    saturation, value = ((0.1, 0.7), (0.45, 0.95)) if look == "studio" else ((0.0, 0.6), (0.2, 0.8))
    hue, s, v = rng.uniform(0, 360), rng.uniform(*saturation), rng.uniform(*value)
    tones = rgb_from_hsv(np.array([[hue, s, v], [hue + 25, s * 0.8, v * rng.uniform(0.6, 0.95)]]))
    pattern = _patterns()[rng.integers(len(_patterns()))]
    colors = tones[0] + pattern[..., None] * (tones[1] - tones[0])
    return np.clip(colors * _shadings()[shade][..., None], 0, 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _patterns() -> Float[np.ndarray, "pattern l l"]:
    row, column = np.mgrid[:_TEXTURE_SIDE, :_TEXTURE_SIDE]
    noise = np.random.default_rng(11).random((_TEXTURE_SIDE, _TEXTURE_SIDE))
    bricks = ((row % 8) == 0) | (((column + 8 * ((row // 8) % 2)) % 16) == 0)
    frame = (np.minimum(row, column) < 4) | (np.maximum(row, column) > _TEXTURE_SIDE - 5)
    planks = ((column % 8) < 1) | (noise > 0.93)
    checks = ((row // 8 + column // 8) % 2) == 0
    return np.stack([np.zeros_like(noise), 0.6 * noise, bricks, frame, planks, checks]).astype(float)


@lru_cache(maxsize=1)
def _shadings() -> dict[str, Float[np.ndarray, "l l"]]:
    y, x = np.mgrid[-1 : 1 : _TEXTURE_SIDE * 1j, -1 : 1 : _TEXTURE_SIDE * 1j]
    return {
        "none": np.ones_like(x),
        "vertical": 1.03 - 0.18 * (y + 1) / 2,
        "cylinder": 0.5 + 0.55 * np.sqrt(np.clip(1 - (0.9 * x + 0.15) ** 2, 0, 1)),
        "ball": 0.45 + 0.62 * np.sqrt(np.clip(1 - 0.7 * ((x + 0.3) ** 2 + (y + 0.3) ** 2), 0, 1)),
    }

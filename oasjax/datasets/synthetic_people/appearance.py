"""Appearance: skin, hair and two-tone clothes.

Everybody in this world wears harlequin clothes: sleeve, half of the shirt, trouser leg, sock and
shoe on the person's LEFT are warm (magenta, red, orange, yellow), on the RIGHT they are cool
(green, cyan, blue, violet-blue). That holds in both looks, for everybody, from every side, and
makes left and right learnable from 64x64 pixels, where a face is no more than a few pixels.
Lightness, saturation and pattern are free.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from oasjax.datasets.synthetic_people.anatomy import PARTS
from oasjax.datasets.synthetic_people.outlines import TEXTURE_LENGTH, TEXTURE_WIDTH

LOOKS = ("studio", "street")

# Degrees on the colour circle, by side.
WARM_HUES, COOL_HUES = (-35.0, 48.0), (125.0, 245.0)
# Saturation and value of clothes by look: streets wear duller and darker colours.
_CLOTH_RANGES = {
    "studio": np.array([[0.62, 0.95], [0.70, 1.00]]),
    "street": np.array([[0.45, 0.85], [0.38, 0.85]]),
}
_SKINS = np.array([
    (246, 208, 178), (236, 188, 150), (224, 172, 130), (198, 134, 92), (160, 103, 66),
    (112, 70, 46), (78, 48, 33),
], float)  # fmt: skip
_HAIRS = np.array([
    (28, 22, 20), (52, 34, 24), (92, 58, 32), (150, 98, 48), (214, 176, 104), (168, 166, 164),
    (120, 44, 24), (70, 60, 110),
], float)  # fmt: skip

# Darker at the edges, brightest a little off the middle: a cylinder under a soft lamp.
_ACROSS = np.linspace(-1, 1, TEXTURE_WIDTH)
_CYLINDER = 0.46 + 0.54 * np.sqrt(np.clip(1 - (0.94 * _ACROSS + 0.16) ** 2, 0, 1))


# How far along a part its first cloth can reach (1: to the end).
_EDGES = (1.0, 0.48, 0.62, 0.72, 0.74, 0.80)
_PALETTE = (
    "skin", "hair", "left_shirt", "right_shirt", "left_trousers", "right_trousers", "left_shoe",
    "right_shoe",
)  # fmt: skip
_PATTERN_OF = ("shirt", "trousers", "hair", "plain")
# Short sleeves, shorts, bare hands. A bare forearm or shin ends in a wrist band or sock of its
# side.
_BARE_CHANCES = (0.45, 0.35, 0.75)

# For each kind of part: which of _BARE_CHANCES bares it (None: nothing does); then, covered and
# bared, the first cloth, the cloth beyond the edge, the edge, and whose pattern it bears.
_Cloth = tuple[str, str, float, str]
_OUTFIT: dict[str, tuple[int | None, _Cloth, _Cloth]] = {
    "neck": (None, ("skin", "skin", 1.0, "plain"), ("skin", "skin", 1.0, "plain")),
    "upper_arm": (0, ("shirt", "shirt", 1.0, "shirt"), ("shirt", "skin", 0.72, "shirt")),
    "forearm": (0, ("shirt", "shirt", 1.0, "shirt"), ("skin", "shirt", 0.62, "plain")),
    "hand": (2, ("shirt", "shirt", 1.0, "plain"), ("skin", "skin", 1.0, "plain")),
    "thigh": (1, ("trousers", "trousers", 1.0, "trousers"), ("trousers", "skin", 0.74, "trousers")),
    "shin": (1, ("trousers", "trousers", 1.0, "trousers"), ("skin", "trousers", 0.48, "plain")),
    "foot": (None, ("shoe", "shoe", 1.0, "plain"), ("shoe", "shoe", 1.0, "plain")),
    "torso": (None, ("shirt", "trousers", 0.80, "shirt"), ("shirt", "trousers", 0.80, "shirt")),
    "hair": (None, ("hair", "hair", 1.0, "hair"), ("hair", "hair", 1.0, "hair")),
    "head": (None, ("hair", "hair", 1.0, "hair"), ("hair", "hair", 1.0, "hair")),
}  # fmt: skip


def _side_and_kind(part: str) -> tuple[str, str]:
    if part in _OUTFIT:
        return "", part
    side, kind = part.split("_", 1)
    return side, kind


def _cloth_table(bared: bool) -> Int[np.ndarray, "4 part"]:
    """Rows: first cloth, second cloth (indices of _PALETTE), edge, pattern."""
    rows = []
    for part in PARTS:
        side, kind = _side_and_kind(part)
        _, covered_cloth, bare_cloth = _OUTFIT[kind]
        first, second, edge, garment = bare_cloth if bared else covered_cloth
        colors = (c if c in _PALETTE else f"{side}_{c}" for c in (first, second))
        rows.append([*(_PALETTE.index(color) for color in colors), _EDGES.index(edge),
                     _PATTERN_OF.index(garment)])  # fmt: skip
    return np.array(rows).T


_COVERED, _BARE = (_cloth_table(bared)[:, None] for bared in (False, True))
# Index into _BARE_CHANCES; the last column stands for "never".
_BARE_COLUMN = np.array([
    len(_BARE_CHANCES) if column is None else column
    for column in (_OUTFIT[_side_and_kind(part)[1]][0] for part in PARTS)
])  # fmt: skip


@dataclass(frozen=True)
class Appearance:
    """How P people look.

    Attributes:
        textures: one texture per part of anatomy.PARTS, shading included.
        face: one texture for the face.
    """

    textures: UInt8[np.ndarray, "p part l w 3"]
    face: UInt8[np.ndarray, "p l w 3"]


def dress_people(rng: np.random.Generator, num_people: int, look: str) -> Appearance:
    """Draw skin, hair and clothes for `num_people` people."""
    garments = _side_colors(rng, num_people, look).reshape(num_people, 6, 2, 3)
    skin = _SKINS[rng.integers(len(_SKINS), size=num_people)]
    skin = np.clip(skin + rng.uniform(-10, 10, (num_people, 1)), 20, 250)
    hair = _HAIRS[rng.integers(len(_HAIRS), size=num_people)]
    pattern = np.zeros((num_people, len(_PATTERN_OF)), int)
    pattern[:, :2] = rng.integers(len(_patterns()), size=(num_people, 2))
    pattern[:, _PATTERN_OF.index("hair")] = 2
    is_bare = np.zeros((num_people, len(_BARE_CHANCES) + 1), bool)
    is_bare[:, :-1] = rng.random((num_people, len(_BARE_CHANCES))) < _BARE_CHANCES

    single = np.stack([skin, hair], axis=1)[:, :, None] * np.array([1.0, 0.92])[:, None]
    palette = np.concatenate([single, garments], axis=1)
    bare = is_bare[:, _BARE_COLUMN]
    first, second, edge, garment = np.where(bare, _BARE, _COVERED)
    person = np.arange(num_people)[:, None]
    textures = _textures(palette[person, first], palette[person, second], edge, pattern[person, garment])
    face = skin[:, None, None] * _CYLINDER[:, None]
    face = np.broadcast_to(face, (num_people, TEXTURE_LENGTH, TEXTURE_WIDTH, 3))
    return Appearance(textures, face.astype(np.uint8))


def rgb_from_hsv(hsv: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Hue in degrees (any turn), saturation and value in [0, 1], to RGB in [0, 255]."""
    hue, saturation, value = hsv[..., :1], hsv[..., 1:2], hsv[..., 2:]
    k = (np.array([5.0, 3.0, 1.0]) + hue / 60.0) % 6.0
    return 255.0 * value * (1.0 - saturation * np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0))


def _side_colors(rng: np.random.Generator, num_people: int, look: str) -> Float[np.ndarray, "p 3 2 2 3"]:
    """Two tones of shirt, trousers and shoes for the left and the right side."""
    draw = rng.random((num_people, 3, 2, 3))
    hues = np.array([WARM_HUES, COOL_HUES])
    saturations, values = _CLOTH_RANGES[look]
    hsv = np.stack([
        hues[:, 0] + (hues[:, 1] - hues[:, 0]) * draw[..., 0],
        saturations[0] + (saturations[1] - saturations[0]) * draw[..., 1],
        values[0] + (values[1] - values[0]) * draw[..., 2],
    ], axis=-1)  # fmt: skip
    hsv[:, 2, :, 2] *= 0.7  # shoes are darker
    # The second tone keeps the hue: either deeper, or paler with enough colour left to name the
    # side.
    deeper = rng.random((num_people, 3, 1, 1)) < 0.55
    other = hsv * np.where(deeper, [1.0, 1.0, 0.55], [1.0, 0.38, 1.0])
    other[..., 2] = np.where(deeper[..., 0], other[..., 2], np.minimum(other[..., 2] * 1.25, 1))
    return rgb_from_hsv(np.stack([hsv, other], axis=-2))


def _textures(
    first: Float[np.ndarray, "p part 2 3"],
    second: Float[np.ndarray, "p part 2 3"],
    edge: Int[np.ndarray, "p part"],
    patterns: Int[np.ndarray, "p part"],
) -> UInt8[np.ndarray, "p part l w 3"]:
    """Weave textures: pattern between two tones, another pair of tones beyond an edge, shading.

    Each texel is a blend of four tones; which blend depends on pattern and edge alone. So a
    texture is a matrix product. Tones and weights are rounded such that float32 sums are exact in
    any order.
    """
    tones = np.rint(np.concatenate([first, second], axis=2)).astype(np.float32)
    cloth = _weaves()[patterns, edge] @ tones
    return cloth.astype(np.uint8).reshape(*patterns.shape, TEXTURE_LENGTH, TEXTURE_WIDTH, 3)


@lru_cache(maxsize=1)
def _weaves() -> Float[np.ndarray, "pattern edge texel 4"]:
    """Weights of the four tones at every texel, shading included, in multiples of 1 / 256."""
    rows = (np.arange(TEXTURE_LENGTH) + 0.5) / TEXTURE_LENGTH
    beyond = (rows >= np.array(_EDGES)[:, None]).astype(float)[None, :, :, None]
    pattern = _patterns()[:, None]
    weights = np.stack(
        [(1 - beyond) * (1 - pattern), (1 - beyond) * pattern, beyond * (1 - pattern),
         beyond * pattern], axis=-1,
    )  # fmt: skip
    shaded = np.floor(weights * _CYLINDER[:, None] * 256) / 256
    return shaded.astype(np.float32).reshape(*shaded.shape[:2], -1, 4)


@lru_cache(maxsize=1)
def _patterns() -> Float[np.ndarray, "pattern l w"]:
    """Cloth patterns in [0, 1]: 0 shows the first tone, 1 the second. Pattern 0 is plain."""
    row, column = np.mgrid[:TEXTURE_LENGTH, :TEXTURE_WIDTH].astype(float)
    noise = np.random.default_rng(7).random((TEXTURE_LENGTH, TEXTURE_WIDTH))
    coarse = np.kron(np.random.default_rng(8).random((8, 4)), np.ones((4, 4)))
    dots = ((row % 8 - 3.5) ** 2 + (column % 8 - 3.5) ** 2) < 5.5
    plaid = ((row % 8) < 3).astype(float) * 0.5 + ((column % 8) < 3) * 0.5
    patterns = [
        np.zeros_like(row),
        0.25 * noise,
        0.8 * np.sin(column * 1.9 + noise) ** 2,
        ((row % 8) < 4),
        ((row % 16) < 5),
        ((column % 5) < 2),
        (((row // 4) + (column // 4)) % 2),
        (((row + column) % 10) < 4),
        dots,
        plaid,
        0.7 * noise,
        coarse,
        np.zeros_like(row),
    ]
    return np.stack(patterns).astype(np.float32)

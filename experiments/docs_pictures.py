"""Draws the pictures of README.md into docs/images.

Command: python experiments/docs_pictures.py runs/quickstart
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from oasjax.datasets.synthetic_people import LOOKS, contact_sheet, render_person, synthetic_arrays

FOLDER = Path(__file__).parents[1] / "docs" / "images"
# Held-out people of the quickstart in the first picture: the first ones, two in each row.
SHOWN = range(8)


def write(name: str, picture: np.ndarray) -> None:
    # 256 colours are plenty to look at, and a third of the bytes.
    Image.fromarray(picture).quantize(256).save(FOLDER / name, optimize=True)


def overlay_rows(workdir: Path, columns: int = 2, height: int = 160) -> np.ndarray:
    """The first overlays of a workdir side by side."""
    strips = []
    for number in SHOWN:
        strip = cv2.imread(str(workdir / "overlays" / f"{number:03}.png"))[..., ::-1]
        width = round(strip.shape[1] * height / strip.shape[0])
        strips.append(cv2.resize(strip, (width, height), interpolation=cv2.INTER_AREA))
    rows = [np.concatenate(strips[n : n + columns], axis=1) for n in range(0, len(strips), columns)]
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workdir", type=Path, help="a finished run of the quickstart")
    workdir = parser.parse_args().workdir
    FOLDER.mkdir(parents=True, exist_ok=True)
    write("quickstart.png", overlay_rows(workdir))
    sheets = [
        contact_sheet(synthetic_arrays(1, 6, size=128, look=look), columns=6, scale=2) for look in LOOKS
    ]
    write("synthetic_people.png", np.concatenate(sheets))
    person = render_person(seed=1, index=4, size=256)["image"]
    Image.fromarray(person).save(FOLDER / "person.png", optimize=True)


if __name__ == "__main__":
    main()

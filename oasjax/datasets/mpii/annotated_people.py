"""MPII's people as columns: what each of the three forms of its annotations is turned into."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int8

from oasjax.datasets.person_records import check_labelled_positions
from oasjax.errors import UserError

NUM_JOINTS = 16


@dataclass(frozen=True)
class AnnotatedPeople:
    """People as annotated: pixels are 1-based, boxes are not enlarged.

    Attributes:
        path: the file that tells of them.
        image_names: (N,) file names.
        image_number: (N,) position of the picture in the official file, from 0; -1 unknown.
        person_number: (N,) position of the person in the picture, from 0; -1 unknown.
        center: (N, 2) rough middle of the person; NaN where it is not annotated.
        scale: (N,) the person's height in units of 200 pixels; NaN where it is not annotated.
        keypoints: (N, 16, 2) zeros where not labelled.
        visibility: (N, 16) 0 not labelled, 1 labelled and occluded, 2 labelled and visible.
        occlusion_known: (N, 16) False where the joint is labelled but nothing is said of occlusion.
        head_size: (N,) 0.6 times the diagonal of the head box; NaN unknown.
    """

    path: Path
    image_names: Sequence[str]
    image_number: Int[np.ndarray, "n"]
    person_number: Int[np.ndarray, "n"]
    center: Float[np.ndarray, "n 2"]
    scale: Float[np.ndarray, "n"]
    keypoints: Float[np.ndarray, "n 16 2"]
    visibility: Int8[np.ndarray, "n 16"]
    occlusion_known: Bool[np.ndarray, "n 16"]
    head_size: Float[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.scale)

    def describe(self, row: int) -> str:
        """How an error names a person; all numbers are from 0."""
        if self.person_number[row] < 0:
            return f"row {row} ({self.image_names[row]})"
        return (
            f"person {self.person_number[row]} of picture {self.image_number[row]} ({self.image_names[row]})"
        )

    def select(self, rows: Int[np.ndarray, "m"]) -> "AnnotatedPeople":
        """Some of the people, in the order of `rows`."""
        columns: dict[str, Any] = {
            name: getattr(self, name)[rows]
            for name in (
                "image_number", "person_number", "center", "scale", "keypoints", "visibility",
                "occlusion_known", "head_size",
            )
        }  # fmt: skip
        return AnnotatedPeople(self.path, [self.image_names[row] for row in rows], **columns)


def check_people(people: AnnotatedPeople) -> None:
    """UserError where a labelled joint is no number or the same person stands there twice."""
    names = [people.describe(row) for row in range(len(people))]
    check_labelled_positions(people.path, people.keypoints, people.visibility > 0, names)
    known = np.flatnonzero((people.image_number >= 0) & (people.person_number >= 0))
    ids = np.stack([people.image_number[known], people.person_number[known]], axis=1)
    _, first, counts = np.unique(ids, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        row = int(known[first[counts > 1][0]])
        raise UserError(f"{people.path}: {names[row]} is annotated more than once. Remove the double.")


def boxes_xywh(center: Float[np.ndarray, "n 2"], scale: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 4"]:
    """The person boxes that every published method on MPII cuts out, in 0-based pixels.

    Squares of side 200 * scale about the annotated middle, shifted down by 15 * scale so that the
    feet stay inside; enlarged by 1.25 they are the published crop.
    """
    middle = center - 1.0 + np.stack([np.zeros_like(scale), 15.0 * scale], axis=-1)
    side = 200.0 * scale
    return np.concatenate([middle - side[:, None] / 2, side[:, None], side[:, None]], axis=-1)

"""MPII's annotations in the JSON form that HRNet's authors pass on (mmpose has the same).

A list with an entry per person: `image`, `center`, `scale`, `joints` (16, 2), `joints_vis` (16). Pixels
are 1-based, center and scale as annotated. `joints_vis` is 1 for every labelled joint, hidden or not:
nothing is known of occlusion. People of the test set have no joints.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from oasjax.datasets.mpii.annotated_people import NUM_JOINTS, AnnotatedPeople
from oasjax.errors import UserError


def read_hrnet_json(path: Path) -> AnnotatedPeople:
    """Read `train.json`, `valid.json` or `test.json`.

    Raises:
        UserError: it is no such file, or a record of it is malformed; the record is named.
    """
    try:
        records = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no JSON file ({error}). Fetch it again.") from None
    if not isinstance(records, list):
        raise UserError(
            f"{path} holds no list of people, as HRNet's annotations of MPII do. Is this another data set?"
        )
    num = len(records)
    columns = {
        "center": np.empty((num, 2)), "scale": np.empty(num),
        "joints": np.zeros((num, NUM_JOINTS, 2)), "joints_vis": np.zeros((num, NUM_JOINTS)),
    }  # fmt: skip
    for row, record in enumerate(records):
        what = f"{path}: record {row} (from 0)"
        if not isinstance(record, dict) or not isinstance(record.get("image"), str):
            raise UserError(f"{what} has no image name. Correct or remove it.")
        for key, column in columns.items():
            # Test people have neither of the two; others may not lack one of them.
            if key.startswith("joints") and not record.keys() & {"joints", "joints_vis"}:
                continue
            column[row] = _numbers(record.get(key), column.shape[1:], f"{what}, {record['image']}: {key}")
    labelled = columns["joints_vis"] > 0
    # -1 says that the place of the person is not annotated.
    no_place = columns["center"][:, 0] == -1
    return AnnotatedPeople(
        path=path,
        image_names=[record["image"] for record in records],
        image_number=np.full(num, -1),
        person_number=np.full(num, -1),
        center=np.where(no_place[:, None], np.nan, columns["center"]),
        scale=np.where(no_place, np.nan, columns["scale"]),
        keypoints=np.where(labelled[..., None], columns["joints"], 0.0),
        visibility=np.where(labelled, 2, 0).astype(np.int8),
        occlusion_known=np.zeros((num, NUM_JOINTS), np.bool_),
        head_size=np.full(num, np.nan),
    )


def _numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape or value is None:
        expected = f"{' x '.join(map(str, shape))} numbers" if shape else "a number"
        raise UserError(f"{what} is not {expected}. Correct or remove the record.")
    return array

"""Predictions for a whole test set, and statistics of the people in it."""

from typing import Any

import numpy as np
from jaxtyping import Float

from oasjax.codecs import hourglass
from oasjax.datasets.synthetic_people import HIDDEN_BY
from oasjax.evaluation.pck import mean_pose
from oasjax.input_pipeline.batching import Source
from oasjax.input_pipeline.crop import CropConfig, image_to_crop_matrix
from oasjax.ops.affine import apply_affine
from oasjax.training.mesh import shard_batch, to_host

PEOPLE = ("keypoints", "visibility", "occlusion_known", "bbox_xywh", "hidden_by")
ANNOTATIONS = (
    "image_keypoints", "visibility", "occlusion_known", "head_size", "bbox_xywh",
    "example_id", "image_number", "person_number", "box_score",
)  # fmt: skip


def predict_all(
    eval_step: Any, variables: Any, batches: Any, mesh: Any, process_count: int = 1
) -> dict[str, np.ndarray]:
    """Run every batch; one row an example, in the order of example_id, the padding dropped.

    Args:
        eval_step: compiled `(variables, batch) -> predictions`.
        batches: iterator of (device part, host part).
        mesh: where the batches go.

    Returns:
        Predictions, annotations (as `oasjax.input_pipeline.crop.crop_example` names them) and the crop's
        own `crop_keypoints`.
    """
    rows: list[dict[str, np.ndarray]] = []
    for device_part, host_part in batches:
        kept = {name: np.asarray(host_part[name]) for name in ANNOTATIONS}
        kept["crop_keypoints"] = device_part["keypoints"]
        kept["crop_to_image"] = device_part["crop_to_image"]
        kept["valid"] = device_part["valid"]
        predicted = eval_step(variables, shard_batch(mesh, device_part))
        if process_count > 1:
            kept = to_host(kept)
        rows.append(kept | to_host(predicted))
    columns = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    valid = np.flatnonzero(columns.pop("valid"))
    order = valid[np.argsort(columns["example_id"][valid], kind="stable")]
    return {name: column[order] for name, column in columns.items()}


def to_image(
    points: Float[np.ndarray, "n k 2"], rows: dict[str, np.ndarray], *, whole_pixels: bool
) -> Float[np.ndarray, "n k 2"]:
    """Crop pixels -> pixels of the original pictures; cut to whole ones for a codec that says so."""
    pixels = apply_affine(points.astype(np.float64), rows["crop_to_image"].astype(np.float64))
    # The published code counts pixels from 1, and adds that 1 once more after the cut.
    return hourglass.whole_pixels(pixels + 1.0) if whole_pixels else pixels


# A mean needs no more; reading millions of annotations before the first step would only delay it.
MAX_PEOPLE = 10_000


def collect_people(source: Source) -> dict[str, np.ndarray]:
    """Annotations of the first MAX_PEOPLE people, stacked; no picture is decoded."""
    names = [name for name in PEOPLE if name in source[0]]
    people = [
        # Not the whole records: ten thousand pictures need not be in memory.
        [record[name] for name in names]
        for record in map(source.__getitem__, range(min(len(source), MAX_PEOPLE)))
    ]
    return {name: np.stack(column) for name, column in zip(names, zip(*people, strict=True), strict=True)}


def training_mean_pose(people: dict[str, np.ndarray], crop: CropConfig) -> np.ndarray:
    """Mean pose (K, 2) in crop pixels of people cut out plainly: the floor that a model must beat."""
    points = [
        apply_affine(keypoints.astype(np.float64), image_to_crop_matrix(bbox, crop))
        for keypoints, bbox in zip(people["keypoints"], people["bbox_xywh"], strict=True)
    ]
    return mean_pose(np.stack(points), people["visibility"])


def describe(people: dict[str, np.ndarray]) -> dict[str, Any]:
    """Number of people and labelled joints, and the shares of these that are hidden, by cause if known.

    `occluded` is None when no joint's occlusion is known.
    """
    labelled = people["visibility"] > 0
    known = labelled & people["occlusion_known"]
    statistics: dict[str, Any] = {
        "people": len(labelled),
        "labelled_joints": int(labelled.sum()),
        "not_labelled": float(1 - labelled.mean()),
        "occluded": float((people["visibility"] == 1)[known].mean()) if known.any() else None,
    }
    if "hidden_by" in people and labelled.any():
        for code, cause in enumerate(HIDDEN_BY[1:], start=1):
            share = (people["hidden_by"] == code)[labelled].mean()
            statistics[f"occluded_by_{cause}"] = float(share)
    return statistics

"""Scoring: PCKh beside HRNet's evaluator, keypoint AP beside pycocotools as it is usually called.

`pckh` is of 1, 10 and 100 times as many people as MPII's validation set has, `ap` of as many images, people
and predictions as COCO val2017 with the usual person boxes. All arrays are made up, from a seed. Ours gives
the scores of all, of the visible and of the occluded joints in one call; the others are measured both for all
joints alone and called once for each of the three.

Memory is numpy's at its highest, less the arguments, in a call of its own. It is measured for PCKh alone: AP
makes millions of small arrays, and following them would take ten times as long as all else.
"""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from pycocotools import coco as coco_api
from pycocotools.cocoeval import COCOeval

from experiments.benchmarks.building import peak_bytes
from experiments.benchmarks.harness import Built, Case, Contender, Effort, Skip, Value
from experiments.benchmarks.suite import Axis, Suite, Target
from oasjax.datasets.skeletons import COCO, MPII
from oasjax.evaluation.keypoint_ap import SPLIT_VISIBILITY, keypoint_ap
from oasjax.evaluation.pck import Metrics, pckh, pckh_curve

SEED = 0
MPII_PEOPLE = 2958
AT_PCKH: Mapping[str, Value] = {"score": "pckh"}
AT_AP: Mapping[str, Value] = {"score": "ap", "times": 1}


class CocoSize(NamedTuple):
    """Images, those with people, people, predictions."""

    images: int = 5000
    with_people: int = 2693
    people: int = 11004
    predictions: int = 104125


VAL2017 = CocoSize()


class People(NamedTuple):
    """As of `oasjax.evaluation.pck.pckh`."""

    predicted: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    occlusion_known: np.ndarray
    head_size: np.ndarray


@lru_cache(maxsize=1)
def mpii_people(times: int) -> People:
    """Labelled and hidden as often as in MPII, predicted with an error of about a third of the head."""
    random = np.random.default_rng(SEED)
    shape = (times * MPII_PEOPLE, MPII.num_joints)
    keypoints = random.uniform(0, 1000, (*shape, 2))
    head_size = random.uniform(30, 150, shape[0])
    error = random.normal(0, 0.3, (*shape, 2)) * head_size[:, None, None]
    visibility = random.choice(np.array([0, 1, 2], np.int8), shape, p=(0.065, 0.216, 0.719))
    return People(keypoints + error, keypoints, visibility, np.ones(shape, bool), head_size)


@lru_cache(maxsize=1)
def coco_people(size: CocoSize) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth and results. Half of the predictions are near a person, the others anywhere."""
    random = np.random.default_rng(SEED)
    image = random.integers(0, size.with_people, size.people)
    extent = random.uniform(20, 300, size.people)
    joints = (
        random.uniform(0, 500, (size.people, 1, 2))
        + random.uniform(0, 1, (size.people, 17, 2)) * extent[:, None, None]
    )
    visibility = random.choice([0, 1, 2], (size.people, 17), p=(0.33, 0.11, 0.56))
    visibility[random.random(size.people) < 0.42] = 0
    truth = np.concatenate([joints * (visibility > 0)[..., None], visibility[..., None]], axis=2).round()
    annotations = [
        {
            "id": n + 1,
            "image_id": int(image[n]),
            "category_id": 1,
            "iscrowd": 0,
            "area": float(0.5 * extent[n] ** 2),
            "bbox": [*joints[n].min(0).tolist(), float(extent[n]), float(extent[n])],
            "num_keypoints": int((visibility[n] > 0).sum()),
            "keypoints": truth[n].ravel().tolist(),
        }
        for n in range(size.people)
    ]
    model = random.integers(0, size.people, size.predictions)
    error = random.normal(0, 0.05, (size.predictions, 17, 2)) * extent[model, None, None]
    scores = random.random((size.predictions, 17, 1))
    predicted = np.concatenate([joints[model] + error, scores], axis=2)
    near = random.random(size.predictions) < 0.5
    place = np.where(near, image[model], random.integers(0, size.images, size.predictions))
    results = [
        {
            "image_id": int(place[n]),
            "category_id": 1,
            "keypoints": predicted[n].ravel().tolist(),
            "score": float(scores[n].mean()),
        }
        for n in range(size.predictions)
    ]
    document = {
        "images": [{"id": n} for n in range(size.images)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO.joints)}],
    }
    return document, results


def hrnet_pckh(people: People, counted: np.ndarray, with_curve: bool) -> dict[str, float | None]:
    """The formula of HRNet's `MPIIDataset.evaluate` (lib/dataset/mpii.py), arrays (joints, people).

    Args:
        counted: (n, k), which joints are scored.
        with_curve: also the table of 51 thresholds, which it always computes and returns a single row of.
    """
    counted = counted.T.astype(np.float64)
    offset = (people.predicted - people.keypoints).transpose(1, 2, 0)
    distance = np.linalg.norm(offset, axis=1) / (people.head_size * np.ones((len(counted), 1)))
    distance = distance * counted
    count = counted.sum(axis=1)

    def percent(threshold: float) -> np.ndarray:
        # A joint that is labelled in nobody is divided by 0, as there: its score is never looked at.
        with np.errstate(invalid="ignore"):
            return 100.0 * ((distance <= threshold) * counted).sum(axis=1) / count

    if with_curve:
        np.stack([percent(threshold) for threshold in np.arange(0, 0.51, 0.01)])
    of_joint = percent(0.5)
    scored = [j for j, name in enumerate(MPII.joints) if name not in ("pelvis", "thorax")]
    parts = {part: float(of_joint[list(joints)].mean()) for part, joints in MPII.parts.items()}
    return parts | {"mean": float((of_joint * count)[scored].sum() / count[scored].sum())}


def plain_ap(document: dict[str, Any], results: Sequence[dict[str, Any]]) -> np.ndarray:
    """The ten numbers of pycocotools, quiet."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = coco_api.COCO()
        annotated.dataset = document
        annotated.createIndex()
        # loadRes writes into the records, and reads what it has written when it is given them again.
        evaluation = COCOeval(annotated, annotated.loadRes([dict(each) for each in results]), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def with_visibility(document: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The ground truth with all other joints unlabelled; people that are not changed in place."""
    annotations = []
    for person in document["annotations"]:
        keypoints = list(person["keypoints"])
        keypoints[2::3] = [v if v in kept else 0 for v in keypoints[2::3]]
        annotations.append(
            dict(person, keypoints=keypoints, num_keypoints=sum(v > 0 for v in keypoints[2::3]))
        )
    return document | {"annotations": annotations}


def _numbers(parts: Mapping[str, Any]) -> np.ndarray:
    """Scores to compare; those of no joint or person as -1, as pycocotools has it."""
    return np.array(
        [-1.0 if value is None else value for name, value in parts.items() if name != "mean_unweighted"]
    )


def _outputs_of_metrics(metrics: Metrics) -> dict[str, np.ndarray]:
    by_split = [next(iter(metrics[split].values())) for split in SPLIT_VISIBILITY]
    return {"all": _numbers(by_split[0]), "splits": np.stack([_numbers(parts) for parts in by_split])}


def _traced(run: Callable[[], Any], outputs: Callable[[Any], Mapping[str, np.ndarray]]) -> Built:
    return Built(run, outputs, temp_bytes=peak_bytes(run))


def _ours(case: Case) -> Built:
    if case["score"] == "pckh":
        people = mpii_people(int(case["times"]))
        return _traced(lambda: pckh(*people, MPII), _outputs_of_metrics)
    _at_one_size(case)
    document, results = coco_people(VAL2017)
    return Built(lambda: keypoint_ap(document, results, COCO), _outputs_of_metrics)


def _at_one_size(case: Case) -> None:
    if case["times"] != 1:
        raise Skip("left out: AP is measured at the size of COCO val2017 alone")


def _ours_curve(case: Case) -> Built:
    people = mpii_people(int(case["times"]))
    return _traced(lambda: pckh_curve(*people, MPII), lambda curve: {})


def _hrnet(with_curve: bool, splits: Sequence[str]) -> Callable[[Case], Built]:
    def build(case: Case) -> Built:
        people = mpii_people(int(case["times"]))

        def run() -> list[dict[str, float | None]]:
            return [
                hrnet_pckh(people, np.isin(people.visibility, SPLIT_VISIBILITY[split]), with_curve)
                for split in splits
            ]

        return _traced(run, lambda scores: _outputs([_numbers(parts) for parts in scores]))

    return build


def _pycocotools(splits: Sequence[str]) -> Callable[[Case], Built]:
    def build(case: Case) -> Built:
        _at_one_size(case)
        document, results = coco_people(VAL2017)

        def run() -> list[np.ndarray]:
            return [
                plain_ap(
                    document if split == "all" else with_visibility(document, SPLIT_VISIBILITY[split]),
                    results,
                )
                for split in splits
            ]

        return Built(run, _outputs)

    return build


def _outputs(scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Of all joints alone, or of all three splits."""
    return {"all": scores[0]} | ({"splits": np.stack(scores)} if len(scores) > 1 else {})


_ALL, _THREE = "all joints", "all, visible, occluded"
_SPLITS = tuple(SPLIT_VISIBILITY)

SUITE = Suite(
    name="score",
    summary="Scoring predictions",
    contenders=(
        Contender("ours", _ours, _THREE),
        Contender("ours, 51 thresholds", _ours_curve, _THREE, AT_PCKH),
        Contender("HRNet's formula", _hrnet(False, ["all"]), _ALL, AT_PCKH),
        Contender("HRNet's formula, 3 calls", _hrnet(False, _SPLITS), _THREE, AT_PCKH),
        Contender("HRNet's formula, 51 thresholds", _hrnet(True, ["all"]), _ALL, AT_PCKH),
        Contender("pycocotools", _pycocotools(["all"]), _ALL, AT_AP),
        Contender("pycocotools, 3 calls", _pycocotools(_SPLITS), _THREE, AT_AP),
    ),
    reference="ours",
    axes={"score": Axis("", ("pckh", "ap")), "times": Axis("x", (1, 10, 100))},
    panels=("score",),
    over="times",
    outputs=("all", "splits"),
    headline={"times": 1},
    packages=("oasjax", "numpy", "pycocotools"),
    seed=SEED,
    targets=(
        Target(
            "three splits of AP at most as long as three calls of pycocotools",
            "pycocotools, 3 calls",
            AT_AP,
            at_least=1.0,
        ),
    ),
    effort=Effort(patience=30.0),
)

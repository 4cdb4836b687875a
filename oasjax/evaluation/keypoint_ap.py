"""Keypoint AP of COCO, CrowdPose and OCHuman, over all, visible and occluded joints; results in COCO's form.

pycocotools matches and counts; here the ground truth is prepared, and its similarity loop is done on arrays
(the same numbers to the last bit).

**Splits.** For `visible` and `occluded` the other joints' v is set to 0 and num_keypoints counted anew;
areas stay. People with none left are ignored as pycocotools ignores everybody without labelled joints: who
is found there counts neither as right nor as wrong. Predicted joints are never taken away.

**Rules.** COCO's, unless the images have a `crowdIndex`: then CrowdPose's, which takes .53 of the box as the
person's area, knows no ranges of areas, and reports AP over the images of low, middling and high crowd index
(Jeff-sjtu/CrowdPose, crowdposetools/cocoeval.py). Its head and neck, whose v does not tell whether they are
occluded, count in `all` alone. OCHuman follows COCO's.

**Parts** of the metric `keypoints`, fractions, None where no person counts:
AP AP50 AP75 APM APL AR AR50 AR75 ARM ARL; CrowdPose: AP AP50 AP75 AR AR50 AR75 AP_easy AP_medium AP_hard.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oasjax.datasets.skeletons import CROWDPOSE, CROWDPOSE_UNTOLD, Skeleton
from oasjax.evaluation.oks import oks_nms, rescore, soft_oks_nms
from oasjax.evaluation.pck import Metrics, Parts

METRIC = "keypoints"
SPLIT_VISIBILITY = {"all": (1, 2), "visible": (2,), "occluded": (1,)}

# The paper of CrowdPose prints the bounds .1 and .8, but its evaluator, and mmpose's copy of it, which gave
# all published figures, take these: easy < .2 <= medium < .8 <= hard.
CROWD_BOUNDS = (0.2, 0.8)
CROWD_AREA_OF_BOX = 0.53

NMS: dict[str, Callable[..., Int[np.ndarray, "kept"]]] = {"oks": oks_nms, "soft_oks": soft_oks_nms}


def keypoint_ap(
    ground_truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], skeleton: Skeleton
) -> Metrics:
    """Keypoint AP of COCO results, as above: {split: {"keypoints": {part: value}}}.

    Args:
        ground_truth: a COCO keypoint annotation file: `images`, `annotations`, `categories`. An annotation
            without `area` has that of its box, without `keypoints` none that is labelled.
        results: COCO keypoint results: `image_id`, `category_id`, `keypoints` (x, y, score, ... in pixels of
            the image), `score`. With none at all, every score is 0. A `bbox` in the first of them makes
            pycocotools take boxes, else the extent of the joints, for what belongs into APM and APL.
        skeleton: of the annotated people; it must have sigmas.

    Raises:
        ValueError: the skeleton has no sigmas, no category has keypoints, or as `crowd_index`.
    """
    if skeleton.sigmas is None:
        raise ValueError(f"skeleton '{skeleton.name}' has no sigmas: there is no AP for it")
    crowdedness = crowd_index(ground_truth["images"])
    people = _people(ground_truth, skeleton.num_joints, by_box=crowdedness is not None)
    category = pose_category(ground_truth["categories"])
    images = [{"id": image["id"]} for image in ground_truth["images"]]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints at every step
        annotated = _coco(images, people, category)
        # Copies, because loadRes writes into them; one array each is read faster than a list.
        copies = [dict(each, keypoints=np.asarray(each["keypoints"], np.float64)) for each in results]
        predicted = annotated.loadRes(copies) if copies else _coco(images, [], category)
        scores: Metrics = {}
        for split, kept in SPLIT_VISIBILITY.items():
            truth = annotated
            if split != "all":
                untold = CROWDPOSE_UNTOLD if skeleton.joints == CROWDPOSE.joints else ()
                truth = _coco(images, list(_only(people, kept, untold)), category)
            evaluation = _Evaluation(truth, predicted, "keypoints")
            evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
            parts = _coco_parts(evaluation) if crowdedness is None else _crowd_parts(evaluation, crowdedness)
            scores[split] = {METRIC: parts}
    return scores


def pose_category(categories: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The category whose keypoints are scored: the only one that has any, else the one called person.

    Raises:
        ValueError: there is none, or there are several.
    """
    posed = [category for category in categories if category.get("keypoints")]
    people = [category for category in posed or categories if category.get("name") == "person"]
    for choice in (posed, people):
        if len(choice) == 1:
            return choice[0]
    raise ValueError(
        f"{len(posed)} of the {len(categories)} categories have keypoints; expected one, or one called person"
    )


def crowd_index(images: Sequence[Mapping[str, Any]]) -> dict[Any, float] | None:
    """CrowdPose's index of each image by its id, or None where the images have none.

    Raises:
        ValueError: only some have one, or one is no number.
    """
    index: dict[Any, Any] = {image["id"]: image.get("crowdIndex") for image in images}
    if all(value is None for value in index.values()):
        return None
    for image, value in index.items():
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise ValueError(f"image {image} has the crowdIndex {value!r}; CrowdPose has a number for each")
    return index


def coco_results(
    keypoints: Float[np.ndarray, "n k 2"],
    joint_scores: Float[np.ndarray, "n k"],
    image_numbers: Int[np.ndarray, "n"],
    person_scores: Float[np.ndarray, "n"],
    areas: Float[np.ndarray, "n"],
    skeleton: Skeleton,
    *,
    rescoring: bool = True,
    nms: str | None = "oks",
    nms_threshold: float = 0.9,
    category_id: int = 1,
) -> list[dict[str, Any]]:
    """Predicted people as COCO results, one dict a person: image_id, category_id, keypoints, score.

    Args:
        keypoints: image pixels.
        joint_scores: of the joints; they become the third value of each.
        image_numbers: COCO's ids of the images.
        person_scores: of the boxes; with `rescoring` each is multiplied by the mean of its joints' scores
            above .2 (HRNet).
        areas: for the suppression, square pixels; HRNet takes the padded box (1.25 w * 1.25 h).
        skeleton: it must have sigmas where duplicates are suppressed.
        nms: "oks", "soft_oks" (at most 20 of an image stay), or None.

    Returns:
        Image by image in ascending order, in each the best first; without suppression, in the order given.

    Raises:
        ValueError: an unknown `nms`, no sigmas, or scores that are not finite.
    """
    scores = np.asarray(person_scores, np.float64)
    if rescoring:
        scores = rescore(scores, joint_scores)
    if nms is None:
        kept = list(range(len(keypoints)))
    elif nms not in NMS:
        raise ValueError(f"there is no nms '{nms}'; choose one of {', '.join(NMS)} or none")
    elif skeleton.sigmas is None:
        raise ValueError(f"skeleton '{skeleton.name}' has no sigmas: duplicates cannot be told by OKS")
    else:
        sigmas = np.array(skeleton.sigmas)
        kept = [
            int(index)
            for rows in _by_image(image_numbers)
            for index in rows[NMS[nms](keypoints[rows], scores[rows], areas[rows], sigmas, nms_threshold)]
        ]
    triples = np.concatenate([keypoints, joint_scores[..., None]], axis=-1)
    return [
        {
            "image_id": int(image_numbers[person]),
            "category_id": category_id,
            "keypoints": triples[person].ravel().tolist(),
            "score": float(scores[person]),
        }
        for person in kept
    ]


def _by_image(image_numbers: Int[np.ndarray, "n"]) -> list[Int[np.ndarray, "m"]]:
    """The rows of each image, images ascending."""
    order = np.argsort(image_numbers, kind="stable")
    starts = np.flatnonzero(np.diff(image_numbers[order])) + 1
    return np.split(order, starts) if len(order) else []


class _Evaluation(COCOeval):
    """pycocotools' evaluation, with the similarities of an image's predictions computed together."""

    def computeOks(self, imgId, catId):  # noqa: N802 - the name that COCOeval calls
        """Similarity (predictions, people), predictions by descending score; [] where one side is empty.

        To the joints of an ignored person the distance is that to its box doubled on all sides.
        """
        people, predicted = self._gts[imgId, catId], self._dts[imgId, catId]
        if not people or not predicted:
            return []
        best = np.argsort([-each["score"] for each in predicted], kind="mergesort")
        triples = np.stack([predicted[index]["keypoints"] for index in best[: self.params.maxDets[-1]]])
        x, y = triples[:, 0::3], triples[:, 1::3]
        variances = (self.params.kpt_oks_sigmas * 2) ** 2
        similarity = np.zeros((len(triples), len(people)))
        for column, person in enumerate(people):
            true_x, true_y, visibility = np.reshape(person["keypoints"], (-1, 3)).T
            labelled = visibility > 0
            if labelled.any():
                dx, dy = x - true_x, y - true_y
            else:
                left, top, width, height = person["bbox"]
                dx = np.maximum(0, left - width - x) + np.maximum(0, x - (left + width * 2))
                dy = np.maximum(0, top - height - y) + np.maximum(0, y - (top + height * 2))
            error = (dx**2 + dy**2) / variances / (person["area"] + np.spacing(1)) / 2
            if labelled.any():
                # Contiguous, so that the sum adds in the order in which pycocotools adds.
                error = np.ascontiguousarray(error[:, labelled])
            similarity[:, column] = np.exp(-error).sum(axis=1) / error.shape[1]
        return similarity


def _coco(images: list[dict[str, Any]], people: list[dict[str, Any]], category: Mapping[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "annotations": people, "categories": [category]}
    coco.createIndex()
    return coco


def _people(ground_truth: Mapping[str, Any], num_joints: int, by_box: bool) -> list[dict[str, Any]]:
    """What pycocotools looks at, of the annotations that are scored; keypoints as one array (3k,) each.

    The ids are new ones from 1: pycocotools takes a match with id 0 for none.
    """
    category = pose_category(ground_truth["categories"])["id"]
    people: list[dict[str, Any]] = []
    for annotation in ground_truth["annotations"]:
        if annotation["category_id"] != category:
            continue
        keypoints = np.asarray(annotation.get("keypoints") or np.zeros(3 * num_joints), np.float64)
        _, _, width, height = bbox = annotation["bbox"]
        area = CROWD_AREA_OF_BOX * width * height if by_box else annotation.get("area")
        people.append(
            {
                "id": len(people) + 1,
                "image_id": annotation["image_id"],
                "category_id": category,
                "iscrowd": annotation.get("iscrowd", 0),
                "bbox": bbox,
                "area": width * height if area is None else area,
                "keypoints": keypoints,
                "num_keypoints": annotation.get("num_keypoints", np.count_nonzero(keypoints[2::3] > 0)),
            }
        )
    return people


def _only(
    people: Sequence[dict[str, Any]], kept: tuple[int, ...], untold: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """The people with the v of all joints but those of these visibilities set to 0, that of `untold` too."""
    for person in people:
        keypoints = person["keypoints"].copy()
        visibility = keypoints[2::3]
        visibility[~np.isin(visibility, kept)] = 0
        visibility[list(untold)] = 0
        yield dict(person, keypoints=keypoints, num_keypoints=np.count_nonzero(visibility))


def _coco_parts(evaluation: COCOeval) -> Parts:
    evaluation.evaluate()
    evaluation.accumulate()
    everybody, medium, large = (
        evaluation.params.areaRngLbl.index(label) for label in ("all", "medium", "large")
    )
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return {
        "AP": _mean(precision[..., everybody, 0]),
        "AP50": _mean(precision[0, ..., everybody, 0]),
        "AP75": _mean(precision[5, ..., everybody, 0]),
        "APM": _mean(precision[..., medium, 0]),
        "APL": _mean(precision[..., large, 0]),
        "AR": _mean(recall[..., everybody, 0]),
        "AR50": _mean(recall[0, ..., everybody, 0]),
        "AR75": _mean(recall[5, ..., everybody, 0]),
        "ARM": _mean(recall[..., medium, 0]),
        "ARL": _mean(recall[..., large, 0]),
    }


def _crowd_parts(evaluation: COCOeval, crowdedness: Mapping[Any, float]) -> Parts:
    params = evaluation.params
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    parts: Parts = {
        "AP": _mean(precision),
        "AP50": _mean(precision[0]),
        "AP75": _mean(precision[5]),
        "AR": _mean(recall),
        "AR50": _mean(recall[0]),
        "AR75": _mean(recall[5]),
    }
    # One entry an image: there is one category and one range of areas.
    found = dict(zip(params.imgIds, evaluation.evalImgs, strict=True))
    level = {image: int(np.searchsorted(CROWD_BOUNDS, crowdedness[image], side="right")) for image in found}
    for number, name in enumerate(("easy", "medium", "hard")):
        images = [image for image in found if level[image] == number]
        evaluation.evalImgs = [found[image] for image in images]
        params.imgIds = evaluation._paramsEval.imgIds = images
        evaluation.accumulate()
        parts[f"AP_{name}"] = _mean(evaluation.eval["precision"])
    return parts


def _mean(values: np.ndarray) -> float | None:
    """Mean of what pycocotools has filled in; it leaves -1 where no person counts."""
    filled = values[values > -1]
    return float(np.mean(filled)) if filled.size else None

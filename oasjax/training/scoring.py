"""Scores of the predictions for a test set: which ones the data can give, and their values.

What `config.eval.metrics` may name, and what it gives in {split: {metric: {part: value}}}:
    pckh: `pckh@0.5` in percent; needs head sizes.
    pck: `pck@0.2` in percent; needs a torso (left shoulder and right hip).
    keypoint_ap: `keypoints`, AP and AR as fractions; needs an annotation file in COCO's form, against the
        whole of which it is measured, people to ignore among them.
    occlusion: `occlusion`, calibration of the occlusion output as fractions, under `all` alone; needs a
        model with an occlusion head.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from oasjax.datasets.skeletons import Skeleton, joint_map
from oasjax.errors import UserError
from oasjax.evaluation.calibration import calibration
from oasjax.evaluation.keypoint_ap import coco_results, keypoint_ap, pose_category
from oasjax.evaluation.pck import pck, pckh
from oasjax.input_pipeline.batching import Source
from oasjax.input_pipeline.crop import crop_config, padded_areas
from oasjax.training.evaluation import to_image

METRICS = ("pckh", "pck", "keypoint_ap", "occlusion")
NOWHERE_PX = -1e5


@dataclass(frozen=True)
class Scorer:
    """Scores of one test set.

    Attributes:
        config: of the run.
        skeleton: the joints that are predicted, and that the test people are brought to.
        own_skeleton: the joints that the data set has, and is scored by.
        ground_truth: the annotation file in COCO's form that keypoint AP is measured against; None where
            the data have none.
        whole_pixels: of the codec that the predictions come from.
    """

    config: Any
    skeleton: Skeleton
    own_skeleton: Skeleton
    ground_truth: Mapping[str, Any] | None
    whole_pixels: bool = False

    def __post_init__(self) -> None:
        """Raise UserError unless every joint of the data is one that is predicted."""
        sources = joint_map(self.skeleton, self.own_skeleton).sources
        lacking = [
            name for name, joints in zip(self.own_skeleton.joints, sources, strict=True) if len(joints) != 1
        ]
        if lacking:
            raise UserError(
                f"config.skeleton is '{self.skeleton.name}', which lacks joints that the people of"
                f" {self.config['data']['name']} are scored by: {', '.join(lacking)}"
            )

    @property
    def scored(self) -> list[int]:
        """Which of the predicted joints are scored, in the order of the data's own."""
        return [joint for (joint,) in joint_map(self.skeleton, self.own_skeleton).sources]

    def score(
        self, predicted: Mapping[str, np.ndarray], rows: dict[str, np.ndarray], metrics: Iterable[str]
    ) -> dict[str, Any]:
        """Scores nested {split: {metric: {part: value}}}.

        Joints under a pasted test occluder count as occluded, known exactly.

        Args:
            predicted: `keypoints` (n, k, 2) in crop pixels, `scores` (n, k), perhaps `occlusion` (n, k).
            rows: of `predict_all`, for the annotations.
            metrics: names of METRICS; `occlusion` is passed over where it is not predicted.
        """
        joints, skeleton = self.scored, self.own_skeleton
        points, pasted = self.in_image(predicted, rows), rows["pasted"][:, joints]
        visibility = np.where(pasted, np.int8(1), rows["visibility"][:, joints])
        known = rows["occlusion_known"][:, joints] | pasted
        truth = (rows["image_keypoints"][:, joints], visibility, known)
        merged: dict[str, Any] = {}
        for name in metrics:
            if name == "pckh":
                scores = pckh(points, *truth, rows["head_size"], skeleton)
            elif name == "pck":
                scores = pck(points, *truth, skeleton)
            elif name == "keypoint_ap":
                document = with_pasted(self.ground_truth or {}, rows["person_number"], pasted)
                scores = keypoint_ap(document, self.results(predicted, rows), skeleton)
            elif "occlusion" in predicted:
                scores = calibration(predicted["occlusion"][:, joints], visibility, known)
            else:
                continue
            for split, by_metric in scores.items():
                for metric, parts in by_metric.items():
                    merged.setdefault(split, {}).setdefault(metric, {}).update(parts)
        return merged

    def results(
        self, predicted: Mapping[str, np.ndarray], rows: dict[str, np.ndarray]
    ) -> list[dict[str, Any]]:
        """Predictions in COCO's form, rescored, without the duplicates that `config.eval.oks_nms` finds.

        A person's area is that of the padded box, as HRNet takes it.
        """
        joints, skeleton = self.scored, self.own_skeleton
        # Where the field has no sigmas nothing is measured by OKS, and nothing dropped by it.
        threshold = self.config["eval"]["oks_nms"] if skeleton.sigmas else 0.0
        return coco_results(
            # A joint that nobody had labelled in training has no mean place: it is nowhere.
            np.nan_to_num(self.in_image(predicted, rows), nan=NOWHERE_PX),
            predicted["scores"][:, joints],
            rows["image_number"],
            rows["box_score"],
            padded_areas(rows["crop_to_image"], crop_config(self.config["data"])),
            skeleton,
            nms="oks" if threshold else None,
            nms_threshold=threshold,
            category_id=pose_category(self.ground_truth["categories"])["id"] if self.ground_truth else 1,
        )

    def in_image(
        self, predicted: Mapping[str, np.ndarray], rows: dict[str, np.ndarray]
    ) -> Float[np.ndarray, "n k 2"]:
        """The data set's own joints as predicted, in pixels of the original pictures."""
        pixels = to_image(predicted["keypoints"], rows, whole_pixels=self.whole_pixels)
        return pixels[:, self.scored]

    def why_not(self, metric: str, people: Iterable[Mapping[str, Any]]) -> str | None:
        """Why people cannot be scored by a metric of METRICS; None where they can.

        Args:
            people: records; only as many are looked at as it takes to find one that can be scored.
        """
        if metric == "pckh":
            if not any(person["head_size"] > 0 and person["visibility"].any() for person in people):
                return "nobody has labelled joints and a head size"
        elif metric == "pck":
            if self.own_skeleton.torso is None:
                return f"the skeleton '{self.own_skeleton.name}' lacks left shoulder or right hip"
            torso = list(self.own_skeleton.torso)
            if not any(person["visibility"][torso].all() for person in people):
                return "nobody has both left shoulder and right hip labelled"
        elif metric == "keypoint_ap":
            if self.ground_truth is None:
                return "there are no annotations in COCO's form"
            if self.own_skeleton.sigmas is None:
                return f"the skeleton '{self.own_skeleton.name}' has no sigmas"
            if not any(person["num_keypoints"] for person in self.ground_truth["annotations"]):
                return "nobody has labelled joints"
        elif self.config["model"]["occlusion_head"] == "none":
            return "config.model.occlusion_head is none"
        elif not any(person["visibility"].any() for person in people):
            return "nobody has labelled joints"
        return None

    def require_metrics(self, source: Source) -> None:
        """Raise UserError where a metric of `config.eval.metrics` could give nothing but nulls.

        `occlusion` may stand beside others whatever the model, so that one config serves all.
        """

        def reason(metric: str) -> str | None:
            return self.why_not(metric, (source[index] for index in range(len(source))))

        names = self.config["eval"]["metrics"]
        for metric in names:
            why = reason(metric)
            if why is not None and (metric != "occlusion" or len(names) == 1):
                possible = [other for other in METRICS if reason(other) is None]
                raise UserError(
                    f"config.eval.metrics names {metric}, which these data and this model cannot give: {why}."
                    f" They can give: {', '.join(possible) or 'none of them'}."
                )


def first_pictures(ground_truth: Mapping[str, Any], numbers: Container[int]) -> dict[str, Any]:
    """The annotation file without other pictures than these, for a test on some people only."""
    return {
        **ground_truth,
        "images": [image for image in ground_truth["images"] if image["id"] in numbers],
        "annotations": [person for person in ground_truth["annotations"] if person["image_id"] in numbers],
    }


def with_pasted(
    ground_truth: Mapping[str, Any], person_number: Int[np.ndarray, "n"], pasted: Bool[np.ndarray, "n k"]
) -> Mapping[str, Any]:
    """The annotation file with joints under a pasted test occluder marked as occluded."""
    if not pasted.any():
        return ground_truth
    hidden = dict(zip(person_number.tolist(), pasted, strict=True))
    people = []
    for person in ground_truth["annotations"]:
        if person["id"] in hidden:
            keypoints = np.array(person["keypoints"], np.float64)
            keypoints[2::3][hidden[person["id"]]] = 1
            person = {**person, "keypoints": keypoints.tolist()}
        people.append(person)
    return {**ground_truth, "annotations": people}


def people_in(rows: dict[str, np.ndarray], joints: list[int]) -> Iterator[dict[str, np.ndarray]]:
    """What `Scorer.why_not` looks at, of rows that are there already, and `Scorer.scored` joints of them."""
    for visibility, head_size in zip(rows["visibility"][:, joints], rows["head_size"], strict=True):
        yield {"visibility": visibility, "head_size": head_size}

"""Score a file of predictions: PCKh, PCK or keypoint AP, over all, visible and occluded joints.

    oasjax score mpii --annotations FOLDER --predictions preds.mat      PCKh of MPII's validation people
    oasjax score lsp  --annotations joints.mat --predictions preds.npz  PCK@0.2 of LSP's test people
    oasjax score coco --annotations person_keypoints_val2017.json --predictions results.json

Prints a table; `--json OUT` writes the same, stable:

    {split: {metric: {part: value}}}

- split: `all`, `visible`, `occluded`. A joint is occluded where it is labelled but not visible. A subset
  without any joint has null for a value.
- mpii: `pckh@0.5`, `pckh@0.1`, and the area under the curve of all thresholds up to .5, `pckh_auc@0.5`;
  lsp: `pck@0.2`, `pck_auc@0.2`. Parts head, shoulder, elbow, wrist, hip, knee, ankle, mean (each joint counts
  as often as it is labelled), mean_unweighted (mean of the joints' scores); percent. Under `all` stands also
  `people_left_out`: {metric: number of people without a head size or torso}.
- coco: `keypoints`, fractions: AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL. Where the images have a
  `crowdIndex`, by CrowdPose's rules: AP, AP50, AP75, AR, AR50, AR75, AP_easy, AP_medium, AP_hard.

Predictions of mpii and lsp are .mat, .h5 or .npz with the axes in any order, the people in the order of the
annotations. LSP's are in the pixels of its joints.mat, of its test people (the last half) or of all, of whom
the last half is scored. Joints that are no numbers count as wrong; a line on stderr says how many there are.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from oasjax.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from oasjax.datasets.coco_format import KeypointFile
    from oasjax.evaluation.pck import Metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax score`."""
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="mpii|lsp|coco")
    mpii = benchmarks.add_parser("mpii", help="PCKh of MPII's validation people", allow_abbrev=False)
    lsp = benchmarks.add_parser("lsp", help="PCK of LSP's test people", allow_abbrev=False)
    coco = benchmarks.add_parser(
        "coco", help="keypoint AP of COCO, CrowdPose, OCHuman or your own data", allow_abbrev=False
    )
    for verb, annotations, predictions in (
        (mpii, "folder with gt_valid.mat and valid.h5 or valid.npz", ".mat, .h5 or .npz with all people"),
        (lsp, "joints.mat of LSP", ".mat, .h5 or .npz with the test people, or with all"),
        (coco, "COCO keypoint annotations, .json", "COCO keypoint results, .json"),
    ):
        verb.add_argument("--annotations", required=True, metavar="A", type=Path, help=annotations)
        verb.add_argument("--predictions", required=True, metavar="P", type=Path, help=predictions)
        verb.add_argument("--json", metavar="OUT", type=Path, help="write the scores to this file, too")
    mpii.add_argument(
        "--origin",
        type=int,
        choices=(0, 1),
        default=1,
        help="number of the first pixel in the predictions; published files, as the annotations, count from 1"
        " (default: 1)",
    )
    for verb in (mpii, lsp):
        verb.add_argument(
            "--strict",
            action="store_true",
            help="a joint at exactly the threshold is wrong, as for MATLAB's evaluators"
            " (by default it is right, as for HRNet's)",
        )


def run(args: argparse.Namespace) -> None:
    """Score, write the JSON if it is wanted, print the table."""
    if not args.predictions.is_file():
        raise UserError(f"Predictions not found: {args.predictions} is no file. Check the path.")
    scores = {"mpii": score_mpii, "lsp": score_lsp, "coco": score_coco}[args.benchmark](args)

    from oasjax.evaluation.table import score_table

    # Before the table, whose reader may be gone by then.
    if args.json is not None:
        _write(args.json, scores)
    print(score_table({"": scores}))


def score_mpii(args: argparse.Namespace) -> "Metrics":
    """PCKh of the validation people. Raises UserError."""
    import numpy as np

    from oasjax.datasets.mpii.ground_truth import read_tompson_ground_truth
    from oasjax.datasets.skeletons import MPII
    from oasjax.evaluation.pck import auc, pckh, pckh_curve
    from oasjax.evaluation.prediction_files import read_keypoints

    truth = read_tompson_ground_truth(args.annotations)
    predicted = read_keypoints(args.predictions, [len(truth.keypoints)], MPII.num_joints) + (1 - args.origin)
    known = np.full(truth.visibility.shape, truth.occlusion_known)
    if not truth.occlusion_known:
        _note(f"{args.annotations} has neither valid.h5 nor valid.npz: which joints are occluded is unknown")
    _note_lost(args.predictions, predicted[truth.visibility > 0])
    arrays = (predicted, truth.keypoints, truth.visibility, known, truth.head_size, MPII)
    inclusive = not args.strict
    return _merged(
        pckh(*arrays, 0.5, inclusive=inclusive),
        pckh(*arrays, 0.1, inclusive=inclusive),
        auc(pckh_curve(*arrays, inclusive=inclusive)),
    )


def score_lsp(args: argparse.Namespace) -> "Metrics":
    """PCK of the test people. Raises UserError."""
    import numpy as np

    from oasjax.datasets.lsp.annotations import annotated_joints
    from oasjax.datasets.skeletons import LSP
    from oasjax.evaluation.pck import auc, pck, pck_curve
    from oasjax.evaluation.prediction_files import read_keypoints

    joints = annotated_joints(args.annotations).transpose(2, 1, 0)
    num_test = len(joints) - len(joints) // 2
    predicted = read_keypoints(args.predictions, (num_test, len(joints)), LSP.num_joints)[-num_test:]
    keypoints, occluded = joints[-num_test:, :, :2], joints[-num_test:, :, 2] == 1
    _note_lost(args.predictions, predicted)
    visibility = np.where(occluded, 1, 2)
    arrays = (predicted, keypoints, visibility, np.ones_like(occluded), LSP)
    inclusive = not args.strict
    return _merged(pck(*arrays, 0.2, inclusive=inclusive), auc(pck_curve(*arrays, inclusive=inclusive)))


def score_coco(args: argparse.Namespace) -> "Metrics":
    """Keypoint AP. Raises UserError."""
    from oasjax.datasets.coco_format import read_json, read_keypoint_file
    from oasjax.datasets.skeletons import skeleton_from_category
    from oasjax.evaluation.keypoint_ap import crowd_index, keypoint_ap
    from oasjax.evaluation.prediction_files import check_coco_results

    truth = read_keypoint_file(args.annotations, needs_area=False)
    try:
        skeleton = skeleton_from_category(truth.category)
        by_box = crowd_index(truth.image_entries) is not None
    except ValueError as error:
        raise UserError(f"{args.annotations}: {error}.") from None
    if skeleton.sigmas is None:
        raise UserError(
            f"{args.annotations}: its joints are those of {skeleton.name}, for which there are no OKS sigmas "
            "and so no AP. Such people are scored by PCKh or PCK."
        )
    _check_areas(truth, by_box)
    numbers = {image.number for image in truth.images}
    results = check_coco_results(
        args.predictions, read_json(args.predictions), numbers, truth.category["id"], skeleton.num_joints
    )
    if not results:
        _note(f"{args.predictions} holds no predictions: all scores are 0")
    document = {
        "images": truth.image_entries,
        "categories": [truth.category],
        "annotations": truth.entries,
    }
    return keypoint_ap(document, results, skeleton)


def _check_areas(truth: "KeypointFile", by_box: bool) -> None:
    """Refuses people without an area: nothing would ever be near enough to their joints.

    Raises:
        UserError: naming the first.
    """
    import numpy as np

    of_box = truth.bbox_xywh[:, 2] * truth.bbox_xywh[:, 3]
    area = np.where(by_box | np.isnan(truth.area), of_box, truth.area)
    faulty = ~truth.to_ignore & ~((area > 0) & np.isfinite(area))
    if faulty.any():
        first = int(faulty.argmax())
        raise UserError(
            f"{truth.path}: annotation {truth.person_numbers[first]} has labelled joints and an area of "
            f"{area[first]:g}, so no distance can be measured by it. Correct its box and area, or remove it."
        )


def _note(sentence: str) -> None:
    print(f"oasjax: {sentence}", file=sys.stderr)


def _note_lost(path: Path, predicted: "np.ndarray") -> None:
    """Says how many of the labelled joints (m, 2) are predicted as no numbers."""
    import numpy as np

    lost = int((~np.isfinite(predicted)).any(axis=-1).sum())
    if lost:
        total = predicted[..., 0].size
        _note(f"{path}: {lost} of {total} joints are predicted as NaN or infinity; they count as wrong")


def _merged(*scores: "Metrics") -> "Metrics":
    """Several metrics as one result."""
    result: Metrics = {}
    for metrics in scores:
        for split, by_metric in metrics.items():
            for metric, parts in by_metric.items():
                result.setdefault(split, {}).setdefault(metric, {}).update(parts)
    return result


def _write(path: Path, scores: "Metrics") -> None:
    try:
        path.write_text(json.dumps(scores, indent=2) + "\n")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}. Name a file in a folder that exists."
        ) from None

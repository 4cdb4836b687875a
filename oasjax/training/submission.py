"""Files of predictions in the forms that the data sets' own evaluators take.

COCO's family: `NAME_results.json`, a list of {image_id, category_id, keypoints [x, y, score, ...], score}.
For the server of COCO's test-dev the name is person_keypoints_test-dev2017_RUN_results, and the file is
zipped.

MPII's test people: the README of its evaluation toolkit (evalMPII.zip; human-pose.mpi-inf.mpg.de,
"Evaluation") asks for `pred_keypoints_mpii.mat` with `pred`, a copy of the test pictures' annolist in which
`pred(i).annorect(r).annopoints.point(p)` has x, y and id of the joints of single people. Its evaluator
finds people by `objpos` and joints by `id` (0 to 15), and counts pixels from 1. Other people of MPII:
`preds.mat` with `preds` (n, 16, 2), pixels counted from 1, as HRNet writes it.

All others: `predictions.npz` with `preds` (n, k, 2) in pixels from 0, `scores` (n, k), perhaps `occlusion`
(n, k), and the numbers of the records.
"""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from jaxtyping import Float, Int

from oasjax.datasets.mat_file import load_mat
from oasjax.errors import UserError
from oasjax.input_pipeline import COCO_FORM, data_folder
from oasjax.training.scoring import Scorer


def write_predictions(
    folder: Path,
    scorer: Scorer,
    rows: dict[str, np.ndarray],
    split: str,
    run: str,
    say: Callable[[str], None],
) -> None:
    """Write the predictions of a test set in the form of its data set, and say where they are.

    Args:
        folder: made if need be.
        rows: of `predict_all`.
        split: "eval" or "test".
        run: a name for files that must have one of their own.

    Raises:
        UserError: a folder that cannot be written to.
    """
    data = scorer.config["data"]
    numbered = bool((rows["image_number"] >= 0).all())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if data["name"] in COCO_FORM and numbered:
            stem = f"{coco_set(data['name'], split)}_{re.sub('[^A-Za-z0-9-]+', '-', run)}_results"
            paths = write_coco_results(
                folder / f"{stem}.json", scorer.results(rows, rows), zipped=split == "test"
            )
        elif data["name"] == "mpii":
            paths = _write_mpii(folder, scorer, rows, split, say)
        else:
            paths = [_write_arrays(folder, scorer, rows)]
    except OSError as error:
        raise UserError(f"cannot write the predictions to {folder}: {error.strerror or error}") from None
    say(f"predictions: {', '.join(map(str, paths))}")


def coco_set(name: str, split: str) -> str:
    """What the names of results files begin with: for COCO as its server asks."""
    if name == "coco_person":
        return f"person_keypoints_{'test-dev' if split == 'test' else 'val'}2017"
    return f"{name}_{split}"


def write_coco_results(path: Path, results: list[dict[str, Any]], *, zipped: bool) -> list[Path]:
    """Write results as JSON, and the archive of it that COCO's server takes where that is wanted."""
    path.write_text(json.dumps(results, allow_nan=False), encoding="utf-8")
    if not zipped:
        return [path]
    archive = path.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(path, path.name)
    return [path, archive]


def _write_mpii(
    folder: Path, scorer: Scorer, rows: dict[str, np.ndarray], split: str, say: Callable[[str], None]
) -> list[Path]:
    data, keypoints = scorer.config["data"], scorer.in_image(rows, rows)
    release = None
    if split == "test" and not data["arrays_path"]:
        from oasjax.datasets.mpii.annotations import release_file

        release = release_file(data_folder(data))
        if release is None:
            say("MPII's server takes the form of mpii_human_pose_v1_u12_1.mat, which the data lack")
    if release is None:
        path = folder / "preds.mat"
        scipy.io.savemat(path, {"preds": keypoints + 1.0}, do_compression=True)
        return [path]
    pred, missing = mpii_submission(
        load_mat(release, ["RELEASE"])["RELEASE"], keypoints, rows["image_number"], rows["person_number"]
    )
    if missing:
        say(f"{missing} people of MPII's test set are not predicted; the server will count them as wrong")
    path = folder / "pred_keypoints_mpii.mat"
    scipy.io.savemat(path, {"pred": pred}, do_compression=True)
    return [path]


def _write_arrays(folder: Path, scorer: Scorer, rows: dict[str, np.ndarray]) -> Path:
    path = folder / "predictions.npz"
    contents: dict[str, Any] = {
        name: rows[name] for name in ("example_id", "image_number", "person_number") if name in rows
    }
    contents |= {name: rows[name][:, scorer.scored] for name in ("scores", "occlusion") if name in rows}
    with path.open("wb") as file:
        np.savez(file, preds=scorer.in_image(rows, rows), **contents)
    return path


def mpii_submission(
    release: Any,
    keypoints: Float[np.ndarray, "n 16 2"],
    image_number: Int[np.ndarray, "n"],
    person_number: Int[np.ndarray, "n"],
) -> tuple[np.ndarray, int]:
    """`pred` of the MPII toolkit: the test pictures' annolist with predicted joints.

    Args:
        release: `RELEASE` of mpii_human_pose_v1_u12_1.mat as `scipy.io.loadmat` gives it.
        keypoints: image pixels from 0; they are written counting from 1.
        image_number: each person's position in `RELEASE.annolist`, from 0.
        person_number: each person's position in `annorect`, from 0.

    Returns:
        `pred`, a struct array (1, test pictures), and how many single people of the test set have no
        prediction: the evaluator counts all their joints as wrong.

    Raises:
        ValueError: a person who is no one of the test set.
    """
    release = release[0, 0]
    test = np.flatnonzero(release["img_train"].ravel() == 0)
    annolist = release["annolist"].reshape(1, -1)[:, test]
    single = release["single_person"].ravel()[test]
    place = {int(number): index for index, number in enumerate(test)}
    predicted: dict[int, dict[int, np.ndarray]] = {}
    for points, image, person in zip(keypoints, image_number, person_number, strict=True):
        people = annolist[0, place[int(image)]]["annorect"] if int(image) in place else np.empty((1, 0))
        if not (people.dtype.names and 0 <= person < people.size):
            raise ValueError(f"MPII's test set has no person {person} in picture {image} (both from 0)")
        predicted.setdefault(place[int(image)], {})[int(person)] = points
    for index, people in predicted.items():
        annolist[0, index]["annorect"] = _with_points(annolist[0, index]["annorect"], people)
    wanted = {
        (index, int(person) - 1)
        for index, people in enumerate(single)
        for person in people.ravel()
        if _has_place(annolist[0, index]["annorect"], int(person) - 1)
    }
    missing = wanted - {(index, person) for index, people in predicted.items() for person in people}
    return annolist, len(missing)


def _has_place(annorect: np.ndarray, person: int) -> bool:
    """Whether the evaluator sees this person of a picture."""
    fields = annorect.dtype.names or ()
    return "objpos" in fields and person < annorect.size and annorect.flat[person]["objpos"].size > 0


def _with_points(annorect: np.ndarray, people: dict[int, np.ndarray]) -> np.ndarray:
    """A copy of a picture's `annorect` in which these people have `annopoints`."""
    fields = [name for name in annorect.dtype.names or () if name != "annopoints"]
    filled = np.empty(annorect.shape, [(name, object) for name in (*fields, "annopoints")])
    for name in fields:
        filled[name] = annorect[name]
    for person in range(annorect.size):
        filled.flat[person]["annopoints"] = np.empty((0, 0))
    for person, points in people.items():
        point = np.empty((1, len(points)), [("x", object), ("y", object), ("id", object)])
        for joint, (x, y) in enumerate(points):
            point[0, joint] = (float(x) + 1.0, float(y) + 1.0, float(joint))
        filled.flat[person]["annopoints"] = {"point": point}
    return filled

"""The official annotations, `mpii_human_pose_v1_u12_1.mat`: the one form with real visibility.

`RELEASE` is a struct with `annolist` (one entry per picture: `image.name`, `annorect`), `img_train` (1
training picture, 0 test picture) and `single_person` (per picture, the numbers from 1 of the people
who stand apart from others). `annorect` has an entry per person: the head box `x1 y1 x2 y2`,
`scale`, `objpos.x`, `objpos.y`, and `annopoints.point` with an entry per labelled joint: `id` (0 to
15), `x`, `y`, `is_visible`. Any of these may be absent or empty: pictures without people, test
people without joints, people without place. `is_visible` is a number or a character, 1 or 0; it is
empty for neck and head top, which are never marked occluded, and absent for some people.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from oasjax.datasets.mat_file import load_mat
from oasjax.datasets.mpii.annotated_people import NUM_JOINTS, AnnotatedPeople
from oasjax.datasets.mpii.ground_truth import HEAD_SIZE_PER_DIAGONAL
from oasjax.errors import UserError


@dataclass(frozen=True)
class Release:
    """Everybody in the official file.

    Attributes:
        people: in the order of pictures and of people in a picture.
        in_train: (N,) whether the picture is a training picture (its joints are public).
        single: (N,) whether the person stands apart from others, by `single_person`.
    """

    people: AnnotatedPeople
    in_train: Bool[np.ndarray, "n"]
    single: Bool[np.ndarray, "n"]


def read_release(path: Path) -> Release:
    """Read the official file (some 25,000 pictures).

    A joint without `is_visible` counts as visible where others of the same person have one, as the
    published evaluations count neck and head top; where the person has none at all, occlusion is
    unknown.

    Raises:
        UserError: the file is not the official one, or a value in it is none; the person is named.
    """
    root = load_mat(path, ["RELEASE"])["RELEASE"]
    if not _fields(root) or root.size != 1:
        raise UserError(f"{path}: RELEASE is no MATLAB struct. Is this another data set?")
    release = root.ravel()[0]
    for name in ("annolist", "img_train", "single_person"):
        if name not in _fields(root):
            raise UserError(f"{path}: RELEASE has no {name}. Fetch the file again.")
    pictures = release["annolist"].ravel()
    img_train, single_person = release["img_train"].ravel(), release["single_person"].ravel()
    if not {"image", "annorect"} <= set(_fields(pictures)):
        raise UserError(f"{path}: RELEASE.annolist lacks image or annorect. Fetch the file again.")
    if not len(pictures) == len(img_train) == len(single_person):
        raise UserError(
            f"{path}: RELEASE has {len(pictures)} entries in annolist, {len(img_train)} in img_train and "
            f"{len(single_person)} in single_person; they must be as many. Fetch the file again."
        )
    names: list[str] = []
    columns: dict[str, list[Any]] = {
        key: [] for key in ("image", "person", "center", "scale", "head", "points", "flags", "known")
    }
    single: list[bool] = []
    for number, picture in enumerate(pictures):
        rects = picture["annorect"]
        if not _fields(rects):  # nobody, or people of whom nothing is told
            continue
        name = _image_name(path, number, picture["image"])
        apart = {int(value) - 1 for value in np.asarray(single_person[number]).ravel()}
        for person, rect in enumerate(rects.ravel()):
            try:
                center, scale, head = _place(rect)
                points, flags, known = _joints(rect)
            except (ValueError, TypeError, IndexError) as error:
                raise UserError(
                    f"{path}: person {person} of picture {number} ({name}, both from 0) is malformed: "
                    f"{error}. Correct or remove the person."
                ) from None
            names.append(name)
            single.append(person in apart)
            row = (number, person, center, scale, head, points, flags, known)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    num = len(names)
    visibility = np.array(columns["flags"], np.int8).reshape(num, NUM_JOINTS)
    image_number = np.array(columns["image"], np.int64)
    people = AnnotatedPeople(
        path=path,
        image_names=names,
        image_number=image_number,
        person_number=np.array(columns["person"], np.int64),
        center=np.array(columns["center"], np.float64).reshape(num, 2),
        scale=np.array(columns["scale"], np.float64),
        keypoints=np.array(columns["points"], np.float64).reshape(num, NUM_JOINTS, 2),
        visibility=visibility,
        occlusion_known=(visibility > 0) & np.array(columns["known"], bool)[:, None],
        head_size=np.array(columns["head"], np.float64),
    )
    return Release(people, img_train[image_number] == 1, np.array(single, bool))


def _fields(value: Any) -> tuple[str, ...]:
    """Names of a MATLAB struct's fields; none for an empty one or for what is no struct."""
    if not isinstance(value, np.ndarray | np.void) or (isinstance(value, np.ndarray) and not value.size):
        return ()
    return value.dtype.names or ()


def _number(struct: Any, name: str) -> float:
    """A field that holds one number, or one in characters; NaN where absent or empty.

    Raises ValueError naming the field for anything else.
    """
    if name not in _fields(struct):
        return np.nan
    value = np.asarray(struct[name])
    # A struct array gives a field of each of its entries in a cell of its own.
    while value.dtype == object and value.size:
        value = np.asarray(value.ravel()[0])
    if not value.size:
        return np.nan
    try:
        return float(value.ravel()[0])
    except (TypeError, ValueError):
        raise ValueError(f"{name} is '{value.ravel()[0]}', not a number") from None


def _image_name(path: Path, number: int, image: Any) -> str:
    if "name" in _fields(image):
        name = np.asarray(image.ravel()[0]["name"]).ravel()
        if name.size and str(name[0]):
            return str(name[0])
    raise UserError(f"{path}: picture {number} (from 0) has no image.name. Fetch the file again.")


def _place(rect: np.void) -> tuple[tuple[float, float], float, float]:
    """Middle and scale of a person, and the head size; NaN where absent."""
    objpos = rect["objpos"] if "objpos" in _fields(rect) else None
    scale = _number(rect, "scale")
    x1, y1, x2, y2 = (_number(rect, name) for name in ("x1", "y1", "x2", "y2"))
    head_size = HEAD_SIZE_PER_DIAGONAL * float(np.hypot(x2 - x1, y2 - y1))
    return (_number(objpos, "x"), _number(objpos, "y")), scale, head_size


def _joints(rect: np.void) -> tuple[list[list[float]], list[int], bool]:
    """Coordinates and visibility of the 16 joints, and whether the person's occlusion is labelled."""
    keypoints, visibility = [[0.0, 0.0] for _ in range(NUM_JOINTS)], [0] * NUM_JOINTS
    annopoints = rect["annopoints"] if "annopoints" in _fields(rect) else np.empty(0)
    if "point" not in _fields(annopoints):
        return keypoints, visibility, False
    points = annopoints.ravel()[0]["point"]
    if not _fields(points):
        return keypoints, visibility, False
    some_flag = False
    for point in points.ravel():
        joint = _number(point, "id")
        if joint not in range(NUM_JOINTS):
            raise ValueError(f"a joint has the id {joint:g}, expected 0 to {NUM_JOINTS - 1}")
        joint = int(joint)
        # Where a joint stands there twice, the first counts, as in the hourglass authors' arrays.
        if visibility[joint]:
            continue
        keypoints[joint] = [_number(point, "x"), _number(point, "y")]
        flag = _number(point, "is_visible")
        some_flag |= flag == flag
        visibility[joint] = 1 if flag == 0 else 2
    return keypoints, visibility, some_flag

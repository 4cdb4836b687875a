"""What a data folder holds: pictures that open, people, labelled and hidden joints.

Every picture is opened once, by a pool of threads; of each only its size, a digest and what is odd
about it is kept, so that memory does not grow with the pictures.
"""

import hashlib
import io
import itertools
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline.decode import decode_image, image_size, read_bytes

# Lists of names in a report end after so many; the counts beside them are complete.
LISTED = 20

_EXIF_ORIENTATION = 0x0112
_TURNED_SIDEWAYS = (5, 6, 7, 8)
_SUFFIXES = {b"\xff\xd8": {".jpg", ".jpeg", ".jpe", ".jfif"}, b"\x89P": {".png"}}
# Pillow's modes of pictures that `decode_image` turns into 8-bit RGB.
_MODES = {"1": "grey", "L": "grey", "CMYK": "CMYK", "YCCK": "CMYK", "P": "palette", "LA": "transparent"}
_MODES |= {"RGBA": "transparent", "PA": "transparent", "I;16": "16 bits", "I;16B": "16 bits", "I": "16 bits"}


@dataclass(frozen=True)
class PictureCheck:
    """What is known of one picture file.

    Attributes:
        size_wh: as `decode_image` gives the picture; None where it cannot be used.
        problem: why it cannot be used; None where it can.
        traits: what the reader converts ("grey", "CMYK", "16 bits", "palette", "transparent", "EXIF
            orientation") or passes over ("other ending": a PNG named .jpg or the like).
        digest: of the file's bytes, the same for the same file under another name.
    """

    size_wh: tuple[int, int] | None
    problem: str | None
    traits: tuple[str, ...] = ()
    digest: bytes = b""


def check_picture(path: str, name: str, headers_only: bool) -> PictureCheck:
    """Open one picture as training would.

    Args:
        path: the file.
        name: how to call it in `problem`.
        headers_only: do not decode; signature, size limit and end marker are checked all the same.
    """
    try:
        data = read_bytes(path)
        if headers_only:
            width, height = image_size(data, name)
        else:
            height, width = decode_image(data, name).shape[:2]
    except UserError as error:
        return PictureCheck(None, str(error))
    mode, orientation = _mode_and_orientation(data)
    if headers_only and orientation in _TURNED_SIDEWAYS:
        width, height = height, width
    traits = [_MODES[mode]] if mode in _MODES else []
    if orientation > 1:
        traits.append("EXIF orientation")
    if Path(path).suffix.lower() not in _SUFFIXES[data[:2]]:
        traits.append("other ending")
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return PictureCheck((width, height), None, tuple(traits), digest)


def _mode_and_orientation(data: bytes) -> tuple[str, int]:
    """Pillow's colour mode and the EXIF orientation (1: upright), from the header alone."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
            return picture.mode, orientation if isinstance(orientation, int) else 1
    except (OSError, SyntaxError, ValueError):  # OpenCV, which decodes, is more patient with headers
        return "RGB", 1


def check_pictures(
    files: Mapping[str, str],
    headers_only: bool,
    num_threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, PictureCheck]:
    """Open all pictures.

    Args:
        files: name of each picture -> path.
        headers_only: see `check_picture`.
        num_threads: threads that read and decode.
        progress: called with (opened, all) after each.
    """

    def check(item: tuple[str, str]) -> PictureCheck:
        return check_picture(item[1], item[0], headers_only)

    checks: dict[str, PictureCheck] = {}
    with warnings.catch_warnings():  # outside of the threads: filters belong to the whole process
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and broken EXIF data
        for name, result in zip(files, _in_order(check, files.items(), num_threads), strict=True):
            checks[name] = result
            if progress is not None:
                progress(len(checks), len(files))
    return checks


def _in_order(
    function: Callable[[Any], PictureCheck], items: Any, num_threads: int
) -> Iterator[PictureCheck]:
    """Results of a pool in the order of the items, of which a few at a time are in the making."""
    items = iter(items)
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="oasjax-check")
    try:
        waiting: deque[Future[PictureCheck]] = deque(
            pool.submit(function, item) for item in itertools.islice(items, 4 * num_threads)
        )
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in itertools.islice(items, 1))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class AnnotatedSplit:
    """One split as its reader found it.

    Attributes:
        people: the records that can be used; `image_path` is a file, or `image` the picture itself.
        ignored: records of regions that AP ignores; None where the data set has none.
        files: pictures with people or without that the annotations name and that are there, by name.
        missing: names of those without a file.
        sizes_wh: width and height of pictures, by name, as far as the annotations state them.
        left_out: reason -> number of people who cannot be used though their picture is there.
    """

    people: Sequence[dict[str, Any]]
    ignored: Sequence[dict[str, Any]] | None
    files: Mapping[str, str]
    missing: Sequence[str]
    sizes_wh: Mapping[str, tuple[int, int]]
    left_out: Mapping[str, int]


def check_split(
    split: AnnotatedSplit,
    skeleton: Skeleton,
    headers_only: bool,
    num_threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], dict[str, PictureCheck]]:
    """Open the pictures of a split and count its joints.

    Returns:
        the report without `published`, in the form that `oasjax/cli/check_data.py` documents; and the
        pictures that are files, by `image_id`.
    """
    checks = check_pictures(split.files, headers_only, num_threads, progress)
    sizes = {name: check.size_wh for name, check in checks.items() if check.size_wh is not None}
    in_memory = {
        str(person["image_id"]): (person["image"].shape[1], person["image"].shape[0])
        for person in split.people
        if "image" in person
    }
    report = {
        "pictures": picture_report(checks, split, len(in_memory)),
        "people": {
            "usable": len(split.people),
            "left_out": dict(split.left_out),
            "ignored": None if split.ignored is None else len(split.ignored),
        },
        "joints": joint_report(split.people, skeleton, {**sizes, **in_memory}),
    }
    return report, checks


def picture_report(
    checks: Mapping[str, PictureCheck], split: AnnotatedSplit, num_in_memory: int
) -> dict[str, Any]:
    """The part `pictures` of a split's report; pictures in memory are no files and need no check."""
    broken = [(name, check.problem) for name, check in checks.items() if check.problem is not None]
    traits = Counter(trait for check in checks.values() for trait in check.traits)
    other_size = [
        f"{name}: {width} x {height} by the annotations, {check.size_wh[0]} x {check.size_wh[1]} in fact"
        for name, (width, height) in split.sizes_wh.items()
        if (check := checks.get(name)) is not None
        if check.size_wh is not None and check.size_wh != (width, height)
    ]
    present = len(checks) + num_in_memory
    return {
        "named": present + len(split.missing),
        "present": present,
        "missing": len(split.missing),
        "broken": len(broken),
        "other_size": len(other_size),
        "missing_names": list(split.missing[:LISTED]),
        "broken_names": [{"file": name, "reason": reason} for name, reason in broken[:LISTED]],
        "other_size_names": other_size[:LISTED],
        "traits": dict(sorted(traits.items())),
    }


def joint_report(
    people: Sequence[dict[str, Any]], skeleton: Skeleton, sizes_wh: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """The part `joints` of a split's report.

    Args:
        people: records of `read_people`.
        skeleton: their joints.
        sizes_wh: of the pictures that open, by `image_id`; joints of others are inside.
    """
    num, joints = len(people), skeleton.num_joints
    visibility = np.array([person["visibility"] for person in people]).reshape(num, joints)
    known = np.array([person["occlusion_known"] for person in people], bool).reshape(num, joints)
    outside = np.array(
        [_outside(person, sizes_wh.get(str(person["image_id"]))) for person in people], bool
    ).reshape(num, joints)
    labelled = visibility > 0
    counted = {
        "labelled": labelled,
        "visible": labelled & known & (visibility == 2),
        "occluded": labelled & known & (visibility == 1),
        "unknown": labelled & ~known,
        "outside": labelled & outside,
    }
    return {
        "total": num * joints,
        **_counts({key: int(mask.sum()) for key, mask in counted.items()}),
        "per_joint": {
            name: _counts({key: int(mask[:, index].sum()) for key, mask in counted.items()})
            for index, name in enumerate(skeleton.joints)
        },
    }


def _counts(counts: dict[str, int]) -> dict[str, int | float | None]:
    known = counts["visible"] + counts["occluded"]
    return {**counts, "hidden_share": counts["occluded"] / known if known else None}


def _outside(person: dict[str, Any], size_wh: tuple[int, int] | None) -> Bool[np.ndarray, "k"]:
    """Joints in no pixel of the picture (pixel centres at integers)."""
    keypoints = np.asarray(person["keypoints"], np.float64)
    if size_wh is None:
        return np.zeros(len(keypoints), bool)
    return np.any((keypoints < -0.5) | (keypoints >= np.array(size_wh) - 0.5), axis=-1)

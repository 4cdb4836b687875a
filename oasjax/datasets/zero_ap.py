"""Why keypoint AP may come out 0 or -1, or training learn nothing, on people's own data.

The annotations are looked at as they stand in the file (COCO form), before anything is read into
records: what the reader refuses is explained here too, and what it fills in (`keypoints_json`) while
other tools stop at it. Each finding is a sentence with the first records that it concerns. What is
looked for is what users of the COCO form run into again and again (issues 306, 715, 1524, 1795, 2248,
2255 of open-mmlab/mmpose; 130 of cocodataset/cocoapi).
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from oasjax.datasets.skeletons import COCO, plain_name, skeleton_from_category

FIRST_RECORDS = 5
# COCO's evaluator calls people between these areas medium, above the second large.
MEDIUM_AREA, LARGE_AREA = 32**2, 96**2
# A few odd boxes are a slip; more than this share is a misunderstanding.
MOST = 0.5
# Segments of people fill a good part of their boxes: a median outside of this is another number.
_AREA_OF_BOX = (0.05, 1.5)
_FILES_LOOKED_AT = 500_000


@dataclass(frozen=True)
class Finding:
    """Something that would spoil scores or training.

    Attributes:
        code: a word for programs.
        serious: AP would be 0, -1 or meaningless, or training learn nothing; otherwise worth knowing.
        sentence: what is wrong, what follows, what to do.
        count: how many records it concerns.
        records: the first of them.
    """

    code: str
    serious: bool
    sentence: str
    count: int
    records: tuple[str, ...]


@dataclass(frozen=True)
class _Person:
    """An annotation, with what could be read of it."""

    name: str
    entry: dict[str, Any]
    keypoints: Float[np.ndarray, "k 3"] | None
    bbox_xywh: Float[np.ndarray, "4"] | None
    size_wh: tuple[float, float] | None

    @property
    def labelled(self) -> Bool[np.ndarray, "k"]:
        if self.keypoints is None:
            return np.zeros(0, bool)
        return (self.keypoints[:, 2] > 0) & np.isfinite(self.keypoints).all(-1)


@dataclass(frozen=True)
class _Document:
    images: list[dict[str, Any]]
    people: list[_Person]
    categories: list[dict[str, Any]]
    folder: Path
    sizes_wh: Mapping[str, tuple[int, int]]

    @property
    def with_labels(self) -> list[_Person]:
        return [person for person in self.people if person.labelled.any()]


def explain_zero_ap(
    document: Mapping[str, Any], folder: Path, sizes_wh: Mapping[str, tuple[int, int]]
) -> list[Finding]:
    """All findings about one annotation file, serious ones first.

    Args:
        document: the file's contents; entries that are none are passed over.
        folder: that of the data; pictures belong into its subfolder images or into itself.
        sizes_wh: width and height of pictures that were decoded, by `file_name`.
    """
    prepared = _prepare(document, folder, sizes_wh)
    if not prepared.people:
        nothing = "the file holds no `annotations`, so there is nothing to train on and AP is -1"
        return [Finding("no_annotations", True, nothing, 0, ())]
    found = [finding for check in _CHECKS for finding in check(prepared)]
    return sorted(found, key=lambda finding: not finding.serious)


def shared_pictures(digests: Mapping[str, Mapping[str, bytes]]) -> list[Finding]:
    """Pictures that two splits have in common, by the bytes of their files.

    Args:
        digests: split -> picture -> digest of its file.
    """
    found = []
    splits = list(digests)
    for n, first in enumerate(splits):
        of_first = {digest: name for name, digest in digests[first].items()}
        for second in splits[n + 1 :]:
            shared = [
                name if of_first[digest] == name else f"{name} (= {of_first[digest]})"
                for name, digest in digests[second].items()
                if digest in of_first
            ]
            if shared:
                sentence = (
                    f"{len(shared)} of {len(digests[second])} pictures of {second} are in {first} too: "
                    f"scores on {second} say nothing about new pictures; take them out of one of the two"
                )
                found.append(
                    Finding("shared_pictures", True, sentence, len(shared), tuple(shared[:FIRST_RECORDS]))
                )
    return found


def _prepare(document: Mapping[str, Any], folder: Path, sizes_wh: Mapping[str, tuple[int, int]]) -> _Document:
    images = _entries(document, "images")
    image_of = {_hashable(image.get("id")): image for image in images}
    people = []
    for position, entry in enumerate(_entries(document, "annotations")):
        image = image_of.get(_hashable(entry.get("image_id")), {})
        file_name = image.get("file_name")
        place = f" ({file_name})" if isinstance(file_name, str) else ""
        decoded = sizes_wh.get(file_name) if isinstance(file_name, str) else None
        people.append(
            _Person(
                name=f"annotation {entry.get('id', f'at position {position}')}{place}",
                entry=entry,
                keypoints=_triplets(entry.get("keypoints")),
                bbox_xywh=_numbers(entry.get("bbox"), 4),
                size_wh=(float(decoded[0]), float(decoded[1])) if decoded else _annotated_size(image),
            )
        )
    return _Document(images, people, _entries(document, "categories"), folder, sizes_wh)


def _entries(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(values: Any, count: int | None = None) -> np.ndarray | None:
    if not isinstance(values, list) or not values or not all(map(_is_number, values)):
        return None
    return np.array(values, np.float64) if count in (None, len(values)) else None


def _triplets(values: Any) -> Float[np.ndarray, "k 3"] | None:
    numbers = _numbers(values)
    return numbers.reshape(-1, 3) if numbers is not None and len(numbers) % 3 == 0 else None


def _annotated_size(image: Mapping[str, Any]) -> tuple[float, float] | None:
    width, height = image.get("width"), image.get("height")
    size = _numbers([width, height])
    return (float(size[0]), float(size[1])) if size is not None and (size > 0).all() else None


def _finding(
    code: str, people: Sequence[_Person], total: int, sentence: str, serious: bool = True
) -> Iterator[Finding]:
    """None where it concerns nobody; the sentence goes on after "3 of 40 annotations"."""
    if people:
        text = f"{len(people)} of {total} annotations {sentence}"
        names = tuple(person.name for person in people[:FIRST_RECORDS])
        yield Finding(code, serious, text, len(people), names)


def _areas(data: _Document) -> Iterator[Finding]:
    people, total = data.people, len(data.people)
    missing = [p for p in people if p.entry.get("area") is None]
    yield from _finding(
        "no_area", missing, total,
        "have no `area`, the measure of AP's tolerance: here width x height of the box stands in, other "
        "tools stop "
        "or score 0",
        serious=False,
    )  # fmt: skip
    zero = [p for p in people if _is_number(p.entry.get("area")) and not p.entry["area"] > 0]
    yield from _finding(
        "zero_area", zero, total,
        "have an `area` that is not above 0: they are left out here, and in other tools every prediction "
        "for them is "
        "wrong (AP 0, APM and APL -1); write the person's area, or width x height of the box",
    )  # fmt: skip
    ratios = [
        (p.entry["area"] / (p.bbox_xywh[2] * p.bbox_xywh[3]), p)
        for p in data.with_labels
        if _is_number(p.entry.get("area")) and p.entry["area"] > 0 and _has_area(p)
        if p.bbox_xywh is not None
    ]
    low, high = _AREA_OF_BOX
    if not ratios or low <= np.median([ratio for ratio, _ in ratios]) <= high:
        return
    odd = [person for ratio, person in ratios if not low <= ratio <= high]
    yield from _finding(
        "odd_area", odd, total,
        "have an `area` far from width x height of their box (a placeholder, or another unit?): too small "
        "an area "
        "gives AP 0, too large a one flatters; write the person's area in pixels",
    )  # fmt: skip


def _sizes(data: _Document) -> Iterator[Finding]:
    areas = [p.entry["area"] for p in data.with_labels if _is_number(p.entry.get("area"))]
    areas = [area for area in areas if area > 0]
    medium = any(MEDIUM_AREA <= area <= LARGE_AREA for area in areas)
    large = any(area >= LARGE_AREA for area in areas)
    for code, there, metric, span in (
        ("no_medium_people", medium, "APM", f"between {MEDIUM_AREA} and {LARGE_AREA} square pixels"),
        ("no_large_people", large, "APL", f"above {LARGE_AREA} square pixels"),
    ):
        if areas and not there:
            sentence = (
                f"nobody has an area {span}, so {metric} is -1 (nothing to score); AP is as it should be"
            )
            yield Finding(code, False, sentence, 0, ())


def _joint_numbers(data: _Document) -> Iterator[Finding]:
    labelled, total = data.with_labels, len(data.people)
    missing = [p for p in labelled if not _is_number(p.entry.get("num_keypoints"))]
    yield from _finding(
        "no_num_keypoints", missing, total,
        "have no `num_keypoints`: here joints with v > 0 are counted, pycocotools stops",
        serious=False,
    )  # fmt: skip
    zero = [p for p in labelled if p.entry.get("num_keypoints") == 0]
    yield from _finding(
        "zero_num_keypoints", zero, total,
        "have `num_keypoints` 0 though joints are labelled: here joints with v > 0 are counted, pycocotools "
        "and "
        "mmpose ignore these people (AP -1 if all are so)",
        serious=False,
    )  # fmt: skip


def _visibility(data: _Document) -> Iterator[Finding]:
    people = [p for p in data.people if p.keypoints is not None]
    if not people:
        return
    strange = [p for p in people if not np.isin(_keypoints(p)[:, 2], (0, 1, 2)).all()]
    yield from _finding(
        "strange_visibility", strange, len(data.people),
        "have a v that is none of 0 (not labelled), 1 (labelled, hidden), 2 (labelled, visible); a score, "
        "perhaps?",
    )  # fmt: skip
    flags = set(np.unique(np.concatenate([_keypoints(p)[:, 2] for p in people])).tolist())
    if flags == {0.0}:
        yield from _finding(
            "nothing_labelled", people, len(data.people),
            "have v = 0 for every joint, which means not labelled: nothing is trained and AP is -1; "
            "write 2 for visible and 1 for hidden joints",
        )  # fmt: skip
    if 1.0 in flags and flags <= {0.0, 1.0}:
        yield from _finding(
            "visible_as_1", [p for p in people if (_keypoints(p)[:, 2] == 1).any()], len(data.people),
            "have v = 1 and none has v = 2: if 1 stands for visible, every joint counts as hidden here; "
            "write 2 for visible joints",
        )  # fmt: skip


def _image_ids(data: _Document) -> Iterator[Finding]:
    known = {_hashable(image.get("id")) for image in data.images}
    lost = [p for p in data.people if _hashable(p.entry.get("image_id")) not in known]
    if not lost:
        return
    hint = "check `image_id`"
    if all(_hashable(p.entry.get("id")) in known for p in lost):
        hint = "their `id` does name one: have `id` and `image_id` changed places?"
    elif {str(p.entry.get("image_id")) for p in lost} <= {str(image) for image in known}:
        hint = "the same ids stand there as text instead of numbers, or the other way round"
    yield from _finding(
        "unknown_image", lost, len(data.people),
        f"have an `image_id` that no entry of `images` has as `id`; {hint}",
    )  # fmt: skip


def _categories(data: _Document) -> Iterator[Finding]:
    if not data.categories:
        sentence = "`categories` is missing or empty, so nobody knows the joints; docs/data.md shows its form"
        yield Finding("no_categories", True, sentence, 0, ())
        return
    names = {_hashable(category.get("id")): str(category.get("name")) for category in data.categories}
    stray = [p for p in data.people if _hashable(p.entry.get("category_id")) not in names]
    yield from _finding(
        "unknown_category", stray, len(data.people),
        "have a `category_id` that no entry of `categories` has as `id`: they are never scored",
    )  # fmt: skip
    counts = Counter(_hashable(p.entry.get("category_id")) for p in data.with_labels)
    used = [f"{names[number]} ({count})" for number, count in counts.most_common() if number in names]
    if len(used) > 1:
        sentence = (
            f"people with labelled joints belong to {len(used)} categories, "
            f"{', '.join(used[:FIRST_RECORDS])}: "
            "one model has one set of joints; keep one category to a file"
        )
        yield Finding("several_categories", True, sentence, len(used), ())
    if len(used) == 1 and not used[0].startswith("person "):
        sentence = (
            f"the category of the labelled people is {used[0].split(' (')[0]!r}, not 'person': fine here, "
            f"while "
            "other tools may leave them out"
        )
        yield Finding("category_name", False, sentence, len(data.with_labels), ())


def _skeletons(data: _Document) -> Iterator[Finding]:
    for category in data.categories:
        joints = category.get("keypoints")
        if not isinstance(joints, list) or not joints:
            continue
        try:
            skeleton = skeleton_from_category(category)
        except ValueError as error:
            yield Finding("bad_category", True, f"`categories`: {error}", 1, (str(category.get("name")),))
            continue
        if not skeleton.flip_pairs and len(joints) > 1:
            sentence = (
                f"no joint of category {category.get('name')!r} is recognised as the mirror of another: "
                f"mirrored "
                "pictures would teach left as right; name the joints left_... and right_..."
            )
            yield Finding("no_flip_pairs", True, sentence, len(joints), tuple(joints[:FIRST_RECORDS]))
        known = {plain_name(joint) for joint in COCO.joints}
        unknown = [joint for joint in skeleton.joints if plain_name(joint) not in known]
        if unknown and skeleton.name == str(category.get("name", "custom")):
            sentence = (
                f"{len(unknown)} of {len(joints)} joints of category {category.get('name')!r} have no "
                f"published "
                "tolerance (sigma): AP takes the mean of COCO's for them, so compare it among your own runs "
                "only"
            )
            yield Finding("default_sigmas", False, sentence, len(unknown), tuple(unknown[:FIRST_RECORDS]))


def _joint_count(data: _Document) -> Iterator[Finding]:
    expected = {
        _hashable(category.get("id")): len(category["keypoints"])
        for category in data.categories
        if isinstance(category.get("keypoints"), list)
    }
    odd = []
    for person in data.people:
        joints = expected.get(_hashable(person.entry.get("category_id")))
        values = person.entry.get("keypoints")
        if joints and isinstance(values, list) and len(values) != 3 * joints:
            odd.append(person)
    yield from _finding(
        "joint_count", odd, len(data.people),
        f"have `keypoints` of another length than 3 x the joints of their category "
        f"({_listed(expected.values())})",
    )  # fmt: skip


def _boxes(data: _Document) -> Iterator[Finding]:
    total = len(data.people)
    missing = [p for p in data.with_labels if p.entry.get("bbox") is None]
    yield from _finding(
        "no_box", missing, total,
        "have no `bbox`: here the box about the labelled joints, a fifth larger, stands in; other tools stop",
        serious=False,
    )  # fmt: skip
    bad = [p for p in data.with_labels if p.entry.get("bbox") is not None and not _has_area(p)]
    yield from _finding(
        "bad_box", bad, total,
        "have a `bbox` that is not four numbers with width and height above 0: they are left out; "
        "write [x, y, width, height]",
    )  # fmt: skip
    boxed = [p for p in data.people if _has_area(p)]
    tiny = [p for p in boxed if (np.abs(_box(p)) <= 1).all() and p.size_wh is not None and max(p.size_wh) > 1]
    if len(tiny) > MOST * len(boxed):
        yield from _finding(
            "normalised_boxes", tiny, total,
            "have a `bbox` between 0 and 1: fractions of the picture, it seems; write pixels",
        )  # fmt: skip
        return
    sized = [p for p in boxed if p.size_wh is not None]
    xyxy = [p for p in sized if _looks_like_corners(_box(p), p.size_wh or (0, 0))]
    if len(xyxy) > MOST * len(sized):
        yield from _finding(
            "corner_boxes", xyxy, total,
            "have a `bbox` that reaches beyond its picture but fits into it as two corners: [x1, y1, x2, "
            "y2], it seems; "
            "write [x, y, width, height]",
        )  # fmt: skip


def _looks_like_corners(bbox: Float[np.ndarray, "4"], size_wh: tuple[float, float]) -> bool:
    x, y, width, height = bbox
    beyond = x + width > size_wh[0] + 1 or y + height > size_wh[1] + 1
    return bool(beyond and x < width <= size_wh[0] + 1 and y < height <= size_wh[1] + 1)


def _coordinates(data: _Document) -> Iterator[Finding]:
    total, people = len(data.people), data.with_labels
    bad = [
        p for p in data.people
        if p.keypoints is not None
        and not np.isfinite(p.keypoints[np.nan_to_num(p.keypoints[:, 2], nan=1) > 0]).all()
    ]  # fmt: skip
    yield from _finding("not_finite", bad, total, "have a labelled joint at NaN or infinity; set its v to 0")
    fractions = [
        p for p in people
        if p.labelled.sum() > 1 and (np.abs(_labelled_points(p)) <= 1).all()
    ]  # fmt: skip
    if people and len(fractions) > MOST * len(people):
        yield from _finding(
            "normalised_joints", fractions, total,
            "have all joints between 0 and 1: fractions of the picture, it seems; write pixels",
        )  # fmt: skip
        return
    sized = [p for p in people if p.size_wh is not None]
    outside = [p for p in sized if _share_outside(_labelled_points(p), np.zeros(2), p.size_wh) > MOST]
    if len(outside) > MOST * len(sized):
        yield from _finding(
            "joints_outside_picture", outside, total,
            "have most joints outside their picture: coordinates of another resolution, or `image_id` names "
            "the "
            "wrong picture",
        )  # fmt: skip
        return
    boxed = [p for p in people if _has_area(p)]
    apart = [p for p in boxed if _share_outside(_labelled_points(p), _box(p)[:2], _box(p)[2:]) > MOST]
    if len(apart) > MOST * len(boxed):
        yield from _finding(
            "joints_outside_box", apart, total,
            "have most joints outside their box: people are cut out by the box, so training never sees "
            "these joints; "
            "box and joints need the same frame, and the box the form [x, y, width, height]",
        )  # fmt: skip


def _share_outside(points: np.ndarray, low: np.ndarray, size: Any) -> float:
    """Share of points that are more than a tenth of the size (or a pixel) outside of a rectangle."""
    margin = np.maximum(1.0, 0.1 * np.asarray(size))
    outside = (points < low - margin) | (points > low + size + margin)
    return float(outside.any(-1).mean())


def _picture_sizes(data: _Document) -> Iterator[Finding]:
    turned: list[str] = []
    other: list[str] = []
    for image in data.images:
        name, annotated = image.get("file_name"), _annotated_size(image)
        real = data.sizes_wh.get(name) if isinstance(name, str) else None
        if real is None or annotated is None or annotated == real:
            continue
        text = f"{name} ({annotated[0]:g} x {annotated[1]:g} annotated, {real[0]} x {real[1]} decoded)"
        (turned if annotated == real[::-1] else other).append(text)
    if turned:
        sentence = (
            f"{len(turned)} of {len(data.images)} pictures have width and height exchanged against "
            f"`images`: they are "
            "turned by their EXIF orientation, which the annotations may not know; look at the contact "
            "sheet, and "
            "save the pictures upright if the joints lie wrong"
        )
        yield Finding("turned_pictures", True, sentence, len(turned), tuple(turned[:FIRST_RECORDS]))
    if other:
        sentence = (
            f"{len(other)} of {len(data.images)} pictures have another size than `images` says: were they "
            f"scaled after "
            "they were annotated? Then all joints are off"
        )
        yield Finding("other_size", True, sentence, len(other), tuple(other[:FIRST_RECORDS]))


def _crowds(data: _Document) -> Iterator[Finding]:
    crowd = [p for p in data.people if p.entry.get("iscrowd")]
    labelled = [p for p in crowd if p.labelled.any()]
    sentence = "are marked `iscrowd` 1 though joints are labelled: they are ignored in training and AP"
    if len(crowd) == len(data.people):
        sentence = "are marked `iscrowd` 1, so nobody is left to train on and AP is -1; write 0 for a person"
        labelled = crowd
    yield from _finding("crowds", labelled, len(data.people), sentence)


def _duplicates(data: _Document) -> Iterator[Finding]:
    ids = Counter(_hashable(p.entry.get("id")) for p in data.people)
    twice = [p for p in data.people if ids[_hashable(p.entry.get("id"))] > 1]
    yield from _finding(
        "duplicate_ids",
        twice,
        len(data.people),
        "share their `id` with another (or have none); number them from 1",
    )
    zero = [p for p in data.people if p.entry.get("id") == 0]
    yield from _finding(
        "id_zero", zero, len(data.people),
        "have the `id` 0, which pycocotools takes for no match: the person counts as missed; number from 1",
    )  # fmt: skip
    for key, what in (("id", "`id`"), ("file_name", "`file_name`")):
        counts = Counter(_hashable(image.get(key)) for image in data.images)
        repeated = [str(value) for value, count in counts.items() if count > 1]
        if repeated:
            sentence = (
                f"{len(repeated)} values of {what} stand in `images` more than once: "
                "people would be looked for in the wrong picture or counted twice"
            )
            code = f"duplicate_image_{key}s"
            yield Finding(code, True, sentence, len(repeated), tuple(repeated[:FIRST_RECORDS]))
    seen: dict[tuple[Any, bytes], _Person] = {}
    copies = []
    for person in data.with_labels:
        key_of = (_hashable(person.entry.get("image_id")), _keypoints(person).tobytes())
        if key_of in seen:
            copies.append(person)
        seen.setdefault(key_of, person)
    yield from _finding(
        "duplicate_people", copies, len(data.people),
        "repeat another one's joints in the same picture: each prediction matches one of them, the rest "
        "counts as "
        "missed",
    )  # fmt: skip


def _missing_files(data: _Document) -> Iterator[Finding]:
    names = [str(image["file_name"]) for image in data.images if isinstance(image.get("file_name"), str)]
    homes = (data.folder / "images", data.folder)
    missing = [name for name in names if not any((home / name).is_file() for home in homes)]
    nameless = len(data.images) - len(names)
    if nameless:
        sentence = f"{nameless} of {len(data.images)} entries of `images` have no `file_name`"
        yield Finding("no_file_name", True, sentence, nameless, ())
    if not missing:
        return
    found = _folders_of({Path(name).name for name in missing}, data.folder)
    sentence = f"{len(missing)} of {len(names)} pictures are neither in {homes[0]} nor in {homes[1]}"
    if found:
        folder, count = found.most_common(1)[0]
        sentence += f"; {count} of them lie in {folder}: move them, or write `file_name` relative to images"
    yield Finding("missing_files", bool(found), sentence, len(missing), tuple(missing[:FIRST_RECORDS]))


def _folders_of(names: set[str], root: Path) -> Counter[str]:
    """Folders below `root` that hold files of these names, with how many."""
    folders: Counter[str] = Counter()
    looked_at = 0
    for folder, _, files in os.walk(root):
        hits = len(names & set(files))
        if hits:
            folders[folder] += hits
        looked_at += len(files)
        if looked_at > _FILES_LOOKED_AT:
            break
    return folders


def _listed(values: Any) -> str:
    return ", ".join(str(value) for value in sorted(set(values))) or "none"


def _keypoints(person: _Person) -> Float[np.ndarray, "k 3"]:
    return np.zeros((0, 3)) if person.keypoints is None else person.keypoints


def _labelled_points(person: _Person) -> Float[np.ndarray, "n 2"]:
    return _keypoints(person)[person.labelled, :2]


def _box(person: _Person) -> Float[np.ndarray, "4"]:
    return np.zeros(4) if person.bbox_xywh is None else person.bbox_xywh


def _has_area(person: _Person) -> bool:
    box = _box(person)
    return bool(np.isfinite(box).all() and (box[2:] > 0).all())


_CHECKS: tuple[Callable[[_Document], Iterator[Finding]], ...] = (
    _image_ids,
    _categories,
    _joint_count,
    _visibility,
    _areas,
    _joint_numbers,
    _crowds,
    _boxes,
    _coordinates,
    _picture_sizes,
    _duplicates,
    _missing_files,
    _skeletons,
    _sizes,
)

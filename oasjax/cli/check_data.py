"""Check a data folder: counts, missing or broken pictures, labels, a contact sheet.

    oasjax check-data lsp_extended --data_dir lspet
    oasjax check-data keypoints_json --data_dir my_data --json report.json --out people.png
    oasjax check-data people.npz

NAME is a data set (a key of `config.data.name`) or an .npz file of arrays. Prints a report, and
writes a contact sheet of people chosen at random. Every picture is opened, unless --fast.

Exit code 0: the folder can be used; single pictures that are missing or broken are listed, and what
would spoil scores is explained. 2: it cannot be used at all, and the last line says why.

The JSON, stable:

    {"data": str,                       NAME
     "folder": str | null,              null for drawn people
     "pictures_opened": "decoded" | "headers",
     "splits": {str: {                  or {"error": str, "annotated": ...}, why it cannot be read
       "annotated": {                   everybody, with or without a picture; null where unknown
         "people": int, "labelled": int, "occluded": int} | null,
       "pictures": {
         "named": int,                  by the annotations
         "present": int, "missing": int,
         "broken": int,                 present, yet not to be opened
         "other_size": int,             of another width or height than the annotations state
         "missing_names": [str],        the first 20, here and below
         "broken_names": [{"file": str, "reason": str}],
         "other_size_names": [str],
         "traits": {str: int}},         what the reader converts: grey, CMYK, EXIF orientation, ...
       "people": {
         "usable": int,
         "left_out": {str: int},        reason -> how many
         "ignored": int | null},        regions that AP ignores (crowds, no labelled joint); COCO family
       "joints": {
         "total": int,                  people times joints
         "labelled": int,               all of: visible, occluded, unknown
         "visible": int, "occluded": int,
         "unknown": int,                labelled, but not whether occluded
         "outside": int,                labelled, outside of the picture
         "hidden_share": float | null,  occluded of visible and occluded
         "per_joint": {str: {"labelled", "visible", "occluded", "unknown", "outside", "hidden_share"}}},
       "published": {str: {             pictures, people, labelled or occluded of the whole data set
         "number": int, "source": str,
         "certain": bool}}}},           false: quoted from memory
     "findings": [{                     of keypoints_json: what would make AP 0 or training learn nothing
       "split": str, "code": str, "serious": bool, "sentence": str,
       "count": int,                    records concerned
       "records": [str]}],              the first 5
     "contact_sheet": str | null}
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from oasjax.errors import UserError

if TYPE_CHECKING:
    from oasjax.datasets.checks import AnnotatedSplit, PictureCheck
    from oasjax.datasets.skeletons import Skeleton

ARRAYS_ENDING = ".npz"
_DRAWN_PEOPLE = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax check-data`."""
    parser.add_argument(
        "name", metavar="NAME", help="a data set (as config.data.name) or an .npz file of arrays"
    )
    parser.add_argument(
        "--data_dir", metavar="D", help="the folder that holds it (default: OASJAX_DATA_DIR); docs/data.md"
    )
    parser.add_argument("--split", metavar="S", help="one split alone (default: all that there are)")
    parser.add_argument(
        "--out", metavar="F", help="the contact sheet (default: check_data_NAME.png in this folder)"
    )
    parser.add_argument("--json", metavar="F", help="write the report as JSON, too")
    parser.add_argument(
        "--num", type=_at_least_zero, default=24, metavar="N",
        help="people on the contact sheet; 0: none (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the choice of people (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="look at the headers of the pictures only")


def _at_least_zero(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of people")
    return int(text)


@dataclass(frozen=True)
class _Data:
    """What NAME names: its splits, or why one of them cannot be read; and the counts of everybody who
    is annotated.

    Without a skeleton no split can be read.
    """

    name: str
    folder: Path | None
    skeleton: "Skeleton | None"
    splits: "dict[str, AnnotatedSplit | UserError]"
    annotated: dict[str, dict[str, int] | None] = field(default_factory=dict)


def run(args: argparse.Namespace) -> None:
    """Check, print the report, write the contact sheet and the JSON."""
    from oasjax.datasets.check_report import report_text

    out = Path(args.out or f"check_data_{Path(args.name).stem}.png")
    for path in (out, *([Path(args.json)] if args.json else [])):
        if not path.parent.is_dir():
            raise UserError(f"cannot write {path}: there is no folder {path.parent}")
    data = _open(args.name, args.data_dir, args.split)
    splits, checks = {}, {}
    for name, split in data.splits.items():
        splits[name], checks[name] = _check_split(data, name, split, args.fast)
    report = {
        "data": args.name,
        "folder": None if data.folder is None else str(data.folder),
        "pictures_opened": "headers" if args.fast else "decoded",
        "splits": splits,
        "findings": _findings(data, checks),
        "contact_sheet": str(out) if _write_sheet(data, args.num, args.seed, out) else None,
    }
    print(report_text(report))
    if args.json:
        Path(args.json).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _check_usable(splits)


def _open(name: str, data_dir: str | None, split: str | None) -> _Data:
    """Read the annotations of the splits, or of the one asked for."""
    from oasjax.input_pipeline import DATA

    if name.endswith(ARRAYS_ENDING):
        return _choose_split(_open_arrays(name), split)
    if name == "synthetic_people":
        return _choose_split(_draw_people(), split)
    if name in DATA:
        return _open_folder(name, data_dir, split)
    choices = ", ".join(DATA)
    raise UserError(f"there is no data set {name!r}; choose one of {choices}, or an .npz file of arrays.")


def _open_arrays(path: str) -> _Data:
    from oasjax.input_pipeline.arrays_source import load_arrays

    source = load_arrays(path)
    people = [source[index] for index in range(len(source))]
    return _Data(path, None, source.skeleton, {"all": _in_memory(people)})


def _draw_people() -> _Data:
    from oasjax.datasets.skeletons import MPII
    from oasjax.datasets.synthetic_people import LOOKS, render_person

    splits: dict[str, Any] = {}
    for look in LOOKS:
        people = [render_person(0, index, look=look) for index in range(_DRAWN_PEOPLE)]
        splits[look] = _in_memory(people)
    return _Data("synthetic_people", None, MPII, splits)


def _in_memory(people: list[dict[str, Any]]) -> "AnnotatedSplit":
    from oasjax.datasets.checks import AnnotatedSplit

    return AnnotatedSplit(people, None, files={}, missing=[], sizes_wh={}, left_out={})


def _open_folder(name: str, data_dir: str | None, split: str | None) -> _Data:
    from oasjax.input_pipeline import annotations_of, skeleton_in

    annotations = annotations_of(name)
    data_dir = data_dir or os.environ.get("OASJAX_DATA_DIR", "")
    if not data_dir:
        raise UserError(f"{name} needs a folder with {annotations.LAYOUT}: pass --data_dir FOLDER.")
    folder = annotations.find_folder(data_dir)
    if split is not None:
        _check_split_name(name, split, tuple(annotations.SPLITS))
    # Some data sets come in parts, and tell by their files which parts are there.
    there = annotations.splits_of(folder) if hasattr(annotations, "splits_of") else annotations.SPLITS
    wanted = [split] if split else there
    try:
        skeleton = skeleton_in(name, folder)
    except UserError as error:  # one's own joints, as the annotations have them
        return _Data(name, folder, None, dict.fromkeys(wanted, error))
    splits = {each: _read_split(annotations, folder, each) for each in wanted}
    annotated = {each: _count_annotated(annotations, folder, each) for each in wanted}
    return _Data(name, folder, skeleton, splits, annotated)


def _count_annotated(annotations: ModuleType, folder: Path, split: str) -> dict[str, int] | None:
    """What the annotations of some data sets tell without any picture."""
    if not hasattr(annotations, "read_visibility"):
        return None
    try:
        visibility = annotations.read_visibility(folder, split)
    except UserError:  # told where the people are read
        return None
    labelled, occluded = int((visibility > 0).sum()), int((visibility == 1).sum())
    return {"people": len(visibility), "labelled": labelled, "occluded": occluded}


def _read_split(annotations: ModuleType, folder: Path, split: str) -> "AnnotatedSplit | UserError":
    from oasjax.datasets.checks import AnnotatedSplit

    try:
        people = annotations.read_people(folder, split)
        # Of data sets in COCO's form more is told: pictures without people, sizes, whom AP ignores.
        coco_form = hasattr(annotations, "read_ignored")
        ignored = annotations.read_ignored(folder, split) if coco_form else None
        pictures = annotations.read_images(folder, split) if coco_form else people
    except UserError as error:
        return error
    missing = set(people.missing)
    files = {each["image_id"]: each["image_path"] for each in pictures if each["image_id"] not in missing}
    sizes = {each["image_id"]: (each["width"], each["height"]) for each in pictures if "width" in each}
    left_out = {reason: len(names) for reason, names in people.left_out.items() if names}
    return AnnotatedSplit(people, ignored, files, people.missing, sizes, left_out)


def _choose_split(data: _Data, split: str | None) -> _Data:
    if split is None:
        return data
    _check_split_name(data.name, split, tuple(data.splits))
    return replace(data, splits={split: data.splits[split]})


def _check_split_name(name: str, split: str, splits: Sequence[str]) -> None:
    if split not in splits:
        raise UserError(f"{name} has no split {split!r}; choose one of {', '.join(splits)}.")


def _check_split(
    data: _Data, name: str, split: "AnnotatedSplit | UserError", headers_only: bool
) -> "tuple[dict[str, Any], dict[str, PictureCheck]]":
    """The split's part of the report, and the pictures by name."""
    from oasjax.datasets.checks import check_split
    from oasjax.datasets.published_counts import PUBLISHED_COUNTS

    if isinstance(split, UserError) or data.skeleton is None:
        return {"error": str(split), "annotated": data.annotated.get(name)}, {}
    num_threads = min(16, os.cpu_count() or 1)
    report, checks = check_split(
        split, data.skeleton, headers_only, num_threads, _Progress(name, sys.stderr).update
    )
    published = PUBLISHED_COUNTS.get(data.name, {}).get(name, {})
    return {
        "annotated": data.annotated.get(name),
        **report,
        "published": {key: asdict(figure) for key, figure in published.items()},
    }, checks


def _findings(data: _Data, checks: "Mapping[str, dict[str, PictureCheck]]") -> list[dict[str, Any]]:
    """What is wrong with people's own annotations, and pictures that two splits share."""
    from oasjax.datasets.zero_ap import explain_zero_ap, shared_pictures

    if data.name != "keypoints_json" or data.folder is None:
        return []
    from oasjax.datasets.keypoints_json import annotations

    found = []
    for split, pictures in checks.items():
        document = _read_json(annotations.annotation_file(data.folder, split))
        sizes = {name: check.size_wh for name, check in pictures.items() if check.size_wh is not None}
        found += [(split, each) for each in explain_zero_ap(document, data.folder, sizes)]
    digests = {
        split: {name: check.digest for name, check in pictures.items() if check.digest}
        for split, pictures in checks.items()
    }
    found += [("all", each) for each in shared_pictures(digests)]
    return [{"split": split, **asdict(each), "records": list(each.records)} for split, each in found]


def _read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file; empty where it is none, which its reader has told already."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _write_sheet(data: _Data, num: int, seed: int, out: Path) -> bool:
    """Draw people of all splits; False where there is nobody to draw."""
    from oasjax.inference.people_sheet import people_sheet, person_tiles
    from oasjax.inference.writing import write_png

    skeleton = data.skeleton
    readable = {name: split for name, split in data.splits.items() if not isinstance(split, UserError)}
    if skeleton is None:
        return False
    tiles: list[Any] = []
    captions: list[str] = []
    for n, (name, split) in enumerate(readable.items()):
        share = num // len(readable) + (n < num % len(readable))
        drawn, names = person_tiles(split.people, skeleton, share, seed, name)
        tiles += drawn
        captions += names
    if tiles:
        write_png(out, people_sheet(tiles, captions))
    return bool(tiles)


def _check_usable(splits: Mapping[str, dict[str, Any]]) -> None:
    """Raise UserError where no split has a person whose picture opens."""
    reasons = []
    for name, split in splits.items():
        if "error" in split:
            reasons.append(split["error"])
        elif split["pictures"]["broken"] < split["pictures"]["present"] and split["people"]["usable"]:
            return
        elif split["pictures"]["broken"]:
            first = split["pictures"]["broken_names"][0]["reason"]
            reasons.append(f"no picture of {name} can be opened; the first: {first}")
        else:
            reasons.append(f"nobody in {name} can be used.")
    raise UserError(" ".join(reasons))


class _Progress:
    """How many pictures are opened: one live line on a terminal, a line now and then elsewhere."""

    def __init__(self, label: str, stream: Any):
        self._label, self._stream, self._live = label, stream, stream.isatty()
        self._seconds = 0.2 if self._live else 30.0
        self._start = self._last = time.perf_counter()
        self._written = 0

    def update(self, done: int, total: int) -> None:
        from oasjax.training.progress import format_duration

        now = time.perf_counter()
        ends = self._live and self._written > 0 and done == total
        if now - self._last < self._seconds and not ends:
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        left = format_duration((total - done) / rate)
        line = f"{self._label}: {done:,} of {total:,} pictures  {rate:.0f}/s  {left} left"
        if self._live:
            self._stream.write("\r" + line.ljust(self._written) + ("\n" if ends else ""))
        else:
            self._stream.write(line + "\n")
        self._written = len(line)
        self._stream.flush()

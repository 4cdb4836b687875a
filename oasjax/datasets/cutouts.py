"""Cut-outs that artificial occluders show: people and objects along their masks, made once on the host.

They come from the masks of a source's people, or from a file in COCO's form (`instances_train2017.json`)
with any categories.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask
from jaxtyping import Bool, UInt8

from oasjax.datasets.coco_format import compressed_counts, images_of, read_document
from oasjax.datasets.person_records import existing_files
from oasjax.errors import UserError
from oasjax.input_pipeline.batching import Source
from oasjax.input_pipeline.decode import decode_image, read_image

# Smaller masks, as a part of their picture or by the shorter side of their box, would be pasted as mush.
MIN_PART = 0.02
MIN_SIDE_PX = 16
# Masks looked at for one cut-out: data without any shall be found out soon.
_TRIES = 20

# A mask, and its picture or the file of it.
_Candidate = tuple[Bool[np.ndarray, "h w"], UInt8[np.ndarray, "y x 3"] | Path]


def read_cutouts(
    source: str | Path | Source, number: int, size: int, seed: int
) -> UInt8[np.ndarray, "n {size} {size} 4"]:
    """A bank of at most `number` cut-outs, drawn at random from all there are: RGBA, alpha 0 or 255.

    Args:
        source: people whose records have `mask` (bool, over the picture) or `segmentation` (pycocotools'
            compressed run-length code over the picture, b"" for none); or the path of a file in COCO's form.
            Its pictures lie in its own folder, in `images` beside it, or as in COCO: those of
            annotations/instances_train2017.json in train2017.
        number: how many are wanted; there may be fewer: at most 20 times as many masks are looked at.
        size: of the longer side of a cut-out, and of its square.
        seed: of the choice.

    Raises:
        UserError: not a single mask that is large enough; a file that cannot be read; no pictures.
    """
    random = np.random.default_rng(seed)
    if isinstance(source, str | Path):
        candidates, whose = _of_file(Path(source), random, _TRIES * number), str(source)
    else:
        candidates, whose = _of_records(source, random, _TRIES * number), "the training data"
    bank: list[UInt8[np.ndarray, "s s 4"]] = []
    for mask, picture in candidates:
        if not is_large(mask):
            continue
        image = read_image(picture) if isinstance(picture, Path) else picture
        # A mask does not fit a picture that was turned or scaled since.
        if image.shape[:2] == mask.shape:
            bank.append(cut_out(image, mask, size))
        if len(bank) == number:
            break
    if not bank:
        raise UserError(
            f"No mask in {whose} fills {MIN_PART:.0%} of its picture and is at least {MIN_SIDE_PX} pixels "
            "wide and high. Set config.augment.patches.cutouts to a file in COCO's form with masks, such as "
            "annotations/instances_train2017.json, or config.augment.patches.kinds.cutout to 0."
        )
    return np.stack(bank)


def is_large(mask: Bool[np.ndarray, "h w"]) -> bool:
    """A mask of which enough is left when it is scaled to the size of a patch."""
    if mask.mean() < MIN_PART:
        return False
    return all(np.ptp(np.flatnonzero(mask.any(axis))) + 1 >= MIN_SIDE_PX for axis in (0, 1))


def cut_out(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], size: int
) -> UInt8[np.ndarray, "{size} {size} 4"]:
    """What a mask shows, scaled so that its longer side fills a square, in whose middle it lies (RGBA)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    weight = mask[box].astype(np.float32)
    scale = size / max(weight.shape)
    height, width = (max(1, round(side * scale)) for side in weight.shape)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # Weighted by the mask: what lies behind must not shine through at the edge.
    share = cv2.resize(weight, (width, height), interpolation=method)
    sum_of_colours = cv2.resize(image[box] * weight[..., None], (width, height), interpolation=method)
    colour = sum_of_colours / np.maximum(share, 1e-6)[..., None]
    square = np.zeros((size, size, 4), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width, :3] = np.clip(np.round(colour), 0, 255)
    square[top : top + height, left : left + width, 3] = np.where(share >= 0.5, 255, 0)
    return square


def _of_records(source: Source, random: np.random.Generator, tries: int) -> Iterator[_Candidate]:
    for index in random.permutation(len(source))[:tries].tolist():
        record = source[index]
        # In a mixture of data sets some have masks and some do not.
        if "mask" not in record and not record.get("segmentation"):
            continue
        picture = record["image"]
        if isinstance(picture, bytes):
            picture = decode_image(picture, str(record.get("picture", record["image_id"])))
        if "mask" in record:
            yield np.asarray(record["mask"], np.bool_), picture
            continue
        height, width, _ = picture.shape
        code = {"size": [height, width], "counts": record["segmentation"].decode()}
        if counts := compressed_counts(code, height, width):
            yield _decode_mask(counts, height, width), picture


def _of_file(path: Path, random: np.random.Generator, tries: int) -> Iterator[_Candidate]:
    document = read_document(path)
    images = images_of(path, document)
    annotations = document.get("annotations")
    if not isinstance(annotations, list):
        raise UserError(f"{path} has no list `annotations`. Is it a file of masks in COCO's form?")
    folder, existing = _pictures(path, [image.file_name for image in images])
    there = {image.number: image for image in images if image.file_name in existing}
    entries = [
        (there[entry["image_id"]], entry)
        for entry in annotations
        if isinstance(entry, dict) and not entry.get("iscrowd") and entry.get("image_id") in there
    ]
    for index in random.permutation(len(entries))[:tries].tolist():
        image, entry = entries[index]
        if counts := compressed_counts(entry.get("segmentation"), image.height, image.width):
            yield _decode_mask(counts, image.height, image.width), folder / image.file_name


def _pictures(path: Path, names: list[str]) -> tuple[Path, set[str]]:
    """The folder with the pictures of an annotation file, and which of them are there."""
    above, of_split = path.parent.parent, path.stem.rpartition("_")[2]
    folders = (
        path.parent,
        path.parent / "images",
        path.parent / of_split,
        above / of_split,
        above / "images",
    )
    for folder in folders:
        if existing := existing_files(folder, names):
            return folder, existing
    raise UserError(
        f"None of the {len(names)} pictures of {path} lies in {path.parent} or {above / of_split}. Put them "
        "there: config.augment.patches.cutouts needs pictures beside the masks."
    )


def _decode_mask(counts: bytes, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    with warnings.catch_warnings():
        # pycocotools does not know the keyword `copy` of NumPy 2.
        warnings.simplefilter("ignore", DeprecationWarning)
        mask = pycocotools.mask.decode({"size": [height, width], "counts": counts})
    return mask.astype(np.bool_)

"""Records prepared by TFDS, and the batches of a plan executed by tf.data (needs TensorFlow).

TFDS prepares a data set once, as array_record files with random access; the pictures stay the bytes
of their files. Where prepared data lie, a fingerprint of what they were made from keeps another
folder of the same layout from being mistaken for it.
"""

import hashlib
import importlib
import itertools
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

# TensorFlow greets with a screenful unless told before it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf
import tensorflow_datasets as tfds

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline.batching import (
    Batch,
    Place,
    Source,
    make_example,
    split_batch,
)
from oasjax.input_pipeline.crop import CropConfig, crop_example

# tf.data runs on the host: left alone, TensorFlow would take the accelerator's memory from JAX.
tf.config.set_visible_devices([], "GPU")

# Name of a data set -> module and class of its builder; imported when asked for.
BUILDERS = {
    "mpii": "oasjax.datasets.mpii.mpii_dataset_builder:Builder",
    "lsp": "oasjax.datasets.lsp.lsp_dataset_builder:Builder",
    "lsp_extended": "oasjax.datasets.lsp_extended.lsp_extended_dataset_builder:Builder",
    "coco_person": "oasjax.datasets.coco_person.coco_person_dataset_builder:Builder",
    "crowdpose": "oasjax.datasets.crowdpose.crowdpose_dataset_builder:Builder",
    "ochuman": "oasjax.datasets.ochuman.ochuman_dataset_builder:Builder",
    "keypoints_json": "oasjax.datasets.keypoints_json.keypoints_json_dataset_builder:Builder",
    "synthetic_people": "oasjax.datasets.synthetic_people.synthetic_people_dataset_builder:Builder",
}

# Annotations and pictures. What else lies in a data folder (archives, notes) is not prepared.
_DATA_SUFFIXES = (".json", ".mat", ".h5", ".npz", ".jpg", ".jpeg", ".png")


def folder_fingerprint(folder: Path) -> str:
    """Digest over the place of a folder of data and its files' names, sizes and modification times.

    Annotations and pictures count, at any depth and behind links; hidden folders do not. A hundred
    thousand files take about a second, since none is opened.
    """
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for line in sorted(_data_files(str(folder), "", frozenset())):
        digest.update(f"\0{line}".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _data_files(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """A line for each file in `folder`; a link to one of the folders above it is not followed."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(_DATA_SUFFIXES) and entry.is_file():
                status = entry.stat()
                yield f"{prefix}{entry.name} {status.st_size} {status.st_mtime_ns}"
            elif entry.is_dir() and not entry.name.startswith("."):
                yield from _data_files(entry.path, f"{prefix}{entry.name}/", above | {here})


def prepare(
    name: str, prepared_dir: Path, manual_dir: Path | None = None, **builder_options: Any
) -> tfds.core.DatasetBuilder:
    """The builder of a data set, prepared as array_record files in `prepared_dir` (once).

    Args:
        name: a key of BUILDERS.
        prepared_dir: belongs to this very data; see `folder_fingerprint`.
        manual_dir: the folder that the user downloaded, where the data set needs one.
        **builder_options: passed to the builder (its configuration).

    Raises:
        UserError: `prepared_dir` cannot be written.
    """
    module, class_name = BUILDERS[name].split(":")
    builder_class = getattr(importlib.import_module(module), class_name)
    if not sys.stderr.isatty():
        # In a log file each redrawing of the bars would be a line.
        tfds.disable_progress_bar()
    try:
        prepared_dir.mkdir(parents=True, exist_ok=True)
        # Two runs that start together would otherwise prepare the same files at once.
        with filelock.FileLock(prepared_dir / "preparing.lock"):
            builder = builder_class(data_dir=str(prepared_dir), file_format="array_record", **builder_options)
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=None if manual_dir is None else str(manual_dir)
                )
            )
    except OSError as error:
        raise UserError(
            f"Cannot prepare {name} in {prepared_dir}: {error.strerror or error}. "
            "Pass --config.data.prepared_dir=FOLDER with room and the right to write."
        ) from error
    return builder


class TfdsSource:
    """Random access to one split of a prepared builder; pictures are left encoded.

    Attributes:
        skeleton: the joints of `keypoints`.
    """

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        split: str,
        skeleton: Skeleton,
        folder: Path | None = None,
    ):
        """Open a split; `split` may be a slice ("train[:100]").

        `folder` is where the pictures came from, if they were files: messages name it.
        """
        self._records = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        self.skeleton = skeleton
        self._where = "" if folder is None else f" in {folder}"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self._records[index]
        image_id = record["image_id"].decode()
        return {**record, "image_id": image_id, "picture": f"{image_id}{self._where}"}


def batches_by_tf_data(
    source: Source,
    crop: CropConfig,
    seed: int,
    plan: Iterable[list[Place]],
    num_threads: int,
    prefetch: int,
) -> Generator[Batch, None, None]:
    """Execute a plan with tf.data: what `batching.batches_by_threads` gives, byte for byte.

    TensorFlow orders the work, the work itself is `make_example`.

    Closing the generator drops the dataset; one that is neither used up nor closed may keep Python
    from ending. An exception raised for an example surfaces as itself when its batch is asked for.
    """
    plan = iter(plan)
    first = next(plan)
    local_size = len(first)
    blank = _blank_example(crop, source.skeleton)
    keys = tuple(blank)
    # TensorFlow would turn an exception into its own, and print a stack trace besides. So a failed
    # example becomes a blank one, and its exception waits here under its position in the plan.
    failures: dict[int, Exception] = {}

    def rows() -> Iterator[np.ndarray]:
        position = 0
        for places in itertools.chain([first], plan):
            yield np.array(
                [
                    (
                        position + n,
                        place.index,
                        -1 if place.epoch is None else place.epoch,
                        place.valid,
                    )
                    for n, place in enumerate(places)
                ],
                np.int64,
            )
            position += len(places)

    def make_values(row: np.ndarray) -> list[Any]:
        position, index, epoch, valid = row.tolist()
        place = Place(index, None if epoch < 0 else epoch, bool(valid))
        try:
            example = make_example(source, crop, seed, place)
        except Exception as error:
            failures[position] = error
            example = blank
        example = {**example, "image_id": example["image_id"].encode()}
        return [example[key] for key in keys]

    dtypes = [tf.string if key == "image_id" else tf.as_dtype(np.asarray(blank[key]).dtype) for key in keys]

    @tf.autograph.experimental.do_not_convert  # there is nothing to convert, and it would look for the source
    def make_tensors(row: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.numpy_function(make_values, [row], dtypes)
        return dict(zip(keys, values, strict=True))

    options = tf.data.Options()
    options.deterministic = True
    # Nothing is left to tune, and the end of a dataset now and then waits for the tuner to wake up,
    # which sleeps twice as long each time.
    options.autotune.enabled = False
    options.threading.private_threadpool_size = num_threads
    dataset = (
        tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec((None, 4), tf.int64))
        .unbatch()
        .map(make_tensors, num_parallel_calls=num_threads, deterministic=True)
        .batch(local_size)
        .prefetch(prefetch)
        .with_options(options)
    )
    for number, columns in enumerate(dataset.as_numpy_iterator()):
        for position in range(number * local_size, (number + 1) * local_size):
            if position in failures:
                raise failures[position]
        columns["image_id"] = [image_id.decode() for image_id in columns["image_id"]]
        yield split_batch(columns)


def _blank_example(crop: CropConfig, skeleton: Skeleton) -> dict[str, Any]:
    """An example of the shapes and dtypes that `make_example` gives, for a person nobody sees."""
    width, height = crop.input_size_wh
    record = {
        "image": np.zeros((height, width, 3), np.uint8),
        "keypoints": np.zeros((skeleton.num_joints, 2)),
        "visibility": np.zeros(skeleton.num_joints),
        "occlusion_known": np.zeros(skeleton.num_joints),
        "bbox_xywh": np.array([0, 0, width, height]),
        "head_size": np.nan,
        "area": np.nan,
        "example_id": -1,
        "image_id": "",
    }
    return crop_example(record, crop, None)

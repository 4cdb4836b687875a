"""Batches from a source of records: what is in batch number s, and a pool of threads that cuts the
crops.

The plan of a run (which example, in which epoch, in which batch) is made apart from its execution:
the threads here and tf.data in `tfds_source` execute the same plan and give the same batches, byte
for byte.
"""

import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline.crop import CropConfig, crop_example
from oasjax.input_pipeline.order import example_rng, train_indices

DEVICE_KEYS = (
    "image",
    "keypoints",
    "visibility",
    "occlusion_known",
    "crop_to_image",
    "example_id",
    "valid",
)
HOST_KEYS = (
    "image_keypoints",
    "visibility",
    "occlusion_known",
    "head_size",
    "area",
    "bbox_xywh",
    "example_id",
    "image_id",
    "image_number",
    "person_number",
    "box_score",
    "valid",
)
# In batches whose crops have a grid for it (`CropConfig.occlusion_grid`).
MAP_KEY = "occlusion_map"

# (device part, host part) of one batch.
Batch = tuple[dict[str, np.ndarray], dict[str, Any]]
# Makes the batches of a plan: (source, crop, seed, plan, num_threads, prefetch) -> batches.
Executor = Callable[..., Generator[Batch, None, None]]


@runtime_checkable
class Source(Protocol):
    """Random access to the records of one split; safe to index from several threads."""

    @property
    def skeleton(self) -> Skeleton: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Place:
    """One place in a batch.

    Attributes:
        index: position of the record in its source.
        epoch: the pass over the data, which seeds the crop; None for the plain crop of evaluation.
        valid: False where the last batch is filled up with a copy.
    """

    index: int
    epoch: int | None
    valid: bool = True


def train_plan(
    seed: int,
    start_step: int,
    batch_size: int,
    num_examples: int,
    process_index: int,
    process_count: int,
) -> Iterator[list[Place]]:
    """This process's part of every global batch from `start_step` on, without end."""
    local = _local_slice(batch_size, process_index, process_count)
    return (
        [Place(int(i), int(e)) for e, i in zip(epochs[local], indices[local], strict=True)]
        for epochs, indices in train_indices(seed, start_step, batch_size, num_examples)
    )


def eval_plan(
    batch_size: int, num_examples: int, process_index: int, process_count: int
) -> Iterator[list[Place]]:
    """This process's part of the batches that hold every example once, in order.

    The last global batch is filled up with invalid copies of the last example: all have one shape.
    """
    local = _local_slice(batch_size, process_index, process_count)
    return (
        [
            Place(min(n, num_examples - 1), None, n < num_examples)
            for n in range(start, start + batch_size)[local]
        ]
        for start in range(0, num_examples, batch_size)
    )


def _local_slice(batch_size: int, process_index: int, process_count: int) -> slice:
    """The places of a global batch that are this process's."""
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"The batch size {batch_size} does not divide evenly over {process_count} process(es). "
            "Choose a positive multiple of the number of processes."
        )
    local_size = batch_size // process_count
    return slice(process_index * local_size, (process_index + 1) * local_size)


def make_example(source: Source, crop: CropConfig, seed: int, place: Place) -> dict[str, Any]:
    """Read the record of one place, crop it, mark it: everything that happens to one example."""
    record = source[place.index]
    rng = None if place.epoch is None else example_rng(seed, place.epoch, int(record["example_id"]))
    return {**crop_example(record, crop, rng), "valid": np.bool_(place.valid)}


def split_batch(columns: dict[str, np.ndarray]) -> Batch:
    """Stacked examples -> (device part, host part); `image_id` becomes a list of str."""
    host: dict[str, Any] = {key: columns[key] for key in HOST_KEYS}
    host["image_id"] = [str(image_id) for image_id in columns["image_id"]]
    device = {key: columns[key] for key in DEVICE_KEYS}
    if MAP_KEY in columns:
        device[MAP_KEY] = columns[MAP_KEY]
    return device, host


def batches_by_threads(
    source: Source,
    crop: CropConfig,
    seed: int,
    plan: Iterable[list[Place]],
    num_threads: int,
    prefetch: int,
) -> Generator[Batch, None, None]:
    """Execute a plan with threads; `prefetch` batches are in the making while one is consumed.

    Each thread takes a share of each batch, so the order of the results never depends on timing. An
    exception raised for an example surfaces when its batch is asked for. Closing the generator ends
    the threads.
    """

    def make_share(places: list[Place]) -> list[dict[str, Any]]:
        return [make_example(source, crop, seed, place) for place in places]

    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="oasjax-crop")

    def submit(places: list[Place]) -> list[Future[list[dict[str, Any]]]]:
        share_size = -(-len(places) // num_threads)
        return [
            pool.submit(make_share, places[start : start + share_size])
            for start in range(0, len(places), share_size)
        ]

    try:
        plan = iter(plan)
        in_the_making = deque(submit(places) for places in itertools.islice(plan, prefetch))
        for places in plan:
            in_the_making.append(submit(places))
            yield _collect(in_the_making.popleft())
        while in_the_making:
            yield _collect(in_the_making.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(shares: list[Future[list[dict[str, Any]]]]) -> Batch:
    examples = [example for share in shares for example in share.result()]
    return split_batch({key: np.stack([e[key] for e in examples]) for key in examples[0]})


def train_batches(
    source: Source,
    crop: CropConfig,
    *,
    seed: int,
    start_step: int,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 2,
    execute: Executor = batches_by_threads,
) -> Generator[Batch, None, None]:
    """Endless shuffled, randomly cropped batches, a function of (seed, step) alone.

    Args:
        source: the records.
        crop: how to cut them.
        seed: seeds order and crops.
        start_step: the number of the first batch; k gives the tail of the run from 0.
        batch_size: examples of the global batch; each process gets its contiguous slice of it.
        process_index: which process this is.
        process_count: how many there are.
        num_threads: threads that read and crop.
        prefetch: batches prepared ahead.
        execute: who does the work; `tfds_source.batches_by_tf_data` gives the same batches.
    """
    plan = train_plan(seed, start_step, batch_size, len(source), process_index, process_count)
    return execute(source, crop, seed, plan, num_threads, prefetch)


def eval_batches(
    source: Source,
    crop: CropConfig,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 2,
    prefetch: int = 2,
    execute: Executor = batches_by_threads,
) -> Generator[Batch, None, None]:
    """Every example once, in order, cut plainly; the last batch is filled up with `valid` False."""
    plan = eval_plan(batch_size, len(source), process_index, process_count)
    # The plain crop draws nothing, so the seed is without effect.
    return execute(source, crop, 0, plan, num_threads, prefetch)

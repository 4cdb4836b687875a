"""The host's work on a person: reading, decoding, cropping; ours beside a plain OpenCV loader.

A call handles PEOPLE people for each core that the contender has, so times are times of one core. Contenders
of one core have all threads of the process kept on one core (`os.sched_setaffinity`) and OpenCV without
threads of its own. Files lie in the page cache. All contenders cut the same crops, with the same turns and
scales, and make batches of uint8 crops and their keypoints. A call starts and ends its threads, or builds its
`tf.data.Dataset`, which takes some hundredths of a second.
"""

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from experiments.benchmarks.building import peer
from experiments.benchmarks.harness import Built, Case, Contender, Effort, Skip
from experiments.benchmarks.suite import Axis, Rate, Suite, Target
from oasjax.datasets.coco_person.annotations import find_folder, read_people
from oasjax.datasets.person_records import person_record
from oasjax.datasets.skeletons import COCO
from oasjax.errors import UserError
from oasjax.input_pipeline.batching import (
    Executor,
    Place,
    batches_by_threads,
    make_example,
    split_batch,
)
from oasjax.input_pipeline.crop import CropConfig, random_scale_and_rotation
from oasjax.input_pipeline.files_source import FilesSource
from oasjax.input_pipeline.order import example_rng
from oasjax.input_pipeline.person_box import crop_box

SEED = 0
PEOPLE = 256  # in a call, for each core
BATCH = 16
PICTURES = 16
CROPS = {"192x256": (192, 256), "288x384": (288, 384)}
STRIDE = 4  # of HRNet's heatmaps
# Sizes (width, height) and the quality of the pictures of COCO.
SIZES = ((640, 480), (640, 427), (480, 640), (640, 480))
QUALITY = 95

Record = dict[str, Any]
# A batch of crops and of their keypoints.
Crops = dict[str, np.ndarray]


def photograph(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Noise whose spectrum falls as a photograph's does, and ellipses with sharp edges (y, x, bgr).

    As a JPEG file it has as many bits for each pixel as COCO's pictures, and so takes as long to decode.
    """
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = 1
    spectrum = random.normal(size=(3, *frequency.shape)) + 1j * random.normal(size=(3, *frequency.shape))
    planes = np.fft.irfft2(spectrum / frequency**1.5, (height, width))
    planes /= planes.std((1, 2), keepdims=True)
    luma_and_chroma = np.moveaxis(planes * np.array([50, 12, 12])[:, None, None] + 128, 0, -1)
    image = cv2.cvtColor(luma_and_chroma.clip(0, 255).astype(np.uint8), cv2.COLOR_YCrCb2BGR)
    for _ in range(12):
        centre, axes = random.integers(0, width, 2), random.integers(10, 90, 2)
        mask = np.zeros((height, width), np.uint8)
        cv2.ellipse(mask, centre, axes, random.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
        colour = random.uniform(-60, 60, 3)
        image = (image + mask[..., None] / 255 * colour).clip(0, 255).astype(np.uint8)
    return image


@lru_cache(maxsize=1)
def drawn_people() -> list[Record]:
    """A person in each of PICTURES pictures, in a folder that is removed when the process ends."""
    random = np.random.default_rng(SEED)
    folder = Path(tempfile.mkdtemp(prefix="oasjax-benchmark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    people = []
    for number, (width, height) in zip(range(PICTURES), itertools.cycle(SIZES), strict=False):
        path = folder / f"{number:02d}.jpg"
        options = (
            cv2.IMWRITE_JPEG_QUALITY,
            QUALITY,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        )
        cv2.imwrite(str(path), photograph(random, width, height), options)
        box_height = random.uniform(0.3, 0.9) * height
        box = np.array([random.uniform(0, 0.6) * width, 0.05 * height, 0.4 * box_height, box_height])
        keypoints = random.uniform(box[:2], box[:2] + box[2:], (COCO.num_joints, 2))
        record = person_record(
            image_id=path.name,
            keypoints=keypoints.astype(np.float32),
            visibility=np.full(COCO.num_joints, 2, np.int8),
            occlusion_known=np.ones(COCO.num_joints, np.bool_),
            bbox_xywh=box,
            area=box[2] * box[3],
        )
        people.append({"image_path": str(path), **record, "example_id": number})
    return people


@lru_cache(maxsize=1)
def coco_people() -> list[Record]:
    """A person in each of the first PICTURES pictures of COCO's validation people in OASJAX_DATA_DIR.

    Raises:
        Skip: they are not there.
    """
    data_dir = os.environ.get("OASJAX_DATA_DIR")
    if not data_dir:
        raise Skip("OASJAX_DATA_DIR is not set")
    try:
        people = read_people(find_folder(data_dir), "validation")
    except UserError as error:
        raise Skip(str(error)) from None
    of_picture = {person["image_id"]: person for person in people}
    return list(of_picture.values())[:PICTURES]


PEOPLE_OF: dict[str, Callable[[], list[Record]]] = {"drawn": drawn_people, "coco": coco_people}


def _crop_config(case: Case) -> CropConfig:
    return CropConfig(CROPS[str(case["crop"])], rotation_deg=40.0, scale_factor=0.3)


def _plan(num_people: int, num_records: int) -> list[list[Place]]:
    places = [Place(n % num_records, n // num_records) for n in range(num_people)]
    return [places[start : start + BATCH] for start in range(0, num_people, BATCH)]


@contextmanager
def one_core() -> Iterator[None]:
    """All threads of this process on one core, OpenCV without its own; where the system can do that.

    A thread inherits this from the one that starts it, so it holds for those to come as well.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    num_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    _keep_threads_on(set(sorted(allowed)[:1]))
    try:
        yield
    finally:
        _keep_threads_on(allowed)
        cv2.setNumThreads(num_threads)


def _keep_threads_on(cores: set[int]) -> None:
    for thread in os.listdir("/proc/self/task") if cores else ():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread), cores)


def _first(batches: Iterator[Crops]) -> Crops:
    """Takes all batches, keeps the first."""
    first = next(batches)
    for _ in batches:
        pass
    return first


def _outputs(crops: Crops) -> Crops:
    # HRNet leaves joints without a label where they are; ours moves all.
    return {"image": crops["image"], "keypoints": crops["keypoints"][crops["visibility"] > 0]}


def _one_thread(case: Case) -> Built:
    source = FilesSource(PEOPLE_OF[str(case["pictures"])](), COCO)
    crop, plan = _crop_config(case), _plan(PEOPLE, len(source))

    def batches() -> Iterator[Crops]:
        for places in plan:
            examples = [make_example(source, crop, SEED, place) for place in places]
            yield split_batch({key: np.stack([each[key] for each in examples]) for key in examples[0]})[0]

    def run() -> Crops:
        with one_core():
            return _first(batches())

    return Built(run, _outputs)


def _executor(case: Case, *, by: str, all_cores: bool) -> Built:
    """`by`: module and name of what executes the plan."""
    module, name = by.rsplit(".", 1)
    execute: Executor = getattr(peer(module), name)
    source = FilesSource(PEOPLE_OF[str(case["pictures"])](), COCO)
    num_cores = _num_cores() if all_cores else 1
    crop, plan = _crop_config(case), _plan(num_cores * PEOPLE, len(source))

    def run() -> Crops:
        if all_cores:
            return _first(device for device, _ in execute(source, crop, SEED, plan, num_cores, 2))
        with one_core():
            return _first(device for device, _ in execute(source, crop, SEED, plan, 1, 2))

    return Built(run, _outputs)


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plain_loader(case: Case, *, everything: bool) -> Built:
    """What HRNet's loader does for a person, plainly; `everything`: with colours and targets."""
    people = PEOPLE_OF[str(case["pictures"])]()
    crop = _crop_config(case)
    plan = [
        [(people[place.index], _turned_box(people[place.index], crop, place)) for place in places]
        for places in _plan(PEOPLE, len(people))
    ]

    def batches() -> Iterator[Crops]:
        for batch in plan:
            examples = [plain_example(person, *box, crop.input_size_wh) for person, box in batch]
            if everything:
                for example in examples:
                    _add_colours_and_targets(example, crop.input_size_wh)
            yield {key: np.stack([each[key] for each in examples]) for key in examples[0]}

    def run() -> Crops:
        with one_core():
            return _first(batches())

    return Built(run, _outputs)


def _turned_box(person: Record, crop: CropConfig, place: Place) -> tuple[np.ndarray, float, float]:
    """Centre, width and turn in degrees of the crop that ours cuts in this place."""
    rng = example_rng(SEED, place.epoch or 0, person["example_id"])
    scale, rotation_deg = random_scale_and_rotation(crop, rng)
    center, (width, _) = crop_box(person["bbox_xywh"], crop.input_size_wh, crop.padding)
    return center, width * scale, rotation_deg


def plain_example(
    person: Record, center: np.ndarray, width: float, rotation_deg: float, size_wh: tuple[int, int]
) -> Crops:
    """One person by OpenCV, as `lib/dataset/JointsDataset.py` of HRNet does it.

    Only the matrix follows our convention of pixel centres, for the sake of the comparison.
    """
    image = cv2.imread(person["image_path"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    matrix = _three_point_matrix(center, width, rotation_deg, size_wh)
    crop = cv2.warpAffine(image, matrix, size_wh, flags=cv2.INTER_LINEAR)
    joints = person["keypoints"].copy()
    for joint in range(len(joints)):
        if person["visibility"][joint] > 0:
            joints[joint] = matrix @ np.array([joints[joint, 0], joints[joint, 1], 1.0])
    return {"image": crop, "keypoints": joints, "visibility": person["visibility"]}


def _three_point_matrix(
    center: np.ndarray, width: float, rotation_deg: float, size_wh: tuple[int, int]
) -> np.ndarray:
    """Picture to crop, from the box's centre, the middle of its upper edge and a corner of their square."""
    angle_rad = np.deg2rad(-rotation_deg)
    up = np.array([np.sin(angle_rad), -np.cos(angle_rad)]) * width / 2
    output_center = (np.array(size_wh) - 1) / 2
    output_up = np.array([0, -size_wh[0] / 2])
    points, output_points = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    for each, middle, edge in ((points, center, up), (output_points, output_center, output_up)):
        each[0], each[1] = middle, middle + edge
        each[2] = each[1] + np.array([edge[1], -edge[0]])
    return cv2.getAffineTransform(points, output_points)


_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def _add_colours_and_targets(example: Crops, size_wh: tuple[int, int]) -> None:
    """What ours leaves to the device: normalised colours, channels first, and a Gaussian for each joint."""
    pixels = example["image"].astype(np.float32) / 255
    example["pixels"] = np.ascontiguousarray(((pixels - _MEAN) / _DEVIATION).transpose(2, 0, 1))
    width, height = (side // STRIDE for side in size_wh)
    sigma = 2 * width // 48
    radius = 3 * sigma
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    bump = np.exp(-(offsets**2 + offsets[:, None] ** 2) / (2 * sigma**2))
    heatmaps = np.zeros((len(example["keypoints"]), height, width), np.float32)
    for heatmap, keypoint in zip(heatmaps, example["keypoints"], strict=True):
        x, y = (int(value / STRIDE + 0.5) for value in keypoint)
        left, top = max(0, x - radius), max(0, y - radius)
        right, bottom = min(width, x + radius + 1), min(height, y + radius + 1)
        if left < right and top < bottom:
            heatmap[top:bottom, left:right] = bump[
                top - y + radius : bottom - y + radius, left - x + radius : right - x + radius
            ]
    example["heatmaps"] = heatmaps


REFERENCE = "OpenCV loader"

_THREADS = f"{batches_by_threads.__module__}.{batches_by_threads.__name__}"
_TF_DATA = "oasjax.input_pipeline.tfds_source.batches_by_tf_data"


CONTENDERS: Sequence[Contender] = (
    Contender(REFERENCE, partial(_plain_loader, everything=False), "uint8 crops, one core"),
    Contender(
        "OpenCV loader, whole",
        partial(_plain_loader, everything=True),
        "normalised crops and heatmaps as well, one core",
    ),
    Contender("ours", _one_thread, "uint8 crops, one core"),
    Contender("ours, threads", partial(_executor, by=_THREADS, all_cores=False), "uint8 crops, one core"),
    Contender("ours, tf.data", partial(_executor, by=_TF_DATA, all_cores=False), "uint8 crops, one core"),
    Contender(
        "ours, threads, all cores", partial(_executor, by=_THREADS, all_cores=True), "uint8 crops, all cores"
    ),
    Contender(
        "ours, tf.data, all cores", partial(_executor, by=_TF_DATA, all_cores=True), "uint8 crops, all cores"
    ),
)

SUITE = Suite(
    name="input",
    summary="Reading, decoding and cropping people on the host",
    contenders=CONTENDERS,
    reference=REFERENCE,
    axes={"pictures": Axis("", tuple(PEOPLE_OF)), "crop": Axis("", tuple(CROPS))},
    panels=("pictures",),
    over="crop",
    outputs=("image", "keypoints"),
    headline={},
    packages=("oasjax", "numpy", "opencv-python-headless", "tensorflow-cpu"),
    seed=SEED,
    targets=(
        Target("ours handles at least 0.9x the people per second and core", "ours", {}, at_most=1 / 0.9),
    ),
    rate=Rate("People per second and core", PEOPLE),
    # A call lasts about half a second.
    effort=Effort(seconds=10, fewest=9, most=30, patience=60),
)

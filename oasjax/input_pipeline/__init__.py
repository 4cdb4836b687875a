"""From data sets to batches: what `config.data` names is opened, cut and batched here.

`config.data` has the fields
    name: a key of DATA.
    source: "tfds" (TFDS prepares the data once, tf.data makes the batches) or "arrays" (without
        TensorFlow).
    data_dir: the folder that the user downloaded ("": the environment variable OASJAX_DATA_DIR).
    boxes_path: a JSON file of a detector's person boxes, which take the place of the annotated people
        in the splits "eval" and "test" (COCO's family); "" takes the annotated people.
    arrays_path: with source "arrays", a folder with train.npz and eval.npz, or one .npz file that
        serves every split; "" takes the data set itself.
    prepared_dir: where TFDS keeps what it prepared ("": the user's cache folder).
    input_size_wh, padding, rotation_deg, scale_factor: the crop, see `crop.CropConfig`.
    train_size, eval_size: the number of people; for data that exist, the first so many (0: all).
    look, render_size, seed: how synthetic_people draws.
"""

import hashlib
import importlib
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from oasjax.datasets.skeletons import MPII, Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline.arrays_source import ArraysSource, load_arrays
from oasjax.input_pipeline.batching import (
    Batch,
    Executor,
    Source,
    batches_by_threads,
    eval_batches,
    train_batches,
)
from oasjax.input_pipeline.crop import CropConfig
from oasjax.input_pipeline.files_source import FilesSource

_DRAWN_SPLITS = ("train", "eval")
# A split as configs and commands name it -> what data sets call it, the first that one has.
SPLITS = {"train": ("train",), "eval": ("validation", "test"), "test": ("test",)}


class FirstPeople:
    """The first people of a source.

    Attributes:
        skeleton: that of the source.
    """

    def __init__(self, source: Source, num: int):
        self._source = source
        self._num = min(num, len(source))
        self.skeleton = source.skeleton

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[index]


def _num_people(data: ConfigDict, split: str) -> int:
    """How many are asked for, 0 for all; for a test server always all."""
    return {"train": data.train_size, "eval": data.eval_size}.get(split, 0)


def _synthetic_seed(data: ConfigDict, split: str) -> int:
    # Person i is a function of (seed, i): the next seed gives people that training never sees.
    return data.seed if split == "train" else data.seed + 1


def _check_drawing(data: ConfigDict, split: str) -> None:
    from oasjax.datasets.synthetic_people.appearance import LOOKS
    from oasjax.datasets.synthetic_people.renderer import MIN_SIZE

    if split not in _DRAWN_SPLITS:
        raise UserError(_no_split("synthetic_people", split, _DRAWN_SPLITS))
    if data.look not in LOOKS:
        raise UserError(f"config.data.look is {data.look!r}; choose one of {', '.join(LOOKS)}.")
    if data.render_size < MIN_SIZE:
        raise UserError(
            f"config.data.render_size is {data.render_size}; it must be at least {MIN_SIZE} pixels."
        )
    if _num_people(data, split) < 1:
        raise UserError(
            f"synthetic_people needs config.data.{split}_size, the number of people to draw; "
            f"it is {_num_people(data, split)}."
        )


def _synthetic_people_arrays(data: ConfigDict, split: str) -> Source:
    from oasjax.datasets.synthetic_people import synthetic_arrays

    _check_drawing(data, split)
    arrays = synthetic_arrays(
        _synthetic_seed(data, split),
        _num_people(data, split),
        size=data.render_size,
        look=data.look,
        num_processes=os.cpu_count() or 1,
    )
    return ArraysSource(arrays, MPII, "synthetic_people")


def annotations_of(name: str) -> ModuleType:
    """The module that knows how a data set's folder is laid out and reads its people."""
    return importlib.import_module(f"oasjax.datasets.{name}.annotations")


def data_folder(data: ConfigDict) -> Path:
    """Where the files of a data set lie. Raises UserError where nothing names a folder with them."""
    annotations = annotations_of(data.name)
    data_dir = data.data_dir or os.environ.get("OASJAX_DATA_DIR", "")
    if not data_dir:
        raise UserError(
            f"{data.name} needs a folder with {annotations.LAYOUT}: pass --config.data.data_dir=FOLDER, "
            "or export OASJAX_DATA_DIR=FOLDER."
        )
    return annotations.find_folder(data_dir)


def skeleton_in(name: str, folder: Path) -> Skeleton:
    """The joints of a data set; `folder` as its `find_folder` returns it."""
    annotations = annotations_of(name)
    # People of one's own have the joints that their files say.
    return annotations.skeleton_of(folder) if name == "keypoints_json" else annotations.SKELETON


def _own_split(name: str, split: str) -> str:
    """What a data set calls the split "train", "eval" or "test"."""
    own = annotations_of(name).SPLITS
    for candidate in SPLITS[split]:
        if candidate in own:
            return candidate
    raise UserError(_no_split(name, split, own))


def _no_split(name: str, split: str, own: Iterable[str]) -> str:
    return f"{name} has no split for {split}: it has {', '.join(own)}."


def _people_files(data: ConfigDict, split: str) -> Source:
    folder, own_split = data_folder(data), _own_split(data.name, split)
    if data.boxes_path and split != "train":
        people = _people_in_boxes(data, folder, own_split)
    else:
        people = annotations_of(data.name).read_people(folder, own_split)
    return FilesSource(people, skeleton_in(data.name, folder))


def _people_in_boxes(data: ConfigDict, folder: Path, own_split: str) -> list[dict[str, Any]]:
    annotations = annotations_of(data.name)
    if not hasattr(annotations, "read_boxes"):
        raise UserError(
            f"config.data.boxes_path is {data.boxes_path}, but {data.name} is not of COCO's form, in which "
            "boxes say their picture. Leave it empty."
        )
    return annotations.read_boxes(folder, own_split, data.boxes_path)


def _people_tfds(data: ConfigDict, split: str) -> Source:
    from oasjax.input_pipeline.tfds_source import TfdsSource, folder_fingerprint, prepare

    folder, own_split = data_folder(data), _own_split(data.name, split)
    annotations = annotations_of(data.name)
    prepared = annotations.splits_of(folder) if hasattr(annotations, "splits_of") else annotations.SPLITS
    if (data.boxes_path and split != "train") or own_split not in prepared:
        # Another file of boxes is no reason to prepare all pictures again; and of a split that is not
        # prepared the reader knows what is missing.
        return _people_files(data, split)
    builder = prepare(data.name, _prepared_dir(data, folder_fingerprint(folder)), folder)
    return TfdsSource(builder, own_split, skeleton_in(data.name, folder), folder)


def _synthetic_people_tfds(data: ConfigDict, split: str) -> Source:
    from oasjax.input_pipeline.tfds_source import TfdsSource, prepare

    for each in dict.fromkeys((*_DRAWN_SPLITS, split)):
        _check_drawing(data, each)
    world = {
        "seed": data.seed,
        "size": data.render_size,
        "look": data.look,
        "train_size": data.train_size,
        "eval_size": data.eval_size,
    }
    prepared_dir = _prepared_dir(data, _drawing_fingerprint(world))
    builder = prepare("synthetic_people", prepared_dir, **world)
    return TfdsSource(builder, split, MPII)


def _drawing_fingerprint(world: dict[str, Any]) -> str:
    """Digest over what is drawn and the code that draws: another renderer draws other people."""
    import oasjax.datasets.synthetic_people as renderer

    digest = hashlib.sha256(repr(world).encode())
    for path in sorted(Path(renderer.__path__[0]).glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _prepared_dir(data: ConfigDict, fingerprint: str) -> Path:
    if data.prepared_dir:
        root = Path(data.prepared_dir)
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        root = Path(cache) / "oasjax" / "prepared"
    return root / f"{data.name}-{fingerprint}"


# Kind of source -> what opens one split.
Openers = dict[str, Callable[[ConfigDict, str], Source]]
_PEOPLE: Openers = {"arrays": _people_files, "tfds": _people_tfds}

# By the name of the data set.
DATA: dict[str, Openers] = {
    "synthetic_people": {"arrays": _synthetic_people_arrays, "tfds": _synthetic_people_tfds},
    "mpii": _PEOPLE,
    "lsp": _PEOPLE,
    "lsp_extended": _PEOPLE,
    "coco_person": _PEOPLE,
    "crowdpose": _PEOPLE,
    "ochuman": _PEOPLE,
    "keypoints_json": _PEOPLE,
}


# Those whose annotations are files in COCO's form.
COCO_FORM = ("coco_person", "crowdpose", "ochuman", "keypoints_json")


def open_source(data: ConfigDict, split: str) -> Source:
    """The records of one split ("train", "eval" or "test") of what `config.data` names.

    Raises:
        UserError: an unknown name or kind of source (the choices are listed), or missing data.
    """
    opener = _choose(_choose(DATA, data.name, "config.data.name"), data.source, "config.data.source")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if not data.arrays_path:
        source = opener(data, split)
    elif data.source == "arrays":
        source = _saved_arrays(Path(data.arrays_path), split)
    else:
        raise UserError(
            "config.data.arrays_path is read with config.data.source=arrays only. Set one of the two."
        )
    if not len(source):
        raise UserError(f"The {split} split of config.data.name={data.name} holds no people.")
    num = _num_people(data, split)
    return FirstPeople(source, num) if num else source


def open_ground_truth(data: ConfigDict, split: str) -> dict[str, Any] | None:
    """The document in COCO's form that keypoint AP of a split ("eval" or "test") is measured against.

    None where the data have none: another form, arrays, a split of pictures alone. UserError as of
    `open_source`.
    """
    if data.arrays_path or data.name not in COCO_FORM:
        return None
    annotations = annotations_of(data.name)
    folder, own_split = data_folder(data), _own_split(data.name, split)
    return annotations.ground_truth(folder, own_split) if own_split in annotations.splits_of(folder) else None


def _saved_arrays(path: Path, split: str) -> ArraysSource:
    return load_arrays(path / f"{split}.npz" if path.is_dir() else path)


def _choose(choices: dict[str, Any], name: str, field: str) -> Any:
    if name not in choices:
        raise UserError(f"{field} is {name!r}; choose one of {', '.join(choices)}.")
    return choices[name]


def _num_threads(source: Source) -> int:
    # Crops of pictures in memory are so short that threads only wait for Python's lock.
    encoded = isinstance(source[0]["image"], bytes)
    return min(16, os.cpu_count() or 1) if encoded else 1


def _executor(source_kind: str) -> Executor:
    if source_kind == "tfds":
        from oasjax.input_pipeline.tfds_source import batches_by_tf_data

        return batches_by_tf_data
    return batches_by_threads


def open_train_batches(
    source: Source,
    crop: CropConfig,
    source_kind: str,
    *,
    seed: int,
    start_step: int,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Generator[Batch, None, None]:
    """Endless training batches by the means that `source_kind` names; see
    `batching.train_batches`."""
    return train_batches(
        source,
        crop,
        seed=seed,
        start_step=start_step,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        num_threads=_num_threads(source),
        execute=_executor(source_kind),
    )


def open_eval_batches(
    source: Source,
    crop: CropConfig,
    source_kind: str,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Generator[Batch, None, None]:
    """Every example once, made as `source_kind` asks; see `batching.eval_batches`."""
    return eval_batches(
        source,
        crop,
        batch_size=batch_size,
        process_index=process_index,
        process_count=process_count,
        num_threads=_num_threads(source),
        execute=_executor(source_kind),
    )

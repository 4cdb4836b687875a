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
    train_on: what to train on in place of the split "train" of `name`: one or more of NAME and NAME:SPLIT
        ("mpii", "mpii:eval"), whose people follow one another and get the same joints. Their folders lie
        in `data_dir` under their usual names.
    input_size_wh, geometry, padding, clip_boxes, rotation_deg, rotation_probability, scale_factor,
        half_body_probability: the crop, see `crop.crop_config`.
    train_size, eval_size: the number of people; for data that exist, the first so many (0: all), of
        `train_on` the first so many of each.
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
from oasjax.input_pipeline.mixture import Mixture, with_joints

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


def prepared_root(data: ConfigDict) -> Path:
    """The folder for whatever is prepared from data once and kept."""
    if data.prepared_dir:
        return Path(data.prepared_dir)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "oasjax" / "prepared"


def _prepared_dir(data: ConfigDict, fingerprint: str) -> Path:
    return prepared_root(data) / f"{data.name}-{fingerprint}"


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


def open_source(data: ConfigDict, split: str, skeleton: Skeleton | None = None) -> Source:
    """The records of one split ("train", "eval" or "test") of what `config.data` names.

    Args:
        data: `config.data`.
        split: which.
        skeleton: the joints that the people shall have; those that the data cannot supply are unlabelled.
            None: those of the data, of the first of `train_on`.

    Raises:
        UserError: an unknown name or kind of source (the choices are listed), missing data, or data
            without any joint of `skeleton`.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if split == "train" and data.get("train_on"):
        return _open_mixture(data, skeleton)
    source = _open_split(data, split, "config.data.name")
    num = _num_people(data, split)
    return with_joints(FirstPeople(source, num) if num else source, skeleton)


def _open_split(data: ConfigDict, split: str, field: str) -> Source:
    """All people of a split; `field` is where its name stands."""
    opener = _choose(_choose(DATA, data.name, field), data.source, "config.data.source")
    if not data.arrays_path:
        source = opener(data, split)
    elif data.source == "arrays":
        source = _saved_arrays(Path(data.arrays_path), split)
    else:
        raise UserError(
            "config.data.arrays_path is read with config.data.source=arrays only. Set one of the two."
        )
    if not len(source):
        raise UserError(f"The {split} split of {field}={data.name} holds no people.")
    return source


def _open_mixture(data: ConfigDict, skeleton: Skeleton | None) -> Source:
    if data.arrays_path:
        raise UserError(
            "config.data.train_on and config.data.arrays_path both say what to train on. Set one."
        )
    # Before anything is read, which may take minutes.
    members = [_named_split(text) for text in data.train_on]
    sources: list[Source] = []
    for name, split in members:
        member = data.copy_and_resolve_references()
        # Boxes of a detector are for the test people.
        member.update({"name": name, "boxes_path": ""})
        source = _open_split(member, split, "config.data.train_on")
        if data.train_size and name != "synthetic_people":
            source = FirstPeople(source, data.train_size)
        sources.append(with_joints(source, skeleton))
        skeleton = sources[0].skeleton
    return Mixture(sources)


def _named_split(text: str) -> tuple[str, str]:
    """Name and split that an entry of `train_on` means."""
    name, colon, split = text.partition(":")
    _choose(DATA, name, "A data set of config.data.train_on")
    if colon:
        _choose(SPLITS, split, f"The split of {name} in config.data.train_on")
    return name, split or "train"


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
    # Crops of pictures in memory are so short that threads only wait for Python's lock. In a mixture such
    # pictures may come first and files last.
    encoded = any(isinstance(source[index]["image"], bytes) for index in (0, len(source) - 1))
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

"""From data sets to batches: what `config.data` names is opened, cut and batched here.

`config.data` has the fields
    name: a key of DATA.
    source: "tfds" (TFDS prepares the data once, tf.data makes the batches) or "arrays" (without
        TensorFlow).
    data_dir: the folder that the user downloaded ("" for lsp_extended: OASJAX_DATA_DIR).
    arrays_path: with source "arrays", a folder with train.npz and eval.npz, or one .npz file that
        serves both splits; "" takes the data set itself.
    prepared_dir: where TFDS keeps what it prepared ("": the user's cache folder).
    input_size_wh, padding, rotation_deg, scale_factor: the crop, see `crop.CropConfig`.
    train_size, eval_size: the number of people; for data that exist, the first so many (0: all).
    look, render_size, seed: how synthetic_people draws.
"""

import hashlib
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from oasjax.datasets.lsp_extended.annotations import LAYOUT, find_folder, read_people
from oasjax.datasets.skeletons import LSP, MPII
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

SPLITS = ("train", "eval")


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
    return data.train_size if split == "train" else data.eval_size


def _synthetic_seed(data: ConfigDict, split: str) -> int:
    # Person i is a function of (seed, i): the next seed gives people that training never sees.
    return data.seed if split == "train" else data.seed + 1


def _check_drawing(data: ConfigDict, split: str) -> None:
    from oasjax.datasets.synthetic_people.appearance import LOOKS
    from oasjax.datasets.synthetic_people.renderer import MIN_SIZE

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


def _lsp_extended_folder(data: ConfigDict) -> Path:
    data_dir = data.data_dir or os.environ.get("OASJAX_DATA_DIR", "")
    if not data_dir:
        raise UserError(
            "LSP-extended needs a folder with " + LAYOUT + ": pass --config.data.data_dir=FOLDER, "
            "or export OASJAX_DATA_DIR=FOLDER with that folder as its subfolder lspet."
        )
    return find_folder(data_dir)


def _lsp_extended_split(split: str) -> str:
    return "train" if split == "train" else "test"


def _lsp_extended_files(data: ConfigDict, split: str) -> Source:
    people = read_people(_lsp_extended_folder(data), _lsp_extended_split(split))
    return FilesSource(people, LSP)


def _lsp_extended_tfds(data: ConfigDict, split: str) -> Source:
    from oasjax.input_pipeline.tfds_source import TfdsSource, files_fingerprint, prepare

    folder = _lsp_extended_folder(data)
    fingerprint = files_fingerprint(folder, [folder / "joints.mat", *(folder / "images").iterdir()])
    prepared_dir = _prepared_dir(data, fingerprint)
    builder = prepare("lsp_extended", prepared_dir, folder)
    return TfdsSource(builder, _lsp_extended_split(split), LSP)


def _synthetic_people_tfds(data: ConfigDict, split: str) -> Source:
    from oasjax.input_pipeline.tfds_source import TfdsSource, prepare

    for each in SPLITS:
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


# Name of a data set -> kind of source -> what opens one split of it.
DATA: dict[str, dict[str, Callable[[ConfigDict, str], Source]]] = {
    "synthetic_people": {"arrays": _synthetic_people_arrays, "tfds": _synthetic_people_tfds},
    "lsp_extended": {"arrays": _lsp_extended_files, "tfds": _lsp_extended_tfds},
}


def open_source(data: ConfigDict, split: str) -> Source:
    """The records of one split ("train" or "eval") of what `config.data` names.

    Raises:
        UserError: an unknown name or kind of source (the choices are listed), or missing data.
    """
    opener = _choose(_choose(DATA, data.name, "config.data.name"), data.source, "config.data.source")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
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

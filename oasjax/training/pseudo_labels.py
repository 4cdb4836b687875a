"""Pseudo labels: occlusion maps predicted by a trained model, for people of whom no occlusion is told.

As the paper trains on LSP-extended: "attention map from model pre-trained on MPII dataset is employed as the
ground truth" (section 4.3). The maps are predicted once, on the plain crops, and kept in a file that is named
after the model's weights and the people; in training each map follows its person's random crop.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, prepared_root
from oasjax.input_pipeline.batching import Source
from oasjax.input_pipeline.crop import crop_config
from oasjax.training.tasks import make_task
from oasjax.training.trained_model import read_model
from oasjax.weights.model_folder import flatten_variables

BATCH_SIZE = 32
# Bumped when predictions or the file's contents change their meaning.
FORMAT = 1


class PseudoLabelled:
    """A source whose people of unknown occlusion have `occlusion_map` and `occlusion_map_to_image`.

    Attributes:
        skeleton: that of the source.
    """

    def __init__(self, source: Source, maps: Mapping[int, np.ndarray], to_image: Mapping[int, np.ndarray]):
        """`maps` (y, x) and `to_image` (2, 3), from cells to picture pixels, by position in the source."""
        self._source, self._maps, self._to_image = source, maps, to_image
        self.skeleton: Skeleton = source.skeleton

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self._source[index]
        if index not in self._maps:
            return record
        labels = {"occlusion_map": self._maps[index], "occlusion_map_to_image": self._to_image[index]}
        return {**record, **labels}


class _Chosen:
    """Some records of a source.

    Attributes:
        skeleton: that of the source.
    """

    def __init__(self, source: Source, indices: list[int]):
        self._source, self._indices = source, indices
        self.skeleton = source.skeleton

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self._source[self._indices[index]], "example_id": index}


def with_pseudo_labels(source: Source, data: ConfigDict, say: Callable[[str], None]) -> Source:
    """The source with maps by the model `data.pseudo_labels`, predicted now or kept from last time.

    Args:
        source: people to train on.
        data: `config.data`.
        say: receives lines for the user.

    Raises:
        UserError: no model there, one that predicts no occlusion map, or nobody who needs a label.
    """
    path = Path(data.pseudo_labels)
    variables, config = read_model(path)
    if config["model"]["occlusion_head"] != "heatmap":
        raise UserError(f"config.data.pseudo_labels: the model {path} predicts no occlusion map")
    digest = hashlib.sha256(f"{FORMAT} {json.dumps(config, sort_keys=True)}".encode())
    for name, array in sorted(flatten_variables(variables).items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    untold = []
    for index in range(len(source)):
        record = source[index]
        if not (record["occlusion_known"] & (record["visibility"] > 0)).any():
            untold.append(index)
            digest.update(
                f"\0{index} {record['image_id']} {np.asarray(record['bbox_xywh']).tolist()}".encode()
            )
    if not untold:
        raise UserError(
            "config.data.pseudo_labels names a model, but the data tell of everybody what is occluded. "
            "Leave it empty."
        )
    file = prepared_root(data) / "pseudo_labels" / f"{digest.hexdigest()[:32]}.npz"
    labels = _read(file)
    if labels is None:
        say(f"predicting the occlusion maps of {len(untold)} people with {path} ...")
        labels = predict_maps(_Chosen(source, untold), variables, config)
        _write(file, labels)
    else:
        say(f"occlusion maps of {len(untold)} people: {file}")
    maps, to_image = labels
    return PseudoLabelled(
        source, dict(zip(untold, maps, strict=True)), dict(zip(untold, to_image, strict=True))
    )


def predict_maps(
    source: Source, variables: Mapping[str, Any], config: Mapping[str, Any]
) -> tuple[Float[np.ndarray, "n y x"], Float[np.ndarray, "n 2 3"]]:
    """Occlusion maps of everybody on the plain crops, float16, and where their cells lie in the pictures."""
    task = make_task(config)
    crop = crop_config(config["data"])
    predict = jax.jit(lambda variables, images: task.predict(variables, images)["occlusion_map"])
    batches = open_eval_batches(source, crop, "arrays", batch_size=BATCH_SIZE)
    variables = jax.device_put(variables)
    (pitch_x, pitch_y), (first_x, first_y) = task.codec.pitch_px, task.codec.first_cell_px
    cell_to_crop = np.array([[pitch_x, 0, first_x], [0, pitch_y, first_y], [0, 0, 1]])
    maps, to_image = [], []
    for device_part, _ in batches:
        valid = device_part["valid"]
        predicted = predict(variables, device_part["image"])
        maps.append(np.asarray(predicted, np.float16)[valid])
        to_image.append((device_part["crop_to_image"] @ cell_to_crop)[valid])
    return np.concatenate(maps), np.concatenate(to_image)


def _read(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """What `_write` wrote; None where there is nothing, or nothing whole."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return arrays["maps"], arrays["to_image"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, labels: tuple[np.ndarray, np.ndarray]) -> None:
    """Whole or not at all: two runs may write at the same time."""
    temporary = file.with_name(f".{file.stem}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            np.savez(stream, maps=labels[0], to_image=labels[1])
        temporary.replace(file)
    except OSError as error:
        raise UserError(
            f"cannot keep the occlusion maps in {file.parent}: {error.strerror or error}. "
            "Pass --config.data.prepared_dir=FOLDER with room and the right to write."
        ) from error

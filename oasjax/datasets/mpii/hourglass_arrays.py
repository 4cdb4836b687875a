"""The annotation arrays of the hourglass authors (Newell et al.): HDF5, or the same arrays in .npz.

They were made from the official file and differ from it: `center` and `scale` are already enlarged
(center_y + 15 * scale, then scale * 1.25), joints are cut to whole pixels, `visible` is 0 for hidden
and for missing joints alike, and a missing joint is told by its zeros. `index` and `person` count
pictures and people of the official file from 0. `normalize` is the head size.
"""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float, Int

from oasjax.datasets.mpii.annotated_people import AnnotatedPeople
from oasjax.errors import UserError

_SHAPES: dict[str, tuple[int, ...]] = {
    "imgname": (), "index": (), "person": (), "center": (2,), "scale": (), "part": (16, 2),
    "visible": (16,), "normalize": (),
}  # fmt: skip


@dataclass(frozen=True)
class HourglassArrays:
    """One file's people, as they stand in it.

    Attributes:
        image_names: (N,) file names.
        image_index: (N,) position of the picture in the official file, from 0.
        person_index: (N,) position of the person in the picture, from 0.
        center: (N, 2) enlarged as said above, pixels, 1-based.
        scale: (N,) enlarged.
        part: (N, 16, 2) whole pixels, 1-based.
        visible: (N, 16) False for hidden and for missing joints.
        head_size: (N,) 0.6 times the diagonal of the head box, in pixels.
    """

    image_names: tuple[str, ...]
    image_index: Int[np.ndarray, "n"]
    person_index: Int[np.ndarray, "n"]
    center: Float[np.ndarray, "n 2"]
    scale: Float[np.ndarray, "n"]
    part: Float[np.ndarray, "n 16 2"]
    visible: Bool[np.ndarray, "n 16"]
    head_size: Float[np.ndarray, "n"]

    @property
    def labelled(self) -> Bool[np.ndarray, "n 16"]:
        """As the authors' own training code takes it: a joint whose x is positive."""
        return self.part[..., 0] > 0


def people_of(path: Path, arrays: HourglassArrays) -> AnnotatedPeople:
    """The file's people with their enlargement undone: center and scale as they were annotated."""
    scale = arrays.scale / 1.25
    labelled = arrays.labelled
    return AnnotatedPeople(
        path=path,
        image_names=arrays.image_names,
        image_number=arrays.image_index,
        person_number=arrays.person_index,
        center=arrays.center - np.stack([np.zeros_like(scale), 15.0 * scale], axis=-1),
        scale=scale,
        keypoints=np.where(labelled[..., None], arrays.part, 0.0),
        visibility=np.where(labelled, np.where(arrays.visible, 2, 1), 0).astype(np.int8),
        occlusion_known=labelled,
        head_size=arrays.head_size,
    )


def read_hourglass_arrays(path: Path) -> HourglassArrays:
    """Read `train.h5`, `valid.h5` or an .npz file of the same arrays.

    Raises:
        UserError: it is no such file, an array is missing, or one has another shape than the others
            say.
    """
    try:
        if path.suffix == ".npz":
            # Opened here: of a file that is no archive numpy would leave the handle open.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {key: file[key] for key in _SHAPES}
        else:
            with h5py.File(path, "r") as file:
                arrays = {key: file[key][()] for key in _SHAPES}
    except KeyError as error:
        raise UserError(
            f"{path} is no annotation file of the hourglass authors: {str(error.args[0]).strip()}. It must "
            f"hold {', '.join(_SHAPES)}."
        ) from None
    except (
        OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError
    ) as error:  # fmt: skip
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {error}). Fetch it again.") from None
    num = len(np.atleast_1d(arrays["part"]))
    for key, rest in _SHAPES.items():
        if np.shape(arrays[key]) != (num, *rest):
            raise UserError(
                f"{path}: {key} has shape {np.shape(arrays[key])}, expected {(num, *rest)}. Fetch it again."
            )
    numbers = {key: _numbers(path, key, arrays[key]) for key in _SHAPES if key != "imgname"}
    return HourglassArrays(
        image_names=tuple(
            name.decode(errors="replace") if isinstance(name, bytes) else str(name)
            for name in arrays["imgname"]
        ),
        image_index=numbers["index"].astype(np.int64),
        person_index=numbers["person"].astype(np.int64),
        center=numbers["center"],
        scale=numbers["scale"],
        part=numbers["part"],
        visible=numbers["visible"] > 0,
        head_size=numbers["normalize"],
    )


def _numbers(path: Path, key: str, array: Any) -> Float[np.ndarray, "..."]:
    try:
        values = np.asarray(array, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{path}: {key} holds no numbers. Fetch it again.") from None
    bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if bad.any():
        raise UserError(
            f"{path}: {key} of person {int(bad.argmax())} (from 0) is not a finite number. "
            "Correct or remove the person."
        )
    return values

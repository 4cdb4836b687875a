"""Records from arrays in memory or from an .npz file: no TensorFlow, no files to prepare."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oasjax.datasets.skeletons import SKELETONS, Skeleton
from oasjax.errors import UserError

# Key -> shape of one row after the leading axis N; K is the skeleton's number of joints, None any
# size.
ARRAY_SHAPES: dict[str, tuple[int | str | None, ...]] = {
    "image": (None, None, 3),
    "keypoints": ("K", 2),
    "visibility": ("K",),
    "occlusion_known": ("K",),
    "bbox_xywh": (4,),
    "head_size": (),
    "area": (),
}
OPTIONAL_SHAPES: dict[str, tuple[int | str | None, ...]] = {
    "example_id": (),
    "image_id": (),
    "image_number": (),
    "person_number": (),
    "box_score": (),
}


class ArraysSource:
    """Records held as arrays that share the leading axis N.

    Attributes:
        skeleton: the joints of `keypoints`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], skeleton: Skeleton, name: str = "arrays"):
        """Check the arrays and keep them (no copy).

        Args:
            arrays: `image` uint8 (N, H, W, 3), `keypoints` (N, K, 2) in image pixels, `visibility`
                (N, K), `occlusion_known` (N, K), `bbox_xywh` (N, 4), `head_size` (N,), `area` (N,);
                `example_id` (N,) and `image_id` (N,) are the positions unless given; `image_number`,
                `person_number` and `box_score` (N,) may be absent. Other arrays of N rows go along.
            skeleton: the joints of `keypoints`.
            name: how to call these arrays in an error.

        Raises:
            UserError: an array is missing or of the wrong shape.
        """
        arrays = dict(arrays)
        num = len(arrays["image"]) if "image" in arrays and arrays["image"].ndim else 0
        arrays.setdefault("example_id", np.arange(num))
        arrays.setdefault("image_id", np.array([str(i) for i in range(num)]))
        missing = [key for key in ARRAY_SHAPES if key not in arrays]
        if missing:
            raise UserError(
                f"{name} lacks the arrays {', '.join(missing)}; it needs {', '.join(ARRAY_SHAPES)} "
                f"and may have {', '.join(OPTIONAL_SHAPES)}."
            )
        shapes = {key: shape for key, shape in (ARRAY_SHAPES | OPTIONAL_SHAPES).items() if key in arrays}
        for key, row_shape in shapes.items():
            wanted = (num, *(skeleton.num_joints if d == "K" else d for d in row_shape))
            shape = arrays[key].shape
            if len(shape) != len(wanted) or any(
                w is not None and w != d for w, d in zip(wanted, shape, strict=True)
            ):
                wanted_text = ", ".join("any" if w is None else str(w) for w in wanted)
                raise UserError(
                    f"{name}: {key} has shape {shape}, expected ({wanted_text}) "
                    f"for {num} people of the skeleton {skeleton.name}."
                )
        if arrays["image"].dtype != np.uint8:
            raise UserError(f"{name}: image has dtype {arrays['image'].dtype}, expected uint8 (RGB).")
        # Rows of another length cannot belong to a person each.
        self._arrays = {key: value for key, value in arrays.items() if value.shape[:1] == (num,)}
        self.skeleton = skeleton
        self._num = num

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The record of one person; the image is a view."""
        return {key: array[index] for key, array in self._arrays.items()}


def load_arrays(path: str | Path) -> ArraysSource:
    """Read a source from an .npz file, written by `save_arrays` or of the same form.

    Beside the arrays of `ArraysSource` the file holds `skeleton`, the name of the joints' order.
    Nothing is unpickled.

    Raises:
        UserError: no such file, no .npz file, pickled contents, arrays missing or of the wrong
            shape.
    """
    try:
        # Opened here, since np.load leaves the file open when it does not like the contents.
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as contents:
            arrays = {key: contents[key] for key in contents.files}
    except FileNotFoundError:
        raise UserError(f"Arrays not found: {path}. Pass --config.data.arrays_path=FILE.npz.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is no whole .npz file of plain arrays: {error}.") from None
    skeleton_name = str(arrays.pop("skeleton", "missing"))
    if skeleton_name not in SKELETONS:
        raise UserError(f"{path}: `skeleton` is {skeleton_name}; it must be one of {', '.join(SKELETONS)}.")
    return ArraysSource(arrays, SKELETONS[skeleton_name], str(path))


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], skeleton: Skeleton) -> None:
    """Write arrays as `load_arrays` reads them (uncompressed: pictures hardly shrink)."""
    contents: dict[str, Any] = {"skeleton": np.array(skeleton.name), **arrays}
    with open(path, "wb") as file:
        np.savez(file, **contents)

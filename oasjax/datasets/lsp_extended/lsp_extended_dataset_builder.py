"""TFDS builder of LSP-extended: the annotations as given, the pictures as the bytes of their
files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from oasjax.datasets.lsp_extended.annotations import find_folder, read_people
from oasjax.datasets.skeletons import LSP


class Builder(tfds.core.GeneratorBasedBuilder):
    """LSP-extended with the splits train and test (picture numbers n with n mod 25 == 1)."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Get LSP-extended (http://sam.johnson.io/research/lspet.html) and point manual_dir at the folder
    with joints.mat and images/im00001.jpg, images/im00002.jpg, ...; pictures may be missing.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        joints = LSP.num_joints
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "keypoints": tfds.features.Tensor(shape=(joints, 2), dtype=np.float32),
                    "visibility": tfds.features.Tensor(shape=(joints,), dtype=np.int8),
                    "occlusion_known": tfds.features.Tensor(shape=(joints,), dtype=np.bool_),
                    "bbox_xywh": tfds.features.Tensor(shape=(4,), dtype=np.float32),
                    "head_size": tfds.features.Scalar(dtype=np.float32),
                    "area": tfds.features.Scalar(dtype=np.float32),
                    "example_id": tfds.features.Scalar(dtype=np.int64),
                    "image_id": tfds.features.Text(),
                }
            ),
            homepage="http://sam.johnson.io/research/lspet.html",
            # The order of the files is the order of the records, so that example_id is the
            # position.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = find_folder(str(dl_manager.manual_dir))
        return {split: self._generate_examples(folder, split) for split in ("train", "test")}

    def _generate_examples(self, folder: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """One example per person; a path as `image` makes TFDS store the file's bytes undecoded."""
        for person in read_people(folder, split):
            yield (
                person["example_id"],
                {
                    "image": person["image_path"],
                    **{key: value for key, value in person.items() if key != "image_path"},
                },
            )

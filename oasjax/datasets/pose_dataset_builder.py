"""What the TFDS builders of pose data sets share: the features, and one example per person.

A data set's builder names its module `annotations` and says where the data come from:

    class Builder(PoseDatasetBuilder):
        MANUAL_DOWNLOAD_INSTRUCTIONS = "..."
        annotations = oasjax.datasets.NAME.annotations
        homepage = "https://..."

`annotations` has SPLITS, SKELETON, find_folder and read_people. The annotations are stored as given,
the pictures as the bytes of their files, once for each person in them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from oasjax.errors import UserError


class PoseDatasetBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """One example per person.

    Attributes:
        annotations: the module that reads the data set.
        homepage: where the data set comes from; None for people's own.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}

    annotations: ModuleType
    homepage: str | None = None

    def num_joints(self) -> int | None:
        """The number of joints; None where only the folder tells."""
        return self.annotations.SKELETON.num_joints

    def features(self) -> dict[str, Any]:
        """The features of a person record (`oasjax/datasets/person_records.py`)."""
        joints = self.num_joints()
        return {
            # Without an encoding JPEG and PNG files go together.
            "image": tfds.features.Image(shape=(None, None, 3)),
            "keypoints": tfds.features.Tensor(shape=(joints, 2), dtype=np.float32),
            "visibility": tfds.features.Tensor(shape=(joints,), dtype=np.int8),
            "occlusion_known": tfds.features.Tensor(shape=(joints,), dtype=np.bool_),
            "bbox_xywh": tfds.features.Tensor(shape=(4,), dtype=np.float32),
            "head_size": tfds.features.Scalar(dtype=np.float32),
            "area": tfds.features.Scalar(dtype=np.float32),
            "example_id": tfds.features.Scalar(dtype=np.int64),
            "image_id": tfds.features.Text(),
            "image_number": tfds.features.Scalar(dtype=np.int64),
            "person_number": tfds.features.Scalar(dtype=np.int64),
            "box_score": tfds.features.Scalar(dtype=np.float32),
        }

    def splits_of(self, folder: Path) -> Sequence[str]:
        """The splits to prepare."""
        return tuple(self.annotations.SPLITS)

    def read_ignored(self, folder: Path, split: str) -> list[dict[str, Any]]:
        """Annotated people whom scores ignore: the split `NAME_ignored`, where there are any."""
        return []

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(self.features()),
            homepage=self.homepage,
            # The order of the files is the order of the records, so that example_id is the
            # position.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        folder = self.annotations.find_folder(str(dl_manager.manual_dir))
        splits = {}
        for split in self.splits_of(folder):
            people = self.annotations.read_people(folder, split)
            if not people:
                raise UserError(f"{folder} holds no person that can be used in the split {split}.")
            splits[split] = self._generate_examples(people)
            # TFDS cannot write an empty split.
            if ignored := self.read_ignored(folder, split):
                splits[f"{split}_ignored"] = self._generate_examples(ignored)
        return splits

    def _generate_examples(self, people: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
        """One example per person; a path as `image` makes TFDS store the file's bytes undecoded."""
        for person in people:
            yield (
                person["example_id"],
                {
                    "image": person["image_path"],
                    **{key: value for key, value in person.items() if key != "image_path"},
                },
            )


class CocoFormBuilder(PoseDatasetBuilder, skip_registration=True):  # type: ignore[call-arg]
    """People of annotation files in COCO form: with their masks, and with the people to ignore in splits
    of their own (`train_ignored`, `validation_ignored`, ...).

    `annotations` has splits_of and read_ignored besides; splits without an annotation file are left out.
    """

    def features(self) -> dict[str, Any]:
        return {
            **super().features(),
            "segmentation": tfds.features.Text(),
            "is_crowd": tfds.features.Scalar(dtype=np.bool_),
        }

    def splits_of(self, folder: Path) -> Sequence[str]:
        return self.annotations.splits_of(folder)

    def read_ignored(self, folder: Path, split: str) -> list[dict[str, Any]]:
        return self.annotations.read_ignored(folder, split)

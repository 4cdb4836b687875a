"""TFDS builder of synthetic_people: draws people instead of downloading them."""

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people.renderer import render_person


@dataclass(eq=False)
class SyntheticPeopleConfig(tfds.core.BuilderConfig):
    """One world of people.

    Attributes:
        look: "studio" or "street".
        seed: of the train people; the eval people come from the world `seed + 1`.
        size: width and height of the pictures in pixels.
        train_size, eval_size: number of people.
    """

    look: str = "studio"
    seed: int = 0
    size: int = 128
    train_size: int = 2000
    eval_size: int = 500


class Builder(tfds.core.GeneratorBasedBuilder):
    """Drawn people with the splits train and eval.

    The configurations `studio` and `street` hold the defaults of a look; the constructor's
    arguments describe any other world.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[SyntheticPeopleConfig]] = [
        SyntheticPeopleConfig(name="studio", description="Bright, clean, soft backgrounds."),
        SyntheticPeopleConfig(
            name="street", description="Duller colours, clutter, blur, sensor noise.", look="street"
        ),
    ]

    def __init__(
        self,
        *,
        look: str = "studio",
        seed: int = 0,
        size: int = 128,
        train_size: int = 2000,
        eval_size: int = 500,
        config: SyntheticPeopleConfig | str | None = None,
        data_dir: str | PathLike[str] | None = None,
        file_format: str | None = None,
        version: tfds.core.Version | str | None = None,
    ):
        """Without `config`, the world is the one that the other arguments describe."""
        if config is None:
            name = f"{look}-seed{seed}-size{size}-train{train_size}-eval{eval_size}"
            config = SyntheticPeopleConfig(
                name=name, look=look, seed=seed, size=size, train_size=train_size,
                eval_size=eval_size,
            )  # fmt: skip
        super().__init__(config=config, data_dir=data_dir, file_format=file_format, version=version)

    def _info(self) -> tfds.core.DatasetInfo:
        joints, size = MPII.num_joints, self.builder_config.size

        def per_joint(dtype: Any) -> tfds.features.Tensor:
            return tfds.features.Tensor(shape=(joints,), dtype=dtype)

        def box() -> tfds.features.Tensor:
            return tfds.features.Tensor(shape=(4,), dtype=np.float32)

        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
                    "keypoints": tfds.features.Tensor(shape=(joints, 2), dtype=np.float32),
                    "visibility": per_joint(np.int8),
                    "hidden_by": per_joint(np.int8),
                    "occlusion_known": per_joint(np.bool_),
                    "mask": tfds.features.Tensor(shape=(size, size), dtype=np.bool_),
                    "bbox_xywh": box(),
                    "visible_bbox_xywh": box(),
                    "head_size": tfds.features.Scalar(dtype=np.float32),
                    "area": tfds.features.Scalar(dtype=np.float32),
                    "example_id": tfds.features.Scalar(dtype=np.int64),
                    "image_id": tfds.features.Text(),
                }
            ),
            # Files in the order of the records: example_id is the position.
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        world = self.builder_config
        return {
            "train": self._generate_examples(world.seed, world.train_size),
            "eval": self._generate_examples(world.seed + 1, world.eval_size),
        }

    def _generate_examples(self, seed: int, num: int) -> Iterator[tuple[int, dict[str, Any]]]:
        world = self.builder_config
        for index in range(num):
            yield index, render_person(seed, index, world.size, world.look)

"""Records whose pictures are files, read when they are asked for."""

from collections.abc import Sequence
from typing import Any

from oasjax.datasets.skeletons import Skeleton
from oasjax.input_pipeline.decode import read_bytes


class FilesSource:
    """People with `image_path`; `source[i]` adds the file's bytes as `image`, and the path as what
    errors call the picture.

    Attributes:
        skeleton: the joints of `keypoints`.
    """

    def __init__(self, people: Sequence[dict[str, Any]], skeleton: Skeleton):
        self._people = people
        self.skeleton = skeleton

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The record; its picture is the bytes of the file. Raises UserError where it is gone."""
        person = self._people[index]
        return {**person, "image": read_bytes(person["image_path"]), "picture": person["image_path"]}

"""Sources made of sources: with the joints of another skeleton, and several one after the other."""

import bisect
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from oasjax.datasets.skeletons import Skeleton, joint_map, map_joints
from oasjax.errors import UserError
from oasjax.input_pipeline.batching import Source

# What a record may tell of the joints of its own skeleton alone.
_OF_OWN_JOINTS = ("hidden_by",)


class MappedSource:
    """A source whose people have the joints of another skeleton, see `skeletons.map_joints`.

    Attributes:
        skeleton: the joints of `keypoints`.
    """

    def __init__(self, source: Source, skeleton: Skeleton):
        """Raises UserError where the two skeletons have no joint in common."""
        self._source = source
        self._mapping = joint_map(source.skeleton, skeleton)
        if not any(self._mapping.sources):
            raise UserError(
                f"None of the joints of '{skeleton.name}' ({', '.join(skeleton.joints)}) can be had from "
                f"those of the data ({', '.join(source.skeleton.joints)}). Choose another skeleton."
            )
        self.skeleton = skeleton

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The record with the joints of `skeleton`; those that its own cannot supply are unlabelled."""
        record = self._source[index]
        keypoints, visibility, occlusion_known = map_joints(
            self._mapping,
            np.asarray(record["keypoints"], np.float32),
            np.asarray(record["visibility"], np.int8),
            np.asarray(record["occlusion_known"], np.bool_),
        )
        return {
            **{key: value for key, value in record.items() if key not in _OF_OWN_JOINTS},
            "keypoints": keypoints,
            "visibility": visibility,
            "occlusion_known": occlusion_known,
        }


def with_joints(source: Source, skeleton: Skeleton | None) -> Source:
    """The people of a source with the joints of `skeleton`; None: with their own."""
    if skeleton is None or source.skeleton.joints == skeleton.joints:
        return source
    return MappedSource(source, skeleton)


class Mixture:
    """The people of several sources, one source after the other.

    Attributes:
        skeleton: the joints that all of them have.
    """

    def __init__(self, sources: Sequence[Source]):
        """`sources`: one or more, of the same joints."""
        self._sources = list(sources)
        self._ends = list(itertools.accumulate(len(source) for source in sources))
        self.skeleton = self._sources[0].skeleton

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The record; its `example_id` is the position in the mixture."""
        number = bisect.bisect_right(self._ends, index)
        if not 0 <= index < len(self):
            raise IndexError(f"person {index} of {len(self)}")
        source = self._sources[number]
        record = source[index - self._ends[number] + len(source)]
        return {
            **{key: value for key, value in record.items() if key not in _OF_OWN_JOINTS},
            "example_id": index,
        }

import numpy as np
import pytest

from oasjax.datasets.skeletons import MPII
from oasjax.input_pipeline.arrays_source import ArraysSource


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """Seven people of noise, one of whose joints lies outside the picture."""
    rng = np.random.default_rng(0)
    num, joints = 7, MPII.num_joints
    keypoints = rng.uniform(0, 40, (num, joints, 2)).astype(np.float32)
    keypoints[:, 0] = (-30, 70)
    return {
        "image": rng.integers(0, 256, (num, 40, 48, 3), dtype=np.uint8),
        "keypoints": keypoints,
        "visibility": rng.integers(0, 3, (num, joints)).astype(np.int8),
        "occlusion_known": np.ones((num, joints), np.bool_),
        "bbox_xywh": np.tile(np.float32([4, 3, 30, 33]), (num, 1)),
        "head_size": np.full(num, 9, np.float32),
        "area": np.full(num, 990, np.float32),
    }


@pytest.fixture
def source(arrays) -> ArraysSource:
    return ArraysSource(arrays, MPII)

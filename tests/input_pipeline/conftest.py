import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture
def grown_over_2000_batches() -> Callable[[Iterator], tuple[int, int]]:
    """Takes 200 batches and then 2,000 more; how many bytes the process has grown by meanwhile, and how
    many bytes those 2,000 batches have."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell a process's size in /proc")

    def resident_pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    def measure(batches: Iterator) -> tuple[int, int]:
        for device, _ in itertools.islice(batches, 200):
            of_a_batch = sum(value.nbytes for value in device.values())
        del device
        before = resident_pages()
        for _ in itertools.islice(batches, 2000):
            pass
        return (resident_pages() - before) * os.sysconf("SC_PAGE_SIZE"), 2000 * of_a_batch

    return measure

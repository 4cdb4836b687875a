"""What a finished run leaves: the truth beside the predictions."""

import numpy as np
import pytest

from oasjax import config_sections
from oasjax.datasets.skeletons import MPII
from oasjax.inference.run_summary import example_people


class NoRecords:
    """Stands in for a test set: pasted occluders are only on what the network saw."""

    skeleton = MPII

    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


def rows() -> dict[str, np.ndarray]:
    """One person on 32x32 pixels, maps of 8x8 cells; all joints visible but 10, which a patch hides."""
    pasted = np.arange(16)[None] == 10
    keypoints = np.full((1, 16, 2), 3.0, np.float32)
    keypoints[0, 10] = 16.0, 8.0
    return {
        "image": np.zeros((1, 32, 32, 3), np.uint8),
        "keypoints": keypoints,
        "crop_keypoints": keypoints,
        "scores": np.ones((1, 16), np.float32),
        "occlusion": np.zeros((1, 16), np.float32),
        "occlusion_map": np.zeros((1, 8, 8), np.float32),
        "visibility": np.full((1, 16), 2, np.int8),
        "occlusion_known": np.zeros((1, 16), bool),
        "pasted": pasted,
        "example_id": np.arange(1),
    }


def config(codec: str) -> dict:
    config = config_sections.pose()
    config.data.input_size_wh = (32, 32)
    config.target.codec = codec
    return config.to_dict()


@pytest.mark.parametrize("codec", ["subpixel", "hrnet"])
def test_the_true_map_shows_hidden_joints_in_the_frame_of_the_predicted_one(codec):
    (person,) = example_people(rows(), NoRecords(), config(codec))
    # Pixel (16, 8) is cell (4, 2) of the published networks and lies 3/8 of a cell before it in ours.
    offset = {"subpixel": 0.375, "hrnet": 0.0}[codec]
    assert np.unravel_index(person["occlusion_map"].argmax(), (8, 8)) == (2, 4)
    np.testing.assert_allclose(person["occlusion_map"].max(), np.exp(-(offset**2)), rtol=1e-5)
    assert person["visibility"][10] == 1


def test_the_true_map_stands_beside_a_predicted_one_only():
    without = {name: column for name, column in rows().items() if name != "occlusion_map"}
    (person,) = example_people(without, NoRecords(), config("subpixel"))
    assert person["occlusion_map"] is None and person["predicted_occlusion_map"] is None
    assert person["predicted_occlusion"] is not None
    without.pop("occlusion")
    (person,) = example_people(without, NoRecords(), config("subpixel"))
    assert person["predicted_occlusion"] is None

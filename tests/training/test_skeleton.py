"""`config.skeleton`: a name, the data's own joints, or a whole skeleton."""

import json

import pytest
from ml_collections import ConfigDict

from oasjax.datasets.skeletons import COCO, skeleton_from_category, to_json
from oasjax.errors import UserError
from oasjax.training.skeleton import FROM_DATA, read_skeleton, with_skeleton
from oasjax.training.workdir import check_config, open_workdir, plain, recall_skeleton

# `keys` and `items` are also names of a mapping's methods.
BIRD = skeleton_from_category({"name": "bird", "keypoints": ["beak", "keys_l", "keys_r", "items", "tail"]})


def test_a_known_skeleton_stays_a_name_and_another_is_kept_whole():
    config = ConfigDict({"skeleton": FROM_DATA, "size": (3, 4)}).lock()
    known = with_skeleton(config, COCO)
    assert known.skeleton == "coco" and read_skeleton(known.skeleton) is COCO
    own = with_skeleton(config, BIRD)
    assert own.is_locked and own.size == (3, 4)
    assert read_skeleton(own.skeleton) == BIRD
    assert read_skeleton(json.loads(json.dumps(plain(own)))["skeleton"]) == BIRD
    assert config.skeleton == FROM_DATA


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("spider", "'spider'; there are: mpii"),
        (3, "3; there are"),
        ({"name": "bird"}, "lacks the entry joints"),
    ],
)
def test_what_is_no_skeleton_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        read_skeleton(value)


def test_a_workdir_recalls_the_joints_that_its_run_began_with(tmp_path):
    config = ConfigDict({"skeleton": FROM_DATA, "seed": 1}).lock()
    assert recall_skeleton(tmp_path, config) is config
    open_workdir(tmp_path, with_skeleton(config, BIRD))
    recalled = recall_skeleton(tmp_path, config)
    assert read_skeleton(recalled.skeleton) == BIRD
    check_config(tmp_path, recalled)
    named = ConfigDict({"skeleton": "mpii", "seed": 1}).lock()
    assert recall_skeleton(tmp_path, named) is named
    with pytest.raises(UserError, match="begun with another config: skeleton"):
        check_config(tmp_path, named)
    (tmp_path / "config.json").write_text(json.dumps({"skeleton": {**to_json(BIRD), "joints": []}}))
    with pytest.raises(UserError, match="config.json: .*bird.* has no joints"):
        recall_skeleton(tmp_path, config)

"""The train step of both backbones lowers for accelerators that are not here."""

import jax
import jax.export
import pytest

from oasjax import config_sections
from oasjax.training.optimizers import make_optimizer
from oasjax.training.state import create_train_state
from oasjax.training.step import make_train_step
from oasjax.training.tasks import make_task


@pytest.mark.parametrize("backbone", ["hourglass", "hrnet"])
def test_the_train_step_lowers_for_gpu_and_tpu_on_a_machine_without_them(tiny_config, backbone):
    config = tiny_config()
    if backbone == "hrnet":
        with config.unlocked():
            config.model = config_sections.model("hrnet")
            config.model.hrnet.channels = ((4, 8), (4, 8, 16), (4, 8, 16, 32))
            config.model.hrnet.modules = config.model.hrnet.blocks = (1, 1, 1)
    task = make_task(config)
    optimizer = make_optimizer(config.optimizer, config.train.num_steps)
    step = make_train_step(task, optimizer, config.seed)
    state = jax.eval_shape(lambda: create_train_state(task.init(0), optimizer))
    batch = {
        "image": jax.ShapeDtypeStruct((2, 32, 32, 3), "uint8"),
        "keypoints": jax.ShapeDtypeStruct((2, 16, 2), "float32"),
        "visibility": jax.ShapeDtypeStruct((2, 16), "int8"),
        "occlusion_known": jax.ShapeDtypeStruct((2, 16), "bool"),
    }
    exported = jax.export.export(jax.jit(step), platforms=["cuda", "tpu"])(state, batch)
    assert exported.platforms == ("cuda", "tpu")
    names = ("loss", "joints", "accuracy", "occlusion", "mimic", "mimic_frozen_critic", "gradient_norm")
    assert len(exported.out_avals) == len(jax.tree.leaves(state)) + len(names)

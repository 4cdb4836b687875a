"""A model saved on eight devices is read on one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from oasjax.training.checkpoints import restore_params

SAVE = """
import sys
from pathlib import Path
import jax, numpy as np, optax
from oasjax.training.checkpoints import Checkpoints
from oasjax.training.mesh import data_mesh, replicated
from oasjax.training.state import create_train_state
assert jax.device_count() == 8
params, model_state = {'kernel': np.arange(6.0, dtype=np.float32)}, {'mean': np.ones(2, np.float32)}
variables = {'params': params, 'model_state': model_state}
state = jax.device_put(create_train_state(variables, optax.adam(1.0)), replicated(data_mesh()))
Checkpoints(Path(sys.argv[1]), keep=1, say=print).save(state, {})
"""


@pytest.mark.multidevice
def test_params_saved_on_eight_devices_are_plain_arrays_on_one(tmp_path):
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8"
    }
    subprocess.run([sys.executable, "-c", SAVE, str(tmp_path)], env=environment, check=True, timeout=120)
    variables = restore_params(tmp_path)
    assert isinstance(variables["params"]["kernel"], np.ndarray)
    np.testing.assert_array_equal(variables["params"]["kernel"], np.arange(6.0))

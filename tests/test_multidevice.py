"""Eight devices give what one gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted(Path(__file__).parent.glob("*/eight_devices.py"))


@pytest.mark.multidevice
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.parent.name)
def test_eight_forced_devices_equal_one(script):
    """In a process of its own: the number of host devices is fixed when JAX starts."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=8",
        "JAX_ENABLE_X64": "true",
    }
    run = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "eight devices equal one" in run.stdout


def test_there_is_a_script_of_the_loss_and_one_of_the_step():
    assert [script.parent.name for script in SCRIPTS] == ["losses", "training"]

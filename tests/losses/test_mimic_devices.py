"""The transport loss over eight devices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("eight_devices.py")


@pytest.mark.multidevice
def test_eight_forced_devices_equal_one_and_communicate_for_the_mean_alone():
    """In a process of its own: the number of host devices is fixed when JAX starts."""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_ENABLE_X64": "true",
    }
    run = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "eight devices equal one" in run.stdout

"""The cost of first steps, on a model that is small enough for a test."""

import pytest

from experiments import full_size


@pytest.mark.slow
def test_a_warm_start_is_cheaper_than_a_cold_one(tmp_path):
    cold, warm = (full_size.run("smoke", 8, tmp_path) for _ in range(2))
    assert 0 < warm.compilation < cold.compilation
    assert 0 < warm.first_step < cold.first_step
    assert 0 < warm.later_step < warm.first_step
    assert 0.1 < cold.peak_memory_gb < 8


def test_a_run_that_fails_shows_what_it_printed(tmp_path):
    with pytest.raises(RuntimeError, match="config not found: no_such_config"):
        full_size.run("no_such_config", 2, tmp_path)

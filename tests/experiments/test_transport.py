"""The study of the transport loss, at sizes that take seconds."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import transport
from oasjax.ops.sinkhorn import sinkhorn_plan


@pytest.fixture(scope="module")
def alphabet():
    return transport.letters("BDEFPR", size=12)


@pytest.fixture(scope="module")
def runs(alphabet):
    start = transport.uniform_noise(alphabet.shape, seeds=[0, 1])
    return {
        name: transport.overfit(
            alphabet, start, num_steps=600, record_every=200, **transport.OVERFIT_SETTINGS[name]
        )
        for name in ("plain, stopped", "plain, unrolled", "debiased, unrolled")
    }


def test_the_debiased_loss_reaches_a_permutation_of_x_and_the_plain_one_stalls(alphabet, runs):
    exact = {name: transport.assignment_costs(alphabet, run)[:, -1] for name, run in runs.items()}
    assert exact["debiased, unrolled"].max() < 1e-4
    assert exact["plain, unrolled"].min() > 0.02 and exact["plain, stopped"].min() > 0.02
    for y in runs["debiased, unrolled"].points[:, -1]:
        pairing = transport.pair_rows(alphabet, y)
        assert transport.rows_found(pairing) == 6 and sorted(pairing.match) == [0, 1, 2, 3, 4, 5]
    assert transport.rows_found(transport.pair_rows(alphabet, runs["plain, stopped"].points[0, -1])) < 6


def test_an_overfit_run_starts_at_the_noise_and_goes_down(alphabet, runs):
    for run in runs.values():
        np.testing.assert_array_equal(run.points[:, 0], transport.uniform_noise(alphabet.shape, [0, 1]))
        assert run.losses.shape == (2, 601) and list(run.steps) == [0, 200, 400, 600]
        assert (run.losses[:, -1] < run.losses[:, 0] / 2).all()


def test_an_overfit_run_is_drawn_and_listed(alphabet, runs, tmp_path):
    transport.write(transport.draw_overfit(alphabet, runs), tmp_path / "overfit.png")
    assert (tmp_path / "overfit.png").stat().st_size > 1000
    assert "| 6 of 6 |" in transport.overfit_table(alphabet, runs)


def test_debiasing_turns_the_gradient_towards_that_of_the_true_pairs():
    pair = transport.relu_features(0, 0.1, channels=256, size=16, sigma=1.0)
    found = transport.alignments([pair], epsilons=(0.1, 0.01), num_iters=5)
    at_paper, at_small = ({name: values[0, n] for name, values in found.items()} for n in (0, 1))
    assert at_paper["debiased, unrolled"] > 0.95
    assert at_paper["debiased, unrolled"] > 0.2 + at_paper["plain, unrolled"]
    assert at_paper["debiased, stopped"] > 0.2 + at_paper["plain, stopped"]
    assert min(at_small.values()) > 0.99


def test_noise_sets_how_far_the_branches_are_apart():
    pairs = [transport.relu_features(0, noise, channels=8, size=16, sigma=2.0) for noise in (0.0, 0.1, 0.5)]
    same, near, far = (transport.pair_rows(*pair) for pair in pairs)
    assert same.cost.max() < 1e-6 < near.cost.mean() < 0.02 < far.cost.mean()
    assert all((pair.clean >= 0).all() for pair in pairs)
    lowered = transport.after_critic(pairs[1], seed=0)
    assert lowered.clean.shape == lowered.occluded.shape == (8, 64)
    assert 0 < transport.pair_rows(*lowered).cost.mean() < 0.05


def test_the_plan_as_printed_has_another_mass_than_one():
    cost = np.random.default_rng(0).uniform(size=(8, 8))
    assert abs(transport.literal_plan(cost, 0.1, 5).sum() - 1) > 0.5
    np.testing.assert_allclose(sinkhorn_plan(jnp.asarray(cost), epsilon=0.1, num_iters=5).sum(), 1, rtol=1e-6)


def test_the_windowed_loop_is_that_of_the_library_and_its_window_is_short_enough():
    cost = transport.star_cost(12, 3.0)
    expected = sinkhorn_plan(jnp.asarray(cost, jnp.float32), epsilon=1.0, num_iters=20)
    for window in (1, 8, 20):
        plan = transport.windowed_plan(cost, 20, window, smallest=2.0**-126)
        np.testing.assert_allclose(plan, expected, rtol=1e-4)
    window = transport.longest_window(256, np.dtype(np.float32))
    assert transport.flush_error(256, window, costs=[87.5]) < 2.0**-23
    assert transport.flush_error(256, window + 3, costs=[87.5]) > 0.1


def test_the_alignment_study_writes_its_tables_and_its_figure(tmp_path, monkeypatch):
    def few(seed, noise):
        return transport.relu_features(seed, noise, channels=8, size=8, sigma=1.0)

    settings = {"SEEDS": range(2), "EPSILONS": (0.2, 0.1), "FEATURES": {"few": few}, "FIGURE_FEATURES": "few"}
    for name, value in settings.items():
        monkeypatch.setattr(transport, name, value)
    printed = "".join(transport.run_alignment(tmp_path))
    assert "| 0.2 | " in printed and "| 0.1 | " in printed and "nan" not in printed
    assert "rows truly" in printed
    assert (tmp_path / "transport_alignment.png").stat().st_size > 1000


def test_the_implicit_gradient_approaches_the_unrolled_one():
    pair = transport.relu_features(0, 0.5, channels=8, size=8, sigma=1.0)
    table = transport.implicit_table(pair, epsilons=(0.2,), iterations=(1, 100))
    first, last = (float(line.split("|")[2]) for line in table.splitlines()[2:])
    assert last < 1e-6 < 1e-3 < first

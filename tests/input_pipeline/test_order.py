import itertools

import numpy as np
import pytest

from oasjax.input_pipeline.order import epoch_order, example_rng, train_indices


def first_batches(seed, start_step, batch_size, num_examples, count):
    stream = train_indices(seed, start_step, batch_size, num_examples)
    return list(itertools.islice(stream, count))


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch():
    order = epoch_order(3, 5, 100)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(100))
    np.testing.assert_array_equal(order, epoch_order(3, 5, 100))
    assert (order != epoch_order(3, 6, 100)).any()
    assert (order != epoch_order(4, 5, 100)).any()


@pytest.mark.parametrize("batch_size", [3, 7, 20])
def test_each_epoch_covers_each_example_once_though_batches_straddle_epochs(batch_size):
    batches = first_batches(0, 0, batch_size, 7, 21)
    epochs = np.concatenate([epochs for epochs, _ in batches])
    indices = np.concatenate([indices for _, indices in batches])
    assert (np.diff(epochs) >= 0).all()
    for epoch in range(9):
        assert sorted(indices[epochs == epoch]) == list(range(7))


def test_starting_at_a_step_gives_the_tail_of_the_run_from_the_beginning():
    whole = first_batches(1, 0, 5, 7, 12)
    for (epochs, indices), (late_epochs, late_indices) in zip(
        whole[4:], first_batches(1, 4, 5, 7, 8), strict=True
    ):
        np.testing.assert_array_equal(epochs, late_epochs)
        np.testing.assert_array_equal(indices, late_indices)


def test_examples_draw_from_streams_of_their_own():
    def draw(seed, epoch, example_id):
        return tuple(example_rng(seed, epoch, example_id).normal(size=8))

    keys = list(itertools.product((0, 1), (0, 1), (0, 1)))
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(1, 2, 3) == draw(1, 2, 3)

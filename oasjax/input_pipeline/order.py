"""Which example comes when, and with which randomness: pure functions of (seed, epoch, example).

Nothing here keeps state between calls, so a run that resumes at step s sees exactly what an
unbroken run would have seen from step s on, whatever the number of threads or processes.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

# Philox is counter based: the key names the purpose, the two high words of the counter name the
# epoch and the example, and the low words are left to the draws, so that no two streams ever
# overlap.
_ORDER_KEY, _EXAMPLE_KEY = 1, 2
_UINT64_MASK = (1 << 64) - 1


def _generator(seed: int, purpose: int, epoch: int, example_id: int) -> np.random.Generator:
    key = np.array([seed & _UINT64_MASK, purpose], np.uint64)
    counter = np.array([0, 0, epoch, example_id], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def epoch_order(seed: int, epoch: int, num_examples: int) -> Int[np.ndarray, "n"]:
    """The order in which epoch `epoch` visits the examples: a permutation of 0 .. num_examples -
    1."""
    return _generator(seed, _ORDER_KEY, epoch, 0).permutation(num_examples).astype(np.int64)


def example_rng(seed: int, epoch: int, example_id: int) -> np.random.Generator:
    """The source of randomness of one example in one epoch (its rotation, its scale)."""
    return _generator(seed, _EXAMPLE_KEY, epoch, example_id)


def train_indices(
    seed: int, start_step: int, batch_size: int, num_examples: int
) -> Iterator[tuple[Int[np.ndarray, "b"], Int[np.ndarray, "b"]]]:
    """Endless batches of (epochs, indices), both (batch_size,), from batch number `start_step` on.

    Example n of the stream is the (n % num_examples)-th of epoch n // num_examples. A batch may
    therefore straddle epochs (which is why each index carries its own epoch): no example is dropped
    at an epoch's end, and the position follows from the step alone.
    """
    orders: dict[int, np.ndarray] = {}
    for step in itertools.count(start_step):
        position = step * batch_size + np.arange(batch_size, dtype=np.int64)
        epochs = position // num_examples
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            if epoch not in orders:
                orders[epoch] = epoch_order(seed, epoch, num_examples)
        indices = np.array(
            [orders[int(epoch)][n % num_examples] for epoch, n in zip(epochs, position, strict=True)]
        )
        orders = {epoch: order for epoch, order in orders.items() if epoch >= epochs[-1]}
        yield epochs, indices

"""The transport loss: ours, automatic differentiation of the plain loop, ott-jax, POT and PyTorch.

Every contender gets the same float32 features of two branches, (B, C, k) each, and computes the mean over
the batch of <M, P> with the cosine cost M, and the gradients for both branches. What differs is how P depends
on M in the backward pass; each contender's `what` says it.

Peers are imported when they are built: one that is not installed is a row that says so.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.building import check_memory, compiled, cpu_torch, peer
from experiments.benchmarks.harness import Built, Case, Contender, Value
from experiments.benchmarks.suite import Axis, Suite, Target
from oasjax.ops.sinkhorn import cosine_cost, sinkhorn_loss

EPSILON = 0.1
SEED = 0
# Beyond this many sweeps a loop in Python takes minutes to compile.
LONGEST_PYTHON_LOOP = 50

# Where contenders are measured that tell little more than their neighbours: the whole grid of all of them
# would take twice as long, most of it compilation.
ANYWHERE: Mapping[str, Value] = {}
AT_ONE_BATCH = {"batch": 8}
AT_ONE_BATCH_AND_R = {"batch": 8, "iterations": 5}

Loss = Callable[[jax.Array, jax.Array, int], jax.Array]


def features(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Rectified noise, and a noisy copy of it: the channels of a clean and of an occluded branch."""
    return _features(case["batch"], case["channels"], case["positions"])


@lru_cache(maxsize=1)
def _features(batch: int, channels: int, positions: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(SEED)
    x = np.maximum(random.normal(size=(batch, channels, positions)), 0)
    y = np.maximum(x + 0.3 * random.normal(size=x.shape), 0)
    return x.astype(np.float32), y.astype(np.float32)


def _outputs(result: tuple[Any, Any]) -> dict[str, np.ndarray]:
    """Of (loss, gradients of x and of y)."""
    loss, gradients = result
    return {"loss": np.asarray(loss), "gradient": np.stack([np.asarray(g) for g in gradients])}


def _jax_contender(
    name: str, what: str, loss: Loss, peers: Sequence[str] = (), only: Mapping[str, Value] = ANYWHERE
) -> Contender:
    def build(case: Case) -> Built:
        for module in peers:  # before the clock of the compilation starts
            _peer(module)
        x, y = (jnp.asarray(each) for each in features(case))
        program = jax.jit(jax.value_and_grad(partial(loss, num_iters=case["iterations"]), argnums=(0, 1)))
        call, seconds, temp_bytes = compiled(program, x, y)
        return Built(lambda: jax.block_until_ready(call(x, y)), _outputs, seconds, temp_bytes)

    return Contender(name, build, what, only)


def _ours(x: jax.Array, y: jax.Array, num_iters: int, **options: Any) -> jax.Array:
    return jnp.mean(sinkhorn_loss(x, y, epsilon=EPSILON, num_iters=num_iters, **options))


def _sweeps(sweep: Callable[[jax.Array], tuple[jax.Array, jax.Array]], b: jax.Array, num_iters: int):
    """(b, a) after some sweeps, as one would write it: each takes b and returns the new b and a."""
    if num_iters <= LONGEST_PYTHON_LOOP:
        for _ in range(num_iters):
            b, a = sweep(b)
        return b, a
    return jax.lax.scan(lambda state, _: (sweep(state[0]), None), sweep(b), length=num_iters - 1)[0]


def naive_plain(x: jax.Array, y: jax.Array, num_iters: int) -> jax.Array:
    """Algorithm 1 as printed, with weights of 1/C."""
    cost = cosine_cost(x, y)
    kernel = jnp.exp(-cost / EPSILON)
    weight = 1 / cost.shape[-1]

    def sweep(b: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = weight / jnp.einsum("bcd,bc->bd", kernel, b)
        return weight / jnp.einsum("bcd,bd->bc", kernel, a), a

    b, a = _sweeps(sweep, jnp.full(cost.shape[:2], weight, cost.dtype), num_iters)
    return jnp.mean(jnp.sum(b[:, :, None] * kernel * a[:, None, :] * cost, axis=(1, 2)))


def naive_log(x: jax.Array, y: jax.Array, num_iters: int) -> jax.Array:
    """The same with the potentials epsilon log b and epsilon log a: safe for every epsilon."""
    cost = cosine_cost(x, y)
    log_weight = -np.log(cost.shape[-1])

    def sweep(f: jax.Array) -> tuple[jax.Array, jax.Array]:
        logsumexp = jax.scipy.special.logsumexp
        g = EPSILON * (log_weight - logsumexp((f[:, :, None] - cost) / EPSILON, axis=1))
        return EPSILON * (log_weight - logsumexp((g[:, None, :] - cost) / EPSILON, axis=2)), g

    f, g = _sweeps(sweep, jnp.zeros(cost.shape[:2], cost.dtype), num_iters)
    plan = jnp.exp((f[:, :, None] + g[:, None, :] - cost) / EPSILON)
    return jnp.mean(jnp.sum(plan * cost, axis=(1, 2)))


def _peer(module: str) -> ModuleType:
    # POT would import TensorFlow if it were installed, only to know its arrays.
    os.environ.setdefault("POT_BACKEND_DISABLE_TENSORFLOW", "1")
    return peer(module)


def ott_plan(cost: jax.Array, solver: Mapping[str, Any]) -> jax.Array:
    """The plan of ott-jax for one image; `solver` are the options of its `Sinkhorn`."""
    geometry = _peer("ott.geometry.geometry").Geometry(cost_matrix=cost, epsilon=EPSILON)
    problem = _peer("ott.problems.linear.linear_problem").LinearProblem(geometry)
    return _peer("ott.solvers.linear.sinkhorn").Sinkhorn(**solver)(problem).matrix


def ott_sweeps(num_iters: int) -> dict[str, Any]:
    """Options for exactly so many sweeps, with one look at the error, after the last."""
    return {
        "threshold": -1.0,
        "min_iterations": num_iters,
        "max_iterations": num_iters,
        "inner_iterations": num_iters,
    }


def _ott(x: jax.Array, y: jax.Array, num_iters: int, *, own_stopping: bool = False, **options: Any):
    solver = options if own_stopping else ott_sweeps(num_iters) | options
    cost = cosine_cost(x, y)
    plan = jax.vmap(lambda cost: ott_plan(cost, solver))(cost)
    return jnp.mean(jnp.sum(plan * cost, axis=(1, 2)))


def _pot_numpy(case: Case) -> Built:
    sinkhorn = _peer("ot").sinkhorn
    x, y = features(case)
    weights = np.full(case["channels"], 1 / case["channels"], np.float32)
    options = {"numItermax": case["iterations"], "stopThr": 0, "warn": False}

    def run() -> float:
        unit_x, unit_y = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (x, y))
        costs = 1 - unit_x @ unit_y.transpose(0, 2, 1)
        return np.mean(
            [np.sum(sinkhorn(weights, weights, cost, EPSILON, **options) * cost) for cost in costs]
        )

    return Built(run, lambda loss: {"loss": np.asarray(loss)})


def _torch_contender(
    name: str, what: str, loss: Callable[[Any, int], Any], matrices_a_sweep: int
) -> Contender:
    """`loss` takes the cost matrices and the number of sweeps.

    Args:
        matrices_a_sweep: how many matrices of the size of the cost a sweep keeps for the backward pass.
    """

    def build(case: Case) -> Built:
        torch = cpu_torch()
        matrix_bytes = 4 * case["batch"] * case["channels"] ** 2
        check_memory(matrices_a_sweep * case["iterations"] * matrix_bytes)
        x, y = (torch.tensor(each, requires_grad=True) for each in features(case))

        def run() -> tuple[Any, Any]:
            unit_x, unit_y = (torch.nn.functional.normalize(each, dim=-1) for each in (x, y))
            value = loss(1 - torch.bmm(unit_x, unit_y.transpose(1, 2)), case["iterations"])
            return value.detach(), torch.autograd.grad(value, (x, y))

        return Built(run, _outputs)

    return Contender(name, build, what)


def _torch_plain(cost: Any, num_iters: int) -> Any:
    """Algorithm 1 as printed, with weights of 1/C."""
    kernel = (-cost / EPSILON).exp()
    transposed = kernel.transpose(1, 2)
    weight = 1 / cost.shape[-1]
    b = cost.new_full((*cost.shape[:2], 1), weight)
    for _ in range(num_iters):
        a = weight / transposed.bmm(b)
        b = weight / kernel.bmm(a)
    return (b * kernel * a.transpose(1, 2) * cost).sum((1, 2)).mean()


def _pot_torch(costs: Any, num_iters: int) -> Any:
    ot = _peer("ot")
    weights = costs.new_full((costs.shape[-1],), 1 / costs.shape[-1])
    options = {"numItermax": num_iters, "stopThr": 0, "warn": False}
    plans = (ot.sinkhorn(weights, weights, cost, EPSILON, **options) for cost in costs)
    return sum((plan * cost).sum() for plan, cost in zip(plans, costs, strict=True)) / len(costs)


def _pot_batch(costs: Any, num_iters: int) -> Any:
    # It renews the rows first and the columns last: transposed, its sweeps are those of Algorithm 1.
    solved = _peer("ot.batch").solve_batch(
        costs.transpose(1, 2), EPSILON, max_iter=num_iters, tol=0, method="sinkhorn", grad="autodiff"
    )
    return solved.value_linear.mean()


_UNROLLED = "through all sweeps"
_STOPPED = "plan held constant"
_IMPLICIT = "implicit"

_OTT = ("ott.geometry.geometry", "ott.problems.linear.linear_problem", "ott.solvers.linear.sinkhorn")
_ott_contender = partial(_jax_contender, peers=_OTT)

CONTENDERS = (
    _jax_contender("ours plain", _UNROLLED, partial(_ours, domain="plain")),
    _jax_contender(
        "ours plain, stop", _STOPPED, partial(_ours, domain="plain", plan_grad="stop"), only=AT_ONE_BATCH
    ),
    _jax_contender(
        "ours plain, implicit",
        _IMPLICIT,
        partial(_ours, domain="plain", plan_grad="implicit"),
        only=AT_ONE_BATCH,
    ),
    _jax_contender("ours log", _UNROLLED, _ours),
    _jax_contender("ours log, stop", _STOPPED, partial(_ours, plan_grad="stop")),
    _jax_contender("ours log, implicit", _IMPLICIT, partial(_ours, plan_grad="implicit")),
    _jax_contender(
        "ours log, debiased", "three plans, another loss", partial(_ours, debias=True), only=AT_ONE_BATCH
    ),
    _jax_contender("naive plain loop", _UNROLLED, naive_plain),
    _jax_contender("naive log loop", _UNROLLED, naive_log),
    _ott_contender("ott", _IMPLICIT, _ott),
    _ott_contender("ott, kernel mode", _IMPLICIT, partial(_ott, lse_mode=False), only=AT_ONE_BATCH),
    _ott_contender(
        "ott, own stopping", "implicit, converged", partial(_ott, own_stopping=True), only=AT_ONE_BATCH_AND_R
    ),
    _ott_contender("ott, unrolled", _UNROLLED, partial(_ott, implicit_diff=None), only=AT_ONE_BATCH),
    Contender("POT numpy", _pot_numpy, "no gradient"),
    _torch_contender("POT torch", _UNROLLED, _pot_torch, matrices_a_sweep=0),
    _torch_contender("POT torch, solve_batch", _UNROLLED, _pot_batch, matrices_a_sweep=2),
    _torch_contender("torch plain loop", _UNROLLED, _torch_plain, matrices_a_sweep=0),
)

HEADLINE: Case = {"channels": 256, "positions": 64, "batch": 8, "iterations": 5}
_target = partial(Target, at=HEADLINE)

SUITE = Suite(
    name="sinkhorn",
    summary="Sinkhorn loss, forward and gradient",
    contenders=CONTENDERS,
    reference="ours plain",
    axes={
        "channels": Axis("C", (32, 48, 256)),
        "positions": Axis("k", (64, 768)),
        "batch": Axis("B", (1, 8, 32)),
        "iterations": Axis("R", (1, 5, 50, 500)),
    },
    panels=("channels", "positions"),
    over="iterations",
    outputs=("loss", "gradient"),
    headline=HEADLINE,
    packages=("oasjax", "jax", "jaxlib", "numpy", "ott-jax", "POT", "torch"),
    seed=SEED,
    targets=(
        _target("ours plain at most 1.1x the naive plain loop", "naive plain loop", at_least=1 / 1.1),
        _target("ours plain at least 3x faster than ott's implicit gradient", "ott", at_least=3.0),
        _target("ours log at most 2.5x ours plain", "ours log", at_most=2.5),
    ),
)

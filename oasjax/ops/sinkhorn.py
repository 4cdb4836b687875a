"""Entropic optimal transport between two sets of feature vectors (OASNet, section 3.3 and Algorithm 1).

Names follow the paper: rows are the points x_i, columns the points y_j; M is the cost, K = exp(-M / epsilon)
the kernel, P the plan; a scales columns, b scales rows, both relative to the weights:

    P = diag(u b) K diag(v a),  u and v the weights of rows and columns, 1/C each in the paper.

Algorithm 1 is written for weights of 1/C inside of a and b; here they stand beside them, so that a point of
weight zero needs no special case. docs/transport.md goes through the algorithm line by line.

**Two domains, one loop.** `plain` scales K itself, as Algorithm 1 does; in float32 K underflows once
M / epsilon passes 87. `log` never does: it scales a kernel exp((F_i + G_j - M_ij) / epsilon) whose
potentials F and G are renewed after every few sweeps. At first they put the largest entry of each row and
column at 1; afterwards they are epsilon log b and epsilon log a. From then on a half-sweep multiplies a row
or column of the plan by a factor between 1/n and n (n points a side), since that row or column of the plan
sums to between 1/n^2 and 1. So in a *window* of few enough sweeps an entry that was flushed to zero at its
start could not have grown to matter at its end: one exponential a window, no maximum inside of the loop, and
no branch. docs/transport.md has the proof, the first sweep included.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy.sparse.linalg
from jaxtyping import Array, Bool, Float

from oasjax.ops.choices import check_choice

DOMAINS = ("log", "plain")
PLAN_GRADS = ("unrolled", "stop", "implicit")
DEAD_ROWS = ("keep", "drop")

# A row shorter than this has no direction: it costs 1 to everything and receives no gradient.
DEAD_NORM = 1e-12
# Sweeps between two renewals of the kernel at most: more would only lengthen the compiled program.
LONGEST_WINDOW = 8


def live_rows(x: Float[Array, "*b c k"]) -> Bool[Array, "*b c"]:
    """Whether a row is longer than DEAD_NORM."""
    return jnp.sum(x * x, axis=-1) > DEAD_NORM**2


def normalize_rows(x: Float[Array, "*b c k"]) -> Float[Array, "*b c k"]:
    """Rows divided by their Euclidean norm; dead rows become zero, with zero gradient.

    The norm is replaced before the division, not after it: `where` alone would let the NaN of the
    untaken branch through in the backward pass.
    """
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    alive = squared > DEAD_NORM**2
    return jnp.where(alive, x * jax.lax.rsqrt(jnp.where(alive, squared, 1.0)), 0.0)


def cosine_cost(x: Float[Array, "*b c k"], y: Float[Array, "*b d k"]) -> Float[Array, "*b c d"]:
    """Cost M_ij = 1 - cos(x_i, y_j), in [0, 2] (Algorithm 1, line 2).

    Computed at the highest matrix precision: an error of M is amplified by 1/epsilon in the plan.
    """
    similarity = jnp.einsum(
        "...ck,...dk->...cd",
        normalize_rows(x),
        normalize_rows(y),
        precision=jax.lax.Precision.HIGHEST,
    )
    return 1.0 - similarity


def sinkhorn_loss(
    x: Float[Array, "*b c k"],
    y: Float[Array, "*b d k"],
    *,
    epsilon: float | Float[Array, ""],
    num_iters: int,
    domain: str = "log",
    plan_grad: str = "unrolled",
    debias: bool = False,
    dead_rows: str = "keep",
) -> Float[Array, "*b"]:
    """Transport cost W_M(x, y) = <M, P> between the rows of x and of y (eq. 10; Algorithm 1), in [0, 2].

    Args:
        x, y: the points, one a row. Inputs of lower precision are raised to float32 first.
        epsilon, num_iters, domain, plan_grad: see `sinkhorn_plan`.
        debias: return W(x, y) - W(x, x) / 2 - W(y, y) / 2, which vanishes for equal sets; W alone is mostly
            blur where epsilon is large beside the costs (Feydy et al., 2019, for these sharp costs).
        dead_rows: 'keep': a dead row has the weight of any other and costs 1 to everything; 'drop': it has
            weight zero, and the live ones share its weight. A set without any live row keeps them all.

    Raises:
        ValueError: see `sinkhorn_plan`; an unknown `dead_rows`.
    """
    check_choice("dead_rows", dead_rows, DEAD_ROWS)
    dtype = jnp.promote_types(jnp.promote_types(x.dtype, y.dtype), jnp.float32)
    x, y = x.astype(dtype), y.astype(dtype)

    def transport_cost(x: Array, y: Array) -> Array:
        cost = cosine_cost(x, y)
        plan = sinkhorn_plan(
            cost,
            epsilon=epsilon,
            num_iters=num_iters,
            row_weights=_live_weights(x) if dead_rows == "drop" else None,
            column_weights=_live_weights(y) if dead_rows == "drop" else None,
            domain=domain,
            plan_grad=plan_grad,
        )
        return jnp.sum(cost * plan, axis=(-2, -1))

    loss = transport_cost(x, y)
    if debias:
        loss = loss - (transport_cost(x, x) + transport_cost(y, y)) / 2
    return loss


def sinkhorn_plan(
    cost: Float[Array, "*b c d"],
    *,
    epsilon: float | Float[Array, ""],
    num_iters: int,
    row_weights: Float[Array, "*b c"] | None = None,
    column_weights: Float[Array, "*b d"] | None = None,
    domain: str = "log",
    plan_grad: str = "unrolled",
) -> Float[Array, "*b c d"]:
    """Transport plan P after `num_iters` sweeps (Algorithm 1, lines 3 to 6).

    A sweep makes the column sums right and then, with the *new* a (Gauss-Seidel), the row sums. At the end
    row sums equal `row_weights` to rounding, column sums approximately (`plan_diagnostics` says how well).

    Args:
        cost: M; any numbers whose rounding is small beside epsilon.
        epsilon: entropic regularisation, in the units of the cost; may be traced (a schedule), and has a
            gradient.
        num_iters: sweeps R.
        row_weights, column_weights: u and v, non-negative with sum 1, default uniform. Zeros are
            allowed, in float32 nothing else below 1e-15. They are constants to the gradient.
        domain: 'log' for every epsilon; 'plain' for max(M) / epsilon below 80 in float32.
        plan_grad: how P depends on M in the backward pass. 'unrolled': through all sweeps, exactly, keeping
            O(C^2 + R C) numbers. 'stop': not at all. 'implicit': as if converged (for large R).

    Raises:
        ValueError: num_iters below 1; an unknown domain or plan_grad.
    """
    check_choice("domain", domain, DOMAINS)
    check_choice("plan_grad", plan_grad, PLAN_GRADS)
    if num_iters < 1:
        raise ValueError(f"num_iters is {num_iters}; it must be at least 1")
    rows, columns = cost.shape[-2:]
    weighted = row_weights is not None or column_weights is not None
    u = jnp.full((rows,), 1 / rows, cost.dtype) if row_weights is None else row_weights
    v = jnp.full((columns,), 1 / columns, cost.dtype) if column_weights is None else column_weights
    # The bound on a half-sweep's factor is that of equal weights; other weights renew with every sweep.
    window = 1 if weighted else longest_window(max(rows, columns), cost.dtype)
    loop = _Loop(num_iters, window, domain == "log", weighted)
    if plan_grad == "stop":
        cost, epsilon = jax.lax.stop_gradient((cost, epsilon))
    solve = _implicit_plan if plan_grad == "implicit" else _unrolled_plan
    solve_all = jnp.vectorize(partial(solve, loop), signature="(c,d),(),(c),(d)->(c,d)")
    return solve_all(cost, jnp.asarray(epsilon, cost.dtype), *jax.lax.stop_gradient((u, v)))


class PlanDiagnostics(NamedTuple):
    """How good a plan is.

    Attributes:
        row_error, column_error: L1 distance of its sums from the weights (at most 2).
        entropy: -sum P log P in nats; log C for a permutation, log C D for independence.
    """

    row_error: Float[Array, "*b"]
    column_error: Float[Array, "*b"]
    entropy: Float[Array, "*b"]


def plan_diagnostics(
    plan: Float[Array, "*b c d"],
    row_weights: Float[Array, "*b c"] | None = None,
    column_weights: Float[Array, "*b d"] | None = None,
) -> PlanDiagnostics:
    """Marginal errors and entropy of a plan; weights as for `sinkhorn_plan`."""
    rows, columns = plan.shape[-2:]
    u = 1 / rows if row_weights is None else row_weights
    v = 1 / columns if column_weights is None else column_weights
    return PlanDiagnostics(
        row_error=jnp.abs(plan.sum(-1) - u).sum(-1),
        column_error=jnp.abs(plan.sum(-2) - v).sum(-1),
        entropy=jax.scipy.special.entr(plan).sum((-2, -1)),
    )


def _live_weights(x: Float[Array, "*b c k"]) -> Float[Array, "*b c"]:
    alive = live_rows(x)
    alive = (alive | ~alive.any(-1, keepdims=True)).astype(x.dtype)
    return alive / alive.sum(-1, keepdims=True)


# One problem, without batch dimensions, from here on.


class _Loop(NamedTuple):
    """What is known when the loop is compiled; `window` counts sweeps."""

    num_iters: int
    window: int
    log: bool
    weighted: bool


class _Potentials(NamedTuple):
    """epsilon log b and epsilon log a, in the units of the cost."""

    rows: Float[Array, "*n c"]
    columns: Float[Array, "*n d"]


class _Window(NamedTuple):
    """A kernel relative to potentials, and the scalings of a few sweeps, `b` before the first included."""

    base: _Potentials
    kernel: Float[Array, "c d"]
    b: Float[Array, "n+1 c"]
    a: Float[Array, "n d"]


class _Trace(NamedTuple):
    """What the backward pass needs of the forward one: O(C^2) numbers and two vectors for each window.

    Attributes:
        first: potentials that the first window's kernel is relative to.
        ends: potentials at the end of each window but the last; the backward pass runs those windows again.
        last: the last window.
    """

    cost: Float[Array, "c d"]
    epsilon: Float[Array, ""]
    u: Float[Array, "c"]
    v: Float[Array, "d"]
    first: _Potentials
    ends: _Potentials
    last: _Window


def longest_window(points: int, dtype: jnp.dtype) -> int:
    """Sweeps in which a flushed entry cannot come to matter (see the top of this file).

    It starts below the smallest normal number, gains at most log2(points) bits in a half-sweep, and must
    stay a rounding error beside the smallest sum, points^-2.
    """
    bits = math.log2(max(points, 2))
    spare = -jnp.finfo(dtype).minexp - jnp.finfo(dtype).nmant - 2 * bits
    return max(1, min(LONGEST_WINDOW, int(spare / (2 * bits))))


def _first_potentials(
    loop: _Loop, cost: Float[Array, "c d"], u: Float[Array, "c"], v: Float[Array, "d"]
) -> _Potentials:
    """Potentials of the first kernel: the largest entry of each row and column becomes 1."""
    if not loop.weighted:
        columns = jnp.min(cost, axis=0)
        return _Potentials(jnp.min(cost - columns, axis=1), columns)
    columns = jnp.where(v > 0, jnp.min(jnp.where(u[:, None] > 0, cost, jnp.inf), axis=0), 0.0)
    rows = jnp.where(u > 0, jnp.min(jnp.where(v > 0, cost - columns, jnp.inf), axis=1), 0.0)
    return _Potentials(rows, columns)


def _kernel(
    loop: _Loop,
    cost: Float[Array, "c d"],
    epsilon: Float[Array, ""],
    u: Float[Array, "c"],
    v: Float[Array, "d"],
    base: _Potentials,
) -> Float[Array, "c d"]:
    """Algorithm 1, line 4, relative to the potentials `base`."""
    exponent = base.rows[:, None] + base.columns - cost
    if loop.weighted:
        # The bounds hold for points that have weight; the entries of the others are multiplied by zero.
        exponent = jnp.where((u[:, None] > 0) & (v > 0), exponent, 0.0)
    return jnp.exp(exponent / epsilon)


# In float32 throughout, also where the hardware would rather round the factors.
_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


def _run_window(
    loop: _Loop,
    problem: tuple[Array, Array, Array, Array],
    base: _Potentials,
    start: Float[Array, "c"],
    sweeps: int,
) -> _Window:
    """Algorithm 1, line 5, some sweeps from the potentials `start` of the rows on."""
    cost, epsilon, u, v = problem
    # Any base will do: nothing but rounding depends on it.
    base = jax.lax.stop_gradient(base) if loop.log else _Potentials(jnp.zeros_like(u), jnp.zeros_like(v))
    kernel = _kernel(loop, cost, epsilon, u, v, base)
    b, a = [jnp.exp((start - base.rows) / epsilon)], []
    for _ in range(sweeps):
        a.append(1 / _product(u * b[-1], kernel))
        b.append(1 / _product(kernel, v * a[-1]))
    return _Window(base, kernel, jnp.stack(b), jnp.stack(a))


def _forward(loop: _Loop, cost: Array, epsilon: Array, u: Array, v: Array) -> tuple[Array, _Trace]:
    """Algorithm 1, lines 3 to 6."""
    problem = (cost, epsilon, u, v)

    def whole_window(
        carry: tuple[_Potentials, Array], _: None
    ) -> tuple[tuple[_Potentials, Array], _Potentials]:
        window = _run_window(loop, problem, *carry, loop.window)
        end = _Potentials(
            window.base.rows + epsilon * jnp.log(window.b[-1]),
            window.base.columns + epsilon * jnp.log(window.a[-1]),
        )
        return (end, end.rows), end

    whole_windows, last_sweeps = _split(loop)
    first = _first_potentials(loop, cost, u, v)
    (base, start), ends = jax.lax.scan(whole_window, (first, jnp.zeros_like(u)), length=whole_windows)
    last = _run_window(loop, problem, base, start, last_sweeps)
    return _scaled(last, u, v), _Trace(*problem, first, ends, last)


def _split(loop: _Loop) -> tuple[int, int]:
    """How many whole windows, and sweeps in the last window, which is never empty."""
    whole_windows = (loop.num_iters - 1) // loop.window
    return whole_windows, loop.num_iters - whole_windows * loop.window


def _scaled(window: _Window, u: Float[Array, "c"], v: Float[Array, "d"]) -> Float[Array, "c d"]:
    """Algorithm 1, line 6: the plan at the end of a window."""
    return (u * window.b[-1])[:, None] * window.kernel * (v * window.a[-1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unrolled_plan(loop: _Loop, cost: Array, epsilon: Array, u: Array, v: Array) -> Array:
    return _forward(loop, cost, epsilon, u, v)[0]


def _unrolled_backward(loop: _Loop, trace: _Trace, plan_bar: Array) -> tuple[Array, Array, Array, Array]:
    """Reverse mode through all sweeps.

    With S_ij = u_i b_i K_ij a_j of the b before a sweep, whose columns sum to 1, and Q_ij = b_i K_ij v_j a_j
    after it, whose rows do:  d log a = -S^T (d log b + d log K),  d log b = -Q (d log a + d log K). So each
    half-sweep adds one product of two vectors to the gradient of log K: those of a window are one product
    of two thin matrices.
    """
    cost, epsilon, u, v, first, ends, last = trace
    problem = (cost, epsilon, u, v)

    def through(window: _Window, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Gradients by log K, log b and log a, from the end of a window to its start."""
        log_kernel_bar, log_b_bar, log_a_bar = carry
        _, kernel, b, a = window
        left, right = [], []
        for r in reversed(range(len(a))):
            row = log_b_bar * b[r + 1]
            left.append(row)
            right.append(v * a[r])
            column = (log_a_bar - v * a[r] * _product(row, kernel)) * a[r]
            left.append(u * b[r])
            right.append(column)
            log_b_bar = -u * b[r] * _product(kernel, column)
            log_a_bar = jnp.zeros_like(log_a_bar)
        pairs = _product(jnp.stack(left, 1), jnp.stack(right))
        return log_kernel_bar - kernel * pairs, log_b_bar, log_a_bar

    whole_windows, _ = _split(loop)

    def through_whole_window(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        w = whole_windows - 1 - i
        before = jax.tree.map(lambda end: end[w - 1], ends)
        base = jax.tree.map(lambda a, b: jnp.where(w == 0, a, b), first, before)
        start = jnp.where(w == 0, 0.0, before.rows)
        return through(_run_window(loop, problem, base, start, loop.window), carry)

    log_kernel_bar = _scaled(last, u, v) * plan_bar
    carry = through(last, (log_kernel_bar, log_kernel_bar.sum(1), log_kernel_bar.sum(0)))
    if whole_windows:
        carry = jax.lax.fori_loop(0, whole_windows, through_whole_window, carry)
    return *_cost_and_epsilon_bar(cost, epsilon, carry[0]), jnp.zeros_like(u), jnp.zeros_like(v)


def _cost_and_epsilon_bar(cost: Array, epsilon: Array, log_kernel_bar: Array) -> tuple[Array, Array]:
    """Gradients of M and epsilon from that of log K = -M / epsilon."""
    return -log_kernel_bar / epsilon, jnp.sum(log_kernel_bar * cost) / epsilon**2


_unrolled_plan.defvjp(_forward, _unrolled_backward)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _implicit_plan(loop: _Loop, cost: Array, epsilon: Array, u: Array, v: Array) -> Array:
    return _forward(loop, cost, epsilon, u, v)[0]


def _implicit_forward(
    loop: _Loop, cost: Array, epsilon: Array, u: Array, v: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    plan, _ = _forward(loop, cost, epsilon, u, v)
    return plan, (cost, epsilon, plan)


def _implicit_backward(
    loop: _Loop, saved: tuple[Array, Array, Array], plan_bar: Array
) -> tuple[Array, Array, Array, Array]:
    """Gradient of the plan that meets both marginals, by the implicit function theorem.

    The sums r and c of P stay what they are: [[diag(r), P], [P^T, diag(c)]] (d log b, d log a) equals minus
    the sums of P d log K. The adjoint system is solved for the columns, scaled to singular values of at
    most 1; the direction (1, -1), which changes no plan, is deflated.
    """
    cost, epsilon, plan = saved
    r, c = plan.sum(1), plan.sum(0)
    inverse_r = jnp.where(r > 0, 1 / jnp.where(r > 0, r, 1.0), 0.0)
    inverse_root_c = jnp.where(c > 0, jax.lax.rsqrt(jnp.where(c > 0, c, 1.0)), 0.0)
    null = jnp.sqrt(c / c.sum())

    def schur(z: Array) -> Array:
        reduced = _product(inverse_r * _product(plan, inverse_root_c * z), plan)
        return z - inverse_root_c * reduced + null * jnp.dot(null, z)

    log_kernel_bar = plan * plan_bar
    row_bar, column_bar = log_kernel_bar.sum(1), log_kernel_bar.sum(0)
    rhs = inverse_root_c * (column_bar - _product(inverse_r * row_bar, plan))
    tolerance = 4 * float(jnp.finfo(plan.dtype).eps)
    solution, _ = jax.scipy.sparse.linalg.cg(schur, rhs, tol=tolerance, maxiter=len(c))
    column = inverse_root_c * solution
    row = inverse_r * (row_bar - _product(plan, column))
    log_kernel_bar = log_kernel_bar - plan * (row[:, None] + column)
    return *_cost_and_epsilon_bar(cost, epsilon, log_kernel_bar), jnp.zeros_like(r), jnp.zeros_like(c)


_implicit_plan.defvjp(_implicit_forward, _implicit_backward)

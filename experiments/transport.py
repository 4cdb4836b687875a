"""The transport loss: what it can overfit, where its gradient points, how far its bounds hold.

Command: python experiments/transport.py [--out docs/images]
Cost: about a minute on 2 cores of an AMD EPYC, no accelerator.

Prints the tables of docs/transport.md and writes its figures, transport_overfit.png and
transport_alignment.png. Float32, as in training.
"""

import argparse
import os
import string
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Int
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

from oasjax.models.critic import Critic
from oasjax.ops.sinkhorn import cosine_cost, longest_window, sinkhorn_loss, sinkhorn_plan

FOLDER = Path(__file__).parents[1] / "docs" / "images"
VARIANTS: dict[str, dict[str, Any]] = {
    "plain, unrolled": {"plan_grad": "unrolled", "debias": False},
    "plain, stopped": {"plan_grad": "stop", "debias": False},
    "debiased, unrolled": {"plan_grad": "unrolled", "debias": True},
    "debiased, stopped": {"plan_grad": "stop", "debias": True},
}
SEEDS = range(5)
PAPER = {"epsilon": 0.1, "num_iters": 5}


def mean_and_spread(values: Sequence[float] | np.ndarray, digits: int) -> str:
    """Mean and standard deviation over seeds."""
    # Adding zero turns -0 into 0.
    mean, spread = np.round([np.mean(values), np.std(values, ddof=1)], digits) + 0.0
    return f"{mean:.{digits}f} ± {spread:.{digits}f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# The overfit demonstration


class Overfit(NamedTuple):
    """Points y that followed the gradient of one loss, from one start for each seed.

    Attributes:
        losses: before each step and after the last.
        points: y at every step that was recorded.
        steps: numbers of those.
    """

    losses: Float[np.ndarray, "seeds steps+1"]
    points: Float32[np.ndarray, "seeds records c k"]
    steps: Int[np.ndarray, "records"]


class Pairing(NamedTuple):
    """The cheapest pairing of x's rows with y's, one to one."""

    match: Int[np.ndarray, "c"]
    cost: Float[np.ndarray, "c"]


def letters(text: str, size: int) -> Float32[np.ndarray, "c k"]:
    """One picture of size x size, white on black, a row, for each letter."""
    return np.stack([_letter(character, size).ravel() for character in text])


def _letter(character: str, size: int) -> Float32[np.ndarray, "h w"]:
    style = {"fontFace": cv2.FONT_HERSHEY_DUPLEX, "fontScale": 4.0, "thickness": 12}
    (width, height), _ = cv2.getTextSize(character, **style)
    canvas = np.zeros((128, 128), np.uint8)
    origin = (128 - width) // 2, (128 + height) // 2
    cv2.putText(canvas, character, origin, color=255, lineType=cv2.LINE_AA, **style)
    return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def uniform_noise(shape: tuple[int, ...], seeds: Sequence[int]) -> Float32[np.ndarray, "seeds ..."]:
    return np.stack([np.random.default_rng(seed).random(shape, np.float32) for seed in seeds])


def overfit(
    x: Float32[np.ndarray, "c k"],
    start: Float32[np.ndarray, "seeds c k"],
    *,
    num_steps: int,
    record_every: int,
    learning_rate: float = 0.03,
    **options: Any,
) -> Overfit:
    """Minimises the loss over y with Adam (cosine decay); x stays as it is.

    Args:
        start: y before the first step.
        num_steps: a multiple of `record_every`.
        options: of `sinkhorn_loss`.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))
    loss = partial(sinkhorn_loss, jnp.asarray(x), **options)

    def step(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], Array]:
        y, state = carry
        value, gradient = jax.value_and_grad(loss)(y)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(y, updates), state), value

    def steps_until_record(carry: tuple[Array, Any], _: None) -> tuple[tuple[Array, Any], Any]:
        carry, values = jax.lax.scan(step, carry, length=record_every)
        return carry, (values, carry[0])

    def run(y: Array) -> tuple[Array, Array]:
        carry = (y, optimizer.init(y))
        (end, _), (values, points) = jax.lax.scan(steps_until_record, carry, length=num_steps // record_every)
        return jnp.append(values.ravel(), loss(end)), jnp.concatenate([y[None], points])

    losses, points = jax.jit(jax.vmap(run))(jnp.asarray(start))
    steps = np.arange(0, num_steps + 1, record_every)
    return Overfit(np.asarray(losses), np.asarray(points), steps)


def pair_rows(x: Float32[np.ndarray, "c k"], y: Float32[np.ndarray, "c k"]) -> Pairing:
    cost = np.asarray(cosine_cost(jnp.asarray(x), jnp.asarray(y)))
    rows, columns = linear_sum_assignment(cost)
    return Pairing(columns, cost[rows, columns])


def assignment_costs(x: Float32[np.ndarray, "c k"], run: Overfit) -> Float[np.ndarray, "seeds records"]:
    """Exact transport cost of each recorded y."""
    return np.asarray([[pair_rows(x, y).cost.mean() for y in points] for points in run.points])


def rows_found(pairing: Pairing, tolerance: float = 1e-3) -> int:
    """Rows of x that a row of y of its own equals but for its length, to a cost of `tolerance`."""
    return int((pairing.cost < tolerance).sum())


OVERFIT_SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {**PAPER, **options} for name, options in VARIANTS.items()},
    "plain, unrolled, epsilon 0.05": {**PAPER, **VARIANTS["plain, unrolled"], "epsilon": 0.05},
    "debiased, unrolled, epsilon 0.5": {**PAPER, **VARIANTS["debiased, unrolled"], "epsilon": 0.5},
    "debiased, unrolled, R 1": {**PAPER, **VARIANTS["debiased, unrolled"], "num_iters": 1},
}


def overfit_table(x: Float32[np.ndarray, "c k"], runs: dict[str, Overfit]) -> str:
    rows = []
    for name, run in runs.items():
        found = [rows_found(pair_rows(x, points[-1])) for points in run.points]
        perfect = sinkhorn_loss(jnp.asarray(x), jnp.asarray(x), **OVERFIT_SETTINGS[name])
        rows.append(
            [
                name,
                mean_and_spread(run.losses[:, 0], 3),
                mean_and_spread(run.losses[:, -1], 4),
                f"{round(float(perfect), 4) + 0.0:.4f}",
                mean_and_spread(assignment_costs(x, run)[:, -1], 4),
                f"{'–'.join(str(n) for n in sorted({min(found), max(found)}))} of {len(x)}",
            ]
        )
    header = ["loss", "at the start", "at the end", "at y = x", "exact cost at the end", "letters found"]
    return markdown(header, rows)


# Where the gradient points


EPSILONS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
CHANNELS = 256


class Pair(NamedTuple):
    """Features of both branches, a channel a row."""

    clean: Float32[np.ndarray, "c k"]
    occluded: Float32[np.ndarray, "c k"]


def smooth_fields(
    random: np.random.Generator, channels: int, size: int, sigma: float
) -> Float[np.ndarray, "c h w"]:
    """White noise after a Gaussian of `sigma` cells on a torus, each field of standard deviation 1."""
    fields = gaussian_filter(random.normal(size=(channels, size, size)), (0, sigma, sigma), mode="wrap")
    return fields / fields.std(axis=(1, 2), keepdims=True)


def relu_features(seed: int, noise: float, *, channels: int, size: int, sigma: float) -> Pair:
    """Smooth fields after a ReLU; in the occluded branch, other such fields times `noise` are added first."""
    random = np.random.default_rng(seed)
    fields, others = (smooth_fields(random, channels, size, sigma) for _ in range(2))
    rows = (np.maximum(f, 0).reshape(channels, -1) for f in (fields, fields + noise * others))
    return Pair(*(row.astype(np.float32) for row in rows))


def after_critic(pair: Pair, seed: int) -> Pair:
    """Both sides after the default critic with its initial weights."""
    channels, cells = pair.clean.shape
    size = round(cells**0.5)
    images = jnp.asarray(np.stack(pair).reshape(2, channels, size, size).transpose(0, 2, 3, 1))
    lowered, _ = jax.jit(Critic().init_with_output)(jax.random.key(seed), images)
    return Pair(*np.asarray(lowered).transpose(0, 3, 1, 2).reshape(2, channels, -1))


def bare_pair(seed: int, noise: float) -> Pair:
    return relu_features(seed, noise, channels=CHANNELS, size=32, sigma=2.0)


def critic_pair(seed: int, noise: float) -> Pair:
    return after_critic(relu_features(seed, noise, channels=CHANNELS, size=64, sigma=4.0), seed)


FEATURES = {
    "256 ReLU maps of 32 x 32": bare_pair,
    "256 ReLU maps of 64 x 64 after a random critic": critic_pair,
}
FIGURE_FEATURES = "256 ReLU maps of 32 x 32"


@partial(jax.jit, static_argnames=("num_iters", "plan_grad", "debias"))
def transport_gradient(x: Array, y: Array, epsilon: Array, **options: Any) -> Array:
    return jax.grad(lambda y: sinkhorn_loss(x, y, epsilon=epsilon, **options))(y)


@jax.jit
def pairwise_gradient(x: Array, y: Array) -> Array:
    """Gradient of the mean cost between row i of x and row i of y: the pairing that is true."""
    return jax.grad(lambda y: jnp.mean(jnp.diagonal(cosine_cost(x, y))))(y)


def cosine_between(a: Array, b: Array) -> float:
    return float(jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b)))


def alignment(pair: Pair, epsilon: float, num_iters: int, variant: str) -> float:
    """Cosine between the loss's gradient by y and that of the true pairs' mean cost."""
    x, y = map(jnp.asarray, pair)
    gradient = transport_gradient(
        x, y, jnp.asarray(epsilon, x.dtype), num_iters=num_iters, **VARIANTS[variant]
    )
    return cosine_between(gradient, pairwise_gradient(x, y))


def alignments(
    pairs: Sequence[Pair], epsilons: Sequence[float], num_iters: int
) -> dict[str, Float[np.ndarray, "seeds epsilons"]]:
    """`alignment` by variant."""
    return {
        variant: np.asarray([[alignment(pair, e, num_iters, variant) for e in epsilons] for pair in pairs])
        for variant in VARIANTS
    }


def alignment_table(found: dict[str, np.ndarray], epsilons: Sequence[float]) -> str:
    rows = [
        [f"{epsilon:g}", *(mean_and_spread(values[:, i], 3) for values in found.values())]
        for i, epsilon in enumerate(epsilons)
    ]
    return markdown(["epsilon", *found], rows)


def bias_table(pairs: Sequence[Pair], epsilons: Sequence[float], num_iters: int) -> str:
    """What the loss is at the right answer, at this pair, and what the exact optimum is."""
    loss = jax.jit(partial(sinkhorn_loss, num_iters=num_iters), static_argnames="debias")
    on_device = [tuple(map(jnp.asarray, pair)) for pair in pairs]
    rows = []
    for e in epsilons:
        equal = [float(loss(x, x, epsilon=e)) for x, _ in on_device]
        plain, debiased = ([float(loss(*p, epsilon=e, debias=d)) for p in on_device] for d in (False, True))
        rows.append([f"{e:g}", *(mean_and_spread(column, 4) for column in (equal, plain, debiased))])
    pairings = [pair_rows(*pair) for pair in pairs]
    exact = mean_and_spread([pairing.cost.mean() for pairing in pairings], 4)
    right = np.mean([pairing.match == np.arange(len(pairing.match)) for pairing in pairings])
    table = markdown(["epsilon", "W(x, x)", "W(x, y)", "debiased"], rows)
    return f"{table}\n\nexact: {exact}, which pairs {100 * right:.1f} % of the rows truly\n"


# The loop itself


def literal_plan(cost: Float[np.ndarray, "c c"], epsilon: float, num_iters: int) -> Float[np.ndarray, "c c"]:
    """Algorithm 1 as printed: both halves of a sweep from the old vectors, and a^0 like b^0."""
    kernel = np.exp(-cost / epsilon)
    weights = np.full(len(cost), 1 / len(cost))
    a = b = weights
    for _ in range(num_iters):
        a, b = weights / (kernel.T @ b), weights / (kernel @ a)
    return b[:, None] * kernel * a


def mass_table(cost: Float[np.ndarray, "c c"], iterations: Sequence[int]) -> str:
    """Sum of the plan, which should be 1."""
    rows = []
    for num_iters in iterations:
        ours = sinkhorn_plan(jnp.asarray(cost), epsilon=PAPER["epsilon"], num_iters=num_iters)
        literal = literal_plan(cost.astype(np.float64), PAPER["epsilon"], num_iters)
        rows.append([str(num_iters), f"{literal.sum():.3g}", f"{float(ours.sum()):.6f}"])
    return markdown(["R", "mass, as printed", "mass, new a in the second half"], rows)


def star_cost(points: int, cost: float) -> Float[np.ndarray, "n n"]:
    """The first column and the last row cost nothing, all else `cost`.

    All rows but one lead to one column, and all columns but one to one row; what cannot be carried there
    makes each other entry grow by a factor of almost points^2 with each sweep: the worst case.
    """
    matrix = np.full((points, points), cost)
    matrix[:, 0] = matrix[-1] = 0.0
    return matrix


def windowed_plan(
    cost: Float[np.ndarray, "n n"], num_iters: int, window: int, smallest: float
) -> Float[np.ndarray, "n n"]:
    """The log domain's loop in float64 with epsilon 1; kernel entries below `smallest` count as zero."""
    points = len(cost)
    columns = cost.min(axis=0)
    rows = (cost - columns).min(axis=1)
    b = np.exp(-rows)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        for done in range(0, num_iters, window):
            kernel = np.exp(rows[:, None] + columns - cost)
            kernel[kernel < smallest] = 0.0
            for _ in range(min(window, num_iters - done)):
                a = points / (kernel.T @ b)
                b = points / (kernel @ a)
            plan = b[:, None] * kernel * a / points**2
            rows, columns, b = rows + np.log(b), columns + np.log(a), np.ones(points)
    return plan


def flush_error(points: int, window: int, costs: Sequence[float], smallest: float = 2.0**-126) -> float:
    """Largest error of a plan's entry, in units of 1/points, for which flushed entries are to blame."""
    errors = [
        np.abs(
            windowed_plan(star_cost(points, cost), num_iters, window, smallest)
            - windowed_plan(star_cost(points, cost), num_iters, window, 0.0)
        ).max()
        for cost in costs
        for num_iters in (window, 2 * window + 1)
    ]
    return points * float(np.nan_to_num(np.max(errors), nan=1.0))


def window_table(sizes: Sequence[int], further: Sequence[int], costs: Sequence[float]) -> str:
    rows = []
    for points in sizes:
        chosen = longest_window(points, np.dtype(np.float32))
        errors = [f"{flush_error(points, chosen + more, costs):.0e}" for more in further]
        rows.append([str(points), str(chosen), *errors])
    header = ["points", "window", *(f"error at window + {more}" if more else "error" for more in further)]
    return markdown(header, rows)


def relative_error(a: Array, b: Array) -> float:
    return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))


def implicit_table(pair: Pair, epsilons: Sequence[float], iterations: Sequence[int]) -> str:
    """How far the implicit gradient after R sweeps is from that through all of these sweeps (float64)."""
    with jax.enable_x64(True):
        x, y = (jnp.asarray(side, jnp.float64) for side in pair)

        def gradient(epsilon: float, num_iters: int, plan_grad: str) -> Array:
            return transport_gradient(
                x, y, jnp.asarray(epsilon), num_iters=num_iters, plan_grad=plan_grad, debias=False
            )

        rows = []
        for R in iterations:
            errors = [
                relative_error(gradient(e, R, "implicit"), gradient(e, R, "unrolled")) for e in epsilons
            ]
            rows.append([str(R), *(f"{error:.0e}" for error in errors)])
    return markdown(["R", *(f"epsilon {epsilon:g}" for epsilon in epsilons)], rows)


# Figures


INK, FAINT = "#333333", "#999999"
STYLES: dict[str, dict[str, Any]] = {
    "plain, unrolled": {"color": "#c8643c", "linestyle": "-", "marker": "o"},
    "plain, stopped": {"color": "#c8643c", "linestyle": "--", "marker": "s"},
    "debiased, unrolled": {"color": "#2b6c99", "linestyle": "-", "marker": "o"},
    "debiased, stopped": {"color": "#2b6c99", "linestyle": "--", "marker": "s"},
}


def write(figure: Figure, path: Path) -> None:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(picture).quantize(64).save(path, optimize=True)


def tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color="#e5e5e5", linewidth=0.7)
    axes.set_axisbelow(True)


def strip(points: Float[np.ndarray, "c k"]) -> Float[np.ndarray, "h w"]:
    """Rows as pictures side by side, dark on white, each as strong as its largest value."""
    size = round(points.shape[1] ** 0.5)
    framed = np.ones((len(points), size + 2, size + 2))
    framed[:, 1:-1, 1:-1] = 1 - np.clip(points / points.max(axis=1, keepdims=True), 0, 1).reshape(
        -1, size, size
    )
    return np.concatenate(framed, axis=1)


def draw_strips(
    figure: Figure, x: Float[np.ndarray, "c k"], runs: dict[str, Overfit], top: float, bottom: float
) -> None:
    first = runs["plain, unrolled"]
    found = {
        name: runs[name].points[0, -1] for name in ("plain, stopped", "plain, unrolled", "debiased, unrolled")
    }
    shown = [("x, held fixed", x), ("y at the start", first.points[0, 0])]
    shown += [(f"y found:\n{name}", y[pair_rows(x, y).match]) for name, y in found.items()]
    height = (top - bottom) / len(shown)
    for number, (label, points) in enumerate(shown):
        axes = figure.add_axes((0.155, top - (number + 1) * height, 0.83, height * 0.92))
        axes.imshow(strip(points), cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_xticks([]), axes.set_yticks([])
        colour = STYLES[label.partition("\n")[2]]["color"] if "\n" in label else INK
        for spine in axes.spines.values():
            spine.set_color(colour if "\n" in label else FAINT)
        axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9.5, color=colour, labelpad=6)
    size = x.shape[1] ** 0.5 + 2
    match = pair_rows(x, found["debiased, unrolled"]).match
    axes.set_xticks([(n + 0.5) * size for n in range(len(x))], [str(row + 1) for row in match])
    axes.tick_params(axis="x", length=0, labelsize=8.5, colors=INK, pad=2)
    axes.set_xlabel("row of y that became this letter", fontsize=9, color=INK, labelpad=2)


def draw_overfit(x: Float[np.ndarray, "c k"], runs: dict[str, Overfit]) -> Figure:
    """Pictures of what was found above; exact cost and loss by step below (first seed)."""
    figure = Figure(figsize=(9.4, 6.6), dpi=100)
    draw_strips(figure, x, runs, top=0.985, bottom=0.5)
    left, right = figure.add_axes((0.075, 0.085, 0.40, 0.28)), figure.add_axes((0.575, 0.085, 0.40, 0.28))
    for name in ("plain, stopped", "plain, unrolled", "debiased, unrolled"):
        run, style = runs[name], {**STYLES[name], "marker": "", "linewidth": 1.8}
        left.plot(run.steps, assignment_costs(x, run)[0], label=name, **style)
        right.plot(np.arange(run.losses.shape[1]), run.losses[0], label=name, **style)
    perfect = float(sinkhorn_loss(jnp.asarray(x), jnp.asarray(x), **PAPER))
    right.axhline(perfect, color=FAINT, linewidth=1, linestyle=":")
    right.text(run.steps[-1], 0.052, "dotted: the plain loss at y = x", ha="right", fontsize=9, color=INK)
    left.set_yscale("log")
    left.set_ylabel("exact assignment cost", fontsize=9.5)
    left.set_title("How far y is from a permutation of x", fontsize=10, loc="left", color=INK)
    right.set_ylabel("the loss that is minimised", fontsize=9.5)
    right.set_title("The plain loss prefers blur to the right answer", fontsize=10, loc="left", color=INK)
    right.set_ylim(-0.02, 0.32)
    for axes in (left, right):
        tidy(axes)
        axes.set_xlabel("step of Adam", fontsize=9.5)
    right.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def draw_alignment(found: dict[float, dict[int, dict[str, np.ndarray]]], epsilons: Sequence[float]) -> Figure:
    """One panel for each strength of noise: mean over seeds, band of a standard deviation."""
    figure = Figure(figsize=(9.4, 3.9), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (noise, by_iterations) in zip(panels, found.items(), strict=True):
        for name, values in by_iterations[PAPER["num_iters"]].items():
            mean, spread = values.mean(0), values.std(0, ddof=1)
            axes.plot(epsilons, mean, label=name, linewidth=1.8, markersize=4.5, **STYLES[name])
            axes.fill_between(epsilons, mean - spread, mean + spread, color=STYLES[name]["color"], alpha=0.15)
        axes.axvline(PAPER["epsilon"], color=FAINT, linewidth=1, linestyle=":")
        axes.text(PAPER["epsilon"] * 0.96, -0.03, "the paper's epsilon", rotation=90, fontsize=8.5, color=INK)
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.set_xticks(epsilons, [f"{e:g}" for e in epsilons])
        axes.minorticks_off()
        axes.set_ylim(-0.06, 1.04)
        axes.set_xlabel("epsilon (unit: cosine distance)", fontsize=9.5)
        axes.set_title(f"{100 * noise:.0f} % noise", fontsize=10, loc="left", color=INK)
        tidy(axes)
    panels[0].set_ylabel("cosine with the gradient\nof the true pairs' cost", fontsize=9.5)
    panels[-1].legend(frameon=False, fontsize=9, loc="lower right")
    return figure


# The command


def run_overfit(folder: Path) -> Iterator[str]:
    x = letters(string.ascii_uppercase[:16], size=16)
    start = uniform_noise(x.shape, SEEDS)
    runs = {
        name: overfit(x, start, num_steps=1500, record_every=10, **options)
        for name, options in OVERFIT_SETTINGS.items()
    }
    write(draw_overfit(x, runs), folder / "transport_overfit.png")
    yield "## 16 letters of 16 x 16, y from uniform noise, 1500 steps of Adam; epsilon 0.1, R 5 or as said\n"
    yield overfit_table(x, runs) + "\n"


def run_alignment(folder: Path) -> Iterator[str]:
    for label, pair_of in FEATURES.items():
        found: dict[float, dict[int, dict[str, np.ndarray]]] = {}
        for noise in (0.1, 0.5):
            pairs = [pair_of(seed, noise) for seed in SEEDS]
            found[noise] = {R: alignments(pairs, EPSILONS, R) for R in (5, 50)}
            for num_iters, table in found[noise].items():
                yield f"## {label}: alignment, {100 * noise:.0f} % noise, R {num_iters}\n"
                yield alignment_table(table, EPSILONS) + "\n"
            yield f"## {label}: bias, {100 * noise:.0f} % noise, R 5\n"
            yield bias_table(pairs, EPSILONS, num_iters=5)
        if label == FIGURE_FEATURES:
            write(draw_alignment(found, EPSILONS), folder / "transport_alignment.png")


def run_loop(_: Path) -> Iterator[str]:
    pair = bare_pair(seed=0, noise=0.1)
    cost = np.asarray(cosine_cost(*map(jnp.asarray, pair)))
    yield "## Mass of the plan, 256 ReLU maps of 32 x 32, 10 % noise, epsilon 0.1\n"
    yield mass_table(cost, (1, 2, 3, 4, 5, 6)) + "\n"
    yield "## Entries below 2^-126 flushed: star-shaped costs of 87.5 to 120 epsilon\n"
    yield window_table((32, 256, 1024), (0, 1, 2, 3), (87.5, 90.0, 100.0, 120.0)) + "\n"
    yield "## Implicit gradient against the unrolled one, 256 ReLU maps of 32 x 32, 50 % noise\n"
    yield implicit_table(bare_pair(seed=0, noise=0.5), (0.2, 0.1, 0.05, 0.02), (5, 20, 100, 500)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the figures")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print(
        f"Seeds {list(SEEDS)}, mean ± standard deviation; jax {jax.__version__} on {jax.default_backend()}, "
        f"{os.cpu_count()} cores\n"
    )
    for study in (run_overfit, run_alignment, run_loop):
        for text in study(folder):
            print(text, flush=True)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

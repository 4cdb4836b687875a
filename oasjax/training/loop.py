"""Training and evaluation of a config in a workdir; the story from top to bottom."""

import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from oasjax.datasets.cutouts import read_cutouts
from oasjax.datasets.skeletons import SKELETONS, Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, open_ground_truth, open_source, open_train_batches
from oasjax.input_pipeline.batching import Batch, Source
from oasjax.input_pipeline.crop import CropConfig, MapGrid, crop_config
from oasjax.input_pipeline.mixture import with_joints
from oasjax.training import evaluation
from oasjax.training import workdir as folder
from oasjax.training.checkpoints import Checkpoints
from oasjax.training.config_numbers import check_numbers
from oasjax.training.history import History
from oasjax.training.mesh import data_mesh, replicated, shard_batch
from oasjax.training.metrics_log import MetricsLog
from oasjax.training.optimizers import make_optimizer, make_schedule
from oasjax.training.pictures import people_picture
from oasjax.training.progress import Progress
from oasjax.training.pseudo_labels import with_pseudo_labels
from oasjax.training.scoring import METRICS, Scorer, first_pictures, people_in
from oasjax.training.skeleton import FROM_DATA, with_skeleton
from oasjax.training.state import TrainState, create_train_state, require_divisible
from oasjax.training.step import compile_step, make_eval_step, make_train_step
from oasjax.training.submission import write_predictions
from oasjax.training.tasks import make_task
from oasjax.training.tasks.oasnet import CUTOUTS
from oasjax.weights.pretrained import initialise_from

# `clean` pictures, and the same with fixed occluders `pasted` on them.
TEST_SETS = ("clean", "pasted")
# What the people of a split are for.
PURPOSES = {"train": "to train on", "eval": "to test on", "test": "to predict"}


def print_line(line: str) -> None:
    print(line, flush=True)


@dataclass
class Setup:
    """What a run needs besides its state; built once by `set_up`.

    `sources` are the splits in use, the one to test on last, which `scorer` is about; `config.skeleton` is
    never FROM_DATA.
    """

    config: Any
    task: Any
    mesh: Mesh
    sources: dict[str, Source]
    scorer: Scorer
    train_crop: CropConfig
    eval_crop: CropConfig
    say: Callable[[str], None]
    eval_steps: dict[str, Any] = field(default_factory=dict)

    @property
    def test_source(self) -> Source:
        return list(self.sources.values())[-1]


def set_up(config: Any, say: Callable[[str], None], splits: Sequence[str] = ("train", "eval")) -> Setup:
    """Check the config, open these splits of the data, the one to test on last.

    Raises UserError for what the user can mend. What the test people can be scored by is not checked for
    "test": their annotations may be the server's secret.
    """
    # As far as it can be checked before the data are read, which may take minutes.
    check_numbers(config)
    check_evaluation(config)
    task = None if config.skeleton == FROM_DATA else make_task(config)
    mesh = data_mesh()
    require_divisible(config.train.batch_size, "config.train.batch_size", mesh.size)
    require_divisible(config.eval.batch_size, "config.eval.batch_size", mesh.size)
    say(f"opening {config.data.name} ...")
    sources = {split: open_people(config, split, None if task is None else task.skeleton) for split in splits}
    say(", ".join(f"{len(source)} people {PURPOSES[split]}" for split, source in sources.items()))
    if task is None:
        config = with_skeleton(config, sources[splits[0]].skeleton)
        task = make_task(config)
    for split, source in sources.items():
        if not config.data.train_on:
            require_joints(task.skeleton, source.skeleton, f"the {split} split of {config.data.name}")
    scorer = make_scorer(config, task, sources[splits[-1]], splits[-1])
    sources = {split: with_joints(source, task.skeleton) for split, source in sources.items()}
    if config.data.pseudo_labels and "train" in sources:
        sources["train"] = with_pseudo_labels(sources["train"], config.data, say)
    grid = MapGrid(task.codec.map_size_wh, task.codec.pitch_px, task.codec.first_cell_px)
    return Setup(
        config=config,
        task=task,
        mesh=mesh,
        sources=sources,
        scorer=scorer,
        train_crop=crop_config(
            config.data,
            training=True,
            skeleton=task.skeleton,
            occlusion_grid=grid if config.data.pseudo_labels else None,
        ),
        eval_crop=crop_config(config.data, scales=tuple(config.eval.scales)),
        say=say,
    )


def check_evaluation(config: Any) -> None:
    """Raise UserError for values that no test could work with."""
    for name, choices in (("test_sets", TEST_SETS), ("metrics", METRICS)):
        if not config.eval[name] or set(config.eval[name]) - set(choices):
            raise UserError(
                f"config.eval.{name} is {tuple(config.eval[name])}; choose one or more of {choices}"
            )
    if config.data.eval_split not in ("eval", "train"):
        raise UserError(f"config.data.eval_split is '{config.data.eval_split}'; choose eval or train")
    if "pasted" in config.eval.test_sets and config.eval.patches.max_patches < 1:
        raise UserError("the test set pasted needs patches; set config.eval.patches.max_patches above 0")
    if len(config.eval.scales) > 1 and "pasted" in config.eval.test_sets:
        raise UserError("the test set pasted has crops of one scale; set config.eval.scales to (1.0,)")


def open_people(config: Any, split: str, skeleton: Skeleton | None) -> Source:
    """The people of a split: a mixture with the joints of `skeleton`, all others with their own."""
    if split == "train":
        return open_source(config.data, split, skeleton if config.data.train_on else None)
    data = config.data.copy_and_resolve_references()
    with data.unlocked():
        data.train_on = ()
    return open_source(data, config.data.eval_split if split == "eval" else split)


def make_scorer(config: Any, task: Any, people: Source, split: str) -> Scorer:
    """Scores for the people of a split, by their own joints.

    Raises UserError for metrics that they cannot give, and where the model of `task` lacks some of their
    joints.
    """
    own_split = config.data.eval_split if split == "eval" else split
    ground_truth = open_ground_truth(config.data, own_split)
    if ground_truth and split == "eval" and config.data.eval_size:
        numbers = {int(people[n]["image_number"]) for n in range(len(people))}
        ground_truth = first_pictures(ground_truth, numbers)
    scorer = Scorer(config, task.skeleton, people.skeleton, ground_truth, task.codec.whole_pixels)
    if split == "eval":
        scorer.require_metrics(people)
    return scorer


def require_joints(wanted: Skeleton, given: Skeleton, data: str) -> None:
    """Raise UserError unless the data have the joints that `config.skeleton` says."""
    if wanted.joints == given.joints:
        return
    if wanted.name != given.name:
        raise UserError(
            f"config.skeleton is '{wanted.name}', but {data} has the joints of '{given.name}'; set"
            f" --config.skeleton={given.name if given.name in SKELETONS else FROM_DATA}"
        )
    raise UserError(
        f"{data} has the joints {', '.join(given.joints)}, but those of '{wanted.name}' are"
        f" {', '.join(wanted.joints)}"
    )


@dataclass
class Result:
    """How a call of `train_and_evaluate` ended.

    Attributes:
        signal: number of the signal that ended it early, after saving; 0 when it ran to its end.
        config: as given, with the skeleton of the data where that was left to them.
        metrics: contents of `metrics.json`.
        state: the last state.
        test_rows: predictions and annotations by test set (`evaluation.predict_all`); empty if interrupted.
        test_source: the records that the rows are about, in the same order.
    """

    signal: int
    config: Any
    metrics: dict[str, Any]
    state: TrainState
    test_rows: dict[str, dict[str, np.ndarray]]
    test_source: Source


def train_and_evaluate(
    config: Any,
    workdir: Path,
    *,
    say: Callable[[str], None] = print_line,
) -> Result:
    """Train as `config` says, resuming where `workdir` left off, and evaluate before and after.

    Writes checkpoints, `history.jsonl`, TensorBoard events and `metrics.json`: 'before', 'after' and
    'mean_pose', each {split: {metric: {part: value}}}; the same under 'pasted' where that test set is asked
    for; 'data': statistics of both sets.

    Args:
        config: a locked config.
        workdir: made if need be.
        say: receives lines for the user.

    Raises:
        UserError: something the user can mend.
        NonFiniteLossError: training diverged; the checkpoints before that step stay.
    """
    config = folder.recall_skeleton(workdir, config)
    folder.check_config(workdir, config)
    optimizer = make_optimizer(config.optimizer, config.train.num_steps)
    setup = set_up(config, say)
    config = setup.config
    checkpoints = Checkpoints(workdir, config.log.keep_checkpoints, say)
    metrics = folder.read_metrics(workdir)
    start_step = checkpoints.latest_good()
    # A run that only goes on can do without the pretrained weights that it began with.
    state = first_state(setup, optimizer, pretrained=start_step is None or "before" not in metrics)
    # Only now: a config that cannot work must not be the one that this workdir was begun with.
    folder.open_workdir(workdir, config)

    if "before" not in metrics:
        metrics = measure_start(setup, state)
        folder.write_json(workdir / "metrics.json", metrics)
    if start_step is not None:
        state = checkpoints.restore(start_step, state)
        say(f"resuming from step {start_step}")

    state, caught = train(setup, workdir, state, optimizer, checkpoints)
    if caught:
        say(f"stopped by {signal.Signals(caught).name}; the same command resumes")
        return Result(caught, config, metrics, state, {}, setup.test_source)
    rows = {name: predict_test_set(setup, state, name) for name in config.eval.test_sets}
    metrics = add_scores(workdir, metrics, rows, setup.scorer, config.eval.metrics)
    return Result(0, config, metrics, state, rows, setup.test_source)


def evaluate_latest(
    config: Any,
    workdir: Path,
    *,
    split: str = "eval",
    out: Path | None = None,
    say: Callable[[str], None] = print_line,
) -> dict[str, Any]:
    """Score the latest good checkpoint of a workdir; returns the contents of `metrics.json`.

    Args:
        split: "eval", or "test", whose scores, where it is annotated, stand under 'test'.
        out: a folder for the predictions of the clean pictures, see `submission`; None writes none.

    Raises:
        UserError: something the user can mend, no checkpoint among it.
    """
    config = folder.recall_skeleton(workdir, config)
    folder.check_config(workdir, config)
    checkpoints = Checkpoints(workdir, config.log.keep_checkpoints, say)
    step = checkpoints.latest_good()
    if step is None:
        raise UserError(f"{workdir} holds no checkpoint; train first: oasjax train --workdir {workdir} ...")
    setup = set_up(config, say, (split,))
    optimizer = make_optimizer(config.optimizer, config.train.num_steps)
    state = checkpoints.restore(step, first_state(setup, optimizer, pretrained=False))
    say(f"evaluating step {step}")
    scorer, wanted = setup.scorer, config.eval.test_sets
    test_sets = wanted if out is None else ("clean", *(name for name in wanted if name != "clean"))
    rows = {test_sets[0]: predict_test_set(setup, state, test_sets[0])}
    if out is not None:
        write_predictions(out, scorer, rows["clean"], split, workdir.resolve().name, say)
    people = rows[test_sets[0]]
    reasons = {name: scorer.why_not(name, people_in(people, scorer.scored)) for name in config.eval.metrics}
    for name, reason in reasons.items():
        if reason is not None:
            say(f"no {name} of the {split} split: {reason}")
    possible = [name for name, reason in reasons.items() if reason is None]
    metrics = folder.read_metrics(workdir)
    if not possible:
        return metrics
    rows |= {name: predict_test_set(setup, state, name) for name in test_sets[1:]}
    return add_scores(workdir, metrics, {name: rows[name] for name in wanted}, scorer, possible, split)


def first_state(setup: Setup, optimizer: Any, *, pretrained: bool) -> TrainState:
    """The state at step 0, on every device.

    Args:
        pretrained: with the weights of the folder `config.model.pretrained`, where one is named, and with
            cut-outs to paste; a state that is only to be restored can do without.
    """
    variables = setup.task.init(setup.config.seed, bank_of_cutouts(setup) if pretrained else None)
    weights = setup.config.model.pretrained
    if pretrained and weights:
        variables, random_layers = initialise_from(variables, weights)
        setup.say(f"starting from the weights in {weights}")
        if random_layers:
            setup.say(f"with random weights in {', '.join(random_layers)}")
    return jax.device_put(create_train_state(variables, optimizer), replicated(setup.mesh))


def bank_of_cutouts(setup: Setup) -> np.ndarray | None:
    """What occluders are cut from; None where no cut-outs are pasted."""
    if not setup.task.pastes_cutouts:
        return None
    setup.say("cutting out occluders ...")
    number, size, *_ = CUTOUTS
    where = setup.config.augment.patches.cutouts or setup.sources["train"]
    return read_cutouts(where, number, size, setup.config.seed)


def add_scores(
    workdir: Path,
    metrics: dict[str, Any],
    rows: dict[str, dict[str, np.ndarray]],
    scorer: Scorer,
    names: Sequence[str],
    split: str = "eval",
) -> dict[str, Any]:
    """Score predictions by these metrics and put the scores into `metrics.json` under `after`."""
    for test_set, columns in rows.items():
        section(metrics, test_set, split)["after"] = scorer.score(columns, columns, names)
    folder.write_json(workdir / "metrics.json", metrics)
    return metrics


def section(metrics: dict[str, Any], test_set: str, split: str = "eval") -> dict[str, Any]:
    """Where the scores of a test set stand in `metrics.json`: `clean` on top, `pasted`, `test` by name."""
    parts = ["test"] if split == "test" else []
    parts += [test_set] if test_set != "clean" else []
    return metrics.setdefault("_".join(parts), {}) if parts else metrics


def measure_start(setup: Setup, state: TrainState) -> dict[str, Any]:
    """Scores of the untrained model and of the training mean pose, and statistics of the data."""
    config = setup.config
    training, test = (evaluation.collect_people(setup.sources[split]) for split in ("train", "eval"))
    pose = evaluation.training_mean_pose(training, setup.eval_crop)
    metrics: dict[str, Any] = {
        "data": {"train": evaluation.describe(training), "eval": evaluation.describe(test)}
    }
    for name in config.eval.test_sets:
        rows = predict_test_set(setup, state, name)
        floor = {
            "keypoints": np.broadcast_to(pose, rows["keypoints"].shape),
            "scores": np.ones_like(rows["scores"]),
        }
        section(metrics, name).update(
            before=setup.scorer.score(rows, rows, config.eval.metrics),
            mean_pose=setup.scorer.score(floor, rows, config.eval.metrics),
        )
    return metrics


def train(
    setup: Setup, workdir: Path, state: TrainState, optimizer: Any, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
    """The loop. Returns the last state and the signal that stopped it, after saving (0: none).

    Raises NonFiniteLossError; such a state is never saved.
    """
    config, mesh = setup.config, setup.mesh
    step, num_steps = int(state.step), config.train.num_steps
    if step >= num_steps:
        return state, 0
    with ExitStack() as stack:
        caught = stack.enter_context(caught_signals())
        history = stack.enter_context(closing(History(workdir, start_step=step)))
        batches = stack.enter_context(
            closing(
                open_train_batches(
                    setup.sources["train"],
                    setup.train_crop,
                    config.data.source,
                    seed=config.seed,
                    start_step=step,
                    batch_size=config.train.batch_size,
                    process_index=jax.process_index(),
                    process_count=jax.process_count(),
                )
            )
        )
        batch = shard_batch(mesh, next(batches)[0])
        train_step = compile_step(
            "train_step",
            make_train_step(setup.task, optimizer, config.seed),
            mesh,
            state,
            batch,
            donate=True,
            batched_output=False,
            say=setup.say,
        )
        progress = stack.enter_context(Progress(step, num_steps, config.train.batch_size))
        log = MetricsLog(
            config.log.every, num_steps, make_schedule(config.optimizer, num_steps), progress, history
        )
        pending: dict[str, jax.Array] | None = None
        while step < num_steps and not caught:
            state, values = train_step(state, batch)
            if pending is not None:
                # The device works on the newest step while the host reads the one before.
                log.receive(step, pending)
            pending, step = values, step + 1
            if step < num_steps:
                batch = shard_batch(mesh, next(batches)[0])
            if step % config.log.checkpoint_every == 0 or step == num_steps or caught:
                # First the check, then the save: a state that is not finite is never the latest.
                log.receive(step, pending)
                pending = None
                checkpoints.save(state, {"config": folder.plain(config)})
                rows = predict_test_set(setup, state, config.eval.test_sets[0], num_batches=1)
                history.picture(step, "people", people_picture(rows, setup.task.skeleton))
    return state, caught[0] if caught and step < num_steps else 0


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second SIGINT interrupts as usual."""
    caught: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def predict_test_set(
    setup: Setup, state: TrainState, test_set: str, num_batches: int | None = None
) -> dict[str, np.ndarray]:
    """Predictions and annotations of the test people (of the first batches only), by example_id."""
    config = setup.config
    batches: Iterator[Batch] = open_eval_batches(
        setup.test_source,
        setup.eval_crop,
        config.data.source,
        batch_size=config.eval.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    variables = {"params": state.params, "model_state": state.model_state}
    if test_set not in setup.eval_steps:
        first = next(batches)
        setup.eval_steps[test_set] = compile_step(
            f"eval_step ({test_set})",
            make_eval_step(setup.task, pasted=test_set == "pasted"),
            setup.mesh,
            variables,
            shard_batch(setup.mesh, first[0]),
            donate=False,
            batched_output=True,
            say=setup.say,
        )
        batches = itertools.chain([first], batches)
    return evaluation.predict_all(
        setup.eval_steps[test_set],
        variables,
        itertools.islice(batches, num_batches),
        setup.mesh,
        jax.process_count(),
    )

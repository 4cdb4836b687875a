"""The paper's ablations at small scale: rows of its figures 6a and 6b, several seeds each.

Trains the configs hg2_ROW with a small network on small crops of drawn people, or of LSP-extended, all by our
own conventions, so that rows differ in their switches alone. The last checkpoint is scored, not the best, on
the pictures as they are and with fixed occluders pasted on.

Command: python experiments/ablation.py --rows base base_paste er_paste siam_none l2 ot --seeds 0 1 2
Cost: about an hour on 2 cores of an AMD EPYC for these 18 runs; estimated, the table says what it was.

LSP-extended is read from the folder in the environment variable OASJAX_DATA_DIR.

In --out: results.csv (each score of each run), table.md, scores.png, settings.json, and runs/ROW_seedN, the
workdirs. With --resume runs that are done are not made again, and one that was interrupted goes on.
"""

import argparse
import csv
import json
import math
import runpy
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from ml_collections import ConfigDict

from oasjax import compilation_cache
from oasjax.config_docstrings import read_docstring
from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people import synthetic_arrays
from oasjax.errors import UserError
from oasjax.input_pipeline.arrays_source import save_arrays
from oasjax.published_rows import shrink
from oasjax.training.loop import train_and_evaluate
from oasjax.training.metrics_log import NonFiniteLossError

ROOT = Path(__file__).parents[1]
FLOOR = "(mean pose)"
# The figure that a data set is scored by; both means, over labelled joints and over kinds of joint.
METRICS = {"synthetic_people": "pckh@0.5", "lsp_extended": "pck@0.2"}
MEANS = ("mean", "mean_unweighted")
SPLITS = ("all", "visible", "occluded")


@dataclass(frozen=True)
class Study:
    """What all runs of a study have in common; `settings.json`.

    Attributes:
        data: a key of METRICS.
        num_steps: of each run.
        input_side: of the crop, in pixels.
        features, depth, num_stacks: of the hourglass.
        render_size, train_size, eval_size: of drawn people; LSP-extended is taken whole.
        warmup_steps: of the learning rate; at most a tenth of the run.
        learning_rate: Adam's.
        occlusion_weight: lambda_o. The paper has 1, under which so small a network learns joints less well.
    """

    data: str = "synthetic_people"
    num_steps: int = 5000
    input_side: int = 48
    features: int = 48
    depth: int = 2
    num_stacks: int = 2
    render_size: int = 128
    train_size: int = 8000
    eval_size: int = 1000
    warmup_steps: int = 50
    learning_rate: float = 3e-3
    occlusion_weight: float = 0.1


STUDIES = {
    "synthetic_people": Study(),
    "lsp_extended": Study(
        data="lsp_extended", num_steps=12000, input_side=64, depth=3, num_stacks=1, warmup_steps=200
    ),
}


class Score(NamedTuple):
    """A line of `results.csv`.

    Attributes:
        row: ROW of hg2_ROW, or FLOOR.
        crops_per_step: of all branches; `people_per_step` are the same for all rows but those with a batch of
            their own.
        seconds: that the run took, evaluation included.
        test_set: clean or pasted.
        split: one of SPLITS.
        metric, part: as in `metrics.json`.
        value: in percent; NaN for a run that diverged, and where nothing is to be scored.
    """

    row: str
    seed: int
    num_steps: int
    people_per_step: int
    crops_per_step: int
    seconds: float
    test_set: str
    split: str
    metric: str
    part: str
    value: float


# One run


def config_path(row: str) -> Path:
    return ROOT / "configs" / f"hg2_{row}.py"


def row_names() -> list[str]:
    return sorted(path.stem.removeprefix("hg2_") for path in (ROOT / "configs").glob("hg2_*.py"))


def paper_score(row: str) -> str:
    """As printed in the paper; words where there is no number, "-" where there is nothing."""
    published = read_docstring(config_path(row)).paper
    return published[0].score if published else "-"


def run_folder(out: Path, row: str, seed: int) -> Path:
    """The workdir of one run."""
    return out / "runs" / f"{row}_seed{seed}"


def study_config(row: str, seed: int, study: Study, out: Path) -> ConfigDict:
    """The row's switches on the study's data, network and conventions.

    The teacher of `distill` is the run of `er` with the same seed, which must be there already.
    """
    published = runpy.run_path(str(config_path(row)))["get_config"]()
    config = shrink(
        published,
        input_side=study.input_side,
        features=study.features,
        depth=study.depth,
        num_stacks=study.num_stacks,
    )
    config.seed = seed
    config.data.update(geometry="centre", normalization="imagenet", rotation_deg=0.0, scale_factor=0.0)
    config.target.update(codec="subpixel", sigma_cells=1.0)
    config.eval.batch_size = min(64, study.eval_size)
    config.eval.test_sets = ("clean", "pasted")
    if study.data == "synthetic_people":
        config.data.arrays_path = str(out / "data")
    else:
        config.skeleton = "lsp"
        config.data.update(name=study.data, rotation_deg=20.0, scale_factor=0.2)
        config.target.sigma_cells = 1.5
        config.eval.metrics = ("pck",)
    config.loss.occlusion_weight = study.occlusion_weight
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = study.learning_rate
    config.optimizer.schedule.update(
        name="cosine",
        warmup_steps=min(study.warmup_steps, study.num_steps // 10),
        boundaries=(),
        factor=0.01,
    )
    # 8 people where the row has the usual 16.
    config.train.batch_size = published.train.batch_size // 2
    config.train.num_steps = study.num_steps
    config.log.checkpoint_every = max(study.num_steps // 4, 1)
    config.log.keep_checkpoints = 1
    if row == "distill":
        config.train.teacher = str(run_folder(out, "er", seed))
    return config.lock()


def draw_people(study: Study, folder: Path) -> None:
    """Draw the people once for all runs; those that are tested on come from another seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (split, number) in enumerate({"train": study.train_size, "eval": study.eval_size}.items()):
        path = folder / f"{split}.npz"
        if not path.exists():
            arrays = synthetic_arrays(seed, number, size=study.render_size)
            save_arrays(path.with_suffix(".part"), arrays, MPII)
            path.with_suffix(".part").rename(path)


def run(row: str, seed: int, study: Study, out: Path) -> list[Score]:
    """Train and score one row with one seed, or go on where it was interrupted.

    Raises KeyboardInterrupt where a signal ended the run early; UserError for what the user can mend.
    """
    config = study_config(row, seed, study, out)
    teacher = config.train.teacher
    if teacher and not Path(teacher).exists():
        raise UserError(
            f"{row} learns from the run {Path(teacher).name}, which is not there: name er before it"
        )
    start = time.perf_counter()

    def scores(row: str, sections: dict[str, dict[str, Any]]) -> Iterator[Score]:
        people = config.train.batch_size
        crops = people * (2 if config.train.branches == "siamese" else 1)
        fixed = (row, seed, study.num_steps, people, crops, round(time.perf_counter() - start, 1))
        for test_set, by_split in sections.items():
            for split, by_metric in by_split.items():
                for metric, parts in by_metric.items():
                    for part, value in parts.items():
                        if isinstance(value, int | float | None):
                            number = math.nan if value is None else float(value)
                            yield Score(*fixed, test_set, split, metric, part, number)

    try:
        result = train_and_evaluate(
            config, run_folder(out, row, seed), say=lambda line: print(f"  {line}", flush=True)
        )
    except NonFiniteLossError as error:
        print(f"  diverged: {error}", flush=True)
        return list(scores(row, {"clean": {"all": {METRICS[study.data]: {"mean": None}}}}))
    if result.signal:
        raise KeyboardInterrupt
    sections = {
        name: result.metrics if name == "clean" else result.metrics[name] for name in config.eval.test_sets
    }
    trained = scores(row, {name: section["after"] for name, section in sections.items()})
    floor = scores(FLOOR, {name: section["mean_pose"] for name, section in sections.items()})
    return [*trained, *floor]


# All runs


def read_results(path: Path) -> list[Score]:
    """Empty where there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Score(*(kind(line[name]) for name, kind in Score.__annotations__.items()))
            for line in csv.DictReader(file)
        ]


def write_results(path: Path, scores: Iterable[Score]) -> None:
    """Written beside and renamed: what is there is always whole."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Score._fields)
        writer.writerows(scores)
    part.rename(path)


def open_folder(out: Path, study: Study, resume: bool) -> list[Score]:
    """What is done already. Raises UserError for results that are in the way, or of another study."""
    settings, results = out / "settings.json", out / "results.csv"
    wanted = asdict(study)
    if settings.exists():
        if not resume:
            raise UserError(f"{out} holds a study: go on with --resume, or choose another --out")
        if json.loads(settings.read_text()) != wanted:
            raise UserError(f"{settings} is of another study than {wanted}; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(wanted, indent=2) + "\n")
    return read_results(results)


def run_study(study: Study, rows: Sequence[str], seeds: Sequence[int], out: Path, *, resume: bool) -> str:
    """Make the runs that are not done, seed by seed, and return the table of these rows.

    Seed by seed, so that an early end leaves all rows with as many seeds.
    """
    scores = open_folder(out, study, resume)
    if study.data == "synthetic_people":
        draw_people(study, out / "data")
    for seed in seeds:
        for row in rows:
            if any((each.row, each.seed) == (row, seed) for each in scores):
                continue
            print(f"{row}, seed {seed}", flush=True)
            found = run(row, seed, study, out)
            known = {(each.row, each.seed) for each in scores}
            scores += [each for each in found if (each.row, each.seed) not in known]
            write_results(out / "results.csv", scores)
    text = table(scores, rows, seeds, METRICS[study.data])
    (out / "table.md").write_text(text + "\n")
    plot(scores, rows, seeds, METRICS[study.data], out / "scores.png")
    return text


# Table and plot


def values_of(scores: Iterable[Score], row: str, seeds: Sequence[int], *place: str) -> np.ndarray:
    """By seed, NaN where there is none; `place` is test_set, split, metric, part."""
    found = {each.seed: each.value for each in scores if each.row == row and each[6:10] == place}
    return np.array([found.get(seed, math.nan) for seed in seeds])


def mean_and_spread(values: np.ndarray) -> str:
    """Mean and standard deviation over the seeds that have a value."""
    values = values[~np.isnan(values)]
    if not len(values):
        return "-"
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def test_sets_of(scores: Iterable[Score]) -> list[str]:
    return sorted({each.test_set for each in scores})


def table(scores: Sequence[Score], rows: Sequence[str], seeds: Sequence[int], metric: str) -> str:
    """Markdown: a table for each test set."""
    columns = [(split, part) for split in SPLITS for part in MEANS]
    header = ["row", "crops a step", "seeds", "paper, MPII", "minutes"]
    header += [f"{split}, {'mean' if part == 'mean' else 'plain mean'}" for split, part in columns]
    lines = [
        f"{metric} in percent, mean ± standard deviation over the seeds {', '.join(map(str, seeds))}. "
        "The mean counts each labelled joint once, the plain mean each kind of joint.",
        "Paper: PCKh@0.5 on MPII validation at 256x256, single runs: only the order compares.",
    ]
    for test_set in test_sets_of(scores):
        lines += ["", f"Test set {test_set}:", ""]
        cells = [header, ["---"] * len(header)]
        for row in (FLOOR, *rows):
            runs = [each for each in scores if each.row == row and each.seed in seeds]
            if not runs:
                continue
            ended = values_of(runs, row, seeds, test_set, "all", metric, "mean")
            trained = row != FLOOR
            cells.append(
                [
                    row,
                    str(runs[0].crops_per_step) if trained else "-",
                    f"{(~np.isnan(ended)).sum()} of {len(seeds)}" if trained else "-",
                    paper_score(row) if trained else "-",
                    f"{np.mean([each.seconds for each in runs]) / 60:.1f}" if trained else "-",
                    *(
                        mean_and_spread(values_of(runs, row, seeds, test_set, split, metric, part))
                        for split, part in columns
                    ),
                ]
            )
        lines += ["| " + " | ".join(line) + " |" for line in cells]
    return "\n".join(lines)


def plot(scores: Sequence[Score], rows: Sequence[str], seeds: Sequence[int], metric: str, path: Path) -> None:
    """A panel for each test set and split: a point for each seed, a bar at their mean."""
    test_sets = test_sets_of(scores)
    figure = Figure(
        figsize=(1.5 + 3.2 * len(SPLITS), 0.6 + 3.1 * len(test_sets)), dpi=100, layout="constrained"
    )
    panels = figure.subplots(len(test_sets), len(SPLITS), squeeze=False)
    labels = [f"{row}\n{paper_score(row)}" if paper_score(row)[0].isdigit() else row for row in rows]
    for line, test_set in zip(panels, test_sets, strict=True):
        for axes, split in zip(line, SPLITS, strict=True):
            axes.set_title(f"{test_set}, {split} joints", fontsize=10, loc="left")
            found = [values_of(scores, row, seeds, test_set, split, metric, "mean") for row in rows]
            if np.isnan(found).all():
                axes.set_axis_off()
                axes.text(0, 0.9, "not told by the data", transform=axes.transAxes, fontsize=8)
                continue
            for place, values in enumerate(found):
                values = values[~np.isnan(values)]
                axes.plot(np.full(len(values), place), values, "o", color="#1f6f8b", alpha=0.7, markersize=5)
                if len(values):
                    axes.plot([place - 0.3, place + 0.3], [values.mean()] * 2, color="#b5442c", linewidth=2)
            axes.set_xticks(range(len(rows)), labels, fontsize=7, rotation=30)
            axes.set_xlim(-0.6, len(rows) - 0.4)
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", alpha=0.3)
        line[0].set_ylabel(f"{metric}, percent", fontsize=9)
    figure.supxlabel(
        "below each row the paper's PCKh on MPII: another scale, another network, single runs", fontsize=8
    )
    FigureCanvasAgg(figure).print_png(str(path))


# The command


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--rows", nargs="+", required=True, choices=row_names(), metavar="ROW", help="of hg2_ROW"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--data", choices=sorted(STUDIES), default="synthetic_people")
    parser.add_argument("--steps", type=int, metavar="N", help="of each run; by default as the study has")
    parser.add_argument("--out", type=Path, metavar="DIR", help="by default runs/ablation_DATA")
    parser.add_argument("--resume", action="store_true", help="go on with the study in --out")
    options = parser.parse_args(argv)
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps is {options.steps}; it must be at least 1")
    settings = asdict(STUDIES[options.data])
    study = Study(**settings | ({"num_steps": options.steps} if options.steps else {}))
    out = options.out or ROOT / "runs" / f"ablation_{options.data}"
    compilation_cache.enable()
    try:
        print(run_study(study, options.rows, options.seeds, out, resume=options.resume))
    except UserError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command with --resume goes on", flush=True)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""One self-contained HTML page about a training run: scores, curves, held-out people.

Style and pictures are inside the file and there is no script: it can be mailed and opened anywhere.
"""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NotRequired, SupportsFloat, TypedDict

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure

from oasjax.datasets.skeletons import Skeleton
from oasjax.evaluation.pck import SPLITS, Metrics
from oasjax.evaluation.table import FRACTIONS, metric_names, splits_of
from oasjax.inference.drawing import (
    CENTRE_COLOUR,
    HEAT_COLOUR,
    LEFT_COLOUR,
    OUTLINE_COLOUR,
    RIGHT_COLOUR,
    draw_person,
    enlarge,
    enlarge_points,
    hidden_joints,
    occlusion_heat,
)
from oasjax.inference.report_style import STYLE

# Names of the results in `metrics`, in the order of the table, and how the page calls them.
RESULTS = {"mean_pose": "mean pose", "before": "before training", "after": "after training"}
PICTURE_PX = 320
JPEG_QUALITY = 90
SCORES_REMARK = (
    "On held-out people: pckh and pck are the percentage of joints found; keypoints and occlusion are "
    "fractions between 0 and 1."
)
NOTE = (
    "This is a toy: a small network trained for a short time. The figures show that the code "
    "learns; they say nothing about a full model and cannot be compared with published results. "
    "The mean pose is the floor: the average training pose, predicted for everyone without a look "
    "at the picture."
)


class ExamplePerson(TypedDict):
    """One held-out person, everything in the pixels of the crop.

    What the model does not predict is None; `occlusion_map`, the truth, stands beside a predicted map only.
    """

    image: UInt8[np.ndarray, "h w 3"]
    predicted_keypoints: Float[np.ndarray, "k 2"]
    predicted_occlusion: Float[np.ndarray, "k"] | None
    scores: Float[np.ndarray, "k"]
    keypoints: Float[np.ndarray, "k 2"]
    visibility: Int[np.ndarray, "k"]
    predicted_occlusion_map: Float[np.ndarray, "m n"] | None
    occlusion_map: Float[np.ndarray, "m n"] | None
    caption: NotRequired[str]


def write_report(
    path: str | Path,
    *,
    title: str,
    metrics: Mapping[str, Any],
    history: Sequence[Mapping[str, SupportsFloat]],
    people: Sequence[ExamplePerson],
    skeleton: Skeleton,
    config_text: str,
    command: str,
    note: str = NOTE,
) -> Path:
    """Write the page and return its path.

    Args:
        path: the HTML file; its folder must exist.
        title: headline.
        metrics: any of `mean_pose`, `before`, `after` as {split: {metric: {part: value}}}, and
            `data` (a dict, or a dict of dicts, of numbers about the data). Another name that holds
            such results again (a second test set) gets a table of its own.
        history: one dict per logged step with `step` and scalars; each scalar gets a panel.
        people: held-out people to draw; may be empty.
        skeleton: names and limbs of the joints.
        config_text: the configuration, shown in a fold.
        command: the command that gives this run again.
        note: what the figures mean and do not mean.
    """
    other_sets = {
        name: value
        for name, value in metrics.items()
        if name not in RESULTS and isinstance(value, Mapping) and RESULTS.keys() & value.keys()
    }
    sections = [
        f"<header><h1>{escape(title)}</h1><pre class=command><code>{escape(command)}</code></pre></header>",
        _tiles(metrics),
        _section("Scores", _score_tables(metrics), SCORES_REMARK),
        *(
            _section(f"Scores: {name.replace('_', ' ')}", _score_tables(value))
            for name, value in other_sets.items()
        ),
        f"<aside>{escape(note)}</aside>",
        _section("Held-out people", _people(people, skeleton), _sign_legend(people)),
        _section("Training", _curves(history)),
        _section("Data", _data_table(metrics.get("data") or {})),
        f"<details><summary>Configuration</summary><pre>{escape(config_text)}</pre></details>",
    ]
    page = _PAGE.format(title=escape(title), style=STYLE, body="\n".join(filter(None, sections)))
    path = Path(path)
    path.write_text(page, encoding="utf-8")
    return path


def loss_curves(history: Sequence[Mapping[str, SupportsFloat]]) -> Figure | None:
    """Small panels, one per scalar of the history; None where there is nothing to draw.

    The raw values are pale, their running mean is strong. A panel has a logarithmic axis where all
    its values are positive and span a factor of ten. Non-finite values leave gaps.
    """
    names = list(dict.fromkeys(name for entry in history for name in entry if name != "step"))
    names.sort(key=lambda name: name != "loss")  # stable: the total first, then as they came
    if not names:
        return None
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.7 * columns, 2.5 * rows), layout="constrained")
    for n, name in enumerate(names):
        logged = [(float(e["step"]), float(e[name])) for e in history if name in e]
        points = [point for point in logged if math.isfinite(point[1])]
        axes = figure.add_subplot(rows, columns, n + 1)
        axes.set_title(name.replace("_", " "), fontsize=10, loc="left", color="#1c2333")
        axes.tick_params(which="both", labelsize=8, colors="#5b6478")
        axes.grid(True, which="major", color="#e6e9f0", linewidth=0.8)
        axes.spines[:].set_visible(False)
        if not points:
            axes.text(0.5, 0.5, "no finite value", ha="center", transform=axes.transAxes)
            continue
        steps, values = np.array(points, np.float64).T
        if values.min() > 0 and values.max() >= 10 * values.min():
            axes.set_yscale("log")
        elif np.ptp(values) == 0:
            # Automatic limits of a constant magnify rounding errors.
            margin = abs(values[0]) / 2 or 1.0
            axes.set_ylim(values[0] - margin, values[0] + margin)
        half_window = len(values) // 60
        axes.plot(steps, values, color="#9db8e8", linewidth=0.9)
        axes.plot(steps, _running_mean(values, half_window), color="#2457c5", linewidth=1.8)
        if n + columns >= len(names):
            axes.set_xlabel("step", fontsize=8, color="#5b6478")
    return figure


def person_pictures(person: ExamplePerson, skeleton: Skeleton) -> dict[str, UInt8[np.ndarray, "_h _w 3"]]:
    """Pictures of one person: predicted and true skeleton, and predicted and true map if there are any."""
    picture, factor = enlarge(person["image"], PICTURE_PX)
    truth = np.where(person["visibility"][:, None] > 0, person["keypoints"], np.nan)
    pictures = {
        "predicted": draw_person(
            picture,
            enlarge_points(person["predicted_keypoints"], factor),
            hidden_joints(person["predicted_occlusion"], skeleton.num_joints),
            skeleton,
        ),
        "truth": draw_person(picture, enlarge_points(truth, factor), person["visibility"] == 1, skeleton),
    }
    maps = {"predicted": person["predicted_occlusion_map"], "true": person["occlusion_map"]}
    for name, occlusion_map in maps.items():
        if occlusion_map is not None:
            pictures[f"{name} occlusion"] = occlusion_heat(picture, occlusion_map)
    return pictures


def _running_mean(values: Float[np.ndarray, "n"], half_window: int) -> Float[np.ndarray, "n"]:
    """Mean over up to `half_window` neighbours on each side (fewer at the ends)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    center = np.arange(len(values))
    start = np.maximum(0, center - half_window)
    end = np.minimum(len(values), center + half_window + 1)
    return (total[end] - total[start]) / (end - start)


def _section(heading: str, body: str, remark: str = "") -> str:
    if not body:
        return ""
    remark = f"<p class=remark>{remark}</p>" if remark else ""
    return f"<section><h2>{escape(heading)}</h2>{remark}{body}</section>"


def _tiles(metrics: Mapping[str, Any]) -> str:
    """The first metric's mean (or its first part, AP) of each split after training, beside the mean pose."""
    after: Metrics = metrics.get("after") or {}
    floor: Metrics = metrics.get("mean_pose") or {}
    names = metric_names({"after": after})
    if not names:
        return ""
    metric, tiles = names[0], []
    parts = after["all"][metric]
    part = "mean" if "mean" in parts else next(iter(parts))
    name = metric if part == "mean" else f"{metric} {part}"
    for split in splits_of(metric):
        value, base = (_part(scores, split, metric, part) for scores in (after, floor))
        beside = f"mean pose {_cell(base, metric)}" if base is not None else "&nbsp;"
        tiles.append(
            f"<div class=tile><span>{split} joints</span><strong>{_cell(value, metric)}</strong>"
            f"<span>{escape(name)} &middot; {beside}</span></div>"
        )
    return f"<div class=tiles>{''.join(tiles)}</div>"


def _part(metrics: Metrics, split: str, metric: str, part: str) -> float | int | None:
    return ((metrics.get(split) or {}).get(metric) or {}).get(part)


def _cell(value: float | int | None, metric: str) -> str:
    """A value of a metric: fractions with three decimals, percents with one, counts with none."""
    if value is None:
        return "&ndash;"
    return str(value) if isinstance(value, int) else f"{value:.{3 if metric in FRACTIONS else 1}f}"


def _score_tables(metrics: Mapping[str, Any]) -> str:
    """A table per metric, of the results (mean pose, before, after) that there are."""
    results = {RESULTS[name]: metrics[name] for name in RESULTS if metrics.get(name)}
    return "".join(_score_table(results, metric) for metric in metric_names(results))


def _score_table(results: Mapping[str, Metrics], metric: str) -> str:
    parts = list(
        dict.fromkeys(
            part
            for metrics in results.values()
            for split in SPLITS
            for part in ((metrics.get(split) or {}).get(metric) or {})
        )
    )
    head = "".join(f"<th>{escape(part.replace('_', ' '))}</th>" for part in parts)
    rows = []
    for split in splits_of(metric):
        for n, (name, metrics) in enumerate(results.items()):
            first = f"<th rowspan={len(results)} scope=rowgroup>{split}</th>" if n == 0 else ""
            cells = "".join(
                f"<td{' class=mean' if part == 'mean' else ''}>"
                f"{_cell(_part(metrics, split, metric, part), metric)}</td>"
                for part in parts
            )
            strong = " class=after" if name == RESULTS["after"] else ""
            rows.append(f"<tr{strong}>{first}<th scope=row>{escape(name)}</th>{cells}</tr>")
        rows[-len(results)] = rows[-len(results)].replace("<tr", "<tr data-first", 1)
    left_out = {
        name: count
        for name, metrics in results.items()
        if (count := _part(metrics, "all", "people_left_out", metric))
    }
    remark = (
        f"<p class=remark>{max(left_out.values()):.0f} people without a reference length are left out.</p>"
        if left_out
        else ""
    )
    return (
        f"<div class=scroll><table><thead><tr><th>{escape(metric)}</th><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{remark}"
    )


def _people(people: Iterable[ExamplePerson], skeleton: Skeleton) -> str:
    cards = []
    for person in people:
        figures = "".join(
            f"<figure><img src='{_picture_uri(picture)}' alt='{name}'>"
            f"<figcaption>{name}</figcaption></figure>"
            for name, picture in person_pictures(person, skeleton).items()
        )
        caption = person.get("caption", "")
        remark = f"<p class=remark>{escape(caption)}</p>" if caption else ""
        cards.append(f"<article>{figures}{remark}</article>")
    return f"<div class=people>{''.join(cards)}</div>" if cards else ""


def _sign_legend(people: Sequence[ExamplePerson]) -> str:
    """The signs of the drawings, drawn as vectors; that of maps where there are maps."""

    def sign(text: str, colour: tuple[int, int, int], hidden: bool) -> str:
        rgb, dark = f"rgb{colour}", f"rgb{OUTLINE_COLOUR}"
        dash = " stroke-dasharray='7 5'" if hidden else ""
        fill = dark if hidden else rgb
        return (
            "<span class=sign><svg width=52 height=18 viewBox='0 0 52 18'>"
            f"<path d='M4 9H40' stroke='{dark}' stroke-width=7 stroke-linecap=round{dash} />"
            f"<path d='M4 9H40' stroke='{rgb}' stroke-width=4 stroke-linecap=round{dash} />"
            f"<circle cx=42 cy=9 r=8 fill='{dark}' />"
            f"<circle cx=42 cy=9 r=5 fill='{fill}' stroke='{rgb}' stroke-width=2 /></svg>"
            f"{text}</span>"
        )

    swatch = (
        "<span class=sign><svg width=18 height=18><rect width=18 height=18 rx=4 "
        f"fill='rgb{HEAT_COLOUR}' /></svg>occlusion map near 1</span>"
    )
    return (
        sign("person's right", RIGHT_COLOUR, False)
        + sign("person's left", LEFT_COLOUR, False)
        + sign("middle", CENTRE_COLOUR, False)
        + sign("hidden joint", RIGHT_COLOUR, True)
        + (swatch if any(person["occlusion_map"] is not None for person in people) else "")
    )


def _curves(history: Sequence[Mapping[str, SupportsFloat]]) -> str:
    figure = loss_curves(history)
    if figure is None:
        return ""
    buffer = io.BytesIO()
    # Date: None keeps the file equal for equal runs.
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    uri = "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
    return f"<img class=wide src='{uri}' alt='training curves'>"


def _data_table(data: Mapping[str, Any]) -> str:
    """Numbers about the data: a column per set where `data` is a dict of dicts, else one column."""
    if not data:
        return ""
    sets = {name: value for name, value in data.items() if isinstance(value, Mapping)}
    plain = {name: value for name, value in data.items() if name not in sets}
    columns = {**({"": plain} if plain else {}), **sets}
    rows = dict.fromkeys(key for column in columns.values() for key in column)
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns)
    body = "".join(
        f"<tr><th scope=row>{escape(str(row).replace('_', ' '))}</th>"
        + "".join(f"<td>{_value(column.get(row, ''))}</td>" for column in columns.values())
        + "</tr>"
        for row in rows
    )
    return (
        f"<div class=scroll><table class=data><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _value(value: Any) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _picture_uri(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not written:
        raise ValueError(f"cannot encode a picture of shape {picture.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


_PAGE = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

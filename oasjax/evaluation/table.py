"""Score tables as plain text for the terminal."""

from collections.abc import Mapping

from oasjax.evaluation.pck import SPLITS, Metrics

COUNT_METRIC = "people_left_out"


def metric_names(results: Mapping[str, Metrics]) -> list[str]:
    """Names of the scored metrics (`pckh@0.5`, ...) in order of first appearance."""
    names: dict[str, None] = {}
    for metrics in results.values():
        for split in SPLITS:
            names.update(dict.fromkeys(metrics.get(split) or {}))
    return [name for name in names if name != COUNT_METRIC]


def score_table(results: Mapping[str, Metrics]) -> str:
    """One block per metric; a line per split and result, a column per part.

    Args:
        results: e.g. {"mean pose": ..., "before": ..., "after": ...}, each
            {split: {metric: {part: percent or None}}}. A missing or None value prints as a dash.
    """
    width = max([len("joints"), *map(len, results)])
    blocks = []
    for metric in metric_names(results):
        parts = _parts(results, metric)
        header = f"{metric:<10}{'':<{width}}" + "".join(f"{_short(part):>11}" for part in parts)
        lines = [header, "-" * len(header)]
        for split in SPLITS:
            for name, metrics in results.items():
                scores = (metrics.get(split) or {}).get(metric) or {}
                cells = "".join(f"{_cell(scores.get(part)):>11}" for part in parts)
                lines.append(f"{split:<10}{name:<{width}}{cells}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _parts(results: Mapping[str, Metrics], metric: str) -> list[str]:
    parts: dict[str, None] = {}
    for metrics in results.values():
        for split in SPLITS:
            parts.update(dict.fromkeys((metrics.get(split) or {}).get(metric) or {}))
    return list(parts)


def _short(part: str) -> str:
    return "plain mean" if part == "mean_unweighted" else part


def _cell(value: float | int | None) -> str:
    return "-" if value is None else f"{value:.1f}"

"""Score tables as plain text for the terminal."""

from collections.abc import Mapping

from oasjax.evaluation.pck import SPLITS, Metrics
from oasjax.text_table import aligned

COUNT_METRIC = "people_left_out"
# Everything else is in percent.
FRACTIONS = frozenset({"keypoints", "occlusion"})
# Visible and occluded are what it tells apart.
UNSPLIT = frozenset({"occlusion"})
_SHORT_NAMES = {"mean_unweighted": "plain mean"}


def metric_names(results: Mapping[str, Metrics]) -> list[str]:
    """Names of the scored metrics (`pckh@0.5`, ...) in order of first appearance."""
    names: dict[str, None] = {}
    for metrics in results.values():
        for split in SPLITS:
            names.update(dict.fromkeys(metrics.get(split) or {}))
    return [name for name in names if name != COUNT_METRIC]


def score_table(results: Mapping[str, Metrics]) -> str:
    """One block per metric; a line per split and result, a column per part, as wide as it needs to be.

    Args:
        results: e.g. {"mean pose": ..., "before": ..., "after": ...}, each
            {split: {metric: {part: value or None}}}. A missing or None value prints as a dash; percents
            have two decimals, as published tables do, fractions three, counts none. A single result goes
            unnamed.
    """
    return "\n\n".join(_block(results, metric) for metric in metric_names(results))


def _block(results: Mapping[str, Metrics], metric: str) -> str:
    parts = _parts(results, metric)
    digits = 3 if metric in FRACTIONS else 2
    rows = [[metric, "", *(_SHORT_NAMES.get(part, part) for part in parts)]]
    for split in splits_of(metric):
        for name, metrics in results.items():
            scores = (metrics.get(split) or {}).get(metric) or {}
            label = name if len(results) > 1 else ""
            rows.append([split, label, *(_cell(scores.get(part), digits) for part in parts)])
    return aligned(rows, left=2)


def splits_of(metric: str) -> tuple[str, ...]:
    """The splits that a metric has."""
    return ("all",) if metric in UNSPLIT else SPLITS


def _parts(results: Mapping[str, Metrics], metric: str) -> list[str]:
    parts: dict[str, None] = {}
    for metrics in results.values():
        for split in SPLITS:
            parts.update(dict.fromkeys((metrics.get(split) or {}).get(metric) or {}))
    return list(parts)


def _cell(value: float | int | None, digits: int) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"

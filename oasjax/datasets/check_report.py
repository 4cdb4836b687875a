"""The report of a data check as plain text; its form is documented in `oasjax/cli/check_data.py`."""

from collections.abc import Sequence
from typing import Any

from oasjax.text_table import aligned

# Row of the table -> (part, key) in a split's report, key of the published figure.
_ROWS: dict[str, tuple[str, str, str]] = {
    "people annotated": ("annotated", "people", "people"),
    "  joints labelled": ("annotated", "labelled", "labelled"),
    "  joints occluded": ("annotated", "occluded", "occluded"),
    "pictures named": ("pictures", "named", "pictures"),
    "  present": ("pictures", "present", ""),
    "  missing": ("pictures", "missing", ""),
    "  broken": ("pictures", "broken", ""),
    "people to use": ("people", "usable", "people"),
    "  left out": ("people", "left_out", ""),
    "  ignored by AP": ("people", "ignored", ""),
    "their joints labelled": ("joints", "labelled", ""),
    "  visible": ("joints", "visible", ""),
    "  occluded": ("joints", "occluded", ""),
    "  occlusion unknown": ("joints", "unknown", ""),
    "  outside the picture": ("joints", "outside", ""),
    "hidden share": ("joints", "hidden_share", ""),
}
_JOINT_COLUMNS = ("labelled", "visible", "occluded", "unknown", "outside", "hidden_share")


def report_text(report: dict[str, Any]) -> str:
    """The report for people: tables, then lists of what is wrong."""
    splits = {name: split for name, split in report["splits"].items() if "error" not in split}
    errors = {name: split for name, split in report["splits"].items() if "error" in split}
    where = f" in {report['folder']}" if report["folder"] else ""
    blocks = [f"{report['data']}{where}"]
    if splits:
        blocks.append(_counts_table(splits))
        blocks += [_joints_table(name, split["joints"]["per_joint"]) for name, split in splits.items()]
        blocks += [text for name, split in splits.items() for text in _problems(name, split)]
    blocks += [_error_text(name, split) for name, split in errors.items()]
    blocks += [
        _findings_text(title, [each for each in report["findings"] if each["serious"] is serious])
        for title, serious in (("would spoil scores or training", True), ("worth knowing", False))
        if any(each["serious"] is serious for each in report["findings"])
    ]
    if report["contact_sheet"]:
        blocks.append(f"contact sheet: {report['contact_sheet']}")
    return "\n\n".join(blocks)


def _error_text(name: str, split: dict[str, Any]) -> str:
    counts = split["annotated"]
    annotated = (
        f" (annotated: {counts['people']:,} people, {counts['labelled']:,} joints labelled, "
        f"{counts['occluded']:,} occluded)"
        if counts
        else ""
    )
    return f"{name} cannot be read{annotated}: {split['error']}"


def _counts_table(splits: dict[str, dict[str, Any]]) -> str:
    header = [""]
    for name, split in splits.items():
        header += [name, *(["published"] if split["published"] else [])]
    rows = [header]
    for label, (part, key, quantity) in _ROWS.items():
        if not any(split[part] for split in splits.values()):
            continue
        row = [label]
        for split in splits.values():
            value = (split[part] or {}).get(key)
            row.append(_cell(sum(value.values()) if isinstance(value, dict) else value))
            if split["published"]:
                row.append(_published_cell(split["published"].get(quantity)))
        rows.append(row)
    return "\n".join([aligned(rows), *_sources(splits)])


def _sources(splits: dict[str, dict[str, Any]]) -> list[str]:
    """Who states the published figures, and which of them."""
    quantities: dict[tuple[str, bool], list[str]] = {}
    for name, split in splits.items():
        for quantity, figure in split["published"].items():
            quantities.setdefault((figure["source"], figure["certain"]), []).append(f"{name} {quantity}")
    if not quantities:
        return []
    lines = ["", "published: the whole data set; a part of it is as good, only smaller"]
    return lines + [
        f"  {', '.join(dict.fromkeys(names))}: {source}" + ("" if certain else " (? from memory)")
        for (source, certain), names in quantities.items()
    ]


def _joints_table(split: str, per_joint: dict[str, dict[str, Any]]) -> str:
    header = [f"{split}, by joint", *("hidden" if key == "hidden_share" else key for key in _JOINT_COLUMNS)]
    return aligned(
        [header, *([joint, *(_cell(row[key]) for key in _JOINT_COLUMNS)] for joint, row in per_joint.items())]
    )


def _problems(name: str, split: dict[str, Any]) -> list[str]:
    pictures, people = split["pictures"], split["people"]
    texts = []
    if pictures["missing"]:
        names = _bounded(pictures["missing_names"], pictures["missing"], ", ")
        texts.append(f"{name}: {pictures['missing']} pictures are missing: {names}")
    if pictures["broken"]:
        reasons = [f"\n  {each['reason']}" for each in pictures["broken_names"]]
        text = f"{name}: {pictures['broken']} pictures cannot be opened; training stops at them:"
        texts.append(text + _bounded(reasons, pictures["broken"], ""))
    if pictures["other_size"]:
        sizes = [f"\n  {each}" for each in pictures["other_size_names"]]
        text = f"{name}: {pictures['other_size']} pictures have another size than when they were annotated:"
        texts.append(text + _bounded(sizes, pictures["other_size"], ""))
    if pictures["traits"]:
        traits = ", ".join(f"{count} {trait}" for trait, count in pictures["traits"].items())
        texts.append(f"{name}: pictures that are converted when read: {traits}")
    if people["left_out"]:
        left_out = "; ".join(f"{count} {reason}" for reason, count in people["left_out"].items())
        texts.append(f"{name}: people left out: {left_out}")
    return texts


def _findings_text(title: str, findings: list[dict[str, Any]]) -> str:
    lines = [title]
    for each in findings:
        lines.append(f"  {each['split']}: {each['sentence']}.")
        if each["records"]:
            lines.append(f"    {_bounded(each['records'], each['count'], '; ')}")
    return "\n".join(lines)


def _bounded(texts: Sequence[str], count: int, separator: str) -> str:
    rest = count - len(texts)
    return separator.join(texts) + (f" ... and {rest:,} more" if rest > 0 else "")


def _cell(value: int | float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if isinstance(value, float) else f"{value:,}"


def _published_cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return ""
    return f"{figure['number']:,}" + ("" if figure["certain"] else "?")

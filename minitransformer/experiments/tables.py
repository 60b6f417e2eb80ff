"""Rows as CSV files and as plain text."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def to_csv(rows: Sequence[Mapping]) -> str:
    """Write rows as CSV, measurements with four decimals; a learning rate may be smaller than that."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: rounded(name, value) for name, value in row.items()})
    return out.getvalue()


def rounded(name: str, value: object) -> object:
    """A float with four decimals, unless it is a rate; anything else as it is."""
    return round(value, 4) if isinstance(value, float) and "rate" not in name else value


def read_csv(file: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file, all as text."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def number_rows(rows: Iterable[Mapping[str, str]]) -> list[dict]:
    """The same rows with numbers for what is one: whole ones as int, others as float."""
    return [{name: number(text) for name, text in row.items()} for row in rows]


def number(text: str) -> int | float | str:
    """The number that a text is, or the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


COLUMNS = {  # name in the recorded comparison -> heading and format in a lesson's table
    "task": ("task", "{}"),
    "method": ("method", "{}"),
    "trained": ("trained", "{:,}"),
    "percent": ("% of model", "{:.2f}"),
    "score": ("score", "{:.2f}"),
    "score_min": ("min", "{:.2f}"),
    "score_max": ("max", "{:.2f}"),
    "score_base": ("base", "{:.2f}"),
    "kept": ("kept", "{:.2f}"),
    "kept_min": ("min", "{:.2f}"),
    "kept_max": ("max", "{:.2f}"),
    "kept_base": ("of", "{:.2f}"),
    "step_ms": ("ms/step", "{:.1f}"),
    "latency": ("latency", "{:.2f}x"),
    "megabytes_for_backward": ("MB kept", "{:.2f}"),
    "mergeable": ("mergeable", "{}"),
}


def table(rows: list[dict], columns: tuple[str, ...] = tuple(COLUMNS)) -> str:
    """Write rows of the recorded comparison as a table of plain text."""
    cells = [[COLUMNS[name][0] for name in columns]]
    cells += [[COLUMNS[name][1].format(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)

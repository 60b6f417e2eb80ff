"""The tables of grades: grades.csv, a row a student and assignment; totals.csv, a row a student, a column an assignment.

A teacher may change grades.csv. What it held when the grading wrote it last lies in .written.csv; what differs from that is the
teacher's, goes to edits.json, and stays.
"""

import csv
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from assignments import GradingError
from late import Late
from marking import Result
from sheets import read_csv

Key = tuple[str, str]  # student, assignment
FIRST, LAST = ["student", "assignment"], ["points", "late", "total", "of", "note"]
NO_DAYS = Late()


def write(file: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, file)


def read_rows(file: Path) -> tuple[list[str], dict[Key, dict[str, str]]]:
    """Columns and rows of a table, as a spreadsheet may have saved it; nothing where there is none.

    Raises:
        GradingError: it is none of ours.
    """
    if not file.exists():
        return [], {}
    try:
        columns, found = read_csv(file)
    except ValueError as error:
        raise GradingError(f"{error}, or move it away") from None
    if not set(FIRST) <= set(columns):
        raise GradingError(f"{file} has no columns student and assignment; move it away, or mend its first line")
    rows = {}
    for row in found:
        student = row["student"].strip()
        student = student[1:] if student[:1] == "'" and student[1:2] in tuple("=+-@") else student
        rows[student, row["assignment"].strip()] = row
    return columns, rows


def same(one: str, other: str) -> bool:
    """Whether two cells say the same; a spreadsheet writes 2 as 2.0 or 2,0."""
    try:
        return float(one.replace(",", ".")) == float(other.replace(",", "."))
    except ValueError:
        return one.strip() == other.strip()


@dataclass
class Table:
    """The table of grades, with what the teacher has changed in it.

    Args:
        out: the folder that it is in.
        rows: as the file holds them.
        edits: cells that are the teacher's, by row and column.
        added: columns that the teacher added.
    """

    out: Path
    rows: dict[Key, dict[str, str]] = field(default_factory=dict)
    edits: dict[Key, dict[str, str]] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, out: Path) -> "Table":
        """Read the table and find out what the teacher has changed.

        Raises:
            GradingError: it cannot be read.
        """
        columns, rows = read_rows(out / "grades.csv")
        known, written = read_rows(out / ".written.csv")
        table = cls(out, rows, {}, [name for name in columns if name not in known] if known else [])
        if (out / "edits.json").exists():
            for student, assignment, column, value in json.loads((out / "edits.json").read_text(encoding="utf-8")):
                table.edits.setdefault((student, assignment), {})[column] = value
        table.added += [name for row in table.edits.values() for name in row if name in columns and name not in known]
        table.added = list(dict.fromkeys(table.added))
        for key, row in rows.items():
            for name, value in row.items():
                if name in FIRST or (not value and key not in written):
                    continue
                if not same(value, written.get(key, {}).get(name, "")):
                    table.edits.setdefault(key, {})[name] = value
        return table

    def points(self, key: Key, result: Result) -> dict[str, float]:
        """What each task earns: the teacher's points where there are some."""
        points = dict(result.points)
        for task in result.of:
            value = self.edits.get(key, {}).get(f"{key[1]}/{task}")
            if value is not None:
                try:
                    points[task] = float(value.replace(",", "."))
                except ValueError:
                    continue
        return points

    def row(self, key: Key, result: Result, late: Late) -> dict[str, str]:
        """A row of the table."""
        points = self.points(key, result)
        row = {"student": key[0], "assignment": key[1]}
        row |= {f"{key[1]}/{task}": f"{value:g}" for task, value in points.items()}
        earned = sum(points.values())
        row["points"] = f"{earned:g}" if points else ""
        row["late"] = str(late.days) if late.days else ""
        row["total"] = f"{earned * late.share:g}" if points else ""
        row["of"] = f"{sum(result.of.values()):g}"
        row["note"] = "; ".join(([late.line] if late.line else []) + result.notes)
        return row | self.edits.get(key, {})

    def save(self, results: dict[Key, Result], late: dict[Key, Late]) -> None:
        """Write both tables: what was graded, and the rows that only the file knows."""
        rows = dict(self.rows)
        for key, result in results.items():
            rows[key] = self.row(key, result, late.get(key, NO_DAYS))
        self.rows = rows
        tasks = list(dict.fromkeys(name for key in sorted(rows, key=lambda key: key[1]) for name in rows[key]))
        tasks = [name for name in tasks if name not in (*FIRST, *LAST, *self.added)]
        columns = [*FIRST, *tasks, *LAST, *self.added]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for key, row in sorted(rows.items()):
            writer.writerow(row | {"student": guarded(key[0])})
        edits = [[*key, column, value] for key, row in sorted(self.edits.items()) for column, value in row.items()]
        write(self.out / "edits.json", json.dumps(edits, indent=1) + "\n")
        write(self.out / ".written.csv", text.getvalue())
        write(self.out / "grades.csv", text.getvalue())
        write(self.out / "totals.csv", totals(rows))


def totals(rows: dict[Key, dict[str, str]]) -> str:
    """The table of students by assignments, as CSV."""
    assignments = sorted({assignment for _, assignment in rows})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["student", *assignments, "total"])
    for student in sorted({student for student, _ in rows}):
        own = [rows.get((student, assignment), {}).get("total", "") for assignment in assignments]
        writer.writerow([guarded(student), *own, f"{sum(number(value) for value in own):g}"])
    return text.getvalue()


def number(text: str) -> float:
    """A cell's number; 0 where it holds none."""
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return 0.0


def guarded(student: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{student}" if student[:1] in tuple("=+-@") else student

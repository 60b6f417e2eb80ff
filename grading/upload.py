"""Turn totals.csv into a table that Moodle or Canvas takes: python grading/upload.py EXPORT [--out grades].

EXPORT is the gradebook as the platform exports it, as CSV. Its columns tell who is who there; what is written is these columns
and one for each assignment, to grades/upload.csv.
"""

import argparse
import csv
import io
import re
import sys
import unicodedata
from pathlib import Path

from sheets import read_csv

CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Integration ID", "Root Account", "Section")
MOODLE = ("First name", "Last name", "Surname", "ID number", "Email address", "Username", "Institution", "Department")
POSSIBLE = "points possible"


def plain(name: str) -> str:
    """A name without accents, case, punctuation and the order of its words, so that 'Lovelace, Ada' is 'ada lovelace'."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or name
    return " ".join(sorted(re.findall(r"[^\W_]+", letters.lower())))


def names(row: dict[str, str]) -> list[str]:
    """All that a folder may be called that belongs to a row of an export, the surest first."""
    login = [
        row.get(key, "") for key in ("SIS Login ID", "Username", "SIS User ID", "ID number", "ID", "Email address")
    ]
    login += [row.get("Email address", "").partition("@")[0]]
    whole = [row.get("Student", ""), f"{row.get('First name', '')} {row.get('Last name', row.get('Surname', ''))}"]
    return [plain(name) for name in (*login, *whole) if name.strip()]


def upload(totals: Path, export: Path, of: dict[str, str]) -> tuple[str, list[str]]:
    """The table for the platform.

    Args:
        totals: totals.csv, as the grading writes it.
        export: the platform's gradebook.
        of: the most points an assignment gives, by its name. Canvas wants them in a row of their own.

    Returns:
        The table as CSV, and who could not be matched, a line each.

    Raises:
        ValueError: one of the two files is not what it should be.
    """
    columns, rows = read_csv(export)
    graded, students = read_csv(totals)
    if graded[:1] != ["student"]:
        raise ValueError(f"{totals} is no totals.csv; grade the class first")
    canvas = "Student" in columns
    keep = [name for name in columns if name in (CANVAS if canvas else MOODLE)]
    if not keep:
        raise ValueError(
            f"{export} has none of the columns {', '.join((*CANVAS[:4], *MOODLE[:6]))}: is it a gradebook?"
        )
    assignments = [name for name in graded[1:] if name != "total"]
    by_name: dict[str, list[dict[str, str]]] = {}
    for student in students:
        folder = student["student"].removeprefix("'")
        for name in {plain(folder), plain(re.sub(r"\s*\([^)]*\)$", "", folder))}:
            by_name.setdefault(name, []).append(student)
    out, lines, used = [], [], set()
    for row in rows:
        if canvas and POSSIBLE in row["Student"].lower():
            continue
        found = next((by_name[name] for name in names(row) if name in by_name), [])
        if len(found) > 1:
            lines.append(
                f"{', '.join(row[name] for name in keep)}: {len(found)} folders have this name; enter the points by hand"
            )
        points = found[0] if len(found) == 1 else {}
        used |= {student["student"] for student in found}
        out.append({name: row[name] for name in keep} | {name: points.get(name, "") for name in assignments})
    lines += [f"{it['student']}: nobody in {export.name} has this name" for it in students if it["student"] not in used]
    if canvas:
        out.insert(0, {"Student": "    Points Possible"} | {name: of.get(name, "") for name in assignments})
    text = io.StringIO()
    writer = csv.DictWriter(text, [*keep, *assignments], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(out)
    return text.getvalue(), lines


def points_possible(grades: Path) -> dict[str, str]:
    """The most points an assignment gives, as grades.csv has them."""
    _, rows = read_csv(grades)
    return {row.get("assignment", ""): row.get("of", "") for row in rows}


def main(arguments: list[str]) -> int:
    """The command; it names whom it could not match."""
    parser = argparse.ArgumentParser(description="Write the points into a table that Moodle or Canvas takes.")
    parser.add_argument("export", type=Path, help="the gradebook, as the platform exports it, as CSV")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="the folder with totals.csv (default: grades)")
    options = parser.parse_args(arguments)
    try:
        text, lines = upload(options.out / "totals.csv", options.export, points_possible(options.out / "grades.csv"))
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    file = options.out / "upload.csv"
    file.write_text(text, encoding="utf-8", newline="\n")
    print("\n".join([*lines, str(file)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

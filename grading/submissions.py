"""What students handed in: finding it, reading it, and putting back what belongs to the teacher."""

import copy
from dataclasses import dataclass
from pathlib import Path

import nbformat
import sandbox
from assignments import Assignment, GradingError, read_assignment
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_grade

LARGEST = 20 * sandbox.MEGABYTE  # bytes of a notebook handed in
LONGEST = 500_000  # characters of its cells; a solution has 20,000
LAYOUT = """\
A folder for each student, and in it one notebook for each assignment, at one of

    SUBMISSIONS/ada/06_lora/06_lora.ipynb              (nbgrader, JupyterHub)
    SUBMISSIONS/ada/06_lora.ipynb                      (by hand)
    SUBMISSIONS/ada/exercises/06_lora/06_lora.ipynb    (a copy of the course's repository, GitHub Classroom)"""


@dataclass(frozen=True)
class Submission:
    """What a student handed in.

    Args:
        student: name of the student's folder.
        assignment: the teacher's copy.
        notebook: the file; None: there is none that counts.
        note: why there is none.
    """

    student: str
    assignment: Assignment
    notebook: Path | None
    note: str = ""


def find_submissions(folder: Path, teachers: dict[str, Path]) -> list[Submission]:
    """Find what each student handed in, of every assignment that at least one student handed in.

    Args:
        folder: holds a folder a student; see `LAYOUT`.
        teachers: files of the teacher's copies by assignment.

    Raises:
        GradingError: there is nothing to grade in there, or a teacher's copy cannot be used.
    """
    if not folder.is_dir():
        raise GradingError(f"SUBMISSIONS is {str(folder)!r}, which is not a folder.\n{LAYOUT}")
    students = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = list(teachers)
    found = {(path.name, name): file for path in students for name in names if (file := find(path, name))}
    graded = [name for name in names if any(key[1] == name for key in found)]
    if not graded:
        raise GradingError(f"no student's folder in {folder} holds a notebook of {', '.join(names)}.\n{LAYOUT}")
    assignments = {name: read_assignment(teachers[name]) for name in graded}
    submissions = []
    for path in students:
        for name in graded:
            others = [file.name for file in sorted(path.glob("*.ipynb")) if file.stem not in names]
            note = f"nothing handed in: no {name}.ipynb" + (f", but {', '.join(others[:3])}" if others else "")
            file = found.get((path.name, name))
            if file and not within(file, path):
                file, note = None, "not graded: a link that leads out of the student's folder"
            submissions.append(Submission(path.name, assignments[name], file, note))
    return submissions


def find(student: Path, name: str) -> Path | None:
    """A student's notebook of an assignment."""
    for place in (student / name, student, student / "exercises" / name):
        file = place / f"{name}.ipynb"
        if file.is_symlink() or file.exists():
            return file
    return None


def within(file: Path, student: Path) -> bool:
    """Whether a file is a student's own: a link could lead to another student's work, or to the solutions."""
    try:
        return file.resolve(strict=True).is_relative_to(student.resolve())
    except (OSError, RuntimeError):  # it leads nowhere, or in a circle
        return False


def read_submission(file: Path) -> NotebookNode:
    """Read what a student handed in.

    Raises:
        ValueError: it is no notebook, for the reason that the message gives.
    """
    if file.is_symlink() or not file.is_file():
        raise ValueError("not a notebook: not a plain file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"not graded: larger than {LARGEST // sandbox.MEGABYTE} MB; clear its outputs")
    try:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # json, unicode, recursion, nbformat's own: all the same to a teacher
        raise ValueError(f"not a notebook ({type(error).__name__})") from None
    for cell in notebook.cells:
        cell.pop("attachments", None)
    if sum(len(cell.source) + 100 for cell in notebook.cells) > LONGEST:
        raise ValueError(f"not graded: its cells hold more than {LONGEST:,} characters")
    return notebook


def restore(notebook: NotebookNode, assignment: Assignment) -> list[str]:
    """Give a submission's cells the teacher's metadata, put missing locked cells back, and say what was done.

    nbgrader then puts the text of locked cells back. It relies on a cell's metadata for that, which are a student's to edit.
    """
    changed, missing, found = 0, 0, set()
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader")
        name = marks.get("grade_id") if isinstance(marks, dict) else None
        cell.metadata = NotebookNode()
        if isinstance(name, str) and name in assignment.cells:
            teachers = assignment.cells[name]
            cell.metadata.nbgrader = copy.deepcopy(teachers.metadata.nbgrader)
            cell.metadata.nbgrader.setdefault("checksum", "")
            visible = copy.deepcopy(teachers)
            if is_grade(teachers):
                ClearHiddenTests().preprocess_cell(visible, {}, 0)
            changed += teachers.metadata.nbgrader.locked and cell.source.strip() != visible.source.strip()
            found.add(name)
    place = 0
    for name, teachers in assignment.cells.items():
        if name in found:
            at = [cell.metadata.get("nbgrader", {}).get("grade_id") == name for cell in notebook.cells]
            place = len(at) - at[::-1].index(True)
        elif teachers.metadata.nbgrader.locked:
            notebook.cells.insert(place, copy.deepcopy(teachers))
            place, missing = place + 1, missing + 1
    notes = [f"{changed} locked cells had been changed: the teacher's ran instead"] if changed else []
    return [*notes, f"{missing} missing locked cells were put back"] if missing else notes

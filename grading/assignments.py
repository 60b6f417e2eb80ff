"""The teacher's copies: reading them, and nbgrader's gradebook of each."""

import copy
import functools
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
from generate import NamedStub
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ComputeChecksums, LockCells, SaveCells
from nbgrader.utils import is_grade

STUDENT = "student"  # in the gradebook of one submission: a folder's name could be anything


class GradingError(Exception):
    """The grading cannot start, or was stopped; the message says what to do."""


@dataclass(frozen=True)
class Assignment:
    """The teacher's copy of an assignment.

    Args:
        name: as in "06_lora".
        text: the notebook's text.
        gradebook: an nbgrader gradebook that knows its cells, as bytes.
        cells: its cells that nbgrader knows, by grade_id, in order.
    """

    name: str
    text: str
    gradebook: bytes
    cells: dict[str, NotebookNode]

    @property
    def points(self) -> dict[str, float]:
        """What each task is worth."""
        return {task(name): float(cell.metadata.nbgrader.points) for name, cell in self.cells.items() if is_grade(cell)}


def task(grade_id: str) -> str:
    """A task's name, from the name of its check."""
    return grade_id.removeprefix("check_")


def read_assignment(file: Path) -> Assignment:
    """Read a teacher's copy and enter it into a new gradebook.

    Raises:
        GradingError: it cannot be read, or holds no checks.
    """
    try:
        text = file.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
        with tempfile.TemporaryDirectory() as folder:
            book = Path(folder) / "gradebook.db"
            book.write_bytes(empty_gradebook())
            known = resources(file.stem, book)
            with Gradebook(known["nbgrader"]["db_url"]) as gradebook:
                gradebook.update_or_create_assignment(file.stem)
            steps = (LockCells, NamedStub, ClearOutput, CheckCellMetadata, ComputeChecksums, SaveCells)
            apply(steps, copy.deepcopy(notebook), known)
            assignment = Assignment(file.stem, text, book.read_bytes(), cells)
    except Exception as error:
        raise GradingError(f"the teacher's copy {file} cannot be used: {error}") from error
    if not assignment.points:
        raise GradingError(f"the teacher's copy {file} has no checks with points")
    return assignment


@functools.cache
def empty_gradebook() -> bytes:
    """A new nbgrader gradebook, as bytes: making one takes seconds."""
    # It runs the command alembic, which lies beside Python.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "gradebook.db"
        Gradebook(f"sqlite:///{book}").close()
        return book.read_bytes()


def resources(assignment: str, gradebook: Path) -> dict:
    """What nbgrader's preprocessors want to know of a notebook."""
    known = {"notebook": assignment, "assignment": assignment, "student": STUDENT, "db_url": f"sqlite:///{gradebook}"}
    return {"nbgrader": known, "metadata": {"name": assignment}, "unique_key": assignment}


def apply(steps: tuple, notebook: NotebookNode, known: dict) -> NotebookNode:
    """Let nbgrader's preprocessors change a notebook, one after the other."""
    for step in steps:
        notebook, known = step().preprocess(notebook, known)
    return notebook

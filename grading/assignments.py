"""The teacher's copies of the assignments."""

import copy
from dataclasses import dataclass
from pathlib import Path

import nbformat
from generate import NamedStub

from minitransformer.course.reading import Assignment, read_assignment


class GradingError(Exception):
    """The grading cannot start, or was stopped; the message says what to do."""


@dataclass(frozen=True)
class Teachers:
    """The teacher's copy of an assignment.

    Args:
        name: as in "06_lora".
        text: the notebook's text.
        assignment: what was released, with the tests that students do not see.
    """

    name: str
    text: str
    assignment: Assignment

    @property
    def points(self) -> dict[str, float]:
        """What each task is worth."""
        return self.assignment.points


def teachers_copies(folder: Path) -> dict[str, Path]:
    """The teacher's copies in a folder, by assignment."""
    return {file.stem: file for file in sorted(folder.glob("*/*.ipynb")) if file.stem == file.parent.name}


def read_teachers(file: Path) -> Teachers:
    """Read a teacher's copy.

    Raises:
        GradingError: it cannot be read, or holds no checks.
    """
    try:
        text = file.read_text(encoding="utf-8")
        notebook, _ = NamedStub().preprocess(copy.deepcopy(nbformat.reads(text, as_version=4)), {})
        teachers = Teachers(file.stem, text, read_assignment(notebook.cells, file.stem))
    except Exception as error:
        raise GradingError(f"the teacher's copy {file} cannot be used: {error}") from error
    if not teachers.points:
        raise GradingError(f"the teacher's copy {file} has no checks with points")
    return teachers

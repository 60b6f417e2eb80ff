"""Mark one submission: run it, count its points, make its feedback."""

import html
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import sandbox
from assignments import STUDENT, apply, resources, task
from feedback import Writer
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    DeduplicateIds,
    LimitOutput,
    OverwriteCells,
    SaveAutoGrades,
)
from nbgrader.utils import is_grade
from submissions import Submission, read_submission, restore

HIDDEN = "BEGIN HIDDEN TESTS"
RENDERING = 30  # seconds that a feedback may take; it takes one
WRITER = Writer()


@dataclass
class Result:
    """What a student got for an assignment.

    Args:
        points: a task; empty where the machine, not the student, is why there are none.
        of: the most points a task.
        notes: what the teacher should know.
    """

    points: dict[str, float] = field(default_factory=dict)
    of: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def take(notebook: NotebookNode, ran: dict, limits: sandbox.Limits) -> list[str]:
    """Put what the cells gave into the notebook and say what went wrong.

    A check counts only where its cell ran to the end. What it printed to stderr, a warning say, is no failure.
    """
    results = ran["cells"] or [
        {"state": sandbox.NOT_RUN if cell.cell_type == "code" else "", "outputs": []} for cell in notebook.cells
    ]
    for cell, result in zip(notebook.cells, results, strict=True):
        if cell.cell_type != "code":
            continue
        cell.outputs = [nbformat.from_dict(output) for output in result["outputs"]]
        if not is_grade(cell):
            if result["state"] == sandbox.NOT_RUN:
                cell.outputs = [error("NotRun", "the run had ended before this cell")]
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                output.name = "stdout"
        if ran["tampered"]:
            cell.outputs = [error("NotCounted", "the submission changed how cells are run")]
        elif result["state"] != "ok":
            cell.outputs = [output for output in cell.outputs if output.output_type in ("stream", "error")]
            if not any(output.output_type == "error" for output in cell.outputs):
                why = ran["ended"] or "it did not run to its end"
                cell.outputs.append(error("NotPassed", why))
    notes = [f"stopped: {ran['ended']}"] if ran["ended"] else []
    if ran["tampered"]:
        notes.append("it changed how cells are run, so that failing ones look right: look at it by hand")
    late = [
        cell
        for cell in notebook.cells
        if any("ran longer than" in output.get("evalue", "") for output in cell.get("outputs", []))
    ]
    if late:
        names = ", ".join(cell.metadata.get("nbgrader", {}).get("grade_id", "a cell of its own") for cell in late)
        notes.append(f"longer than {limits.cell} s: {names}")
    return notes


def error(name: str, message: str) -> NotebookNode:
    """The output of a cell that failed for a reason of ours."""
    return nbformat.v4.new_output("error", ename=name, evalue=message, traceback=[f"{name}: {message}"])


def mark(
    submission: Submission,
    limits: sandbox.Limits,
    walled: bool,
    started: Callable[[subprocess.Popen], None] = lambda process: None,
) -> tuple[Result, str]:
    """Run a submission and count its points.

    Args:
        submission: what was handed in.
        limits: what it may use.
        walled: whether it runs inside bubblewrap.
        started: called with the process that runs it.

    Returns:
        Its result, and the feedback as HTML.

    Raises:
        sandbox.NoResult: it could not be run, for a reason that lies with this machine.
    """
    assignment = submission.assignment
    result = Result({name: 0.0 for name in assignment.points}, assignment.points)
    try:
        if submission.notebook is None:
            raise ValueError(submission.note)
        notebook = read_submission(submission.notebook)
    except ValueError as problem:
        result.notes.append(str(problem))
        return result, page(submission, result)
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder) / "gradebook.db"
        book.write_bytes(assignment.gradebook)
        known = resources(assignment.name, book)
        result.notes += restore(notebook, assignment)
        notebook = apply((ClearOutput, DeduplicateIds, OverwriteCells, CheckCellMetadata), notebook, known)
        ran = sandbox.run(nbformat.writes(notebook), limits, walled, started)
        result.notes += take(notebook, ran, limits)
        with Gradebook(known["nbgrader"]["db_url"]) as gradebook:
            gradebook.update_or_create_student(STUDENT)
            gradebook.update_or_create_submission(assignment.name, STUDENT)
        notebook = apply((LimitOutput, SaveAutoGrades), notebook, known)
        with Gradebook(known["nbgrader"]["db_url"]) as gradebook:
            graded = gradebook.find_submission_notebook(assignment.name, assignment.name, STUDENT)
            result.points |= {task(row.name): float(row.score) for row in graded.grades}
        text = feedback(notebook, Path(folder), assignment.name)
    if not text:
        result.notes.append(f"the feedback could not be written in {RENDERING} s: it has the points alone")
    return result, text or page(submission, result)


def feedback(notebook: NotebookNode, folder: Path, assignment: str) -> str:
    """nbgrader's feedback on a graded notebook as HTML, without the hidden tests and without a student's scripts.

    Args:
        notebook: what was graded.
        folder: holds its gradebook.
        assignment: its name.

    Returns:
        The page; "" where it could not be written in time.
    """
    for cell in notebook.cells:
        if is_grade(cell) and HIDDEN in cell.source:
            ClearHiddenTests().preprocess_cell(cell, {}, 0)
            for output in cell.outputs:
                if output.output_type == "error":  # the traceback would quote the hidden lines
                    output.traceback = [f"{output.ename}: {output.evalue}"]
        if HIDDEN in str(cell.get("outputs", "")):  # IPython keeps the text of the cells that ran, for all to print
            cell.outputs = [error("LeftOut", "this output quoted a hidden test")]
    nbformat.write(notebook, folder / f"{assignment}.ipynb")
    return WRITER.write(folder, assignment, RENDERING)


def page(submission: Submission, result: Result) -> str:
    """The points and notes alone as HTML, for what could not be run or shown."""
    title = html.escape(submission.assignment.name)
    score = f"{sum(result.points.values()):g} / {sum(result.of.values()):g}"
    rows = "".join(f"<li>{html.escape(name)}: {result.points[name]:g} / {of:g}</li>" for name, of in result.of.items())
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in result.notes)
    head = f'<head><meta charset="utf-8"><title>{title}</title></head>'
    return f"<!DOCTYPE html><html>{head}<body><h1>{title} (Score: {score})</h1>{notes}<ul>{rows}</ul></body></html>\n"

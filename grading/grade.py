"""Grade a class: `python grading/grade.py SUBMISSIONS` writes grades/grades.csv and grades/feedback/.

nbgrader does the grading: its preprocessors put the checks back that a student has changed, its gradebook counts the
points, its template makes the feedback. What it does not do is here: running what students wrote without trusting it
(sandbox.py), many at once, one result at a time, so that an interrupted grading goes on where it stopped.
"""

import argparse
import copy
import csv
import functools
import hashlib
import html
import io
import json
import logging
import os
import sys
import tempfile
import threading
import warnings
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
import sandbox
from generate import NamedStub
from nbconvert.exporters import HTMLExporter
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearOutput,
    ComputeChecksums,
    DeduplicateIds,
    GetGrades,
    LimitOutput,
    LockCells,
    OverwriteCells,
    SaveAutoGrades,
    SaveCells,
)
from nbgrader.utils import is_grade
from tqdm import tqdm

COURSE = Path(__file__).resolve().parents[1]
LARGEST = 20 * sandbox.MEGABYTE  # bytes of a notebook handed in
HIDDEN = "BEGIN HIDDEN TESTS"
STUDENT = "student"  # in the gradebook of one submission: a folder's name could be anything
LAYOUT = """\
A folder for each student, and in it one notebook for each assignment, at one of

    SUBMISSIONS/ada/06_lora/06_lora.ipynb              (nbgrader, JupyterHub)
    SUBMISSIONS/ada/06_lora.ipynb                      (by hand)
    SUBMISSIONS/ada/exercises/06_lora/06_lora.ipynb    (a copy of the course's repository, GitHub Classroom)"""


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


@dataclass(frozen=True)
class Submission:
    """What a student handed in.

    Args:
        student: name of the student's folder.
        assignment: the teacher's copy.
        notebook: the file; None: there is none.
        note: why there is none.
    """

    student: str
    assignment: Assignment
    notebook: Path | None
    note: str = ""


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


def read_submission(file: Path) -> NotebookNode:
    """Read what a student handed in.

    Raises:
        ValueError: it is no notebook, for the reason that the message gives.
    """
    if file.is_symlink() or not file.is_file():
        raise ValueError("not a notebook: not a plain file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"not graded: larger than {LARGEST // sandbox.MEGABYTE} MB")
    try:
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # json, unicode, recursion, nbformat's own: all the same to a teacher
        raise ValueError(f"not a notebook ({type(error).__name__})") from None
    for cell in notebook.cells:
        cell.pop("attachments", None)
    return notebook


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


def grade(
    submission: Submission, limits: sandbox.Limits, walled: bool, started=lambda process: None
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
        return result, feedback(notebook, known)


def feedback(notebook: NotebookNode, known: dict) -> str:
    """nbgrader's feedback on a graded notebook as HTML, without the hidden tests and without a student's scripts."""
    for cell in notebook.cells:
        if is_grade(cell) and HIDDEN in cell.source:
            ClearHiddenTests().preprocess_cell(cell, known, 0)
            for output in cell.outputs:
                if output.output_type == "error":  # the traceback would quote the hidden lines
                    output.traceback = [f"{output.ename}: {output.evalue}"]
    exporter = HTMLExporter(config=GenerateFeedback(coursedir=CourseDirectory()).config, sanitize_html=True)
    exporter.register_preprocessor(GetGrades, enabled=True)
    return exporter.from_notebook_node(notebook, known)[0]


def page(submission: Submission, result: Result) -> str:
    """Feedback on what could not be run, as HTML."""
    lines = "".join(f"<p>{html.escape(note)}</p>" for note in result.notes)
    score = f"{sum(result.points.values()):g} / {sum(result.of.values()):g}"
    title = html.escape(submission.assignment.name)
    return f'<!DOCTYPE html><html><head><meta charset="utf-8"><title>{title}</title></head><body><h1>{title} (Score: {score})</h1>{lines}</body></html>'


def find_submissions(folder: Path, assignments: dict[str, Assignment], chosen: str | None) -> list[Submission]:
    """Find what each student handed in.

    Args:
        folder: holds a folder a student; see `LAYOUT`.
        assignments: the teacher's copies by name.
        chosen: the one assignment to grade; None: every one that at least one student handed in.

    Raises:
        GradingError: there is nothing to grade in there.
    """
    if not folder.is_dir():
        raise GradingError(f"{folder} is not a folder.\n{LAYOUT}")
    students = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = [chosen] if chosen else list(assignments)
    found = {(path.name, name): file for path in students for name in names if (file := find(path, name))}
    graded = [name for name in names if any(key[1] == name for key in found)]
    if not graded:
        what = chosen or "any assignment that there is a teacher's copy of"
        raise GradingError(f"no student's folder in {folder} holds a notebook of {what}.\n{LAYOUT}")
    submissions = []
    for path in students:
        for name in graded:
            others = [file.name for file in sorted(path.glob("*.ipynb")) if file.stem not in assignments]
            note = f"nothing handed in: no {name}.ipynb" + (f", but {', '.join(others[:3])}" if others else "")
            submissions.append(Submission(path.name, assignments[name], found.get((path.name, name)), note))
    return submissions


def find(student: Path, name: str) -> Path | None:
    """A student's notebook of an assignment."""
    for place in (student / name, student, student / "exercises" / name):
        file = place / f"{name}.ipynb"
        if file.is_symlink() or file.exists():
            return file
    return None


def key(submission: Submission, limits: sandbox.Limits) -> str:
    """A checksum of all that a result depends on."""
    parts = [submission.assignment.text, json.dumps(asdict(limits)), submission.student]
    file = submission.notebook
    plain = file is not None and not file.is_symlink() and file.is_file() and file.stat().st_size <= LARGEST
    parts.append(hashlib.sha256(file.read_bytes()).hexdigest() if plain else submission.note)
    return hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()


def write(file: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, file)


def write_grades(file: Path, results: dict[tuple[str, str], Result]) -> None:
    """Write the table: a row a student and assignment, a column a task."""
    tasks = list(
        dict.fromkeys(name for _, result in sorted(results.items(), key=lambda row: row[0][1]) for name in result.of)
    )
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["student", "assignment", *tasks, "total", "of", "note"])
    for (student, assignment), result in sorted(results.items()):
        total = f"{sum(result.points.values()):g}" if result.points else ""
        points = [f"{result.points[name]:g}" if name in result.points else "" for name in tasks]
        shown = f"'{student}" if student[0] in "=+-@" else student  # spreadsheets take such a name for a formula
        rows.writerow([shown, assignment, *points, total, f"{sum(result.of.values()):g}", "; ".join(result.notes)])
    write(file, text.getvalue())


class Grading:
    """One grading of a class.

    Args:
        out: the folder that the results go to.
        limits: what a submission may use.
        walled: whether submissions run inside bubblewrap.
        jobs: how many submissions run at once.
    """

    def __init__(self, out: Path, limits: sandbox.Limits, walled: bool, jobs: int) -> None:
        self.out, self.limits, self.walled, self.jobs = out, limits, walled, jobs
        self.stopped, self.lock, self.running = False, threading.Lock(), set()

    def file(self, submission: Submission) -> Path:
        """Where a result is kept."""
        return self.out / "results" / submission.student / f"{submission.assignment.name}.json"

    def finished(self, submission: Submission) -> Result | None:
        """The result of an earlier run; None: there is none, or something has changed since."""
        try:
            kept = json.loads(self.file(submission).read_text(encoding="utf-8"))
            if kept.pop("key") == key(submission, self.limits) and self.page(submission).exists():
                return Result(**kept)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def page(self, submission: Submission) -> Path:
        """Where a student's feedback goes."""
        return self.out / "feedback" / submission.student / f"{submission.assignment.name}.html"

    def started(self, process) -> None:
        """Remember a process, to end it when the grading is stopped."""
        with self.lock:
            self.running.add(process.pid)
            stopped = self.stopped
        if stopped:
            sandbox.kill(process.pid)

    def one(self, submission: Submission) -> Result:
        """Grade a submission and keep its result."""
        if self.stopped:
            raise GradingError("stopped")
        try:
            result, text = grade(submission, self.limits, self.walled, self.started)
        except sandbox.NoResult as problem:
            return Result({}, submission.assignment.points, [f"NOT GRADED, the machine's fault: {problem}"])
        if self.stopped:
            raise GradingError("stopped")
        write(self.page(submission), text)
        kept = {"key": key(submission, self.limits), **asdict(result)}
        write(self.file(submission), json.dumps(kept, indent=1) + "\n")
        return result

    def try_out(self, assignments: list[Assignment]) -> None:
        """Grade the teacher's own copies: one that does not get all points would cost every student theirs.

        Raises:
            GradingError: one does not.
        """
        for assignment in assignments:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "teacher.ipynb"
                file.write_text(assignment.text, encoding="utf-8")
                teacher = Submission(".teacher", assignment, file)
                result = self.finished(teacher) or self.one(teacher)
            if not result.points:
                raise GradingError(f"a notebook cannot be run on this machine: {'; '.join(result.notes)}")
            if result.points != result.of:
                self.file(teacher).unlink()
                lost = [name for name in result.of if result.points[name] != result.of[name]]
                raise GradingError(
                    f"the teacher's own copy of {assignment.name} does not get its points for {', '.join(lost)} "
                    f"({'; '.join(result.notes) or 'its check fails'}). Is it right? Are --timeout and --memory enough?"
                )

    def all(self, submissions: list[Submission]) -> dict[tuple[str, str], Result]:
        """Grade all that is not graded yet, and write the table after each.

        Raises:
            KeyboardInterrupt: somebody pressed Ctrl-C. What was finished is kept.
        """
        results = {}
        for submission in submissions:
            if result := self.finished(submission):
                results[submission.student, submission.assignment.name] = result
        rest = [it for it in submissions if (it.student, it.assignment.name) not in results]
        bar = tqdm(total=len(submissions), initial=len(results), desc="grading", unit="notebook")
        pool = ThreadPoolExecutor(self.jobs)
        try:
            waiting = {pool.submit(self.one, submission): submission for submission in rest}
            while waiting:
                for future in wait(waiting, timeout=1, return_when=FIRST_COMPLETED).done:
                    submission = waiting.pop(future)
                    results[submission.student, submission.assignment.name] = self.outcome(future, submission)
                    write_grades(self.out / "grades.csv", results)
                    bar.update()
        finally:
            self.stop()
            pool.shutdown(cancel_futures=True)
            bar.close()
        write_grades(self.out / "grades.csv", results)
        return results

    def outcome(self, future, submission: Submission) -> Result:
        """What a submission got; an error of this program's costs nobody else their grade."""
        try:
            return future.result()
        except Exception as problem:
            note = f"NOT GRADED, the grader's fault: {type(problem).__name__}: {problem}"
            return Result({}, submission.assignment.points, [note])

    def stop(self) -> None:
        """End what is still running."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        for process in running:
            sandbox.kill(process)


def protection(reason: str) -> str:
    """What protects this machine from the submissions, in words.

    Args:
        reason: why there is no bubblewrap; "": there is.
    """
    if not reason:
        return (
            "Each submission runs in bubblewrap: no network, no file but Python's own and its scratch folder, "
            "with limits on time, memory, disk and processes."
        )
    return (
        f"WARNING: {reason}. Each submission runs in a process of its own with limits on time, memory, disk and processes, "
        "but it CAN read and change every file that you can, and it CAN use the network. "
        "Grade what you do not trust on Linux with bubblewrap, or in a virtual machine or container that holds nothing else."
    )


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status: 0, 1 where something was not graded, 2 on a wrong call, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(
        description="Grade a class and write grades.csv and feedback/ a student.",
        epilog=LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("submissions", type=Path, help="the folder with a folder for each student")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (default: grades)")
    parser.add_argument("--assignment", help="grade this one only, as in 06_lora (default: all that are there)")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for a submission; a third for a cell (60)")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes for a submission (2048)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (2)")
    parser.add_argument("--hidden", type=Path, help="folder with teacher's copies to use instead of solutions/")
    parser.add_argument("--no-bubblewrap", action="store_true", help="do without it, for submissions that you trust")
    options = parser.parse_args(arguments)
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="nbgrader")
    try:
        return command(options)
    except GradingError as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Finished results are kept: the same command goes on from here.", file=sys.stderr)
        return 130


def command(options: argparse.Namespace) -> int:
    """Grade as the command line says. See `main`.

    Raises:
        GradingError: the grading cannot start.
    """
    for name in ("timeout", "memory", "jobs"):
        if getattr(options, name) < 1:
            raise GradingError(f"--{name} is {getattr(options, name)}; it must be 1 or more")
    folder, out = options.submissions.resolve(), options.out.resolve()
    if out == folder or folder in out.parents:
        raise GradingError(f"--out {options.out} lies within the submissions; choose a folder beside them")
    teachers = options.hidden or COURSE / "solutions"
    files = {file.stem: file for file in sorted(teachers.glob("*/*.ipynb")) if file.stem == file.parent.name}
    if options.assignment and options.assignment not in files:
        raise GradingError(
            f"there is no teacher's copy of {options.assignment!r} in {teachers}, only {', '.join(files) or 'nothing'}"
        )
    if not files:
        raise GradingError(f"{teachers} holds no teacher's copies, as in 06_lora/06_lora.ipynb")
    chosen = {options.assignment: files[options.assignment]} if options.assignment else files
    submissions = find_submissions(
        folder, {name: read_assignment(file) for name, file in chosen.items()}, options.assignment
    )
    reason = "--no-bubblewrap was given" if options.no_bubblewrap else sandbox.bubblewrap()[1]
    print(protection(reason))
    limits = sandbox.Limits(seconds=options.timeout, memory=options.memory)
    grading = Grading(out, limits, not reason, options.jobs)
    try:
        grading.try_out(list({it.assignment.name: it.assignment for it in submissions}.values()))
        results = grading.all(submissions)
    finally:
        grading.stop()
    missing = sum(not result.points for result in results.values())
    noted = sum(bool(result.notes) for result in results.values())
    print(
        f"{len(results)} graded, {noted} with a note: {options.out / 'grades.csv'}; feedback in {options.out / 'feedback'}"
    )
    if missing:
        print(f"{missing} NOT graded: the same command tries them again", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

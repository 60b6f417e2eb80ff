"""Grade a class: `python grading/grade.py SUBMISSIONS` writes grades/grades.csv and grades/feedback/.

nbgrader does the grading: its preprocessors put the checks back that a student has changed, its gradebook counts the
points, its template makes the feedback. What it does not do is here: running what students wrote without trusting it,
many at once, one result at a time, so that an interrupted grading goes on where it stopped. From the outside in:

    grade.py         the command: a class, its table of grades, what is finished already
    submissions.py   finds and reads what was handed in, and puts back what belongs to the teacher
    assignments.py   reads the teacher's copies
    marking.py       one submission: its points; feedback.py writes its page
    sandbox.py       runs a notebook behind walls: supervisor.py watches it, kernel.py runs its cells
"""

import argparse
import csv
import hashlib
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

import sandbox
from assignments import Assignment, GradingError
from marking import Result, mark
from submissions import LARGEST, LAYOUT, Submission, find_submissions
from tqdm import tqdm

COURSE = Path(__file__).resolve().parents[1]


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

    def started(self, process: subprocess.Popen) -> None:
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
            result, text = mark(submission, self.limits, self.walled, self.started)
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

    def outcome(self, future: Future, submission: Submission) -> Result:
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


def teachers_copies(folder: Path) -> dict[str, Path]:
    """The teacher's copies in a folder, by assignment."""
    return {file.stem: file for file in sorted(folder.glob("*/*.ipynb")) if file.stem == file.parent.name}


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


def command_line() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        description="Grade a class and write grades.csv and feedback/ a student.",
        epilog=LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("submissions", help="the folder with a folder for each student")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (default: grades)")
    parser.add_argument("--assignment", help="grade this one only, as in 06_lora (default: all that are there)")
    parser.add_argument("--timeout", type=int, default=60, help="seconds for a submission; a third for a cell (60)")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes for a submission (2048)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (2)")
    parser.add_argument("--hidden", type=Path, help="folder with teacher's copies that go before those in solutions/")
    parser.add_argument("--no-bubblewrap", action="store_true", help="do without it, for submissions that you trust")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status: 0, 1 where something was not graded, 2 on a wrong call, 130 on Ctrl-C."""
    options = command_line().parse_args(arguments)
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
    if not options.submissions:
        raise GradingError(f"SUBMISSIONS is empty; name a folder: make grade SUBMISSIONS=folder\n{LAYOUT}")
    folder, out = Path(options.submissions).resolve(), options.out.resolve()
    if out == folder or folder in out.parents:
        raise GradingError(f"--out {options.out} lies within the submissions; choose a folder beside them")
    files = teachers_copies(COURSE / "solutions")
    if options.hidden:
        own = teachers_copies(options.hidden)
        if not own:
            raise GradingError(f"--hidden {options.hidden} holds no teacher's copies, as in 06_lora/06_lora.ipynb")
        files |= own
    if options.assignment:
        if options.assignment not in files:
            raise GradingError(f"--assignment is {options.assignment!r}; there is {', '.join(files) or 'none'}")
        files = {options.assignment: files[options.assignment]}
    if not files:
        raise GradingError(f"{COURSE / 'solutions'} holds no teacher's copies, as in 06_lora/06_lora.ipynb")
    reason = "--no-bubblewrap was given" if options.no_bubblewrap else sandbox.bubblewrap()[1]
    for private in (folder, out, *(file.resolve() for file in files.values())):
        if not reason and (visible := sandbox.visible(private)):
            raise GradingError(f"{private} lies within {visible}, which submissions can read; choose another place")
    submissions = find_submissions(folder, files)
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

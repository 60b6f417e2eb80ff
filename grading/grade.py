"""Grade a class: `python grading/grade.py SUBMISSIONS` writes grades/grades.csv, grades/totals.csv and grades/feedback/.

It runs what students wrote without trusting it, many at once, one result at a time, so that an interrupted grading goes on where
it stopped. From the outside in:

    grade.py         the command: a class, what is finished already
    table.py         the tables of grades, with what the teacher changed in them; late.py: late days
    submissions.py   finds and reads what was handed in
    assignments.py   reads the teacher's copies
    marking.py       one submission: its points; feedback.py makes its page
    sandbox.py       runs tasks behind walls, and watches them

How tasks are found in a notebook and run stands in minitransformer/course/reading.py and running.py; `progress` uses the same.
"""

import argparse
import dataclasses
import hashlib
import json
import logging
import sys
import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path

import sandbox
from assignments import GradingError, Teachers, teachers_copies
from feedback import page
from late import Rule, lateness, read_rule
from marking import Result, mark
from submissions import LARGEST, LAYOUT, Submission, find_students, find_submissions
from table import NO_DAYS, Key, Table, write
from tqdm import tqdm

from minitransformer.course.running import Limits, NoResult

COURSE = Path(__file__).resolve().parents[1]
NOT_GRADED = "NOT GRADED"
NO_WALLS = """\
Nothing was run: {reason}, so there would be no walls around what students wrote. It could read and change every file that you can, and use the network.
Get walls in one of these ways:
    Linux                 sudo apt install bubblewrap     (or dnf, pacman, zypper)
    Windows               the same inside WSL 2
    macOS, or no rights   a virtual machine or a container that holds nothing but the course and the submissions; there, --no-bubblewrap
Or add --no-bubblewrap, if you trust every submission."""


class Grading:
    """One grading of a class.

    Args:
        out: the folder that the results go to.
        limits: what a task may use.
        walled: whether submissions run inside bubblewrap.
        jobs: how many submissions run at once.
        rule: on late days; None: there is none.
        watched: without walls, the folders that must stay as they are.
    """

    def __init__(
        self,
        out: Path,
        limits: Limits,
        walled: bool,
        jobs: int,
        rule: Rule | None = None,
        watched: sandbox.Footprint | None = None,
    ) -> None:
        self.out, self.limits, self.jobs, self.rule, self.watched = out, limits, jobs, rule, watched
        self.place, self.lock = sandbox.Watched(limits, walled), threading.Lock()
        self.table, self.results = Table.read(out), self.kept()
        self.seen = watched.take() if watched else {}

    def kept(self) -> dict[Key, Result]:
        """The results of earlier gradings."""
        results = {}
        for file in sorted((self.out / "results").glob("*/*.json")):
            if file.parent.name != ".teacher" and (result := read_result(file)) is not None:
                results[file.parent.name, file.stem] = result[1]
        return results

    def file(self, key: Key) -> Path:
        """Where a result is kept."""
        return self.out / "results" / key[0] / f"{key[1]}.json"

    def page(self, key: Key) -> Path:
        """Where a student's feedback goes."""
        return self.out / "feedback" / key[0] / f"{key[1]}.html"

    def finished(self, submission: Submission) -> Result | None:
        """The result of an earlier run; None: there is none, or something has changed since."""
        kept = read_result(self.file(submission.key))
        return kept[1] if kept is not None and kept[0] == checksum(submission, self.limits) else None

    def one(self, submission: Submission, only: set[str] | None = None) -> Result:
        """Grade a submission and keep its result.

        Args:
            submission: what was handed in.
            only: the tasks to run; the others keep what they have.
        """
        if self.place.stopped:
            raise GradingError("stopped")
        before = self.finished(submission) if only else None
        try:
            result = mark(submission, self.limits, self.place, only if before else None)
        except NoResult as problem:
            note = f"{NOT_GRADED}, the machine's fault: {problem}"
            return Result([], submission.teachers.points, [note], submission.notebook is not None)
        if self.place.stopped:
            raise GradingError("stopped")
        if before:
            new = {row["task"]: row for row in result.rows}
            result = dataclasses.replace(before, rows=[new.get(row["task"], row) for row in before.rows])
        if self.watched:
            self.look_around(result)
        kept = {"key": checksum(submission, self.limits), **asdict(result)}
        write(self.file(submission.key), json.dumps(kept, indent=1) + "\n")
        return result

    def look_around(self, result: Result) -> None:
        """Note what a submission has changed outside its scratch folder."""
        with self.lock:
            now = self.watched.take()
            changed, self.seen = sandbox.changes(self.seen, now), now
        if changed:
            more = f", and {len(changed) - 3} more" if len(changed) > 3 else ""
            result.notes.insert(
                0, f"LOOK: while it ran, files outside its scratch folder changed: {', '.join(changed[:3])}{more}"
            )

    def try_out(self, every: list[Teachers]) -> None:
        """Grade the teacher's own copies: one that does not get all points would cost every student theirs.

        Raises:
            GradingError: one does not.
        """
        for teachers in every:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "teacher.ipynb"
                file.write_text(teachers.text, encoding="utf-8")
                teacher = Submission(".teacher", teachers, file)
                result = self.finished(teacher) or self.one(teacher)
            if not result.rows:
                raise GradingError(f"nothing can be run on this machine: {'; '.join(result.notes)}")
            if result.points != result.of:
                self.file(teacher.key).unlink()
                lost = [f"{row['task']} ({row['message']})" for row in result.rows if row["state"] != "done"]
                raise GradingError(
                    f"the teacher's own copy of {teachers.name} does not get its points for {', '.join(lost)}. "
                    "Is it right? Are --timeout and --memory enough?"
                )

    def all(self, submissions: list[Submission], again: bool = False, only: set[str] | None = None) -> list[Key]:
        """Grade all that is not graded yet, and write the tables after each.

        Args:
            submissions: what was handed in.
            again: also what was graded already.
            only: of what was graded already, run these tasks again and no others.

        Returns:
            The keys of what is graded now.

        Raises:
            KeyboardInterrupt: somebody pressed Ctrl-C. What was finished is kept.
        """
        rest = []
        for submission in submissions:
            result = self.finished(submission)
            if result is None or again or only:
                rest.append(submission)
            else:
                self.results[submission.key] = result
        done = len(submissions) - len(rest)
        bar = tqdm(total=len(submissions), initial=done, desc="grading", unit="notebook")
        pool = ThreadPoolExecutor(self.jobs)
        try:
            waiting = {pool.submit(self.one, submission, only): submission for submission in rest}
            while waiting:
                for future in wait(waiting, timeout=1, return_when=FIRST_COMPLETED).done:
                    submission = waiting.pop(future)
                    self.results[submission.key] = self.outcome(future, submission)
                    self.table.save(self.results, self.late())
                    bar.update()
        finally:
            self.place.stop_all()
            pool.shutdown(cancel_futures=True)
            bar.close()
        self.table.save(self.results, self.late())
        for submission in submissions:
            self.write_page(submission)
        return [submission.key for submission in submissions]

    def late(self) -> dict:
        """How late each submission was."""
        return lateness(self.results, self.rule) if self.rule else {}

    def write_page(self, submission: Submission) -> None:
        """Write a student's page; where nobody knows the points there is none."""
        key = submission.key
        result = self.results[key]
        if not result.rows:
            return
        late = self.late().get(key, NO_DAYS)
        points = self.table.points(key, result)
        lines = [late.line] if late.line else []
        total = self.table.edits.get(key, {}).get("total")
        lines += [f"The teacher gives {total} in all."] if total else []
        write(self.page(key), page(key[0], submission.teachers.assignment, result, points, lines))

    def outcome(self, future: Future, submission: Submission) -> Result:
        """What a submission got; an error of this program's costs nobody else their grade."""
        try:
            return future.result()
        except Exception as problem:
            note = f"{NOT_GRADED}, the grader's fault: {type(problem).__name__}: {problem}"
            return Result([], submission.teachers.points, [note])


def checksum(submission: Submission, limits: Limits) -> str:
    """A checksum of all that a result depends on."""
    parts = [submission.teachers.text, json.dumps(asdict(limits)), submission.student, *submission.notes]
    file = submission.notebook
    plain = file is not None and not file.is_symlink() and file.is_file() and file.stat().st_size <= LARGEST
    parts.append(hashlib.sha256(file.read_bytes()).hexdigest() if plain else "")
    return hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()


def read_result(file: Path) -> tuple[str, Result] | None:
    """The key and the result that a file holds; None where it holds none."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return kept.pop("key"), Result(**kept)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def what_changed(
    before: dict[Key, dict[str, str]], table: Table, results: dict[Key, Result], keys: list[Key]
) -> list[str]:
    """What a grading changed in rows that were there before, and what it left because it is the teacher's."""
    lines = []
    for key in keys:
        old, new = before.get(key), table.rows.get(key, {})
        if old is not None and old.get("total") != new.get("total"):
            lines.append(
                f"changed: {key[0]}, {key[1]}: {old.get('total') or 'nothing'} -> {new.get('total') or 'nothing'}"
            )
    for key, edits in sorted(table.edits.items()):
        points = results[key].points if key in results else {}
        for column, value in edits.items():
            ours = points.get(column.partition("/")[2])
            gives = f" (the check gives {ours:g})" if ours is not None else ""
            lines.append(
                f"kept, the teacher's: {key[0]}, {column if '/' in column else f'{key[1]} {column}'}: {value}{gives}"
            )
    others = len(table.rows.keys() - set(keys))
    return lines + ([f"{others} other rows were left as they are"] if others else [])


def protection(reason: str, limits: Limits) -> str:
    """What protects this machine from the submissions, in words.

    Args:
        reason: why there is no bubblewrap; "": there is.
        limits: of a task.
    """
    may = f"{limits.seconds} s, {limits.memory} MB of memory, {limits.disk} MB of files, {sandbox.PROCESSES} processes"
    if not reason:
        return f"Each task runs in bubblewrap: no network, no file but Python's own and its scratch folder. It may use {may}."
    return (
        f"WARNING: {reason}. Each task runs in a process of its own and may use {may}, "
        "but it CAN read and change every file that you can, and it CAN use the network. One runs at a time; "
        "what changes meanwhile in this Python, the course, the submissions and your home folder is noted."
    )


def command_line() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        description="Grade a class and write grades.csv, totals.csv and feedback/ a student.",
        epilog=LAYOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("submissions", help="the folder with a folder for each student, or a platform's archive")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="where the results go (default: grades)")
    parser.add_argument("--assignment", help="grade this one only, as in 06_lora (default: all that are there)")
    parser.add_argument("--student", help="grade this one only, and again")
    parser.add_argument("--task", help="run this task only, and again; the others keep what they have")
    parser.add_argument("--again", action="store_true", help="also grade what was graded already")
    parser.add_argument("--late", type=Path, help="file with a rule on late days")
    parser.add_argument("--timeout", type=int, default=20, help="seconds for a task (20)")
    parser.add_argument("--memory", type=int, default=2048, help="megabytes for a task (2048)")
    parser.add_argument("--jobs", type=int, default=2, help="how many submissions at once (2)")
    parser.add_argument("--hidden", type=Path, help="folder with teacher's copies that go before those in solutions/")
    parser.add_argument("--no-bubblewrap", action="store_true", help="do without it, for submissions that you trust")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns its exit status: 0, 1 where something was not graded, 2 on a wrong call, 130 on Ctrl-C."""
    options = command_line().parse_args(arguments)
    logging.getLogger("traitlets").setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as stage:
            return command(options, Path(stage).resolve())
    except GradingError as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. Finished results are kept: the same command goes on from here.", file=sys.stderr)
        return 130


def teachers_files(options: argparse.Namespace) -> dict[str, Path]:
    """The teacher's copies that the options ask for, by assignment.

    Raises:
        GradingError: there are none.
    """
    files = teachers_copies(COURSE / "solutions")
    if options.hidden:
        own = teachers_copies(options.hidden)
        if not own:
            raise GradingError(f"--hidden {options.hidden} holds no teacher's copies, as in 06_lora/06_lora.ipynb")
        files |= own
    if not files:
        raise GradingError(f"{COURSE / 'solutions'} holds no teacher's copies, as in 06_lora/06_lora.ipynb")
    if options.assignment and options.assignment not in files:
        raise GradingError(f"--assignment is {options.assignment!r}; there is {', '.join(files)}")
    return files


def command(options: argparse.Namespace, stage: Path) -> int:
    """Grade as the command line says. See `main`.

    Args:
        options: of the command line.
        stage: an empty folder, for what has to be unpacked.

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
    rule = read_rule(options.late) if options.late else None
    files = teachers_files(options)
    students = find_students(folder, stage)
    if options.student:
        if options.student not in students:
            raise GradingError(f"--student is {options.student!r}; there is {', '.join(students) or 'none'}")
        students = {options.student: students[options.student]}
    submissions = find_submissions(students, files, options.assignment or "")
    if options.task:
        submissions = [it for it in submissions if options.task in it.teachers.points]
        if not submissions:
            raise GradingError(f"--task is {options.task!r}; no assignment that was handed in has such a task")
    reason = sandbox.bubblewrap()[1]
    if reason and not options.no_bubblewrap:
        raise GradingError(NO_WALLS.format(reason=reason))
    reason = "--no-bubblewrap was given" if options.no_bubblewrap else ""
    for private in (folder, out, *(file.resolve() for file in files.values())):
        if not reason and (visible := sandbox.visible(private)):
            raise GradingError(f"{private} lies within {visible}, which submissions can read; choose another place")
    processes = 256 if not reason and sandbox.countable() else 0
    limits = Limits(options.timeout, options.memory, processes=processes)
    print(protection(reason, limits))
    watched = None
    if reason:
        watched = sandbox.Footprint(
            (Path(sys.prefix), COURSE, folder, Path.home()), (out, stage, Path.home() / ".cache")
        )
    grading = Grading(out, limits, not reason, 1 if reason else options.jobs, rule, watched)
    before = dict(grading.table.rows)
    try:
        grading.try_out(list({it.teachers.name: it.teachers for it in submissions}.values()))
        again = options.again or bool(options.student)
        keys = grading.all(submissions, again, {options.task} if options.task else None)
    finally:
        grading.place.stop_all()
    for line in what_changed(before, grading.table, grading.results, keys):
        print(line)
    return summary([grading.results[key] for key in keys], options.out)


def summary(results: list[Result], out: Path) -> int:
    """Print how many were graded; the exit status."""
    missing = sum(not result.rows for result in results)
    absent = sum(bool(result.rows) and not result.handed_in for result in results)
    noted = sum(bool(result.notes) and result.handed_in and bool(result.rows) for result in results)
    graded = len(results) - missing - absent
    print(f"{graded} graded, {noted} of them with a note; {absent} not handed in")
    print(f"{out / 'grades.csv'}, {out / 'totals.csv'}; pages for the students in {out / 'feedback'}")
    if missing:
        print(f"{missing} NOT graded: the same command tries them again", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

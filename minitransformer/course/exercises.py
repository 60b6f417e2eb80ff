"""The exercises: reading their tasks out of a notebook, running the checks, showing what is done.

A notebook of exercises is a setup cell and then one task after the other. A task ends with its check. All cells since the
check before belong to it: what is given, the answer, and whatever cells the learner adds.
"""

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

EXERCISES = Path(__file__).parents[2] / "exercises"
TIME_LIMIT = 120  # seconds for all checks of a notebook; they take a few


@dataclass(frozen=True)
class Exercise:
    """One task of a notebook.

    Args:
        name: the grade_id of its answer, as in "merge_lora".
        points: what it is worth.
        cells: source of its cells in order, the check last.
        answer: which of the cells holds the answer.
    """

    name: str
    points: float
    cells: tuple[str, ...]
    answer: int


def read_exercises(notebook: Path) -> tuple[str, list[Exercise]]:
    """Read the setup cell and the tasks of a notebook.

    Raises:
        ValueError: the file is no notebook, or a check has no answer cell before it.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook} cannot be read as a notebook ({error})") from None
    setup, tasks, own, answer = "", [], [], None
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        source, marks = "".join(cell["source"]), cell["metadata"].get("nbgrader", {})
        name = marks.get("grade_id", "")
        if name == "setup":
            setup = source
            continue
        if marks.get("solution"):
            answer = (name, len(own))
        own.append(source)
        if marks.get("grade"):
            if answer is None or name != f"check_{answer[0]}":
                raise ValueError(f"{notebook}: the check {name!r} has no answer cell before it; get the file anew")
            tasks.append(Exercise(answer[0], marks["points"], tuple(own), answer[1]))
            own, answer = [], None
    return setup, tasks


def run_cells(cells: list[str]) -> None:
    """Run the cells one after the other in a namespace of their own, without their printing.

    Raises:
        Exception: what a cell raises: AssertionError from a check, NotImplementedError from an open task.
    """
    namespace = {"__name__": "__exercise__"}
    with redirect_stdout(io.StringIO()):
        for source in cells:
            exec(compile(source, "<cell>", "exec"), namespace)


def check(setup: str, task: Exercise) -> tuple[str, str]:
    """Run one task: ("done", ""), ("open", ""), or ("wrong" or "error", what the check or Python says)."""
    try:
        run_cells([setup, *task.cells])
    except NotImplementedError:
        return "open", ""
    except AssertionError as error:
        return "wrong", str(error)
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
    return "done", ""


def check_notebook(notebook: Path, time_limit: float = TIME_LIMIT) -> list[dict]:
    """Run the checks of a notebook in a process of its own.

    Args:
        notebook: the learner's copy.
        time_limit: seconds for the whole notebook.

    Returns:
        A row a task: name, points, state ("done", "open", "wrong", "error", "not run") and message.

    Raises:
        ValueError: the file is no notebook of exercises.
    """
    _, tasks = read_exercises(notebook)
    command = [sys.executable, "-m", "minitransformer.course.exercises", str(notebook)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=time_limit)
        lines, why = ended.stdout, (ended.stderr.strip().splitlines() or ["the process ended"])[-1]
    except subprocess.TimeoutExpired as late:
        lines, why = (
            (late.stdout or b"").decode("utf-8"),
            f"ran longer than {time_limit:g} s; is there an endless loop?",
        )
    rows = [json.loads(line) for line in lines.splitlines()]
    for place, task in enumerate(tasks[len(rows) :]):
        state, message = ("error", why) if place == 0 else ("not run", "")
        rows.append({"name": task.name, "points": task.points, "state": state, "message": message})
    return rows


def progress(folder: Path | None = None) -> None:
    """Run the checks of every notebook of exercises and print a table: done, open, points.

    Args:
        folder: the exercises, a folder each; None: `exercises` in the current folder, or else the course's own.

    Raises:
        ValueError: the folder holds no exercises.
    """
    if folder is None:
        here = Path("exercises")
        folder = here if here.is_dir() or not EXERCISES.is_dir() else EXERCISES
    notebooks = sorted(folder.glob("[0-9][0-9]_*/[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise ValueError(
            f"{folder} holds no exercises; run this where your folder exercises/ is, or name it: progress FOLDER"
        )
    print(f"{'lesson':<28}{'done':>6}{'open':>6}{'points':>10}")
    earned = total = 0.0
    for notebook in notebooks:
        try:
            rows = check_notebook(notebook)
        except ValueError as problem:  # one damaged file must not hide the others
            print(f"{notebook.stem:<28}{problem}")
            continue
        points = sum(row["points"] for row in rows if row["state"] == "done")
        of = sum(row["points"] for row in rows)
        done = sum(row["state"] == "done" for row in rows)
        print(f"{notebook.stem:<28}{done:>6}{len(rows) - done:>6}{f'{points:g} of {of:g}':>10}", flush=True)
        for row in rows:
            if row["state"] in ("wrong", "error"):
                print(f"    {row['name']}: {row['message'].splitlines()[0] if row['message'] else row['state']}")
        earned, total = earned + points, total + of
    print(f"{'all':<40}{f'{earned:g} of {total:g}':>10}")


def main(notebook: str) -> None:
    """Check a notebook's tasks and print a line of JSON for each, as soon as it is known."""
    setup, tasks = read_exercises(Path(notebook))
    for task in tasks:
        state, message = check(setup, task)
        row = {"name": task.name, "points": task.points, "state": state, "message": message}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""The learner's side of the exercises: what is done, what is open, one task anew, one more hint.

The assignments as they were released lie in released/, beside this file, so that a check which somebody has edited, or a copy
without one, changes nothing.
"""

import functools
import io
import json
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

from minitransformer.course.reading import (
    Assignment,
    Exercise,
    parts_of,
    read_assignment,
    read_cells,
    read_exercises,
)
from minitransformer.course.report import write_report
from minitransformer.course.running import Limits, NoResult, Outcome, evaluate

EXERCISES = Path(__file__).parents[2] / "exercises"
RELEASED = Path(__file__).parent / "released"
HINTS = ".hints.json"  # beside the exercises: how many hints of each task were shown
__all__ = ["check", "hint", "progress", "read_exercises", "released", "reset", "run_cells"]


# ---- what was released, and what is in a folder -----------------------------------------------------------------------


@functools.cache
def released() -> dict[str, Assignment]:
    """The assignments as they were released, by name."""
    files = sorted(RELEASED.glob("*.ipynb"))
    return {
        file.stem: read_assignment(json.loads(file.read_text(encoding="utf-8"))["cells"], file.stem) for file in files
    }


def notebooks_in(folder: Path, assignments: dict[str, Assignment]) -> dict[str, tuple[Path, str]]:
    """Find the notebook of each assignment in a folder, by its name, or else by what it defines.

    Args:
        folder: it and its folders, three deep, are searched.
        assignments: as released, by name.

    Returns:
        For each assignment that is there: the file, and a note where its name is not the assignment's.
    """
    places = ("*.ipynb", "*/*.ipynb", "*/*/*.ipynb", "*/*/*/*.ipynb")
    files = [file for place in places for file in sorted(folder.glob(place)) if not hidden(file.relative_to(folder))]
    found: dict[str, tuple[Path, str]] = {}
    for name in assignments:
        exact = [file for file in files if file.stem == name]
        alike = [file for file in files if plain(name) in plain(file.stem) and file not in exact]
        if exact or alike:
            best = exact[0] if exact else max(alike, key=lambda file: (copy_number(file), file.name))
            found[name] = (best, "" if exact else f"its name is {best.name}, not {name}.ipynb")
    named = {file for name in assignments for file in files if plain(name) in plain(file.stem)}
    for file in files:
        if file not in named and (name := identify(file, assignments)) and name not in found:
            found[name] = (file, f"its name is {file.name}, not {name}.ipynb")
    return found


def hidden(path: Path) -> bool:
    """Whether a path is one that its owner does not see: a checkpoint of Jupyter's, or what macOS puts into archives."""
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def plain(name: str) -> str:
    """A file's name without what systems change in it: case, blanks, signs."""
    return re.sub(r"[\W_]", "", name.lower())


def copy_number(file: Path) -> int:
    """Which copy of a file it is, as in "06_lora (1)" or "06_lora-Copy2"; 0 where its name ends otherwise."""
    number = re.search(r"(?:\(|copy|-)(\d+)\)?$", file.stem.lower())
    return int(number[1]) if number else 0


def identify(file: Path, assignments: dict[str, Assignment]) -> str:
    """The assignment that a notebook is a copy of: at least half of its tasks are named in it; "" if there is none.

    Nothing is parsed as Python here: the text may be made to break a parser.
    """
    try:
        if file.is_symlink() or file.stat().st_size > 20_000_000:
            return ""
        text = "\n".join(cell.source for cell in read_cells(file.read_bytes())[0] if cell.kind == "code")
    except (OSError, ValueError):
        return ""
    defined = set(re.findall(r"^\s*(?:def|class)\s+(\w+)", text, re.M)) | set(re.findall(r"^(\w+)\s*[:=]", text, re.M))
    shares = {
        name: sum(bool(set(task.names) & defined) for task in it.tasks) / len(it.tasks)
        for name, it in assignments.items()
    }
    best = max(shares, key=shares.__getitem__, default="")
    return best if best and shares[best] >= 0.5 else ""


def own_folder(folder: Path | None) -> Path:
    """The learner's exercises: the folder that was named, or `exercises` here, or the course's own.

    Raises:
        ValueError: there are none.
    """
    if folder is None:
        here = Path("exercises")
        folder = here if here.is_dir() or not EXERCISES.is_dir() else EXERCISES
    if not notebooks_in(folder, released()):
        raise ValueError(
            f"{folder} holds no exercises; run this where your folder exercises/ is, or name it: progress FOLDER"
        )
    return folder


# ---- progress -------------------------------------------------------------------------------------------------------


def progress(folder: Path | None = None, out: Path | None = None, limits: Limits | None = None) -> None:
    """Run the checks of every notebook of exercises and print a table: done, open, points.

    Args:
        folder: the exercises; None: `exercises` in the current folder, or else the course's own.
        out: a web page to write, with every task, its state and what its check says.
        limits: for each task.

    Raises:
        ValueError: the folder holds no exercises.
        OSError: the page cannot be written.
    """
    found = notebooks_in(own_folder(folder), released())
    print(f"{'lesson':<28}{'done':>6}{'open':>6}{'points':>10}")
    results: dict[str, tuple[list[Outcome], list[str]]] = {}
    for name in sorted(found):
        file, note = found[name]
        rows, notes = examine(released()[name], file, limits)
        notes = [note, *notes] if note else notes
        results[name] = rows, notes
        points, of = sum(row.points for row in rows), sum(row.of for row in rows)
        done = sum(row.state == "done" for row in rows)
        print(f"{name:<28}{done:>6}{len(rows) - done:>6}{f'{points:g} of {of:g}':>10}", flush=True)
        for text in [
            *notes,
            *(f"{row.task}: {row.message}" for row in rows if row.state in ("wrong", "error", "missing")),
        ]:
            print(f"    {text.strip().splitlines()[0]}")
    earned = sum(row.points for rows, _ in results.values() for row in rows)
    total = sum(row.of for rows, _ in results.values() for row in rows)
    print(f"{'all':<40}{f'{earned:g} of {total:g}':>10}")
    if out is not None:
        write_report(out, results, released())
        print(f"written to {out}")


def examine(assignment: Assignment, file: Path, limits: Limits | None = None) -> tuple[list[Outcome], list[str]]:
    """Run a notebook's tasks; where the file is damaged, every task has earned nothing, and the note says why."""
    try:
        return evaluate(assignment, file.read_bytes(), limits)
    except (ValueError, OSError) as problem:
        why = f"{file.name} cannot be read: {problem}"
    except NoResult as problem:
        why = f"not run, this machine's fault: {problem}"
    return [Outcome(task.name, "not run", of=float(task.points)) for task in assignment.tasks], [why]


# ---- one task -------------------------------------------------------------------------------------------------------


def find_task(name: str, among: dict[str, Assignment]) -> tuple[Assignment, Exercise]:
    """The task of a name, as in "fuse_qkv", "06/fuse_qkv" or "06_lora/fuse_qkv".

    Raises:
        ValueError: there is none, or several lessons have one.
    """
    lesson, _, own = name.rpartition("/")
    found = [
        (assignment, task)
        for assignment in among.values()
        for task in assignment.tasks
        if own in (task.name, *task.names) and assignment.name.startswith(lesson)
    ]
    if not found:
        tasks = ", ".join(task.name for assignment in among.values() for task in assignment.tasks)
        raise ValueError(f"there is no task {name!r}; there are: {tasks}")
    if len(found) > 1:
        several = ", ".join(f"{assignment.name}/{task.name}" for assignment, task in found)
        raise ValueError(f"several lessons have a task {own!r}; name one of: {several}")
    return found[0]


def reset(name: str, folder: Path | None = None) -> Path:
    """Give one task back as it was released. The notebook as it was is kept beside it.

    Args:
        name: of the task.
        folder: the exercises; None: as in `progress`.

    Returns:
        The copy of the notebook as it was.

    Raises:
        ValueError: there is no such task, or its notebook cannot be read.
    """
    folder = own_folder(folder)
    found = notebooks_in(folder, released())
    assignment, task = find_task(name, {name: it for name, it in released().items() if name in found})
    file = found[assignment.name][0]
    try:
        notebook = json.loads(file.read_text(encoding="utf-8-sig"))
        cells = notebook["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read as a notebook ({error}); save it in Jupyter first, or get it anew"
        ) from None
    anew = released_cells(assignment, task)
    theirs = [number for number, cell in enumerate(cells) if belongs(cell, task, anew)]
    at = theirs[0] if theirs else len(cells)
    if notebook.get("nbformat_minor", 0) < 5:  # cells had no ids then
        for cell in anew:
            cell.pop("id", None)
    notebook["cells"] = [
        *cells[:at],
        *anew,
        *(cell for number, cell in enumerate(cells[at:], start=at) if number not in theirs),
    ]
    kept = next(
        path
        for number in range(1, 1000)
        if not (path := file.with_name(f"{file.stem}_before_reset_{number}.ipynb")).exists()
    )
    shutil.copy(file, kept)
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)
    return kept


def released_cells(assignment: Assignment, task: Exercise) -> list[dict]:
    """The cells of a task in the released notebook: its text, what is given, the open answer, the check."""
    own: list[dict] = []
    for cell in json.loads((RELEASED / f"{assignment.name}.ipynb").read_text(encoding="utf-8"))["cells"]:
        mark = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
        own.append(cell)
        if mark == f"check_{task.name}":
            break
        if mark == "setup" or mark.startswith("check_"):
            own = []
    return own


def belongs(cell: dict, task: Exercise, anew: list[dict]) -> bool:
    """Whether a learner's cell is one of a task's own: by its name or id, or by what it holds."""
    marks = {it["metadata"]["nbgrader"]["grade_id"] for it in anew if "nbgrader" in it["metadata"]}
    mark = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id", "")
    if mark:
        return mark in marks
    source = "".join(cell.get("source", ""))
    if cell.get("cell_type") != "code":
        return bool(source.strip()) and source.strip() in {"".join(it["source"]).strip() for it in anew}
    theirs = parts_of(source)
    known = {part.tree for text in (task.given, task.check) for part in parts_of(text)}
    return bool(theirs) and all(part.tree in known or part.binds & set(task.names) for part in theirs)


def hint(name: str, folder: Path | None = None) -> str:
    """The next hint of a task, one further with each call.

    Args:
        name: of the task.
        folder: the exercises, where it is kept how many were shown; None: as in `progress`.

    Returns:
        The hint.

    Raises:
        ValueError: there is no such task.
    """
    folder = own_folder(folder)
    assignment, task = find_task(name, released())
    file, key = folder / HINTS, f"{assignment.name}/{task.name}"
    try:
        shown = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        shown = {}
    number = shown.get(key, 0)
    file.write_text(json.dumps({**shown, key: min(number + 1, len(task.hints))}, indent=1) + "\n", encoding="utf-8")
    if number >= len(task.hints):
        again = "".join(f"\n\n{title}\n{text}" for title, text in task.hints)
        return f"There is no further hint for {task.name}. Read the lesson once more, or ask; these were all:{again}"
    title, text = task.hints[number]
    return f"{task.name}, {title[0].lower()}{title[1:]} ({number + 1} of {len(task.hints)})\n\n{text}"


# ---- the teacher's copies, run as they are --------------------------------------------------------------------------


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
    """Run a task as it stands in a file: ("done", ""), ("open", ""), or ("wrong" or "error", what the check or Python says)."""
    try:
        run_cells([setup, *task.cells])
    except NotImplementedError:
        return "open", ""
    except AssertionError as error:
        return "wrong", str(error)
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
    return "done", ""

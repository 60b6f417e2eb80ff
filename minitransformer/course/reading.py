"""Read the tasks out of a notebook of exercises, whatever an editor has made of it.

Cells get copied, split, moved and lose their metadata. So a task is not looked for by its cell's name but by what its answer
defines: the function or class that the text asks for. From the learner's notebook a task takes those statements, and the
statements that they need; from the released assignment it takes everything else, its setup and its check.
"""

import ast
import functools
import json
import math
import re
import symtable
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

OPEN = "write your answer here"  # ends the error that stands in place of an answer
CONFLICT = re.compile(
    r"^<{7}.*\n(?P<ours>(?:.*\n)*?)(?:^\|{7}.*\n(?:.*\n)*?)?^={7}\n(?P<theirs>(?:.*\n)*?)^>{7}.*$\n?", re.M
)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[^\n]*\n?", re.M | re.S)
CODE_MAGICS = ("time", "timeit", "capture", "prun", "python", "python3", "memit", "mprun")  # the rest is Python


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook.

    Args:
        kind: "code" or "markdown".
        source: its text.
        number: its place in the notebook, from 1.
        mark: its nbgrader name (grade_id), where an editor has left it.
    """

    kind: str
    source: str
    number: int = 0
    mark: str = ""


@dataclass(frozen=True)
class Exercise:
    """One task of an assignment.

    Args:
        name: the grade_id of its answer, as in "merge_lora".
        points: what it is worth.
        cells: source of its cells in order, the check last.
        answer: which of the cells holds the answer.
        text: its text, as Markdown.
    """

    name: str
    points: float
    cells: tuple[str, ...]
    answer: int
    text: str = ""

    @property
    def given(self) -> str:
        """What the teacher wrote before the answer."""
        return "\n".join(self.cells[: self.answer])

    @property
    def check(self) -> str:
        """What the teacher wrote after the answer: the check."""
        return "\n".join(self.cells[self.answer + 1 :])

    @property
    def visible_check(self) -> str:
        """The check without the tests that learners' copies do not show."""
        return HIDDEN.sub("", self.check).strip()

    @property
    def names(self) -> tuple[str, ...]:
        """What an answer defines."""
        return tuple(name for part in parts_of(self.cells[self.answer]) for name in part.defines)

    @property
    def title(self) -> str:
        """Its heading, as in "Task 2 (build, 3 points): a switch"; its name where the text has none."""
        heading = re.search(r"^#+ +(.+)$", self.text, re.M)
        return heading[1] if heading else self.name

    @property
    def hints(self) -> list[tuple[str, str]]:
        """Title and text of each hint, in order."""
        found = re.findall(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", self.text, re.S)
        return [(title.strip(), text.strip()) for title, text in found]


@dataclass(frozen=True)
class Assignment:
    """An assignment as it was released.

    Args:
        name: as in "06_lora".
        setup: source of the setup cell.
        tasks: in order.
    """

    name: str
    setup: str
    tasks: tuple[Exercise, ...]

    @property
    def points(self) -> dict[str, float]:
        """What each task is worth."""
        return {task.name: float(task.points) for task in self.tasks}


@dataclass(frozen=True)
class Part:
    """A statement at the top level of a cell.

    Args:
        cell: the number of its cell.
        line: where in the cell it starts, from 1.
        source: its text.
        tree: its syntax tree as text: two that differ in layout alone are equal.
        defines: the names that it gives.
        changes: the names of objects that it changes, as in `TABLE["x"] = 3`.
        needs: the names that it reads.
    """

    cell: int
    line: int
    source: str
    tree: str
    defines: tuple[str, ...]
    changes: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def binds(self) -> set[str]:
        """The names that it defines or changes."""
        return {*self.defines, *self.changes}


@dataclass(frozen=True)
class Found:
    """What a notebook holds for a task.

    Args:
        task: its name.
        state: "ready" to be run, "open" (nothing but the released stub), "missing", or "error" (it is not Python).
        message: what the learner should do.
        parts: the answer and what it needs, in the order in which it runs.
    """

    task: str
    state: str
    message: str = ""
    parts: tuple[Part, ...] = ()


@dataclass
class Matched:
    """What a notebook holds of an assignment: something for each task, and what is odd about it."""

    found: list[Found]
    notes: list[str] = field(default_factory=list)


# ---- from a file to cells -------------------------------------------------------------------------------------------


def read_cells(content: bytes) -> tuple[list[Cell], list[str]]:
    """Read a notebook's cells; what can be repaired is.

    nbformat would refuse a notebook for a missing field that nobody here reads.

    Args:
        content: of the file.

    Returns:
        The cells, and what was odd about the file.

    Raises:
        ValueError: it cannot be read as a notebook; the message says what it is.
    """
    text, notes = decode(content), []
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
        for side in ("ours", "theirs"):
            repaired, count = CONFLICT.subn(lambda match, side=side: match[side], text)
            try:
                data = json.loads(repaired) if count else None
            except (ValueError, RecursionError):
                continue
            if data is not None:
                number = {"ours": "first", "theirs": "second"}[side]
                notes.append(f"{count} merge conflicts are unresolved in the file: of each, the {number} side counts")
                break
        if data is None:
            raise ValueError(what_it_is(text)) from None
    try:
        found = data["cells"] if "cells" in data else [cell for sheet in data["worksheets"] for cell in sheet["cells"]]
        cells = []
        for number, cell in enumerate(found, start=1):
            source = cell.get("source", cell.get("input", ""))
            marks = cell.get("metadata", {}).get("nbgrader", {})
            mark = marks.get("grade_id", "") if isinstance(marks, dict) else ""
            kind = "code" if cell.get("cell_type") == "code" else "markdown"
            source = source if isinstance(source, str) else "".join(source)
            cells.append(Cell(kind, source.replace("\r\n", "\n"), number, str(mark)))
    except (KeyError, TypeError, AttributeError):
        raise ValueError("it is JSON, but no notebook") from None
    return cells, notes


def decode(content: bytes) -> str:
    """The text of a file, with or without a byte order mark."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    return content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")


def what_it_is(text: str) -> str:
    """What a file is that is no notebook, in words."""
    if not text.strip():
        return "the file is empty"
    if text.startswith("PK\x03\x04"):
        return "it is a zip file: hand in the notebook itself"
    if text.lstrip().lower().startswith(("<!doctype", "<html")):
        return "it is a web page: download the notebook itself, or save it as .ipynb"
    if re.search(r"^<{7}", text, re.M):
        return "it holds merge conflicts that cannot be undone: choose one side of each, then open it in Jupyter"
    if text.lstrip().startswith("{"):
        return "it is cut off or damaged: save it again in Jupyter"
    return "it is no notebook"


def read_exercises(notebook: Path) -> tuple[str, list[Exercise]]:
    """Read the setup cell and the tasks of an assignment as it was released, by its cells' names.

    Raises:
        ValueError: the file is no notebook, or a check has no answer cell before it.
    """
    try:
        text = notebook.read_text(encoding="utf-8")
        cells = json.loads(text)["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{notebook} cannot be read as a notebook ({error})") from None
    assignment = read_assignment(cells, str(notebook))
    return assignment.setup, list(assignment.tasks)


def read_assignment(cells: list[dict], name: str) -> Assignment:
    """Read an assignment as it was released, or the teacher's copy of it, by its cells' names.

    Args:
        cells: of the notebook, as in its file.
        name: of the assignment.

    Raises:
        ValueError: a check has no answer cell before it.
    """
    setup, tasks, own, answer, text = "", [], [], None, []
    for cell in cells:
        source, marks = "".join(cell["source"]), cell["metadata"].get("nbgrader", {})
        if cell["cell_type"] != "code":
            text.append(source)
            continue
        grade_id = marks.get("grade_id", "")
        if grade_id == "setup":
            setup, text = source, []
            continue
        if marks.get("solution"):
            answer = (grade_id, len(own))
        own.append(source)
        if marks.get("grade"):
            if answer is None or grade_id != f"check_{answer[0]}":
                raise ValueError(f"{name}: the check {grade_id!r} has no answer cell before it; get the file anew")
            tasks.append(Exercise(answer[0], marks["points"], tuple(own), answer[1], "\n\n".join(text)))
            own, answer, text = [], None, []
    return Assignment(name, setup, tuple(tasks))


# ---- from cells to statements ---------------------------------------------------------------------------------------


@functools.cache
def python_of(source: str) -> str:
    """A cell's Python, as IPython would run it: without its magics' own syntax."""
    source = CONFLICT.sub(lambda match: match["ours"], source + "\n")[:-1] if "<<<<<<<" in source else source
    magic = re.match(r"\s*%%(\w+).*", source)
    if magic:
        return "\n" + source[magic.end() + 1 :] if magic[1] in CODE_MAGICS else ""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        try:
            from IPython.core.inputtransformer2 import TransformerManager
        except ImportError:  # a learner without Jupyter has no magics either
            return source
        return TransformerManager().transform_cell(source)
    return source


@functools.cache
def parse(source: str) -> ast.Module | None:
    """The syntax tree of a cell; None where it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning, of "\d" in a string
            return ast.parse(python_of(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def joined(cells: list[Cell]) -> list[Cell]:
    """The code cells, those joined again that an editor has split within a statement."""
    code, whole = [cell for cell in cells if cell.kind == "code" and cell.source.strip()], []
    while code:
        first, text = code[0], code[0].source
        parts = 1 if parse(text) is not None else 0  # of how many cells the statement is made; 0: not known yet
        following = [] if text.startswith("%%") else code[1:5]  # a magic takes whatever follows it in its cell
        for number, cell in enumerate(following, start=2):
            text = f"{text}\n{cell.source}"
            fragment = starts_indented(cell.source) or parse(cell.source) is None
            if (fragment or not parts) and parse(text) is not None:
                parts = number
        parts = max(parts, 1)
        whole.append(replace(first, source="\n".join(cell.source for cell in code[:parts])))
        code = code[parts:]
    return whole


def starts_indented(source: str) -> bool:
    """Whether the first line of code is indented, as in the second half of a function."""
    first = next((line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return first[:1].isspace()


def parts_of(source: str, cell: int = 0) -> list[Part]:
    """The statements at the top level of a cell; none where it is not Python."""
    tree = parse(source)
    if tree is None:
        return []
    lines = python_of(source).encode("utf-8").splitlines(keepends=True)
    parts = []
    for node in tree.body:
        first = min([node.lineno, *(it.lineno for it in getattr(node, "decorator_list", []))])
        start = node.col_offset if first == node.lineno else 0
        own = lines[first - 1 : node.end_lineno]
        own[-1] = own[-1][: node.end_col_offset]
        own[0] = own[0][start:]
        text = b"".join(own).decode("utf-8")
        defines, needs = names_in(text)
        parts.append(Part(cell, first, text, ast.dump(node), defines, tuple(changed_objects(node)), needs))
    return parts


def names_in(source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The global names that a statement defines, and those that it reads."""
    try:
        table = symtable.symtable(source, "<cell>", "exec")
    except SyntaxError:  # a `return` outside of a function: it parses, but does not compile
        return (), ()
    defines = [it.get_name() for it in table.get_symbols() if it.is_assigned() or it.is_imported()]
    needs, tables = [it.get_name() for it in table.get_symbols() if it.is_referenced()], table.get_children()
    while tables:
        inner = tables.pop()
        needs += [it.get_name() for it in inner.get_symbols() if it.is_referenced() and it.is_global()]
        tables += inner.get_children()
    return tuple(dict.fromkeys(defines)), tuple(dict.fromkeys(needs))


def changed_objects(node: ast.stmt) -> list[str]:
    """Names of the objects that a statement changes.

    A call of a method changes its object, as far as anybody can tell: `TABLE.append(3)`.
    """
    found, waiting = [], [node]
    while waiting:
        it = waiting.pop()
        if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        target = None
        if isinstance(it, ast.Attribute | ast.Subscript) and isinstance(it.ctx, ast.Store | ast.Del):
            target = it
        elif isinstance(it, ast.Expr) and isinstance(it.value, ast.Call):
            call = it.value
            is_setter = isinstance(call.func, ast.Name) and call.func.id in ("setattr", "delattr") and call.args
            target = call.args[0] if is_setter else call.func if isinstance(call.func, ast.Attribute) else None
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
        if isinstance(target, ast.Name):
            found.append(target.id)
        waiting += ast.iter_child_nodes(it)
    return found


# ---- from statements to tasks ---------------------------------------------------------------------------------------


def match(assignment: Assignment, cells: list[Cell]) -> Matched:
    """Find the answer to each task in a notebook, by what it defines.

    Args:
        assignment: as released.
        cells: of the learner's notebook.

    Returns:
        What was found for each task, and notes on what is odd about the notebook.
    """
    whole = joined(cells)
    parts = [part for cell in whole for part in parts_of(cell.source, cell.number)]
    broken = [cell for cell in whole if parse(cell.source) is None]
    stubs = {part.tree for task in assignment.tasks for part in parts_of(task.cells[task.answer])}
    written, last_check = without_checks(assignment, parts)
    setup = parts_of(assignment.setup)
    found, notes, places = [], [], []
    for task in assignment.tasks:
        given = {name for part in [*setup, *parts_of(task.given)] for name in part.binds}
        usable = [part for part in written if not part.binds or not part.binds <= given]
        own = answers(task, usable, stubs, last_check.get(task.name, math.inf))
        if not own:
            found.append(without_answer(f"{assignment.name}/{task.name}", task, cells, parts, broken))
            continue
        found.append(Found(task.name, "ready", "", program(task, own, usable, stubs)))
        counts = [part for part in own if set(part.defines) & set(task.names)] or own
        places.append(counts[-1].cell)
        others = {part.cell for part in counts if part.tree != counts[-1].tree and part.defines == counts[-1].defines}
        if others:
            others = ", ".join(str(number) for number in sorted(others))
            notes.append(f"{task.name} is answered more than once: cell {counts[-1].cell} counts, not cell {others}")
    if all(it.state == "missing" for it in found):
        return Matched(found, notes)
    notes += about_locked(assignment, cells, parts)
    if places != sorted(places):
        notes.append("its answers stand in another order than the tasks")
    return Matched(found, notes)


def without_checks(assignment: Assignment, parts: list[Part]) -> tuple[list[Part], dict[str, int]]:
    """A notebook's statements without the copies of the checks, and the cell of each check's last copy, by task.

    A cell holds a copy of a check where one of its asserts, or another statement that defines nothing, is the check's.
    """
    written, last = parts, {}
    for task in assignment.tasks:
        check = parts_of(task.visible_check)
        telling = {part.tree for part in check if not part.binds and "seed" not in part.source}
        cells = {part.cell for part in parts if part.tree in telling}
        trees = {part.tree for part in check}
        written = [part for part in written if not (part.cell in cells and part.tree in trees)]
        if cells:
            last[task.name] = max(cells)
    return written, last


def answers(task: Exercise, parts: list[Part], stubs: set[str], check: float) -> list[Part]:
    """The statements that define what a task asks for, without released stubs.

    Of several answers those before the last copy of the check count, as in a notebook that is run from the top.

    Args:
        task: the task.
        parts: the notebook's statements.
        stubs: the released stubs, as trees.
        check: the cell of the check's last copy.
    """
    asked = set(task.names)
    own = [part for part in parts if part.binds & asked and part.tree not in stubs]
    before = [part for part in own if part.cell <= check]
    answered = [{name for part in some for name in part.defines} & asked for some in (before, own)]
    return before if answered[0] == answered[1] else own


def program(task: Exercise, own: list[Part], parts: list[Part], stubs: set[str]) -> tuple[Part, ...]:
    """The answer and the statements that it needs, each after those that it needs itself.

    Statements that define the same name keep their order: the last one counts.
    """
    definers: dict[str, list[Part]] = {}
    for part in parts:
        for name in part.binds:
            definers.setdefault(name, []).append(part)
    for name, several in definers.items():  # a stub counts where there is nothing better
        definers[name] = [part for part in several if part.tree not in stubs] or several
    for name in task.names:
        definers[name] = [part for part in own if name in part.binds] or definers.get(name, [])
    order, seen = [], set()

    def add(part: Part) -> None:
        if part in seen:
            return
        seen.add(part)
        for name in part.needs:
            for other in definers.get(name, []):
                add(other)
        order.append(part)

    for name in task.names:
        for part in definers[name]:
            add(part)
    return tuple(order)


def without_answer(name: str, task: Exercise, cells: list[Cell], parts: list[Part], broken: list[Cell]) -> Found:
    """What there is in place of an answer: a stub, something that is no Python, another name, or nothing.

    Args:
        name: of the task, with its lesson.
        task: the task.
        cells: of the notebook.
        parts: the notebook's statements.
        broken: the cells that are no Python.
    """
    for cell in broken:
        if cell.mark == task.name or any(
            re.search(rf"\b(def|class)\s+{asked}\b|^{asked}\s*[:=]", cell.source, re.M) for asked in task.names
        ):
            return Found(task.name, "error", f"cell {cell.number} is not Python: {syntax_error(cell.source)}")
    stub = {part.tree for part in parts_of(task.cells[task.answer])}
    if any(part.tree in stub for part in parts):
        return Found(task.name, "open")
    asked = " and ".join(f"`{it}`" for it in task.names)
    other = [it for cell in cells if cell.mark == task.name for part in parts_of(cell.source) for it in part.binds]
    if other:
        return Found(task.name, "missing", f"its cell defines `{other[0]}`; the task asks for {asked}")
    remedy = f"`python -m minitransformer reset {name}` gives the task's cells anew"
    return Found(task.name, "missing", f"no cell defines {asked}; {remedy}")


def syntax_error(source: str) -> str:
    """What Python says of a cell that it cannot read."""
    try:
        ast.parse(python_of(source))
    except SyntaxError as error:
        return f"{error.msg}, line {error.lineno}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error)
    return ""


def about_locked(assignment: Assignment, cells: list[Cell], parts: list[Part]) -> list[str]:
    """Notes on what the teacher wrote and the learner's notebook holds no more, or holds changed."""
    theirs, marks = {part.tree for part in parts}, {cell.mark for cell in cells}
    released = {"setup": assignment.setup}
    for task in assignment.tasks:
        if task.given:
            released[f"what is given for {task.name}"] = task.given
        released[f"the check of {task.name}"] = task.visible_check
    trees = {name: {part.tree for part in parts_of(source)} for name, source in released.items()}
    often = Counter(tree for own in trees.values() for tree in own)  # a line that several checks share tells nothing
    trees = {name: {tree for tree in own if often[tree] == 1} for name, own in trees.items()}
    gone = {name: own - theirs for name, own in trees.items() if own - theirs}
    missing = [name for name, left in gone.items() if left == trees[name]]
    missing = [name for name in missing if not (name.startswith("the check") and f"check_{name.split()[-1]}" in marks)]
    changed = [name for name in gone if name not in missing]
    notes = []
    for how, names in (("changed", changed), ("missing", missing)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            notes.append(f"{how}: {', '.join(names[:3])}{more}; the teacher's ran instead")
    return notes

"""A small assignment of three tasks, somebody's copy of it, and what editors make of such a copy."""

import copy
import json
from pathlib import Path

POINTS = {"add": 2, "double": 3, "Twice": 5}
OPEN = 'raise NotImplementedError("{}: write your answer here")'
RIGHT = {
    "add": "def add(a, b):\n    return a + b",
    "double": "def double(a):\n    return 2 * a",
    "Twice": "class Twice(torch.nn.Module):\n    def forward(self, x):\n        return 2 * x",
}
OPENED = {
    "add": f"def add(a, b):\n    {OPEN.format('add')}",
    "double": f"def double(a):\n    {OPEN.format('double')}",
    "Twice": f"class Twice(torch.nn.Module):\n    def forward(self, x):\n        {OPEN.format('Twice')}",
}
CHECKS = {
    "add": "assert add(1, 2) == 3, 'add: the sum is wrong'\nassert add(1, 0) == 1, 'add: of zero'",
    "double": "assert double(4) == 8, 'double: wrong'\nprint('correct')",
    "Twice": "x = torch.ones(3)\nassert torch.equal(Twice()(x), 2 * x), 'Twice: wrong'\nprint('correct')",
}


def cell(source: str, name: str = "", **marks: object) -> dict:
    """A cell of code; with a name it is nbgrader's."""
    default = {"grade": False, "locked": True, "solution": False, "task": False, "schema_version": 3}
    metadata = {"nbgrader": {**default, "grade_id": name, **marks}} if name else {}
    made = {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}
    return made | ({"id": f"id-{name}"} if name else {})


def notebook(checks: dict[str, str] | None = None, **answers: str) -> dict:
    """Somebody's copy of the assignment, right where nothing else is said."""
    cells = [cell("import os, sys, time\nimport torch", "setup")]
    for task, points in POINTS.items():
        text = (
            f"## Task (build): {task}\n\nLet $x^2$ be small.\n\n<details><summary>Hint 1</summary>\nThink.\n</details>"
        )
        cells.append({"cell_type": "markdown", "source": text, "metadata": {}, "id": f"text-{task}"})
        answer = {**RIGHT, **answers}[task]
        cells.append(cell(answer, task, solution=True, locked=False))
        cells.append(cell({**CHECKS, **(checks or {})}[task], f"check_{task}", grade=True, points=points))
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def teachers(checks: dict[str, str] | None = None) -> dict:
    """The teacher's copy: the answers stand between marks."""
    answers = {}
    for task, answer in RIGHT.items():
        head, _, last = answer.rpartition("\n")
        indent = last[: len(last) - len(last.lstrip())]
        answers[task] = f"{head}\n{indent}### BEGIN SOLUTION\n{last}\n{indent}### END SOLUTION"
    return notebook(checks, **answers)


def put(file: Path, content: dict | str | bytes) -> Path:
    """Write a file, and the folders that it lies in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps(content) if isinstance(content, dict) else content
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return file


# ---- what editors make of a notebook --------------------------------------------------------------------------------


def position(made: dict, name: str) -> int:
    """Where the cell of a name is."""
    return next(i for i, it in enumerate(made["cells"]) if it["metadata"].get("nbgrader", {}).get("grade_id") == name)


def twice(made: dict) -> dict:
    """Every cell twice, under the same name."""
    return made | {"cells": [copy.deepcopy(it) for it in made["cells"] for _ in (0, 1)]}


def bare(made: dict) -> dict:
    """All metadata and ids lost, as after a round trip through a text file."""
    kept = [{key: it[key] for key in ("cell_type", "source")} | {"metadata": {}} for it in made["cells"]]
    return made | {"cells": kept}


def shuffled(made: dict) -> dict:
    """The cells in reverse order."""
    return made | {"cells": made["cells"][::-1]}


def without_checks(made: dict) -> dict:
    """The checks deleted."""
    return made | {"cells": [it for it in made["cells"] if not it["metadata"].get("nbgrader", {}).get("grade")]}


def renamed_checks(made: dict) -> dict:
    """Each cell under another name."""
    made = copy.deepcopy(made)
    for number, it in enumerate(made["cells"]):
        if "nbgrader" in it["metadata"]:
            it["metadata"]["nbgrader"]["grade_id"] = f"cell-{number}"
    return made


def split(made: dict, name: str = "Twice") -> dict:
    """An answer split in two within its function, the second half without a name."""
    cells = list(made["cells"])
    at = position(made, name)
    first, _, rest = cells[at]["source"].rpartition("\n")
    cells[at : at + 1] = [cells[at] | {"source": first}, cell(rest)]
    return made | {"cells": cells}


def joined(made: dict) -> dict:
    """All code in one cell."""
    return made | {"cells": [cell("\n".join(it["source"] for it in made["cells"] if it["cell_type"] == "code"))]}


def with_cells(made: dict, *sources: str) -> dict:
    """Further cells after the setup."""
    return made | {"cells": [made["cells"][0], *map(cell, sources), *made["cells"][1:]]}


MAGICS = (
    "%matplotlib inline\n%timeit sum(range(9))",
    "%%timeit\nsum(range(9))",
    "!pip install something",
    "add?",
    "%%bash\nrm -rf nothing",
    "display(1)",
    "get_ipython().run_line_magic('time', '1')",
)


def old_format(made: dict) -> dict:
    """Format 3 of notebooks, with sheets."""
    cells = [{key: it[key] for key in ("cell_type", "metadata")} | {"input": it["source"]} for it in made["cells"]]
    return {"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3, "nbformat_minor": 0}


def conflict(made: dict) -> str:
    """A merge conflict in the file, around a line of a markdown cell."""
    text = json.dumps(made, indent=1)
    line = next(line for line in text.splitlines(keepends=True) if "Let $x^2$" in line)
    return text.replace(line, f"<<<<<<< HEAD\n{line}=======\n{line.replace('small', 'tiny')}>>>>>>> other\n", 1)

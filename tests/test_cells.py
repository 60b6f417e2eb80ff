"""No cell of a lesson or an assignment can fool the run that tests it: an error in it stops that run.

A cell that is passed over, a command of the shell, an error that ends a thread alone or is caught and dropped would all look as
if everything had worked. No notebook runs here.
"""

import ast
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted([*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "solutions").glob("*/*.ipynb")])
MAGIC = re.compile(
    r"^\s*(%|!|\?)|^[^#'\"]*[\w)\]]\?{1,2}\s*$|get_ipython\b|run_line_magic|run_cell_magic", re.MULTILINE
)
SHELL = re.compile(r"\bos\.(?:system|popen)\b|\bsubprocess\b")
THREADS = re.compile(r"\bthreading\b|\b_thread\b|\bThreadPool|\bProcessPool|\bmultiprocessing\b|\basyncio\b|\bPool\(")
PASSED_OVER = re.compile(r"#\s*(?:NBVAL_SKIP|NBVAL_RAISES_EXCEPTION|PYTEST_VALIDATE_IGNORE_OUTPUT)", re.IGNORECASE)
TAGS = {"nbval-skip", "nbval-raises-exception", "raises-exception", "skip-execution"}


def faults(cell: dict) -> list[str]:
    """What in a cell of code could hide that it does not work."""
    source = "".join(cell["source"])
    found = [f"the tag {tag}" for tag in sorted(TAGS & set(cell["metadata"].get("tags", [])))]
    for what, pattern in (("passed over", PASSED_OVER), ("magic", MAGIC), ("shell", SHELL), ("thread", THREADS)):
        found += [f"{what}: {match[0].strip()}" for match in [pattern.search(source)] if match]
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [*found, f"not Python: {error.msg}"]
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append("except without the kind of error")
        elif isinstance(node, ast.ExceptHandler) and _kind(node.type) in ("Exception", "BaseException"):
            if all(isinstance(line, ast.Pass | ast.Continue) for line in node.body):
                found.append(f"except {_kind(node.type)}, and nothing is done with it")
        elif isinstance(node, ast.Call) and _kind(node.func).endswith("suppress"):
            if any(_kind(kind) in ("Exception", "BaseException") for kind in node.args):
                found.append("suppress of every error")
    return found


def _kind(node: ast.expr) -> str:
    return ast.unparse(node)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[f"{file.parent.name}-{file.stem}" for file in NOTEBOOKS])
def test_no_cell_can_fail_unseen(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    found = {i: faults(cell) for i, cell in enumerate(cells) if cell["cell_type"] == "code"}
    assert not {i: wrong for i, wrong in found.items() if wrong}


def code(source: str, *tags: str) -> dict:
    return {"cell_type": "code", "source": source.splitlines(keepends=True), "metadata": {"tags": list(tags)}}


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        (code("%timeit 1"), "magic"),
        (code("x = 1\n%%nonsense\n1 / 0"), "magic"),
        (code("    !pip install something"), "magic"),
        (code("print?"), "magic"),
        (code("get_ipython().system('false')"), "magic"),
        (code("import os\nos.system('false')"), "shell"),
        (code("import subprocess"), "shell"),
        (code("import threading\nthreading.Thread(target=lambda: 1 / 0).start()"), "thread"),
        (code("from concurrent.futures import ThreadPoolExecutor"), "thread"),
        (code("# NBVAL_SKIP\n1 / 0"), "passed over"),
        (code("1 / 0", "raises-exception"), "the tag"),
        (code("try:\n    1 / 0\nexcept:\n    print('well')"), "without the kind"),
        (code("try:\n    1 / 0\nexcept Exception:\n    pass"), "nothing is done"),
        (code("import contextlib\nwith contextlib.suppress(Exception):\n    1 / 0"), "suppress"),
        (code("def f(:\n    pass"), "not Python"),
    ],
)
def test_planted_fault_is_found(cell, fault):
    assert any(fault in wrong for wrong in faults(cell))


@pytest.mark.parametrize(
    "source",
    [
        "print('what?')\nx = 7 % 3",
        "# what do you expect?\nmy_guess = None  # more than half?",
        "try:\n    float('a')\nexcept ValueError as error:\n    print(error)",
        "x = 1 if not False else 2",
    ],
)
def test_what_is_harmless_is_let_through(source):
    assert faults(code(source, "nbval-check-output")) == []

"""The rooms of the package, and the arrows between them: core <- methods <- experiments, real <- course <- command line."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minitransformer"
FRONT = ("__init__", "__main__", "doctor")  # the doors of the package: they may know every room behind them
MAY_KNOW = {  # room -> rooms that its files may import
    "core": {"core"},
    "methods": {"core", "methods"},
    "adapters": {"core", "methods", "adapters"},  # attach, save, load and merge by name: one file
    "experiments": {"core", "methods", "adapters", "real", "experiments"},
    "real": {"core", "methods", "real"},
    "course": {"core", "methods", "adapters", "experiments", "course"},
}


def room(module):
    """The room of a dotted name inside the package, such as "methods.lora"."""
    first = module.split(".")[0]
    return first if first in MAY_KNOW else "front" if first in FRONT else "core"


def imported(file):
    """Dotted names inside the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "minitransformer":
            inside = node.module.split(".")[1:]
            yield from [".".join([*inside, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [
                alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("minitransformer")
            ]


def forbidden(file, source=None):
    own = room(".".join(file.relative_to(PACKAGE).with_suffix("").parts))
    if own == "front":
        return []
    return [name for name in imported(source or file) if room(name) not in MAY_KNOW[own]]


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[file.relative_to(PACKAGE).as_posix() for file in FILES])
def test_arrows_run_one_way(file):
    assert forbidden(file) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("train.py", "from minitransformer.methods import METHODS"),
        ("model.py", "import minitransformer.course.plots"),
        ("methods/lora.py", "from minitransformer.experiments.runs import Run"),
        ("experiments/compare.py", "def f():\n    from minitransformer.course.plots import save"),
        ("surgery.py", "from minitransformer import adapters"),
        ("model.py", "from minitransformer.real.llama import Llama"),
        ("real/llama.py", "from minitransformer.experiments.runs import Run"),
    ],
)
def test_a_wrong_arrow_is_seen(place, line, tmp_path):
    source = tmp_path / "source.py"
    source.write_text(line, encoding="utf-8")
    assert forbidden(PACKAGE / place, source)

"""The package as a user meets it: installed, imported in a folder of their own, by its public names."""

import ast
import inspect
import os
import pydoc
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minitransformer as mt

ROOT = Path(__file__).parents[1]
PAGES = ("use", "extend")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with an installed copy, no link into the repository; what it depends on is this environment's."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    unfinished = shutil.ignore_patterns("__pycache__", "*.jsonl", "*.state")
    shutil.copytree(ROOT / "minitransformer", source / "minitransformer", ignore=unfinished)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=300)
    return target


@pytest.fixture
def python(installed, tmp_path):
    """A function that runs Python in an empty folder, where the installed copy is the one that is imported."""

    def python(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(installed), "TQDM_DISABLE": "1", "PYTHONSAFEPATH": ""}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)

    return python


def succeeds(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- the public names -----------------------------------------------------------------------------------------------


def test_public_names_are_those_that_are_promised():
    promised = (
        "GPT GPTConfig load_base METHODS attach count merge detach save_adapter load_adapter train evaluate generate "
    )
    promised += "tasks real count_parameters verify __version__"
    assert sorted(mt.__all__) == sorted(promised.split())


@pytest.mark.parametrize("name", [name for name in mt.__all__ if name != "__version__"])
def test_every_public_name_is_there_and_explains_itself(name):
    value = getattr(mt, name)
    assert name in dir(mt)
    assert getattr(mt, name) is value
    if name != "METHODS":
        assert len(inspect.getdoc(value)) > 20


def test_names_for_type_checkers_are_the_public_names():
    """What stands under TYPE_CHECKING and what is imported at first use are the same things."""
    tree = ast.parse((ROOT / "minitransformer" / "__init__.py").read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    named = {alias.name: line.module for line in block.body for alias in line.names}
    assert set(named) == set(mt.__all__) - {"__version__"}
    for name, module in named.items():
        assert module == ("minitransformer" if name in ("tasks", "real") else f"minitransformer.{mt._FILES[name]}")


def test_name_that_is_not_there_is_an_error_that_says_what_is():
    with pytest.raises(AttributeError, match=r"no attribute 'atach'; it has: .*attach, .*train"):
        mt.atach  # noqa: B018
    assert not hasattr(mt, "torch")


def test_help_shows_every_public_name():
    page = pydoc.plain(pydoc.render_doc(mt))
    description = page.split("PACKAGE CONTENTS")[0]
    assert all(name in description for name in mt.__all__ if name != "__version__")
    functions = page.split("FUNCTIONS")[1]
    for name in ("attach", "count", "load_adapter", "train", "evaluate", "generate"):
        assert f"\n    {name}(" in functions


@pytest.mark.parametrize(
    "before",
    [
        "",
        "import minitransformer.train, minitransformer.generate",
        "from minitransformer.train import setup",
        "from minitransformer.experiments import runs",
        "mt.attach",
        "from minitransformer import *",
    ],
    ids=lambda line: line or "nothing",
)
def test_train_and_generate_are_functions_whatever_was_imported_before(before):
    code = f"import minitransformer as mt, sys\n{before}\nassert mt.train.__name__ == 'train', mt.train\n"
    code += "assert mt.generate.__name__ == 'generate'\nfrom minitransformer import train, generate\n"
    code += "assert (train, generate) == (mt.train, mt.generate)\n"
    code += "assert sys.modules['minitransformer.train'].train is mt.train\n"
    succeeds(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120))


# ---- an installed copy ----------------------------------------------------------------------------------------------


def test_import_brings_no_pytorch_and_first_use_does(python, installed):
    code = "import sys, minitransformer as mt\nprint(mt.__file__, mt.__version__, 'torch' in sys.modules)\n"
    code += "mt.GPT\nprint('torch' in sys.modules)"
    [first, second] = succeeds(python("-c", code)).splitlines()
    assert first == f"{installed / 'minitransformer' / '__init__.py'} {mt.__version__} False"
    assert second == "True"


def test_version_of_the_package_is_the_version_of_the_distribution(installed):
    [metadata] = installed.glob("minitransformer-*.dist-info/METADATA")
    assert f"\nVersion: {mt.__version__}\n" in metadata.read_text(encoding="utf-8")


def test_every_file_of_the_package_is_installed(installed):
    kinds = {".py", ".csv", ".json", ".png", ".md", ".safetensors", ".txt", ".typed", ".mo"}
    folder = ROOT / "minitransformer"
    ours = {file.relative_to(folder) for file in folder.rglob("*") if file.suffix in kinds or file.name == "py.typed"}
    theirs = {file.relative_to(installed / "minitransformer") for file in installed.rglob("*") if file.is_file()
              and installed / "minitransformer" in file.parents}  # fmt: skip
    assert ours - theirs == set()


def test_recorded_results_and_helpers_of_the_lessons_work_without_the_notebooks_packages(python):
    code = "import sys\nsys.modules['IPython'] = None\n"
    code += "from minitransformer.course import checks, claims, diagrams, exercises, inside, lesson, plots\n"
    code += "print(sum(row['method'] == 'lora' for row in lesson.read_rows(lesson.RECORDED / 'learning_rates.csv')))\n"
    code += "from minitransformer.experiments import compare, runs, scale, serving, studies, variants"
    assert succeeds(python("-c", code)) == "12\n"


def test_console_script_is_the_command_line(python, installed):
    script = installed / ("Scripts/minitransformer.exe" if sys.platform == "win32" else "bin/minitransformer")
    if sys.platform == "win32":
        assert script.exists()
        return
    assert succeeds(python(script, "--help")).startswith("usage: minitransformer [-h]")
    assert f"minitransformer {mt.__version__} in {installed / 'minitransformer'}\n" in succeeds(
        python(script, "doctor")
    )


@pytest.mark.parametrize(
    ("command", "message"),
    [("progress", "name it: progress FOLDER"), ("figures", "name a folder"), ("claims", "the course's repository")],
)
def test_command_for_a_checkout_says_so_in_one_line(python, tmp_path, command, message):
    done = python("-m", "minitransformer", command)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
    assert os.listdir(tmp_path) == []


def test_progress_finds_exercises_that_were_handed_out_alone(python, tmp_path):
    shutil.copytree(ROOT / "exercises" / "06_lora", tmp_path / "exercises" / "06_lora")
    for arguments in ([], ["exercises"]):
        assert re.search(r"06_lora +0 +\d+ +0 of 10", succeeds(python("-m", "minitransformer", "progress", *arguments)))


# ---- the pages for users --------------------------------------------------------------------------------------------


def scripts(page):
    """The files that stand in a page: name and code."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def words():
    """Enough English for a text of one's own."""
    from minitransformer.text import code_text

    return code_text()[:30_000]


@pytest.mark.parametrize("page", PAGES)
def test_files_in_a_page_run_one_after_the_other_in_an_empty_folder(python, tmp_path, words, page):
    files = scripts(page)
    assert len(files) == (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").count("```python")
    (tmp_path / "notes.txt").write_text(words, encoding="utf-8")
    out = {}
    for name, code in files:
        (tmp_path / name).write_text(code, encoding="utf-8")
        out[name] = succeeds(python(name))
    if page == "use":
        before, after = re.findall(r"(?:base|adapted): ([\d.]+) bits", out["adapt.py"])
        assert float(after) < float(before) - 0.3  # of thirty thousand characters, a few passes
        assert out["write.py"].startswith("The ") and len(out["write.py"]) == 65
        before, after = re.findall(r"([\d.]+) nats", out["tensors.py"])
        assert float(after) < 0.1 < float(before)
    else:
        assert out["check.py"].startswith("bias: every promise is kept")
        base, *methods = re.findall(r": ([\d.]+)", out["echo.py"])
        assert len(methods) == 3 and all(float(score) > float(base) + 0.2 for score in methods)


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []

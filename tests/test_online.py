"""Opening a lesson elsewhere: links once there is an address, and what a release and Binder are made of."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import minitransformer as mt

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("online", ROOT / "site" / "online.py")
online = importlib.util.module_from_spec(spec)
spec.loader.exec_module(online)

ADDRESS = "https://github.com/someone/peft-by-hand"


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (f'repository-code: "{ADDRESS}"', ADDRESS),
        (f"repository-code: {ADDRESS}", ADDRESS),
        (f'# repository-code: "{ADDRESS}"', None),
        ("", None),
    ],
)
def test_address_is_read_where_the_citation_names_it(tmp_path, line, address):
    file = tmp_path / "CITATION.cff"
    file.write_text(f"title: x\n{line}\n", encoding="utf-8")
    assert online.public_address(file) == address


def test_lesson_gets_links_behind_its_first_text_and_none_without_an_address():
    cells = json.loads((ROOT / "notebooks" / "06_lora.ipynb").read_text(encoding="utf-8"))["cells"]
    before = len(cells)
    online.add_links(cells, "notebooks/06_lora", None)
    assert len(cells) == before
    online.add_links(cells, "notebooks/06_lora", ADDRESS)
    [at] = [i for i, cell in enumerate(cells) if "colab" in "".join(cell["source"])]
    assert "".join(cells[at - 1]["source"]).startswith("# 06 LoRA")
    assert "/github/someone/peft-by-hand/blob/main/notebooks/06_lora.ipynb)" in cells[at]["source"][0]
    assert "/gh/someone/peft-by-hand/main?labpath=notebooks%2F06_lora.ipynb)" in cells[at]["source"][0]
    assert f"%pip install git+{ADDRESS}" in cells[at]["source"][0]


def test_no_other_file_names_an_address():
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(ROOT / "docs").glob("*.md"), *(ROOT / "site").glob("*.*")]
    assert [file.name for file in files if "OWNER/peft" in file.read_text("utf-8", "ignore")] == [
        "online.py"
    ]  # as it looks


def test_release_is_of_the_version_that_the_citation_and_the_changelog_name():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mt.__version__
    assert f"## {mt.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda file: file.stem)
def test_workflow_can_be_read_and_its_commands_name_files_that_exist(file):
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = " ".join(step.get("run", "") for step in steps)
    named = re.findall(r"(?:-r|-c|python) ([\w./-]+(?:\.txt|\.py)|site)\b", commands)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_binder_takes_a_tested_python_and_the_students_packages():
    version = (ROOT / ".binder/runtime.txt").read_text(encoding="utf-8").strip()
    matrix = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    assert f'"{version.removeprefix("python-")}"' in matrix
    [line] = [line for line in (ROOT / ".binder/requirements.txt").read_text().splitlines() if line[0] != "#"]
    assert (ROOT / ".binder" / line.removeprefix("-r ")).resolve() == ROOT / "requirements.txt"


LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.stem)
def test_lesson_says_before_its_first_import_what_to_run_where_nothing_is_installed(lesson):
    cells = json.loads(lesson.read_text(encoding="utf-8"))["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert "Does the first cell not run? `make lab`" in first
    assert "`%pip install ..`" in first
    assert (lesson.parent / ".." / "pyproject.toml").exists()
    at = next(i for i, cell in enumerate(cells) if "import" in "".join(cell["source"]))
    assert any(cell["cell_type"] == "markdown" for cell in cells[:at])


# ---- the first cell in Colab, which takes the machine's own PyTorch -----------------------------------------------------


def write_stub(folder, name, version):
    """An empty wheel with a name and a version."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """An environment with what the course needs in old versions, torch 2.9.0 too, and a folder that offers newer ones."""
    root = tmp_path_factory.mktemp("colab")
    (old := root / "old").mkdir(), (root / "offered").mkdir()
    venv.create(root / "env", with_pip=False)
    base = {"base": str(root / "env"), "platbase": str(root / "env")}
    for name in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]:
        name = re.match(r"[\w-]+", name)[0]
        write_stub(old, name, "2.9.0")
        write_stub(root / "offered", name, "99.0")
    for wheel in old.iterdir():
        zipfile.ZipFile(wheel).extractall(sysconfig.get_path("purelib", "venv", base))
    return root


def would_install(colab, tmp_path, change=lambda text: text):
    """Names of what the first cell would install there, with a change in pyproject.toml."""
    source, report = tmp_path / "source", tmp_path / "report.json"
    (source / "minitransformer").mkdir(parents=True)
    for name in ("README.md", "LICENSE", "minitransformer/__init__.py"):
        shutil.copy(ROOT / name, source / name)
    (source / "pyproject.toml").write_text(change((ROOT / "pyproject.toml").read_text("utf-8")), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", tmp_path]
    subprocess.run([*pip, "wheel", *options, source], check=True)
    [wheel] = tmp_path.glob("*.whl")
    cell = re.search(r"`%pip (install .*?)`", online.links(ADDRESS, "notebooks/06_lora"))[1]
    assert f"git+{ADDRESS}" in cell.split()
    command = [str(wheel) if word == f"git+{ADDRESS}" else word for word in cell.split()]
    offline = ["--no-index", "--find-links", colab / "offered", "--dry-run", "--report", report]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    own["PIP_CONFIG_FILE"] = os.devnull  # what this machine says to pip is not said in Colab
    subprocess.run([*pip, "--python", colab / "env", *command, *offline], check=True, env=own)
    return [found["metadata"]["name"] for found in json.loads(report.read_text("utf-8"))["install"]]


def test_first_cell_in_colab_installs_the_course_alone_and_leaves_the_machines_torch(colab, tmp_path):
    assert would_install(colab, tmp_path) == ["minitransformer"]


def test_first_cell_would_replace_torch_if_the_package_asked_for_another(colab, tmp_path):
    found = would_install(colab, tmp_path, lambda text: text.replace('["torch>=2.5",', '["torch>=2.13",'))
    assert sorted(found) == ["minitransformer", "torch"]

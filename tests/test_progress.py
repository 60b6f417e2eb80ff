"""Reading and checking a learner's notebooks: what is done, open, wrong, or no notebook at all."""

import json
from pathlib import Path

import pytest

from minitransformer.course.exercises import check_notebook, progress, read_exercises


def cell(source: str, **marks: object) -> dict:
    return {
        "cell_type": "code",
        "source": source.splitlines(keepends=True),
        "metadata": {"nbgrader": marks} if marks else {},
    }


def write_exercise(folder: Path, *answers: str) -> Path:
    """A notebook of exercises in which each task wants `x` to be 1."""
    cells = [cell("import time", grade_id="setup", solution=False, grade=False)]
    for number, answer in enumerate(answers):
        cells.append(cell("extra = 1"))  # a cell that the learner added
        cells.append(cell(answer, grade_id=f"task_{number}", solution=True, grade=False))
        check_cell = "assert x == extra, 'x is not one'"
        cells.append(cell(check_cell, grade_id=f"check_task_{number}", solution=False, grade=True, points=2))
    file = folder / "00_toy" / "00_toy.ipynb"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    return file


def test_progress_tells_done_open_wrong_and_error(tmp_path, capsys):
    stub = "raise NotImplementedError('task')"
    file = write_exercise(tmp_path, "x = 1", "x = 2", stub, "x = 1 / 0")
    states = [(row["state"], row["message"]) for row in check_notebook(file)]
    assert states == [
        ("done", ""),
        ("wrong", "x is not one"),
        ("open", ""),
        ("error", "ZeroDivisionError: division by zero"),
    ]
    progress(tmp_path)
    printed = capsys.readouterr().out
    assert "2 of 8" in printed and "task_1: x is not one" in printed


def test_a_damaged_notebook_does_not_hide_the_others(tmp_path, capsys):
    write_exercise(tmp_path, "x = 1")
    damaged = tmp_path / "00_damaged" / "00_damaged.ipynb"
    damaged.parent.mkdir()
    damaged.write_text("no json", encoding="utf-8")
    progress(tmp_path)
    printed = capsys.readouterr().out
    assert "00_damaged.ipynb cannot be read" in printed and "2 of 2" in printed


@pytest.mark.parametrize("bad", ["import os; os._exit(3)", "while True: pass"])
def test_a_crash_costs_no_other_points(tmp_path, bad):
    rows = check_notebook(write_exercise(tmp_path, "x = 1", bad, "x = 1"), time_limit=15)
    assert [row["state"] for row in rows] == ["done", "error", "not run"]


def test_progress_without_exercises_says_so(tmp_path):
    with pytest.raises(ValueError, match="holds no exercises"):
        progress(tmp_path)


def test_no_notebook_is_an_error_that_names_the_file(tmp_path):
    file = tmp_path / "a.ipynb"
    file.write_text("no json", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.ipynb cannot be read"):
        read_exercises(file)

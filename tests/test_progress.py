"""The learner's commands: what is done, open, wrong or no notebook at all; one task anew; one more hint."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import classroom
import pytest
from classroom import OPENED, notebook, put

from minitransformer.__main__ import main
from minitransformer.course import exercises, reading, running
from minitransformer.course.exercises import examine, find_task, hint, progress, reset
from minitransformer.course.reading import Assignment, Exercise, read_assignment
from minitransformer.course.running import Limits, Place, evaluate

TOY = read_assignment(notebook(**OPENED)["cells"], "toy")
LIMITS = Limits(seconds=5, memory=1024, disk=16)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A folder for exercises, where the toy is the course's only assignment."""
    put(tmp_path / "released" / "toy.ipynb", notebook(**OPENED))
    monkeypatch.setattr(exercises, "RELEASED", tmp_path / "released")
    exercises.released.cache_clear()
    yield tmp_path / "mine"
    exercises.released.cache_clear()


def run(made: dict, **options: object) -> dict[str, running.Outcome]:
    return {row.task: row for row in evaluate(TOY, json.dumps(made).encode(), LIMITS, **options)[0]}


def test_released_assignments_of_the_package_are_the_students_copies():
    exported = {file.name: file.read_bytes() for file in exercises.RELEASED.glob("*.ipynb")}
    assert exported == {file.name: file.read_bytes() for file in exercises.EXERCISES.glob("*/*.ipynb")}, (
        "run `make exercises`"
    )


# ---- each task in a process of its own ------------------------------------------------------------------------------

SPOILT = {  # what an answer does -> what its message says; "": it is right all the same
    "import sys; sys.exit()": "ends Python itself",
    "import os; os._exit(0)": "ends Python itself",
    "while True: pass": "stopped after 5 s, in cell",
    "x = []\n    while True: x.append(bytearray(10**9))": "it wants more memory than there is for a task",
    "return number(n + 1)": "RecursionError",
    "print('x' * 10**8); return n": "",
    "import torch; torch.set_grad_enabled(False); torch.set_default_dtype(torch.float64); return n": "the check fails",
    "import torch; torch.equal = lambda *rest: True; return n": "the answer replaces torch.equal",
    "import builtins; builtins.abs = lambda x: 1; return n": "the answer replaces builtins.abs",
    "import threading; threading.Thread(target=lambda: 1 / 0).start(); return n": "",
    "import os; os.closerange(0, 50); return n": "ends Python itself",
    "import os; os.kill(os.getppid(), 9); return n": "",
    'import os; os.write(1, b\'{"end": "task", "outcome": {"state": "done"}}\'); return n - 1': "wrong",
    "open('full', 'wb').write(bytes(2 * 10**7)); return n": "File too large",
    "raise KeyboardInterrupt": "ends Python itself",
    "raise AssertionError('mine')": "AssertionError: mine",
    "class E(Exception):\n        def __str__(self): 1 / 0\n    raise E": "(its message cannot be shown)",
}


def course_of(count: int) -> Assignment:
    """An assignment of many tasks: number_3 wants a function that returns what it is given."""
    check = "import torch\nassert torch.equal(torch.tensor(number_{0}({0})), torch.tensor({0})), 'wrong'\nassert abs(-1) == 1"
    check += "\nassert torch.ones(1, requires_grad=True).sum().requires_grad and torch.ones(1).dtype is torch.float32"
    stub = 'def number_{0}(n):\n    raise NotImplementedError("number_{0}: write your answer here")'
    tasks = [Exercise(f"number_{i}", 1, (stub.format(i), check.format(i)), 0) for i in range(count)]
    return Assignment("many", "import sys", tuple(tasks))


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of memory and files are Linux's")
def test_whatever_one_answer_does_the_others_keep_their_points():
    bodies = [body for spoilt in SPOILT for body in (spoilt, "return n")]
    cells = [
        classroom.cell(f"def number_{i}(n):\n    {body.replace('number(', f'number_{i}(')}")
        for i, body in enumerate(bodies)
    ]
    rows, _ = evaluate(course_of(len(bodies)), json.dumps({"cells": cells}).encode(), LIMITS)
    assert [row.state for row in rows[1::2]] == ["done"] * len(SPOILT)
    for row, (body, message) in zip(rows[::2], SPOILT.items(), strict=True):
        assert (row.state == "done") == (message == ""), (body, row)
        assert message in row.message, (body, row)
        assert len(row.printed) <= running.PRINTED


def test_what_a_cell_does_while_it_is_read_reaches_no_other_task():
    """At the top level of the answer's cell, where a notebook would run it first."""
    rows = run(notebook(add="import sys\nadd = sys.exit()"))
    assert [row.state for row in rows.values()] == ["error", "done", "done"]
    assert "ends Python itself" in rows["add"].message and "cell 3, line 2" in rows["add"].message


class OneByOne(Place):
    """Starts what Python starts where a process cannot be copied."""

    def __init__(self) -> None:
        self.started = 0

    def start(self, module, folder):
        self.started += 1
        (folder / "one_by_one.py").write_text(f"import {module} as it\nit.CAN_COPY = False\nit.main()\n")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "one_by_one.py"], cwd=folder, env=dict(os.environ), **pipes)


def test_where_no_process_can_be_copied_each_task_gets_one_that_is_started_anew():
    place = OneByOne()
    rows = run(notebook(add="def add(a, b):\n    import os\n    os._exit(0)"), place=place)
    assert [row.state for row in rows.values()] == ["error", "done", "done"] and place.started == 3
    assert "ends Python itself" in rows["add"].message


def test_settings_that_an_answer_leaves_behind_do_not_reach_its_check():
    check = {
        "Twice": "assert torch.ones(1, requires_grad=True).sum().requires_grad\nassert torch.ones(1).dtype is torch.float32"
    }
    strict = read_assignment(notebook(check, **OPENED)["cells"], "toy")
    left = "    torch.set_grad_enabled(False)\n    torch.set_default_dtype(torch.float64)\n    torch.manual_seed(3)"
    answer = classroom.RIGHT["Twice"].replace("\n", f"\n{left}\n", 1)
    rows, _ = evaluate(strict, json.dumps(notebook(Twice=answer)).encode(), LIMITS, only={"Twice"})
    assert [(row.task, row.state) for row in rows] == [("Twice", "done")]


def test_states_and_messages_are_those_that_a_learner_can_use():
    forward = "class Twice(torch.nn.Module):\n    def froward(self, x):\n        return 2 * x"
    rows = run(
        notebook(add="def add(a, b):\n    return a - b", double="def double(a):\n    return tow * a", Twice=forward)
    )
    assert [row.state for row in rows.values()] == ["wrong", "error", "error"]
    assert rows["add"].message == "add: the sum is wrong"
    assert rows["double"].message.startswith("NameError: name 'tow' is not defined (cell 6, line 2: return tow * a)")
    assert rows["Twice"].message == "the class has no method `forward`; is its name misspelled?"
    assert [row.points for row in run(notebook(**OPENED)).values()] == [0, 0, 0]
    assert {row.state for row in run(notebook(**OPENED)).values()} == {"open"}


def test_cells_with_magics_and_checks_of_ones_own_cost_and_earn_nothing():
    easy = {task: "assert True" for task in classroom.POINTS}
    made = classroom.with_cells(notebook(easy, add="def add(a, b):\n    return 0"), *classroom.MAGICS, "sys.exit()")
    assert [row.points for row in run(made).values()] == [0, 3, 5]
    timed = notebook(add="%timeit sum(range(3))\ndef add(a, b):\n    %timeit a + b\n    display(a)\n    return a + b")
    assert [row.points for row in run(timed).values()] == [2, 3, 5]


def test_what_a_task_printed_and_its_answer_are_kept():
    row = run(notebook(add="def add(a, b):\n    print('here')\n    return a + b"))["add"]
    assert row.printed == "here\nhere\n" and row.answer.startswith("def add(a, b):\n    print('here')")


# ---- progress -------------------------------------------------------------------------------------------------------


def test_progress_tells_done_open_and_wrong_and_writes_a_page_that_needs_no_network(toy, capsys, tmp_path):
    put(
        toy / "toy" / "toy.ipynb",
        classroom.bare(notebook(double=OPENED["double"], add="def add(a, b):\n    return '<b>'")),
    )
    progress(toy, tmp_path / "report.html")
    printed = capsys.readouterr().out
    assert re.search(r"toy +1 +2 +5 of 10\n    add: add: the sum is wrong\n", printed), printed
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "My exercises: 5 of 10 points" in page and "add: the sum is wrong" in page and "not right yet" in page
    assert "://" not in page and "<script" not in page


def test_a_damaged_notebook_is_told_and_the_total_does_not_shrink(toy, capsys, tmp_path):
    put(tmp_path / "released" / "other.ipynb", notebook(**OPENED))
    put(toy / "toy.ipynb", "no json")
    put(toy / "other.ipynb", notebook())
    progress(toy)
    printed = capsys.readouterr().out
    assert "toy.ipynb cannot be read: it is no notebook" in printed
    assert re.search(r"other +3 +0 +10 of 10\n", printed) and re.search(r"all +10 of 20\n", printed)


def test_notes_on_the_file_and_on_missing_tasks_are_shown(toy, capsys):
    made = notebook()
    del made["cells"][classroom.position(made, "add")]
    put(toy / "toy (1).ipynb", made)
    progress(toy)
    printed = capsys.readouterr().out
    assert "its name is toy (1).ipynb, not toy.ipynb" in printed
    assert (
        "add: no cell defines `add`; `python -m minitransformer reset toy/add` gives the task's cells anew" in printed
    )


def test_what_the_machine_cannot_run_is_not_the_learners_fault(toy, monkeypatch):
    class Broken(Place):
        def start(self, module, folder):
            raise running.NoResult("no memory")

    monkeypatch.setattr(running, "Place", Broken)
    rows, notes = examine(TOY, put(toy / "toy.ipynb", notebook()))
    assert {row.state for row in rows} == {"not run"} and notes == ["not run, this machine's fault: no memory"]


def test_progress_without_exercises_says_so(tmp_path):
    with pytest.raises(ValueError, match="holds no exercises"):
        progress(tmp_path)


# ---- reset and hint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", [lambda made: made, classroom.bare, classroom.twice, classroom.split])
def test_reset_opens_one_task_and_leaves_the_others_and_a_copy(toy, edit):
    made = edit(notebook())
    file = put(toy / "toy" / "toy.ipynb", made)
    kept = reset("Twice", toy)
    assert json.loads(kept.read_text(encoding="utf-8")) == made and kept.name == "toy_before_reset_1.ipynb"
    cells = reading.read_cells(file.read_bytes())[0]
    assert [it.state for it in reading.match(TOY, cells).found] == ["ready", "ready", "open"]
    released = {"".join(it["source"]) for it in notebook(**OPENED)["cells"][-3:]}
    assert [sum(it.source == source for it in cells) for source in released] == [1, 1, 1]
    assert reset("toy/add", toy).name == "toy_before_reset_2.ipynb"


def test_reset_gives_cells_back_that_were_deleted(toy):
    made = notebook()
    made["cells"] = made["cells"][:-3]
    file = put(toy / "toy.ipynb", made)
    reset("Twice", toy)
    assert json.loads(file.read_text(encoding="utf-8"))["cells"][-3:] == notebook(**OPENED)["cells"][-3:]


def test_reset_of_a_damaged_notebook_changes_nothing(toy):
    file = put(toy / "toy.ipynb", "no json")
    with pytest.raises(ValueError, match=r"toy\.ipynb cannot be read as a notebook"):
        reset("add", toy)
    assert [it.name for it in toy.iterdir()] == ["toy.ipynb"] and file.read_text() == "no json"


def test_hint_goes_one_step_further_each_time(toy):
    put(toy / "toy.ipynb", notebook())
    assert hint("add", toy) == "add, hint 1 (1 of 1)\n\nThink."
    assert hint("double", toy).startswith("double, hint 1 (1 of 1)")
    for _ in range(2):
        assert hint("add", toy).startswith("There is no further hint for add. ") and "Think." in hint("add", toy)


def test_a_task_is_named_by_itself_or_with_its_lesson():
    among = {name: dataclasses.replace(TOY, name=name) for name in ("01_toy", "02_toy")}
    assert find_task("02/add", among)[1].name == "add"
    with pytest.raises(ValueError, match="several lessons have a task 'add'; name one of: 01_toy/add, 02_toy/add"):
        find_task("add", among)
    with pytest.raises(ValueError, match="no task 'subtract'; there are: add, double, Twice"):
        find_task("subtract", {"toy": TOY})


def test_every_task_of_the_course_has_a_hint():
    assert all(task.hints for assignment in exercises.released().values() for task in assignment.tasks)


def test_commands_reach_the_learners_folder(toy, capsys):
    file = put(toy / "toy.ipynb", notebook())
    assert main(["progress", str(toy)]) == 0
    assert "10 of 10" in capsys.readouterr().out
    assert main(["hint", "add", str(toy)]) == 0
    assert capsys.readouterr().out == "add, hint 1 (1 of 1)\n\nThink.\n"
    assert main(["reset", "add", str(toy)]) == 0
    assert "add is open again; your notebook as it was: " in capsys.readouterr().out
    assert reading.match(TOY, reading.read_cells(file.read_bytes())[0]).found[0].state == "open"
    assert main(["reset", "subtract", str(toy)]) == 1
    assert "there is no task 'subtract'; there are: add, double, Twice" in capsys.readouterr().err

"""The exercises: their form, the reference solutions, the checks against planted wrong answers, the students' copies."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from minitransformer.course.exercises import check, read_exercises, run_cells

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
from generate import generate  # noqa: E402

NOTEBOOKS = sorted((ROOT / "solutions").glob("*/*.ipynb"))
SETUP_SEED = "SEED = 0"


def wrong_answers(notebook: Path) -> list:
    return importlib.import_module(f"wrong_answers.lesson_{notebook.stem}").WRONG


def right_answers(notebook: Path) -> list:
    return importlib.import_module(f"right_answers.lesson_{notebook.stem}").RIGHT


PLANTED = [
    pytest.param(notebook, wrong, id=f"{notebook.stem}-{wrong.task}-{wrong.mistake}".replace(" ", "_"))
    for notebook in NOTEBOOKS
    for wrong in wrong_answers(notebook)
]
STYLES = [
    pytest.param(notebook, right, id=f"{notebook.stem}-{right.task}-{right.style}".replace(" ", "_"))
    for notebook in NOTEBOOKS
    for right in right_answers(notebook)
]
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[notebook.stem for notebook in NOTEBOOKS])


@each_notebook
def test_form(notebook):
    assert notebook.stem == notebook.parent.name
    assert (ROOT / "notebooks" / notebook.name).exists(), "an assignment is called as its lesson"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") for cell in cells)
    headings = [
        "".join(c["source"]) for c in cells if c["cell_type"] == "markdown" and "## Task" in "".join(c["source"])
    ]
    setup, tasks = read_exercises(notebook)
    assert SETUP_SEED in setup
    assert 3 <= len(tasks) <= 6
    assert len(headings) == len(tasks)
    minutes = [int(re.search(r", (\d+) minutes, (?:easy|medium|hard)\): ", heading)[1]) for heading in headings]
    told = int(re.search(r"about (\d+) minutes", "".join(cells[0]["source"]))[1])
    assert sum(minutes) <= told < sum(minutes) + 5, "the minutes at the top are those of the tasks, rounded up"
    assert sum(task.points for task in tasks) == 10
    for kind in ("predict", "build", "find"):
        assert any(f"({kind}," in heading for heading in headings), f"there is no {kind} task"
    for number, (heading, task) in enumerate(zip(headings, tasks, strict=True), start=1):
        assert f"## Task {number} (" in heading
        assert f", {task.points:g} point" in heading
        assert "<details>" in heading, "each task has a hint"
        kind = heading.split("(")[1].split(",")[0]
        wrong = [answer for answer in wrong_answers(notebook) if answer.task == task.name]
        assert len(wrong) >= (2 if kind == "predict" else 4), f"{task.name} wants more wrong answers"
        right = [answer for answer in right_answers(notebook) if answer.task == task.name]
        assert len(right) >= 3, f"{task.name} wants more right answers in other styles"
    planted = [*wrong_answers(notebook), *right_answers(notebook)]
    assert {answer.task for answer in planted} <= {task.name for task in tasks}


@each_notebook
def test_reference_passes_on_ten_seeds(notebook):
    setup, tasks = read_exercises(notebook)
    for seed in range(10):
        for task in tasks:
            seeded = setup.replace(SETUP_SEED, f"SEED = {seed}")
            assert check(seeded, task) == ("done", ""), f"{task.name}, seed {seed}"


@each_notebook
def test_checks_can_be_run_again_and_out_of_order(notebook):
    setup, tasks = read_exercises(notebook)
    run_cells([setup, *(cell for task in reversed(tasks) for cell in (*task.cells, task.cells[-1]))])


@each_notebook
def test_unanswered_task_names_itself(notebook, tmp_path):
    setup, tasks = read_exercises(generate(notebook.stem, tmp_path))
    run_cells([setup, *(task.cells[task.answer] for task in tasks)])  # an open answer does not stop "run all"
    for task in tasks:
        with pytest.raises(NotImplementedError, match=task.name):
            run_cells([setup, *task.cells])


def answered(notebook: Path, name: str, old: str | None, new: str) -> tuple[str, list[str], str]:
    """The setup, the cells before the check with `new` in the place of `old`, and the check."""
    setup, tasks = read_exercises(notebook)
    (task,) = [task for task in tasks if task.name == name]
    reference = task.cells[task.answer]
    assert old is None or reference.count(old) == 1
    answer = new if old is None else reference.replace(old, new)
    return setup, [*task.cells[: task.answer], answer, *task.cells[task.answer + 1 : -1]], task.cells[-1]


@pytest.mark.parametrize(("notebook", "wrong"), PLANTED)
def test_wrong_answer_is_caught(notebook, wrong):
    setup, cells, check_cell = answered(notebook, wrong.task, wrong.old, wrong.new)
    run_cells([setup, *cells])  # it runs, and is wrong
    with pytest.raises(AssertionError) as caught:
        run_cells([setup, *cells, check_cell])
    assert wrong.message.lower() in str(caught.value).lower()


@pytest.mark.parametrize(("notebook", "right"), STYLES)
def test_right_answer_in_another_style_is_accepted(notebook, right):
    setup, cells, check_cell = answered(notebook, right.task, right.old, right.new)
    for seed in (0, 3):
        run_cells([setup.replace(SETUP_SEED, f"SEED = {seed}"), *cells, check_cell])


@each_notebook
def test_students_copy_is_up_to_date(notebook, tmp_path):
    fresh = generate(notebook.stem, tmp_path).read_bytes()
    committed = ROOT / "exercises" / notebook.stem / notebook.name
    assert committed.exists() and committed.read_bytes() == fresh, "run `make exercises`"
    assert b"BEGIN SOLUTION" not in fresh


def test_every_lesson_with_a_method_has_exercises():
    lessons = {notebook.stem for notebook in (ROOT / "notebooks").glob("[01][0-9]_*.ipynb") if notebook.stem < "11"}
    assert lessons <= {notebook.stem for notebook in NOTEBOOKS}

"""Reading the tasks out of a notebook, whatever an editor has made of it: a right answer is found, and a wrong one, too."""

import copy
import json

import classroom
import pytest
from classroom import MAGICS, OPENED, RIGHT, notebook
from hypothesis import given, settings
from hypothesis import strategies as st

from minitransformer.course.exercises import RELEASED, copy_number, notebooks_in, read_exercises, released
from minitransformer.course.reading import match, read_assignment, read_cells
from minitransformer.course.running import run, run_task

TOY = read_assignment(notebook(**OPENED)["cells"], "toy")
WRONG = {"add": "def add(a, b):\n    return a - b", "double": "half = 0.5\ndef double(a):\n    return half * a"}


def found(made: dict | str | bytes) -> dict[str, tuple]:
    """State of each task, and the statements that were taken for its answer, each once."""
    content = made if isinstance(made, bytes) else (json.dumps(made) if isinstance(made, dict) else made).encode()
    matched = match(TOY, read_cells(content)[0])
    return {it.task: (it.state, tuple(dict.fromkeys(part.tree for part in it.parts))) for it in matched.found}


def states(made: dict | str | bytes) -> list[str]:
    return [state for state, _ in found(made).values()]


def notes(made: dict | str) -> list[str]:
    cells, odd = read_cells((json.dumps(made) if isinstance(made, dict) else made).encode())
    return [*odd, *match(TOY, cells).notes]


# ---- random edits ---------------------------------------------------------------------------------------------------


def copied(made: dict, draw) -> dict:
    at = draw(st.integers(0, len(made["cells"]) - 1))
    return made | {"cells": [*made["cells"][: at + 1], copy.deepcopy(made["cells"][at]), *made["cells"][at + 1 :]]}


def moved(made: dict, draw) -> dict:
    return made | {"cells": draw(st.permutations(made["cells"]))}


def extended(made: dict, draw) -> dict:
    at = draw(st.integers(0, len(made["cells"])))
    own = ["sys.exit()", "while True: pass", "x = 3\nx", "def helper():\n    return 1", "import os; os._exit(0)"]
    return made | {
        "cells": [*made["cells"][:at], classroom.cell(draw(st.sampled_from([*MAGICS, *own]))), *made["cells"][at:]]
    }


def stripped(made: dict, draw) -> dict:
    return classroom.bare(made)


def unchecked(made: dict, draw) -> dict:
    return classroom.without_checks(made)


def renamed(made: dict, draw) -> dict:
    return classroom.renamed_checks(made)


def cut(made: dict, draw) -> dict:
    """A cell split between two of its lines."""
    places = [i for i, it in enumerate(made["cells"]) if it["cell_type"] == "code" and "\n" in it["source"]]
    at = draw(st.sampled_from(places))
    lines = made["cells"][at]["source"].split("\n")
    line = draw(st.integers(1, len(lines) - 1))
    halves = [made["cells"][at] | {"source": "\n".join(lines[:line])}, classroom.cell("\n".join(lines[line:]))]
    return made | {"cells": [*made["cells"][:at], *halves, *made["cells"][at + 1 :]]}


def deleted(made: dict, draw) -> dict:
    at = draw(st.integers(0, len(made["cells"]) - 1))
    return made | {"cells": [*made["cells"][:at], *made["cells"][at + 1 :]]}


def forgotten(made: dict, draw) -> dict:
    """One cell without its id, or without its metadata."""
    at = draw(st.integers(0, len(made["cells"]) - 1))
    kept = {key: value for key, value in made["cells"][at].items() if key != "id"}
    kept |= {"metadata": {}} if draw(st.booleans()) else {}
    return made | {"cells": [*made["cells"][:at], kept, *made["cells"][at + 1 :]]}


FILES = {
    "as it is": lambda text: text.encode(),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "Windows": lambda text: json.dumps(json.loads(text), indent=1).replace("\n", "\r\n").encode(),
    "format 4.2": lambda text: text.replace('"nbformat_minor": 5', '"nbformat_minor": 2').encode(),
    "format 3": lambda text: json.dumps(classroom.old_format(json.loads(text))).encode(),
    "merge conflict": lambda text: classroom.conflict(json.loads(text)).encode(),
}


@pytest.mark.parametrize("answers", [RIGHT, WRONG], ids=["right", "wrong"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_sequence_of_edits_changes_what_is_found(answers, data):
    made = notebook(**answers)
    as_it_was = found(made)
    edits = st.lists(st.sampled_from([copied, moved, extended, stripped, unchecked, renamed]), max_size=5)
    for edit in [*data.draw(edits), *data.draw(st.sampled_from([[], [cut]]))]:
        made = edit(made, data.draw)
    in_the_file = data.draw(st.sampled_from([name for name in FILES if name != "merge conflict" or "$x" in str(made)]))
    assert found(FILES[in_the_file](json.dumps(made))) == as_it_was


def verdicts(content: bytes) -> dict[str, tuple[str, str]]:
    """State and message of each task, run here: the answers of these tests do no harm."""
    after_setup = {}
    run(TOY.setup, "setup", after_setup)
    judged = {}
    for task, it in zip(TOY.tasks, match(TOY, read_cells(content)[0]).found, strict=True):
        judged[it.task] = run_task(task, it.parts, dict(after_setup)) if it.state == "ready" else (it.state, it.message)
    return judged


HALF_WRONG = {
    "add": WRONG["add"],
    "double": "def twofold(a):\n    return 2 * a\n\n\ndef double(a):\n    return twofold(a)",
}


@given(data=st.data())
@settings(max_examples=30)
def test_no_sequence_of_edits_gives_or_takes_points_without_a_word(data):
    made = notebook(**HALF_WRONG)
    as_it_was = {"add": ("wrong", "add: the sum is wrong"), "double": ("done", ""), "Twice": ("done", "")}
    edits = [copied, moved, extended, deleted, deleted, forgotten, stripped, unchecked, renamed]
    for edit in [*data.draw(st.lists(st.sampled_from(edits), max_size=6)), *data.draw(st.sampled_from([[], [cut]]))]:
        made = edit(made, data.draw) if made["cells"] else made
    in_the_file = data.draw(st.sampled_from(["as it is", "byte order mark", "Windows", "format 4.2", "format 3"]))
    text = "\n".join(it["source"] for it in made["cells"])
    left = {task for task in as_it_was if f"def {task}(" in text or f"class {task}(" in text}
    for task, (state, message) in verdicts(FILES[in_the_file](json.dumps(made))).items():
        if (state, message) == as_it_was[task]:
            continue
        assert state == "missing" and f"no cell defines `{task}`; `python -m" in message, (task, state, message)
        assert task not in left, f"{task} is there, and was not found"


@pytest.mark.parametrize(
    "edit", [classroom.twice, classroom.bare, classroom.shuffled, classroom.split, classroom.joined]
)
def test_what_editors_do_takes_no_answer_away(edit):
    assert found(edit(notebook())) == found(notebook())
    assert found(edit(notebook(**WRONG))) == found(notebook(**WRONG)) != found(notebook())


def test_every_solution_of_the_course_is_found_without_its_metadata():
    solutions = RELEASED.parents[2] / "solutions"
    for name, assignment in released().items():
        made = json.loads((solutions / name / f"{name}.ipynb").read_text(encoding="utf-8"))
        matched = match(assignment, read_cells(json.dumps(classroom.bare(made)).encode())[0])
        assert {it.task: it.state for it in matched.found} == {task.name: "ready" for task in assignment.tasks}, name
        assert matched.notes == []
        again = match(assignment, read_cells((RELEASED / f"{name}.ipynb").read_bytes())[0])
        assert {it.state for it in again.found} == {"open"} and again.notes == []


# ---- which answer counts --------------------------------------------------------------------------------------------


def test_an_answer_in_a_copy_of_the_cell_counts_and_the_stub_does_not():
    made = notebook(add=OPENED["add"])
    assert states(made) == ["open", "ready", "ready"]
    made["cells"].append(classroom.cell(RIGHT["add"], "add", solution=True))
    assert found(made) == found(notebook())


def test_of_two_answers_the_last_before_the_check_counts_and_that_is_told():
    made = notebook(add=WRONG["add"])
    at = classroom.position(made, "add")
    made["cells"].insert(at + 1, classroom.cell(RIGHT["add"]))
    made["cells"].append(classroom.cell("def add(a, b):\n    return 0  # tried later"))
    assert found(made)["add"][1][-1:] == found(notebook())["add"][1]
    assert "add is answered more than once: cell 4 counts, not cell 3" in notes(made)


def test_a_helper_of_the_learners_comes_along_and_nothing_else_does():
    made = classroom.with_cells(
        notebook(add="def add(a, b):\n    return plus(a, b)"), "def plus(a, b):\n    return a + b", "1 / 0"
    )
    parts = match(TOY, read_cells(json.dumps(made).encode())[0]).found[0].parts
    assert [part.defines for part in parts] == [("plus",), ("add",)]


def test_what_is_not_there_is_named_with_the_remedy():
    other = notebook(add="def addition(a, b):\n    return a + b", double="def double(a)\n    return 2 * a")
    del other["cells"][classroom.position(other, "Twice")]
    rows = match(TOY, read_cells(json.dumps(other).encode())[0]).found
    assert [row.state for row in rows] == ["missing", "error", "missing"]
    assert rows[0].message == "its cell defines `addition`; the task asks for `add`"
    assert rows[1].message.startswith("cell 6 is not Python: expected ':', line 1")
    assert (
        rows[2].message
        == "no cell defines `Twice`; `python -m minitransformer reset toy/Twice` gives the task's cells anew"
    )


def test_changed_and_missing_checks_are_told():
    made = notebook({"add": "assert True"})
    del made["cells"][classroom.position(made, "check_double")]
    told = " ".join(notes(made))
    assert "changed: the check of add; the teacher's ran instead" in told
    assert "missing: the check of double; the teacher's ran instead" in told
    assert notes(notebook()) == []


def test_a_merge_conflict_is_told_and_one_side_counts():
    assert notes(classroom.conflict(notebook()))[0].startswith("1 merge conflicts are unresolved in the file")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04rest", "zip file: hand in the notebook itself"),
        (b"<!DOCTYPE html><html></html>", "web page: download the notebook itself"),
        (b'{"cells": [{"cell_type"', "cut off or damaged"),
        (b"[]", "JSON, but no notebook"),
        (b"\x89PNG", "no notebook"),
        (b"[" * 100_000, "no notebook"),
    ],
)
def test_a_file_that_is_no_notebook_is_called_what_it_is(content, what):
    with pytest.raises(ValueError, match=what):
        read_cells(content)


def test_no_notebook_is_an_error_that_names_the_file(tmp_path):
    file = classroom.put(tmp_path / "a.ipynb", "no json")
    with pytest.raises(ValueError, match=r"a\.ipynb cannot be read"):
        read_exercises(file)


# ---- which file is which assignment's -------------------------------------------------------------------------------


def test_a_notebook_is_found_under_the_names_that_systems_give_it(tmp_path):
    for name, note in (
        ("06_lora", ""),
        ("06_lora (1)", "its name is"),
        ("06 LoRA", "its name is"),
        ("homework", "its name is"),
    ):
        folder = tmp_path / name.replace(" ", "-")
        file = classroom.put(folder / f"{name}.ipynb", (RELEASED / "06_lora.ipynb").read_bytes())
        [(assignment, (path, told))] = notebooks_in(folder, released()).items()
        assert (assignment, path) == ("06_lora", file) and told.startswith(note) and bool(told) == bool(note)


def test_the_exact_name_goes_before_copies_and_of_these_the_last_counts(tmp_path):
    for name in ("06_lora-Copy1", "06_lora-Copy2", "06_lora_before_reset_1"):
        classroom.put(tmp_path / f"{name}.ipynb", (RELEASED / "06_lora.ipynb").read_bytes())
    assert notebooks_in(tmp_path, released())["06_lora"][0].stem == "06_lora-Copy2"
    exact = classroom.put(tmp_path / "06_lora.ipynb", "damaged")
    classroom.put(tmp_path / ".ipynb_checkpoints" / "06_lora.ipynb", "older")
    assert notebooks_in(tmp_path, released()) == {"06_lora": (exact, "")}
    assert copy_number(exact) == 0

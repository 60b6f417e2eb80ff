"""The page of mistakes: each is planted where it says, each names what catches it, and no answer stands on it."""

import importlib
import importlib.util
from pathlib import Path

import pytest
from test_verify import WRONG

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("mistakes", ROOT / "site" / "mistakes.py")
mistakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mistakes)

ALL = [mistake for group in mistakes.read_mistakes() for mistake in group["mistake"]]
PAGE = mistakes.page_of_mistakes(mistakes.read_mistakes())


def planted_in(lesson):
    return importlib.import_module(f"wrong_answers.lesson_{lesson}").WRONG


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake["title"])
def test_mistake_is_planted_where_it_says(mistake):
    assert "verify" in mistake or "exercise" in mistake
    if "verify" in mistake:
        name, promise = mistake["verify"]
        assert WRONG[name][3] == promise
    if "exercise" in mistake:
        lesson, task, what = mistake["exercise"]
        assert (task, what) in [(wrong.task, wrong.mistake) for wrong in planted_in(lesson)]


def test_page_tells_of_every_mistake_all_that_there_is_to_tell():
    for mistake in ALL:
        assert all(mistake[part] in PAGE for part in ("title", "happens", "looks", "why", "test"))
        if "report" in mistake:
            name, address, about = mistake["report"]
            assert f"[{name}]({address}): {about}." in PAGE
    assert len({mistake["title"] for mistake in ALL}) == len(ALL) >= 24


def test_page_gives_no_answer_away():
    """Neither a piece of a reference solution, nor what is wrong in code that is handed out to be mended."""
    for lesson in {mistake["exercise"][0] for mistake in ALL if "exercise" in mistake}:
        for wrong in planted_in(lesson):
            for code in (wrong.old, wrong.new):
                assert code is None or len(code) < 16 or code not in PAGE, (lesson, wrong.task, code)
    for mistake in ALL:
        if "exercise" in mistake:
            _, task, what = mistake["exercise"]
            assert not (task.startswith("mend") and "still" in what)
            assert task not in PAGE


def test_an_answer_on_the_page_would_be_seen():
    """The guard above looks for something: the solutions' own lines are long enough to be found."""
    pieces = [wrong.old for wrong in planted_in("06_lora") if wrong.old and len(wrong.old) >= 16]
    assert "self.lora_B @ self.lora_A" in pieces

"""Slides for teachers: what a lesson asks, shows and leaves, and no network."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
from slides import main, slides  # noqa: E402


def lesson(
    folder: Path,
    *cells: str | dict,
    end: str = "## To remember\n\n- It costs $2r$; see [03](03.ipynb).\n\n**At work.** Ask.",
):
    """A notebook of texts and pictures."""
    texts = [it if isinstance(it, dict) else {"cell_type": "markdown", "source": [it]} for it in (*cells, end)]
    file = folder / "07_toy.ipynb"
    file.write_text(json.dumps({"cells": texts}), encoding="utf-8")
    return file


def picture(data: str) -> dict:
    """A cell of code that shows a picture."""
    return {"cell_type": "code", "source": "# no heading", "outputs": [{"data": {"image/png": f"{data}\n"}}]}


def test_a_guess_each_picture_under_its_heading_and_what_to_remember(tmp_path):
    file = lesson(
        tmp_path, "# 07 Toy\n\nA puzzle.\n\n*Your guess: 1 < 2?*", picture("AAAA"), "## The price", picture("BBBB")
    )
    first, one, two, last = slides(file)
    assert "<h1>07 Toy</h1>" in first and "<em>Your guess: 1 &lt; 2?</em>" in first and "puzzle" not in first
    assert "<h2>07 Toy</h2>" in one and "base64,AAAA" in one
    assert "<h2>The price</h2>" in two and "base64,BBBB" in two
    assert "<math" in last and "see 03." in last and "At work" not in last


def test_a_lesson_without_an_end_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"07_toy\.ipynb has no heading, or does not end with '## To remember'"):
        slides(lesson(tmp_path, "# 07 Toy", end="The end."))


def test_every_lesson_becomes_a_page_that_holds_all_that_it_shows(tmp_path, capsys):
    main([str(tmp_path)])
    made = sorted(tmp_path.glob("*.html"))
    assert [file.stem for file in made] == sorted(file.stem for file in (ROOT / "notebooks").glob("*.ipynb"))
    for file in made:
        page = file.read_text(encoding="utf-8")
        assert not re.search(r'(?:src|href)="(?!data:)', page), f"{file.name} loads something"
        assert page.count("<section>") >= 2 and page.count("<h2>To remember</h2>") == 1, file.name

"""The site, built from the stored notebooks: no warning, nothing from elsewhere, every formula drawn."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site that was just built; warnings are errors, and a link that leads nowhere is a warning."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", "site", ".", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return out


def test_every_lesson_and_exercise_is_a_page(site):
    for folder in ("notebooks", "exercises"):
        for notebook in (ROOT / folder).rglob("*.ipynb"):
            assert (site / notebook.relative_to(ROOT)).with_suffix(".html").exists()


def test_no_page_asks_for_anything_elsewhere(site):
    for page in site.rglob("*.html"):
        asked = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:)?//[^"]*"', page.read_text("utf-8"))
        assert asked == [], page.name
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text("utf-8")


def test_formulas_are_mathml(site):
    page = (site / "notebooks" / "06_lora.html").read_text("utf-8")
    assert page.count("<math") > 5
    assert "\\frac" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.S)


def test_what_is_said_to_nbdev_is_not_on_the_page(site):
    for page in (site / "notebooks").glob("*.html"):
        code = "".join(re.findall(r"<pre>.*?</pre>", page.read_text("utf-8"), flags=re.S))  # a lesson may speak of it
        text = re.sub(r"<[^>]*>", "", code)
        assert "#| default_exp" not in text
        assert "#| export" not in text


def test_search_finds_dora(site):
    index = (site / "searchindex.js").read_text("utf-8")
    terms = json.loads(index[index.index("(") + 1 : index.rindex(")")])
    pages = []
    for kind in ("terms", "titleterms"):  # a word of a page's title is not among its other words
        found = terms[kind].get("dora", [])
        pages += found if isinstance(found, list) else [found]
    assert "notebooks/07_dora" in [terms["docnames"][number] for number in pages]


def test_every_claim_is_a_square_on_the_wall(site):
    page = (site / "site" / "wall.html").read_text("utf-8")
    ledger = (ROOT / "CLAIMS.md").read_text("utf-8")
    assert page.count("<details") == int(re.search(r"(\d+) claims:", ledger)[1])


def test_playground_is_there_with_its_numbers(site):
    assert (site / "playground" / "index.html").exists()
    assert "lora learn" in (site / "playground" / "data.js").read_text("utf-8")
    assert 'href="../playground/index.html"' in (site / "site" / "index.html").read_text("utf-8")

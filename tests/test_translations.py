"""A translated lesson: its translation survives a change of the original, and what was changed stands in English."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "site"))
import translations  # noqa: E402 - it lies with the site

LESSON = "notebooks/05_ia3"
OLD, NEW = "A sound engineer gets a finished recording.", "An engineer of sound gets a finished recording."
CONF = f"""
extensions, nb_execution_mode, myst_enable_extensions = ["myst_nb"], "off", ["dollarmath"]
root_doc, include_patterns, locale_dirs, gettext_compact = "{LESSON}", ["{LESSON}.ipynb"], ["site/locales"], False
html_theme, suppress_warnings = "basic", ["myst.xref_missing"]
language = "de" if tags.has("de") else "en"
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of one translated lesson, a paragraph of whose original was changed since."""
    root = tmp_path_factory.mktemp("course")
    for file in (Path(f"{LESSON}.ipynb"), translations.catalogue("de", LESSON).relative_to(ROOT)):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, root / file)
    notebook = root / f"{LESSON}.ipynb"
    text = notebook.read_text("utf-8")
    assert OLD in text
    notebook.write_text(text.replace(OLD, NEW), encoding="utf-8")
    (root / "site" / "conf.py").write_text(CONF, encoding="utf-8")
    return root


def german(course) -> str:
    """The German page, built; a warning is an error."""
    out = course / "build"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-t", "de", "-b", "html", "-c", "site", ".", str(out)]
    built = subprocess.run(command, cwd=course, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return (out / f"{LESSON}.html").read_text("utf-8")


def test_changed_paragraph_stands_in_english_and_all_others_stay_translated(course):
    file = course / translations.catalogue("de", LESSON).relative_to(ROOT)
    with file.open("rb") as lines:
        before = {message.id: message.string for message in read_po(lines) if message.id}
    not_updated = german(course)
    translations.update(file, "de", translations.extract(LESSON, course))
    with file.open("rb") as lines:
        after = {message.id: message for message in read_po(lines) if message.id}
    [old], [new] = ([text for text in part if words in text] for part, words in ((before, OLD), (after, NEW)))
    assert after.pop(new).fuzzy
    assert {text: message.string for text, message in after.items()} == {t: s for t, s in before.items() if t != old}
    for page in (not_updated, german(course)):
        assert NEW in page
        assert "Toningenieurin" not in page
        assert "Alle Regler zugleich" in page
        assert "All the sliders at once" not in page
        assert "Put your hand on it" not in page


def test_code_and_outputs_stay_as_they_are(course):
    page = re.sub(r"<[^>]*>", "", german(course))
    cells = json.loads((course / f"{LESSON}.ipynb").read_text("utf-8"))["cells"]
    printed = [text for cell in cells for output in cell.get("outputs", []) for text in output.get("text", [])]
    assert len(printed) > 20
    assert [line for line in printed if line.strip() not in page.replace("&#39;", "'").replace("&gt;", ">")] == []
    assert "class Sliders(nn.Module):" in page


CATALOGUES = [(code, name) for code in translations.LANGUAGES for name in translations.translated(code)]


@pytest.mark.parametrize(("language", "name"), CATALOGUES)
def test_translation_keeps_formulas_code_and_links(language, name):
    with translations.catalogue(language, name).open("rb") as file:
        messages = [message for message in read_po(file) if message.id and message.string and not message.fuzzy]
    kept = re.compile(r"\$[^$]*\$|`[^`]*`|\]\([^)]*\)")
    assert len(messages) > 10
    assert [m.id for m in messages if sorted(kept.findall(m.id)) != sorted(kept.findall(m.string))] == []

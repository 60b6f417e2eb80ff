"""A translated lesson: its translation survives a change of the original, and what was changed stands in English.

The words in the drawings: a catalogue holds them all, and without a translation they are English.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from babel.messages.mofile import read_mo
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


# ---- the words in the drawings ------------------------------------------------------------------------------------------

FIGURES = [(code, translations.catalogue_of_drawings(code)) for code in translations.LANGUAGES]


@pytest.mark.parametrize(("language", "file"), FIGURES)
def test_catalogue_of_the_drawings_holds_their_words_and_is_compiled(language, file):
    with file.open("rb") as text, file.with_suffix(".mo").open("rb") as compiled:
        catalog, of_python = read_po(text, locale=language), read_mo(compiled)
    words = {message.id for message in translations.words_of_drawings() if message.id}
    assert len(words) > 100
    assert words == {message.id for message in catalog if message.id}
    ready = {message.id: message.string for message in catalog if message.string and not message.fuzzy}
    assert ready == {message.id: message.string for message in of_python}
    fields = re.compile(r"{[^}]*}|\n")
    assert [word for word in ready.keys() - {""} if fields.findall(word) != fields.findall(ready[word])] == []


@pytest.mark.parametrize(
    ("language", "shown"),
    [({}, "training steps"), ({"MINITRANSFORMER_LANGUAGE": "de"}, "Trainingsschritte"),
     ({"MINITRANSFORMER_LANGUAGE": "xx"}, "training steps"), ({"LANG": "de_DE.UTF-8"}, "training steps")],
)  # fmt: skip
def test_drawings_are_english_unless_their_own_variable_names_a_language(language, shown):
    code = "from minitransformer.course.words import _; print(_('training steps'), '|', _('a word of no drawing'))"
    environment = {name: value for name, value in os.environ.items() if name != "MINITRANSFORMER_LANGUAGE"} | language
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == f"{shown} | a word of no drawing\n"

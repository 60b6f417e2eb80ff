"""Lessons in other languages: `python site/translations.py de notebooks/05_ia3` writes what there is to translate.

A catalogue, site/locales/LANGUAGE/LC_MESSAGES/LESSON.po, holds a lesson's paragraphs, each with its translation. What has
none, or was changed since, stands in English on the page. One more holds the words in the drawings (`figures`).
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from docutils import nodes
from sphinx import addnodes

ROOT = Path(__file__).parents[1]
LOCALES = ROOT / "site" / "locales"
DRAWINGS = ROOT / "minitransformer" / "course"
HEADER = "# Give each msgstr its translation; take out the line `#, fuzzy` above one that you have brought up to date."
LANGUAGES = {"de": "Auf Deutsch"}  # each a folder in site/locales -> what a link to it says, in that language
NOTES = {  # what a translated page says of its pictures, which are those that the lesson stores
    "de": "In den Bildern stehen hier englische Wörter; führst du die Lektion mit "
    "<code>MINITRANSFORMER_LANGUAGE=de</code> aus, zeichnet sie deutsche.",
}


def catalogue(language: str, name: str) -> Path:
    """Where the translation of a lesson lies, such as notebooks/05_ia3."""
    return LOCALES / language / "LC_MESSAGES" / f"{name}.po"


def translated(language: str) -> list[str]:
    """The lessons that have a catalogue, such as notebooks/05_ia3."""
    folder = LOCALES / language / "LC_MESSAGES"
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.po"))


def ways(name: str, language: str) -> str:
    """Links from a lesson's page in one language to the same page in the others, as HTML; "" if there is no other.

    A translated page says there, too, that its pictures are not.
    """
    if language != "en":  # these pages lie in a folder of their own, the language's
        way = f'<a href="../../{name}.html" hreflang="en" lang="en">In English</a>'
        return f"<p>{way} · {NOTES[language]}</p>"
    found = [code for code in LANGUAGES if catalogue(code, name).exists()]
    links = [f'<a href="../{code}/{name}.html" hreflang="{code}" lang="{code}">{LANGUAGES[code]}</a>' for code in found]
    return f"<p>{' · '.join(links)}</p>" if links else ""


def add_ways(cells: list[dict], name: str, language: str) -> None:
    """Put the links behind a lesson's first text, if there are any."""
    if line := ways(name, language):
        at = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "markdown")
        cells.insert(at + 1, {"cell_type": "markdown", "id": "languages", "metadata": {}, "source": [line]})


def lead_to_english(app, doctree: nodes.document) -> None:
    """On a translated page, let a link to a page that is not translated lead to the English one."""
    up = "../" * (app.env.docname.count("/") + 1)
    for link in list(doctree.findall(addnodes.pending_xref)):
        target = link["reftarget"]
        if app.config.language != "en" and link.get("refdomain") == "doc" and target not in app.env.found_docs:
            part = f"#{link['reftargetid']}" if link.get("reftargetid") else ""
            link.replace_self(nodes.reference("", "", *link.children, refuri=f"{up}{target}.html{part}", hreflang="en"))


def extract(name: str, root: Path = ROOT) -> Catalog:
    """What there is to translate in a lesson, paragraph by paragraph: Sphinx's own reading of the page."""
    with tempfile.TemporaryDirectory() as out:
        page = ["-D", f"root_doc={name}", "-D", f"include_patterns={name}.ipynb"]
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "gettext", *page, "-c", root / "site", root, out]
        subprocess.run(command, check=True)
        with (Path(out) / f"{name}.pot").open("rb") as file:
            return read_po(file)


def update(file: Path, language: str, template: Catalog) -> None:
    """Bring a catalogue up to date with its lesson, or begin one.

    A translation stays where its paragraph stayed. The one of a paragraph that was changed is marked fuzzy: it waits for
    a translator, and the page shows the English. One whose paragraph is gone stays at the end, as a comment.
    """
    catalog = Catalog(language, project="PEFT by hand", version="", header_comment=HEADER, fuzzy=False)
    if file.exists():
        with file.open("rb") as old:
            catalog = read_po(old, locale=language)
    catalog.update(template, update_creation_date=False)
    for message in catalog:
        message.flags -= {"python-format", "python-brace-format"}  # a 4% and a formula are no such thing
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as new:
        write_po(new, catalog, width=120, no_location=True, include_previous=True)


def words_of_drawings() -> Catalog:
    """What there is to translate in the drawings: the words in `_("...")`."""
    catalog = Catalog()
    for file in sorted(DRAWINGS.glob("*.py")):
        for _, word, *_ in extract_from_file("python", file, keywords={"_": None, "later": None}):
            catalog.add(word)
    return catalog


def catalogue_of_drawings(language: str) -> Path:
    """Where the translation of the words in the drawings lies."""
    return DRAWINGS / "locales" / language / "LC_MESSAGES" / "figures.po"


def update_drawings(language: str) -> Path:
    """Bring the catalogue of the drawings up to date, and write it as Python's `gettext` reads it."""
    file = catalogue_of_drawings(language)
    update(file, language, words_of_drawings())
    with file.open("rb") as text, file.with_suffix(".mo").open("wb") as compiled:
        write_mo(compiled, read_po(text, locale=language))
    return file


def main(language: str, *names: str) -> None:
    """Update the catalogues of some lessons, or of the drawings (`figures`); without a name, all that there are."""
    for name in names or [*translated(language), "figures"]:
        if name == "figures":
            file = update_drawings(language)
        else:
            update(file := catalogue(language, name), language, extract(name))
        print(f"written to {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

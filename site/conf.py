"""How the site is built: `make site`. It reads the lessons as they are stored, and no page asks for anything elsewhere."""

import json
import posixpath
import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.builders.epub3 import Epub3Builder

import minitransformer
from minitransformer.course.claims import read_claims, wall

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from mistakes import page_of_mistakes, read_mistakes  # noqa: E402 - they lie beside this file
from online import add_links, public_address  # noqa: E402
from pictures import describe_pictures  # noqa: E402
from playground import write_data  # noqa: E402
from translations import LANGUAGES, add_ways, lead_to_english, translated  # noqa: E402

project = "PEFT by hand"
author = "the authors of PEFT by hand"
copyright = "the authors of PEFT by hand, under the MIT license"
version = release = minitransformer.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "site/index"
include_patterns = [
    "site/*.md",
    "notebooks/*.ipynb",
    "exercises/**/*.ipynb",
    "docs/*.md",
    "CLAIMS.md",
    "minitransformer/recorded/README.md",
]
exclude_patterns = ["site/book.md"]
if tags.has("book"):  # noqa: F821 - Sphinx puts it here (see book.py)
    root_doc = "site/book"
    include_patterns = ["site/book.md", "site/mistakes.md", "notebooks/*.ipynb", "CLAIMS.md"]
    include_patterns += [f"docs/{name}.md" for name in ("cheat_sheet", "experiment", "real", "extend", "glossary")]
    exclude_patterns = []
gettext_compact = False  # a catalogue a lesson
locale_dirs = ["site/locales"]
html_extra_path = [] if tags.has("book") else ["extra"]  # noqa: F821 - playground and calculator, pages of their own
html_title = "PEFT by hand"
for translation in filter(tags.has, LANGUAGES):  # noqa: F821 - a site of its own in that language, of the lessons that have a catalogue
    language = translation
    root_doc = f"site/locales/{language}/index"
    include_patterns = [f"{root_doc}.md", *(f"{name}.ipynb" for name in translated(language))]
    html_extra_path = []
    if language == "de":
        html_title = "PEFT von Hand"
        nb_code_prompt_show, nb_code_prompt_hide = "Code dieser Zelle zeigen", "Code dieser Zelle verbergen"
suppress_warnings = [
    "myst.xref_missing"
]  # a link to a file of code is text here; tests/test_docs.py follows every link
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # a default as it is written, not the function's address

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["course.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False


epub_show_urls = "no"
epub_use_index = False
epub_tocscope = "includehidden"  # as collected once, by Epub below
epub_css_files = ["book.css"]


def side_by_side(formula: str) -> list[str]:
    """The formulas that stand in one line with wide space between them: where there is no room, each has a line of its own."""
    pieces = [piece.strip() for piece in formula.replace(r"\qquad\qquad", r"\qquad").split(r"\qquad")]
    pairs = [(r"\{", r"\}"), (r"\\left\b", r"\\right\b"), (r"\\begin\b", r"\\end\b")]
    whole = all(len(re.findall(a, piece)) == len(re.findall(b, piece)) for a, b in pairs for piece in pieces)
    return pieces if whole else [formula]


def write_formula(writer, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw themselves: nothing is fetched, and no script runs."""
    if isinstance(node, nodes.math_block):
        pieces = "".join(convert(piece, display="block") for piece in side_by_side(node.astext()))
        writer.body.append(f'<div class="formulas">{pieces}</div>')
    else:
        writer.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


class Epub(Epub3Builder):
    """An EPUB whose contents lead from the top of the archive, where they lie, and not from the folder of the first page."""

    def get_toc(self) -> None:
        """Collect the contents."""
        super().get_toc()
        folder = posixpath.dirname(root_doc)
        for item in self.refnodes:
            start = "" if item["refuri"].startswith(f"{folder}/") else folder
            item["refuri"] = posixpath.normpath(posixpath.join(start, item["refuri"]))


def leave_out_style(app, pagename: str, templatename: str, context: dict, doctree: nodes.document) -> None:
    """Let an EPUB's pages ask for no style of MyST-NB's, which is written only after the EPUB is packed."""
    if app.builder.name == "epub":
        context["css_files"] = [file for file in context["css_files"] if "mystnb" not in str(file)]


def close_tags(cells: list[dict]) -> None:
    """Write the tables in stored outputs as XML: an EPUB must be read by strict readers, which know no &nbsp; either."""
    for data in (output.get("data", {}) for cell in cells for output in cell.get("outputs", [])):
        if "text/html" in data:
            data["text/html"] = "".join(data["text/html"]).replace("&nbsp;", "&#160;").replace("<br>", "<br/>")


def drop_directives(app, name: str, source: list[str]) -> None:
    """Take from a lesson what is said to nbdev; give its pictures texts; say of a student's copy that it is Python."""
    if name.startswith(("notebooks/", "exercises/")):
        notebook = json.loads(source[0])
        notebook["metadata"].setdefault("language_info", {"name": "python", "pygments_lexer": "ipython3"})
        cells = [cell for cell in notebook["cells"] if "".join(cell["source"]).split(" ")[:2] != ["#|", "default_exp"]]
        for cell in cells:
            cell["source"] = [line for line in cell["source"] if not line.startswith("#| ")]
        describe_pictures(cells)
        add_links(cells, name, public_address())
        if app.builder.name == "html":
            add_ways(cells, name, app.config.language)
        close_tags(cells)
        source[0] = json.dumps({**notebook, "cells": cells})


def write_generated(app) -> None:
    """Write what is made at each build, before the sources are read: the claims, the mistakes, the playground's numbers."""
    page = "# The claims, as a wall\n\nA square a claim, and its sign the verdict. Open one.\n\n" + wall(read_claims())
    (HERE / "wall.md").write_text(page, encoding="utf-8")
    (HERE / "mistakes.md").write_text(page_of_mistakes(read_mistakes()), encoding="utf-8")
    write_data()


def setup(app) -> None:
    """Tell Sphinx of these."""
    app.add_builder(Epub, override=True)
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", write_generated)
    app.connect("source-read", drop_directives)
    app.connect("doctree-read", lead_to_english)
    app.connect("html-page-context", leave_out_style)

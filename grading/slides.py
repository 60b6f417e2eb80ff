"""Write slides for teachers, a page a lesson: python grading/slides.py [FOLDER].

A lesson's slides are its guess, its pictures as the notebook stores them, and the sentences to remember. A page holds all that it
shows; space and arrows go on, and printing gives a sheet a slide.
"""

import html
import json
import re
import sys
from pathlib import Path

from feedback import markdown

from minitransformer.course.report import document

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^#{1,3} (.+)$", re.MULTILINE)
GUESS = re.compile(r"^.*\*Your guess.+\*$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")  # leads from the notebook's folder, and not from the slides'
STYLE = """
html { scroll-snap-type: y mandatory; color-scheme: light } body { max-width: none; margin: 0; padding: 0; color: #1d2430; background: #fff }
section { height: 100vh; box-sizing: border-box; padding: 4vh 8vw; scroll-snap-align: start; break-after: page; display: flex; flex-direction: column; justify-content: center }
h1 { font-size: 3rem } h2 { font-size: 1.8rem; margin: 0 0 2vh } section p, li { font-size: 1.6rem; line-height: 1.4; margin: .4em 0 }
img { flex: 1 1 0; min-height: 0; width: 100%; object-fit: contain }
"""


def slides(notebook: Path) -> list[str]:
    """The slides of a lesson, each as HTML.

    Raises:
        ValueError: the notebook has no heading, or nothing to remember.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    title = HEADING.search("\n".join(texts))
    remember = re.search(r"^## To remember\n(.*?)(?=^\*\*|^\*\w|^#|\Z)", texts[-1], re.MULTILINE | re.DOTALL)
    if not title or not remember:
        raise ValueError(f"{notebook} has no heading, or does not end with '## To remember'")
    heading, made = title[1], []
    guesses = [f"<p>{inner(guess)}</p>" for text in texts for guess in GUESS.findall(text)]
    made.append(f"<h1>{inner(heading)}</h1>{''.join(guesses[:1])}")
    for cell, text in zip(cells, texts, strict=True):
        if cell["cell_type"] == "markdown":
            heading = [heading, *HEADING.findall(text)][-1]
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                alt, data = html.escape(heading), "".join(picture).replace("\n", "")
                made.append(f'<h2>{inner(heading)}</h2><img alt="{alt}" src="data:image/png;base64,{data}">')
    made.append("<h2>To remember</h2>" + markdown(LINK.sub(r"\1", remember[1])))
    return [f"<section>{slide}</section>" for slide in made]


def inner(text: str) -> str:
    """A line of Markdown as HTML, without the paragraph around it."""
    return markdown(LINK.sub(r"\1", text)).strip().removeprefix("<p>").removesuffix("</p>")


def main(arguments: list[str]) -> None:
    """The command; it prints what it wrote."""
    out = Path(arguments[0]) if arguments else ROOT / "build" / "slides"
    out.mkdir(parents=True, exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        file = out / f"{notebook.stem}.html"
        file.write_text(document(notebook.stem, "\n".join(slides(notebook)), STYLE), encoding="utf-8", newline="\n")
        print(file)


if __name__ == "__main__":
    main(sys.argv[1:])

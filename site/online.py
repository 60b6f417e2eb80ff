"""Links that open a lesson in Colab or on Binder, once the course has a public address: `repository-code` in CITATION.cff."""

import re
from pathlib import Path
from urllib.parse import quote

CITATION = Path(__file__).parents[1] / "CITATION.cff"


def public_address(file: Path = CITATION) -> str | None:
    """The address that the citation file names, as in https://github.com/OWNER/peft-by-hand; None where it names none yet."""
    found = re.search(
        r'^repository-code: *"?(https://github\.com/[^/\s"]+/[^/\s"]+)"?', file.read_text("utf-8"), re.MULTILINE
    )
    return found[1] if found else None


def links(address: str, name: str) -> str:
    """A line of Markdown for a lesson, such as notebooks/06_lora."""
    repository = address.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{repository}/blob/main/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/main?labpath={quote(name, safe='')}.ipynb"
    return f"[Open it in Colab]({colab}), where the first cell must be `%pip install git+{address}`, or [on Binder]({binder})."


def add_links(cells: list[dict], name: str, address: str | None) -> None:
    """Put the line behind a lesson's first text, if there is an address."""
    if address:
        at = next(i for i, cell in enumerate(cells) if cell["cell_type"] == "markdown")
        cells.insert(
            at + 1, {"cell_type": "markdown", "id": "online", "metadata": {}, "source": [links(address, name)]}
        )

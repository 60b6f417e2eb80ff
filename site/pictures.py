"""Texts for pictures, for who does not see them: what drew a picture says in its first line what it shows."""

import re
from importlib import import_module
from pkgutil import iter_modules

from matplotlib.figure import Figure

from minitransformer import course

DRAWERS = [import_module(f"minitransformer.course.{module.name}") for module in iter_modules(course.__path__)]


def first_line(code: str) -> str:
    """The first line of the docstring of the last function called in a cell that draws a figure; "" if there is none."""
    for name in reversed(re.findall(r"\b(\w+)\(", code)):
        for module in DRAWERS:
            function = getattr(module, name, None)
            if getattr(function, "__annotations__", {}).get("return") is Figure and name != "new_figure":
                return function.__doc__.splitlines()[0].rstrip(".")
    return ""


def has_picture(cell: dict) -> bool:
    """Whether a cell's stored output holds one."""
    return any(kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {}))


def describe_pictures(cells: list[dict]) -> None:
    """Give every cell with a picture the text for it: the section that it stands in, and what is drawn."""
    section = ""
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+ (.*)$", source, re.MULTILINE)
            section = headings[-1].replace("*", "").replace("$", "") if headings else section
        elif has_picture(cell):
            text = f"{first_line(source) or 'What the cell above draws'}. In the section: {section}"
            cell["metadata"]["mystnb"] = {"image": {"alt": text}}

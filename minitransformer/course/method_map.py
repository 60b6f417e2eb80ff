"""Where each method sits, as a picture and as a table: what is trained, where, how it comes in, how it is merged."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from minitransformer.course.diagrams import FROZEN, canvas
from minitransformer.course.plots import NAMES, STYLE
from minitransformer.course.words import _, later

PLACES = {  # rows of the map, from the input inwards
    "input": _("the input"),
    "memory": _("keys, values,\ninner activations"),
    "matrix": _("each matrix"),
    "vector": _("biases and norms"),
    "stream": _("what a sublayer\nor block gives"),
    "beside": _("beside the model"),
    "all": _("all weights at once"),
}
WAYS = {
    "front": _("put in front"),
    "scaled": _("multiplied"),
    "added": _("added"),
    "instead": _("in its place"),
}  # columns


@dataclass(frozen=True)
class Entry:
    """One method on the map.

    Attributes:
        label: what it is called.
        page: its lesson, or its file, from the folder docs/.
        cells: (a key of PLACES, a key of WAYS), one or two.
        trained: what is trained.
        where: in which part of the model.
        to: what it is added to, or how else it comes in.
        merged: into what it is merged; "no" where it cannot be.
    """

    label: str
    page: str
    cells: tuple[tuple[str, str], ...]
    trained: str
    where: str
    to: str
    merged: str


def course(name: str, lesson: str, cells: tuple[tuple[str, str], ...], *texts: str) -> Entry:
    """A method of the course, by its name in METHODS."""
    return Entry(NAMES[name], f"../notebooks/{lesson}.ipynb", cells, *texts)


def example(label: str, file: str, place: str, way: str, *texts: str) -> Entry:
    """A method of one file in examples/."""
    return Entry(label, f"../examples/{file}.py", ((place, way),), *texts)


EACH = "each matrix"
INTO = "into the matrix"
OUTPUT = "to the output"

# fmt: off
ENTRIES: dict[str, Entry] = {
    "full": course("full", "01_full_fine_tuning", (("all", "instead"),), "every weight", "everywhere", "in its own place", "it is the model"),
    "adapter": course("adapter", "02_bottleneck_adapters", (("stream", "added"),), "two thin layers and a bend", "behind both sublayers", OUTPUT, "no"),
    "prompt": course("prompt", "03_prompt_tuning", (("input", "front"),), "p vectors", "the input", "before the text", "no"),
    "prefix": course("prefix", "04_prefix_tuning", (("memory", "front"),), "p keys and p values a block", "every attention", "before those of the text", "no"),
    "ia3": course("ia3", "05_ia3", (("memory", "scaled"),), "a factor a channel", "keys, values, inner activations", "multiplied", INTO),
    "lora": course("lora", "06_lora", (("matrix", "added"),), "A and B", EACH, OUTPUT, INTO),
    "dora": course("dora", "07_dora", (("matrix", "added"), ("matrix", "scaled")), "A and B, and a length for each output", EACH, "to the matrix, whose rows are then scaled", INTO),
    "lst": course("lst", "08_ladder_side_tuning", (("beside", "instead"),), "a narrow network and its gates", "beside the model", "answers in its place", "no"),
    "mam": course("mam", "09_mam_adapter", (("memory", "front"), ("stream", "added")), "a prefix, and two thin layers", "attention, and beside the feed-forward network", "before, and to the output", "no"),
    "intrinsic": course("intrinsic", "10_intrinsic_dimension", (("all", "added"),), "D numbers", "all weights, along random directions", "to the weights", "into the weights"),
    "bitfit": example("BitFit", "bitfit", "vector", "added", "a vector", "behind each matrix and norm", "to the bias", "into the bias"),
    "layer_norms": example(later("layer norms"), "layer_norms", "vector", "instead", "scale and shift", "every norm", "in their place", "in their place"),
    "vera": example("VeRA", "vera", "matrix", "added", "two vectors", EACH, "around frozen random matrices, to the output", INTO),
    "pissa": example("PiSSA", "pissa", "matrix", "added", "A and B, from the singular vectors", EACH, OUTPUT, INTO),
    "rslora": example("rsLoRA", "rslora", "matrix", "added", "A and B, scaled by alpha / sqrt(r)", EACH, OUTPUT, INTO),
    "lora_plus": example("LoRA+", "lora_plus", "matrix", "added", "A and B, at two rates", EACH, OUTPUT, INTO),
    "loreft": example("LoReFT", "loreft", "stream", "instead", "directions, and what is written there", "behind each block", "in the place of what the stream says along them", "no"),
    "sparse_mask": example(later("sparse mask"), "sparse_mask", "matrix", "added", "entries drawn at random", EACH, "to the matrix", INTO),
}
# fmt: on


def map_table() -> str:
    """The map as a table in Markdown, a row a method, with links from the folder docs/."""
    lines = ["| method | what trains | where | added to what | merged |", "|---|---|---|---|---|"]
    for entry in ENTRIES.values():
        lines.append(
            f"| [{entry.label}]({entry.page}) | {entry.trained} | {entry.where} | {entry.to} | {entry.merged} |"
        )
    return "\n".join(lines) + "\n"


def map_figure() -> Figure:
    """The map as a picture: rows say where a method reaches, columns how it comes in; a dashed edge cannot be merged."""
    figure, axes = canvas(9.5, 8.4, (-1.0, 4.0), (7.5, -0.5))
    for j, way in enumerate(WAYS.values()):
        axes.text(j + 0.5, -0.25, way, ha="center", va="center", fontsize=11, weight="bold")
    for i, place in enumerate(PLACES.values()):
        axes.text(-0.08, i + 0.5, place, ha="right", va="center", fontsize=10)
        axes.axhspan(i + 0.04, i + 0.96, xmin=1 / 5, color="#F6F6F6", zorder=0)
    for i, place in enumerate(PLACES):
        for j, way in enumerate(WAYS):
            here = [name for name, entry in ENTRIES.items() if (place, way) in entry.cells]
            for n, name in enumerate(here):
                x, y = spot(n, len(here))
                pill(axes, name, j + x, i + y)
    axes.text(
        -0.95,
        7.3,
        _("coloured: lessons 01 to 10;  grey: files in examples/;  dashed edge: cannot be merged"),
        fontsize=9.5,
    )
    return figure


def spot(n: int, of: int) -> tuple[float, float]:
    """Where the n-th of so many names stands in a cell of 1 by 1: alone in the middle, else in two columns."""
    if of == 1:
        return 0.5, 0.5
    rows = (of + 1) // 2
    return (0.25, 0.72)[n % 2], (n // 2 + 0.5) / rows * 0.9 + 0.05


def pill(axes: plt.Axes, name: str, x: float, y: float) -> None:
    """A method's name in its colour."""
    entry = ENTRIES[name]
    own = name in STYLE
    merges = entry.merged != "no"
    edge = {"edgecolor": "black", "linewidth": 1.3, "linestyle": "-" if merges else (0, (3, 2))}
    face = {"boxstyle": "round,pad=0.22", "facecolor": STYLE[name][0] if own else FROZEN, **edge}
    axes.text(x, y, _(entry.label), ha="center", va="center", fontsize=9, color="white" if own else "black", bbox=face)

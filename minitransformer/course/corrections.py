"""Drawings of the unified view: what a method adds to the result of a frozen part, and how (He et al. 2022, figure 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minitransformer.course.diagrams import GREY, arrow, box, plus
from minitransformer.course.plots import BASE, NEW, STYLE, new_figure


@dataclass(frozen=True)
class Correction:
    """How a method makes its correction and adds it.

    Args:
        method: the name of its colour.
        title: what it is called.
        beside: the frozen part that it corrects.
        bend: the nonlinearity between its two matrices; empty: none.
        added: words for how it is added.
        behind: whether it reads what the frozen part gives, and not what that part reads.
    """

    method: str
    title: str
    beside: str
    bend: str
    added: str
    behind: bool = False


CORRECTIONS = (
    Correction("prefix", "prefix", "a head of\nattention", "softmax", "$(1-\\lambda)\\,h + \\lambda\\,\\Delta h$"),
    Correction("adapter", "adapter", "attention\nor MLP", "GELU", "$h + \\Delta h$", behind=True),
    Correction("lora", "LoRA", "a matrix", "", "$h + s\\,\\Delta h$"),
    Correction("mam", "parallel adapter", "MLP", "GELU", "$h + s\\,\\Delta h$"),
)


def four_corrections() -> Figure:
    """Four methods as one drawing with small differences: a frozen part, and a correction through two thin matrices."""
    figure = new_figure(10.5, 4.4)
    for axes, correction in zip(figure.subplots(1, len(CORRECTIONS)), CORRECTIONS, strict=True):
        axes.set(xlim=(-0.75, 3.15), ylim=(-1.0, 6.6))
        axes.axis("off")
        draw_correction(axes, correction)
    return figure


def draw_correction(axes: Axes, correction: Correction) -> None:
    """One of the four, from the input at the bottom to the sum at the top."""
    color, low = STYLE[correction.method][0], 2.3 if correction.behind else 0.3
    axes.text(0.9, 6.3, correction.title, ha="center", fontsize=13, color=color, weight="bold")
    axes.text(0.3, -0.15, "$x$", ha="center", va="top", fontsize=12)
    box(axes, correction.beside, 0.3, 1.2, 1.75, 0.95)
    arrow(axes, (0.3, 0), (0.3, 0.72))
    arrow(axes, (0.3, 1.68), (0.3, 4.95))
    axes.text(0.15, 2.9 if not correction.behind else 4.4, "$h$", ha="right", va="center", fontsize=12)
    plus(axes, 0.3, 5.2)
    arrow(axes, (0.3, 5.45), (0.3, 5.95))
    axes.text(0.65, 5.45, correction.added, ha="left", va="center", fontsize=12, color=color)
    arrow(axes, (0.3, low), (2.2, low), (2.2, low + 0.35))
    for y, wide, narrow in ((low + 0.65, 0.62, 0.25), (low + 2.05, 0.25, 0.62)):
        corners = [(2.2 - wide, y - 0.3), (2.2 + wide, y - 0.3), (2.2 + narrow, y + 0.3), (2.2 - narrow, y + 0.3)]
        axes.add_patch(plt.Polygon(corners, facecolor=color, edgecolor="black", linewidth=1.5, zorder=2))
    arrow(axes, (2.2, low + 0.95), (2.2, low + 1.75))
    if correction.bend:
        axes.text(2.32, low + 1.35, correction.bend, ha="left", va="center", fontsize=10, color=color)
    else:
        axes.text(2.32, low + 1.35, "no bend", ha="left", va="center", fontsize=10, color=GREY)
    arrow(axes, (2.2, low + 2.35), (2.2, 5.2), (0.55, 5.2))
    axes.text(2.3, 4.85, "$\\Delta h$", ha="left", va="center", fontsize=12, color=color)
    reads = "reads $h$, behind" if correction.behind else "reads $x$, beside"
    axes.text(0.9, -0.7, reads, ha="center", va="center", fontsize=11, color=GREY)


def switch_bars(scores: Mapping[str, Sequence[float]], apart: int) -> Figure:
    """Bars of mean scores, one below the other, with a dot for each seed; the last few stand apart from the others.

    Args:
        scores: label -> a score a seed.
        apart: how many of the labels, at the end, are drawn below a gap.
    """
    figure = new_figure(8.6, 0.9 + 0.42 * len(scores))
    axes = figure.subplots()
    places = [n + 0.6 * (n >= len(scores) - apart) for n in range(len(scores))]
    for place, values in zip(places, scores.values(), strict=True):
        mean = sum(values) / len(values)
        color = NEW if place < len(scores) - apart else BASE
        axes.barh(place, mean, 0.72, color=color)
        axes.plot(values, [place] * len(values), "o", color="black", markersize=4)
        axes.text(max(mean, *values) + 0.02, place, f"{mean:.2f}", va="center", fontsize=11, color=color)
    axes.set_yticks(places, list(scores), fontsize=11)
    axes.set(xlim=(0, 1.09), ylim=(places[-1] + 0.6, -0.6), xlabel="held-out accuracy; a dot a seed")
    return figure

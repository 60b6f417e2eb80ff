"""Figures of vectors: a soft prompt that wanders away from its words, and a row of a matrix as an arrow."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.course.plots import BASE, STYLE, new_figure


def wandering(paths: Mapping[str, Tensor], tokens: Tensor, names: Sequence[str]) -> Figure:
    """Where the vectors of soft prompts went, in the plane in which the tokens lie widest; a panel a run.

    The first panel shows the place where the tokens are; in the others a dashed frame marks how large that is.

    Args:
        paths: title -> the prompt at the start, on the way and at the end, (times, p, d).
        tokens: the token embeddings, (vocab_size, d).
        names: of the tokens.
    """
    middle = tokens.mean(dim=0)
    plane = torch.linalg.svd(tokens - middle, full_matrices=False).Vh[:2].T  # (d, 2)
    places = (tokens - middle) @ plane  # (vocab_size, 2)
    reach = 1.25 * places.abs().max().item()
    figure = new_figure(4.4 * len(paths), 4.4)
    panels = figure.subplots(1, len(paths), squeeze=False)[0]
    for panel, (title, path) in zip(panels, paths.items(), strict=True):
        near = panel is panels[0]
        for vector in ((path - middle) @ plane).unbind(dim=1):  # (times, 2): one vector over time
            panel.plot(*vector.T, color=STYLE["prompt"][0], linewidth=1.6)
            panel.plot(*vector[-1], "o", color=STYLE["prompt"][0], markersize=6)
        for place, name in zip(places, names, strict=True):
            panel.text(*place, name, ha="center", va="center", fontsize=13 if near else 7, fontweight="bold", zorder=4)
        if near:
            panel.set(xlim=(-reach, reach), ylim=(-reach, reach))
        else:
            frame = {"fill": False, "edgecolor": BASE, "linestyle": "--"}
            panel.add_patch(plt.Rectangle((-reach, -reach), 2 * reach, 2 * reach, **frame))
        panel.set(title=title, aspect="equal", xticks=[], yticks=[])
        panel.spines[:].set(visible=True, color=BASE, linestyle="--" if near else "-")
    return figure


def row_on_circle(old: Tensor, change: Tensor, length: float, stretch: float = 1.0) -> Figure:
    """A row of a matrix as an arrow, what LoRA makes of it, and what DoRA makes of it, in the plane that holds all three.

    Args:
        old: the pretrained row, (d,).
        change: what a low-rank update adds to it, (d,).
        length: the length that DoRA gives to the row; the circle is that of the old one.
        stretch: draw the change this many times as large, so that it can be seen; the length too.
    """
    size = old.norm()
    along = old / size  # (d,): the plane is spanned by the old row and by what the change has across it
    across = change - (change @ along) * along
    up, right = (size + stretch * (change @ along)).item(), stretch * across.norm().item()
    size = size.item()
    length = size + stretch * (length - size)
    tip = torch.tensor([right, up])
    dora = tip / tip.norm() * length
    figure = new_figure(6.2, 4.6)
    axes = figure.subplots()
    for radius, dash in ((size, "-"), (length, ":")):
        axes.add_patch(plt.Circle((0, 0), radius, fill=False, color=BASE, linestyle=dash))
    arrows = {
        "the old row": ((0.0, size), BASE, (-8, 6), "right"),
        "LoRA: the tip moves": (tuple(tip.tolist()), STYLE["lora"][0], (8, 8), "left"),
        "DoRA: turned by LoRA,\nits length set apart": (tuple(dora.tolist()), STYLE["dora"][0], (12, -26), "left"),
    }
    for words, (end, color, offset, side) in arrows.items():
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, (0, 0), arrowprops=style)
        axes.annotate(words, end, offset, textcoords="offset points", color=color, fontsize=12, ha=side)
    axes.annotate(
        "", tip.tolist(), (0, size), arrowprops={"arrowstyle": "->", "color": STYLE["lora"][0], "linestyle": "--"}
    )
    reach = max(size, length, tip.norm().item())
    axes.set(aspect="equal", xlim=(-0.35 * reach, 1.55 * reach), ylim=(-0.1 * reach, 1.2 * reach))
    axes.text(0.72 * size, 0.66 * size, "the circle of\nthe old length", fontsize=10, color=BASE, va="top")
    axes.axis("off")
    return figure

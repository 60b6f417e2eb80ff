"""Figures of vectors and matrices: a prompt that leaves its words, a row as an arrow, a change as two thin matrices."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.course.plots import BASE, STYLE, new_figure
from minitransformer.course.words import _


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
            panel.text(*place, name, ha="center", va="center", fontsize=13 if near else 9, fontweight="bold", zorder=4)
        if near:
            panel.set(xlim=(-reach, reach), ylim=(-reach, reach))
        else:
            frame = {"fill": False, "edgecolor": BASE, "linestyle": "--"}
            panel.add_patch(plt.Rectangle((-reach, -reach), 2 * reach, 2 * reach, **frame))
        panel.set(title=title, aspect="equal", xticks=[], yticks=[])
        panel.spines[:].set(visible=True, color=BASE, linestyle="--" if near else "-")
    return figure


def row_on_circle(old: Tensor, change: Tensor) -> Figure:
    """A row of a matrix as an arrow, where LoRA moves its tip, and DoRA's row: turned as far, on the circle of a length.

    The plane is the one that holds the old row and the change.

    Args:
        old: the pretrained row, (d,).
        change: what a low-rank update adds to it, (d,).
    """
    size = old.norm().item()
    along = (change @ old).item() / size  # the part of the change that makes the row longer or shorter
    across = (change - along / size * old).norm().item()  # the part that turns it
    tip = torch.tensor([across, size + along])
    on_circle = tip / tip.norm() * size
    reach = max(size, tip.norm().item())
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    axes.add_patch(plt.Circle((0, 0), size, fill=False, color=BASE, linestyle="--", linewidth=1.2))
    middle = (0.4 * on_circle).tolist()
    stretched, shortened = (
        _("LoRA moves the tip:\nturned, and stretched too"),
        _("LoRA moves the tip:\nturned, and shortened too"),
    )
    arrows = [  # the end of an arrow, its colour, its words, and where those stand
        ((0.0, size), BASE, _("the old row"), (-0.03 * reach, 0.5 * size), "right"),
        (tip.tolist(), STYLE["lora"][0], stretched if tip.norm() > size else shortened, None, "left"),
        (on_circle.tolist(), STYLE["dora"][0], _("DoRA: only turned.\nHow long it is, m says"), middle, "left"),
    ]
    for end, color, words, place, side in arrows:
        style = {"arrowstyle": "-|>", "color": color, "linewidth": 2.5, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", end, (0, 0), arrowprops=style)
        x, y = place or end
        shift = 0.09 * reach if side == "left" else 0
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # where the circle would cross the words
        axes.text(x + shift, y, words, color=color, fontsize=12, ha=side, va="center", bbox=plain)
    moved = {"arrowstyle": "->", "color": STYLE["lora"][0], "linestyle": "--", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", tip.tolist(), (0, size), arrowprops=moved)
    right = max(size, tip[0].item() + 0.9 * reach)
    axes.set(aspect="equal", xlim=(-0.45 * reach, right), ylim=(-0.03 * reach, 1.1 * max(size, tip[1].item())))
    axes.axis("off")
    return figure


def thin_matrices(change: Tensor, r: int) -> Figure:
    """A change of a matrix, the two thin matrices that are nearest to it, and how strong each of its directions is.

    All is drawn to one scale; a square is a number, blue below zero and red above.

    Args:
        change: what was added to a matrix, (d_out, d_in).
        r: how many of its directions are kept.
    """
    U, S, V = torch.linalg.svd(change, full_matrices=False)
    tall, flat = U[:, :r] * S[:r].sqrt(), S[:r, None].sqrt() * V[:r]  # (d_out, r), (r, d_in)
    d_out, d_in = change.shape
    figure = new_figure(10, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    gap = 0.35 * d_in
    at_tall, at_flat = d_in + gap, d_in + gap + r + 0.22 * d_in
    for part, x in ((change, 0), (tall, at_tall), (flat, at_flat)):
        rows, columns = part.shape
        reach = 3 * part.std().item()
        left.imshow(part.numpy(), extent=(x, x + columns, rows, 0), cmap="RdBu_r", vmin=-reach, vmax=reach)
        left.add_patch(plt.Rectangle((x, 0), columns, rows, fill=False, edgecolor=BASE, linewidth=0.8))
    for x, sign in ((d_in + gap / 2, "$\\approx$"), ((at_tall + r + at_flat) / 2, "$\\times$")):
        left.text(x, d_out / 2 if "approx" in sign else r / 2, sign, ha="center", va="center", fontsize=20)
    words = {"ha": "center", "va": "top", "fontsize": 10}
    left.text(d_in / 2, d_out + 3, _("{} by {}: {:,} numbers").format(d_out, d_in, change.numel()), **words)
    left.text(at_flat + d_in / 2, r + 4, _("{} rows of {}").format(r, d_in), **words)
    left.text(at_tall + r / 2, d_out + 3, _("{} columns of {}").format(r, d_out), **words)
    left.text(
        at_flat + d_in / 2, d_out / 2 + 4, _("together {:,} numbers").format(tall.numel() + flat.numel()), **words
    )
    left.set(xlim=(-1, at_flat + d_in + 1), ylim=(d_out + 12, -2), aspect="equal")
    left.axis("off")
    colors = [STYLE["lora"][0] if n < r else BASE for n in range(len(S))]
    right.bar(range(1, len(S) + 1), S.tolist(), color=colors, width=0.8)
    right.annotate(
        _("kept: {}").format(r), (r, S[r - 1]), (8, 8), textcoords="offset points", color=STYLE["lora"][0], fontsize=11
    )
    right.set(xlabel=_("direction, the strongest first"), ylabel=_("singular value"))
    return figure

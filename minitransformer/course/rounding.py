"""Figures of lesson 18: where sixteen values stand, each block's own ruler, and a change that is smaller than a step."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.course.plots import BASE, NEW, STYLE, new_figure


def sixteen_values(weights: Tensor, tables: Mapping[str, Tensor]) -> Figure:
    """How often weights have which size, and under it the values of each table as ticks.

    Args:
        weights: each over the largest of its block, between -1 and 1, of any shape.
        tables: label -> sixteen values between -1 and 1.
    """
    figure = new_figure(7.5, 2.6 + 0.45 * len(tables))
    heights = [4, *[0.75] * len(tables)]
    panels = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    panels[0].hist(weights.flatten(), bins=127, range=(-1, 1), color=BASE)
    panels[0].set(ylabel="weights", yticks=[], xlim=(-1.03, 1.03))
    for panel, (label, table), color in zip(panels[1:], tables.items(), (NEW, STYLE["lora"][0]), strict=True):
        panel.vlines(table, 0, 1, color=color, linewidth=2.5)
        panel.set(yticks=[], ylim=(0, 1))
        panel.set_ylabel(label, rotation=0, ha="right", va="center", color=color)
        panel.spines["left"].set_visible(False)
    panels[-1].set_xlabel("a weight over the largest of its block")
    return figure


def rulers_of_blocks(blocks: Tensor, rulers: Tensor) -> Figure:
    """Blocks of weights, a row each, on rulers of their own.

    Args:
        blocks: (n, weights in a block).
        rulers: the sixteen values of each, (n, 16).
    """
    figure = new_figure(7.5, 0.8 + 0.42 * len(blocks))
    axes = figure.subplots()
    for row, (block, ruler) in enumerate(zip(blocks, rulers, strict=True)):
        axes.vlines(ruler, row - 0.32, row + 0.32, color=STYLE["lora"][0], linewidth=1.2)
        axes.plot(block, [row] * len(block), "o", color=NEW, markersize=4)
    axes.set(xlabel="weight", ylabel="block", yticks=range(len(blocks)))
    axes.invert_yaxis()
    return figure


def moved_within_steps(before: Tensor, after: Tensor, table: Tensor) -> Figure:
    """Weights before and after a change, over the largest of their block, among the values of a table.

    Args:
        before: n weights between -1 and 1, (n,).
        after: the same weights with the change, (n,).
        table: the values that a code can name, sorted.
    """
    figure = new_figure(7.5, 3.6)
    axes = figure.subplots()
    between = (table[1:] + table[:-1]) / 2
    axes.hlines(between, -0.5, len(before) - 0.5, color=BASE, linewidth=0.6, linestyles=":")
    axes.plot(before, "o", color=BASE, markersize=7, markerfacecolor="none", label="in four bits")
    axes.plot(after, ".", color=NEW, markersize=5, label="with the LoRA folded in")
    axes.set(xlabel="weights of one row", ylabel="over the largest of the block", xlim=(-0.5, len(before) - 0.5))
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return figure

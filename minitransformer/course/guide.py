"""A guide as a drawn tree: questions, an answer on each branch, a method at the end of each way."""

from collections.abc import Mapping
from typing import TypeAlias

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minitransformer.course.diagrams import FROZEN, GREY, LINE, canvas
from minitransformer.course.plots import method_style

Tree: TypeAlias = str | tuple[str, Mapping[str, "Tree"]]  # an end, or a question and what comes after each answer
STEP = 5.2  # from the left edge of a question to that of the next, in the units of the drawing
WIDTH = 2.7  # of a question's box


def leaves(tree: Tree) -> int:
    """How many ends a tree has."""
    return 1 if isinstance(tree, str) else sum(leaves(branch) for branch in tree[1].values())


def depth(tree: Tree) -> int:
    """How many questions lie on its longest way."""
    return 0 if isinstance(tree, str) else 1 + max(depth(branch) for branch in tree[1].values())


def decision_tree(tree: Tree) -> Figure:
    """Questions from left to right, and at the end of each way what to take.

    Args:
        tree: a question with its answers, each followed by another question or an end. An end is a line or two; one that
            begins with a method's name has the method's colour and mark.
    """
    n = leaves(tree)
    right = STEP * depth(tree) + 4.6
    figure, axes = canvas(0.54 * right, 0.62 * n + 0.2, (-0.1, right), (-n + 0.4, 0.6))
    draw(axes, tree, 0.0, 0.0)
    return figure


def draw(axes: Axes, tree: Tree, x: float, top: float) -> float:
    """Draw a tree at x, its first end at height `top` and each end one below the last; the height of its root."""
    if isinstance(tree, str):
        style = method_style(tree)
        axes.plot(x + 0.15, top, markersize=8, linestyle="", **style)
        axes.text(x + 0.45, top, tree, ha="left", va="center", fontsize=11, color=style["color"])
        return top
    question, answers = tree
    heights, below = [], top
    for answer, branch in answers.items():
        heights.append(draw(axes, branch, x + STEP, below))
        below -= leaves(branch)
        axes.text(x + WIDTH + 0.5, heights[-1] + 0.08, answer, ha="left", va="bottom", fontsize=10, color=GREY)
    y = sum(heights) / len(heights)
    fork = x + WIDTH + 0.3
    axes.plot([x + WIDTH, fork], [y, y], **LINE)
    axes.plot([fork, fork], [heights[0], heights[-1]], **LINE)
    for height in heights:
        axes.plot([fork, x + STEP], [height, height], **LINE)
    box = plt.Rectangle((x, y - 0.42), WIDTH, 0.84, facecolor=FROZEN, edgecolor="#AAAAAA", zorder=2)
    axes.add_patch(box)
    axes.text(x + WIDTH / 2, y, question, ha="center", va="center", fontsize=11, zorder=3)
    return y

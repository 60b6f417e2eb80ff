"""Drawings of caches and batches: who looks at which column, and which row takes which adapter."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.course.diagrams import FROZEN, GREY, arrow, canvas
from minitransformer.course.plots import BASE, STYLE, new_figure
from minitransformer.course.words import _


def cache_table(stored: Sequence[str], text: Sequence[str], n_layer: int, trained: bool = False) -> Figure:
    """The table of keys and values that attention looks at: a column a token, a row for the keys and values of a block.

    Args:
        stored: labels of the columns that stand before the text.
        text: labels of the tokens that are read now.
        n_layer: blocks.
        trained: whether the stored columns are trained numbers, and not computed by frozen weights.
    """
    p, width = len(stored), len(stored) + len(text) + 0.6
    figure, axes = canvas(0.9 + 0.36 * (width + 2.6), 0.55 * n_layer + 1.5, (-2.6, width), (-0.8, 2 * n_layer + 2.1))
    looks = (
        {"facecolor": STYLE["prefix"][0], "edgecolor": "white"} if trained else {"facecolor": FROZEN, "hatch": "////"}
    )
    for column, label in enumerate([*stored, *text]):
        left = column + (0.6 if column >= p else 0)
        axes.text(left + 0.46, 2 * n_layer + 0.15, label, ha="center", va="bottom", fontsize=11)
        for row in range(2 * n_layer):
            how = looks if column < p else {"facecolor": "white"}
            box = plt.Rectangle((left, row), 0.92, 0.86, **{"edgecolor": "#999999", "linewidth": 0.8, **how})
            axes.add_patch(box)
    for block in range(n_layer):
        top = 2 * (n_layer - block)
        axes.text(-0.3, top - 0.55, _("keys"), ha="right", va="center", fontsize=9)
        axes.text(-0.3, top - 1.55, _("values"), ha="right", va="center", fontsize=9)
        axes.text(-2.15, top - 1.05, _("block {}").format(block), ha="center", va="center", fontsize=9, rotation=90)
    words = (_("{} trained columns") if trained else _("{} stored columns")).format(p)
    color = STYLE["prefix"][0] if trained else GREY
    axes.text(p / 2, -0.1, words, ha="center", va="top", fontsize=11, color=color)
    axes.text(p + 0.6 + len(text) / 2, -0.1, _("the text, read now"), ha="center", va="top", fontsize=11)
    high = 2 * n_layer + 1.1
    last = width - 0.5
    arrow(axes, (last, high), (last, high + 0.5), (p / 2, high + 0.5), (p / 2, high))
    axes.text(
        p + 0.3, high + 0.55, _("each token looks back at all of it"), ha="center", va="bottom", fontsize=10, color=GREY
    )
    return figure


def share_maps(shares: Tensor, labels: Sequence[str]) -> Figure:
    """The part of their attention that tokens give to a prefix: a panel a block, heads down, tokens across.

    Args:
        shares: from 0 to 1, (n_layer, n_head, T).
        labels: of the tokens.
    """
    n_layer, n_head = shares.shape[:2]
    figure = new_figure(3.7 * n_layer + 0.5, 0.9 + 0.42 * n_head)
    panels = figure.subplots(1, n_layer, sharey=True, squeeze=False)[0]
    for block, (panel, values) in enumerate(zip(panels, shares, strict=True)):
        image = panel.imshow(values.tolist(), cmap="viridis", vmin=0, vmax=1, aspect="auto")
        panel.set(title=_("block {}").format(block), xlabel=_("token that looks"))
        panel.set_xticks(range(len(labels)), labels, fontsize=11)
        panel.set_yticks(range(n_head), [_("head {}").format(head) for head in range(n_head)], fontsize=10)
    figure.colorbar(image, ax=panels, label=_("attention on the prefix"))
    return figure


def mask_grid(panels: Mapping[str, Tensor], columns: Sequence[str], rows: Sequence[str], prefix: int) -> Figure:
    """Who may look where: a panel a mask, queries down, keys across; what stands in the prefix's columns is coloured.

    Args:
        panels: title -> True where a query may look, (T, S).
        columns: labels of the S keys.
        rows: labels of the T queries.
        prefix: how many of the keys are the prefix's.
    """
    figure = new_figure((0.24 * len(columns) + 0.5) * len(panels), 0.24 * len(rows) + 1.0)
    for axes, (title, seen) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (y, x), looks in np.ndenumerate(np.asarray(seen)):
            color = "white" if not looks else STYLE["prefix"][0] if x < prefix else STYLE["lora"][0]
            axes.add_patch(plt.Rectangle((x, y), 0.92, 0.92, facecolor=color, edgecolor="#999999", linewidth=0.6))
        axes.set(title=title, xlim=(-0.1, len(columns)), ylim=(len(rows), -0.1), aspect="equal")
        axes.set_xticks([x + 0.46 for x in range(len(columns))], columns, fontsize=11)
        axes.set_yticks([y + 0.46 for y in range(len(rows))], rows, fontsize=11)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.text(
            prefix / 2, len(rows) + 0.35, _("prefix"), ha="center", va="top", fontsize=11, color=STYLE["prefix"][0]
        )
    return figure


def score_over_rates(lines: Mapping[str, Mapping[float, float]], shifts: Mapping[str, float]) -> Figure:
    """Score over the learning rate (left), and over the rate times how far it moves the numbers (right), a line a run.

    Args:
        lines: label -> rate -> score.
        shifts: label -> by what the rates of a line are multiplied on the right.
    """
    figure = new_figure(10, 3.5)
    left, right = figure.subplots(1, 2, sharey=True)
    colors = (STYLE["prefix"][0], STYLE["lora"][0], STYLE["adapter"][0])
    for (label, points), color, marker, dash in zip(lines.items(), colors, "^Do", ("-", "-", "--"), strict=False):
        for axes, shift in ((left, 1.0), (right, shifts[label])):
            x = [rate * shift for rate in points]
            axes.plot(x, list(points.values()), dash, marker=marker, color=color, linewidth=2, label=label)
    left.set(xscale="log", xlabel=_("learning rate"), ylabel=_("held-out accuracy"), ylim=(-0.04, 1.06))
    right.set(xscale="log", xlabel=_("learning rate, times how far it moves the table"))
    handles, labels = left.get_legend_handles_labels()
    texts = figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=11).get_texts()
    for text, color in zip(texts, colors, strict=False):
        text.set_color(color)
    return figure


TASK_COLORS = (STYLE["lora"][0], STYLE["adapter"][0], STYLE["lst"][0], STYLE["prompt"][0])  # of tasks, not of methods


def serving_diagram(shelf: Sequence[str], batch: Sequence[tuple[str, str, str]]) -> Figure:
    """One grey base, a shelf of coloured adapters, and a batch whose rows each take the one of their colour.

    Args:
        shelf: names of the tasks that there is an adapter for.
        batch: question, task and answer of each row.
    """
    n = len(batch)
    figure, axes = canvas(10, 1.4 + 0.62 * n, (-0.2, 15.2), (-0.8, n + 1.6))
    colors = dict(zip(shelf, TASK_COLORS, strict=False))
    hatched = {"facecolor": FROZEN, "edgecolor": "#AAAAAA", "hatch": "////"}
    axes.add_patch(plt.Rectangle((5.2, -0.5), 2.6, n, zorder=2, **hatched))
    plain = {"facecolor": FROZEN, "edgecolor": "none", "pad": 3}
    axes.text(
        6.5, n / 2 - 0.5, _("one base,\nfrozen,\none pass"), ha="center", va="center", fontsize=11, bbox=plain, zorder=3
    )
    axes.text(4.9, n + 1.0, _("the shelf"), ha="right", va="center", fontsize=11)
    for place, task in enumerate(shelf):
        block = plt.Rectangle(
            (5.2 + 3.2 * place, n + 0.65), 2.9, 0.7, facecolor=colors[task], edgecolor="black", linewidth=1.5
        )
        axes.add_patch(block)
        axes.text(6.65 + 3.2 * place, n + 1.0, task, ha="center", va="center", fontsize=11, color="white")
    for row, (question, task, answer) in enumerate(batch):
        y, color = n - 1 - row, colors[task]
        axes.text(4.4, y, question, ha="right", va="center", fontsize=13, color=color, family="monospace")
        arrow(axes, (4.6, y), (5.2, y))
        arrow(axes, (7.8, y), (8.7, y))
        axes.add_patch(plt.Rectangle((8.7, y - 0.27), 1.3, 0.54, facecolor=color, edgecolor="black", linewidth=1.5))
        axes.text(9.35, y, "A, B", ha="center", va="center", fontsize=10, color="white")
        arrow(axes, (10.0, y), (10.9, y))
        axes.text(11.1, y, answer, ha="left", va="center", fontsize=13, color=color, family="monospace")
    return figure


def time_bars(seconds: Mapping[str, float], shade: Sequence[str] = ()) -> Figure:
    """Times as multiples of the first, a bar each, on a logarithmic axis.

    Args:
        seconds: label -> time.
        shade: labels of the bars to stand out.
    """
    figure = new_figure(8, 0.9 + 0.42 * len(seconds))
    axes = figure.subplots()
    first = next(iter(seconds.values()))
    for place, (label, time) in enumerate(seconds.items()):
        axes.barh(place, time / first, height=0.66, color=STYLE["lora"][0] if label in shade else BASE)
        axes.text(time / first * 1.05, place, f"{time / first:.1f}", va="center", fontsize=11)
    axes.set_yticks(range(len(seconds)), list(seconds), fontsize=11)
    axes.set(xscale="log", xlabel=_("times the first"), ylim=(len(seconds) - 0.5, -0.5), xlim=(0.7, None))
    axes.margins(x=0.15)
    return figure


def learned_in_turn(
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], begins: Mapping[str, Mapping[str, int]]
) -> Figure:
    """Scores of tasks that are learned one after another, over all steps: a panel a way, a line a task.

    Args:
        panels: title -> task -> points (step, score).
        begins: title -> task -> the step at which it is the one that is learned.
    """
    figure = new_figure(5.4 * len(panels) + 0.4, 3.6)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, lines) in zip(all_axes, panels.items(), strict=True):
        last = max(step for points in lines.values() for step, _ in points)
        stages = [*begins[title].values(), last]
        for n, ((task, points), color, marker) in enumerate(zip(lines.items(), TASK_COLORS, "osD^", strict=False)):
            axes.plot(*zip(*points, strict=True), marker=marker, markersize=5, color=color, linewidth=2)
            axes.axvspan(stages[n], stages[n + 1], ymin=0.93, color=color, linewidth=0)
            middle, long = (stages[n] + stages[n + 1]) / 2, stages[n + 1] - stages[n] > last / 10  # room for the name
            axes.text(middle, 1.095, task if long else "", ha="center", va="center", fontsize=9, color="white")
        axes.set(title=title, xlabel=_("training steps, over all tasks"), ylim=(-0.04, 1.14), xlim=(0, last))
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    all_axes[0].set_ylabel(_("held-out accuracy"))
    return figure


def gates_over_steps(gates: Tensor, tasks: Sequence[str], experts: Sequence[str]) -> Figure:
    """How much of each expert the questions of a task get while a router learns: a panel a task, a line an expert.

    Args:
        gates: (steps, tasks, K), what the K experts get sums to one.
        tasks: their names.
        experts: the names of the K experts.
    """
    figure = new_figure(3.3 * len(tasks) + 0.3, 3.0)
    for n, (axes, task) in enumerate(zip(figure.subplots(1, len(tasks), sharey=True), tasks, strict=True)):
        for expert, color, dash, line in zip(experts, TASK_COLORS, ("-", "--", ":"), gates[:, n].T, strict=False):
            axes.plot(line, dash, color=color, linewidth=2.2)
            if expert == task:
                axes.text(
                    len(line) - 1,
                    line[-1] - 0.06,
                    _("expert {}").format(expert),
                    color=color,
                    ha="right",
                    va="top",
                    fontsize=10,
                )
        axes.set(title=_("questions for {}").format(task), xlabel=_("training step of the router"), ylim=(-0.03, 1.05))
        if n == 0:
            axes.set_ylabel(_("gate"))
    return figure

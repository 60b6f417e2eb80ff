"""Figures of what runs gave and of what methods cost, one function each. A method has the same colour and marker everywhere."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator
from torch import Tensor

from minitransformer.course.words import _, later

# Colours of middle brightness, at least 3 : 1 against white and against the dark grey of notebooks; the markers tell
# methods apart in print and for colour-blind readers.
STYLE: dict[str, tuple[str, str]] = {  # method -> colour, marker
    "full": ("#7A7A7A", "s"),
    "adapter": ("#D1495B", "o"),
    "prompt": ("#B07D0E", "v"),
    "prefix": ("#7A8B1F", "^"),
    "ia3": ("#2B8CC4", "P"),
    "lora": ("#5B5BD6", "D"),
    "dora": ("#B44FC0", "X"),
    "lst": ("#2E8B57", "<"),
    "mam": ("#A8506E", ">"),
    "intrinsic": ("#178F8F", "*"),
    "parallel": ("#4A7BA6", "d"),  # half of MAM
}
NAMES = {  # method -> what it is called in a picture, there as _(NAMES[method])
    "full": later("full"), "adapter": later("adapters"), "prompt": "prompt", "prefix": "prefix", "ia3": "(IA)³",
    "lora": "LoRA", "dora": "DoRA", "lst": later("ladder side"), "mam": "MAM", "intrinsic": later("random slice"),
}  # fmt: skip
BASE = "#888888"  # the colour of "before any training", and of what the base knew
NEW = "#C8641E"  # the colour of a skill that is being taught

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 100, "font.size": 10})


def save(figure: Figure, file: str | Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(file, dpi=150, bbox_inches="tight")


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches. pyplot must not keep it open: a notebook would draw it twice."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure


def method_style(label: str) -> dict[str, str]:
    """Colour and marker for a label that begins with a method's name, such as "lora, rank 4", "LoRA, rank 4" or "prompt_random"."""
    shown = [method for method, name in NAMES.items() if label.startswith(name)]
    method = shown[0] if shown else label.split(",")[0].split(" ")[0].split("_")[0]
    if label.endswith("(new)"):
        return {"color": NEW, "marker": "h"}
    color, marker = STYLE.get(method, (BASE, "."))
    return {"color": color, "marker": marker}


def new_and_old(panels: Mapping[str, Sequence[tuple[float, float, float]]], xlabel: str, log: bool = False) -> Figure:
    """What is learned and what is left, as two lines over one axis, a panel a title; the first panel labels its lines.

    Args:
        panels: title -> points (x, score on the new skill, score on the old skills).
        xlabel: what x is.
        log: whether that axis is logarithmic.
    """
    figure = new_figure(3.4 * len(panels) + 0.4, 3.2)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, points) in zip(all_axes, panels.items(), strict=True):
        x, new, old = zip(*points, strict=True)
        axes.plot(x, new, "o-", color=NEW, linewidth=2, label=_("the new skill"))
        axes.plot(x, old, "s-", color=BASE, linewidth=2, label=_("the old skills"))
        axes.set(title=title, xlabel=xlabel, ylim=(-0.03, 1.05))
        if log:
            axes.set(xscale="log", xticks=x, xticklabels=[f"{step:g}" for step in x])
            axes.minorticks_off()
    all_axes[0].set_ylabel(_("held-out questions right"))
    handles, labels = all_axes[0].get_legend_handles_labels()
    texts = figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=11).get_texts()
    for text, color in zip(texts, (NEW, BASE), strict=True):
        text.set_color(color)
    return figure


def score_over_kept(
    curves: Mapping[str, Sequence[tuple[float, float, float]]], start: tuple[float, float] | None = None
) -> Figure:
    """Score on the new skill over what is kept of the old ones, a curve a method, its learning rates along the curve.

    Args:
        curves: method -> points (rate, score, kept); up and to the right is better.
        start: score and kept before any training, marked as the base.
    """
    figure = new_figure(6.8, 3.4)
    axes = figure.subplots()
    for method, points in curves.items():
        rates, scores, kept = zip(*sorted(points), strict=True)
        axes.plot(kept, scores, linewidth=1.5, markersize=8, **method_style(method))
        for n, (rate, score, left) in enumerate(zip(rates, scores, kept, strict=True)):
            place = {"xytext": (0, -9 if n % 2 else 9), "va": "top" if n % 2 else "bottom", "ha": "center"}
            axes.annotate(f"{rate:f}".rstrip("0"), (left, score), textcoords="offset points", fontsize=10, **place)
    if start is not None:
        axes.plot(start[1], start[0], "o", color=BASE, markersize=8)
        axes.annotate(_("the base"), (start[1], start[0]), (-9, 0), textcoords="offset points", ha="right", va="center")
    axes.annotate(
        _("better"), (0.66, 0.62), (0.5, 0.44), fontsize=11, ha="center", va="center", color=BASE,
        arrowprops={"arrowstyle": "->", "color": BASE},
    )  # fmt: skip
    axes.set(
        xlabel=_("kept of the old skills"), ylabel=_("score on the new skill"), xlim=(-0.06, 1.06), ylim=(-0.05, 1.15)
    )
    return figure


def kept_by_method(curves: Mapping[str, Sequence[tuple[float, float, float]]], behind: str) -> Figure:
    """Score on the new skill over what is kept of the old ones, a panel a method, from its lowest rate to its highest.

    Args:
        curves: method -> points (rate, score, kept); up and to the right is better.
        behind: the method whose curve is drawn pale in every panel, to compare with.
    """
    down = -(-len(curves) // 5)  # five panels across
    figure = new_figure(11, 0.5 + 2.1 * down)
    panels = figure.subplots(down, 5, sharex=True, sharey=True, squeeze=False)
    for panel, (method, points) in zip(panels.flat, curves.items(), strict=False):
        pale = sorted(curves[behind])
        panel.plot([kept for *_, kept in pale], [score for _, score, _ in pale], color=BASE, alpha=0.4, linewidth=5)
        rates, scores, kept = zip(*sorted(points), strict=True)
        panel.plot(kept, scores, linewidth=1.5, markersize=7, **method_style(method))
        for end in (0, -1):  # the lowest rate below its mark; the highest above, unless the curve is there
            below = end == 0 or scores[end] < max(scores) - 0.1
            place = {"xytext": (0, -9 if below else 9), "va": "top" if below else "bottom", "ha": "center"}
            words = f"{rates[end]:f}".rstrip("0").rstrip(".")
            panel.annotate(words, (kept[end], scores[end]), textcoords="offset points", fontsize=9, **place)
        panel.set_title(_(NAMES[method]), color=STYLE[method][0], fontsize=11)
    for panel in panels.flat[len(curves) :]:
        panel.axis("off")
    panels[0][0].set(xlim=(-0.14, 1.14), ylim=(-0.05, 1.25), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    figure.supxlabel(_("kept of the old skills (more is better)"), fontsize=10)
    figure.supylabel(_("score on the new skill"), fontsize=10)
    return figure


def accuracy_over_parameters(rows: Sequence[Mapping]) -> Figure:
    """Score over trained parameters (logarithmic), a panel a task; bars from the lowest to the highest seed.

    A hollow mark with an arrow is a run that was still learning when it ended.

    Args:
        rows: what `compare` returns: dictionaries with task, method, trained, score, score_min, score_max, score_base,
            metric and, in new ones, state.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = new_figure(3.4 * len(tasks) + 1.2, 3.4)
    panels = figure.subplots(1, len(tasks), squeeze=False)
    for task, panel in zip(tasks, panels[0], strict=True):
        mine = [row for row in rows if row["task"] == task]
        up = mine[0]["metric"] == "accuracy"
        panel.axhline(mine[0]["score_base"], color=BASE, linestyle=":", label=_("base"))
        for row in mine:
            low, high = row["score"] - row["score_min"], row["score_max"] - row["score"]
            learning = row.get("state") == "unfinished"
            panel.errorbar(
                row["trained"], row["score"], yerr=[[low], [high]], linestyle="", markersize=8, capsize=3,
                markerfacecolor="none" if learning else None, label=_(NAMES.get(row["method"], row["method"])), **method_style(row["method"]),
            )  # fmt: skip
            if learning:
                place, tip = (row["trained"], row["score"]), (0, 14 if up else -14)
                arrow = {"arrowstyle": "->", "color": method_style(row["method"])["color"]}
                panel.annotate("", tip, place, textcoords="offset points", arrowprops={**arrow, "arrowstyle": "<-"})
        better = (_("{} (more is better)") if up else _("{} (less is better)")).format(_(mine[0]["metric"]))
        panel.set(title=task, xscale="log", xlabel=_("trained parameters"), ylabel=better)
        panel.margins(x=0.15)
        count_axis(panel)
        if up:
            panel.set_ylim(-0.05, 1.05)
    found = {
        label: handle for panel in panels[0] for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(found.values(), found.keys(), loc="outside right center", frameon=False)
    return figure


def count_axis(panel: Axes) -> None:
    """Write counts on a logarithmic axis in words as short as 3k and 1M, few enough never to run into each other."""
    low, high = panel.get_xlim()
    subs = (1.0, 3.0) if high < 3e2 * low else (1.0,)
    panel.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.minorticks_off()


def score_over_steps(
    lines: Mapping[str, Mapping[str, Sequence[Mapping]]], marked: Mapping[str, int] | None = None
) -> Figure:
    """Held-out score over training steps, both as they were recorded, a panel a task, a line a method with its name.

    The band goes from the worst to the best seed. A hollow mark at the end is a method that was still learning;
    names stand in the order of arrival.

    Args:
        lines: task -> method -> what `records.over_steps` gives: rows of step, score, scores and states.
        marked: task -> a number of steps, drawn as a dotted line.
    """
    figure = new_figure(5.0 * len(lines) + 0.3, 4.2)
    panels = figure.subplots(1, len(lines), squeeze=False, sharey=True)[0]
    for panel, (task, methods) in zip(panels, lines.items(), strict=True):
        arrivals, longest = {}, max(map(len, methods.values()))
        for method, points in methods.items():
            style = method_style(method)
            steps, scores = ([point[name] for point in points] for name in ("step", "score"))
            low, high = ([edge(point["scores"]) for point in points] for edge in (min, max))
            learning = "unfinished" in points[-1]["states"]
            panel.plot(steps, scores, markersize=4, linewidth=1.8, **style)
            panel.fill_between(steps, low, high, color=style["color"], alpha=0.10, linewidth=0)
            face = "white" if learning else style["color"]
            panel.plot(steps[-1:], scores[-1:], linestyle="", markersize=7, markerfacecolor=face, **style)
            later = (longest - len(points)) * scores[-1]  # a method that had solved its task was stopped
            arrivals[method] = -sum(scores) - later  # a large area under the curve is an early arrival
        panel.set(title=task, xscale="log", xlabel=_("training steps"), ylim=(-0.04, 1.04))
        panel.margins(x=0.12)
        if marked:
            panel.axvline(marked[task], color=BASE, linestyle=":", linewidth=1.5, zorder=1)
        label_in_order(panel, arrivals)
    panels[0].set_ylabel(_("held-out accuracy (more is better)"))
    return figure


def base_curves(curves: Mapping[str, Sequence[Mapping]]) -> Figure:
    """One method's score over training steps, a line a base with its name at the end; bands from worst to best seed.

    Args:
        curves: base -> what `records.over_steps` gives; the first is the one that is new.
    """
    figure = new_figure(8.4, 3.8)
    axes = figure.subplots()
    longest = max(points[-1]["step"] for points in curves.values())
    for (label, points), color in zip(curves.items(), (NEW, BASE, "#2B8CC4"), strict=True):
        steps, scores = ([point[name] for point in points] for name in ("step", "score"))
        low, high = ([edge(point["scores"]) for point in points] for edge in (min, max))
        axes.plot(steps, scores, "o-", color=color, linewidth=2, markersize=5)
        axes.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        short = steps[-1] < longest and scores[-1] < 0.5  # a name at its right would lie on a longer line
        side = {"xytext": (0, 14), "ha": "right"} if short else {"xytext": (9, 0), "va": "center"}
        axes.annotate(label, (steps[-1], scores[-1]), textcoords="offset points", color=color, **side)
    axes.set(
        xscale="log",
        xlabel=_("training steps of the prompt"),
        ylabel=_("compose, held-out accuracy"),
        ylim=(-0.04, 1.04),
    )
    axes.set_xlim(right=4 * axes.get_xlim()[1])
    return figure


def seeds_by_method(scores: Mapping[str, Sequence[float]], reference: tuple[str, Sequence[float]]) -> Figure:
    """Scores of single seeds as dots, a row a method, their means as marks; a line for what they are held against.

    Args:
        scores: method -> one score a seed.
        reference: what the line is called, and its own draws: dots above the rows, and the line at their mean.
    """
    figure = new_figure(7.6, 1.4 + 0.42 * len(scores))
    axes = figure.subplots()
    for place, (method, found) in enumerate(scores.items()):
        style = method_style(method)
        axes.plot(found, [place] * len(found), "o", color=style["color"], alpha=0.4, markersize=6)
        axes.plot(sum(found) / len(found), place, linestyle="", markersize=10, **style)
    label, draws = reference
    axes.axvline(sum(draws) / len(draws), color=NEW, linewidth=2)
    axes.plot(draws, [-1] * len(draws), "o", color=NEW, alpha=0.4, markersize=6)
    axes.text(min(draws) - 0.004, -1, label, color=NEW, ha="right", va="center")
    axes.set_yticks(range(len(scores)), [_(NAMES.get(method, method)) for method in scores])
    axes.set(xlabel=_("held-out questions right"), ylim=(len(scores) - 0.5, -1.6), xlim=(None, 1.005))
    return figure


def size_axis(sizes: Mapping[str, float], others: tuple[str, float, float]) -> Figure:
    """Models on a logarithmic axis of parameters: some by name, others as a span.

    Args:
        sizes: name -> parameters.
        others: what the span is called, and its ends.
    """
    figure = new_figure(8.4, 1.5)
    axes = figure.subplots()
    axes.plot(list(sizes.values()), [0] * len(sizes), "o", color=NEW, markersize=9)
    for name, size in sizes.items():
        axes.annotate(name, (size, 0), (0, 9), textcoords="offset points", color=NEW, ha="center")
    label, low, high = others
    axes.plot([low, high], [0, 0], color=BASE, linewidth=9, solid_capstyle="butt")
    axes.annotate(label, ((low * high) ** 0.5, 0), (0, 9), textcoords="offset points", color=BASE, ha="center")
    axes.set(xscale="log", xlabel=_("parameters"), ylim=(-0.5, 1.2), yticks=[], xlim=(1e4, 1e11))
    axes.spines["left"].set_visible(False)
    return figure


def label_in_order(panel: Axes, arrivals: Mapping[str, float]) -> None:
    """Write the names of methods beside a panel in the order in which they arrive, each with its mark.

    Args:
        panel: with its limits set.
        arrivals: method -> anything that sorts; the first stands on top.
    """
    across = panel.get_yaxis_transform()  # x as a part of the panel, y as data
    for n, method in enumerate(sorted(arrivals, key=arrivals.get)):
        height = 1.0 - n * 0.1
        style = method_style(method)
        panel.plot(1.04, height, markersize=6, linestyle="", transform=across, clip_on=False, **style)
        name = _(NAMES.get(method, method))
        panel.text(1.08, height, name, transform=across, color=style["color"], fontsize=10, va="center")


def steps_over_numbers(points: Mapping[str, Mapping[str, tuple[int, float]]], longest: Mapping[str, int]) -> Figure:
    """Steps until a task is solved over trained numbers, both logarithmic, a panel a task; down and left is better.

    Marks that would hide each other stand side by side.

    Args:
        points: task -> method -> (trained numbers, steps; infinity where it did not arrive).
        longest: task -> the steps of the longest run, above which stands what did not arrive.
    """
    figure = new_figure(5.2 * len(points), 4.0)
    sides = {
        "above": ((0, 7), "center", "bottom"),
        "left": ((-8, 0), "right", "center"),
        "right": ((8, 0), "left", "center"),
    }
    for panel, (task, methods) in zip(figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True):
        roof = 2.2 * longest[task]
        panel.axhspan(1.3 * longest[task], 4 * longest[task], color=BASE, alpha=0.12, linewidth=0)
        words = _("not within {:,} steps").format(longest[task])
        panel.text(0.98, 0.985, words, transform=panel.transAxes, color=BASE, ha="right", va="top")
        heights: dict[float, list[tuple[int, str]]] = {}
        for method, (numbers, steps) in methods.items():
            heights.setdefault(min(steps, roof), []).append((numbers, method))
        for height, found in heights.items():
            place = 0.0
            for numbers, method in sorted(found):
                place = max(numbers, 1.25 * place)  # a mark that would hide the last one moves aside
                style = method_style(method)
                panel.plot(place, height, markersize=9, linestyle="", **style)
                before = any(1 / 3 < other / numbers < 1 for other, _ in found)  # there is another mark on this side
                behind = any(1 < other / numbers < 3 for other, _ in found)
                side = "above" if before == behind else "right" if before else "left"
                offset, across, up = sides[side]
                panel.annotate(
                    _(NAMES[method]), (place, height), offset, textcoords="offset points", ha=across, va=up,
                    color=style["color"],
                )  # fmt: skip
        panel.set(title=task, xscale="log", yscale="log", xlabel=_("trained numbers"), ylabel=_("steps to 0.95"))
        panel.set_ylim(0.4 * min(steps for _, steps in methods.values()), 4 * longest[task])
        panel.margins(x=0.28)
        count_axis(panel)
        panel.annotate(
            _("better"), (0.02, 0.03), (0.16, 0.12), xycoords="axes fraction", textcoords="axes fraction", color=BASE,
            ha="center", arrowprops={"arrowstyle": "->", "color": BASE},
        )  # fmt: skip
    return figure


def score_over_numbers(panels: Mapping[str, Mapping[str, Sequence[tuple[int, Sequence[float]]]]]) -> Figure:
    """Held-out score over trained numbers (logarithmic), a panel a budget, a line a method through its sizes, with its name.

    The band goes from the worst to the best seed.

    Args:
        panels: title -> method -> its sizes, smallest first: (trained numbers, scores, one a seed).
    """
    figure = new_figure(5.0 * len(panels) + 0.3, 4.2)
    for panel, (title, methods) in zip(
        figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels.items(), strict=True
    ):
        for method, sizes in methods.items():
            style = method_style(method)
            numbers, scores = zip(*sizes, strict=True)
            means = [sum(found) / len(found) for found in scores]
            panel.plot(numbers, means, markersize=7, linewidth=1.8, **style)
            panel.fill_between(
                numbers, list(map(min, scores)), list(map(max, scores)), color=style["color"], alpha=0.10, linewidth=0
            )
        panel.axhline(0.95, color=BASE, linestyle=":", linewidth=1.5, zorder=1)
        panel.set(title=title, xscale="log", xlabel=_("trained numbers"), ylim=(-0.04, 1.04))
        count_axis(panel)
        label_in_order(panel, {name: sizes[-1][0] for name, sizes in reversed(methods.items())})
    figure.axes[0].set_ylabel(_("held-out accuracy (more is better)"))
    return figure


def gained_over_lost(curves: Mapping[str, Sequence[tuple[float, float, float]]]) -> Figure:
    """Bits per character gained on a new text over those lost on the old one, a curve a method: up and left is better.

    Args:
        curves: method -> points (rate, bits gained, bits lost with the method attached), joined in the order of their
            rates. The one that gains most is large.
    """
    figure = new_figure(7.2, 4.6)
    axes = figure.subplots()
    axes.plot(0, 0, "o", color=BASE, markersize=8)
    axes.annotate(_("base"), (0, 0), (8, 0), textcoords="offset points", color=BASE, va="center")
    for method, points in curves.items():
        style = method_style(method)
        _rates, gained, lost = zip(*sorted(points), strict=True)
        axes.plot(lost, gained, linewidth=1.2, markersize=4, **style)
        most = gained.index(max(gained))
        axes.plot(lost[most], gained[most], linestyle="", markersize=10, label=_(NAMES[method]), **style)
    figure.legend(loc="outside right center", frameon=False, fontsize=11)
    axes.annotate(
        _("better"), (0.03, 0.96), (0.13, 0.84), xycoords="axes fraction", textcoords="axes fraction", color=BASE,
        ha="center", arrowprops={"arrowstyle": "->", "color": BASE},
    )  # fmt: skip
    axes.set(xlabel=_("bits per character lost on documentation"), ylabel=_("bits per character gained on code"))
    axes.margins(x=0.12, y=0.1)
    return figure


def scores_over(rows: Sequence[Mapping], setting: str, xlabel: str, target: Mapping[str, float], words: str) -> Figure:
    """Score over a setting (logarithmic), a panel a task; the band goes from the worst to the best seed.

    Args:
        rows: what `recorded_sweep` returns, of one method.
        setting: name of the setting, such as "dimension".
        xlabel: what to write below.
        target: task -> a score to reach, drawn as a dotted line.
        words: what that score is.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = new_figure(3.9 * len(tasks) + 0.2, 3.3)
    panels = figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0]
    for task, panel in zip(tasks, panels, strict=True):
        mine = [row for row in rows if row["task"] == task]
        points = sorted((value_of(row, setting), row["score"], row["score_min"], row["score_max"]) for row in mine)
        x, score, low, high = zip(*points, strict=True)
        style = method_style(mine[0]["method"])
        panel.plot(x, score, markersize=7, linewidth=1.8, **style)
        panel.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        panel.axhline(target[task], color=BASE, linestyle=":", zorder=1)
        panel.set(title=task, xlabel=xlabel, xscale="log", ylim=(-0.03, 1.03))
        panel.set_xticks(x, [f"{value:g}" for value in x])
        panel.minorticks_off()
    panels[0].set_ylabel(_("held-out accuracy"))
    panels[-1].text(min(x), target[tasks[-1]] - 0.02, words, color="#6A6A6A", ha="left", va="top")
    return figure


def value_of(row: Mapping, setting: str) -> float:
    """A number out of a row of a sweep: a column, or one of its settings ("rank=4, target_modules=['q_proj', 'v_proj']")."""
    settings = dict(re.findall(r"(\w+)=([^,\[]+)", row["settings"]))
    return float(row[setting] if setting in row else settings[setting])


def kept_bytes(shares: Mapping[str, float], published: Mapping[str, float], way_down: float) -> Figure:
    """Bars of the bytes that a training step keeps for backward, the most on top.

    Args:
        shares: label (beginning with a method's name) -> part of what full fine-tuning keeps.
        published: label -> such a part from a paper, drawn as a dashed line.
        way_down: the part that the way down to the lowest block takes; it is shaded.
    """
    figure = new_figure(8, 1.1 + 0.3 * len(shares))
    axes = figure.subplots()
    labels = sorted(shares, key=shares.get)
    for place, label in enumerate(labels):
        axes.barh(place, shares[label], color=method_style(label)["color"], height=0.7)
        plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # where a line would cross the number
        axes.text(shares[label] + 0.012, place, f"{shares[label]:.2f}", va="center", fontsize=9, bbox=plain, zorder=4)
    for label, share in published.items():
        axes.axvline(share, color="black", linestyle="--", linewidth=1, zorder=3)
        axes.text(share, 1.01, label, transform=axes.get_xaxis_transform(), fontsize=9, ha="center", va="bottom")
    axes.axvspan(0, way_down, color=BASE, alpha=0.2, linewidth=0, zorder=0)
    words = _("shaded: the way down to block 1, for one bias there")
    axes.text(0, 1.07, words, transform=axes.get_xaxis_transform(), fontsize=10, color="#6A6A6A", va="bottom")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel=_("kept for backward, as a part of full fine-tuning"), xlim=(0, 1.1 * max(shares.values())))
    return figure


def staircase(shares: Mapping[str, float], xlabel: str, way: str) -> Figure:
    """Bars of what a training step keeps where one small thing trains, a bar for each place from the bottom to the top.

    Args:
        shares: place -> part of what full fine-tuning keeps, the lowest place first.
        xlabel: what the places are.
        way: words for the arrow from the last place to the first.
    """
    figure = new_figure(7.2, 3.4)
    axes = figure.subplots()
    axes.bar(range(len(shares)), list(shares.values()), 0.8, color=NEW)
    for place, share in enumerate(shares.values()):
        axes.text(place, share + 0.015, f"{share:.2f}", ha="center", va="bottom", fontsize=10, color=NEW)
    axes.axhline(1, color=STYLE["full"][0], linestyle="--", linewidth=1)
    last = len(shares) - 0.5
    axes.text(last, 1.02, _("full fine-tuning"), ha="right", va="bottom", fontsize=10, color=STYLE["full"][0])
    axes.annotate("", (-0.5, 0.78), (last, 0.78), arrowprops={"arrowstyle": "-|>", "color": "black"})
    axes.text(last, 0.8, way, ha="right", va="bottom", fontsize=10)
    axes.set_xticks(range(len(shares)), list(shares))
    axes.set(xlabel=xlabel, ylabel=_("kept for backward"), ylim=(0, 1.12), xlim=(-0.55, last + 0.05))
    return figure


def parameter_ranges(
    computed: Mapping[str, Mapping[str, int]], quoted: Mapping[str, tuple[float, float]], total: int
) -> Figure:
    """Trained parameters (logarithmic), a row a method: settings as marks, a quoted range as a pale bar behind them.

    Args:
        computed: label (beginning with a method's name) -> setting -> trained parameters.
        quoted: label -> lowest and highest count that is quoted; rows without one have no bar.
        total: parameters of the whole model, drawn as a dotted line.
    """
    figure = new_figure(10, 0.9 + 0.5 * len(computed))
    axes = figure.subplots()
    for place, (label, counts) in enumerate(computed.items()):
        style = method_style(label)
        if label in quoted:
            low, high = quoted[label]
            axes.barh(
                place, high - low, left=low, height=0.72, color=style["color"], alpha=0.28, edgecolor=style["color"]
            )
        axes.plot(list(counts.values()), [place] * len(counts), linestyle="", markersize=7, zorder=3, **style)
        for setting, n in counts.items():
            axes.annotate(setting, (n, place), (0, 4), textcoords="offset points", ha="center", va="bottom", fontsize=9)
    axes.axvline(total, color=BASE, linestyle=":", zorder=1)
    axes.text(total, 1.01, _("all of it"), transform=axes.get_xaxis_transform(), color=BASE, ha="center", fontsize=9)
    axes.set_yticks(range(len(computed)), list(computed))
    axes.set(xscale="log", xlabel=_("trained parameters; pale: the quoted range"), ylim=(len(computed) - 0.4, -0.7))
    axes.grid(axis="x", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def memory_bars(budgets: Mapping[str, Mapping[str, float]], cards: Mapping[str, float]) -> Figure:
    """Stacked bars of the memory that training needs, a bar a label, in gigabytes of 10^9 bytes.

    Args:
        budgets: label (beginning with a method's name) -> part -> bytes; every label has the same parts, the frozen
            and trained weights first.
        cards: label -> bytes, drawn as lines.
    """
    figure = new_figure(9.5, 1.3 + 0.36 * len(budgets))
    axes = figure.subplots()
    colors = ("#B8B8B8", "#7A8B1F", "#5B5BD6", "#178F8F", "#C8641E")
    left = np.zeros(len(budgets))
    for color, part in zip(colors, next(iter(budgets.values())), strict=True):
        widths = np.array([parts[part] / 1e9 for parts in budgets.values()])
        axes.barh(range(len(budgets)), widths, left=left, height=0.72, color=color, label=part)
        left += widths
    plain = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # where a line would cross the number
    for place, total in enumerate(left):
        axes.text(total + 0.8, place, f"{total:.1f}", va="center", fontsize=10, bbox=plain, zorder=4)
    for label, size in cards.items():
        axes.axvline(size / 1e9, color="black", linestyle="--", linewidth=1.4, zorder=3)
        axes.text(size / 1e9, 1.01, label, transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    axes.set_yticks(range(len(budgets)), list(budgets), fontsize=10)
    axes.set(xlabel=_("memory (GB)"), xlim=(0, 1.06 * left.max()), ylim=(len(budgets) - 0.5, -0.6))
    figure.legend(loc="outside lower center", ncols=len(colors), frameon=False)
    return figure


def price_bars(panels: Mapping[str, Mapping[str, float]], formats: Sequence[str], log: Sequence[bool]) -> Figure:
    """Bars with their numbers, a panel a title, the same labels in each; from top to bottom as they are given.

    Args:
        panels: title -> label (beginning with a method's name) -> number.
        formats: how to write the numbers of each panel, as in "{:.2f}".
        log: whether the axis of each panel is logarithmic.
    """
    labels = list(next(iter(panels.values())))
    figure = new_figure(1.8 + 3.6 * len(panels), 0.9 + 0.34 * len(labels))
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, numbers), text, far in zip(all_axes, panels.items(), formats, log, strict=True):
        for place, label in enumerate(labels):
            axes.barh(place, numbers[label], color=method_style(label)["color"], height=0.7)
            axes.annotate(
                text.format(numbers[label]), (numbers[label], place), (4, 0), textcoords="offset points", va="center"
            )
        if far:
            axes.set_xscale("log")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(len(labels) - 0.5, -0.6)
        axes.margins(x=0.22)
        axes.tick_params(axis="x", bottom=far, labelbottom=far)  # the numbers stand beside the bars
    return figure


def number_maps(
    panels: Mapping[str, Tensor], rows: Sequence[str], columns: Sequence[str], label: str = "held-out accuracy"
) -> Figure:
    """Heat maps of numbers from 0 to 1, a panel a title, every number written into its square; missing where NaN.

    Args:
        panels: title -> values, (rows, columns).
        rows: labels from top to bottom.
        columns: labels from left to right.
        label: what the numbers are.
    """
    figure = new_figure(1.6 + (0.6 + 0.62 * len(columns)) * len(panels), 1.5 + 0.42 * len(rows))
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, values) in zip(all_axes, panels.items(), strict=True):
        image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (y, x), value in np.ndenumerate(np.asarray(values)):
            if not np.isnan(value):
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=all_axes, label=label)
    return figure


def rounding_over_swaps(errors: Mapping[str, Mapping[int, float]]) -> Figure:
    """What rounding leaves after many swaps: relative error of the logits over the number of swaps, both logarithmic.

    Args:
        errors: label -> number of swaps -> error; zeros, which have no logarithm, are drawn at the bottom.
    """
    figure = new_figure(6.5, 3.2)
    axes = figure.subplots()
    floor = min(error for points in errors.values() for error in points.values() if error > 0) / 10
    styles = [STYLE[name] for name in ("lora", "adapter", "lst")]  # runs, not methods: three colours of the palette
    for (label, points), (color, marker) in zip(errors.items(), styles, strict=False):
        heights = [max(error, floor) for error in points.values()]
        axes.plot(list(points), heights, marker=marker, color=color, linewidth=1.8)
        place = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(label, (list(points)[-1], heights[-1]), color=color, fontsize=11, **place)
    axes.set(
        xscale="log", yscale="log", xlabel=_("swaps"), ylabel=_("largest change of a logit,\nover the largest logit")
    )
    if any(error == 0 for points in errors.values() for error in points.values()):
        ticks = [tick for tick in 10.0 ** np.arange(-9, 1) if tick > 3 * floor]
        axes.set_yticks([floor, *ticks], [_("zero"), *(f"{tick:.0e}" for tick in ticks)])
        axes.minorticks_off()
    return figure

"""Figures that look into a model: what it attends to, and what training did to its weights."""

import itertools
import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.course.plots import BASE, NAMES, NEW, STYLE, method_style, new_figure
from minitransformer.course.words import _


def attention_maps(
    weights: Tensor,
    labels: Sequence[str],
    extra_keys: Sequence[str] = (),
    titles: Sequence[str] = (),
    arrow: tuple[int, str] | None = None,
) -> Figure:
    """Attention weights (n_head, T, S): a panel a head, queries down, keys across.

    Args:
        weights: of one block and one sequence.
        labels: of the T tokens.
        extra_keys: labels of the S - T keys before those of the tokens, which have no queries; a line parts them off.
        titles: of the panels; empty: the numbers of the heads.
        arrow: a panel, and words that point in it to the weight that is largest but for those in the first half.
    """
    titles = titles or [_("head {}").format(head) for head in range(len(weights))]
    keys = [*extra_keys, *labels]
    width = max(3.2, 0.8 + 0.16 * len(keys))  # inches a panel: room for a symbol of 9 points a key
    figure = new_figure(width * len(weights), 1.3 + (width - 0.9) * len(labels) / len(keys))
    panels = figure.subplots(1, len(weights), squeeze=False)
    for title, panel, values in zip(titles, panels[0], weights, strict=True):
        image = panel.imshow(values, cmap="viridis", vmin=0, vmax=1)
        panel.set(title=title, xlabel=_("key (what is looked at)"))
        panel.set_xticks(range(len(keys)), keys, fontsize=9)
        panel.set_yticks(range(len(labels)), labels, fontsize=9)
        if extra_keys:
            panel.axvline(len(extra_keys) - 0.5, color="white", linewidth=1)
    if arrow is not None:
        panel, words = arrow
        values = weights[panel][len(labels) // 2 :]
        query, key = divmod(values.argmax().item(), len(keys))
        panels[0][panel].annotate(
            words, (key, query + len(labels) // 2), (0.96, 0.9), textcoords="axes fraction", ha="right", va="top",
            color="white", fontsize=11, arrowprops={"arrowstyle": "->", "color": "white"},
        )  # fmt: skip
    panels[0][0].set_ylabel(_("query (who looks)"))
    figure.colorbar(image, ax=panels[0], label=_("attention weight"), shrink=0.8)
    return figure


def loss_by_symbol(losses: Mapping[str, Sequence[float]], level: float, meaning: str) -> Figure:
    """Loss at each symbol of an answer, a group of bars a symbol; a dashed line marks a loss that means something.

    Args:
        losses: label -> nats of the first symbol, the second, ...; two of them.
        level: of the line, in nats.
        meaning: what to write on it.
    """
    figure = new_figure(7.2, 3.4)
    axes = figure.subplots()
    for (label, nats), color, side in zip(losses.items(), (NEW, BASE), (-0.2, 0.2), strict=True):
        places = [symbol + side for symbol in range(1, len(nats) + 1)]
        axes.bar(places, nats, 0.38, color=color)
        for place, value in zip(places, nats, strict=True):
            plain = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # where the line would cross the number
            axes.text(
                place, value + 0.03, f"{value:.2f}", ha="center", va="bottom", fontsize=9, color=color, bbox=plain
            )
        axes.text(len(nats) + 0.5, 0.95 if side < 0 else 0.78, label, ha="right", color=color, fontsize=11)
    axes.axhline(level, color="black", linestyle="--", linewidth=1, zorder=0)
    axes.text(len(nats) + 0.5, level + 0.03, meaning, ha="right", va="bottom", fontsize=11)
    axes.set(
        xlabel=_("symbol of the answer"),
        ylabel=_("loss (nats)"),
        ylim=(0, 1.2 * max(level, *max(losses.values(), key=max))),
    )
    return figure


def loss_stages(losses: Sequence[float], levels: Mapping[str, float]) -> Figure:
    """Loss over training steps, with levels that mean something; both axes tell the beginning from the end.

    Args:
        losses: nats a token, one a step.
        levels: meaning -> loss, drawn as dashed lines.
    """
    figure = new_figure(7.2, 3.4)
    axes = figure.subplots()
    means = [sum(losses[i : i + 10]) / len(losses[i : i + 10]) for i in range(0, len(losses), 10)]
    steps = [i + 5 for i in range(0, len(losses), 10)]  # a mean of ten steps stands in their middle
    axes.plot([1, *steps], [losses[0], *means], color=NEW, linewidth=2)
    for meaning, level in levels.items():
        axes.axhline(level, color=BASE, linestyle="--", linewidth=1, zorder=1)
        axes.text(1, level + 0.03, meaning, color="#6A6A6A", fontsize=10, ha="left", va="bottom")
    axes.set(xscale="log", xlabel=_("training step"), ylabel=_("loss (nats a token)"), ylim=(0, max(losses) + 0.3))
    axes.set_xticks([1, 10, 100, len(losses)], ["1", "10", "100", f"{len(losses):,}"])
    axes.minorticks_off()
    return figure


def cosines(
    panels: Mapping[str, Tensor], rows: Sequence[str], columns: Sequence[str], xlabel: str, ylabel: str
) -> Figure:
    """Cosines between two sets of vectors, one down and one across, a panel a title; a ring marks the nearest of each row.

    Args:
        panels: title -> cosines, (rows, columns).
        rows: labels of the vectors that go down.
        columns: labels of those that go across.
        xlabel: what those across are.
        ylabel: what those down are.
    """
    figure = new_figure(3.4 * len(panels) + 2.2, 1.4 + 0.36 * len(rows))
    all_axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (title, values) in zip(all_axes, panels.items(), strict=True):
        image = axes.imshow(values, cmap="RdBu_r", vmin=-1, vmax=1)
        nearest = values.argmax(dim=1)
        axes.scatter(nearest, range(len(values)), s=70, facecolors="none", edgecolors="black", linewidths=1.5)
        axes.set(title=title, xlabel=xlabel)
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axes.set_yticks(range(len(rows)), rows)
    all_axes[0].set_ylabel(ylabel)
    figure.colorbar(image, ax=all_axes, label=_("cosine"), shrink=0.8)
    return figure


def feature_map(values: Tensor, columns: Sequence[str], xlabel: str = _("symbol that has to be written")) -> Figure:
    """Mean activation of the features of a bottleneck, a row a feature: (m, columns).

    Args:
        values: of each feature (down) for each symbol (across).
        columns: labels of the symbols.
        xlabel: what they are.
    """
    figure = new_figure(5.2, 1.0 + 0.2 * len(values))
    axes = figure.subplots()
    image = axes.imshow(values, cmap="cividis", aspect="auto")
    axes.set(xlabel=xlabel, ylabel=_("the {} features").format(len(values)))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, label=_("mean activation"))
    return figure


def random_slices(slices: int = 3) -> Figure:
    """Random lines through a point in a plane of two weights: they meet a curve of solutions, and miss a single one."""
    figure = new_figure(9.5, 3.6)
    grid = torch.linspace(-1.25, 1.25, 201)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    generator = torch.Generator().manual_seed(3)
    angles = (torch.arange(slices) + torch.rand(slices, generator=generator)) * math.pi / slices
    way = torch.linspace(-1.6, 1.6, 1601)[:, None]  # places along a line
    start, solution = torch.tensor([-0.15, -0.3]), torch.tensor([0.65, 0.5])
    demand = y - 1.6 * x**2 + 0.8  # zero on a curve
    losses = {
        _("one demand: the solutions form a curve"): lambda x, y: (y - 1.6 * x**2 + 0.8).abs(),
        _("two demands: one point is left"): lambda x, y: ((x - solution[0]) ** 2 + (y - solution[1]) ** 2).sqrt(),
    }
    panels = figure.subplots(1, 2)
    for panel, (title, loss) in zip(panels, losses.items(), strict=True):
        shades = panel.contourf(x, y, loss(x, y), levels=torch.linspace(0, 3, 13), cmap="Greys", alpha=0.55)
        for i, angle in enumerate(angles):
            line = start + way * torch.stack([angle.cos(), angle.sin()])  # (places, 2)
            line = line[(line.abs() <= 1.25).all(dim=1)]
            best = line[loss(*line.T).argmin()]
            panel.plot(
                *line.T, color=STYLE["intrinsic"][0], linewidth=1.5, label=None if i else _("random line, D = 1")
            )
            panel.plot(*best, "*", color="#882255", markersize=12, label=None if i else _("its best place"))
        panel.plot(*start, "o", color="black", markersize=7, label=_("the start"))
        panel.set(
            title=title, xlabel=_("first weight"), ylabel=_("second weight"), xlim=(-1.25, 1.25), ylim=(-1.25, 1.25)
        )
    panels[0].contour(x, y, demand, levels=[0], colors="black", linestyles="--", linewidths=1.2)
    panels[1].plot(*solution, "kx", markersize=9)
    figure.colorbar(shades, ax=panels[1], label=_("loss"))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False, ncols=3)
    return figure


def equaliser(scales: Mapping[str, Sequence[Tensor]]) -> Figure:
    """Trained factors as the sliders of a mixing desk: a bar a channel, up for louder, down for quieter, from as it was.

    The scale is logarithmic, as on a desk: twice as loud is as far up as half as loud is down. Bars end at a sixteenth.

    Args:
        scales: kind of channel -> factors of each layer, a tensor (channels) a layer; a column a kind, a row a layer.
    """
    layers = max(len(tensors) for tensors in scales.values())
    widths = [tensors[0].numel() for tensors in scales.values()]
    figure = new_figure(11, 1.2 * layers + 1.1)
    panels = figure.subplots(layers, len(scales), sharey=True, squeeze=False, width_ratios=widths)
    kinds = {
        _("louder"): STYLE["lst"][0],
        _("quieter"): STYLE["ia3"][0],
        _("turned over (below zero)"): STYLE["adapter"][0],
    }
    for column, (kind, tensors) in enumerate(scales.items()):
        for layer, values in enumerate(tensors):
            panel = panels[layer][column]
            loudness = values.abs().clamp(1 / 16, 16).log2()  # (channels)
            parts = ((values > 1), (0 <= values) & (values <= 1), values < 0)
            for part, color in zip(parts, kinds.values(), strict=True):
                channels = part.nonzero().flatten()  # (n)
                panel.bar(channels, loudness[channels], width=1.0, color=color, linewidth=0)
            panel.axhline(0, color="black", linewidth=0.8)
            panel.set(xlim=(-0.5, len(values) - 0.5), xticks=[])
        panels[0][column].set_title(f"{kind} ({widths[column]})", fontsize=10)
    for layer in range(layers):
        panels[layer][0].set(ylabel=_("block {}").format(layer), ylim=(-4.1, 4.1))
        panels[layer][0].set_yticks(
            [-4, -2, 0, 2, 4], ["1/16", "1/4", _("as it was"), _("4 times"), _("16 times")], fontsize=8
        )
    handles = [plt.Rectangle((0, 0), 1, 1, facecolor=color, label=label) for label, color in kinds.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
    return figure


def length_over_direction(paths: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> Figure:
    """How much the rows of matrices were stretched over how much they were turned, a panel a method, a line a matrix.

    Args:
        paths: method -> name of a matrix -> its change of direction (1 - cosine) and of length, at several times.
    """
    figure = new_figure(3.3 * len(paths) + 0.4, 3.4)
    panels = figure.subplots(1, len(paths), sharex=True, sharey=True, squeeze=False)[0]
    ends = [points[-1] for matrices in paths.values() for points in matrices.values()]
    farthest, highest = max(turned for turned, _ in ends), max(stretched for _, stretched in ends)
    panels[0].set(xlim=(-0.03 * farthest, 1.45 * farthest), ylim=(-0.06 * highest, 1.06 * highest))
    for panel, (method, matrices) in zip(panels, paths.items(), strict=True):
        for points in matrices.values():
            turned, stretched = zip((0.0, 0.0), *points, strict=True)  # from where training began
            panel.plot(turned, stretched, markersize=6, linewidth=1.2, **method_style(method))
        for name, (place, end) in apart({name: points[-1] for name, points in matrices.items()}, panel).items():
            beside = {"xytext": place, "textcoords": "axes fraction", "ha": "left", "va": "center"}
            line = {"arrowstyle": "-", "color": BASE, "linewidth": 0.8, "shrinkB": 4, "relpos": (0, 0.5)}
            panel.annotate(name, end, fontsize=10, arrowprops=line, **beside)
        panel.set(title=_(NAMES[method]), xlabel=_("change of direction"))
        panel.locator_params(nbins=4)
    panels[0].set_ylabel(_("change of length"))
    return figure


def apart(ends: Mapping[str, tuple[float, float]], panel: Axes) -> dict[str, tuple[tuple[float, float], tuple]]:
    """A place for each label, one below the other low on the right: name -> (place in parts of the panel, end).

    Of all orders the one with the shortest lines to the ends, since lines that cross are longer than lines that do not.
    """
    places = [(0.82, 0.12 * n) for n in range(len(ends), 0, -1)]
    inside = {name: panel.transLimits.transform(end) for name, end in ends.items()}
    order = min(
        itertools.permutations(ends),
        key=lambda names: sum(math.dist(inside[name], place) for name, place in zip(names, places, strict=True)),
    )
    return {name: (place, ends[name]) for name, place in zip(order, places, strict=True)}


def directions_kept(scores: Mapping[str, Mapping[int, float]], shares: Mapping[int, float]) -> Figure:
    """What is left of tuned models when each change keeps its strongest r directions, over r on a logarithmic axis.

    Args:
        scores: task -> r -> score.
        shares: r -> the part of the change that r directions hold, drawn pale behind.
    """
    figure = new_figure(6.5, 3.4)
    axes = figure.subplots()
    axes.fill_between(list(shares), list(shares.values()), color=BASE, alpha=0.25, linewidth=0)
    axes.text(16, 0.3, _("share of the change"), ha="center", va="center", color="#6A6A6A", fontsize=11)
    for (task, points), method in zip(
        scores.items(), ("lora", "adapter", "lst"), strict=False
    ):  # colours of tasks here
        color, marker = STYLE[method]
        axes.plot(list(points), list(points.values()), marker=marker, color=color, linewidth=1.8)
        middle = list(points)[len(points) // 2 - 1]
        side = {"xytext": (-9, 5), "ha": "right"} if method == "lora" else {"xytext": (9, -10), "ha": "left"}
        text = {"color": color, "fontsize": 11, "textcoords": "offset points"} | side
        axes.annotate(task, (middle, points[middle]), **text)  # one left of its line, the next right of it
    axes.set(
        xscale="log", xlabel=_("directions kept in each matrix, r"), ylabel=_("held-out accuracy"), ylim=(-0.03, 1.06)
    )
    axes.set_xticks(list(shares), [str(r) for r in shares])
    axes.minorticks_off()
    return figure

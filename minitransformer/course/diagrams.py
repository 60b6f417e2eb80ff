"""Drawings of where a method's weights sit. Frozen parts are grey and hatched, trained ones solid with a thick edge.

So the two differ in black and white too.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minitransformer.course.plots import NAMES, STYLE, new_figure, save, score_over_steps
from minitransformer.course.words import _
from minitransformer.experiments.records import arm, over_steps
from minitransformer.files import check_writable
from minitransformer.methods import METHODS

FIGURES = Path(__file__).parents[2] / "docs" / "figures"
FROZEN = "#E6E6E6"
GREY = "#555555"
ROAD = "#C9C9C9"
LINE = {"color": GREY, "linewidth": 1, "zorder": 1}

Point = tuple[float, float]


# ---- the parts of a drawing ---------------------------------------------------------------------------------------------


def canvas(width: float, height: float, x: Point, y: Point) -> tuple[Figure, Axes]:
    """An empty drawing of the given size in inches, with the ranges of x and y that it shows."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.set(xlim=x, ylim=y)
    axes.axis("off")
    return figure, axes


def box(
    axes: Axes,
    text: str,
    x: float,
    y: float,
    width: float,
    height: float,
    trained_by: str | None = None,
    face: str = FROZEN,
) -> None:
    """A box with a text, centred at (x, y): in a method's colour where the method trains it, frozen otherwise."""
    edge, letters, hatch = "#AAAAAA", "black", "////" if face == FROZEN else None
    if trained_by:
        face, edge, hatch = STYLE[trained_by][0], "black", None
        letters = "white"
    corner = (x - width / 2, y - height / 2)
    thickness = 1.8 if trained_by else 0.8
    axes.add_patch(
        plt.Rectangle(corner, width, height, facecolor=face, edgecolor=edge, hatch=hatch, linewidth=thickness, zorder=2)
    )
    label = {"facecolor": face, "edgecolor": "none", "pad": 1}
    axes.text(x, y, text, ha="center", va="center", fontsize=9, color=letters, bbox=label, zorder=3)


def arrow(axes: Axes, *points: Point, color: str = GREY, dashed: bool = False) -> None:
    """A line through the points, with a head at the last."""
    style = {"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 0, "linestyle": "--" if dashed else "-"}
    for start, end in zip(points[:-2], points[1:-1], strict=True):
        axes.plot(*zip(start, end, strict=True), **LINE | {"color": color}, linestyle=style["linestyle"])
    axes.annotate("", points[-1], points[-2], arrowprops=style, zorder=1)


def plus(axes: Axes, x: float, y: float) -> None:
    """The place where something is added to a stream."""
    circle = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": GREY}
    axes.text(x, y, "+", ha="center", va="center", fontsize=13, bbox=circle)


def legend(axes: Axes, trained: dict[str, str], frozen: bool = True, **where: object) -> None:
    """The key of a drawing: for each method the words for what it trains, and what frozen parts look like."""
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=STYLE[method][0], edgecolor="black", linewidth=1.8, label=words)
        for method, words in trained.items()
    ]
    if frozen:
        handles.append(
            plt.Rectangle((0, 0), 1, 1, facecolor=FROZEN, edgecolor="#AAAAAA", hatch="////", label=_("frozen"))
        )
    axes.legend(handles=handles, frameon=False, fontsize=9, **where)


# ---- one block, one method ----------------------------------------------------------------------------------------------

# Where the parts of a block stand: name -> (x, y).
PLACES: dict[str, Point] = {
    "ln_1": (1.1, 0), "q_proj": (2.6, 1.3), "k_proj": (2.6, 0), "v_proj": (2.6, -1.3), "attention": (4.3, 0),
    "o_proj": (5.9, 0), "ln_2": (8.9, 0), "up_proj": (10.3, 0), "GELU": (11.6, 0), "down_proj": (12.9, 0),
}  # fmt: skip
SUMS = (7.9, 14.9)  # x of the two places where the stream is added to
WEIGHTLESS = ("attention", "GELU")
# What a method adds: (text, x, y, width) of its boxes.
PREFIX_BOX = ("$P_k$, $P_v$", 4.3, -1.1, 1.15)
ADDED: dict[str, list[tuple[str, float, float, float]]] = {
    "adapter": [(_("adapter"), 7.05, 0, 0.95), (_("adapter"), 14.05, 0, 0.95)],
    "prompt": [(_("soft prompt"), -1.6, 0.5, 1.9)],
    "prefix": [PREFIX_BOX],
    "ia3": [
        ("$\\times\\ l_k$", 2.6, -0.58, 0.8),
        ("$\\times\\ l_v$", 2.6, -1.88, 0.8),
        ("$\\times\\ l_{ff}$", 11.6, -0.58, 0.8),
    ],
    "lora": [("B A", x, y - 0.58, 0.8) for name, (x, y) in PLACES.items() if name.endswith("_proj")],
    "dora": [("m, B A", x, y - 0.58, 0.95) for name, (x, y) in PLACES.items() if name.endswith("_proj")],
    "lst": [(_("shortcut"), 13.2, -1.1, 1.0), (_("gate"), 10.3, -2.0, 0.9), (_("side block"), 12.4, -2.0, 1.6)],
    "mam": [PREFIX_BOX, (_("adapter"), 11.6, -1.1, 1.05)],
}
# How the boxes that stand apart are connected: the corners of each arrow.
PREFIX_ARROW = ((4.3, -0.87), (4.3, -0.37))
ARROWS: dict[str, list[tuple[Point, ...]]] = {
    "prompt": [((-0.75, 0.5), (-0.5, 0.5), (-0.5, 0), (-0.2, 0)), ((-0.75, -0.5), (-0.5, -0.5), (-0.5, 0), (-0.2, 0))],
    "prefix": [PREFIX_ARROW],
    "lst": [
        ((15.3, 0), (15.3, -1.1), (13.7, -1.1)),  # the block's output goes down the ladder
        ((12.7, -1.1), (10.3, -1.1), (10.3, -1.77)),
        ((-0.2, -2.0), (9.85, -2.0)),  # the state of the side block before
        ((10.75, -2.0), (11.6, -2.0)),
        ((13.2, -2.0), (15.7, -2.0)),
    ],
    "mam": [PREFIX_ARROW, ((8.15, 0), (8.15, -1.1), (11.07, -1.1)), ((12.12, -1.1), (SUMS[1], -1.1), (SUMS[1], -0.25))],
}


def draw_block(axes: Axes, method: str | None = None) -> None:
    """The block itself, left to right: frozen, trained as a whole by "full", or plain without a method."""
    for name, (x, y) in PLACES.items():
        weights = name not in WEIGHTLESS
        face = "white" if not weights else FROZEN if method else "#EEEEEE"
        trained_by = "full" if method == "full" and weights else None
        box(axes, name, x, y, 1.15 if weights else 1.05, 0.7, trained_by, face)
    for y in (1.3, 0, -1.3):  # the norm feeds q, k and v, which feed attention
        arrow(axes, (1.7, 0), (1.85, 0), (1.85, y), (2.0, y))
        arrow(axes, (3.2, y), (3.5, y), (3.5, y / 8), (3.77, y / 8))
    ends = ((-0.2, 0.5), (4.85, 5.3), (6.5, SUMS[0] - 0.2), (SUMS[0] + 0.2, 8.3), (9.5, 9.7), (10.9, 11.05))
    for start, end in (*ends, (12.15, 12.3), (13.5, SUMS[1] - 0.2), (SUMS[1] + 0.2, 15.7)):
        arrow(axes, (start, 0), (end, 0))
    for start, end in ((0.1, SUMS[0]), (8.15, SUMS[1])):  # the residual stream goes around
        arrow(axes, (start, 0), (start, 2.1), (end, 2.1), (end, 0.25))
    for x in SUMS:
        plus(axes, x, 0)
    axes.text(4.0, 2.2, _("residual stream"), ha="center", va="bottom", fontsize=8, color=GREY)


def block_diagram(method: str | None = None) -> Figure:
    """One transformer block, left to right, and what a method trains in it.

    "full" trains the block's own weights; without a method all is plain.

    Raises:
        ValueError: there is no drawing of the method.
    """
    if method not in (None, "full", *ADDED):
        raise ValueError(f"block_diagram: there is no drawing of {method!r}; there are: full, {', '.join(ADDED)}")
    figure, axes = canvas(10, 3.2, (-2.6 if method == "prompt" else -0.4, 15.9), (-3.0, 2.6))
    for name, x, y, width in ADDED.get(method or "", []):
        box(axes, name, x, y, width, 0.46, trained_by=method)
    for corners in ARROWS.get(method or "", []):
        arrow(axes, *corners)
    draw_block(axes, method)
    if method == "prompt":
        box(axes, _("tokens"), -1.6, -0.5, 1.7, 0.7)
    if method == "lst":
        axes.text(4.0, -1.95, _("side network, d / r wide"), ha="center", va="bottom", fontsize=8, color=GREY)
    if method:
        legend(axes, {method: _("trained: {}").format(_(NAMES[method]))}, method != "full", loc="lower center", ncols=2)
    return figure


def main_road_diagram() -> Figure:
    """The residual stream of one block as a main road: two boxes read from it and add to it; shapes beside the arrows."""
    figure, axes = canvas(9, 3.4, (-0.2, 16.2), (-1.0, 4.6))
    axes.fill((0.2, 15.2, 15.2, 16.0, 15.2, 15.2, 0.2), (0.25, 0.25, 0.5, 0, -0.5, -0.25, -0.25), color=ROAD, zorder=0)
    axes.text(0.3, -0.75, _("residual stream, (B, T, d)"), fontsize=11, va="center")
    sides = [  # where it leaves and joins the road; what stands on the side road; its shape inside
        (
            2.2,
            7.0,
            "LN 1",
            _("attention"),
            _("a token gathers from those\nbefore it, 4 heads of d / 4"),
            "q, k, v:\n(B, 4, T, d/4)",
        ),
        (9.0, 13.8, "LN 2", _("feed-forward"), _("each token by itself"), "d → 4d → d"),
    ]
    for leave, join, norm, name, what, shape in sides:
        middle = (leave + join) / 2
        arrow(axes, (leave, 0), (leave, 2.2), (middle - 1.3, 2.2))
        arrow(axes, (middle + 1.3, 2.2), (join, 2.2), (join, 0.42))
        box(axes, norm, leave, 1.2, 1.15, 0.62, face="white")
        box(axes, name, middle, 2.2, 2.6, 1.0, face="#EEEEEE")
        axes.text(middle, 3.0, what, fontsize=10, ha="center", va="bottom")
        axes.text(middle, 1.1, shape, fontsize=9, ha="center", va="center", color=GREY)
        plus(axes, join, 0)
    return figure


def mixing_desk(sliders: int, weights: int, seed: int = 1) -> Figure:
    """A mixing desk with its wires: each weight hangs on one slider, by lot; dashed where it goes down when that goes up."""
    figure, axes = canvas(9, 3.4, (-1.0, weights), (-1.1, 3.5))
    chance = torch.Generator().manual_seed(seed)
    slider = torch.randint(sliders, (weights,), generator=chance).tolist()
    up = torch.randint(2, (weights,), generator=chance).tolist()
    height = (0.15 + 0.7 * torch.rand(sliders, generator=chance)).tolist()
    names = [name for name in STYLE if name != "full"]  # the methods' colours, here for sliders
    colors = [STYLE[names[j % len(names)]][0] for j in range(sliders)]
    places = [(weights - 1) * (j + 0.5) / sliders for j in range(sliders)]
    for i, j in enumerate(slider):
        axes.plot([places[j], i], [1.9, 0.3], color=colors[j], linewidth=0.9, linestyle="-" if up[i] else (0, (4, 2)))
        axes.add_patch(plt.Rectangle((i - 0.4, -0.3), 0.8, 0.6, facecolor=colors[j], edgecolor="none"))
    for x, color, at in zip(places, colors, height, strict=True):
        axes.add_patch(plt.Rectangle((x - 1.1, 1.9), 2.2, 1.4, facecolor="#F2F2F2", edgecolor="#AAAAAA", zorder=2))
        axes.plot([x, x], [2.0, 3.2], color="#999999", linewidth=3, zorder=3)
        axes.add_patch(
            plt.Rectangle((x - 0.6, 2.0 + at * 1.1), 1.2, 0.22, facecolor=color, edgecolor="black", zorder=4)
        )
    axes.text(-0.4, -0.75, _("{} of the weights, frozen").format(weights), fontsize=11, va="center")
    axes.text(weights - 0.6, -0.75, _("dashed: goes the other way"), fontsize=11, va="center", ha="right", color=GREY)
    return figure


def wirings(panels: Mapping[str, torch.Tensor]) -> Figure:
    """Wirings written out, sliders across and weights down: blue moves with its slider, red against it, white not at all.

    Args:
        panels: title -> some rows of P, (weights, D).
    """
    figure = new_figure(2.4 * len(panels), 4.2)
    for axes, (title, P) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        axes.imshow(P.tolist(), cmap="RdBu", vmin=-P.abs().max(), vmax=P.abs().max(), aspect="auto")
        axes.set(title=title, xlabel=_("slider"), ylabel=_("weight"))
        axes.set_xticks(range(P.size(1)), range(1, P.size(1) + 1))
        axes.set_yticks([])
        axes.set_xticks([j + 0.5 for j in range(P.size(1) - 1)], minor=True)
        axes.set_yticks([i + 0.5 for i in range(P.size(0) - 1)], minor=True)
        axes.grid(which="minor", color="#DDDDDD", linewidth=0.6)
        axes.tick_params(which="both", length=0)
    return figure


# ---- one block, every method --------------------------------------------------------------------------------------------

# The marks of all methods: method -> (x, y) of each. Numbers stand for names, which are in the key.
MARKS: dict[str, list[Point]] = {
    "adapter": [(7.05, 0), (14.05, 0)],
    "prompt": [(-0.75, 0)],
    "prefix": [(4.3, -1.35)],
    "ia3": [(3.45, 0), (3.45, -1.3), (12.07, -0.75)],
    "lora": [(x - 0.32, y - 0.62) for name, (x, y) in PLACES.items() if name.endswith("_proj")],
    "dora": [(x + 0.32, y - 0.62) for name, (x, y) in PLACES.items() if name.endswith("_proj")],
    "lst": [(15.4, -1.35)],
    "mam": [(5.0, -1.35), (11.25, -1.75)],
    "intrinsic": [],
}
MEANING = {
    "adapter": _("adapter: a bottleneck behind each sublayer"),
    "prompt": _("prompt tuning: vectors before the tokens"),
    "prefix": _("prefix tuning: keys and values in attention"),
    "ia3": _("(IA)³: scales on keys, values and GELU"),
    "lora": _("LoRA: B A beside a matrix"),
    "dora": _("DoRA: B A and a length for each row"),
    "lst": _("ladder side tuning: a network beside it all"),
    "mam": _("MAM: a prefix and a parallel adapter"),
    "intrinsic": _("intrinsic dimension: all weights, D directions"),
}


def every_method_diagram() -> Figure:
    """One transformer block, with the places marked where each of the nine methods puts what it trains."""
    figure, axes = canvas(11, 5.2, (-1.6, 16.6), (-5.2, 3.2))
    around = plt.Rectangle(
        (0.3, -2.2), 15.4, 5.0, fill=False, edgecolor=STYLE["intrinsic"][0], linewidth=2.2, linestyle=(0, (5, 3))
    )
    axes.add_patch(around)
    draw_block(axes, "every")
    arrow(axes, (8.15, 0), (8.15, -1.75), (SUMS[1], -1.75), (SUMS[1], -0.25))  # MAM's detour, from before the norm
    arrow(axes, (4.3, -1.1), (4.3, -0.37))  # the prefix into attention
    arrow(axes, (15.4, 0), (15.4, -1.1))  # the block's output goes down the ladder
    for number, (method, places) in enumerate(MARKS.items(), start=2):  # the numbers of the lessons
        key = (-0.9 + 6.0 * ((number - 2) // 3), -3.0 - 0.75 * ((number - 2) % 3))
        for x, y in (*places, key):
            mark(axes, number, method, x, y)
        axes.text(key[0] + 0.45, key[1], MEANING[method], ha="left", va="center", fontsize=9)
    mark(axes, list(MARKS).index("intrinsic") + 2, "intrinsic", 0.3, 2.8)
    return figure


def mark(axes: Axes, number: int, method: str, x: float, y: float) -> None:
    """A numbered disc in a method's colour."""
    disc = {"boxstyle": "circle,pad=0.22", "fc": STYLE[method][0], "ec": "black", "lw": 1.4}
    axes.text(x, y, str(number), ha="center", va="center", fontsize=8.5, color="white", bbox=disc, zorder=4)


# ---- inside the adapter, and beside the backbone --------------------------------------------------------------------------


def adapter_diagram() -> Figure:
    """A bottleneck adapter as a narrow lane beside the road: down to a few dimensions, a nonlinearity, up, and added."""
    figure, axes = canvas(9, 3.6, (-0.2, 15.4), (-4.1, 1.6))
    road = {"arrowstyle": "-|>", "color": GREY, "linewidth": 4, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 18}
    low = -2.1
    box(axes, _("attention\nor MLP"), 1.2, 0, 2.0, 2.0)
    axes.annotate("", (11.25, 0), (2.2, 0), arrowprops=road, zorder=1)
    axes.annotate("", (12.9, 0), (11.7, 0), arrowprops=road, zorder=1)
    plus(axes, 11.5, 0)
    box(axes, _("added to\nthe stream"), 14.0, 0, 2.2, 2.0)
    words = _("the road: what comes in, goes on unchanged")
    axes.text(7, 0.25, words, ha="center", va="bottom", fontsize=10, color=GREY)
    arrow(axes, (3.0, 0), (3.0, low), (4.1, low))
    for x, text, wide, narrow in ((4.9, "$W_{down}$", 1.1, 0.4), (9.1, "$W_{up}$", 0.4, 1.1)):
        corners = [(x - 0.8, low - wide), (x - 0.8, low + wide), (x + 0.8, low + narrow), (x + 0.8, low - narrow)]
        axes.add_patch(plt.Polygon(corners, facecolor=STYLE["adapter"][0], edgecolor="black", linewidth=1.8, zorder=2))
        axes.text(x, low, text, ha="center", va="center", fontsize=10, color="white", zorder=3)
    box(axes, "GELU", 7.0, low, 1.1, 0.8, face="white")
    arrow(axes, (5.7, low), (6.4, low))
    arrow(axes, (7.55, low), (8.3, low))
    arrow(axes, (9.9, low), (11.5, low), (11.5, -0.3))
    for x, letter in ((3.6, "d"), (6.05, "m"), (7.9, "m"), (10.5, "d")):
        axes.text(x, low + 0.15, f"${letter}$", ha="center", va="bottom", fontsize=11)
    axes.text(12.0, low, _("zero on day one"), ha="left", va="center", fontsize=10, color=STYLE["adapter"][0])
    legend(axes, {"adapter": _("trained")}, loc="lower center", ncols=2)
    return figure


def ladder_diagram(n_layer: int = 3) -> Figure:
    """The frozen backbone, the side network beside it, the shortcuts between them, and the way of the gradient."""
    step, top, low = 2.6, 2.0, 0.0  # a column for each layer; the backbone above, the side below
    end = (n_layer + 1) * step
    figure, axes = canvas(10, 3.6, (-0.9, end + 2.9), (-1.1, 2.9))
    gradient = "#AA4499"
    for i in range(n_layer + 1):
        x = i * step
        box(axes, _("embed") if i == 0 else _("block {}").format(i), x, top, 1.4, 0.8)
        box(axes, _("shortcut {}").format(i), x + 1.05, 1.0, 1.1, 0.4, trained_by="lst")
        arrow(axes, (x + 1.05, top), (x + 1.05, 1.18))  # the output of the block goes down its shortcut
        if i < n_layer:
            arrow(axes, (x + 0.7, top), (x + step - 0.7, top))
        if i:
            box(axes, _("side {}").format(i), x + 1.85, low, 0.75, 0.5, trained_by="lst")
            box(axes, _("gate {}").format(i), x + 1.05, low, 0.66, 0.5, trained_by="lst")
            arrow(axes, (x + 1.05, 0.82), (x + 1.05, low + 0.25))
            arrow(axes, (x + 1.33, low), (x + 1.47, low))
            arrow(axes, (x - step + (1.05 if i == 1 else 2.23), low), (x + 0.77, low))
    axes.plot([1.05, 1.05], [0.82, low], **LINE)
    box(axes, _("up"), end + 0.35, 1.0, 0.6, 0.36, trained_by="lst")
    arrow(axes, (n_layer * step + 2.23, low), (end + 0.35, low), (end + 0.35, 0.82))
    arrow(axes, (end + 0.35, 1.18), (end + 0.35, top), (end + 1.1, top))
    axes.plot(
        [n_layer * step + 0.7, n_layer * step + 1.05], [top, top], **LINE
    )  # the backbone's own answer is not used
    box(axes, _("norm, head"), end + 1.9, top, 1.6, 0.8)
    arrow(axes, (end + 1.0, top - 0.65), (end + 0.6, low - 0.5), color=gradient, dashed=True)
    arrow(axes, (end + 0.5, low - 0.5), (0.8, low - 0.5), color=gradient, dashed=True)
    words = _("the gradient comes back this way, and no other")
    axes.text(end / 2, low - 0.62, words, color=gradient, fontsize=9, va="top", ha="center")
    legend(axes, {"lst": _("trained")}, loc="upper center", ncols=2, bbox_to_anchor=(0.5, 1.08))
    return figure


# ---- the files in docs/figures ------------------------------------------------------------------------------------------


def recorded_steps() -> Figure:
    """The recorded ladder: scores over steps of every method on the two rungs that tell them apart."""
    return score_over_steps(
        {rung: {name: over_steps(arm("steps", rung, name)) for name in METHODS} for rung in ("compose", "learn")}
    )


def save_diagrams(folder: Path | None = None) -> Path:
    """Draw what the README and the first lessons show, one PNG a diagram, and say where they are.

    Args:
        folder: where they go; None: where the course keeps them.

    Raises:
        ValueError: no folder is given, and this is an installed copy, without the course's own; or it cannot be written.
    """
    from minitransformer.course.method_map import map_figure  # it draws with the parts above

    if folder is None and not FIGURES.is_dir():
        raise ValueError("an installed copy keeps no figures; name a folder for them: figures FOLDER")
    folder = folder or FIGURES
    check_writable(folder)
    diagrams = {
        "every_method": every_method_diagram,
        "bottleneck": adapter_diagram,
        "ladder": ladder_diagram,
        "steps": recorded_steps,
        "map": map_figure,
    }
    for name, draw in diagrams.items():
        save(draw(), folder / f"{name}.png")
    return folder

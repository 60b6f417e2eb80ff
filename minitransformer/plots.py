"""The course's figures, one function each. A method has the same colour and marker everywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.train import History

# Paul Tol's "muted" scheme, told apart by colour-blind readers; the markers tell methods apart in print too.
STYLE: dict[str, tuple[str, str]] = {  # method -> colour, marker
    "full": ("#222222", "s"),
    "adapter": ("#CC6677", "o"),
    "prompt": ("#DDCC77", "v"),
    "prefix": ("#999933", "^"),
    "ia3": ("#88CCEE", "P"),
    "lora": ("#332288", "D"),
    "dora": ("#AA4499", "X"),
    "lst": ("#117733", "<"),
    "mam": ("#882255", ">"),
    "intrinsic": ("#44AA99", "*"),
}
FROZEN = "#E6E6E6"
BASE = "#888888"  # the colour of "before any training"

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
    """Colour and marker for a label that begins with a method's name, such as "lora, rank 4"."""
    color, marker = STYLE.get(label.split(",")[0].split(" ")[0], (BASE, "."))
    return {"color": color, "marker": marker}


def training_curves(histories: Mapping[str, History], metric: str = "accuracy") -> Figure:
    """Loss (left) and held-out score (right) over training steps, a line a run; the loss is a mean over 20 steps."""
    figure = new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    dashes = ["-", "--", ":", "-."]
    seen: dict[str, int] = {}
    for label, history in histories.items():
        style = method_style(label)
        repeat = seen[style["color"]] = seen.get(style["color"], -1) + 1  # runs of one method differ by their dashes
        line = {"color": style["color"], "linestyle": dashes[repeat % len(dashes)], "label": label}
        means = [
            sum(history.losses[i : i + 20]) / len(history.losses[i : i + 20]) for i in range(0, len(history.losses), 20)
        ]
        left.plot([20 * i + 10 for i in range(len(means))], means, **line)
        right.plot(*zip(*history.scores, strict=True), marker=style["marker"], markersize=5, **line)
    left.set(xlabel="training step", ylabel="loss (nats a token)", ylim=(0, None))
    right.set(xlabel="training step", ylabel=f"held-out {metric}")
    if metric == "accuracy":
        right.set_ylim(-0.03, 1.03)
    right.legend(frameon=False)
    return figure


def accuracy_over_parameters(rows: Sequence[Mapping]) -> Figure:
    """Score over trained parameters (logarithmic), a panel a task; bars from the lowest to the highest seed.

    Args:
        rows: what `compare` returns: dictionaries with task, method, trained, score, score_min, score_max, score_base
            and metric.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = new_figure(3.4 * len(tasks) + 1.2, 3.4)
    panels = figure.subplots(1, len(tasks), squeeze=False)
    for task, panel in zip(tasks, panels[0], strict=True):
        mine = [row for row in rows if row["task"] == task]
        panel.axhline(mine[0]["score_base"], color=BASE, linestyle=":", label="base")
        for row in mine:
            low, high = row["score"] - row["score_min"], row["score_max"] - row["score"]
            panel.errorbar(
                row["trained"], row["score"], yerr=[[low], [high]], linestyle="", markersize=8, capsize=3,
                label=row["method"], **method_style(row["method"]),
            )  # fmt: skip
        panel.set(title=task, xscale="log", xlabel="trained parameters", ylabel=mine[0]["metric"])
        panel.margins(x=0.15)
        if mine[0]["metric"] == "accuracy":
            panel.set_ylim(-0.05, 1.05)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False)
    return figure


def scores_by_task(scores: Mapping[str, Mapping[str, float]], ylabel: str = "held-out accuracy") -> Figure:
    """Bars of scores: a group for each task, a bar in it for each label (a method, or "base")."""
    labels = list(dict.fromkeys(label for group in scores.values() for label in group))
    figure = new_figure(2.6 + 0.35 * len(labels) * len(scores), 3.2)
    axes = figure.subplots()
    width = 0.8 / len(labels)
    hatches = ["", "//", "..", "xx"]
    seen: dict[str, int] = {}
    for i, label in enumerate(labels):
        color = method_style(label)["color"]
        repeat = seen[color] = seen.get(color, -1) + 1
        places = [x + (i - (len(labels) - 1) / 2) * width for x in range(len(scores))]
        heights = [group.get(label, 0.0) for group in scores.values()]
        axes.bar(places, heights, width * 0.9, color=color, label=label, hatch=hatches[repeat % 4], edgecolor="white")
    axes.set(ylabel=ylabel, ylim=(0, 1.05))
    axes.set_xticks(range(len(scores)), list(scores))
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def attention_maps(weights: Tensor, labels: Sequence[str]) -> Figure:
    """Attention weights (n_head, T, T): a panel a head, queries down, keys across."""
    figure = new_figure(3.2 * len(weights), 3.6)
    panels = figure.subplots(1, len(weights), squeeze=False)
    for head, (panel, values) in enumerate(zip(panels[0], weights, strict=True)):
        image = panel.imshow(values, cmap="viridis", vmin=0, vmax=1)
        panel.set(title=f"head {head}", xlabel="key (what is looked at)")
        panel.set_xticks(range(len(labels)), labels, fontsize=7)
        panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panels[0][0].set_ylabel("query (who looks)")
    figure.colorbar(image, ax=panels[0], label="attention weight", shrink=0.8)
    return figure


# ---- the diagram of one block -----------------------------------------------------------------------------------------

# Where the parts of a block stand in the diagram: name -> (x, y).
PLACES: dict[str, tuple[float, float]] = {
    "ln_1": (1.1, 0), "q_proj": (2.6, 1.3), "k_proj": (2.6, 0), "v_proj": (2.6, -1.3), "attention": (4.3, 0),
    "o_proj": (5.9, 0), "ln_2": (8.9, 0), "up_proj": (10.3, 0), "GELU": (11.6, 0), "down_proj": (12.9, 0),
}  # fmt: skip
SUMS = (7.9, 14.9)  # x of the two places where the stream is added to
WEIGHTLESS = ("attention", "GELU")
# What a method adds: (text, x, y, width) of its boxes. They are drawn solid in the method's colour.
ADDED: dict[str, list[tuple[str, float, float, float]]] = {
    "adapter": [("adapter", 7.05, 0, 0.95), ("adapter", 14.05, 0, 0.95)],
    "lora": [("A B", x, y - 0.58, 0.8) for name, (x, y) in PLACES.items() if name.endswith("_proj")],
}


def block_diagram(method: str | None = None) -> Figure:
    """One transformer block, left to right, and what a method trains in it.

    Frozen weights are grey and hatched, trained ones solid in the method's colour with a thick edge, so that they
    differ in black and white too. "full" trains the block's own weights; without a method all is plain.

    Raises:
        ValueError: there is no drawing of the method.
    """
    if method not in (None, "full", *ADDED):
        raise ValueError(f"block_diagram: there is no drawing of {method!r}; there are: full, {', '.join(ADDED)}")
    figure = new_figure(10, 2.9)
    axes = figure.subplots()
    color = STYLE[method][0] if method else BASE
    arrow = {"arrowstyle": "-|>", "color": "#555555", "shrinkA": 0, "shrinkB": 0}

    def box(text: str, x: float, y: float, width: float, trained: bool, weights: bool = True) -> None:
        face = color if trained else FROZEN if weights else "white"
        height = 0.46 if trained and method != "full" else 0.7
        hatch = "////" if weights and method and not trained else None
        axes.add_patch(
            plt.Rectangle(
                (x - width / 2, y - height / 2), width, height, facecolor=face, hatch=hatch,
                edgecolor="black" if trained else "#AAAAAA", linewidth=1.8 if trained else 0.8, zorder=2,
            )
        )  # fmt: skip
        label = {"facecolor": face, "edgecolor": "none", "pad": 1}
        axes.text(
            x,
            y,
            text,
            ha="center",
            va="center",
            fontsize=9,
            color="white" if trained else "black",
            bbox=label,
            zorder=3,
        )

    def line(*points: tuple[float, float]) -> None:
        for start, end in zip(points[:-2], points[1:-1], strict=True):
            axes.plot(*zip(start, end, strict=True), color="#555555", linewidth=1, zorder=1)
        axes.annotate("", points[-1], points[-2], arrowprops=arrow, zorder=1)

    for name, (x, y) in PLACES.items():
        weights = name not in WEIGHTLESS
        box(name, x, y, 1.15 if weights else 1.05, trained=method == "full" and weights, weights=weights)
    for name, x, y, width in ADDED.get(method or "", []):
        box(name, x, y, width, trained=True)
    for y in (1.3, 0, -1.3):  # the norm feeds q, k and v, which feed attention
        line((1.7, 0), (1.85, 0), (1.85, y), (2.0, y))
        line((3.2, y), (3.5, y), (3.5, y / 8), (3.77, y / 8))
    line((4.85, 0), (5.3, 0))
    line((6.5, 0), (SUMS[0] - 0.2, 0))
    line((SUMS[0] + 0.2, 0), (8.3, 0))
    for start, end in ((9.5, 9.7), (10.9, 11.05), (12.15, 12.3), (13.5, SUMS[1] - 0.2), (SUMS[1] + 0.2, 15.7)):
        line((start, 0), (end, 0))
    line((-0.2, 0), (0.5, 0))
    for start, end in ((0.1, SUMS[0]), (8.15, SUMS[1])):  # the residual stream goes around
        line((start, 0), (start, 2.1), (end, 2.1), (end, 0.25))
    for x in SUMS:
        axes.text(
            x,
            0,
            "+",
            ha="center",
            va="center",
            fontsize=13,
            bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "#555555"},
        )
    axes.text(4.0, 2.2, "residual stream", ha="center", va="bottom", fontsize=8, color="#555555")
    axes.set(xlim=(-0.4, 15.9), ylim=(-2.2, 2.6))
    axes.axis("off")
    if method:
        handles = [
            plt.Rectangle((0, 0), 1, 1, facecolor=color, edgecolor="black", linewidth=1.8, label=f"trained by {method}")
        ]
        if method != "full":
            handles.append(
                plt.Rectangle((0, 0), 1, 1, facecolor=FROZEN, edgecolor="#AAAAAA", hatch="////", label="frozen")
            )
        axes.legend(handles=handles, loc="lower right", frameon=False, ncols=2, fontsize=9)
    return figure

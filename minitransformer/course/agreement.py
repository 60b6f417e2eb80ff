"""The figure of lesson 19: whether two programs say the same."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from minitransformer.course.plots import BASE, NEW, new_figure


def logits_against(ours: Tensor, theirs: Mapping[str, Tensor]) -> Figure:
    """Logits of one program over those of others, a panel each; on the line where both say the same.

    Args:
        ours: logits, of any shape.
        theirs: label -> logits of the same shape.
    """
    figure = new_figure(3.6 * len(theirs), 3.6)
    panels = figure.subplots(1, len(theirs), sharex=True, sharey=True, squeeze=False)[0]
    for panel, (label, other) in zip(panels, theirs.items(), strict=True):
        panel.axline((0, 0), slope=1, color=BASE, linewidth=1)
        panel.plot(ours.flatten(), other.flatten(), ".", color=NEW, markersize=3)
        panel.set(title=label, xlabel="your logits", aspect="equal")
    panels[0].set_ylabel("her logits")
    return figure

"""The drawings of the unified view, and the staircase of memory: what they say is what they are given."""

import pytest

from minitransformer.course.corrections import CORRECTIONS, four_corrections, switch_bars
from minitransformer.course.plots import staircase


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_each_panel_names_its_method_and_its_switches():
    for axes, correction in zip(four_corrections().axes, CORRECTIONS, strict=True):
        assert {correction.title, correction.added, correction.bend or "no bend"} <= set(words(axes))
        assert ("reads $h$, behind" if correction.behind else "reads $x$, beside") in words(axes)


def test_adapter_alone_stands_behind_and_prefix_alone_has_a_gate():
    assert [correction.title for correction in CORRECTIONS if correction.behind] == ["adapter"]
    assert [correction.title for correction in CORRECTIONS if "lambda" in correction.added] == ["prefix"]


@pytest.mark.parametrize("apart", [0, 1, 2])
def test_bars_are_means_and_dots_are_seeds(apart):
    scores = {"a": [0.2, 0.4], "b": [0.5, 0.7], "c": [0.9, 0.9]}
    [axes] = switch_bars(scores, apart).axes
    assert words(axes) == ["0.30", "0.60", "0.90"]
    assert [list(line.get_xdata()) for line in axes.lines] == list(scores.values())
    assert [label.get_text() for label in axes.get_yticklabels()] == list(scores)
    gaps = [b - a for a, b in zip(axes.get_yticks()[:-1], axes.get_yticks()[1:], strict=True)]
    assert [gap > 1 for gap in gaps].count(True) == (1 if apart else 0)


def test_stairs_carry_their_numbers():
    [axes] = staircase({"block 1": 0.625, "block 2": 0.25}, "place", "the way down").axes
    assert {"0.62", "0.25", "the way down", "full fine-tuning"} <= set(words(axes))
    assert [patch.get_height() for patch in axes.patches[:2]] == [0.625, 0.25]

"""The figures that look into models show what they are given: the thin matrices, every rate and level, and labels apart."""

import itertools
import re

import pytest
import torch

from minitransformer.course.inside import length_over_direction, loss_stages
from minitransformer.course.plots import NAMES, STYLE, kept_by_method, rounding_over_swaps
from minitransformer.course.vectors import thin_matrices


def test_the_two_thin_matrices_are_the_best_of_their_rank():
    torch.manual_seed(0)
    change = torch.randn(12, 9)
    left, right = thin_matrices(change, r=3).axes
    drawn, tall, flat = (torch.as_tensor(image.get_array().data) for image in left.images)
    U, S, V = torch.linalg.svd(change, full_matrices=False)
    assert tall.shape == (12, 3) and flat.shape == (3, 9)
    torch.testing.assert_close(drawn, change)
    torch.testing.assert_close(tall @ flat, U[:, :3] * S[:3] @ V[:3], atol=1e-5, rtol=0)
    assert [bar.get_height() for bar in right.patches] == pytest.approx(S.tolist())
    assert [text.get_text() for text in left.texts if "numbers" in text.get_text()] == [
        "12 by 9: 108 numbers",
        "together 63 numbers",
    ]


def test_every_method_is_drawn_along_its_rates_from_the_lowest_to_the_highest():
    curves = {
        "full": [(0.1, 0.8, 0.3), (0.001, 0.9, 0.7), (0.01, 1.0, 0.5)],
        "lora": [(1.0, 0.4, 0.1), (0.01, 0.9, 0.8)],
    }
    figure = kept_by_method(curves, behind="full")
    for panel, method in zip(figure.axes, curves, strict=False):
        pale, line = panel.lines
        assert list(pale.get_xdata()) == [0.7, 0.5, 0.3]
        assert list(line.get_xdata()) == [kept for _, _, kept in sorted(curves[method])]
        assert panel.get_title() == NAMES[method] and line.get_color() == STYLE[method][0]
    written = [(text.get_text(), text.xy, text.get_va()) for text in figure.axes[1].texts]
    assert written == [("0.01", (0.8, 0.9), "top"), ("1", (0.1, 0.4), "top")]  # below: above it is the curve


def crosses(one, other):
    """Whether two straight lines ((x, y), (x, y)) cross."""

    def side(line, point):
        (a, b), (c, d) = line
        return (c - a) * (point[1] - b) > (d - b) * (point[0] - a)

    return side(one, other[0]) != side(one, other[1]) and side(other, one[0]) != side(other, one[1])


@pytest.mark.parametrize("seed", range(5))
def test_no_two_labels_of_a_panel_have_lines_that_cross(seed):
    generator = torch.Generator().manual_seed(seed)
    ends = {f"block {i}": [tuple(torch.rand(2, generator=generator).add(0.4).tolist())] for i in range(3)}
    figure = length_over_direction({"dora": ends})
    figure.canvas.draw()
    (panel,) = figure.axes
    to_points = panel.transData + panel.transAxes.inverted()
    lines = [(label.get_position(), tuple(to_points.transform(label.xy))) for label in panel.texts]
    assert len(lines) == 3 and not any(crosses(*pair) for pair in itertools.combinations(lines, 2))


def test_the_loss_is_drawn_with_its_levels():
    (axes,) = loss_stages([2.0] * 10 + [1.0] * 10, {"any": 2.3, "the form": 1.5}).axes
    curve, *levels = axes.lines
    assert list(curve.get_xdata()) == [1, 5, 15] and list(curve.get_ydata()) == [2.0, 2.0, 1.0]
    assert [line.get_ydata()[0] for line in levels] == [2.3, 1.5]
    assert [re.sub(r"\s+", " ", text.get_text()) for text in axes.texts] == ["any", "the form"]


def test_runs_of_the_server_have_three_colours_of_the_palette_and_their_names():
    errors = {"a": {1: 0.1, 10: 0.2}, "b": {1: 0.0, 10: 0.0}, "c": {1: 1e-3, 10: 1e-2}}
    (axes,) = rounding_over_swaps(errors).axes
    colors = [line.get_color() for line in axes.lines]
    assert len(set(colors)) == 3 and set(colors) <= {color for color, _ in STYLE.values()}
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == list(zip("abc", colors, strict=True))

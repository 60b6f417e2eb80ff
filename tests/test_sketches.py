"""The drawings of caches and batches show what they are given: every column, mask, row and line in its place."""

import matplotlib.colors
import torch

from minitransformer.course.plots import STYLE
from minitransformer.course.sketches import (
    TASK_COLORS,
    cache_table,
    gates_over_steps,
    learned_in_turn,
    mask_grid,
    score_over_rates,
    serving_diagram,
    share_maps,
    time_bars,
)


def colors(axes):
    return [matplotlib.colors.to_hex(patch.get_facecolor()).upper() for patch in axes.patches]


def words(axes):
    return [text.get_text() for text in axes.texts]


def test_table_has_a_cell_for_keys_and_values_of_every_column_and_block():
    axes = cache_table(["a", "b", "c"], ["d", "e"], n_layer=2).axes[0]
    assert len(axes.patches) == 2 * 2 * 5 and {"a", "b", "c", "d", "e", "block 0", "block 1"} <= set(words(axes))
    trained = cache_table([""] * 3, ["d", "e"], n_layer=2, trained=True).axes[0]
    assert colors(trained).count(STYLE["prefix"][0]) == 2 * 2 * 3
    assert "3 trained columns" in words(trained) and "3 stored columns" in words(axes)


def test_shares_are_drawn_a_panel_a_block():
    shares = torch.rand(2, 4, 3)
    figure = share_maps(shares, ["x", "y", "z"])
    for block in range(2):
        assert figure.axes[block].images[0].get_array().tolist() == shares[block].tolist()


def test_mask_is_coloured_where_a_query_looks_and_nowhere_else():
    seen = torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    drawn = colors(mask_grid({"mask": seen}, ["", "", "a"], ["a", "b"], prefix=2).axes[0])
    prefix, text, hidden = STYLE["prefix"][0], STYLE["lora"][0], "#FFFFFF"
    assert drawn == [prefix, prefix, hidden, prefix, prefix, text]


def test_rates_are_moved_on_the_right_alone():
    figure = score_over_rates({"a": {0.1: 0.5, 1.0: 0.7}, "b": {0.1: 0.2}}, {"a": 1.0, "b": 12.0})
    left, right = figure.axes
    assert left.lines[1].get_xdata()[0] == 0.1 and abs(right.lines[1].get_xdata()[0] - 1.2) < 1e-9
    assert list(right.lines[0].get_ydata()) == [0.5, 0.7]


def test_every_row_of_a_batch_has_the_colour_of_its_task():
    axes = serving_diagram(["sort", "turn"], [("12", "turn", "21"), ("21", "sort", "12")]).axes[0]
    assert [text.get_color() for text in axes.texts if text.get_text() == "12"] == [TASK_COLORS[1], TASK_COLORS[0]]
    order = [patch for patch in axes.patches if abs(patch.get_width() - 1.3) < 1e-9]
    assert [matplotlib.colors.to_hex(patch.get_facecolor()).upper() for patch in order] == [
        TASK_COLORS[1].upper(),
        TASK_COLORS[0].upper(),
    ]


def test_times_are_multiples_of_the_first():
    axes = time_bars({"base": 0.2, "mixed": 0.5}, shade=["mixed"]).axes[0]
    assert [round(bar.get_width(), 3) for bar in axes.patches] == [1.0, 2.5] and words(axes) == ["1.0", "2.5"]
    assert len(set(colors(axes))) == 2


def test_tasks_learned_in_turn_are_named_where_they_are_learned():
    lines = {"a": [(0, 0.0), (10, 1.0), (30, 0.0)], "b": [(0, 0.0), (30, 1.0)]}
    axes = learned_in_turn({"one": lines}, {"one": {"a": 0, "b": 10}}).axes[0]
    places = {text.get_text(): text.get_position()[0] for text in axes.texts}
    assert places == {"a": 5, "b": 20} and list(axes.lines[0].get_ydata()) == [0.0, 1.0, 0.0]


def test_every_expert_has_a_line_and_its_own_task_names_it():
    gates = torch.rand(5, 2, 2)
    figure = gates_over_steps(gates, ["a", "b"], ["a", "b"])
    for n, axes in enumerate(figure.axes):
        assert [list(line.get_ydata()) for line in axes.lines] == [gates[:, n, k].tolist() for k in range(2)]
        assert words(axes) == [f"expert {'ab'[n]}"]

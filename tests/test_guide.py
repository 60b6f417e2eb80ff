"""The drawn guide has a box a question, an end a way, and a branch for every answer; wirings show what they are given."""

import torch

from minitransformer.course.diagrams import wirings
from minitransformer.course.guide import decision_tree, depth, leaves
from minitransformer.course.plots import STYLE, seeds_by_method, steps_over_numbers

TREE = ("first?", {"b": ("second?", {"c": "prompt there", "d": "nothing", "e": "full, then"}), "a": "LoRA here"})


def test_tree_has_every_question_answer_and_end():
    axes = decision_tree(TREE).axes[0]
    assert {text.get_text() for text in axes.texts} == {
        "first?", "second?", "a", "b", "c", "d", "e", "LoRA here", "prompt there", "nothing", "full, then",
    }  # fmt: skip
    assert (leaves(TREE), depth(TREE), len(axes.patches)) == (4, 2, 2)


def test_ends_stand_a_row_each_in_the_colour_of_their_method():
    axes = decision_tree(TREE).axes[0]
    ends = {text.get_text(): text for text in axes.texts}
    heights = [ends[end].get_position()[1] for end in ("prompt there", "nothing", "full, then", "LoRA here")]
    assert heights == [0.0, -1.0, -2.0, -3.0]
    assert ends["LoRA here"].get_color() == STYLE["lora"][0]
    assert ends["prompt there"].get_color() == STYLE["prompt"][0]


def test_a_branch_begins_where_the_box_of_its_question_ends():
    axes = decision_tree(TREE).axes[0]
    starts = [tuple(line.get_xydata()[0]) for line in axes.lines]
    for box in axes.patches:
        assert (box.get_x() + box.get_width(), box.get_y() + box.get_height() / 2) in starts


def test_wirings_are_drawn_as_they_are():
    P = torch.tensor([[0.0, -0.5], [0.25, 0.0], [0.0, 0.5]])
    image = wirings({"one": P, "two": P.T}).axes[0].images[0]
    assert image.get_array().tolist() == P.tolist()
    assert image.get_clim() == (-0.5, 0.5)


def test_marks_at_one_height_do_not_hide_each_other():
    points = {"learn": {"lora": (13_824, 1000), "dora": (15_552, 1000), "lst": (15_100, 1000), "full": (155_456, 500)}}
    axes = steps_over_numbers(points, {"learn": 10_000}).axes[0]
    places = sorted(line.get_xdata()[0] for line in axes.lines if line.get_ydata()[0] == 1000)
    assert len(places) == 3
    assert all(right >= 1.25 * left for left, right in zip(places[:-1], places[1:], strict=True))


def test_what_methods_are_held_against_is_drawn_with_its_own_spread():
    axes = seeds_by_method({"lora": [0.5, 0.7]}, ("shown", [0.8, 0.9, 1.0])).axes[0]
    assert any(list(line.get_xdata()) == [0.8, 0.9, 1.0] for line in axes.lines)
    assert any(set(line.get_xdata()) == {sum([0.8, 0.9, 1.0]) / 3} for line in axes.lines)

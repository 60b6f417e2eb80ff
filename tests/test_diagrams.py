"""The drawings: one for every method, and the committed files are those that the code draws."""

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from minitransformer.course.diagrams import (
    ADDED,
    FIGURES,
    MARKS,
    MEANING,
    block_diagram,
    every_method_diagram,
    mixing_desk,
    save_diagrams,
)
from minitransformer.course.plots import STYLE
from minitransformer.methods import METHODS


def test_every_method_has_its_mark_and_its_drawing():
    assert set(MARKS) == set(MEANING) == set(METHODS) - {"full"}
    drawn = [text.get_text() for text in every_method_diagram().axes[0].texts]
    for lesson, meaning in enumerate(MEANING.values(), start=2):  # the number of a mark is its lesson's
        assert meaning in drawn and str(lesson) in drawn
    assert "1" not in drawn
    assert set(ADDED) == set(METHODS) - {"full", "intrinsic"}  # a subspace has no place in the block


@pytest.mark.parametrize("method", ["full", *ADDED])
def test_a_method_is_drawn_with_what_it_trains(method):
    texts = [text.get_text() for text in block_diagram(method).axes[0].texts]
    plain = [text.get_text() for text in block_diagram().axes[0].texts]
    for name, *_ in ADDED.get(method, []):
        assert texts.count(name) > plain.count(name)


def test_every_weight_of_the_mixing_desk_hangs_on_the_slider_of_its_colour():
    axes = mixing_desk(sliders=3, weights=7).axes[0]
    ends = {line.get_xdata()[1]: line.get_color() for line in axes.lines if line.get_ydata()[0] != 2.0}
    squares = {patch.get_x() + 0.4: patch.get_facecolor() for patch in axes.patches if patch.get_y() == -0.3}
    assert len(ends) == 7 and ends.keys() == squares.keys()
    assert all(matplotlib.colors.to_rgba(ends[place]) == color for place, color in squares.items())


def contrast(color, ground):
    """Contrast of two colours as WCAG 2 defines it, 1 to 21."""

    def luminance(name):
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in matplotlib.colors.to_rgb(name)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    low, high = sorted((luminance(color), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("method", STYLE)
def test_colours_stand_out_on_white_and_on_dark(method):
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    assert min(contrast(STYLE[method][0], ground) for ground in ("#FFFFFF", "#1E1E1E")) >= 3


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="no drawing of 'lorra'"):
        block_diagram("lorra")


def test_committed_figures_are_up_to_date(tmp_path):
    save_diagrams(tmp_path)
    fresh = sorted(file.name for file in tmp_path.iterdir())
    assert fresh == sorted(file.name for file in FIGURES.glob("*.png"))
    for name in fresh:
        new, old = matplotlib.image.imread(tmp_path / name), matplotlib.image.imread(FIGURES / name)
        same_shape = np.allclose(new.shape, old.shape, atol=4)  # fonts are set a pixel apart on other machines
        assert same_shape, f"run `python -m minitransformer figures`: {name} has another shape"
        rows, columns = min(new.shape[0], old.shape[0]), min(new.shape[1], old.shape[1])
        assert np.abs(new[:rows, :columns] - old[:rows, :columns]).mean() < 0.02, (
            "run `python -m minitransformer figures`"
        )

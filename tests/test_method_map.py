"""The map of methods: everyone is on it, what it says of merging is so, and the page shows this table."""

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minitransformer.course.method_map import ENTRIES, PLACES, WAYS, map_figure, map_table, spot
from minitransformer.experiments.own import load_method
from minitransformer.methods import METHODS

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = sorted((DOCS.parent / "examples").glob("*.py"))


def test_every_method_and_every_example_is_on_the_map():
    assert list(ENTRIES) == [*METHODS, *[name for name in ENTRIES if name not in METHODS]]
    assert set(ENTRIES) == {*METHODS, *[file.stem for file in EXAMPLES]}
    for entry in ENTRIES.values():
        assert (DOCS / entry.page).exists()
        assert all(place in PLACES and way in WAYS for place, way in entry.cells)


@pytest.mark.parametrize("name", METHODS)
def test_what_the_map_says_of_merging_is_so(name):
    assert (ENTRIES[name].merged != "no") == METHODS[name].mergeable


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_the_map_says_of_merging_an_example_is_so(file):
    assert (ENTRIES[file.stem].merged != "no") == load_method(file).mergeable


def test_page_shows_the_table():
    assert map_table() in (DOCS / "extend.md").read_text(encoding="utf-8")


def test_picture_names_every_method_where_it_stands_and_no_two_overlap():
    axes = map_figure().axes[0]
    texts = [text for text in axes.texts if text.get_bbox_patch() is not None]
    drawn = [text.get_text() for text in texts]
    assert sorted(drawn) == sorted(entry.label for entry in ENTRIES.values() for _ in entry.cells)
    FigureCanvasAgg(axes.figure).draw()
    boxes = [text.get_bbox_patch().get_window_extent() for text in texts]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not [pair for pair in pairs if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("of", range(1, 10))
def test_names_in_a_cell_have_a_place_each(of):
    places = [spot(n, of) for n in range(of)]
    assert len(set(places)) == of
    assert all(0 < x < 1 and 0 < y < 1 for x, y in places)

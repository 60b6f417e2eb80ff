"""The lessons' tables: frames with colour in the cells, so that the eye finds the row that matters."""

from collections.abc import Callable, Mapping

import pandas as pd
from pandas.io.formats.style import Styler

BLACK_ABOVE = 0.18  # the luminance of a cell above which black letters stand out more than white ones (WCAG 2)


def score_frame(rows: Mapping[str, Mapping[str, float]], new: str | None = None, digits: int = 2) -> Styler:
    """Scores from 0 to 1 as a coloured table.

    Args:
        rows: label -> column -> score; what is missing stays empty.
        new: the row that the lesson has just added, set in bold.
        digits: behind the point.
    """
    frame = pd.DataFrame.from_dict(rows, orient="index")
    styled = frame.style.format(f"{{:.{digits}f}}", na_rep="")
    styled = styled.background_gradient(cmap="YlGn", vmin=0, vmax=1, text_color_threshold=BLACK_ABOVE)
    styled = styled.map(lambda score: "background-color: transparent" if pd.isna(score) else "")
    return styled.apply(lambda row: ["font-weight: bold" if row.name == new else ""] * len(row), axis=1)


def plain_frame(rows: Mapping[str, Mapping[str, object]], **formats: str) -> Styler:
    """Any figures as a table.

    Args:
        rows: label -> column -> figure.
        formats: column -> how to write it, as in "{:,}"; columns are named with their spaces as underscores.
    """
    frame = pd.DataFrame.from_dict(rows, orient="index")
    return frame.style.format({name.replace("_", " "): text for name, text in formats.items()}, na_rep="")


def winners_frame(
    rows: Mapping[str, Mapping[str, object]], best: Mapping[str, Callable], formats: Mapping[str, str]
) -> Styler:
    """Any figures as a table, the best of a column marked.

    Args:
        rows: label -> column -> figure.
        best: column -> min or max, whichever is better there; other columns have no winner.
        formats: column -> how to write it, as in "{:,}".
    """
    frame = pd.DataFrame.from_dict(rows, orient="index")
    mark = "background-color: #CDE7C9; color: black; font-weight: bold"
    styled = frame.style.format(formats, na_rep="")
    for column, better in best.items():
        winner = better(frame[column].dropna())
        styled = styled.map(lambda value, winner=winner: mark if value == winner else "", subset=[column])
    return styled

"""What a right answer in another style is."""

from typing import NamedTuple


class Right(NamedTuple):
    """An answer that is as right as the reference solution, as a change of it.

    Args:
        task: the grade_id of the answer cell.
        style: what is different, in a few words.
        old: a piece of the reference solution that occurs in it exactly once; None: the whole answer cell.
        new: what stands in its place.
    """

    task: str
    style: str
    old: str | None
    new: str

"""What a planted wrong answer is."""

from typing import NamedTuple


class Wrong(NamedTuple):
    """A mistake that students make, as a change of the reference solution.

    Args:
        task: the grade_id of the answer cell.
        mistake: what went wrong, in a few words.
        old: a piece of the reference solution that occurs in it exactly once; None: the whole answer cell.
        new: what the student wrote in its place.
        message: a piece of the message that the check must give.
    """

    task: str
    mistake: str
    old: str | None
    new: str
    message: str

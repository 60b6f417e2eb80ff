"""Late days, by a rule that a file holds.

a_day = 0.1      # the share of the points that each day begun costs
at_most = 3      # days; what comes later earns nothing
free = 2         # days that cost nothing, for each student over all assignments, the earliest deadline first

[due]
06_lora = 2027-03-01T23:59:00

[more]           # free days more, for a student
ada = 3
"""

import datetime
import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from assignments import GradingError
from marking import Result

DAY = 24 * 3600


@dataclass(frozen=True)
class Rule:
    """What late days cost. See the top of this file.

    Args:
        due: the moment, in seconds since 1970, by assignment.
        a_day: the share of the points that each day begun costs.
        at_most: days; what comes later earns nothing.
        free: days that cost nothing.
        more: free days more, by student.
    """

    due: dict[str, float]
    a_day: float = 0.0
    at_most: float = math.inf
    free: int = 0
    more: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Late:
    """How late a submission was, and what it costs.

    Args:
        days: begun after the deadline.
        share: of the points that is left.
        line: the same in words.
    """

    days: int = 0
    share: float = 1.0
    line: str = ""


def read_rule(file: Path) -> Rule:
    """Read a rule.

    Raises:
        GradingError: the file is not one.
    """
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        due = {name: moment.timestamp() for name, moment in data.pop("due").items()}
        rule = Rule(due, **data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GradingError(f"--late {file} holds no rule on late days ({error!r}); grading/late.py shows one") from None
    if not 0 <= rule.a_day <= 1:
        raise GradingError(f"--late {file}: a_day is {rule.a_day}; it is a share, from 0 to 1")
    return rule


def lateness(results: dict[tuple[str, str], Result], rule: Rule) -> dict[tuple[str, str], Late]:
    """How late each submission was; free days go to the earliest deadlines."""
    found: dict[tuple[str, str], Late] = {}
    left = {student: rule.free + rule.more.get(student, 0) for student, _ in results}
    for key in sorted(results, key=lambda key: rule.due.get(key[1], math.inf)):
        student, assignment = key
        result = results[key]
        if assignment not in rule.due or not result.handed_in or not result.time:
            continue
        days = math.ceil((result.time - rule.due[assignment]) / DAY)
        if days <= 0:
            continue
        free = min(days, left[student])
        left[student] -= free
        charged = days - free
        share = max(0.0, 1 - rule.a_day * charged) if charged <= rule.at_most else 0.0
        begun = f"{days} day{'s' if days > 1 else ''} late"
        when = datetime.datetime.fromtimestamp(rule.due[assignment]).strftime("%d %B %Y, %H:%M")
        freed = f", {free} free" if free else ""
        cost = f": {100 * (1 - share):g} % off" if share < 1 else ""
        found[key] = Late(days, share, f"{begun} (due {when}){freed}{cost}")
    return found

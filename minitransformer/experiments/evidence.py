"""The rules of evidence: when a run is finished, what it reached and how fast, and what two groups of runs prove.

A run whose loss still falls says nothing of a limit. Scores at the ceiling or the floor say nothing of an order. The
functions here are the only place where that is decided; tables, plots and verdicts ask them.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

SOLVED = 0.99  # a run may stop at this score
REACHED = 0.95  # the score that "steps to" and "smallest size" ask for
FLOOR = 0.05  # below this a score is at the floor
CEILING = 0.95  # above this it is at the ceiling
STILL_FALLS = 0.01  # part of the loss that the second half of a run may take off a finished run
NO_LOSS = 0.005  # nats a target; less than this is nothing to lose any more

Evaluation = Mapping[str, float]  # what a run measured after a number of steps: step, loss, score, ...


def state(evaluations: Sequence[Evaluation]) -> str:
    """Whether a run is "solved", "finished", "unfinished" or "diverged", by its measurements in the order of steps.

    Solved: the score has reached SOLVED. Diverged: the loss is no longer a number. Finished: from half of the steps to
    all of them the loss has fallen by no more than a hundredth of itself, or there is next to none left. Each loss is
    that of a run of its own with a decay at its end (see `train`), so what the decay takes off is in both. Without a
    measurement at about half of the steps nothing is known, and the run is unfinished.
    """
    last = evaluations[-1]
    if not math.isfinite(last["loss"]):
        return "diverged"
    if last["score"] >= SOLVED and last.get("metric", "accuracy") == "accuracy":
        return "solved"
    before = [found for found in evaluations if 0.2 * last["step"] <= found["step"] <= 0.6 * last["step"]]
    if not before:
        return "unfinished"
    fallen = before[-1]["loss"] - last["loss"]
    return "unfinished" if fallen > max(STILL_FALLS * before[-1]["loss"], NO_LOSS) else "finished"


def steps_to(evaluations: Sequence[Evaluation], score: float = REACHED) -> float:
    """The fewest steps after which a run of that length was measured to reach the score; infinity if none did."""
    return min((found["step"] for found in evaluations if found["score"] >= score), default=math.inf)


def reach(evaluations: Sequence[Evaluation], lower_is_better: bool = False) -> float:
    """The best score that a run was measured at."""
    scores = [found["score"] for found in evaluations]
    return min(scores) if lower_is_better else max(scores)


def at_step(evaluations: Sequence[Evaluation], step: int) -> Evaluation | None:
    """The measurement at a number of steps; of a run that stopped before, solved, its last; None if there is none."""
    for found in evaluations:
        if found["step"] == step:
            return found
    return evaluations[-1] if evaluations[-1]["step"] < step and state(evaluations) == "solved" else None


def interval(values: Sequence[float], level: float = 0.95, draws: int = 10_000) -> tuple[float, float]:
    """A bootstrap interval of the mean: seeds drawn anew with replacement (Efron 1979), the middle part of the means.

    Args:
        values: one a seed.
        level: the part of the means that lies inside.
        draws: how often the seeds are drawn.

    Raises:
        ValueError: there are fewer than two values, which have no spread.
    """
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least two of them, not {len(values)}")
    generator = np.random.default_rng(0)
    means = generator.choice(np.asarray(values, dtype=float), (draws, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def verdict(
    claimed: Sequence[float],
    other: Sequence[float],
    states: Sequence[str] = (),
    margin: float = 0.0,
    room: tuple[float, float] | None = (FLOOR, CEILING),
) -> str:
    """What runs say of the claim that one group scores more than another.

    Args:
        claimed: scores of the group that is said to be better, one a seed; more is better.
        other: scores of the other group.
        states: of all runs, where the claim speaks of a limit (see `state`); leave out where it speaks of a budget.
        margin: by how much it is said to be better.
        room: scores that count as the floor and the ceiling; None where the scale has neither (bits, steps).

    Returns:
        "no room": both groups stand at the ceiling, or both at the floor.
        "undecided": a run is unfinished, there are fewer than five seeds a group, or the intervals overlap.
        "holds here": the claimed group is better, by the margin, and the intervals over seeds lie apart.
        "does not hold": the other group is better, and the intervals lie apart.
    """
    if room is not None:
        low, high = room
        means = statistics.mean(claimed), statistics.mean(other)
        if min(means) >= high or max(means) <= low:
            return "no room"
    if any(found in ("unfinished", "diverged") for found in states) or min(len(claimed), len(other)) < 5:
        return "undecided"
    ours, theirs = interval(claimed), interval(other)
    if ours[0] > theirs[1] + margin:
        return "holds here"
    return "does not hold" if theirs[0] > ours[1] else "undecided"


def reaches(values: Sequence[float], score: float, states: Sequence[str] = ()) -> str:
    """What runs say of the claim that a score is reached.

    Args:
        values: what was measured, one a seed; more is better.
        score: what is said to be reached.
        states: of the runs, where the claim speaks of a limit; leave out where it speaks of a budget.

    Returns:
        "holds here": the interval over seeds lies at the score or above.
        "does not hold": it lies below, and, where states are given, no run is unfinished.
        "undecided": else, and with fewer than five seeds.
    """
    if len(values) < 5:
        return "undecided"
    low, high = interval(values)
    if low >= score:
        return "holds here"
    still = any(found in ("unfinished", "diverged") for found in states)
    return "undecided" if high >= score or still else "does not hold"


def together(verdicts: Sequence[str], some: bool = False) -> str:
    """The verdict of a claim that rests on several comparisons.

    Comparisons without room say nothing and are left out.

    Args:
        verdicts: one a comparison.
        some: the claim is that it is so at least once; else that it is always so.

    Returns:
        "no room": no comparison has any. "undecided": what is decided does not settle the claim.
        With `some`: "holds here" if one comparison holds, "does not hold" if none does.
        Else: "holds here" if all hold, "does not hold" if none does, "depends" if some do and some do not.
    """
    told = [verdict for verdict in verdicts if verdict != "no room"]
    holds, fails = told.count("holds here"), told.count("does not hold")
    if not told:
        return "no room"
    if some and holds:
        return "holds here"
    if holds and fails:
        return "depends"
    if len(told) > holds + fails:
        return "undecided"
    return "holds here" if holds else "does not hold"

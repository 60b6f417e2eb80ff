"""Comparisons of recorded runs: what a claim puts side by side, and what the rules of evidence make of it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minitransformer.experiments import evidence, records
from minitransformer.experiments.runs import find_task

Arm = str | Mapping[str, object]  # a method with its defaults, or {"method": "lora", "rank": 8, ...}


@dataclass(frozen=True)
class Comparison:
    """One arm beside another, or beside a score that it is said to reach.

    Args:
        record: a recorded study.
        task: its task.
        better: the arm that is said to score more (on text: fewer bits), or to reach a score.
        than: the other arm, or the score.
        step: after how many training steps.
        measure: "score", or "kept": the most that is kept of the old skills at any rate and number of steps, up to
            `step`, at which the score is at least REACHED.
        limit: whether the claim speaks of what can be reached at all, and not of this number of steps.
        base: the pretrained model; None is the task's own.
    """

    record: str
    task: str
    better: Arm
    than: Arm | float
    step: int
    measure: str = "score"
    limit: bool = False
    base: str | None = None

    @property
    def where(self) -> str:
        """What is measured, and when, in words."""
        base = f" on {self.base}" if self.base else ""
        if self.measure == "kept":
            return f"kept{base} at a score of {evidence.REACHED} on {self.task}"
        return f"{self.task}{base} at {self.step:,} steps"


def named(arm: Arm) -> str:
    """An arm in words: "lora", "lora rank 8 alpha 8"."""
    if isinstance(arm, str):
        return arm
    settings = {
        name: " and ".join(value) if isinstance(value, list) else value
        for name, value in arm.items()
        if name != "method"
    }
    return " ".join([arm["method"], *(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())])


def values(comparison: Comparison, arm: Arm) -> tuple[list[float], list[str]]:
    """What an arm was measured at, one number a seed, and the states of its runs.

    Raises:
        ValueError: the arm is not recorded, not at that step, or it never reached the score at which to compare.
    """
    it = comparison
    settings = dict(arm) if isinstance(arm, Mapping) else {"method": arm}
    rows = records.arm(it.record, it.task, settings.pop("method"), it.base, **settings)
    rows = [row for row in rows if row["step"] <= it.step]
    point = None
    if rows:
        point = records.best_kept(rows) if it.measure == "kept" else records.over_steps(rows)[-1]
    if point is None or (point["step"] < it.step and it.measure == "score" and set(point["states"]) != {"solved"}):
        raise ValueError(f"{it.record} has no {named(arm)}, {it.where}")
    return point["kept_by_seed" if it.measure == "kept" else "scores"], point["states"]


def decide(comparison: Comparison) -> str:
    """The verdict of one comparison, by the rules of evidence (see `evidence.verdict` and `evidence.reaches`).

    Raises:
        ValueError: an arm is not recorded at that step.
    """
    it = comparison
    claimed, states = values(it, it.better)
    if isinstance(it.than, int | float):
        return evidence.reaches(claimed, it.than, states if it.limit else ())
    other, more = values(it, it.than)
    room: tuple[float, float] | None = (evidence.FLOOR, evidence.CEILING)
    if find_task(it.task).metric != "accuracy" and it.measure == "score":  # bits: fewer are better, and no end of them
        claimed, other, room = [-bits for bits in claimed], [-bits for bits in other], None
    return evidence.verdict(claimed, other, states + more if it.limit else (), room=room)


def figures(comparisons: Sequence[Comparison]) -> str:
    """The numbers that decide, in words: for each measurement, each arm's mean with its lowest and highest seed."""
    told: dict[str, dict[str, str]] = {}
    for it in comparisons:
        arms = [it.better] if isinstance(it.than, int | float) else [it.better, it.than]
        for arm in arms:
            found, states = values(it, arm)
            arrow = "↗" if it.measure == "score" and "unfinished" in states and statistics.mean(found) < 0.95 else ""
            text = f"{named(arm)} {statistics.mean(found):.2f}{arrow} ({min(found):.2f} to {max(found):.2f})"
            told.setdefault(it.where, {})[named(arm)] = text
    return "; ".join(f"{where}: {', '.join(arms.values())}" for where, arms in told.items())

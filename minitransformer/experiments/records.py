"""Reading the recorded studies: scores over steps with the rate that is best for each budget, and what is kept."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from minitransformer.experiments.evidence import REACHED
from minitransformer.experiments.runs import Run, find_task, whole_settings
from minitransformer.experiments.tables import number_rows, read_csv

RECORDED = Path(__file__).parents[1] / "recorded"


@cache
def record(name: str) -> list[dict]:
    """The rows of a recorded study, numbers as numbers; none if it is not there."""
    file = RECORDED / f"{name}.csv"
    return number_rows(read_csv(file)) if file.exists() else []


def runs_of(rows: Sequence[Mapping]) -> dict[tuple, list[Mapping]]:
    """Gather the measurements of each run, in the order of steps: (rate, seed) -> rows."""
    runs: dict[tuple, list[Mapping]] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        runs.setdefault((row["rate"], row["seed"]), []).append(row)
    return runs


def measured(run: Sequence[Mapping], step: int) -> Mapping | None:
    """The measurement of a run at a step; of one that had solved its task before, the last; else None."""
    for row in run:
        if row["step"] == step:
            return row
    return run[-1] if run[-1]["step"] < step and run[-1]["finished"] == "solved" else None


def budgets(rows: Sequence[Mapping]) -> list[int]:
    """The numbers of steps that were measured, but for those at which a run diverged."""
    return sorted({row["step"] for row in rows if row["finished"] != "diverged"})


def rates_at(rows: Sequence[Mapping], step: int) -> dict[float, list[Mapping]]:
    """The measurements at a step, by rate: one a seed."""
    at: dict[float, list[Mapping]] = {}
    for (rate, _), run in runs_of(rows).items():
        found = measured(run, step)
        if found is not None:
            at.setdefault(rate, []).append(found)
    return at


def best_rate(rows: Sequence[Mapping], step: int) -> tuple[float, list[Mapping]]:
    """The rate with the best mean score after so many steps, and the measurements of its seeds there.

    Among rates only those with the most seeds count: the search tried the others with two. Ties go to the lower loss.

    Args:
        rows: of one arm: a task, base, method and settings.
        step: the budget.
    """
    sign = -1 if find_task(rows[0]["task"]).metric != "accuracy" else 1
    at = rates_at(rows, step)
    most = max(len(found) for found in at.values())
    whole = {rate: found for rate, found in at.items() if len(found) == most}

    def quality(rate: float) -> tuple[float, float]:
        scores = statistics.mean(row["score"] for row in whole[rate])
        return sign * scores, -statistics.mean(row["loss"] for row in whole[rate])

    rate = max(whole, key=quality)
    return rate, whole[rate]


def over_steps(rows: Sequence[Mapping]) -> list[dict]:
    """An arm's scores over budgets, each at the rate that is best for it.

    Returns:
        A row a budget: step, rate, scores (a list, one a seed), score (their mean), loss, kept, states.
    """
    line = []
    for step in budgets(rows):
        rate, found = best_rate(rows, step)
        line.append(
            {
                "step": step,
                "rate": rate,
                "scores": [row["score"] for row in found],
                "score": statistics.mean(row["score"] for row in found),
                "loss": statistics.mean(row["loss"] for row in found),
                "kept": statistics.mean(row["kept"] for row in found),
                "states": [row["finished"] for row in found],
                "trained": found[0]["trained"],
            }
        )
    return line


def arm(name: str, task: str, method: str, base: str | None = None, **settings: object) -> list[dict]:
    """The rows of one arm of a recorded study; none if it is not there.

    Args:
        name: of the study.
        task: its task.
        method: a method or variant.
        base: None: the task's own.
        settings: of the method; the defaults where left out.
    """
    base = base or find_task(task).base
    wanted = json.dumps(whole_settings(method, settings))
    rows = [row for row in record(name) if (row["task"], row["method"], row["base"]) == (task, method, base)]
    return [row for row in rows if json.dumps(whole_settings(method, json.loads(row["settings"]))) == wanted]


def steps_to_reach(rows: Sequence[Mapping], score: float = REACHED) -> float:
    """The smallest budget at which an arm's mean score reaches this, at the best rate for it; infinity if none does."""
    return min((point["step"] for point in over_steps(rows) if point["score"] >= score), default=math.inf)


def best_kept(rows: Sequence[Mapping], score: float = REACHED) -> dict | None:
    """The rate and budget at which an arm kept most, of those at which its mean score reached this; None if none did.

    Only rates that were run with the most seeds count.

    Returns:
        A row: step, rate, score, kept, kept_by_seed (a list), states.
    """
    points = []
    for step in budgets(rows):
        at = rates_at(rows, step)
        most = max(map(len, at.values()))
        for rate, found in at.items():
            mean = statistics.mean(row["score"] for row in found)
            if len(found) == most and mean >= score:
                kept = [row["kept"] for row in found]
                point = {"step": step, "rate": rate, "score": mean, "kept": statistics.mean(kept)}
                points.append({**point, "kept_by_seed": kept, "states": [row["finished"] for row in found]})
    return max(points, key=lambda point: point["kept"], default=None)


def most_kept(rows: Sequence[Mapping], score: float = REACHED) -> float:
    """The most that an arm kept at any rate and budget at which its mean score reached this; NaN if it never did."""
    point = best_kept(rows, score)
    return point["kept"] if point else math.nan


def long_run(run: Run) -> dict | None:
    """The recorded result at ten times the budget of what a run does: score and state; None if it was not recorded."""
    if run.corpus is not None or run.method not in {row["method"] for row in record("steps")}:
        return None
    rows = arm("steps", run.task, run.method, run.base, **json.loads(run.settings))
    if not rows:
        return None
    last = over_steps(rows)[-1]
    return {"score": last["score"], "state": "unfinished" if "unfinished" in last["states"] else "finished"}


def ladder_table(methods: Sequence[str], tasks: Sequence[str]) -> str:
    """The recorded ladder as a Markdown table: steps to REACHED, and the score at ten times the budget.

    Every figure is the mean over seeds at the rate that is best for that budget. "↗" marks a run that was still learning
    at the end; an arm that is not recorded with all its seeds yet has no entry.
    """
    head = "".join(f" {task}: steps to {REACHED} | at {10 * find_task(task).steps:,} |" for task in tasks)
    lines = [f"| method | trained |{head}", "|---|---|" + "---|---|" * len(tasks)]
    for method in methods:
        cells, trained = [], ""
        for task in tasks:
            rows = arm("steps", task, method)
            line = over_steps(rows) if rows else []
            if not line or len(line[-1]["scores"]) < 5:
                cells += ["", ""]
                continue
            trained, steps = f"{line[0]['trained']:,}", steps_to_reach(rows)
            learning = "↗" if "unfinished" in line[-1]["states"] else ""
            cells += ["not reached" if steps == math.inf else f"{steps:,}", f"{line[-1]['score']:.2f}{learning}"]
        lines.append(f"| {method} | {trained} | {' | '.join(cells)} |")
    return "\n".join(lines)

"""The comparison: every method on every rung, with the same base, the same budget and the same measurements."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from minitransformer import __version__
from minitransformer.experiments.evidence import REACHED, reach, state, steps_to
from minitransformer.experiments.records import arm, long_run, over_steps, steps_to_reach
from minitransformer.experiments.runs import (
    Results,
    Run,
    carry_out,
    executor_of,
    find_method,
    label,
    measure_costs,
    plan,
    score_base,
)
from minitransformer.experiments.tables import number_rows, read_csv, table, to_csv  # noqa: F401 (lessons ask here)
from minitransformer.files import check_writable, write_text
from minitransformer.methods import METHODS

LEARNING = "↗"  # behind a score whose run was still learning when it ended
LEGEND = {
    "accuracy": (
        f"score: exact match on held-out questions, more is better; {LEARNING}: still learning\n"
        f"in: steps to {REACHED}; kept: of the base's skills then; 10x: at ten times the steps"
    ),
    "bits per character": (
        f"bits per character, less is better; the old text with the method attached\n{LEARNING}: still learning"
    ),
}


def compare(
    tasks: list[str],
    methods: list[str],
    seeds: int,
    out: Path,
    device: str | None = None,
    base: str | None = None,
    corpus: str | None = None,
    jobs: int = 1,
    again: bool = False,
) -> list[dict]:
    """Run the comparison and write compare.csv into `out`; rows of other methods and tasks that are there stay.

    Every run is noted in compare.runs.jsonl as soon as it is finished. What stands there is not run again, unless asked for.

    Args:
        tasks: names of tasks.
        methods: names of methods, or Python files that make one.
        seeds: runs of each pair.
        out: folder of the results.
        device: cuda, mps or cpu; None: the best one here.
        base: adapt this base instead of the tasks' own.
        corpus: a text file for the task `corpus`.
        jobs: runs at the same time, each in a process with one thread.
        again: repeat what is finished.

    Returns:
        A row a method and task.

    Raises:
        ValueError: something that was asked for is unknown or unusable (see `plan` and `check_writable`).
    """
    runs = plan(tasks, methods, seeds, device, base, corpus)
    check_writable(out)
    file = out / "compare.runs.jsonl"
    notes = read_notes(file)
    if again:
        notes = {run: noted for run, noted in notes.items() if run not in runs}
    write_text(file, "".join(note(run, noted) for run, noted in notes.items()))  # without a line that a kill cut off
    missing = [run for run in runs if run not in notes]
    if not missing:
        print(f"finished before: these runs stand in {file}; repeat them with --again")
    with executor_of(min(jobs, max(1, len(missing)))) as executor, file.open("a", encoding="utf-8") as notebook:

        def keep(run: Run, result: dict) -> None:
            notebook.write(note(run, result))
            notebook.flush()

        carry_out(lambda known: [run for run in runs if run not in known], notes, keep, executor, jobs)
    bases = {run.task: score_base(run) for run in runs if run.seed == 0}
    rows = [
        summarize(pair, notes, bases[pair[0].task])
        for pair in tqdm(by_pair(runs), desc="measuring times and memory", leave=False)
    ]
    csv_file = out / "compare.csv"
    new = {key(row) for row in rows}
    others = [row for row in number_rows(read_csv(csv_file)) if key(row) not in new] if csv_file.exists() else []
    write_text(csv_file, to_csv([*rows, *others]))
    if others:
        print(f"{len(others)} rows of other methods and tasks in {csv_file} stay as they were")
    return rows


def key(row: Mapping) -> tuple:
    """What tells a row of the table from others."""
    return row["task"], row["method"], row["base"]


def note(run: Run, result: dict) -> str:
    """The line that a finished run gets in the file."""
    return json.dumps({"version": __version__, "run": asdict(run), "result": result}) + "\n"


def read_notes(file: Path) -> Results:
    """The runs that are noted in a file by this version of the course; a line cut off by a kill is passed over."""
    results: Results = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            record = json.loads(line)
            if record["version"] == __version__:
                results[Run(**record["run"])] = record["result"]
        except (ValueError, TypeError, KeyError):
            continue
    return results


def by_pair(runs: Sequence[Run]) -> list[list[Run]]:
    """Gather the runs of all seeds of each task and method, in the order of the course."""
    pairs: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.steps, run.seed)):
        pairs.setdefault((run.task, run.method), []).append(run)
    return list(pairs.values())


def summarize(runs: Sequence[Run], results: Results, base: Mapping[str, float]) -> dict:
    """One row from all seeds of a task and method, beside the scores of the base.

    Costs are measured here, after all training, on a quiet machine.
    """
    found = [results[run]["evaluations"] for run in runs]
    metric, run = results[runs[0]]["metric"], runs[0]
    states = [state([{**one, "metric": metric} for one in evaluations]) for evaluations in found]
    scores = [evaluations[-1]["score"] for evaluations in found]
    reached = [steps_to(evaluations) for evaluations in found] if metric == "accuracy" else []
    kept_then = [
        next(one["kept"] for one in evaluations if one["step"] == step)
        for evaluations, step in zip(found, reached, strict=False)
        if step < math.inf
    ]
    costs, long = measure_costs(run), long_run(run)
    return {
        "task": run.task,
        "method": label(run.method),
        "base": run.base,
        "trained": results[run]["trained"],
        "percent": 100 * results[run]["trained"] / results[run]["total"],
        "metric": metric,
        "steps": run.steps,
        "rate": run.learning_rate,
        "seeds": len(runs),
        "score": statistics.mean(scores),
        "score_min": min(scores),
        "score_max": max(scores),
        "score_base": base["score_base"],
        "per_symbol": statistics.mean(evaluations[-1].get("per_symbol", math.nan) for evaluations in found),
        "bits": statistics.mean(evaluations[-1].get("bits", math.inf) for evaluations in found),
        "state": next((one for one in ("diverged", "unfinished", "finished") if one in states), "solved"),
        "steps_to_reach": statistics.median(reached) if reached else math.inf,
        "kept": statistics.mean(evaluations[-1]["kept"] for evaluations in found),
        "kept_at_reach": statistics.mean(kept_then) if kept_then and len(kept_then) == len(found) else math.nan,
        "kept_base": base["kept_base"],
        "best": (min if metric != "accuracy" else max)(reach(one, metric != "accuracy") for one in found),
        "long_score": math.nan if long is None else long["score"],
        "long_state": "" if long is None else long["state"],
        "step_ms": costs["step_ms"],
        "latency": costs["latency"],
        "megabytes_for_backward": costs["bytes_for_backward"] / 1e6,
        "mergeable": "yes" if find_method(run.method).mergeable else "no",
    }


def among_recorded(rows: Sequence[Mapping]) -> list[dict]:
    """The rows of new methods, each task's behind those of the recorded ladder after as many steps.

    What is recorded has five seeds, at the rate that is best for that budget; a row of `compare` has the method's own rate.
    """
    placed: list[dict] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [dict(row) for row in rows if row["task"] == task]
        for method in METHODS:
            line = over_steps(recorded) if (recorded := arm("steps", task, method, mine[0]["base"])) else []
            now = next((point for point in line if point["step"] == mine[0]["steps"]), None)
            if now is None:
                continue
            first = steps_to_reach(recorded)
            placed.append(
                {
                    **{name: mine[0][name] for name in ("task", "base", "metric", "steps", "score_base")},
                    **{"method": method, "trained": int(now["trained"]), "score": now["score"]},
                    "score_min": min(now["scores"]),
                    "score_max": max(now["scores"]),
                    "state": "unfinished" if "unfinished" in now["states"] else "finished",
                    "steps_to_reach": first,
                    "kept_at_reach": next((point["kept"] for point in line if point["step"] == first), math.nan),
                    "long_score": line[-1]["score"],
                    "long_state": "unfinished" if "unfinished" in line[-1]["states"] else "finished",
                }
            )
        placed += mine
    return placed


# ---- the printed table ----------------------------------------------------------------------------------------------------


def show(rows: Sequence[Mapping], console: Console | None = None) -> None:
    """Print rows as tables, methods down and tasks across; coloured where there is a terminal that can.

    Args:
        rows: what `compare` returns.
        console: where to print; None: the terminal, or plain text where output is piped.
    """
    console = console or Console(highlight=False)
    for metric in dict.fromkeys(row["metric"] for row in rows):
        mine = [row for row in rows if row["metric"] == metric]
        console.print(score_table(mine) if metric == "accuracy" else bits_table(mine))
        console.print(LEGEND[metric], soft_wrap=False)


def cell(row: Mapping) -> str:
    """Score, steps to REACHED, what is kept then, and the recorded long run: four figures, aligned."""
    color = "green" if row["score"] >= REACHED else "yellow" if row["state"] == "unfinished" else "red"
    steps = "-" if row["steps_to_reach"] == math.inf else f"{row['steps_to_reach']:.0f}"
    kept = "-" if math.isnan(row["kept_at_reach"]) else f"{row['kept_at_reach']:.2f}"
    long = "-" if math.isnan(row["long_score"]) else f"{row['long_score']:.2f}"
    more = LEARNING if row["state"] == "unfinished" else " "
    further = LEARNING if row["long_state"] == "unfinished" else " "
    return f"[{color}]{row['score']:.2f}{more}[/]{steps:>4} {kept:>4} {long:>4}{further}"


def score_table(rows: Sequence[Mapping]) -> Table:
    """Accuracies: a row a method, a column a task."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    shown = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("\nmethod", no_wrap=True)
    shown.add_column("\ntrained", justify="right", no_wrap=True)
    for task in tasks:
        steps = max(row["steps"] for row in rows if row["task"] == task)
        shown.add_column(f"{task}, {steps} steps\nscore  in kept  10x", no_wrap=True)
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = {row["task"]: row for row in rows if row["method"] == method}
        trained = next(iter(mine.values()))["trained"]
        shown.add_row(method, f"{trained:,}", *(cell(mine[task]) if task in mine else "" for task in tasks))
    return shown


def bits_table(rows: Sequence[Mapping]) -> Table:
    """Bits per character on a new text and on the old one: a row a method."""
    shown = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("task", "method", "trained", "new text", "of", "old text", "of"):
        shown.add_column(name, justify="left" if name in ("task", "method") else "right")
    for row in rows:
        more = LEARNING if row["state"] == "unfinished" else ""
        figures = (row["score"], row["score_base"], row["kept"], row["kept_base"])
        new, base, old, old_base = (f"{figure:.3f}" for figure in figures)
        shown.add_row(row["task"], row["method"], f"{row['trained']:,}", new + more, base, old, old_base)
    return shown

"""The comparison: every method on every rung, with the same base, the same budget and the same measurements."""

import csv
import io
import json
import statistics
from pathlib import Path

from minitransformer.experiments.runs import Run, execute, forget, measure_costs, plan, score_base
from minitransformer.files import check_writable, write_text
from minitransformer.methods import METHODS

COLUMNS = {  # name in the files -> heading and format in the printed table
    "task": ("task", "{}"),
    "method": ("method", "{}"),
    "trained": ("trained", "{:,}"),
    "percent": ("% of model", "{:.2f}"),
    "score": ("score", "{:.2f}"),
    "score_min": ("min", "{:.2f}"),
    "score_max": ("max", "{:.2f}"),
    "score_base": ("base", "{:.2f}"),
    "kept": ("kept", "{:.2f}"),
    "kept_min": ("min", "{:.2f}"),
    "kept_max": ("max", "{:.2f}"),
    "kept_base": ("of", "{:.2f}"),
    "step_ms": ("ms/step", "{:.1f}"),
    "latency": ("latency", "{:.2f}x"),
    "megabytes_for_backward": ("MB kept", "{:.2f}"),
    "mergeable": ("mergeable", "{}"),
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
) -> list[dict]:
    """Run the comparison, print its table, and write compare.csv and compare.json into `out`.

    Returns:
        A row a method and task, with the keys of COLUMNS.

    Raises:
        ValueError: something that was asked for is unknown or unusable (see `plan` and `check_writable`).
    """
    runs = plan(tasks, methods, seeds, device, base, corpus)
    check_writable(out)
    unfinished = out / "compare.unfinished.jsonl"
    results = execute(runs, unfinished, jobs)
    first = {run.task: run for run, _ in reversed(results)}
    bases = {task: score_base(run) for task, run in first.items()}
    rows = [summarize(pair, bases[pair[0][0].task]) for pair in by_pair(results, tasks, methods)]
    print(table(rows))
    write_text(out / "compare.csv", to_csv(rows))
    write_text(
        out / "compare.json", json.dumps({"device": runs[0].device, "seeds": seeds, "rows": rows}, indent=1) + "\n"
    )
    forget(unfinished, runs)
    return rows


def by_pair(results: list[tuple[Run, dict]], tasks: list[str], methods: list[str]) -> list[list[tuple[Run, dict]]]:
    """Gather the runs of all seeds of each task and method."""
    pairs = [(task, method) for task in dict.fromkeys(tasks) for method in dict.fromkeys(methods)]
    return [[done for done in results if (done[0].task, done[0].method) == pair] for pair in pairs]


def summarize(results: list[tuple[Run, dict]], base: dict) -> dict:
    """One row from all seeds of a task and method, beside the scores of the base.

    Costs are measured here, after all training, on a quiet machine.
    """
    run, first = results[0]
    scores = [result["score"] for _, result in results]
    kept = [result["kept"] for _, result in results]
    costs = measure_costs(run)
    return {
        "task": run.task,
        "method": run.method,
        "trained": first["trained"],
        "percent": 100 * first["trained"] / first["total"],
        "score": statistics.mean(scores),
        "score_min": min(scores),
        "score_max": max(scores),
        "score_base": base["score_base"],
        "kept": statistics.mean(kept),
        "kept_min": min(kept),
        "kept_max": max(kept),
        "kept_base": base["kept_base"],
        "step_ms": costs["step_ms"],
        "latency": costs["latency"],
        "megabytes_for_backward": costs["bytes_for_backward"] / 1e6,
        "mergeable": "yes" if METHODS[run.method].mergeable else "no",
        "metric": first["metric"],
    }


def table(rows: list[dict], columns: tuple[str, ...] = tuple(COLUMNS)) -> str:
    """Write rows as a table of plain text."""
    cells = [[COLUMNS[name][0] for name in columns]]
    cells += [[COLUMNS[name][1].format(row[name]) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def to_csv(rows: list[dict]) -> str:
    """Write rows as CSV, measurements with four decimals; a learning rate may be smaller than that."""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {
            key: round(value, 4) if isinstance(value, float) and key != "learning_rate" else value
            for key, value in row.items()
        }
        for row in rows
    )
    return out.getvalue()

"""The learning-rate search: each method gets the same rates and the same budget, so that none is tuned more."""

import statistics
from pathlib import Path

from minitransformer.compare import to_csv
from minitransformer.files import check_writable, write_text
from minitransformer.runs import Run, execute, forget, plan

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)


def search(
    tasks: list[str],
    methods: list[str],
    rates: list[float] | None,
    seeds: int,
    out: Path,
    device: str | None = None,
    base: str | None = None,
    jobs: int = 1,
) -> list[dict]:
    """Train every method on every task at every rate, print the scores, and write learning_rates.csv into `out`.

    Returns:
        A row a method, task and rate: task, method, learning_rate, score (mean over the seeds), final_loss.

    Raises:
        ValueError: something that was asked for is unknown or unusable.
    """
    runs = plan(tasks, methods, seeds, device, base, rates=list(rates or RATES))
    check_writable(out)
    unfinished = out / "learning_rates.unfinished.jsonl"
    rows = summarize(execute(runs, unfinished, jobs))
    for row in rows:
        print(
            "{method:>10}  {task:>8}  rate {learning_rate:<7g}  score {score:.3f}  loss {final_loss:.3f}".format(**row)
        )
    write_text(out / "learning_rates.csv", to_csv(rows))
    forget(unfinished, runs)
    return rows


def summarize(results: list[tuple[Run, dict]]) -> list[dict]:
    """Gather the seeds of each method, task and rate into a row."""
    groups: dict[tuple, list[dict]] = {}
    for run, result in results:
        groups.setdefault((run.method, run.task, run.learning_rate), []).append(result)
    return [
        {
            "method": method,
            "task": task,
            "learning_rate": rate,
            "score": statistics.mean(result["score"] for result in group),
            "final_loss": statistics.mean(result["final_loss"] for result in group),
        }
        for (method, task, rate), group in sorted(groups.items())
    ]

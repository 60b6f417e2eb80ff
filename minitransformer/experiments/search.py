"""Learning-rate searches and sweeps over settings, each point with the same budget, so that none is tuned more."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minitransformer.experiments.compare import to_csv
from minitransformer.experiments.runs import Run, describe, execute, forget, plan
from minitransformer.files import check_writable, write_text
from minitransformer.train import choose_device

# Four rates for each method, half a decade apart. Methods that train inputs, scales or coordinates instead of weight
# matrices need larger steps.
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
LARGER_RATES = (1e-2, 3e-2, 1e-1, 3e-1)
NEED_LARGER = ("prompt", "prefix", "ia3", "intrinsic")


@dataclass(frozen=True)
class Sweep:
    """What one figure of a lesson rests on: every point on every task and base, at every rate, with three seeds.

    Args:
        points: pairs of a method (or variant) and its settings.
        tasks: names of tasks.
        rates: peak learning rates to try; the lesson takes each point's best.
        bases: pretrained models to adapt.
    """

    points: Sequence[tuple[str, dict]]
    tasks: Sequence[str]
    rates: Sequence[float]
    bases: Sequence[str] = ("tiny",)
    seeds: int = 3


def lengths(*numbers: int) -> list[dict]:
    """Settings for prompts of several lengths."""
    return [{"num_virtual_tokens": number} for number in numbers]


SWEEPS: dict[str, Sweep] = {
    # Lesson 03: how long a prompt, and where to start it
    "prompt": Sweep(
        [(method, setting) for method in ("prompt", "prompt_random") for setting in lengths(1, 2, 5, 10, 20, 40)],
        ("recall",),
        (1e-1,),
    ),
    # Lesson 04: does the MLP stabilise training?
    "prefix_mlp": Sweep(
        [("prefix", {}), ("prefix_random", {}), ("prefix", {"projection_dim": 64})],
        ("compose",),
        (1e-2, 3e-2, 1e-1),
    ),
    # Lesson 04: what a prefix can call up, and what it cannot teach
    "prefix_length": Sweep([("prefix", setting) for setting in lengths(5, 10, 40)], ("compose",), (1e-1,)),
    # Lesson 07: DoRA against LoRA at equal rank
    "dora": Sweep(
        [(method, {"rank": rank, "alpha": 2.0 * rank}) for method in ("lora", "dora") for rank in (1, 2, 4, 8)],
        ("learn",),
        (3e-3, 1e-2),
    ),
    # Lesson 08: where the side network starts, and what the head reads
    "lst": Sweep(
        [(method, {"reduction_factor": r}) for method in ("lst", "lst_pruned", "lst_sum") for r in (4, 8)],
        ("compose",),
        (1e-2,),
    ),
    # Lesson 09: both halves of MAM alone and together, 8,100 to 8,450 parameters each
    "mam": Sweep(
        [
            ("adapter", {"bottleneck": 10}),
            ("parallel", {"bottleneck": 21}),
            ("prefix", {"num_virtual_tokens": 22}),
            ("mam", {"num_virtual_tokens": 5, "bottleneck": 16}),
        ],
        ("compose",),
        (1e-2, 3e-2, 1e-1),
    ),
    # Lesson 10: accuracy over the dimension of the subspace
    "intrinsic": Sweep(
        [("intrinsic", {"dimension": D}) for D in (10, 30, 100, 300, 1000)],
        ("recall", "compose"),
        (3e-1,),
    ),
    "intrinsic_scale": Sweep(
        [(method, {"dimension": D}) for method in ("intrinsic", "intrinsic_random") for D in (30, 100, 300)],
        ("recall",),
        (3e-1,),
        ("nano", "tiny", "small"),
    ),
    # Lesson 13: is LoRA strictly better? LoRA on two matrices beside adapters
    "adapter_lora": Sweep(
        [
            ("adapter", {"bottleneck": 64}),
            ("lora", {"rank": 32, "alpha": 64.0, "target_modules": ["q_proj", "v_proj"]}),
        ],
        ("learn",),
        (3e-3, 1e-2, 3e-2),
    ),
    # Lesson 13: who makes the most of sixteen examples?
    "few": Sweep(
        [(method, {}) for method in ("full", "adapter", "prompt", "ia3", "lora")],
        ("recall_few",),
        (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
    ),
    # Lesson 13: few parameters in many places against more in one
    "placement": Sweep(
        [("ia3", {})] + [("adapter_last", {"bottleneck": m}) for m in (8, 32, 128)],
        ("compose",),
        (1e-2, 3e-2, 3e-1),
    ),
    # Lesson 14: does the gap between a prompt and full fine-tuning close as the base grows?
    "scale_prompt": Sweep([("prompt", {})], ("recall", "compose"), (3e-2, 1e-1), ("nano", "tiny", "small")),
    "scale_short": Sweep(
        [("prompt", setting) for setting in lengths(1, 2)], ("recall",), (3e-2, 1e-1, 3e-1), ("nano", "tiny", "small")
    ),
    "scale_full": Sweep([("full", {})], ("recall", "compose"), (1e-3,), ("nano", "tiny", "small")),
    "intrinsic_dense": Sweep(
        [(method, {"dimension": D}) for method in ("intrinsic", "intrinsic_dense") for D in (30, 100, 300)],
        ("recall",),
        (3e-1,),
        ("nano",),
    ),
}


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
        A row a method, task and rate (see `summarize`).

    Raises:
        ValueError: something that was asked for is unknown or unusable.
    """
    runs = []
    for method in methods:
        tried = rates or (LARGER_RATES if method in NEED_LARGER else RATES)
        runs += plan(tasks, [method], seeds, device, base, rates=list(tried))
    return carry_out(runs, out, "learning_rates", jobs)


def sweep(name: str, out: Path, device: str | None = None, jobs: int = 1) -> list[dict]:
    """Carry out one of SWEEPS, print the scores, and write NAME.csv into `out`.

    Returns:
        A row a point, task, base and rate (see `summarize`).

    Raises:
        ValueError: there is no such sweep, or something that was asked for is unusable.
    """
    if name not in SWEEPS:
        raise ValueError(f"there is no sweep {name!r}; there are: {', '.join(SWEEPS)}")
    it, device = SWEEPS[name], str(choose_device(device))
    runs = [
        describe(task, method, seed, device, base, rate, **settings)
        for base in it.bases
        for task in it.tasks
        for method, settings in it.points
        for rate in it.rates
        for seed in range(it.seeds)
    ]
    return carry_out(runs, out, name, jobs)


def carry_out(runs: list[Run], out: Path, name: str, jobs: int) -> list[dict]:
    """Execute the runs, print a line a row, write NAME.csv."""
    check_writable(out)
    unfinished = out / f"{name}.unfinished.jsonl"
    rows = summarize(execute(sorted(runs, key=lambda run: -run.steps), unfinished, jobs))
    for row in rows:
        print(
            "{method:>15} {settings:.40} {base:>5}  {task:>7}  rate {learning_rate:<6g} "
            "score {score:.3f} ({score_min:.3f} to {score_max:.3f})  loss {final_loss:.3f}".format(**row)
        )
    write_text(out / f"{name}.csv", to_csv(rows))
    forget(unfinished, runs)
    return rows


def summarize(results: list[tuple[Run, dict]]) -> list[dict]:
    """Gather the seeds into a row a method, settings, task, base and rate: the mean, the worst and the best score."""
    groups: dict[tuple, list[tuple[Run, dict]]] = {}
    for run, result in results:
        groups.setdefault((run.method, run.settings, run.task, run.base, run.learning_rate), []).append((run, result))
    rows = []
    for (method, settings, task, base, rate), group in groups.items():
        scores = [result["score"] for _, result in group]
        rows.append(
            {
                "method": method,
                "settings": ", ".join(f"{name}={value}" for name, value in json.loads(settings).items()),
                "task": task,
                "base": base,
                "learning_rate": rate,
                "trained": group[0][1]["trained"],
                "score": statistics.mean(scores),
                "score_min": min(scores),
                "score_max": max(scores),
                "final_loss": statistics.mean(result["final_loss"] for _, result in group),
                "seeds": len(group),
            }
        )
    return sorted(rows, key=lambda row: (row["method"], row["base"], row["task"], row["trained"], row["learning_rate"]))

"""Studies: what a lesson or a claim rests on, run for hours if need be, with a learning rate searched for every budget.

A study is a list of arms (a method with its settings) on some tasks. Its record is one CSV file with a row for each
measurement. The file is the state too: what it holds is not run again.
"""

import json
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from minitransformer.experiments.evidence import FLOOR, Evaluation, at_step, state
from minitransformer.experiments.runs import (
    Results,
    Run,
    base_checksum,
    base_model,
    carry_out,
    describe,
    find_method,
    find_task,
    label,
    places,
    whole_settings,
)
from minitransformer.experiments.tables import read_csv, to_csv
from minitransformer.files import check_writable, write_text
from minitransformer.surgery import check_positive
from minitransformer.train import choose_device

SEARCH_SEEDS = 2  # seeds that a rate is tried with; the chosen ones are run with all
LOWEST, HIGHEST = -10, 2  # the rates 1e-5 and 10, as places on the grid
TIED_SCORE, TIED_LOSS = 0.005, 0.01  # rates whose scores, and losses (as a part), are as close as this are tied


@dataclass(frozen=True)
class Study:
    """Arms on tasks, over steps.

    Args:
        about: the question, in a sentence.
        arms: pairs of a method (or variant) and its settings.
        tasks: names of tasks.
        bases: pretrained models to adapt; None is the task's own.
        seeds: of every arm at its chosen rates.
        times: length of a run, in budgets of the task.
        spread: places on the grid of half decades around each method's own rate that are all run with all seeds, for a
            curve along the rate; None: the best rates are searched.
        device: where to train. What is recorded was trained on a CPU.
        around: the rate that the search begins at, by method; else the method's own, which was found on the tiny base.
        only_end: whether a rate is searched for the whole run alone, where runs are dear, and not for each budget on the way.
        step_seconds: of one training step on one thread, about, for the estimate of a cost.
    """

    about: str
    arms: Sequence[tuple[str, dict]]
    tasks: Sequence[str]
    bases: Sequence[str | None] = (None,)
    seeds: int = 5
    times: int = 10
    spread: range | None = None
    device: str = "cpu"
    around: Mapping[str, float] = field(default_factory=dict)
    only_end: bool = False
    step_seconds: float = 0.01


TEN = ("full", "adapter", "prompt", "prefix", "ia3", "lora", "dora", "lst", "mam", "intrinsic")
RECALL_FEW = ("full", "adapter", "prompt", "prefix", "ia3", "lora")


def sizes(method: str, setting: str, *values: int, **others: object) -> list[tuple[str, dict]]:
    """Arms of one method that differ in one setting."""
    return [(method, {setting: value, **others}) for value in values]


def lora_on(rank: int, *targets: str) -> tuple[str, dict]:
    """An arm: LoRA with a scaling of 2 on some matrices."""
    return "lora", {"rank": rank, "alpha": 2.0 * rank, "target_modules": list(targets)}


def real(about: str, methods: Sequence[str], task: str) -> Study:
    """A study on the real language model, where a run takes a minute: rates are searched for the whole run alone."""
    around = {"full": 3e-5, "adapter": 1e-3, "ia3": 1e-2, "lora": 1e-3, "dora": 1e-3, "lst": 1e-3, "mam": 1e-3}
    arms = [(name, {}) for name in methods]
    return Study(about, arms, (task,), times=1, around=around, only_end=True, step_seconds=0.7)


STUDIES: dict[str, Study] = {
    "steps": Study(
        "How fast does each method climb each rung, and how far does it get in ten times the steps?",
        [(name, {}) for name in (*TEN, "lst_sum")],
        ("recall", "compose", "learn"),
    ),
    "forgetting": Study(
        "What is kept of the old skills, along the learning rate and over the steps, while recall is learned?",
        [(name, {}) for name in TEN],
        ("recall",),
        times=1,
        spread=range(-4, 2),
    ),
    "few": Study(
        "Which method makes the most of sixteen examples, drawn anew for each seed?",
        [(name, {}) for name in RECALL_FEW],
        ("recall_few",),
    ),
    "where": Study(
        "Is learning a matter of where a token looks? LoRA on pairs of matrices, 7,680 numbers each.",
        [lora_on(10, "q_proj", "k_proj"), lora_on(10, "v_proj", "o_proj"), lora_on(4, "up_proj", "down_proj")],
        ("learn",),
    ),
    "blocks": Study(
        "The same two adapters in one block after another: does their place decide?",
        sizes("adapter_in_block", "block", 0, 1, 2, bottleneck=48),
        ("compose",),
    ),
    "random_slices": Study(
        "How many dimensions of a random slice are enough, from pretrained and from random weights?",
        [
            *sizes("intrinsic", "dimension", 10, 30, 100, 300, 1000),
            *sizes("intrinsic_random", "dimension", 30, 100, 300, 1000),
        ],
        ("recall",),
    ),
    "size": Study(
        "How much does a method need? Scores over trained numbers, and the smallest size that reaches 0.95.",
        [
            *sizes("adapter", "bottleneck", 4, 64),
            *sizes("prompt", "num_virtual_tokens", 2, 30),
            *sizes("prefix", "num_virtual_tokens", 2, 30),
            *sizes("lora", "rank", 1, 2, 8, alpha=8.0),
            *sizes("dora", "rank", 1, 2, 8, alpha=8.0),
            *sizes("lst", "reduction_factor", 2, 8),
            *sizes("mam", "bottleneck", 4, 64),
            *sizes("intrinsic", "dimension", 100, 300),
        ],
        ("compose",),
        times=2,
    ),
    "halves": Study(
        "Is the whole of MAM more than either half, at about 8,300 trained numbers each?",
        [("mam", {}), ("parallel", {"bottleneck": 21}), ("prefix", {"num_virtual_tokens": 22})],
        ("compose",),
        times=2,
    ),
    "low_rank": Study(
        "The fewest numbers: (IA)^3 beside LoRA of rank 1 on queries and values.",
        [lora_on(1, "q_proj", "v_proj"), ("ia3", {})],
        ("compose", "learn"),
        times=4,
    ),
    "prefix_lengths": Study(
        "Does a longer prefix get further, or only faster? All at the prefix's own rate.",
        sizes("prefix", "num_virtual_tokens", 1, 30),
        ("compose",),
        times=5,
        spread=range(1),
    ),
    "code": Study(
        "The ten methods on real text: bits per character on Python code, and on the documentation that the base knew.",
        [(name, {}) for name in TEN],
        ("code",),
        times=2,
        only_end=True,
        step_seconds=0.13,
    ),
    "real": real(
        "What a real language model has read, asked for in a new form: does the tiny ladder's recall carry over?",
        ("lora", "ia3", "prompt", "adapter", "full", "prefix", "lst"),
        "real_recall",
    ),
    "real_more": real("The same with the other three.", ("dora", "mam", "intrinsic"), "real_recall"),
    "real_learn": real("Facts that contradict what it has read.", ("lora", "ia3", "prompt", "full"), "real_learn"),
}


# ---- which runs are still needed ----------------------------------------------------------------------------------------


def rate_at(place: int) -> float:
    """The learning rate at a place on the grid of half decades: 0.1, 0.3, 1, 3 at -2, -1, 0, 1."""
    decade, half = divmod(place, 2)
    return float(f"{(1, 3)[half]}e{decade}")


def place_of(rate: float) -> int:
    """The place on the grid that is nearest to a rate."""
    return min(range(LOWEST, HIGHEST + 1), key=lambda place: abs(torch.tensor(rate_at(place) / rate).log().item()))


@dataclass(frozen=True)
class Arm:
    """One method with its settings, on one task and base."""

    task: str
    base: str | None
    method: str
    settings: str  # JSON
    times: int
    device: str

    def run(self, rate: float, seed: int) -> Run:
        """One of its runs."""
        return described(self, rate, seed)

    @property
    def budgets(self) -> list[int]:
        """The numbers of steps that it is measured at."""
        return places(self.run(1.0, 0), find_task(self.task))


@cache
def described(arm: Arm, rate: float, seed: int) -> Run:
    """Write down a run of an arm."""
    settings = json.loads(arm.settings)
    return describe(arm.task, arm.method, seed, arm.device, arm.base, rate, times=arm.times, **settings)


def arms_of(study: Study) -> list[Arm]:
    """Every arm on every task and base, the quickest task first."""
    return [
        Arm(task, base, method, json.dumps(settings), study.times, study.device)
        for task in sorted(study.tasks, key=lambda name: find_task(name).steps)
        for base in study.bases
        for method, settings in study.arms
    ]


def measured_at(arm: Arm, rate: float, step: int, results: Results, seeds: int) -> list[Evaluation]:
    """What the runs of an arm at a rate were measured at after so many steps; a diverged run at its last loss, infinity."""
    found = []
    for seed in range(seeds):
        evaluations = results[arm.run(rate, seed)]["evaluations"]
        found.append(at_step(evaluations, step) or evaluations[-1])
    return found


def best_place(arm: Arm, tried: range, step: int, results: Results) -> int:
    """The place of the rate with the best mean score after so many steps; among tied ones the middle of them.

    Scores as close as TIED_SCORE are told apart by the loss, and losses as close as TIED_LOSS are tied.
    """
    sign = 1 if find_task(arm.task).metric == "accuracy" else -1
    score, loss = {}, {}
    for place in tried:
        found = measured_at(arm, rate_at(place), step, results, SEARCH_SEEDS)
        score[place] = sign * statistics.mean(evaluation["score"] for evaluation in found)
        loss[place] = statistics.mean(evaluation["loss"] for evaluation in found)
    tied = [place for place in tried if score[place] >= max(score.values()) - TIED_SCORE]
    lowest = min(loss[place] for place in tied)
    tied = [place for place in tied if loss[place] <= lowest * (1 + TIED_LOSS)]
    return tied[len(tied) // 2]


def deciding_budgets(arm: Arm, tried: range, results: Results) -> list[int]:
    """The budgets for which a rate is chosen: those at which some rate leaves the floor, and the largest."""
    if find_task(arm.task).metric != "accuracy":
        return arm.budgets

    def best(step: int) -> float:
        scores = [
            [found["score"] for found in measured_at(arm, rate_at(place), step, results, SEARCH_SEEDS)]
            for place in tried
        ]
        return max(statistics.mean(some) for some in scores)

    return [step for step in arm.budgets if best(step) >= FLOOR or step == arm.budgets[-1]]


def needed(arm: Arm, results: Results, study: Study) -> list[Run]:
    """The runs of an arm that its study still lacks: the grid grows until no best rate is at its edge.

    First three rates half a decade apart around the method's own, two seeds each. While the best rate for some budget
    is the lowest or the highest that was tried, the next one is tried too. Then the best rates get all their seeds.
    """
    middle = place_of(study.around.get(arm.method, find_method(arm.method).learning_rate))
    if study.spread is not None:
        runs = [arm.run(rate_at(middle + by), seed) for by in study.spread for seed in range(study.seeds)]
        return [run for run in runs if run not in results]
    low, high = max(LOWEST, middle - 1), min(HIGHEST, middle + 1)
    while True:
        tried = range(low, high + 1)
        runs = [arm.run(rate_at(place), seed) for place in tried for seed in range(SEARCH_SEEDS)]
        missing = [run for run in runs if run not in results]
        if missing:
            return missing
        deciding = arm.budgets[-1:] if study.only_end else deciding_budgets(arm, tried, results)
        best = {best_place(arm, tried, step, results) for step in deciding}
        wider = (low - (low in best and low > LOWEST), high + (high in best and high < HIGHEST))
        if wider == (low, high):
            break
        low, high = wider
    runs = [arm.run(rate_at(place), seed) for place in sorted(best) for seed in range(study.seeds)]
    return [run for run in runs if run not in results]


def wanted(study: Study) -> Callable[[Results], list[Run]]:
    """A function from results so far to the runs that are needed next, those of the first tasks first."""
    arms = arms_of(study)
    done: set[Arm] = set()  # what is complete stays complete

    def missing(results: Results) -> list[Run]:
        runs = []
        for arm in arms:
            if arm not in done:
                lacking = needed(arm, results, study)
                runs += lacking
                if not lacking:
                    done.add(arm)
        return runs

    return missing


# ---- the record -----------------------------------------------------------------------------------------------------------

NUMBERS = ("score", "per_symbol", "bits", "loss", "kept")


def to_rows(results: Results) -> Iterator[dict]:
    """A row for each measurement, with the state of a run that ends there."""
    for run, result in results.items():
        for i, found in enumerate(result["evaluations"]):
            yield {
                "task": run.task,
                "base": run.base,
                "method": run.method,
                "settings": run.settings,
                "trained": result["trained"],
                "seed": run.seed,
                "rate": run.learning_rate,
                "steps": run.steps,
                "step": found["step"],
                **{name: round(found[name], 5) if name in found else "" for name in NUMBERS},
                "finished": state([{**e, "metric": result["metric"]} for e in result["evaluations"][: i + 1]]),
                "seconds": round(result["seconds"], 1),
            }


def complete(method: str, settings: str) -> str:
    """A method's recorded settings with today's defaults for what it did not have when they were recorded, as JSON."""
    return json.dumps(whole_settings(method, json.loads(settings)))


def from_rows(rows: Sequence[dict], device: str = "cpu") -> Results:
    """The runs of a record with their results."""
    results: Results = {}
    for row in rows:
        run = Run(
            task=row["task"],
            method=row["method"],
            seed=int(row["seed"]),
            base=row["base"],
            base_sha256=base_checksum(row["base"]),
            device=device,
            settings=complete(row["method"], row["settings"]),
            steps=int(row["steps"]),
            learning_rate=float(row["rate"]),
        )
        result = results.setdefault(
            run,
            {
                "metric": find_task(run.task).metric,
                "trained": int(row["trained"]),
                "seconds": float(row["seconds"]),
                "evaluations": [],
            },
        )
        numbers = {name: float(row[name]) for name in NUMBERS if row[name] != ""}
        result["evaluations"].append({"step": int(row["step"]), **numbers})
    return results


def rate_rows(study: Study, results: Results) -> Iterator[dict]:
    """A row for each rate that was tried for each budget: its seeds, scores and loss, and whether it was chosen."""
    for arm in arms_of(study):
        tried = sorted({run.learning_rate for run in results if run == arm.run(run.learning_rate, run.seed)})
        whole = [rate for rate in tried if all(arm.run(rate, seed) in results for seed in range(SEARCH_SEEDS))]
        if not whole:
            continue
        grid = range(place_of(whole[0]), place_of(whole[-1]) + 1)
        for step in arm.budgets:
            best = rate_at(best_place(arm, grid, step, results))
            for rate in whole:
                seeds = max(n for n in range(1, study.seeds + 1) if arm.run(rate, n - 1) in results)
                found = measured_at(arm, rate, step, results, seeds)
                scores = [evaluation["score"] for evaluation in found]
                yield {
                    "task": arm.task,
                    "base": arm.run(rate, 0).base,
                    "method": arm.method,
                    "settings": arm.run(rate, 0).settings,
                    "step": step,
                    "rate": rate,
                    "seeds": seeds,
                    "score": statistics.mean(scores),
                    "score_min": min(scores),
                    "score_max": max(scores),
                    "loss": statistics.mean(evaluation["loss"] for evaluation in found),
                    "chosen": "yes" if rate == best else "no",
                }


def conduct(name: str, out: Path, executor: Executor, width: int, study: Study | None = None) -> Results:
    """Carry out what a study still lacks, and keep its record in `out`: NAME.csv, NAME_rates.csv and NAME.json.

    Args:
        name: of the study, and of its files.
        out: folder of the record; a record that is there is continued.
        executor: where the runs go.
        width: runs at the same time.
        study: None: the one of that name in STUDIES.

    Raises:
        ValueError: there is no such study, the folder cannot be written, or the record is of other bases.
    """
    study = study or find_study(name)
    for base in {arm.run(1.0, 0).base for arm in arms_of(study)}:
        base_model(base)  # a damaged file is found now
    check_writable(out)
    file, about = out / f"{name}.csv", out / f"{name}.json"
    bases = {run.base: run.base_sha256 for run in (arm.run(1.0, 0) for arm in arms_of(study))}
    if file.exists():
        before = json.loads(about.read_text(encoding="utf-8"))["bases"]
        if before != bases:
            raise ValueError(f"{file} was recorded on other bases than these; move it away to begin anew")
        results = from_rows(read_csv(file), study.device)
    else:
        results = {}

    def keep(run: Run | None = None, result: dict | None = None) -> None:
        card = {
            "about": study.about,
            "command": f"python -m minitransformer sweep {name}",
            "python": platform.python_version(),
            "torch": torch.__version__.split("+")[0],
            "bases": bases,
            "runs": len(results),
            "hours": round(sum(result["seconds"] for result in results.values()) / 3600, 2),
        }
        write_text(about, json.dumps(card, indent=1) + "\n")
        write_text(file, to_csv(list(to_rows(results))))

    still = wanted(study)
    print(cost(study, still(results), width))
    carry_out(still, results, keep, executor, width, label=name)
    keep()
    write_text(out / f"{name}_rates.csv", to_csv(list(rate_rows(study, results))))
    return results


def cost(study: Study, missing: Sequence[Run], width: int) -> str:
    """What a study will take at most, in words; runs that solve their task stop early."""
    steps = sum(run.steps for run in missing)
    hours = 1.5 * steps * study.step_seconds / 3600 / width
    more = (
        "" if study.spread else "; where a best rate is at the grid's edge, and for the seeds of the best, more follow"
    )
    return (
        f"{len(arms_of(study))} arms; {len(missing)} runs are wanted now, {steps:,} steps at most: about {hours:.1f} hours "
        f"with {width} at a time, at {1e3 * study.step_seconds:.0f} ms a step{more}"
    )


def find_study(name: str) -> Study:
    """The study of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in STUDIES:
        raise ValueError(f"there is no study {name!r}; there are: {', '.join(STUDIES)}")
    return STUDIES[name]


def search_study(
    tasks: Sequence[str], methods: Sequence[str], base: str | None, seeds: int, times: int, device: str | None = None
) -> Study:
    """A study of a user's own: methods with their defaults.

    Raises:
        ValueError: a task, a method or the device is unknown, or a number is no positive whole number.
    """
    check_positive(seeds=seeds, times=times)
    for task in tasks:
        find_task(task)
    for method in methods:
        find_method(method)
    arms = [(name, {}) for name in methods]
    about = "Which rate is best for each budget?"
    return Study(about, arms, tasks, (base,), seeds, times, device=str(choose_device(device)))


def show(study: Study, results: Results, console: Console | None = None) -> None:
    """Print, for each arm and budget, the score at the best rate, and that rate."""
    console = console or Console(highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0), caption_justify="left", caption=f"{study.about} Mean over seeds.")
    for name in ("task", "base", "method", "settings", "steps", "best rate", "score", "min", "max"):
        table.add_column(name, overflow="fold")
    for row in rate_rows(study, results):
        if row["chosen"] == "yes":
            figures = (f"{row[name]:.3f}" for name in ("score", "score_min", "score_max"))
            settings = ", ".join(f"{name}={value}" for name, value in json.loads(row["settings"]).items())
            named = (row["task"], row["base"], label(row["method"]), settings, str(row["step"]), f"{row['rate']:g}")
            table.add_row(*named, *figures)
    console.print(table)

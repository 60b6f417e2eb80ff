"""Many training runs: one after the other or several at once, each kept as soon as it is finished."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from minitransformer.checkpoints import load_base, load_card
from minitransformer.experiments.evidence import SOLVED
from minitransformer.experiments.own import load_method
from minitransformer.experiments.variants import VARIANTS
from minitransformer.files import sha256
from minitransformer.measure import bytes_for_backward, latency_ratio, step_seconds
from minitransformer.method import Method
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.real import find as find_real
from minitransformer.real import load as load_real
from minitransformer.real.rungs import BASE as REAL_BASE
from minitransformer.real.rungs import RUNGS, OldLanguage
from minitransformer.surgery import check_positive, check_scale, count_parameters
from minitransformer.tasks import EXTRA, LADDER, SkillStreams, Task
from minitransformer.text import CODE, DOCS, OLD_TEXT, TextTask, read_text
from minitransformer.train import Diverged, choose_device, evaluate, measure, setup, train

MOST_JOBS = 61  # what Windows allows
TASK_NAMES = (*LADDER, *EXTRA, CODE.name)


@dataclass(frozen=True)
class Run:
    """One training run, described by what its result depends on, the code itself left out.

    The checksums of the base and of the learner's text are here so that a result is never taken for another's.
    """

    task: str
    method: str
    seed: int
    base: str
    base_sha256: str
    device: str
    settings: str  # of the method, as JSON; a setting called seed is the run's seed
    steps: int  # at most; a run that solves its task stops
    learning_rate: float
    corpus: str | None = None
    corpus_sha256: str | None = None


def find_task(name: str, corpus: str | None = None) -> Task:
    """The task of that name; "corpus" is the learner's own text file.

    Raises:
        ValueError: there is no such task.
    """
    if name == "corpus" and corpus is not None:
        return TextTask("corpus", read_text(corpus), steps=CODE.steps)
    if name == "corpus":
        raise ValueError("the task 'corpus' needs a text: name it with --corpus FILE")
    tasks: dict[str, Task] = {**LADDER, **EXTRA, CODE.name: CODE, **RUNGS}
    if name not in tasks:
        raise ValueError(f"there is no task {name!r}; there are: {', '.join(tasks)}")
    return tasks[name]


def find_method(name: str) -> Method:
    """The method or the variant of that name, or the one that a Python file makes.

    Raises:
        ValueError: there is none; or the file is no longer the one that was meant (see `pinned`).
    """
    file, _, checksum = name.partition("@")
    if file.endswith(".py"):
        method = load_method(file)
        if checksum and pinned(file) != name:
            raise ValueError(f"{file} has changed since it was run as {name}; give another --out, or --again")
        return method
    found = {**METHODS, **VARIANTS}
    if name not in found:
        raise ValueError(
            f"there is no method {name!r}; there are: {', '.join(METHODS)}; and variants: {', '.join(VARIANTS)}"
        )
    return found[name]


def pinned(name: str) -> str:
    """A method's name as it stands in a run: a file's has its checksum behind it, so that no result is taken for another's."""
    return f"{name}@{sha256(Path(name))[:8]}" if name.endswith(".py") else name


def label(name: str) -> str:
    """A method's name as it stands in tables and pictures; one from a file is new there."""
    return f"{find_method(name).name} (new)" if ".py" in name else name


def plan(
    task_names: list[str],
    method_names: list[str],
    seeds: int,
    device: str | None = None,
    base: str | None = None,
    corpus: str | None = None,
) -> list[Run]:
    """Write down the runs of every method on every task, the longest first, checking everything before any training.

    Args:
        task_names: tasks of the ladder, extra tasks, `code`, or `corpus`.
        method_names: names in METHODS, or Python files that make a method.
        seeds: runs of each pair, seeds 0, 1, ...
        device: cuda, mps or cpu; None: the best one here.
        base: adapt this base instead of the task's own.
        corpus: a text file for the task `corpus`.

    Raises:
        ValueError: a task, method, base, device or corpus is unknown or unusable, or seeds is below 1.
    """
    check_positive(seeds=seeds)
    for name in method_names:
        find_method(name)
    device = str(choose_device(device))
    runs = []
    for task_name in dict.fromkeys(task_names):
        find_task(task_name, corpus).batch(1, torch.Generator())  # reads a corpus now, not after minutes of training
        for method in dict.fromkeys(method_names):
            runs += [describe(task_name, method, seed, device, base, corpus=corpus) for seed in range(seeds)]
    for base_name in {run.base for run in runs}:
        base_model(base_name)  # a damaged file is found now
    return sorted(runs, key=lambda run: -run.steps)


def describe(
    task_name: str,
    method_name: str,
    seed: int,
    device: str,
    base: str | None = None,
    rate: float | None = None,
    corpus: str | None = None,
    times: int = 1,
    **settings: object,
) -> Run:
    """Write down one run of so many times the task's budget; what is left out comes from the task and the method.

    Raises:
        ValueError: the task, a setting or the base is unknown, or the base does not speak the task's tokens.
    """
    task, method = find_task(task_name, corpus), find_method(method_name)
    check_scale(rate=1.0 if rate is None else rate)
    base = base or task.base
    checksum = base_checksum(base)
    if task.base in (DOCS.base, REAL_BASE) or base in (DOCS.base, REAL_BASE):
        if base != task.base:
            raise ValueError(f"base {base!r} does not speak the tokens of task {task_name!r}; use {task.base!r}")
    return Run(
        task=task_name,
        method=pinned(method_name),
        seed=seed,
        base=base,
        base_sha256=checksum,
        device=device,
        settings=json.dumps(whole_settings(method_name, settings)),
        steps=times * task.steps,
        learning_rate=rate or method.learning_rate,
        corpus=corpus,
        corpus_sha256=sha256(Path(corpus)) if task_name == "corpus" else None,
    )


def whole_settings(method_name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """A method's settings with its defaults, but for a seed, which is the run's."""
    return {name: value for name, value in find_method(method_name).settings(**settings).items() if name != "seed"}


def run_once(run: Run) -> dict:
    """Fine-tune a base once and measure it over the steps; the returned dictionary can be written as JSON.

    A run whose loss is no longer a number ends there, and its last measurement has a loss of infinity.
    """
    task, base, adapted = prepare(run)
    old = old_abilities(task).with_seed(run.seed)
    trained = count_parameters(adapted, trainable_only=True)
    options = {
        "evaluate_at": places(run, task),
        "measures": lambda model: {**measure(model, task), "kept": evaluate(model, old)},
        "solved": SOLVED if task.metric == "accuracy" else float("inf"),
        "head_on_targets": task.base == REAL_BASE,  # of its 134 million weights the head has 28
    }
    try:
        history = train(adapted, task, run.steps, run.learning_rate, seed=run.seed, progress=False, **options)
    except Diverged as error:
        history = error.history
        worst = 0.0 if task.metric == "accuracy" else float("inf")
        history.evaluations.append({"step": len(history.losses), "loss": float("inf"), "score": worst, "kept": worst})
    return {
        "metric": task.metric,
        "trained": trained,
        "total": count_parameters(base),
        "evaluations": history.evaluations,
        "seconds": history.seconds,
    }


def places(run: Run, task: Task) -> list[int]:
    """The steps at which a run is measured: 0.1, 0.2, 0.5, 1, 2, 5, ... times the task's budget, and its end."""
    parts = [lead * 10.0**decade for decade in (-1, 0, 1, 2) for lead in (1, 2, 5)]
    inside = {round(part * task.steps) for part in parts if 1 <= part * task.steps < run.steps}
    return sorted(inside | {run.steps})


def measure_costs(run: Run) -> dict:
    """What the method costs on the task. That does not depend on the training, so none is done."""
    task, base, adapted = prepare(run)
    return {
        "step_ms": 1e3 * step_seconds(adapted, task),
        "latency": latency_ratio(adapted, base, task),
        "bytes_for_backward": bytes_for_backward(adapted, task),
    }


def score_base(run: Run) -> dict:
    """What the base of a run scores, on the task and on what it could do before."""
    task, base, _ = prepare(run)
    return {"score_base": evaluate(base, task), "kept_base": evaluate(base, old_abilities(task))}


def prepare(run: Run) -> tuple[Task, GPT, nn.Module]:
    """The task, the base, and the base with the method attached."""
    device = setup(run.seed, run.device)
    base, method, settings = base_model(run.base, device), find_method(run.method), json.loads(run.settings)
    if "seed" in method.defaults:
        settings["seed"] = run.seed
    adapted = method.attach(base_model(run.base, device), **settings)
    return find_task(run.task, run.corpus).with_seed(run.seed), base, adapted


def old_abilities(task: Task) -> Task:
    """What the base of a task could do before."""
    if task.base == REAL_BASE:
        return OldLanguage()
    return OLD_TEXT if isinstance(task, TextTask) else SkillStreams()


def base_model(name: str, device: torch.device | str = "cpu") -> nn.Module:
    """Load a base of the course, or the real language model, in evaluation mode.

    Raises:
        ValueError: it is not there or damaged.
    """
    return load_real(name, device)[0] if name == REAL_BASE else load_base(name, device)


def base_checksum(name: str) -> str:
    """The SHA-256 of a base's weights file.

    Raises:
        ValueError: the base is not there.
    """
    return real_checksum() if name == REAL_BASE else load_card(name)["sha256"]


@cache
def real_checksum() -> str:
    """The SHA-256 of the real language model's file, which a package keeps as it is; computed once."""
    return sha256(find_real(REAL_BASE))


# ---- executing a plan ---------------------------------------------------------------------------------------------------

Results = dict[Run, dict]


def carry_out(
    wanted: Callable[[Results], list[Run]],
    results: Results,
    keep: Callable[[Run, dict], None],
    executor: Executor,
    width: int = 1,
    label: str = "training",
) -> None:
    """Carry out runs until none is wanted any more, with a progress bar over them.

    Args:
        wanted: results so far -> runs that are still needed, the most urgent first; asked again after each result, so
            what is run next may depend on what came out.
        results: what is known already; every new result is added.
        keep: called with each run and its result as soon as it is there, to save it.
        executor: where the runs go: a pool of processes, a cluster, or `InThisProcess`.
        width: runs at the same time.
        label: of the progress bar.
    """
    pending: dict[Future, Run] = {}
    with tqdm(desc=label, unit="run") as bar:
        while True:
            todo = wanted(results)
            bar.total = bar.n + len(todo)
            for run in todo:
                if len(pending) >= width:
                    break
                if run not in pending.values():
                    pending[executor.submit(run_once, run)] = run
                    bar.set_postfix_str(f"{run.method} on {run.task}, rate {run.learning_rate:g}, seed {run.seed}")
            if not pending:
                return
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                run = pending.pop(future)
                results[run] = future.result()
                keep(run, results[run])
                bar.update()


class InThisProcess(Executor):
    """Runs what it is given at once, here: the executor of a single job."""

    def submit(self, call: Callable, /, *arguments: object, **named: object) -> Future:
        """Call it and return a future that is done."""
        future: Future = Future()
        future.set_result(call(*arguments, **named))
        return future


@contextmanager
def executor_of(jobs: int) -> Iterator[Executor]:
    """An executor of so many processes, of one thread each; they stop at once when something goes wrong.

    Raises:
        ValueError: jobs is below 1.
    """
    check_positive(jobs=jobs)
    if jobs == 1:
        yield InThisProcess()
        return
    context = multiprocessing.get_context("spawn")  # the one way to start that works everywhere, CUDA included
    pool = ProcessPoolExecutor(min(jobs, MOST_JOBS), context, initializer=start_worker)
    try:
        yield pool
    except BaseException:
        for process in list(pool._processes.values()):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def start_worker() -> None:
    """Prepare a worker: leave Ctrl-C to the parent, and end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tqdm.set_lock(
        threading.RLock()
    )  # its own lock spans processes, and would be left behind by a worker that is stopped

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()

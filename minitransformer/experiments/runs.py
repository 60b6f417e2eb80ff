"""Many training runs: one after the other or several at once, each saved as soon as it is finished."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from minitransformer.checkpoints import load_base, load_card
from minitransformer.experiments.variants import VARIANTS
from minitransformer.files import sha256, write_text
from minitransformer.measure import bytes_for_backward, latency_ratio, step_seconds
from minitransformer.method import Method
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.surgery import check_scale, count_parameters
from minitransformer.tasks import EXTRA, LADDER, SkillStreams, Task
from minitransformer.text import CODE, DOCS, OLD_TEXT, TextTask, read_text
from minitransformer.train import choose_device, evaluate, setup, train

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
    settings: str  # of the method, as JSON
    steps: int
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
    tasks: dict[str, Task] = {**LADDER, **EXTRA, CODE.name: CODE}
    if name not in tasks:
        raise ValueError(f"there is no task {name!r}; there are: {', '.join(tasks)}")
    return tasks[name]


def find_method(name: str) -> Method:
    """The method or the variant of that name."""
    return {**METHODS, **VARIANTS}[name]


def plan(
    task_names: list[str],
    method_names: list[str],
    seeds: int,
    device: str | None = None,
    base: str | None = None,
    corpus: str | None = None,
    rates: list[float] | None = None,
) -> list[Run]:
    """Write down the runs of every method on every task, the longest first, checking everything before any training.

    Args:
        task_names: tasks of the ladder, extra tasks, `code`, or `corpus`.
        method_names: names in METHODS.
        seeds: runs of each pair, seeds 0, 1, ...
        device: cuda, mps or cpu; None: the best one here.
        base: adapt this base instead of the task's own.
        corpus: a text file for the task `corpus`.
        rates: peak learning rates to try; None: the method's default.

    Raises:
        ValueError: a task, method, base, device or corpus is unknown or unusable, or seeds is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, not {seeds}")
    for name in method_names:
        if name not in METHODS:
            raise ValueError(f"there is no method {name!r}; there are: {', '.join(METHODS)}")
    for rate in rates or []:
        check_scale(rates=rate)
    device = str(choose_device(device))
    runs = []
    for task_name in dict.fromkeys(task_names):
        find_task(task_name, corpus).batch(1, torch.Generator())  # reads a corpus now, not after minutes of training
        for method in dict.fromkeys(method_names):
            for rate in dict.fromkeys(rates or [METHODS[method].learning_rate]):
                for seed in range(seeds):
                    runs.append(describe(task_name, method, seed, device, base, rate, corpus))
    for base_name in {run.base for run in runs}:
        load_base(base_name)  # a damaged file is found now
    return sorted(runs, key=lambda run: -run.steps)


def describe(
    task_name: str,
    method_name: str,
    seed: int,
    device: str,
    base: str | None = None,
    rate: float | None = None,
    corpus: str | None = None,
    **settings: object,
) -> Run:
    """Write down one run; what is left out comes from the task and the method.

    Raises:
        ValueError: the task, a setting or the base is unknown, or the base does not speak the task's tokens.
    """
    task, method = find_task(task_name, corpus), find_method(method_name)
    base = base or task.base
    card = load_card(base)
    if isinstance(task, TextTask) != (base == DOCS.base):
        raise ValueError(f"base {base!r} does not speak the tokens of task {task_name!r}; use {task.base!r}")
    return Run(
        task=task_name,
        method=method_name,
        seed=seed,
        base=base,
        base_sha256=card["sha256"],
        device=device,
        settings=json.dumps(method.settings(**settings)),
        steps=task.steps,
        learning_rate=rate or method.learning_rate,
        corpus=corpus,
        corpus_sha256=sha256(Path(corpus)) if task_name == "corpus" else None,
    )


def run_once(run: Run) -> dict:
    """Fine-tune a base once and score it; the returned dictionary can be written as JSON."""
    task, base, adapted = prepare(run)
    try:
        history = train(adapted, task, run.steps, run.learning_rate, task.batch_size, seed=run.seed, progress=False)
    except FloatingPointError as error:
        name = f"{run.method} on {run.task}, rate {run.learning_rate:g}, seed {run.seed}"
        raise FloatingPointError(f"{name}: {error}") from None
    return {
        "metric": task.metric,
        "trained": count_parameters(adapted, trainable_only=True),
        "total": count_parameters(base),
        "score": evaluate(adapted, task),
        "kept": evaluate(adapted, old_abilities(task)),
        "final_loss": history.losses[-1],
    }


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
    base = load_base(run.base, device)
    adapted = find_method(run.method).attach(load_base(run.base, device), **json.loads(run.settings))
    return find_task(run.task, run.corpus), base, adapted


def old_abilities(task: Task) -> Task:
    """What the base of a task could do before."""
    return OLD_TEXT if isinstance(task, TextTask) else SkillStreams()


# ---- executing a plan ---------------------------------------------------------------------------------------------------


def execute(runs: list[Run], file: Path, jobs: int = 1) -> list[tuple[Run, dict]]:
    """Carry out the runs, with a progress bar over the steps of all, and note each in `file` as soon as it is done.

    Runs that `file` holds already are not repeated, so an interrupted execution continues where it was.

    Args:
        runs: what to do.
        file: a JSON line for each finished run; its folder is there and can be written.
        jobs: runs at the same time, each in a process with one thread.

    Returns:
        Every run with its result, in the order of `runs`.

    Raises:
        ValueError: jobs is below 1.
        RuntimeError: a process died, for want of memory perhaps.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    results = read_finished(file)
    todo = [run for run in runs if run not in results]
    total = sum(run.steps for run in runs)
    bar = tqdm(total=total, initial=total - sum(run.steps for run in todo), desc="training", unit="step")
    with bar, file.open("a", encoding="utf-8") as out:
        with closing(finished_runs(todo, min(jobs, len(todo), MOST_JOBS), bar)) as finished:
            for run, result in finished:
                results[run] = result
                out.write(note(run, result))
                out.flush()
    return [(run, results[run]) for run in runs]


def note(run: Run, result: dict) -> str:
    """The line that a finished run gets in the file."""
    return json.dumps({"run": asdict(run), "result": result}) + "\n"


def forget(file: Path, runs: list[Run]) -> None:
    """Take runs whose results are written elsewhere out of the file; what another, interrupted command left stays."""
    left = {run: result for run, result in read_finished(file).items() if run not in set(runs)}
    if left:
        write_text(file, "".join(note(run, result) for run, result in left.items()))
    else:
        file.unlink()


def read_finished(file: Path) -> dict[Run, dict]:
    """Read the runs that are noted in a file; a line cut off by a kill is dropped from the file."""
    results = {}
    if not file.exists():
        return results
    whole = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            results[Run(**record["run"])] = record["result"]
            whole.append(line + "\n")
        except (ValueError, TypeError, KeyError):
            continue
    write_text(file, "".join(whole))
    return results


def finished_runs(todo: list[Run], jobs: int, bar: tqdm) -> Iterator[tuple[Run, dict]]:
    """Yield each run with its result as it finishes, and move the bar on."""
    if jobs <= 1:
        for run in todo:
            bar.set_postfix_str(f"{run.method} on {run.task}")
            yield run, run_once(run)
            bar.update(run.steps)
        return
    context = multiprocessing.get_context("spawn")  # the one way to start that works everywhere, CUDA included
    with stopping_pool(ProcessPoolExecutor(jobs, context, initializer=start_worker)) as pool:
        futures = {pool.submit(run_once, run): run for run in todo}
        for future in as_completed(futures):
            run = futures[future]
            yield run, future.result()
            bar.update(run.steps)
            bar.set_postfix_str(f"done: {run.method} on {run.task}")


@contextmanager
def stopping_pool(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """Stop the workers at once when something goes wrong, instead of waiting for their runs to end."""
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

"""Run the tasks of a notebook of exercises, each in a process of its own, and say what became of each.

The process that is started reads the notebook and runs the setup; for each task it makes a copy of itself (on Linux; elsewhere a
new process is started for each), so that nothing that one answer does reaches another: neither an endless loop nor a closed process nor a
changed setting of PyTorch. `progress` and the grading both run tasks through here, so they agree.
"""

import base64
import builtins
import copy
import dataclasses
import faulthandler
import io
import json
import linecache
import math
import os
import queue
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from minitransformer.course.reading import OPEN, Assignment, Exercise, Found, Part, match, read_cells

MEGABYTE = 2**20
START = 120  # seconds that a process may take to start, on a busy machine
PRINTED = 2000  # characters of what a task prints that are kept
LONGEST = 2000  # characters of a message
CAN_COPY = sys.platform == "linux"  # elsewhere PyTorch does not outlive the copying of a process


@dataclass(frozen=True)
class Limits:
    """What a task may use.

    Args:
        seconds: from its start to the end of its check.
        memory: megabytes.
        disk: megabytes of files.
        processes: how many at once; 0: any number.
    """

    seconds: int = 20
    memory: int = 4096
    disk: int = 256
    processes: int = 0


@dataclass
class Outcome:
    """What became of a task.

    Args:
        task: its name.
        state: "done", "open", "wrong" (the check says so), "error" (Python does) or "missing".
        message: of the check or of Python; what to do where the task is missing.
        answer: the statements that were taken for the answer.
        printed: the beginning of what it printed.
        of: the points that it is worth.
    """

    task: str
    state: str
    message: str = ""
    answer: str = ""
    printed: str = ""
    of: float = 0.0

    @property
    def points(self) -> float:
        """What it earned: all or nothing."""
        return self.of if self.state == "done" else 0.0


class NoResult(Exception):
    """Nothing could be run, for a reason that lies with this machine and not with the learner."""


class Place:
    """Where learners' code runs: here, in a plain process. The grading has one behind walls."""

    def start(self, module: str, folder: Path) -> subprocess.Popen:
        """Start a module of the package as a process with a scratch folder to run in."""
        with (folder / "errors").open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env={**os.environ, **quiet()},
                start_new_session=True,
            )

    def excess(self, process: subprocess.Popen, folder: Path) -> str:
        """What the process uses too much of, in words; "" where all is well."""
        return ""

    def stop(self, process: subprocess.Popen) -> None:
        """End a process and what it started."""
        if os.name == "posix":
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        process.kill()


def quiet() -> dict[str, str]:
    """Environment variables for a process that shows nothing."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}  # they do not outlive a copying
    return {**threads, "MPLBACKEND": "agg", "TQDM_DISABLE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}


def evaluate(
    assignment: Assignment,
    content: bytes,
    limits: Limits | None = None,
    place: Place | None = None,
    only: set[str] | None = None,
) -> tuple[list[Outcome], list[str]]:
    """Run the tasks of a notebook.

    Args:
        assignment: as released.
        content: of the learner's notebook.
        limits: for each task.
        place: where it runs.
        only: names of the tasks to run; default: all.

    Returns:
        What became of each task, in order, and notes on what is odd about the notebook.

    Raises:
        ValueError: the file is no notebook; the message says what it is.
        NoResult: nothing could be run here.
    """
    limits, place, token = limits or Limits(), place or Place(), secrets.token_hex()
    wanted = [task.name for task in assignment.tasks if only is None or task.name in only]
    found: dict[str, Outcome] = {}
    ended: dict[str, Outcome] = {}
    notes: list[str] = []
    while [name for name in wanted if name not in ended]:
        job = {
            "token": token,
            "assignment": asdict(assignment),
            "content": base64.b64encode(content).decode("ascii"),
            "tasks": [name for name in wanted if name not in ended],
            "limits": asdict(limits),
        }
        before, running, why = len(ended), None, ""
        folder = Path(tempfile.mkdtemp(prefix="course-")).resolve()
        try:
            for said in listen(place, folder, job, limits):
                if "unreadable" in said:
                    raise ValueError(said["unreadable"])
                if "failed" in said:
                    raise NoResult(said["failed"])
                if "found" in said:
                    found = {row["task"]: Outcome(**row) for row in said["found"]}
                    notes = said["notes"]
                    ended |= {name: row for name, row in found.items() if row.state != "ready" and name in wanted}
                elif "begin" in said:
                    running = said["begin"]
                elif "end" in said and said["end"] == running:
                    row = found[running]
                    ended[running] = dataclasses.replace(row, **said["outcome"])
                    running = None
                elif "gone" in said and said["gone"] == running:
                    ended[running] = dataclasses.replace(found[running], state="error", message=GONE)
                    running = None
                elif "stopped" in said:
                    why = said["stopped"]
            if running is not None:
                ended[running] = dataclasses.replace(found[running], state="error", message=why or GONE)
            elif not found and why:  # reading it took too long, or too much
                return [Outcome(task.name, "error", why, of=task.points) for task in assignment.tasks], [why]
            elif len(ended) == before:
                raise NoResult(why or last_line(folder / "errors") or "no process could be started")
        finally:
            remove(folder)
    return [ended[name] for name in wanted], notes


GONE = "the answer ends Python itself (sys.exit, os._exit, or a crash); a function should return"


def listen(place: Place, folder: Path, job: dict, limits: Limits) -> list[dict]:
    """Start a process, give it its job, and yield what it says until it ends or is ended."""
    process = place.start("minitransformer.course.running", folder)
    lines: queue.Queue = queue.Queue()

    def hear() -> None:
        with process.stdout as heard:
            while line := heard.readline(16 * MEGABYTE):
                lines.put(line)
        lines.put(None)

    def tell() -> None:
        try:
            with process.stdin as ear:
                ear.write(json.dumps(job).encode("utf-8"))
        except OSError:  # it has ended already
            pass

    for work in (hear, tell):
        threading.Thread(target=work, daemon=True).start()
    deadline, running = time.monotonic() + START, False
    try:
        while True:
            try:
                line = lines.get(timeout=0.25)
            except queue.Empty:
                why = place.excess(process, folder)
                if not why and time.monotonic() > deadline:
                    why = late(limits.seconds, folder / "errors") if running else "it did not start in time"
                if why:
                    yield {"stopped": why}
                    return
                continue
            if line is None:
                return
            try:
                said = json.loads(line)
                known = said.pop("token") == job["token"]
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # not ours: an answer has written here
            if known:
                running = "begin" in said
                deadline = time.monotonic() + (limits.seconds if running else START)
                yield said
    finally:
        place.stop(process)
        process.wait()


def late(seconds: float, errors: Path) -> str:
    """What to say of a task that took too long: where it was, as far as Python could tell."""
    at = re.search(r'File "(cell \d+)", line (\d+)', last_lines(errors))
    where = f", in {at[1]}, line {at[2]}" if at else ""
    return f"stopped after {seconds:g} s{where}: is there an endless loop?"


def last_lines(file: Path) -> str:
    """The end of a text file; "" where there is none."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - 2**16))
            return opened.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def last_line(file: Path) -> str:
    """The last line of a text file; "" where there is none."""
    return (last_lines(file).strip().splitlines() or [""])[-1]


def remove(folder: Path) -> None:
    """Remove a scratch folder, whatever an answer has made of it."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # thousands of folders, one in the other
        pass
    if os.name == "posix" and folder.exists():
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, str(folder)], stderr=subprocess.DEVNULL)


def clear(folder: Path, keep: set[str]) -> None:
    """Remove what a task has left in the scratch folder: the next one has all the room again."""
    for path in folder.iterdir():
        if path.name in keep:
            continue
        if path.is_dir() and not path.is_symlink():
            remove(path)
        else:
            path.unlink()


# ---- in the process that runs answers -------------------------------------------------------------------------------


class Kept(io.TextIOBase):
    """Takes what is printed and keeps the beginning."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        self.text += text[: PRINTED - len(self.text)]
        return len(text)


class Shell:
    """Stands in for IPython's shell: an answer may hold magics, but nothing depends on them."""

    def __getattr__(self, name: str) -> Callable:
        return lambda *arguments, **options: None


def run_task(task: Exercise, parts: tuple[Part, ...], released: dict) -> tuple[str, str]:
    """Run one task: what is given, the answer, the check. The check sees what was released and the answer, nothing else.

    Args:
        task: as released.
        parts: the answer and what it needs, in order.
        released: the namespace after the setup.

    Returns:
        State and message.
    """
    try:
        run(task.given, "given", released)
        own = types.ModuleType("exercise")
        sys.modules["exercise"] = own
        own.__dict__.update(released, get_ipython=Shell, display=lambda *shown, **options: None)
        put_back, before = state_of_torch(), guarded()
        for part in parts:
            run("\n" * (part.line - 1) + part.source, f"cell {part.cell}", own.__dict__)
        put_back()
        restore(before)
        answer = {name: own.__dict__[name] for name in task.names if name in own.__dict__}
        run(task.check, "check", {**released, **answer})
        if replaced := restore(before):
            return "error", f"the answer replaces {', '.join(replaced)}; it must leave what it has not made as it is"
    except BaseException as error:  # sys.exit and Ctrl-C, too
        return explain(error)
    return "done", ""


def run(source: str, name: str, namespace: dict) -> None:
    """Run Python in a namespace; tracebacks and `inspect` find its lines under the name."""
    kept = linecache.getlines(name)
    lines = source.splitlines(keepends=True)
    merged = [line if line.strip() else (kept[i] if i < len(kept) else line) for i, line in enumerate(lines)]
    linecache.cache[name] = (len(source), None, merged + kept[len(lines) :], name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        code = compile(source, name, "exec")
    exec(code, namespace)


def explain(error: BaseException) -> tuple[str, str]:
    """State and message for what a task raised."""
    try:
        text = str(error)[:LONGEST]
    except BaseException:
        text = "(its message cannot be shown)"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if frame.filename.startswith("cell ")]
    where = f" ({theirs[-1].filename}, line {theirs[-1].lineno}: {(theirs[-1].line or '').strip()})" if theirs else ""
    if isinstance(error, NotImplementedError) and text.endswith(OPEN):
        return "open", ""
    if isinstance(error, AssertionError) and not (theirs and frames[-1] == theirs[-1]):
        return "wrong", text or "the check fails"
    if isinstance(error, NotImplementedError) and "forward" in text:
        return "error", "the class has no method `forward`; is its name misspelled?"
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "error", f"{GONE}{where}"
    if isinstance(error, MemoryError) or "not enough memory" in text or "can't allocate memory" in text:
        return "error", f"it wants more memory than there is for a task{where}"
    if isinstance(error, NameError) and theirs:
        where += "; here only the setup runs, the answer, and the cells that define what it uses"
    return "error", f"{type(error).__name__}: {text}{where}"


def state_of_torch() -> Callable[[], None]:
    """Remember the settings of PyTorch and the random generators; returns what puts them back."""
    import torch

    grad, dtype, device = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()
    strict, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    seeds = torch.get_rng_state(), random.getstate()

    def put_back() -> None:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
        if torch.are_deterministic_algorithms_enabled() != strict:  # the call takes seconds
            torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)
        torch.set_rng_state(seeds[0])
        random.setstate(seeds[1])

    return put_back


def guarded() -> dict[tuple[object, str], object]:
    """The functions and classes that a check relies on: Python's, PyTorch's and the course's."""
    import torch

    modules = [builtins, math, copy, torch, torch.nn, torch.nn.functional, torch.nn.init, torch.testing, torch.linalg]
    modules += [module for name, module in sys.modules.items() if name.startswith("minitransformer") and module]
    classes = [torch.Tensor, torch.nn.Module, torch.nn.Linear, torch.nn.Embedding, torch.nn.Parameter]
    classes += [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__.startswith("minitransformer")
    ]
    return {
        (owner, name): value
        for owner in dict.fromkeys([*modules, *classes])
        for name, value in list(vars(owner).items())
        if callable(value) or isinstance(value, staticmethod | classmethod | property)
    }


def restore(before: dict[tuple[object, str], object]) -> list[str]:
    """Put back what an answer has replaced, and name it."""
    replaced = []
    for (owner, name), value in before.items():
        now = vars(owner).get(name)
        if now is not value and not str(getattr(now, "__module__", "")).startswith("torch"):  # PyTorch may, and does
            setattr(owner, name, value)
            replaced.append(f"{owner.__name__}.{name}")
    return replaced


def limit(limits: Limits) -> None:
    """Set the limits of this process and all that it starts. On Windows there are none."""
    try:
        import resource
    except ImportError:
        return
    values = {"DATA": limits.memory * MEGABYTE, "CPU": limits.seconds + 5, "FSIZE": limits.disk * MEGABYTE, "CORE": 0}
    if limits.processes:
        values["NPROC"] = limits.processes
    for name, value in values.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        except (AttributeError, ValueError, OSError):  # a system that lacks it, or has a lower one
            continue


def outcome(task: Exercise, parts: tuple[Part, ...], released: dict, limits: Limits) -> dict:
    """Run one task in this process, which does nothing else afterwards."""
    printed = Kept()
    sys.stdout = sys.stderr = printed
    limit(limits)
    faulthandler.dump_traceback_later(0.8 * limits.seconds, file=2)  # where it is, should it be stopped
    state, message = run_task(task, parts, released)
    faulthandler.cancel_dump_traceback_later()
    return {"state": state, "message": message, "printed": printed.text}


def read_job(job: dict, say: Callable[..., None]) -> tuple[Assignment, dict[str, Found]]:
    """Read the notebook of a job, and say what it holds."""
    tasks = tuple(Exercise(**{**task, "cells": tuple(task["cells"])}) for task in job["assignment"]["tasks"])
    assignment = Assignment(job["assignment"]["name"], job["assignment"]["setup"], tasks)
    try:
        cells, notes = read_cells(base64.b64decode(job["content"]))
    except ValueError as problem:
        say(unreadable=str(problem))
        os._exit(0)
    matched = match(assignment, cells)
    rows = []
    for task, found in zip(tasks, matched.found, strict=True):
        answer = "\n\n".join(part.source for part in found.parts)
        rows.append(asdict(Outcome(task.name, found.state, found.message, answer, "", float(task.points))))
    say(found=rows, notes=[*notes, *matched.notes])
    return assignment, {found.task: found for found in matched.found}


def main() -> None:
    """Do the job that stands on the standard input, and say on the standard output what comes of it."""
    job = json.load(sys.stdin)
    token, voice = job.pop("token"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)

    def say(**said: object) -> None:
        text = (json.dumps({"token": token, **said}) + "\n").encode("utf-8")
        while text:
            text = text[os.write(voice, text) :]

    assignment, found = read_job(job, say)
    limits, released = Limits(**job["limits"]), {"__name__": "exercise"}
    ready = [task for task in assignment.tasks if task.name in job["tasks"] and found[task.name].state == "ready"]
    if not ready:
        return
    try:
        run(assignment.setup, "setup", released)
    except BaseException as error:
        say(failed=f"the setup cell of {assignment.name} does not run here: {type(error).__name__}: {error}")
        return
    import_module("torch._dynamo" if any("optim" in task.check for task in ready) else "torch")  # or each copy would
    folder = Path.cwd()
    keep = {path.name for path in folder.iterdir()}
    for task in ready:
        say(begin=task.name)
        if not CAN_COPY:
            say(end=task.name, outcome=outcome(task, found[task.name].parts, released, limits))
            os._exit(0)
        process = os.fork()
        if process == 0:
            try:
                os.setpgid(0, 0)
                say(end=task.name, outcome=outcome(task, found[task.name].parts, released, limits))
            finally:
                os._exit(0)
        os.waitpid(process, 0)
        try:
            os.killpg(process, signal.SIGKILL)  # what it has started
        except (ProcessLookupError, PermissionError):
            pass
        clear(folder, keep)
        say(gone=task.name)


if __name__ == "__main__":
    main()

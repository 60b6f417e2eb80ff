"""Run a notebook that nobody has read yet: in a process of its own, with limits, inside bubblewrap where there is one.

Three processes share the work, and the farther in, the less it may do:

    marking.py          has the gradebook and the submission; runs nothing of a student's
    supervisor.py       has one notebook; sends its cells to the kernel, watches it, and writes down what comes back
    kernel.py           runs the cells: no network, no files but Python's and a scratch folder (inside bubblewrap)
"""

import functools
import importlib.util
import json
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
MEGABYTE = 2**20
START = 120  # seconds that a kernel may take to start, on a busy machine
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives")
NOT_RUN = "not run"  # the state of a cell


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Args:
        seconds: for all its cells together, from the moment that the kernel is ready.
        memory: megabytes.
        disk: megabytes in its scratch folder.
        processes: how many at once.
        output: characters that its cells may print or show, all together; more is dropped.
    """

    seconds: int = 60
    memory: int = 2048
    disk: int = 256
    processes: int = 32
    output: int = MEGABYTE

    @property
    def cell(self) -> int:
        """Seconds for one cell: a third of all, so that one endless loop leaves time for the other tasks."""
        return max(1, round(self.seconds / 3))


class NoResult(Exception):
    """A notebook could not be run, for a reason that lies with this machine and not with the student."""


@functools.cache
def bubblewrap() -> tuple[str, str]:
    """Look for bubblewrap and try it.

    Returns:
        Its path and "", or "" and the reason why it cannot be used.
    """
    program = shutil.which("bwrap")
    if program is None:
        return "", "bubblewrap (bwrap) is not installed"
    with tempfile.TemporaryDirectory() as folder:
        command = [*walls(program, Path(folder)), sys.executable, "-c", ""]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=START)
    if ended.returncode:
        return "", f"bubblewrap does not work here ({ended.stderr.strip() or ended.returncode})"
    return program, ""


def walls(program: str, folder: Path) -> list[str]:
    """The command that runs another one where it sees Python, this course's package and one folder that it may write.

    Args:
        program: path of bubblewrap.
        folder: the one folder.
    """
    command = [program, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    for path in SYSTEM:
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        else:
            command += ["--ro-bind-try", path, path]
    for path in python_folders():
        command += ["--ro-bind-try", path, path]
    command += ["--ro-bind", str(HERE / "kernel.py"), str(HERE / "kernel.py")]
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(64 * MEGABYTE), "--tmpfs", "/dev/shm"]
    return [*command, "--remount-ro", "/dev", "--bind", str(folder), str(folder), "--remount-ro", "/"]


def visible(path: Path) -> str:
    """The folder behind the walls that a path lies in; "" where submissions cannot see the path."""
    folders = (Path(folder) for folder in (*SYSTEM, *python_folders()))
    return next((str(folder) for folder in folders if path.is_relative_to(folder)), "")


def python_folders() -> list[str]:
    """Folders that this Python and the course's package need, and nothing beside them of the course."""
    executable = Path(sys.executable).resolve()
    folders = [sys.prefix, sys.base_prefix, str(Path(sys.base_prefix).resolve()), str(executable.parents[1])]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    package = importlib.util.find_spec("minitransformer")
    if package is not None and package.origin is not None:
        folders.append(str(Path(package.origin).parent))
    return [folder for folder in dict.fromkeys(folders) if folder not in ("/", "/usr")]


def environment(home: Path) -> dict[str, str]:
    """The environment variables of a student's process: nothing of this one's that it does not need."""
    keep = ("SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "WINDIR", "NUMBER_OF_PROCESSORS")  # Windows
    kept = {name: os.environ[name] for name in keep if name in os.environ}
    folders = {name: str(home) for name in ("HOME", "USERPROFILE", "APPDATA", "TMPDIR", "TEMP", "TMP")}
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
    own = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "USER": "student",
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "IPYTHONDIR": str(home / "ipython"),
        "CUDA_VISIBLE_DEVICES": "",
        "TQDM_DISABLE": "1",
        "NBGRADER_EXECUTION": "autograde",
    }
    if site.ENABLE_USER_SITE:
        own["PYTHONUSERBASE"] = site.getuserbase()
    return {**kept, **folders, **threads, **own}


@functools.cache
def font_lists() -> tuple[Path, ...]:
    """Matplotlib's list of fonts, made once: every submission would otherwise spend seconds on its own."""
    if importlib.util.find_spec("matplotlib") is None:
        return ()
    import matplotlib.font_manager

    return tuple(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))


def run(
    notebook: str, limits: Limits, walled: bool, started: Callable[[subprocess.Popen], None] = lambda process: None
) -> dict:
    """Run a notebook in processes of its own and wait until the last of them is gone.

    Args:
        notebook: its text.
        limits: what it may use.
        walled: inside bubblewrap; it must be there.
        started: called with the process, which whoever wants to end all this early gives to `kill`.

    Returns:
        "cells": a dictionary for each cell (None where nothing came back): "state" ("ok": ran to its end; "error"; "not run"; "": no code) and "outputs".
        "ended": why it was ended early, or "".
        "tampered": whether the kernel called a failing cell a success.

    Raises:
        NoResult: no kernel could be started.
    """
    folder = Path(tempfile.mkdtemp(prefix="peft-")).resolve()
    try:
        (folder / "notebook.ipynb").write_text(notebook, encoding="utf-8")
        fonts = folder / "run" / "home" / "matplotlib"
        fonts.mkdir(parents=True)
        for file in font_lists():
            shutil.copy(file, fonts)
        settings = json.dumps({"limits": asdict(limits), "walled": walled})
        process = subprocess.Popen(
            [sys.executable, str(HERE / "supervisor.py"), str(folder), settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        started(process)
        try:
            _, errors = process.communicate(timeout=limits.seconds + 2 * START)
        except subprocess.TimeoutExpired:
            errors = "it did not end in time"
        finally:
            kill(process.pid)
            process.wait()
        if (folder / "result.json").exists():
            return json.loads((folder / "result.json").read_text(encoding="utf-8"))
        if (folder / "ready").exists() and process.returncode < 0:  # too much for the process that listens
            return {"cells": None, "ended": "it sent more than could be taken in", "tampered": False}
        raise NoResult((errors.strip().splitlines() or ["no kernel could be started"])[-1])
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a scratch folder, whatever a student has made of it."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:  # thousands of folders, one in the other
        pass
    if os.name == "posix" and folder.exists():
        for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
            subprocess.run([*command, str(folder)], stderr=subprocess.DEVNULL)


def kill(process_id: int) -> None:
    """End a process and all that it started, at once."""
    try:
        process = psutil.Process(process_id)
        family = [*process.children(recursive=True), process]
    except psutil.Error:
        return
    for member in family:
        try:
            member.kill()
        except psutil.Error:
            continue

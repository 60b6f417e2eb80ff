"""Run a notebook that nobody has read yet: in a process of its own, with limits, inside bubblewrap where there is one.

Three processes share the work, and the farther in, the less it may do:

    grade.py            has the gradebook and all submissions; runs nothing of a student's
    sandbox.py (main)   has one notebook; sends its cells to the kernel, watches it, and writes down what comes back
    kernel.py           runs the cells: no network, no files but Python's and a scratch folder (inside bubblewrap)
"""

import functools
import importlib.util
import json
import os
import platform
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
MEGABYTE = 2**20
START = 120  # seconds that a kernel may take to start, on a busy machine
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives")
CELL_ENDED, NOT_RUN = "error", "not run"


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
    with tempfile.TemporaryDirectory(prefix="peft-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch).resolve()
        (folder / "notebook.ipynb").write_text(notebook, encoding="utf-8")
        fonts = folder / "run" / "home" / "matplotlib"
        fonts.mkdir(parents=True)
        for file in font_lists():
            shutil.copy(file, fonts)
        settings = json.dumps({"limits": asdict(limits), "walled": walled})
        process = subprocess.Popen(
            [sys.executable, str(HERE / "sandbox.py"), str(folder), settings],
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


def excess(process_id: int, folder: Path, limits: Limits, deadline: float) -> str:
    """What a student's processes use too much of, in words; "" where all is well."""
    if time.monotonic() > deadline:
        return f"the time limit of {limits.seconds} s for all cells"
    try:
        root = psutil.Process(process_id)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return ""
    memory = 0
    for member in family:
        try:
            memory += member.memory_info().rss
        except psutil.Error:
            continue
    if memory > limits.memory * MEGABYTE:
        return f"the memory limit of {limits.memory} MB"
    if len(family) > limits.processes:
        return f"the limit of {limits.processes} processes"
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size + 4096  # an empty file takes room, too
            except OSError:
                continue
    return f"the disk limit of {limits.disk} MB" if size > limits.disk * MEGABYTE else ""


def execute(folder: Path, limits: Limits, walled: bool) -> dict:
    """Run the notebook in the folder, in this process's kernel. See `run`."""
    # jsonschema would compile a grammar of web addresses here, for two seconds, that no notebook needs.
    sys.modules.setdefault("rfc3987_syntax", None)
    import nbformat
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import DeadKernelError

    own = {
        "memory": limits.memory * MEGABYTE,
        "seconds": limits.seconds + START,
        "file_size": limits.disk * MEGABYTE,
        "processes": 256 if walled and countable() else 0,
        "alone": walled,
    }
    command = [sys.executable, "-P", str(HERE / "kernel.py"), json.dumps(own), "-f", "{connection_file}"]
    command.append("--HistoryManager.enabled=False")
    if walled:
        command = [*walls(bubblewrap()[0], folder / "run"), *command]

    class Specs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            # Nothing outside can send a signal to one process behind the walls: the kernel is asked to do it itself.
            return KernelSpec(argv=command, language="python", interrupt_mode="message" if walled else "signal")

    class Client(NotebookClient):
        room = limits.output

        def output(self, outs, msg, display_id, cell_index):
            self.room -= len(str(msg["content"]))
            if self.room < 0:
                return None
            return super().output(outs, msg, display_id, cell_index)

    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    # A kernel that a student has changed so that it calls everything a success calls this cell a success, too.
    notebook.cells.append(nbformat.v4.new_code_cell("raise ArithmeticError('canary')"))
    states = [NOT_RUN if cell.cell_type == "code" else "" for cell in notebook.cells]
    late = {"ename": "TimeoutError", "evalue": f"this cell ran longer than {limits.cell} s", "traceback": []}

    def executed(cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        content = execute_reply["content"]
        states[cell_index] = "ok" if content["status"] == "ok" else CELL_ENDED
        if content.get("evalue") == late["evalue"]:
            cell.outputs.append(nbformat.v4.new_output("error", **late))

    ipc = os.name == "posix"  # no network needed, not even to this machine itself
    manager = AsyncKernelManager(
        kernel_name="student",
        kernel_spec_manager=Specs(),
        connection_file=str(folder / "run" / "kernel.json"),
        transport="ipc" if ipc else "tcp",
    )
    client = Client(
        notebook,
        km=manager,
        timeout=limits.cell,
        startup_timeout=START,
        interrupt_on_timeout=True,
        error_on_timeout=late,
        allow_errors=True,
        shutdown_kernel="immediate",
        on_cell_executed=executed,
    )
    home, ended, tampered, done = folder / "run" / "home", "", False, threading.Event()
    with client.setup_kernel(cleanup_kc=True, cwd=str(home), env=environment(home)):
        (folder / "ready").touch()
        kernel, deadline = manager.provisioner.process.pid, time.monotonic() + limits.seconds

        def watch() -> None:
            nonlocal ended
            while not done.wait(0.25):
                ended = excess(kernel, folder / "run", limits, deadline)
                if ended:
                    kill(kernel)
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            tampered = states[-1] == "ok"
        except Exception as error:  # the student's process has ended, or sends what nobody can read
            done.set()
            watcher.join()
            states[states.index(NOT_RUN)] = CELL_ENDED
            died = isinstance(error, DeadKernelError)
            ended = ended or ("its process ended in a cell" if died else f"its process sent a {type(error).__name__}")
        done.set()
        watcher.join()
        kill(kernel)
    cells = [
        {"state": state, "outputs": cell.get("outputs", []) if state in ("ok", CELL_ENDED) else []}
        for state, cell in zip(states[:-1], notebook.cells[:-1], strict=True)
    ]
    return {"cells": cells, "ended": ended, "tampered": tampered}


def countable() -> bool:
    """Whether this Linux counts the processes behind the walls apart from this user's others (since 5.14)."""
    version = platform.release().split(".")
    try:
        return (int(version[0]), int(version[1].split("-")[0])) >= (5, 14)
    except (IndexError, ValueError):
        return False


def main(folder: Path, settings: dict) -> None:
    """Run the notebook in a folder and write what came out of it to `result.json` there."""
    limits = Limits(**settings["limits"])
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (2048 * MEGABYTE, 2048 * MEGABYTE))
    except (ImportError, ValueError, OSError):
        pass
    text = json.dumps(execute(folder, limits, settings["walled"]))
    partial = folder / "result.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / "result.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))

"""Run one notebook in a kernel and watch it: `python supervisor.py FOLDER SETTINGS`, started by sandbox.py.

The folder holds `notebook.ipynb` and gets `ready` when the kernel has started, then `result.json`.
"""

import json
import math
import os
import platform
import secrets
import stat
import sys
import threading
import time
from pathlib import Path

import psutil
from sandbox import HERE, MEGABYTE, NOT_RUN, START, Limits, NoResult, bubblewrap, environment, kill, walls

CELL_ENDED = "error"  # the state of a cell
RESERVE = 256 * MEGABYTE  # of the machine's memory; with less, whoever is running is ended
NO_MEMORY = "this machine has hardly any memory left; close other programs or give --jobs 1"
CANARIES = ("assert not {word!r}", "raise ArithmeticError({word!r})")


def excess(process_id: int, folder: Path, limits: Limits, deadline: float) -> str:
    """What a student's processes use too much of, in words; "" where all is well."""
    if time.monotonic() > deadline:
        return f"the time limit of {limits.seconds} s for all cells"
    try:
        root = psutil.Process(process_id)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return ""
    memory, nameless = 0, {}
    for member in family:
        try:
            memory += member.memory_info().rss
            nameless |= nameless_files(member.pid)
        except (psutil.Error, OSError):
            continue
    memory += sum(size for size, in_memory in nameless.values() if in_memory)
    if memory > limits.memory * MEGABYTE:
        return f"the memory limit of {limits.memory} MB"
    if len(family) > limits.processes:
        return f"the limit of {limits.processes} processes"
    disk = files_in(folder) + sum(size for size, in_memory in nameless.values() if not in_memory)
    if disk > limits.disk * MEGABYTE:
        return f"the disk limit of {limits.disk} MB"
    return NO_MEMORY if psutil.virtual_memory().available < RESERVE else ""


def files_in(folder: Path) -> float:
    """Bytes that the files in a folder take; infinity where somebody keeps them from being counted."""
    size, places = 0.0, [str(folder)]
    while places:
        try:
            with os.scandir(places.pop()) as entries:
                for entry in entries:
                    size += entry.stat(follow_symlinks=False).st_size + 4096  # an empty file takes room, too
                    if entry.is_dir(follow_symlinks=False):
                        places.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):  # gone meanwhile
            continue
        except OSError:  # shut, or too deep
            return math.inf
    return size


def nameless_files(process_id: int) -> dict[tuple[int, int], tuple[int, bool]]:
    """Open files of a process that have no name, and so are in no folder: deleted ones and memfd's (Linux).

    Returns:
        By device and inode, because processes share them: bytes, and whether they are in memory.

    Raises:
        OSError: the process is gone, or this is not Linux.
    """
    found = {}
    with os.scandir(f"/proc/{process_id}/fd") as entries:
        for entry in entries:
            try:
                info = entry.stat()
                if stat.S_ISREG(info.st_mode) and info.st_nlink == 0:
                    in_memory = os.readlink(entry.path).startswith("/memfd:")
                    found[info.st_dev, info.st_ino] = (info.st_blocks * 512, in_memory)
            except OSError:
                continue
    return found


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
    # A kernel that a student has changed so that it calls everything a success calls these cells a success, too.
    notebook.cells += [nbformat.v4.new_code_cell(source.format(word=secrets.token_hex())) for source in CANARIES]
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
                try:
                    ended = excess(kernel, folder / "run", limits, deadline)
                except Exception as error:  # unwatched, it must not go on
                    ended = f"it could not be watched any more ({type(error).__name__})"
                if ended:
                    kill(kernel)
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            tampered = "ok" in states[-len(CANARIES) :]
        except Exception as error:  # the student's process has ended, or sends what nobody can read
            done.set()
            watcher.join()
            if NOT_RUN in states:
                states[states.index(NOT_RUN)] = CELL_ENDED
            died = isinstance(error, DeadKernelError)
            ended = ended or ("its process ended in a cell" if died else f"its process sent a {type(error).__name__}")
        done.set()
        watcher.join()
        kill(kernel)
    if ended == NO_MEMORY:
        raise NoResult(NO_MEMORY)
    cells = [
        {"state": state, "outputs": cell.get("outputs", []) if state in ("ok", CELL_ENDED) else []}
        for state, cell in list(zip(states, notebook.cells, strict=True))[: -len(CANARIES)]
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

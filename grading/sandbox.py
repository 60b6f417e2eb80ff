"""Where submissions run: in processes of their own, watched, inside bubblewrap where there is one.

marking.py                          has the submission and the teacher's copy; runs nothing of a student's
minitransformer.course.running      runs the tasks: no network, no files but Python's and a scratch folder (inside bubblewrap)
"""

import functools
import importlib.util
import math
import os
import platform
import shutil
import site
import stat
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import psutil

from minitransformer.course.running import MEGABYTE, START, Limits, NoResult, Place

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives")
RESERVE = 256 * MEGABYTE  # of the machine's memory; with less, whoever is running is ended
NO_MEMORY = "this machine has hardly any memory left; close other programs or give --jobs 1"
PROCESSES = 32  # that a submission may have at once
PYTHON = os.path.abspath(sys.executable)  # behind the walls, a path with ".." in it leads nowhere


class Watched(Place):
    """Runs submissions in processes that are watched, inside bubblewrap or not.

    Args:
        limits: of a task.
        walled: whether inside bubblewrap; it must be there.
    """

    def __init__(self, limits: Limits, walled: bool) -> None:
        self.limits, self.walled = limits, walled
        self.lock, self.running, self.stopped = threading.Lock(), set(), False

    def start(self, module: str, folder: Path) -> subprocess.Popen:
        """Start a module of the package as a process with a scratch folder to run in."""
        for file in font_lists():
            (folder / "matplotlib").mkdir(exist_ok=True)
            shutil.copy(file, folder / "matplotlib")
        command = [PYTHON, "-P", "-m", module]
        if self.walled:
            command = [*walls(bubblewrap()[0], folder), *command]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with (folder / "errors").open("wb") as errors, self.lock:
            process = subprocess.Popen(
                command, **pipes, stderr=errors, cwd=folder, env=environment(folder), start_new_session=True
            )
            self.running.add(process.pid)
            if self.stopped:
                kill(process.pid)
        return process

    def excess(self, process: subprocess.Popen, folder: Path) -> str:
        """What the process uses too much of, in words; "" where all is well."""
        return excess(process.pid, folder, self.limits)

    def stop(self, process: subprocess.Popen) -> None:
        """End a process and what it started."""
        kill(process.pid)
        with self.lock:
            self.running.discard(process.pid)

    def stop_all(self) -> None:
        """End whatever runs, and start nothing more."""
        with self.lock:
            self.stopped, running = True, list(self.running)
        for process_id in running:
            kill(process_id)


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
        command = [*walls(program, Path(folder)), PYTHON, "-c", ""]
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
    command += ["--proc", "/proc", "--dev", "/dev", "--size", str(64 * MEGABYTE), "--tmpfs", "/dev/shm"]
    return [*command, "--remount-ro", "/dev", "--bind", str(folder), str(folder), "--remount-ro", "/"]


def visible(path: Path) -> str:
    """The folder behind the walls that a path lies in; "" where submissions cannot see the path."""
    folders = (Path(folder) for folder in (*SYSTEM, *python_folders()))
    return next((str(folder) for folder in folders if path.is_relative_to(folder)), "")


def python_folders() -> list[str]:
    """Folders that this Python and the course's package need, and nothing beside them of the course."""
    executable = Path(sys.executable).resolve()
    folders = [
        os.path.abspath(sys.prefix),
        sys.base_prefix,
        str(Path(sys.base_prefix).resolve()),
        str(executable.parents[1]),
    ]
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
        "PATH": os.pathsep.join([str(Path(PYTHON).parent), os.defpath]),
        "USER": "student",
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "IPYTHONDIR": str(home / "ipython"),
        "CUDA_VISIBLE_DEVICES": "",
        "TQDM_DISABLE": "1",
        "MPLBACKEND": "agg",
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


def excess(process_id: int, folder: Path, limits: Limits) -> str:
    """What a student's processes use too much of, in words; "" where all is well.

    Raises:
        NoResult: the machine itself has hardly any memory left.
    """
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
        return f"stopped: more than {limits.memory} MB of memory"
    if len(family) > PROCESSES:
        return f"stopped: more than {PROCESSES} processes"
    disk = files_in(folder) + sum(size for size, in_memory in nameless.values() if not in_memory)
    if disk > limits.disk * MEGABYTE:
        return f"stopped: more than {limits.disk} MB of files"
    if psutil.virtual_memory().available < RESERVE:
        raise NoResult(NO_MEMORY)
    return ""


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


def countable() -> bool:
    """Whether this Linux counts the processes behind the walls apart from this user's others (since 5.14)."""
    version = platform.release().split(".")
    try:
        return (int(version[0]), int(version[1].split("-")[0])) >= (5, 14)
    except (IndexError, ValueError):
        return False


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


# ---- without walls: what has changed --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Footprint:
    """Size and time of every file below some folders, to see later which of them have changed.

    Args:
        folders: to look into.
        without: folders in them that change for other reasons.
    """

    folders: tuple[Path, ...]
    without: tuple[Path, ...]

    def take(self) -> dict[str, tuple[int, int]]:
        """Bytes and time of change, by path."""
        seen, places = {}, [str(folder) for folder in self.folders]
        skipped = {str(folder) for folder in self.without}
        while places:
            try:
                with os.scandir(places.pop()) as entries:
                    for entry in entries:
                        if entry.path in skipped or entry.name in ("__pycache__", ".git", ".ipynb_checkpoints"):
                            continue
                        info = entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            places.append(entry.path)
                        else:
                            seen[entry.path] = (info.st_size, info.st_mtime_ns)
            except OSError:
                continue
        return seen


def changes(before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """Which files are new, changed or gone, in words."""
    words = [f"{path} is new" for path in sorted(after.keys() - before.keys())]
    words += [f"{path} is gone" for path in sorted(before.keys() - after.keys())]
    return words + [
        f"{path} has changed" for path in sorted(before.keys() & after.keys()) if before[path] != after[path]
    ]

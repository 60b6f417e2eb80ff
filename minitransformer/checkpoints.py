"""The pretrained bases that ship with the course: safetensors for the weights, a JSON card beside each."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from minitransformer.model import GPT, GPTConfig

FOLDER = Path(__file__).parent / "pretrained"
ENDINGS = (".json", ".safetensors")


def base_names(folder: str | Path | None = None) -> list[str]:
    """Names of the bases that are there; None: where the course keeps its own."""
    return sorted(file.stem for file in Path(FOLDER if folder is None else folder).glob("*.json"))


def locate(name: str | Path, folder: str | Path | None = None) -> tuple[str, Path]:
    """The name of a base, and the folder that holds its two files.

    Args:
        name: `tiny`, one of the bases in `folder`; or the path of another's files, as in `bases/tiny` or
            `bases/tiny.safetensors`, from `folder` or else from the current folder.
        folder: where the bases are; None: where the course keeps its own.
    """
    name = str(name)
    if "/" not in name and "\\" not in name and not name.endswith(ENDINGS):
        return name, FOLDER if folder is None else Path(folder)
    path = Path(folder or "") / name
    return path.stem if path.suffix in ENDINGS else path.name, path.parent


def load_card(name: str | Path, folder: str | Path | None = None) -> dict:
    """Read a base's card: its config, data, seed, steps, accuracies, and the command that made it.

    Args:
        name: of the base, or the path of its files (see `locate`).
        folder: where the bases are; None: where the course keeps its own.

    Raises:
        ValueError: no base of that name is there, or its card cannot be read or is damaged.
    """
    name, folder = locate(name, folder)
    there = base_names(folder)
    if name not in there:
        where = "" if folder == FOLDER else f" in {folder}"
        raise ValueError(
            f"there is no base {name!r}{where}; there are: {', '.join(there) or 'none'} "
            "(another's files are named by their path, as in bases/tiny)"
        )
    file = folder / f"{name}.json"
    data = read(file, name)
    try:
        card = json.loads(data)
        GPTConfig(**card["config"])
        card["sha256"]  # must be there too
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the card {file} is damaged ({error}); {remedy(name, folder)}") from None
    return card


def load_base(name: str | Path = "tiny", device: torch.device | str = "cpu", folder: str | Path | None = None) -> GPT:
    """Load a pretrained base, in evaluation mode.

    Args:
        name: `nano`, `tiny`, `small` (the skills base, 32, 64 and 128 wide) or `docs` (the character model);
            or the path of another base's files, as in `bases/tiny`, where `pretrain` writes.
        device: where the weights go.
        folder: where the bases are; None: where the course keeps its own.

    Raises:
        ValueError: no base of that name is there, its files cannot be read or are damaged, or this machine has no
            such device.
    """
    card = load_card(name, folder)
    name, folder = locate(name, folder)
    file = folder / f"{name}.safetensors"
    data = read(file, name)
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise ValueError(f"{file} is damaged (its checksum is not the card's); {remedy(name, folder)}")
    try:
        weights = load(data)  # read, not mapped: an open map would keep Windows from replacing the file
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}); {remedy(name, folder)}") from None
    with torch.random.fork_rng(devices=[]):  # loading must not change what is drawn next
        model = GPT(GPTConfig(**card["config"]))
    try:
        model.load_state_dict(weights, assign=True)
    except RuntimeError:
        raise ValueError(
            f"the card {folder / name}.json is damaged (its config is not the weights'); {remedy(name, folder)}"
        ) from None
    try:
        return model.requires_grad_().eval().to(device)
    except (RuntimeError, AssertionError) as error:  # PyTorch's two ways to say that there is no such device
        why = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used ({why}); device='cpu' is always there") from None


def read(file: Path, name: str) -> bytes:
    """What is in one of a base's two files.

    Raises:
        ValueError: it is missing or cannot be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{file} is missing; {remedy(name, file.parent)}") from None
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror}); check who may read it") from None


def remedy(name: str, folder: Path) -> str:
    """What to do about a damaged base."""
    make = f"make it anew with `python -m minitransformer pretrain {name} --out FOLDER`"
    if folder != FOLDER:
        return f"delete its files and {make.replace('FOLDER', str(folder))}"
    if (FOLDER.parents[1] / ".git").exists():
        return f"restore it with `git checkout -- minitransformer/{FOLDER.name}`"
    return "install minitransformer anew"

"""Files that are written whole or not at all."""

import hashlib
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def check_writable(folder: Path) -> None:
    """Make the folder for results.

    Raises:
        ValueError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"results cannot be written to {folder} ({error.strerror}); choose another with --out"
        ) from None


def write_text(file: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, file)


def write_safetensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all, so that an interruption never leaves half a file.

    Raises:
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    try:
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial, metadata)
    except SafetensorError as error:
        raise OSError(f"{file} cannot be written ({error}); is there room on the disk?") from None
    os.replace(partial, file)


def sha256(file: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()

"""Files that are written whole or not at all."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        probe.unlink(missing_ok=True)  # another process may try the same folder
    except OSError as error:
        raise ValueError(
            f"results cannot be written to {folder} ({error.strerror}); choose another with --out"
        ) from None


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of `file` at the end; when anything goes wrong, `file` stays as it was.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        yield partial
        os.replace(partial, file)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError | SafetensorError):
            why = getattr(error, "strerror", None) or error
            raise OSError(f"{file} cannot be written ({why}); make room there or choose another folder") from None
        raise


def write_text(file: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_safetensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole or not at all, so that an interruption never leaves half a file.

    Raises:
        OSError: the file cannot be written.
    """
    with whole(file) as partial:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode  # what everybody may do with a new file here; safetensors would hide it from all
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial, metadata)
        partial.chmod(mode)
        sort_metadata(partial)


def sort_metadata(file: Path) -> None:
    """Put the metadata of a safetensors file in order: the library leaves it to chance, and the same run must write the same bytes."""
    with file.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        if header["__metadata__"]:
            stream.seek(8)
            stream.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size))


def sha256(file: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()

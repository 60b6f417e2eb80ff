"""Reading a GGUF file, the format of llama.cpp: one file with settings, tokenizer, and weights of which most have four bits.

A file is: "GGUF", a version, how many tensors and settings there are; the settings, each a name, a type and a value; of
each tensor its name, shape, type and place; then the tensors. The tensors stay on the disk until they are asked for, and no
length that the file names is believed before it is held against the file's size.
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SCALARS = dict(zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True))  # GGUF's type -> struct's letter
STRING, ARRAY = 8, 9
# Type of a tensor -> its name, numbers in a block, bytes of a block.
LAYOUTS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}
Q4_1 = 3  # the type of most weights in four bits
MOST = 2**20  # settings, tensors, or dimensions and letters of a name: more is no file of a model


@dataclass(frozen=True)
class Stored:
    """A tensor in the file: its shape in PyTorch's order, the type of its numbers, and where its bytes are."""

    shape: tuple[int, ...]
    kind: int
    start: int
    size: int


class Cursor:
    """Reads a file from its beginning, and refuses to read past its end."""

    def __init__(self, file: Path, data: np.ndarray) -> None:
        self.file, self.data, self.place = file, data, 0

    def take(self, n: int) -> bytes:
        """The next n bytes.

        Raises:
            ValueError: the file ends before.
        """
        if n > len(self.data) - self.place:
            raise ValueError(f"{self.file} is damaged: it ends before what it announces at byte {self.place}")
        self.place += n
        return self.data[self.place - n : self.place].tobytes()

    def number(self, kind: int) -> int | float | bool:
        """The next number, of one of GGUF's types."""
        letter = SCALARS[kind]
        return struct.unpack(f"<{letter}", self.take(struct.calcsize(letter)))[0]

    def small(self, what: str) -> int:
        """The next count, which must be a sensible one."""
        n = self.number(10)
        if n > MOST:
            raise ValueError(f"{self.file} is damaged: it announces {n} {what}")
        return n

    def string(self) -> str:
        """The next text."""
        return self.take(self.number(10)).decode("utf-8", errors="replace")

    def value(self, kind: int) -> object:
        """The next value of a setting; a list where it is an array."""
        if kind == STRING:
            return self.string()
        if kind in SCALARS:
            return self.number(kind)
        if kind != ARRAY:
            raise ValueError(f"{self.file} is damaged: there is no type {kind} of settings")
        inner, n = self.number(4), self.small("entries in a list")
        if inner == STRING:
            return [self.string() for _ in range(n)]
        if inner not in SCALARS:
            raise ValueError(f"{self.file} holds a list of type {inner}, which is not read here")
        return list(struct.unpack(f"<{n}{SCALARS[inner]}", self.take(n * struct.calcsize(SCALARS[inner]))))


class GGUF:
    """A GGUF file, opened: `settings` by name, and `tensors` by name, which `read` makes into PyTorch's.

    Args:
        file: its path.

    Raises:
        ValueError: it is missing or no GGUF file, damaged, or holds numbers of a type that is not read here.
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        try:
            self.data = np.memmap(self.file, dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise ValueError(f"{self.file} cannot be read ({error}); give the path of a GGUF file") from None
        cursor = Cursor(self.file, self.data)
        if len(self.data) < 24 or cursor.take(4) != b"GGUF":
            raise ValueError(f"{self.file} is no GGUF file: such a file begins with the letters GGUF")
        version = cursor.number(4)
        if version not in (2, 3):
            raise ValueError(f"{self.file} is GGUF of version {version}; versions 2 and 3 are read here")
        n_tensors, n_settings = cursor.small("tensors"), cursor.small("settings")
        self.settings: dict[str, object] = {}
        for _ in range(n_settings):
            name = cursor.string()
            self.settings[name] = cursor.value(cursor.number(4))
        headers = [self._header(cursor) for _ in range(n_tensors)]
        self.tensors = self._placed(headers, cursor.place)

    def _header(self, cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and place of the next tensor."""
        name, n = cursor.string(), cursor.number(4)
        if not 1 <= n <= 4:
            raise ValueError(f"{self.file} is damaged: {name!r} has {n} dimensions")
        shape = tuple(reversed([cursor.number(10) for _ in range(n)]))  # GGUF names the fastest one first
        return name, shape, cursor.number(4), cursor.number(10)

    def _placed(self, headers: list[tuple[str, tuple[int, ...], int, int]], end: int) -> dict[str, Stored]:
        """Where every tensor lies, once it is known to lie inside the file."""
        alignment = self.settings.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= MOST:
            raise ValueError(f"{self.file} is damaged: its general.alignment is {alignment!r}")
        first = -(-end // alignment) * alignment  # where the tensors begin
        found: dict[str, Stored] = {}
        for name, shape, kind, place in headers:
            if kind not in LAYOUTS:
                known = ", ".join(label for label, _, _ in LAYOUTS.values())
                raise ValueError(
                    f"{self.file}: {name!r} is quantised in a way (type {kind}) that is not read: {known} are"
                )
            _, numbers, size = LAYOUTS[kind]
            if name in found:
                raise ValueError(f"{self.file} is damaged: it holds {name!r} twice")
            if min(shape) < 1 or shape[-1] % numbers:
                raise ValueError(f"{self.file} is damaged: {name!r} has the shape {shape}")
            whole = Stored(shape, kind, first + place, prod(shape) // numbers * size)
            if whole.start + whole.size > len(self.data):
                raise ValueError(f"{self.file} is damaged: {name!r} reaches past the end of the file")
            found[name] = whole
        return found

    def setting(self, name: str, kind: type | tuple[type, ...] = object) -> object:
        """A setting that must be there.

        Raises:
            ValueError: it is not, or is of another kind.
        """
        value = self.settings.get(name)
        if value is None or not isinstance(value, kind):
            raise ValueError(f"{self.file}: {name} is {value!r}; a model cannot be made without it")
        return value

    def read(self, name: str) -> Tensor:
        """A tensor in 32 bits; nothing else of the file is read.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in self.tensors:
            raise ValueError(f"{self.file} holds no tensor {name!r}")
        stored = self.tensors[name]
        raw = self.data[stored.start : stored.start + stored.size]
        return torch.from_numpy(unpack(raw, stored.kind).reshape(stored.shape))


def unpack(raw: np.ndarray, kind: int) -> np.ndarray:
    """Numbers from bytes. In blocks of 32, each number is scale * code (+ least): one scale, and one least, a block.

    Q8_0: scale in 16 bits, 32 codes of a byte with sign. Q4_1: scale and least in 16 bits each, 32 codes of four bits, the
    lower halves of 16 bytes first, then the upper halves. Q4_0: the same without least; code 8 is zero.

    Args:
        raw: bytes.
        kind: a type of LAYOUTS.

    Returns:
        The numbers in 32 bits, in a row.
    """
    label, numbers, size = LAYOUTS[kind]
    if numbers == 1:
        return raw.view(f"<f{size}").astype(np.float32)
    blocks = raw.reshape(-1, size)  # (n, bytes of a block)
    head = {"Q8_0": 1, "Q4_0": 1, "Q4_1": 2}[label]  # numbers of 16 bits before the codes
    scales = blocks[:, : 2 * head].copy().view("<f2").astype(np.float32)  # (n, head)
    codes = blocks[:, 2 * head :]
    if label == "Q8_0":
        return (scales * codes.view(np.int8)).ravel()
    codes = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32)  # (n, 32)
    least = scales[:, 1:] if label == "Q4_1" else -8 * scales
    return (scales[:, :1] * codes + least).ravel()


def pack_q4_1(weight: np.ndarray) -> np.ndarray:
    """Bytes of Q4_1 that `unpack` reads: in a block, sixteen even steps from the least number to the largest.

    Args:
        weight: (d_out, d_in), d_in a multiple of 32, in 32 bits.

    Returns:
        The bytes of every row, (d_out, d_in / 32 * 20); a number too large for 16 bits becomes infinite.
    """
    _, numbers, _ = LAYOUTS[Q4_1]
    blocks = weight.reshape(-1, numbers)  # (n, 32)
    least = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - least) / 15
    steps = (blocks - least) * (1 / np.where(scale > 0, scale, 1)).astype(np.float32)
    codes = (steps + np.float32(0.5)).astype(np.uint8).clip(0, 15)
    with np.errstate(over="ignore"):
        head = np.concatenate([scale, least], axis=1).astype("<f2").view(np.uint8)  # (n, 4)
    lower, upper = np.split(codes, 2, axis=1)  # (n, 16) each
    return np.concatenate([head, lower | upper << 4], axis=1).reshape(len(weight), -1)

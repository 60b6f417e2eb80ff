"""A method of one's own: a Python file that says `METHOD = Method(...)`, found, imported and known by its name."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

from minitransformer.files import sha256
from minitransformer.method import Method
from minitransformer.methods import METHODS

LINE = 'METHOD = Method("name", attach_name, count_name, learning_rate=1e-2)'


def load_method(file: str | Path) -> Method:
    """Import a file and take the method that it calls METHOD.

    The file runs as any program of yours does: read what others give you before you load it.

    Raises:
        ValueError: there is no such file, importing it fails, or it makes no METHOD.
    """
    path = Path(file).resolve()
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"{file} is no Python file; name one that ends with a line such as {LINE}")
    return imported(path, sha256(path))


@cache
def imported(path: Path, checksum: str) -> Method:
    """The method of a file, imported anew for each of its contents."""
    name = f"own_{path.stem}"  # in sys.modules for pickle's sake, and never in the place of another module
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{path.name} cannot be imported: {explain(error, path)}") from None
    method = getattr(module, "METHOD", None)
    if not isinstance(method, Method):
        raise ValueError(f"{path.name} makes no method; it needs a line such as {LINE}")
    return method


def find(source: str | Path) -> Method:
    """A method of the course by its name, or the one of a file.

    Raises:
        ValueError: as `load_method`.
    """
    return METHODS[str(source)] if str(source) in METHODS else load_method(source)


@contextmanager
def known(method: Method) -> Iterator[None]:
    """Let METHODS hold a method for a while, so that its files are written and read by its name."""
    before = dict(METHODS)
    METHODS[method.name] = method
    try:
        yield
    finally:
        METHODS.clear()
        METHODS.update(before)


# ---- where something stands -------------------------------------------------------------------------------------------


def explain(error: BaseException, file: Path | None = None) -> str:
    """An error in one line, with the place in the file, or else the last place, that it passed through."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, AttributeError) and is_dataclass(error.obj):  # a config: say what there is
        said += f"; it has {', '.join(field.name for field in fields(error.obj))}"
    said = " ".join(said.split())[:300]
    if isinstance(error, SyntaxError):  # names its line itself
        return said
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if file is not None and Path(frame.filename) == file]
    if not (own or frames):
        return said
    frame = (own or frames)[-1]
    return f"{said} ({Path(frame.filename).name}, line {frame.lineno}: {frame.line})"


def place_of(function: Callable | type | None) -> str:
    """Where a function or a class is written: its name, file and line; its name alone where that is not known."""
    name = getattr(function, "__qualname__", str(function))
    try:
        return f"{name} ({Path(inspect.getsourcefile(function)).name}, line {inspect.getsourcelines(function)[1]})"
    except (TypeError, OSError):  # built in, or typed into an interpreter
        return name

"""Files are written whole or not at all, may be read by whom the umask allows, and an error names the file."""

import errno
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from minitransformer import files
from minitransformer.files import write_safetensors, write_text

WRITERS = {
    "text": lambda file: write_text(file, "new"),
    "safetensors": lambda file: write_safetensors({"a": torch.ones(2)}, file, {"b": "c"}),
}
each_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@each_writer
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077], ids=oct)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no modes")
def test_umask_decides_who_may_read(tmp_path, umask, write, mask):
    umask(mask)
    write(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


def test_safetensors_come_back(tmp_path):
    tensors = {"a": torch.randn(2, 3).T, "b": torch.arange(4)}
    write_safetensors(tensors, tmp_path / "new" / "file")
    loaded = load_file(tmp_path / "new" / "file")
    assert tensors.keys() == loaded.keys()
    assert all(torch.equal(tensors[key], loaded[key]) for key in tensors)


def test_same_content_is_the_same_bytes_whatever_order_its_metadata_is_given_in(tmp_path):
    """Left to the library, two entries stand in either order, by chance: of thirty files some would differ."""
    entries = {"zero": 'a "quoted"\nline\t\x01', "one": "Ünïcode ✓\x7f", "two": "\\"}
    for number in range(30):
        write_safetensors({"a": torch.ones(2, 3)}, tmp_path / str(number), entries)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(30)}) == 1
    with safe_open(tmp_path / "0", framework="pt") as saved:
        assert saved.metadata() == entries
        assert torch.equal(saved.get_tensor("a"), torch.ones(2, 3))


@each_writer
@pytest.mark.parametrize("problem", [errno.ENOSPC, errno.EACCES, "safetensors"], ids=str)
def test_file_that_cannot_be_written_is_named_and_stays_as_it_was(tmp_path, monkeypatch, write, problem):
    """The system names no file when the disk fills up in the middle of one."""
    words = "No space left on device (os error 28)" if problem == "safetensors" else os.strerror(problem)

    def fill_the_disk(*_, **__):
        raise SafetensorError(words) if problem == "safetensors" else OSError(problem, words)

    file = tmp_path / "file"
    file.write_text("old")
    monkeypatch.setattr(files.os, "replace", fill_the_disk)
    with pytest.raises(OSError) as raised:
        write(file)
    assert str(raised.value).startswith(f"{file} cannot be written ({words}); make room there")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


@each_writer
def test_interruption_leaves_no_half_file(tmp_path, monkeypatch, write):
    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", press_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "file")
    assert os.listdir(tmp_path) == []


@each_writer
def test_folder_that_is_a_file_is_named(tmp_path, write):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OSError, match="cannot be written"):
        write(tmp_path / "mine" / "file")
    assert Path(tmp_path / "mine").read_text() == "mine"

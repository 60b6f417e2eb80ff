"""The front door: help that comes at once, `pretrain`, and commands that stop half-way."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from minitransformer import __main__ as cli
from minitransformer import files
from minitransformer import pretrain as pretrain_module
from minitransformer.checkpoints import FOLDER, base_names, load_base, load_card
from minitransformer.methods import METHODS
from minitransformer.model import GPTConfig
from minitransformer.pretrain import RECIPES
from minitransformer.tasks import LADDER, SkillStreams, StringTask

ROOT = Path(__file__).parents[1]
MODULE = [sys.executable, "-m", "minitransformer"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few questions; and SIGTERM, which `main` takes for itself, is put back afterwards."""
    monkeypatch.setattr(StringTask, "test_size", 8)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def press_ctrl_c(*_):
    raise KeyboardInterrupt


@pytest.fixture
def fails(capsys):
    """A function that runs a command, makes sure that it fails with one line, and returns the line."""

    def fails(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        message = capsys.readouterr().err
        assert code == 1
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        return message

    return fails


# ---- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["nope"], ["doctor", "--help"]], ids=str)
def test_help_does_without_pytorch(arguments):
    code = f"import sys; from minitransformer.__main__ import main\ntry: main({arguments})\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"


def test_help_of_the_whole_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    assert all(f"\n    {name} " in out for name in cli.COMMANDS)
    assert "alone says what to do first" in out


def test_without_a_command_it_says_what_to_do_next(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as exit:
        cli.main([])
    assert exit.value.code == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 12
    proposed = [line.split() for line in said.splitlines() if re.match("  \\S", line)]
    assert proposed[0][:-1] == ["python", "-m", "jupyter", "lab"]
    assert (ROOT / proposed[0][-1]).exists()
    for words in proposed[1:-1]:
        assert words[:3] == ["python", "-m", "minitransformer"]
        assert cli.parse(words[3:]).command == words[3]
    assert proposed[-1][3:] == ["--help"]


def test_an_installed_copy_proposes_no_lesson(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "COURSE", tmp_path)
    assert "jupyter" not in cli.what_next("minitransformer")
    assert "minitransformer doctor" in cli.what_next("minitransformer")


@pytest.mark.parametrize(
    ("command", "names"),
    [("compare", [*METHODS, *LADDER]), ("search", [*METHODS, *LADDER]), ("pretrain", RECIPES)],
)
def test_help_of_a_command_names_what_there_is(capsys, command, names):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(names) <= set(words)


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("/x/minitransformer/__main__.py", "python -m minitransformer"),
        ("/bin/minitransformer", "minitransformer"),
        ("C:/Scripts/minitransformer.exe", "minitransformer"),
    ],
)
def test_usage_names_the_command_as_it_was_called(monkeypatch, capsys, called, name):
    monkeypatch.setattr(sys, "argv", [called])
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert capsys.readouterr().out.startswith(f"usage: {name} [-h]")


@pytest.mark.parametrize(
    "arguments", [["nope"], ["compare", "--seeds", "two"], ["pretrain"], ["--"], ["--", "nope"]], ids=str
)
def test_command_line_that_cannot_be_read_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        cli.main(arguments)
    assert exit.value.code == 2
    assert "usage: python -m minitransformer" in capsys.readouterr().err


# ---- commands for a checkout ----------------------------------------------------------------------------------------


def test_progress_reads_the_folder_that_it_is_given_or_the_one_here(monkeypatch, tmp_path, fails):
    from minitransformer.course import exercises

    assert "nowhere holds no exercises" in fails("progress", "nowhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exercises").mkdir()
    assert "error: exercises holds no exercises; " in fails("progress")  # not the repository's
    (tmp_path / "exercises").rmdir()
    monkeypatch.setattr(exercises, "EXERCISES", tmp_path / "gone")
    assert "error: exercises holds no exercises; run this where your folder" in fails("progress")


def test_figures_are_drawn_where_it_is_asked(monkeypatch, tmp_path, fails, capsys):
    from minitransformer.course import diagrams

    assert cli.main(["figures", str(tmp_path / "new")]) == 0
    assert f"written to {tmp_path / 'new'}" in capsys.readouterr().out
    assert (tmp_path / "new" / "ladder.png").exists()
    monkeypatch.setattr(diagrams, "FIGURES", tmp_path / "gone")
    assert "name a folder" in fails("figures")
    assert not (tmp_path / "gone").exists()


def test_claims_without_the_repository_say_so(monkeypatch, tmp_path, fails):
    from minitransformer.course import claims

    monkeypatch.setattr(claims, "CLAIMS", tmp_path / "gone.toml")
    assert "run this in the course's repository" in fails("claims")


# ---- stopping half-way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "saying"),
    [
        ("pretrain tiny", "interrupted; what was finished is saved"),
        ("doctor", "interrupted\n"),
        ("claims", "interrupted\n"),
    ],
)
def test_interrupted_command_promises_only_what_is_so(monkeypatch, capsys, command, saying):
    name, *rest = command.split()

    def command_of(parser):
        parser.add_argument("rest", nargs="*")
        return press_ctrl_c

    monkeypatch.setitem(cli.COMMANDS, name, command_of)
    assert cli.main([name, *rest]) == 130
    assert capsys.readouterr().err == f"\n{saying}" + (
        ": run the same command to continue\n" if "saved" in saying else ""
    )


SLOW_TORCH = """
import time
print("importing", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
@pytest.mark.parametrize("command", ["compare", "pretrain", "doctor"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no signal to a child alone")
def test_interruption_while_pytorch_is_imported_is_one_line(tmp_path, command, how):
    (tmp_path / "torch.py").write_text(SLOW_TORCH)
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also in the background
    code += f"from minitransformer.__main__ import main; sys.exit(main(['{command}', 'x']))".replace(
        ", 'x'", "" if command != "pretrain" else ", 'x'"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.stdout.readline() != "importing\n":  # `doctor` has said some lines before
            assert process.poll() is None
        process.send_signal(how)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "interrupted")


@pytest.mark.parametrize("arguments", [["--help"], ["doctor"]], ids=str)
def test_reader_of_a_pipe_that_leaves_is_no_error(arguments):
    code = f"import sys; sys.argv = ['minitransformer', *{arguments}]; from minitransformer.__main__ import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=60)
    assert err == ""
    assert process.returncode in ((0, 1) if "--help" in arguments else (1,))  # argparse itself may look away


@pytest.mark.parametrize(
    "error",
    [MemoryError(), cli.BrokenExecutor("a process ended"), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")],
    ids=lambda error: type(error).__name__,
)
def test_want_of_memory_is_an_error_without_a_traceback(monkeypatch, fails, error):
    def die(options):
        raise error

    monkeypatch.setitem(cli.COMMANDS, "doctor", lambda parser: die)
    assert "perhaps for want of memory" in fails("doctor")


def test_error_that_nobody_expects_keeps_its_traceback(monkeypatch):
    def die(options):
        raise RuntimeError("a bug")

    monkeypatch.setitem(cli.COMMANDS, "doctor", lambda parser: die)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["doctor"])


# ---- pretraining ----------------------------------------------------------------------------------------------------


def test_unknown_recipe_is_an_error(fails):
    assert "no recipe for a base 'nope'; there are: nano, tiny, small, docs" in fails("pretrain", "nope")


@pytest.fixture
def recipe(monkeypatch):
    """A function that makes the recipe of `tiny` a very small one, learning from a task."""
    monkeypatch.setattr(pretrain_module, "train", partial(pretrain_module.train, save_every=3))
    config = GPTConfig(vocab_size=10, block_size=64, n_layer=1, n_head=2, n_embd=8)

    def change(task):
        monkeypatch.setitem(RECIPES, "tiny", replace(RECIPES["tiny"], config=config, task=task, steps=10, batch_size=4))
        return task

    return change


def pretrain_into(folder):
    return cli.main(["pretrain", "tiny", "--device", "cpu", "--out", str(folder)])


def test_pretraining_writes_a_base_that_loads(recipe, tmp_path, same, capsys):
    recipe(SkillStreams())
    assert pretrain_into(tmp_path) == 0
    assert sorted(os.listdir(tmp_path)) == ["tiny.json", "tiny.safetensors"]
    card, model = load_card("tiny", tmp_path), load_base("tiny", folder=tmp_path)
    assert (card["steps"], card["config"]["n_embd"], model.config.n_embd) == (10, 8, 8)
    assert card["accuracy_by_examples_in_the_prompt"].keys() == {"0", "1", "2", "3"}
    out = capsys.readouterr().out
    assert f"tiny: {card['parameters']:,} parameters after 10 steps" in out
    named = re.search(r"written to (\S+) and (\S+); use it with --base (\S+)", out)
    assert Path(named[1]).exists() and Path(named[2]).exists()
    assert same(load_base(named[3]).state_dict(), model.state_dict())


def test_pretraining_writes_into_the_folder_bases_and_leaves_the_shipped_base_alone(recipe, tmp_path, monkeypatch):
    recipe(SkillStreams())
    monkeypatch.chdir(tmp_path)
    before = (FOLDER / "tiny.safetensors").read_bytes()
    assert cli.main(["pretrain", "tiny", "--device", "cpu"]) == 0
    assert sorted(os.listdir(tmp_path / "bases")) == ["tiny.json", "tiny.safetensors"]
    assert (FOLDER / "tiny.safetensors").read_bytes() == before
    assert load_base("bases/tiny").config.n_embd == 8


def test_base_that_is_there_is_never_replaced(recipe, interrupted, tmp_path, capsys):
    recipe(SkillStreams())
    assert pretrain_into(tmp_path) == 0
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    again = recipe(interrupted(SkillStreams(), 0))
    assert pretrain_into(tmp_path) == 1
    assert f"{tmp_path / 'tiny.json'} is there already; delete it" in capsys.readouterr().err
    assert again.batches == 0
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_pretraining_makes_the_same_base_whatever_was_drawn_before(recipe, tmp_path):
    recipe(SkillStreams())
    for seed, folder in enumerate(("one", "two"), start=1):
        torch.manual_seed(seed)
        assert pretrain_into(tmp_path / folder) == 0
    assert (tmp_path / "one" / "tiny.safetensors").read_bytes() == (tmp_path / "two" / "tiny.safetensors").read_bytes()


@pytest.mark.parametrize("at", [[1], [3], [5], [10], [8, 3]], ids=str)
def test_interrupted_pretraining_ends_with_the_same_weights(recipe, interrupted, same, tmp_path, capsys, at):
    recipe(SkillStreams())
    assert pretrain_into(tmp_path / "whole") == 0
    for batch in at:
        recipe(interrupted(SkillStreams(), batch))
        assert pretrain_into(tmp_path / "parts") == 130
        assert not base_names(tmp_path / "parts")  # no half base is taken for a whole one
        assert "Traceback" not in capsys.readouterr().err
    again = recipe(interrupted(SkillStreams(), 0))
    assert pretrain_into(tmp_path / "parts") == 0
    assert again.batches == 10 - sum((batch - 1) // 3 * 3 for batch in at)
    whole, parts = (load_base("tiny", folder=tmp_path / folder) for folder in ("whole", "parts"))
    assert same(whole.state_dict(), parts.state_dict())
    assert load_card("tiny", tmp_path / "whole") == load_card("tiny", tmp_path / "parts")
    assert sorted(os.listdir(tmp_path / "parts")) == ["tiny.json", "tiny.safetensors"]


def test_interruption_behind_the_training_repeats_none_of_it(recipe, interrupted, tmp_path, monkeypatch):
    recipe(SkillStreams())
    with monkeypatch.context() as patch:
        patch.setattr(pretrain_module, "quality", lambda *_: press_ctrl_c())
        assert pretrain_into(tmp_path) == 130
    again = recipe(interrupted(SkillStreams(), 0))
    assert pretrain_into(tmp_path) == 0
    assert again.batches == 0
    load_base("tiny", folder=tmp_path)


def test_damaged_state_of_pretraining_is_an_error_that_says_what_to_delete(recipe, interrupted, tmp_path, capsys):
    recipe(interrupted(SkillStreams(), 5))
    assert pretrain_into(tmp_path) == 130
    state = tmp_path / "tiny.state"
    state.write_bytes(state.read_bytes()[:-100])
    capsys.readouterr()
    assert pretrain_into(tmp_path) == 1
    [message] = capsys.readouterr().err.splitlines()
    assert f"delete {state} to start again" in message


def test_disk_that_is_full_is_an_error_without_a_traceback(recipe, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")  # no OSError

    recipe(SkillStreams())
    monkeypatch.setattr(files, "save_file", fail)
    assert pretrain_into(tmp_path) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"error: {tmp_path / 'tiny.state'} cannot be written (I/O error: No space left on device" in message


@pytest.mark.parametrize("inside", ["", "folder"])
def test_pretraining_into_a_file_is_an_error_before_any_training(recipe, interrupted, tmp_path, capsys, inside):
    task = recipe(interrupted(SkillStreams(), 0))
    (tmp_path / "file").write_text("mine")
    assert pretrain_into(tmp_path / "file" / inside) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert task.batches == 0

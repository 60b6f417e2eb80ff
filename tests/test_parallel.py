"""Fine-tuning into a file, and the same on two processes that `torchrun` starts, one of which is killed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from minitransformer import __main__ as cli
from minitransformer.adapters import load_adapter
from minitransformer.checkpoints import load_base
from minitransformer.experiments import finetune as module
from minitransformer.experiments.finetune import finetune
from minitransformer.parallel import processes, sum_over_processes, this_process
from minitransformer.pretrain import RECIPES, pretrain
from minitransformer.tasks import LADDER
from minitransformer.train import evaluate

ROOT = Path(__file__).parents[1]
RUN = {"settings": {"rank": 2, "alpha": 6.0}, "base": "nano", "steps": 12, "batch_size": 5, "learning_rate": 1e-2}
COMMAND = "finetune lora --set rank=2 alpha=6.0 --base nano --steps 12 --batch-size 5 --learning-rate 1e-2 --device cpu"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "train", partial(module.train, progress=False, save_every=3))
    return tmp_path / "one.safetensors"


def command(file, *more):
    return cli.main([*COMMAND.split(), "--out", str(file), *more])


# ---- one process ------------------------------------------------------------------------------------------------------


def test_command_writes_an_adapter_and_a_record(file, capsys):
    assert command(file) == 0
    record = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    adapted = load_adapter(load_base("nano"), file)
    assert (adapted.adaptation.settings["rank"], adapted.adaptation.settings["alpha"]) == (2, 6.0)
    assert record["score"] == evaluate(adapted, LADDER["recall"])
    assert (len(record["losses"]), record["task"], record["method"]) == (12, "recall", "lora")
    assert sorted(os.listdir(file.parent)) == ["one.json", "one.safetensors"]
    out = capsys.readouterr().out
    assert f"recall: {record['score']:.3f} accuracy, {record['trained']:,} numbers trained" in out
    assert f"written to {file} and {file.with_suffix('.json')}" in out


def test_command_gives_its_options_to_train(file, monkeypatch):
    seen = {}
    real = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: seen.update(k) or real(*a, **k))
    assert command(file, "--gradient-accumulation-steps", "2", "--gradient-checkpointing", "--head-on-targets") == 0
    names = ("bf16", "gradient_accumulation_steps", "gradient_checkpointing", "torch_compile", "head_on_targets")
    assert [seen[name] for name in names] == [False, 2, True, False, True]
    assert (seen["batch_size"], seen["seed"]) == (5, 0)


def test_interrupted_command_goes_on_where_it_was(file, interrupted, monkeypatch, tmp_path):
    whole = finetune("lora", "recall", tmp_path / "whole.safetensors", device="cpu", **RUN)
    for at in (8, 0):
        task = interrupted(LADDER["recall"], at)
        monkeypatch.setattr(module, "find_task", lambda *_, task=task: task)
        task.with_seed = lambda seed, task=task: task
        assert command(file) == (130 if at else 0)
    assert task.batches == 6
    assert json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["losses"] == whole["losses"]
    assert file.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--set rank", "--set rank: give NAME=VALUE"),
        ("--set rank=two", "--set rank=two: give NAME=VALUE"),
        ("--set size=2", "method 'lora' has no setting 'size'"),
        ("--task nope", "there is no task 'nope'"),
        ("--gradient-accumulation-steps 6", "cannot be cut into 6 parts"),
    ],
)
def test_wrong_words_are_an_error_of_one_line(file, capsys, words, message):
    assert command(file, *words.split()) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert not file.exists()


def test_files_that_are_there_are_never_replaced(file, capsys):
    assert command(file) == 0
    before = file.read_bytes()
    assert command(file) == 1
    assert f"{file.with_suffix('.json')} is there already" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_alone_nothing_is_joined(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes("cpu") as device:
        assert (device, this_process()) == ("cpu", (0, 1))
        assert sum_over_processes(torch.tensor(2.5)).item() == 2.5


# ---- many processes ---------------------------------------------------------------------------------------------------

WORKER = """
import json, os, signal, sys
from dataclasses import replace
from pathlib import Path

from minitransformer.experiments.finetune import finetune
from minitransformer.parallel import processes, this_process
from minitransformer.pretrain import RECIPES, pretrain
from minitransformer.tasks import LADDER

folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
rank, start = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
draw, drawn = LADDER["recall"].batch, []

def batch(size, generator):
    drawn.append(size)
    if start == 0 and rank == 1 and len(drawn) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(size, generator)

LADDER["recall"].batch = batch
RECIPES["nano"] = replace(RECIPES["nano"], steps=3)
with processes("cpu"):
    if start == 0:
        pretrain("nano", "cpu", folder)
    finetune("lora", "recall", folder / "two.safetensors", device="cpu", save_every=3, **options)
    (folder / f"drawn.{rank}").write_text(str(len(drawn)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no signal kills a worker there")
def test_two_processes_go_the_way_of_one_and_go_on_when_one_is_killed(tmp_path, monkeypatch):
    """Batches of five are cut into parts of two, one, one and one, so a mean of means would be seen."""
    monkeypatch.setitem(RECIPES, "nano", replace(RECIPES["nano"], steps=3))
    one = finetune("lora", "recall", tmp_path / "one.safetensors", device="cpu", progress=False, **RUN)
    base = pretrain("nano", "cpu", tmp_path / "alone")
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER, encoding="utf-8")
    two_workers = "--standalone --nproc-per-node 2 --max-restarts 1".split()
    options = json.dumps({**RUN, "gradient_accumulation_steps": 2})
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *two_workers, str(worker), str(tmp_path), options],
        env={**os.environ, "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    two = json.loads((tmp_path / "two.json").read_text(encoding="utf-8"))
    assert two["losses"] == pytest.approx(one["losses"], abs=1e-5)
    assert two["score"] == pytest.approx(one["score"], abs=0.01)
    assert [(tmp_path / f"drawn.{rank}").read_text() for rank in (0, 1)] == ["6", "6"]  # the rest of twelve
    card = json.loads((tmp_path / "nano.json").read_text(encoding="utf-8"))
    assert card["final_loss"] == pytest.approx(base["final_loss"], abs=1e-3)
    assert not [file for file in os.listdir(tmp_path) if file.endswith((".state", ".partial"))]

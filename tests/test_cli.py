import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from minitransformer import __main__ as cli
from minitransformer import checkpoints
from minitransformer.checkpoints import FOLDER, base_names, load_card
from minitransformer.experiments import compare, runs, studies
from minitransformer.methods import METHODS
from minitransformer.model import GPTConfig
from minitransformer.tasks import LADDER, StringTask

COMPARE = ["compare", "--tasks", "recall", "--methods", "lora", "--device", "cpu", "--jobs", "1", "--seeds", "2"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few steps; and SIGTERM, which `main` takes for itself, is put back afterwards."""
    for task in LADDER.values():
        monkeypatch.setattr(task, "steps", 5)
    monkeypatch.setattr(StringTask, "test_size", 8)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


class Runner:
    """Stands in for `run_once`: notes every run, makes its result up, and calls `stop` in place of run number `at`."""

    def __init__(self):
        self.runs, self.at, self.stop = [], 0, None

    def __call__(self, run):
        self.runs.append(run)
        if len(self.runs) == self.at:
            self.stop()
        scores = {1: 0.1, 2: 0.2, 4: 0.96, run.steps: 0.5 + run.seed / 10}
        measured = [
            {
                "step": step,
                "score": score,
                "kept": step / 8 + run.seed / 4,
                "loss": 1 - score,
                "bits": 2.0,
                "per_symbol": 0.9,
            }
            for step, score in scores.items()
            if step <= run.steps
        ]
        return {"metric": "accuracy", "trained": 25, "total": 1000, "seconds": 1.0, "evaluations": measured}


@pytest.fixture
def runner(monkeypatch):
    runner = Runner()
    monkeypatch.setattr(runs, "run_once", runner)
    monkeypatch.setattr(compare, "score_base", lambda run: {"score_base": 0.25, "kept_base": 1.0})
    costs = {"step_ms": 7.0, "latency": 1.5, "bytes_for_backward": 2_500_000}
    monkeypatch.setattr(compare, "measure_costs", lambda run: costs)
    return runner


def press_ctrl_c():
    raise KeyboardInterrupt


def rows(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


# ---- what the user gets wrong ---------------------------------------------------------------------------------------


@pytest.fixture
def fails(capsys, runner):
    """A function that runs a command, makes sure that it fails with one line and no run, and returns the line."""

    def fails(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        message = capsys.readouterr().err
        assert code == 1
        assert message.startswith("error: ")
        assert message.count("\n") == 1
        assert not runner.runs
        return message

    return fails


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "recall", "nope"], "there is no task 'nope'; there are: recall, compose, learn"),
        (["--tasks", "corpus"], "the task 'corpus' needs a text"),
        (["--methods", "lora", "nope"], "there is no method 'nope'; there are: "),
        (["--device", "tpu"], "device 'tpu' is not available; on this machine: "),
        (["--device", "cpu:x"], "device 'cpu:x' cannot be used"),
        (["--base", "nope"], "there is no base 'nope'; there are: "),
        (["--seeds", "0"], "seeds must be a whole number of at least 1, not 0"),
        (["--seeds", "-3"], "seeds must be a whole number of at least 1, not -3"),
        (["--jobs", "0"], "jobs must be a whole number of at least 1, not 0"),
        (["--jobs", "-1"], "jobs must be a whole number of at least 1, not -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("command", ["compare", "search"])
def test_wrong_argument_is_one_line_before_anything_is_run(fails, tmp_path, command, arguments, message):
    assert message in fails(command, "--out", tmp_path / "out", *COMPARE[1:], *arguments)


def test_sweep_that_nobody_knows_is_an_error(fails, tmp_path):
    assert "there is no study 'nope'; there are: steps, " in fails("sweep", "nope", "--out", tmp_path)
    assert "device 'tpu' is not available" in fails("sweep", "steps", "--out", tmp_path, "--device", "tpu")


@pytest.mark.skipif("docs" not in base_names(), reason="the base docs is not here")
def test_base_that_speaks_other_tokens_is_an_error(fails, tmp_path):
    assert "base 'docs' does not speak the tokens of task 'recall'; use 'tiny'" in fails(*COMPARE, "--base", "docs")
    assert "base 'tiny' does not speak" in fails(*COMPARE, "--tasks", "code", "--base", "tiny", "--out", tmp_path)


@pytest.mark.parametrize("inside", ["", "folder"])
def test_out_that_is_a_file_is_an_error(fails, tmp_path, inside):
    file = tmp_path / "file"
    file.write_text("mine")
    message = fails(*COMPARE, "--out", file / inside)
    assert f"results cannot be written to {file / inside}" in message
    assert "choose another with --out" in message
    assert file.read_text() == "mine"


@pytest.mark.parametrize("call", ["mkdir", "touch"])
def test_out_that_is_read_only_is_an_error(fails, tmp_path, monkeypatch, call):
    """Without file permissions, which do not bind the user root."""

    def deny(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, call, deny)
    assert f"cannot be written to {tmp_path / 'out'} (Permission denied)" in fails(*COMPARE, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "too short"),
        (b"\0\1\2" * 100, "is not UTF-8 text"),
        (b"a " * 500, "repeats itself"),
    ],
    ids=["missing", "empty", "binary", "repeats itself"],
)
@pytest.mark.skipif("docs" not in base_names(), reason="the base docs is not here")
def test_unusable_corpus_is_an_error_before_anything_is_run(fails, tmp_path, content, message):
    file = tmp_path / "corpus.txt"
    if content is not None:
        file.write_bytes(content)
    assert message in fails("compare", "--methods", "lora", "--corpus", file, "--out", tmp_path / "out")


@pytest.fixture
def damaged_base(tmp_path, monkeypatch):
    folder = tmp_path / "pretrained"
    folder.mkdir()
    shutil.copy(FOLDER / "tiny.json", folder)
    (folder / "tiny.safetensors").write_bytes((FOLDER / "tiny.safetensors").read_bytes()[:-1])
    monkeypatch.setattr(checkpoints, "FOLDER", folder)


@pytest.mark.parametrize("arguments", [COMPARE, ["search", *COMPARE[1:]]], ids=lambda a: a[0])
def test_damaged_base_is_an_error_that_says_how_to_mend_it(fails, damaged_base, arguments):
    message = fails(*arguments)
    assert "tiny.safetensors is damaged" in message
    assert "install minitransformer anew" in message


def test_error_of_a_real_process_is_one_line_without_a_traceback():
    command = [sys.executable, "-m", "minitransformer", *COMPARE, "--tasks", "nope"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no task 'nope'")
    assert done.stderr.count("\n") == 1


def test_loss_that_explodes_is_an_error_without_a_traceback(capsys, runner, tmp_path):
    def explode():
        raise FloatingPointError("train: the loss is nan at step 3; try a lower learning rate")

    runner.at, runner.stop = 1, explode
    assert cli.main([*COMPARE, "--out", str(tmp_path)]) == 1
    assert "error: train: the loss is nan at step 3" in capsys.readouterr().err


# ---- a method of one's own --------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path):
    """A file that makes a method."""
    file = tmp_path / "mine.py"
    line = 'METHOD = Method("mine", attach_lora, count_lora, learning_rate=1e-2)'
    module = "minitransformer.methods.lora import attach_lora, count_lora"
    file.write_text(f"from minitransformer.method import Method\nfrom {module}\n\n{line}\n", encoding="utf-8")
    return file


def test_new_method_runs_alone_and_is_placed_among_the_recorded_ones(runner, mine, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(LADDER["recall"], "steps", 150)  # as recorded
    out = tmp_path / "out"
    arguments = [
        "compare",
        "--tasks",
        "recall",
        "--device",
        "cpu",
        "--jobs",
        "1",
        "--out",
        str(out),
        "--method",
        str(mine),
    ]
    assert cli.main(arguments) == 0
    assert [run.method for run in runner.runs] == [runs.pinned(str(mine))]
    assert [row["method"] for row in rows(out / "compare.csv")] == ["mine (new)"]
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in [*METHODS, "mine (new)"])
    assert "155,456 1.00" in printed, "the recorded score of full fine-tuning"
    assert cli.main(arguments) == 0 and len(runner.runs) == 1, "what is finished is not run again"
    mine.write_text(mine.read_text() + "# another\n")
    assert cli.main(arguments) == 0 and len(runner.runs) == 2, "a changed file is another method"


def test_new_method_runs_beside_those_that_are_named(runner, mine, tmp_path):
    assert cli.main([*COMPARE, "--out", str(tmp_path), "--method", str(mine), "--seeds", "1"]) == 0
    assert {run.method for run in runner.runs} == {"lora", runs.pinned(str(mine))}


def test_study_is_asked_of_a_new_method_alone_and_shown_with_the_recorded_answers(
    runner, mine, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(LADDER["recall"], "steps", 150)  # as recorded
    arguments = ["sweep", "forgetting", "--jobs", "1", "--out", str(tmp_path / "out"), "--method", str(mine)]
    assert cli.main(arguments) == 0
    assert {run.method for run in runner.runs} == {runs.pinned(str(mine))} and len(runner.runs) == 30
    printed = capsys.readouterr().out
    assert "mine (new)" in printed and " intrinsic " in printed
    assert cli.main(arguments) == 0 and len(runner.runs) == 30, "the record in the folder is continued"


def test_file_of_a_run_that_has_changed_is_refused(mine):
    name = runs.pinned(str(mine))
    assert runs.find_method(name).name == "mine"
    mine.write_text(mine.read_text() + "# another\n")
    with pytest.raises(ValueError, match="has changed since it was run"):
        runs.find_method(name)


def test_file_that_makes_no_method_is_refused_before_any_run(fails, mine, tmp_path):
    mine.write_text("METHOD = None")
    assert "makes no method" in fails("compare", "--method", mine, "--out", tmp_path / "out")
    assert "is no Python file" in fails("search", "--method", tmp_path / "no.py", "--out", tmp_path / "out")


# ---- compare and search ---------------------------------------------------------------------------------------------


def test_compare_gathers_the_seeds_of_each_task_and_method(runner, tmp_path, capsys):
    arguments = [*COMPARE, "--tasks", "recall", "learn", "recall", "--seeds", "3", "--out", str(tmp_path / "a" / "b")]
    assert cli.main(arguments) == 0
    out = tmp_path / "a" / "b"
    assert sorted(os.listdir(out)) == ["compare.csv", "compare.png", "compare.runs.jsonl"]
    assert [(run.task, run.seed) for run in runner.runs] == [
        (t, seed) for t in ("recall", "learn") for seed in range(3)
    ]
    table = rows(out / "compare.csv")
    assert [row["task"] for row in table] == ["recall", "learn"]
    expected = {"trained": 25, "percent": 2.5, "score": 0.6, "score_min": 0.5, "score_max": 0.7, "score_base": 0.25}
    expected |= {
        "steps_to_reach": 4, "kept_at_reach": 0.75, "kept": 0.875, "kept_base": 1, "best": 0.96, "seeds": 3,
        "step_ms": 7, "latency": 1.5, "megabytes_for_backward": 2.5, "bits": 2, "per_symbol": 0.9,
    }  # fmt: skip
    for row in table:
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
        assert row["mergeable"] == "yes"
        assert row["state"] == "unfinished"  # nothing was measured at about half of the steps that has as low a loss
    printed = capsys.readouterr().out
    assert "0.60" in printed and "recall, 5 steps" in printed
    assert max(map(len, printed.splitlines())) <= 80 + len(str(out))


def test_table_marks_what_was_still_learning_and_fits_eighty_columns(capsys, monkeypatch, tmp_path):
    row = {
        "task": "recall", "method": "intrinsic", "base": "tiny", "trained": 155_456, "metric": "accuracy", "steps": 1000,
        "seeds": 1, "score": 0.5, "state": "unfinished", "steps_to_reach": 1000.0, "kept_at_reach": 0.93,
        "long_score": 1.0, "long_state": "finished", "score_base": 0.1, "kept": 0.5, "kept_base": 1.0,
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", "80")
    compare.show([{**row, "task": task} for task in ("recall", "compose", "learn")])
    printed = capsys.readouterr().out
    assert printed.count("0.50↗1000 0.93 1.00") == 3
    assert printed.count("intrinsic 155,456 0.50") == 1, "nothing is cut"
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed  # no colours where nobody would see them
    compare.show([{**row, "metric": "bits per character", "score": 2.345}])
    assert "2.345↗" in capsys.readouterr().out


def test_compare_really_trains_and_gives_the_same_scores_again(monkeypatch, tmp_path):
    monkeypatch.setattr(LADDER["recall"], "steps", 20)
    monkeypatch.setattr(StringTask, "test_size", 64)
    for folder in ("one", "two"):
        assert cli.main([*COMPARE, "--seeds", "1", "--out", str(tmp_path / folder)]) == 0
    [first], [second] = (rows(tmp_path / folder / "compare.csv") for folder in ("one", "two"))
    timed = {"step_ms", "latency"}
    assert {k: v for k, v in first.items() if k not in timed} == {k: v for k, v in second.items() if k not in timed}
    assert int(first["trained"]) == METHODS["lora"].count(GPTConfig(**load_card("tiny")["config"]))
    assert float(first["score_base"]) < 0.5 < float(first["score"])


def test_finished_comparison_says_so_and_is_repeated_only_when_asked(runner, tmp_path, capsys):
    arguments = [*COMPARE, "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    capsys.readouterr()
    assert cli.main(arguments) == 0
    assert len(runner.runs) == 2
    assert "finished before" in (printed := capsys.readouterr().out) and "--again" in printed
    assert cli.main([*arguments, "--again"]) == 0
    assert len(runner.runs) == 4
    assert len(lines(tmp_path / "compare.runs.jsonl")) == 2


def test_comparison_of_one_method_keeps_the_rows_of_the_others(runner, tmp_path, capsys):
    assert cli.main([*COMPARE, "--methods", "lora", "prompt", "--out", str(tmp_path)]) == 0
    assert cli.main([*COMPARE, "--methods", "ia3", "--out", str(tmp_path)]) == 0
    assert {row["method"] for row in rows(tmp_path / "compare.csv")} == {"lora", "prompt", "ia3"}
    assert "2 rows of other methods and tasks" in capsys.readouterr().out
    assert cli.main([*COMPARE, "--methods", "lora", "--seeds", "3", "--out", str(tmp_path)]) == 0
    assert sorted((row["method"], row["seeds"]) for row in rows(tmp_path / "compare.csv")) == [
        ("ia3", "2"), ("lora", "3"), ("prompt", "2"),
    ]  # fmt: skip


def test_search_writes_a_row_for_every_rate_and_budget(runner, tmp_path):
    assert cli.main(["search", *COMPARE[1:], "--out", str(tmp_path)]) == 0
    assert sorted(os.listdir(tmp_path)) == ["search.csv", "search.json", "search_rates.csv"]
    found = rows(tmp_path / "search_rates.csv")
    assert {float(row["rate"]) for row in found} == {3e-3, 1e-2, 3e-2}
    assert {int(row["step"]) for row in found} == {1, 2, 5}
    assert [row["rate"] for row in found if row["chosen"] == "yes"] == ["0.01"] * 3  # ties: the middle


# ---- interruption ---------------------------------------------------------------------------------------------------

NOTES = {"compare": "compare.runs.jsonl", "search": "search.csv"}


@pytest.mark.parametrize("stop", [press_ctrl_c, partial(signal.raise_signal, signal.SIGTERM)], ids=["ctrl-c", "kill"])
@pytest.mark.parametrize("command", NOTES)
def test_interrupted_command_keeps_what_is_finished_and_repeats_none_of_it(runner, tmp_path, capsys, stop, command):
    arguments = [command, *COMPARE[1:], "--seeds", "3", "--out", str(tmp_path / "out")]
    runner.at, runner.stop = 3, stop
    assert cli.main(arguments) == 130
    err = capsys.readouterr().err
    assert "interrupted; what was finished is saved: run the same command to continue" in err
    assert "Traceback" not in err
    assert (tmp_path / "out" / NOTES[command]).exists()
    first = runner.runs[:2]

    assert cli.main(arguments) == 0
    assert not set(first) & set(runner.runs[3:])
    total = len(set(runner.runs))
    assert len(runner.runs) == total + 1  # the interrupted one twice
    runner.at = 0
    assert cli.main([*arguments[:-1], str(tmp_path / "whole")]) == 0
    assert len(runner.runs) == 2 * total + 1
    file = "compare.csv" if command == "compare" else "search_rates.csv"
    assert rows(tmp_path / "out" / file) == rows(tmp_path / "whole" / file)


@pytest.fixture
def half_done(runner, tmp_path):
    """A comparison of three seeds, of which two are done: the arguments to go on with."""
    arguments = [*COMPARE, "--seeds", "3", "--out", str(tmp_path)]
    runner.at, runner.stop = 3, press_ctrl_c
    assert cli.main(arguments) == 130
    runner.runs.clear()
    runner.at = 0
    return arguments


def test_other_command_that_finishes_leaves_the_interrupted_one_its_runs(half_done, runner):
    other = [*half_done, "--methods", "full"]
    assert cli.main(other) == 0
    runner.runs.clear()
    assert cli.main(half_done) == 0
    assert len(runner.runs) == 1


@pytest.mark.parametrize("rest", ['{"run": {"task": "rec', "\n", "3\n", '{"run": {"more": 1}}\n', "[]"], ids=repr)
def test_line_that_was_cut_off_is_passed_over_and_the_whole_ones_kept(half_done, runner, tmp_path, rest):
    with (tmp_path / "compare.runs.jsonl").open("a") as file:
        file.write(rest)
    assert cli.main([*half_done, "--seeds", "4"]) == 0
    assert [run.seed for run in runner.runs] == [2, 3]
    assert cli.main([*half_done, "--seeds", "4"]) == 0
    assert [run.seed for run in runner.runs] == [2, 3]


def test_results_of_another_version_are_not_taken(half_done, runner, monkeypatch):
    monkeypatch.setattr(compare, "__version__", "0.0.1")
    assert cli.main(half_done) == 0
    assert [run.seed for run in runner.runs] == [0, 1, 2]


def test_results_of_another_budget_are_not_taken(half_done, runner, monkeypatch):
    monkeypatch.setattr(LADDER["recall"], "steps", 6)
    assert cli.main(half_done) == 0
    assert [run.seed for run in runner.runs] == [0, 1, 2]


def test_results_of_another_base_are_not_taken(half_done, runner, monkeypatch):
    monkeypatch.setattr(runs, "load_card", lambda name: {**load_card(name), "sha256": "other"})
    assert cli.main(half_done) == 0
    assert [run.seed for run in runner.runs] == [0, 1, 2]


@pytest.mark.skipif("docs" not in base_names(), reason="the base docs is not here")
def test_results_of_another_corpus_in_the_same_file_are_not_taken(runner, tmp_path):
    file = tmp_path / "corpus.txt"
    file.write_text("".join(map(str, range(2000))))
    arguments = ["compare", "--methods", "lora", "--corpus", str(file), "--out", str(tmp_path), "--jobs", "1"]
    arguments += ["--seeds", "2"]
    runner.at, runner.stop = 2, press_ctrl_c
    assert cli.main(arguments) == 130
    file.write_text("".join(map(str, range(3000, 5000))))
    assert cli.main(arguments) == 0
    assert [run.seed for run in runner.runs] == [0, 1, 0, 1]


# ---- a cluster --------------------------------------------------------------------------------------------------------


def test_study_on_a_cluster_survives_a_worker_that_is_killed(tmp_path, monkeypatch):
    """Two workers in processes of their own, of which one is killed while it trains."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.undo()  # the workers know of no patch
    study = studies.search_study(["recall"], ["prompt"], "nano", seeds=2, times=1)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True) as cluster:
        killed = []

        def kill_one(name, *rest):
            if not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        with distributed.Client(cluster) as client:
            real = studies.carry_out

            def carry_out(still, results, keep, pool, width, label):
                def kept(run, result):
                    keep(run, result)
                    kill_one(label)

                real(still, results, kept, pool, width, label)

            monkeypatch.setattr(studies, "carry_out", carry_out)
            found = studies.conduct("mine", tmp_path, client.get_executor(), 2, study)
    assert killed
    run = next(iter(found))
    assert found[run]["evaluations"] == runs.run_once(run)["evaluations"]
    assert len({(row["rate"], row["seed"]) for row in rows(tmp_path / "mine.csv")}) == len(found) >= 6


def test_scheduler_that_is_not_there_is_one_line(fails, tmp_path):
    message = fails("search", *COMPARE[1:], "--out", tmp_path, "--scheduler", "nowhere://x")
    assert "nowhere://x" in message


CHILD = """
import signal, sys, time
from minitransformer.experiments import runs
from minitransformer import train as train_module
from minitransformer.__main__ import main
from minitransformer.tasks import LADDER, StringTask

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests themselves run in the background
LADDER["recall"].steps, StringTask.test_size = 5, 8
real, done = runs.run_once, []

def run_once(run):
    if done:
        print("the second run", flush=True)
        time.sleep(600)
    done.append(run)
    return real(run)

runs.run_once = run_once
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_in_a_real_process_ends_it_with_130_and_what_is_finished_saved(runner, tmp_path):
    arguments = [*COMPARE, "--seeds", "2", "--out", str(tmp_path)]
    command = [sys.executable, "-c", CHILD, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "the second run\n"
        finished = lines(tmp_path / "compare.runs.jsonl")  # on the disk already, whatever comes
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted; what was finished is saved" in err
    assert "Traceback" not in err
    assert [record["run"]["seed"] for record in finished] == [0]
    assert lines(tmp_path / "compare.runs.jsonl") == finished
    assert cli.main(arguments) == 0
    assert [run.seed for run in runner.runs] == [1]

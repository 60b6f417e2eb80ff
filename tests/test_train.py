import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn

from minitransformer import files
from minitransformer import train as train_module
from minitransformer.surgery import freeze
from minitransformer.tasks import Task
from minitransformer.train import choose_device, evaluate, learning_rate_at, setup, train

SETTINGS = {"steps": 20, "learning_rate": 1e-2, "batch_size": 4, "weight_decay": 0.1, "progress": False}


@pytest.fixture
def run(task, snapshot):
    """A function that trains a model: (model, **other settings) -> (weights, history)."""

    def run(model, on=task, **settings):
        history = train(model, on, **{**SETTINGS, **settings})
        return snapshot(model), history

    return run


# ---- the schedule ---------------------------------------------------------------------------------------------------


def test_rate_warms_up_in_a_line_then_falls_in_half_a_cosine_to_nearly_zero():
    rates = [learning_rate_at(step, 1050, 0.5) for step in range(1050)]
    assert rates[:50] == pytest.approx([0.5 * (step + 1) / 50 for step in range(50)])
    assert rates[50] == 0.5
    assert rates[50 + 250] == pytest.approx(0.5 * (1 + math.sqrt(0.5)) / 2)
    assert rates[50 + 500] == pytest.approx(0.25)
    assert all(earlier > later for earlier, later in itertools.pairwise(rates[50:]))
    assert 0 < rates[-1] < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 30, 499])
def test_rate_of_short_runs_reaches_the_peak_after_a_tenth_at_most(steps):
    rates = [learning_rate_at(step, steps, 1.0) for step in range(steps)]
    assert max(rates) == rates[steps // 10] == 1.0
    assert all(0 < rate <= 1 for rate in rates)


def test_schedule_decides_the_rate_of_every_step(monkeypatch, run, gpt, snapshot, same):
    before, asked = snapshot(gpt), []
    monkeypatch.setattr(train_module, "learning_rate_at", lambda *arguments: asked.append(arguments) or 0.0)
    after, _ = run(gpt)
    assert asked == [(step, 20, 1e-2) for step in range(20)]
    assert same(after, before)


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_training_learns(run, make_gpt):
    torch.manual_seed(0)
    _, history = run(make_gpt(n_embd=16), steps=150, batch_size=16)
    assert len(history.losses) == 150
    assert sum(history.losses[-10:]) < 0.75 * sum(history.losses[:10])


def test_first_loss_is_the_mean_cross_entropy_of_the_answers(run, gpt, task):
    model = copy.deepcopy(gpt)
    _, history = run(gpt, steps=1, seed=3)
    inputs, targets = task.batch(4, torch.Generator().manual_seed(3))
    log_p = model(inputs).log_softmax(dim=-1)
    answers = [-log_p[b, t, targets[b, t]].item() for b in range(4) for t in range(6, 12)]
    assert history.losses == pytest.approx([sum(answers) / 24], rel=1e-5)


def test_gradients_are_clipped_at_norm_one(run, make_gpt):
    model = make_gpt(n_embd=32)
    run(model, steps=1)
    assert nn.utils.get_total_norm([p.grad for p in model.parameters()]).item() == pytest.approx(1, abs=1e-3)


def test_weight_decay_is_off_by_default(gpt, task, monkeypatch):
    seen = {}
    real = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *a, **k: seen.update(k) or real(*a, **k))
    train(gpt, task, steps=1, learning_rate=1e-3, progress=False)
    assert seen["weight_decay"] == 0


def test_same_seed_gives_the_same_run_and_another_seed_another(run, gpt, same):
    runs = [run(copy.deepcopy(gpt), seed=seed) for seed in (1, 1, 2)]
    assert runs[0][1].losses == runs[1][1].losses
    assert same(runs[0][0], runs[1][0])
    assert runs[0][1].losses[0] != runs[2][1].losses[0]
    assert not same(runs[0][0], runs[2][0])


def test_frozen_weights_stay_as_they_were_to_the_bit_and_get_no_gradient(run, gpt, snapshot):
    freeze(gpt)
    trained = {"blocks.0.attn.q_proj.weight", "ln_f.bias"}
    for name in trained:
        gpt.get_parameter(name).requires_grad_()
    before = snapshot(gpt)
    after, _ = run(gpt)
    assert {name for name in before if not torch.equal(before[name], after[name])} == trained
    assert {name for name, p in gpt.named_parameters() if p.grad is not None} == trained


@pytest.mark.parametrize(("score_every", "steps"), [(None, []), (8, [8, 16, 20]), (10, [10, 20])])
def test_scores_are_taken_now_and_then_and_at_the_end(run, gpt, score_every, steps):
    _, history = run(gpt, score_every=score_every)
    assert [step for step, _ in history.scores] == steps
    assert not gpt.training


def test_nothing_trainable_is_an_error(gpt, task):
    freeze(gpt)
    with pytest.raises(ValueError, match="every weight of the model is frozen; attach a method first"):
        train(gpt, task, steps=1, learning_rate=1e-3)


@pytest.mark.parametrize("setting", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": -1.0}])
def test_settings_that_are_not_positive_are_an_error(run, gpt, setting):
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        run(gpt, **setting)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_stops_the_run(run, gpt, value, tmp_path):
    gpt.lm_head.weight.data[3] = value
    with pytest.raises(FloatingPointError, match=r"step 0; try a lower learning rate"):
        run(gpt, state_file=tmp_path / "state", save_every=1)
    assert not (tmp_path / "state").exists()


# ---- evaluation -----------------------------------------------------------------------------------------------------


class Watching(Task):
    """Notes how a model is scored."""

    def __init__(self, error=None):
        self.seen, self.error = [], error

    def batch(self, batch_size, generator):
        raise NotImplementedError

    def score(self, model):
        self.seen.append((model.training, torch.is_grad_enabled()))
        if self.error:
            raise self.error
        return 0.25


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_scores_in_evaluation_mode_and_puts_the_mode_back(gpt, training):
    gpt.train(training)
    task = Watching()
    assert evaluate(gpt, task) == 0.25
    assert task.seen == [(False, False)]
    assert gpt.training == gpt.blocks[1].training == training
    assert torch.is_grad_enabled()


def test_evaluate_puts_the_mode_back_after_an_error(gpt):
    gpt.train()
    with pytest.raises(RuntimeError):
        evaluate(gpt, Watching(RuntimeError()))
    assert gpt.training


# ---- interruption and resumption ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [[1], [5], [6], [7], [8], [10], [20], [9, 2], [14, 8, 1]], ids=str)
def test_interrupted_run_ends_as_if_it_had_not_been(run, gpt, make_gpt, task, interrupted, same, tmp_path, at):
    """With a save every 6 steps; `at` are the batches, counted from each start, at which Ctrl-C is pressed."""
    weights, history = run(copy.deepcopy(gpt))
    settings = {"state_file": tmp_path / "state", "save_every": 6}
    for batch in at:
        with pytest.raises(KeyboardInterrupt):
            run(copy.deepcopy(gpt), interrupted(task, batch), **settings)
    saved = settings["state_file"].exists()
    again = interrupted(task, 0)
    resumed, resumed_history = run(make_gpt() if saved else copy.deepcopy(gpt), again, **settings)
    assert resumed_history.losses == history.losses
    assert same(resumed, weights)
    assert again.batches == 20 - sum((batch - 1) // 6 * 6 for batch in at)
    assert not list(tmp_path.glob("*.partial"))


def test_resumed_run_keeps_the_scores_and_seconds_from_before(run, gpt, task, interrupted, tmp_path):
    _, history = run(copy.deepcopy(gpt), score_every=4)
    settings = {"score_every": 4, "state_file": tmp_path / "state", "save_every": 6}
    with pytest.raises(KeyboardInterrupt):
        run(gpt, interrupted(task, 15), **settings)
    _, resumed = run(gpt, interrupted(task, 0), **settings)
    assert resumed.scores == history.scores
    assert run(gpt, **settings)[1].seconds == resumed.seconds > 0


def test_frozen_weights_are_not_part_of_the_state_and_added_ones_are_restored(
    run, gpt, task, interrupted, same, tmp_path
):
    freeze(gpt)
    gpt.ln_f.requires_grad_()
    weights, _ = run(copy.deepcopy(gpt))
    settings = {"state_file": tmp_path / "state", "save_every": 6}
    with pytest.raises(KeyboardInterrupt):
        run(copy.deepcopy(gpt), interrupted(task, 15), **settings)
    assert same(run(gpt, **settings)[0], weights)
    assert settings["state_file"].stat().st_size < 8000 + 6 * 8 * 4


def test_trained_weight_that_plays_no_part_does_not_hinder_resumption(run, gpt, task, interrupted, same, tmp_path):
    gpt.spare = nn.Parameter(torch.ones(3))
    weights, _ = run(copy.deepcopy(gpt))
    settings = {"state_file": tmp_path / "state", "save_every": 6}
    with pytest.raises(KeyboardInterrupt):
        run(copy.deepcopy(gpt), interrupted(task, 15), **settings)
    assert same(run(gpt, **settings)[0], weights)


def test_finished_run_is_not_repeated(run, gpt, make_gpt, task, interrupted, same, tmp_path):
    weights, history = run(gpt, state_file=tmp_path / "state")
    again = interrupted(task, 1)
    resumed, resumed_history = run(make_gpt(), again, state_file=tmp_path / "state")
    assert again.batches == 0
    assert same(resumed, weights)
    assert resumed_history == history


def test_interruption_while_saving_leaves_the_state_before(run, gpt, same, tmp_path, monkeypatch):
    weights, history = run(copy.deepcopy(gpt))
    settings = {"state_file": tmp_path / "state", "save_every": 6}
    real, calls = files.save_file, []

    def half_a_file(tensors, file, metadata):
        calls.append(1)
        real(tensors, file, metadata)
        if len(calls) == 2:
            file.write_bytes(file.read_bytes()[:100])
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "save_file", half_a_file)
    with pytest.raises(KeyboardInterrupt):
        run(copy.deepcopy(gpt), **settings)
    resumed, resumed_history = run(gpt, **settings)
    assert resumed_history.losses == history.losses
    assert same(resumed, weights)


OTHER = {"steps": 21, "learning_rate": 2e-2, "batch_size": 5, "seed": 1, "weight_decay": 0.2}


@pytest.mark.parametrize("setting", [{name: value} for name, value in OTHER.items()], ids=str)
def test_state_of_a_run_with_other_settings_is_an_error_that_says_what_to_delete(run, gpt, tmp_path, setting):
    file = tmp_path / "state"
    run(copy.deepcopy(gpt), state_file=file)
    with pytest.raises(ValueError, match=rf"other settings.*delete {file}"):
        run(gpt, state_file=file, **setting)


@pytest.mark.parametrize("dimensions", [{"n_embd": 4}, {"n_layer": 1}, {"n_layer": 3}], ids=str)
def test_state_of_a_run_with_another_model_is_an_error_that_changes_nothing(run, make_gpt, tmp_path, dimensions):
    file = tmp_path / "state"
    run(make_gpt(), state_file=file)
    other = make_gpt(**dimensions)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ValueError, match=f"delete {file}"):
        run(other, state_file=file)
    assert all(torch.equal(before[name], tensor) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-10],
        lambda whole: whole[:1000],
        lambda whole: whole[:4],
        lambda whole: b"",
        lambda whole: pickle.dumps({"a": 1}),
        lambda whole: b"\x02\x00\x00\x00\x00\x00\x00\x00{}",  # a safetensors file that says nothing
    ],
    ids=["cut at the end", "cut in the middle", "cut at once", "empty", "pickle", "no state"],
)
def test_damaged_state_is_an_error_that_says_what_to_delete(run, gpt, tmp_path, damage):
    file = tmp_path / "state"
    run(copy.deepcopy(gpt), state_file=file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=f"delete {file} to start again"):
        run(gpt, state_file=file)


# ---- devices --------------------------------------------------------------------------------------------------------


@pytest.fixture
def machine(monkeypatch):
    """A function that pretends which accelerators are here."""

    def pretend(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_best_device_is_taken_unless_one_is_asked_for(machine, cuda, mps, best):
    machine(cuda, mps)
    assert choose_device().type == best
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps", "tpu", "CPU", "", "cpu:x"])
def test_device_that_is_not_here_is_an_error_that_names_those_that_are(machine, name):
    machine()
    with pytest.raises(ValueError, match=rf"device '{name}' .*on this machine: cpu$"):
        choose_device(name)


def test_setup_seeds_the_run():
    assert setup(7, "cpu").type == "cpu"
    first = torch.rand(3)
    setup(7, "cpu")
    assert torch.equal(torch.rand(3), first)
    assert torch.get_num_threads() == 1

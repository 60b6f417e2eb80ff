import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from minitransformer import files
from minitransformer.methods import METHODS
from minitransformer.surgery import freeze
from minitransformer.tasks import IGNORE, Task
from minitransformer.train import (
    COSINE,
    STABLE,
    Diverged,
    Schedule,
    choose_device,
    cosine_rate,
    evaluate,
    log_spaced,
    setup,
    stable_rate,
    train,
)

SETTINGS = {"steps": 20, "learning_rate": 1e-2, "batch_size": 4, "weight_decay": 0.1, "progress": False}


@pytest.fixture
def run(task, snapshot):
    """A function that trains a model: (model, **other settings) -> (weights, history)."""

    def run(model, on=task, **settings):
        history = train(model, on, **{**SETTINGS, **settings})
        return snapshot(model), history

    return run


# ---- the schedule ---------------------------------------------------------------------------------------------------


def test_cosine_warms_up_in_a_line_then_falls_in_half_a_cosine_to_nearly_zero():
    rates = [cosine_rate(step, 1050) for step in range(1050)]
    assert rates[:50] == pytest.approx([(step + 1) / 50 for step in range(50)])
    assert rates[50] == 1
    assert rates[50 + 250] == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert rates[50 + 500] == pytest.approx(0.5)
    assert all(earlier > later for earlier, later in itertools.pairwise(rates[50:]))
    assert 0 < rates[-1] < 2e-5


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 30, 499])
def test_cosine_of_short_runs_reaches_the_peak_after_a_tenth_at_most(steps):
    rates = [cosine_rate(step, steps) for step in range(steps)]
    assert max(rates) == rates[steps // 10] == 1.0
    assert all(0 < rate <= 1 for rate in rates)


def test_stable_rate_warms_up_stays_and_falls_in_a_line_over_the_last_fifth():
    rates = [stable_rate(step, 100) for step in range(100)]
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert rates[20:81] == [1.0] * 61
    assert rates[80:] == pytest.approx([(100 - step) / 20 for step in range(80, 100)])


@pytest.mark.parametrize("end", [1, 2, 4, 5, 7, 20, 33, 1000])
def test_rate_depends_on_the_end_only_from_where_the_schedule_says(end):
    start = STABLE.decay_from(end)
    assert 0 <= start < end
    assert all(stable_rate(step, end) == stable_rate(step, 5 * end + 7) for step in range(start))
    assert all(0 < stable_rate(step, end) <= 1 for step in range(end))


def test_schedule_decides_the_rate_of_every_step(run, gpt, snapshot, same):
    before, asked = snapshot(gpt), []
    nothing = Schedule(lambda *arguments: asked.append(arguments) or 0.0, lambda end: 0)
    after, _ = run(gpt, schedule=nothing)
    assert asked == [(step, 20) for step in range(20)]
    assert same(after, before)


@pytest.mark.parametrize(
    ("steps", "first", "places"),
    [(1000, 0.1, [100, 200, 500, 1000]), (1500, 0.01, [15, 30, 75, 150, 300, 750, 1500]), (3, 0.1, [2, 3])],
)
def test_places_are_about_evenly_spaced_on_a_logarithmic_axis(steps, first, places):
    assert log_spaced(steps, first) == places


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


@pytest.mark.parametrize(("evaluate_at", "steps"), [((), []), ([8, 16], [8, 16, 20]), (range(10, 21, 10), [10, 20])])
def test_a_run_is_measured_where_it_is_asked_for_and_at_its_end(run, gpt, evaluate_at, steps):
    _, history = run(gpt, evaluate_at=evaluate_at)
    assert [step for step, _ in history.scores] == steps
    assert len(history.losses) == 20
    assert not gpt.training


@pytest.mark.parametrize("schedule", [STABLE, COSINE], ids=["stable", "cosine"])
@pytest.mark.parametrize("step", [1, 5, 12, 19])
def test_measuring_is_that_of_a_run_of_its_own_and_leaves_the_run_as_it_was(run, gpt, same, step, schedule):
    whole, whole_history = run(copy.deepcopy(gpt), schedule=schedule)
    _, short_history = run(copy.deepcopy(gpt), steps=step, evaluate_at=[step], schedule=schedule)
    measured, history = run(copy.deepcopy(gpt), evaluate_at=[3, step], schedule=schedule)
    assert same(measured, whole)
    assert history.losses == whole_history.losses
    at = {evaluation["step"]: evaluation for evaluation in history.evaluations}
    assert at[step] == short_history.evaluations[0]
    assert at[step]["loss"] == pytest.approx(sum(short_history.losses[-max(1, step // 10) :]) / max(1, step // 10))


def test_a_solved_run_stops_and_ends_as_the_short_one(run, gpt, same):
    values = iter([0.2, 0.97, 0.5])
    short, _ = run(copy.deepcopy(gpt), steps=10)
    solved, history = run(
        copy.deepcopy(gpt), evaluate_at=[5, 10, 15], measures=lambda model: {"score": next(values)}, solved=0.9
    )
    assert [evaluation["step"] for evaluation in history.evaluations] == [5, 10]
    assert len(history.losses) == 10
    assert same(solved, short)


def test_nothing_trainable_is_an_error(gpt, task):
    freeze(gpt)
    with pytest.raises(ValueError, match="every weight of the model is frozen; attach a method first"):
        train(gpt, task, steps=1, learning_rate=1e-3)


@pytest.mark.parametrize("setting", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": -1.0}])
def test_settings_that_are_not_positive_are_an_error(run, gpt, setting):
    [(name, value)] = setting.items()
    with pytest.raises(ValueError, match=f"{name} must be .* not {value}"):
        run(gpt, **setting)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_stops_the_run(run, gpt, value, tmp_path):
    gpt.lm_head.weight.data[3] = value
    with pytest.raises(Diverged, match=r"step 0; try a lower learning rate"):
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
    _, history = run(copy.deepcopy(gpt), evaluate_at=range(4, 21, 4))
    settings = {"evaluate_at": range(4, 21, 4), "state_file": tmp_path / "state", "save_every": 6}
    with pytest.raises(KeyboardInterrupt):
        run(copy.deepcopy(gpt), interrupted(task, 19), **settings)
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


def test_solved_run_is_not_continued(run, gpt, make_gpt, task, interrupted, same, tmp_path):
    settings = {"evaluate_at": [5, 10], "measures": lambda model: {"score": 1.0}, "solved": 0.9}
    settings["state_file"] = tmp_path / "state"
    weights, history = run(gpt, **settings)
    again = interrupted(task, 1)
    resumed, resumed_history = run(make_gpt(), again, **settings)
    assert again.batches == 0 and resumed_history == history and len(history.losses) == 5
    assert same(resumed, weights)


@pytest.mark.parametrize("reentrant", [True, False])
def test_weight_that_no_gradient_reaches_is_an_error_that_names_it(run, gpt, reentrant):
    freeze(gpt)
    gpt.blocks[0].ln_1.requires_grad_()
    inner = gpt.blocks[0].forward
    gpt.blocks[0].forward = lambda x: checkpoint(inner, x, use_reentrant=reentrant)
    if reentrant:  # nothing that goes into the block needs a gradient, so none comes out
        with pytest.raises(ValueError, match=r"no gradient reaches 'blocks.0.ln_1.weight'.*use_reentrant=False"):
            run(gpt)
    else:
        run(gpt)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_not_trained(run, gpt, dtype):
    with pytest.raises(ValueError, match=rf"'wte.weight' trains in {dtype}.*model.float\(\)"):
        run(gpt.to(dtype))


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
    [name] = setting
    run(copy.deepcopy(gpt), state_file=file)
    with pytest.raises(ValueError, match=rf"another run: its {name} is .*delete {file}"):
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


def adapted_by(gpt, name, **settings):
    torch.manual_seed(0)
    return METHODS[name].attach(copy.deepcopy(gpt), **settings)


OTHERS = {
    "settings": lambda gpt: adapted_by(gpt, "lora", rank=2, alpha=7.0),
    "targets of the same shapes": lambda gpt: adapted_by(gpt, "lora", rank=2, alpha=3.0, target_modules=["k_proj"]),
    "method": lambda gpt: adapted_by(gpt, "dora", rank=2, alpha=3.0, target_modules=["q_proj"]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_only_the_very_run_is_resumed(run, gpt, tmp_path, other):
    file = tmp_path / "state"
    mine = {"rank": 2, "alpha": 3.0, "target_modules": ["q_proj"]}
    run(adapted_by(gpt, "lora", **mine), state_file=file)
    with pytest.raises(ValueError, match=rf"another run.*delete {file}"):
        run(OTHERS[other](gpt), state_file=file)
    run(adapted_by(gpt, "lora", **mine), state_file=file)
    with torch.no_grad():
        gpt.wpe.weight[3, 2] += 1e-3
    with pytest.raises(ValueError, match=r"another run: its (adaptation|frozen) is"):
        run(adapted_by(gpt, "lora", **mine), state_file=file)


def test_state_of_another_task_or_of_other_tensors_is_refused(run, gpt, tmp_path):
    file, tokens = tmp_path / "state", torch.randint(10, (6, 9))
    run(copy.deepcopy(gpt), on=(tokens[:, :-1], tokens[:, 1:]), state_file=file)
    with pytest.raises(ValueError, match="another run: its task is"):
        run(gpt, on=(tokens[:, :-1], tokens[:, :-1]), state_file=file)


# ---- data of one's own ----------------------------------------------------------------------------------------------


@pytest.fixture
def pair():
    tokens = torch.randint(10, (12, 9))
    targets = tokens[:, 1:].clone()
    targets[3, 2:] = IGNORE
    return tokens[:, :-1], targets


def test_tensors_and_a_loader_of_all_rows_train_alike_but_for_the_order(run, make_gpt, pair):
    torch.manual_seed(0)
    model = make_gpt(n_embd=16)
    before = evaluate(model, pair)
    log_p = model(pair[0]).log_softmax(dim=-1)
    by_hand = [-log_p[b, t, pair[1][b, t]].item() for b in range(12) for t in range(8) if pair[1][b, t] != IGNORE]
    assert before == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)
    loader = DataLoader(TensorDataset(*pair), batch_size=5)  # batches of 5, 5 and 2
    assert evaluate(model, loader) == pytest.approx(before, rel=1e-6)
    for data in (pair, loader):
        _, history = run(copy.deepcopy(model), on=data, steps=60)
        assert sum(history.losses[-5:]) < 0.7 * sum(history.losses[:5])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x, y: (x.float(), y), r"tokens must be whole numbers of shape \(N, T\), not torch.float32"),
        (lambda x, y: (x, y.bool()), "targets must be whole numbers"),
        (lambda x, y: (x[0], y[0]), r"shape \(N, T\), not torch.int64 of shape \(8,\)"),
        (lambda x, y: (x, y[:, 1:]), r"tokens \(12, 8\) and targets \(12, 7\) must have one shape"),
        (lambda x, y: (x + 5, y), "tokens must be from 0 to 9, the vocabulary; found 5 to"),
        (lambda x, y: (x - 1, y), "tokens must be from 0 to 9, the vocabulary; found -1"),
        (lambda x, y: (x, y.masked_fill(y == IGNORE, 0) + 9), "targets must be from 0 to 9"),
        (lambda x, y: (x, torch.full_like(y, IGNORE)), "no target counts"),
        (lambda x, y: (x[:0], y[:0]), "no target counts"),
        (lambda x, y: (x,), "no pair of tensors but tuple; give a Task"),
        (lambda x, y: [x.tolist(), y.tolist()], "no pair of tensors but list"),
        (lambda x, y: x, "Tensor is no training data; give a Task"),
        (lambda x, y: "text", "str is no training data"),
    ],
)
def test_data_that_does_not_fit_is_an_error_that_says_what_is_wanted(gpt, pair, spoil, message):
    before = copy.deepcopy(gpt.state_dict())
    for call in (
        lambda data: train(gpt, data, steps=2, learning_rate=1e-2, progress=False),
        lambda d: evaluate(gpt, d),
    ):
        with pytest.raises(ValueError, match=message):
            call(spoil(*pair))
    assert all(torch.equal(before[name], tensor) for name, tensor in gpt.state_dict().items())


def test_loader_that_is_empty_or_gives_other_things_is_an_error(run, gpt, pair, tmp_path):
    with pytest.raises(ValueError, match="the DataLoader is empty"):
        run(gpt, on=DataLoader([]))
    with pytest.raises(ValueError, match="no pair of tensors"):
        run(gpt, on=DataLoader(pair[0]))
    with pytest.raises(ValueError, match="tokens must be from 0 to 9"):
        run(gpt, on=DataLoader(TensorDataset(pair[0] + 5, pair[1]), batch_size=12))
    with pytest.raises(ValueError, match="state_file: a DataLoader cannot be continued"):
        run(gpt, on=DataLoader(TensorDataset(*pair)), state_file=tmp_path / "state")


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

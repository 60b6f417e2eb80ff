import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minitransformer import measure
from minitransformer.checkpoints import load_base
from minitransformer.measure import bytes_for_backward, fastest_seconds, latency_ratio, step_seconds, training_step
from minitransformer.methods import METHODS
from minitransformer.surgery import freeze
from minitransformer.tasks import SkillStreams, Task
from minitransformer.train import evaluate

CPU = torch.device("cpu")


class Toy(Task):
    """Batches of B * T = 4 * 6 tokens of 10."""

    name = "toy"
    batch_size = 4

    def batch(self, batch_size, generator):
        return tuple(torch.randint(10, (batch_size, 6), generator=generator) for _ in range(2))

    def score(self, model):
        return 0.5


class OneLayer(nn.Module):
    """Logits by one linear layer from one-hot tokens; `again` uses the layer's input a second time."""

    def __init__(self, again=False):
        super().__init__()
        self.linear = nn.Linear(10, 10)
        self.again = again

    def forward(self, idx):
        x = F.one_hot(idx, 10).float()  # (B, T, 10)
        return self.linear(x) + self.linear(x) if self.again else self.linear(x)


# Cross-entropy keeps 4 * 6 rows of 10 log-probabilities (4 bytes each), as many targets (8 bytes), and a total weight.
KEPT_BY_THE_LOSS = 24 * 10 * 4 + 24 * 8 + 4
INPUT_OF_THE_LAYER = 24 * 10 * 4


# ---- bytes kept for backward ----------------------------------------------------------------------------------------


def test_bytes_of_one_layer_are_those_counted_by_hand():
    assert bytes_for_backward(OneLayer(), Toy()) == KEPT_BY_THE_LOSS + INPUT_OF_THE_LAYER


def test_tensor_that_is_kept_twice_is_counted_once():
    assert bytes_for_backward(OneLayer(again=True), Toy()) == KEPT_BY_THE_LOSS + INPUT_OF_THE_LAYER


def test_layer_that_trains_its_bias_alone_keeps_no_input():
    model = OneLayer()
    model.linear.weight.requires_grad_(False)
    assert bytes_for_backward(model, Toy()) == KEPT_BY_THE_LOSS


def test_weights_are_not_counted(make_gpt):
    narrow, wide = make_gpt(block_size=8), make_gpt(block_size=800)
    assert bytes_for_backward(narrow, Toy()) == bytes_for_backward(wide, Toy())


def test_frozen_model_keeps_nothing(gpt):
    freeze(gpt)
    assert bytes_for_backward(gpt, Toy()) == 0


def test_bytes_grow_with_the_batch_in_proportion(gpt):
    task = Toy()
    task.batch_size = 8
    one = bytes_for_backward(gpt, task)
    task.batch_size = 16
    two = bytes_for_backward(gpt, task)
    assert two == pytest.approx(2 * one, rel=0.001)


def test_training_less_keeps_less(make_gpt):
    gpt = make_gpt(n_embd=32, n_inner=128)
    full = bytes_for_backward(gpt, Toy())
    lora = bytes_for_backward(METHODS["lora"].attach(copy.deepcopy(gpt), rank=1, target_modules=("q_proj",)), Toy())
    freeze(gpt)
    gpt.lm_head.weight.requires_grad_()
    head = bytes_for_backward(gpt, Toy())
    assert 0 < head < lora < full
    assert head == Toy.batch_size * 6 * (32 * 4 + 10 * 4 + 8) + 4  # its input, and what the loss keeps


def test_counting_bytes_leaves_no_gradient_behind(gpt):
    bytes_for_backward(gpt, Toy())
    assert all(p.grad is None for p in gpt.parameters())


# ---- times: what is called, and how it is added up, never how long it takes -----------------------------------------


def test_calls_are_timed_in_turns_behind_two_rounds_of_warming_up():
    order = []
    times = fastest_seconds([lambda: order.append("a"), lambda: order.append("b")], 3, CPU)
    assert order == ["a", "b"] * 5
    assert len(times) == 2
    assert all(time >= 0 for time in times)


def test_shortest_time_is_taken_over_the_repeats_alone(monkeypatch):
    """On a clock that is moved by the calls themselves."""
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])
    lasting = iter([1, 1, 30, 3, 50])

    def call():
        clock[0] += next(lasting)

    assert fastest_seconds([call], 3, CPU) == [3]


def test_step_and_latency_are_read_from_the_clock(monkeypatch, gpt):
    clock = [0.0]
    monkeypatch.setattr(measure.time, "perf_counter", lambda: clock[0])

    class Slow(nn.Module):
        def __init__(self, base, seconds):
            super().__init__()
            self.base, self.seconds = base, seconds

        def forward(self, idx):
            clock[0] += self.seconds
            return self.base(idx)

    assert step_seconds(Slow(gpt, 0.5), Toy(), repeats=2) == 0.5
    assert latency_ratio(Slow(gpt, 3.0), Slow(gpt, 2.0), Toy(), repeats=2) == 1.5


def test_measured_step_is_a_whole_one_that_leaves_the_weights_alone(gpt, snapshot, same):
    gpt.wte.weight.requires_grad_(False)
    before = snapshot(gpt)
    inputs, targets = Toy().batch(4, torch.Generator())
    step = training_step(gpt, inputs, targets)
    step()
    step()
    assert same(snapshot(gpt), before)
    assert {name for name, p in gpt.named_parameters() if p.grad is None} == {"wte.weight"}


# ---- forgetting -----------------------------------------------------------------------------------------------------


def test_base_has_kept_its_skills_and_a_random_model_has_none(monkeypatch, make_gpt):
    monkeypatch.setattr("minitransformer.tasks.StringTask.test_size", 64)
    assert evaluate(load_base("tiny"), SkillStreams()) > 0.9
    assert evaluate(make_gpt(), SkillStreams()) < 0.1

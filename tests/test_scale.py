"""What a method needs at seven billion parameters, counted without memory, against real models and sums by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minitransformer.checkpoints import load_base
from minitransformer.course.lesson import SEVEN_BILLION
from minitransformer.experiments.scale import (
    activation_bytes,
    attach_without_memory,
    fused_kernel,
    memory_budget,
    settings_within,
    step_flops,
    step_flops_by_layer,
)
from minitransformer.measure import kept_for_backward
from minitransformer.methods import METHODS
from minitransformer.model import GPT, GPTConfig
from minitransformer.real.llama import Llama, LlamaConfig
from minitransformer.surgery import MATRICES, count_parameters

QV = ("q_proj", "v_proj")
SMALL = GPTConfig(vocab_size=10, block_size=32, n_layer=2, n_head=2, n_embd=8, n_inner=20)


# ---- parameters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "trained"),
    [
        ("adapter", {"bottleneck": 64}, 33_820_672),
        ("prefix", {"num_virtual_tokens": 10}, 2_621_440),
        ("prefix", {"num_virtual_tokens": 200}, 52_428_800),
        ("prefix", {"num_virtual_tokens": 10, "projection_dim": 512}, 136_618_496),
        ("prompt", {"num_virtual_tokens": 100}, 409_600),
        ("ia3", {}, 614_400),
        ("lora", {"rank": 8, "target_modules": QV}, 4_194_304),
        ("dora", {"rank": 16, "target_modules": QV}, 8_650_752),
        ("mam", {"num_virtual_tokens": 30, "bottleneck": 512}, 142_229_504),
        ("lst", {"reduction_factor": 8}, 150_158_880),
    ],
)
def test_counts_at_seven_billion_are_those_worked_out_by_hand(name, settings, trained):
    adapted = attach_without_memory(METHODS[name], SEVEN_BILLION, **settings)
    assert METHODS[name].count(SEVEN_BILLION, **settings) == count_parameters(adapted, trainable_only=True) == trained


def test_seven_billion_parameters_take_no_memory():
    adapted = attach_without_memory(METHODS["lora"], SEVEN_BILLION)
    assert {p.device.type for p in adapted.parameters()} == {"meta"}
    assert {p.dtype for p in adapted.parameters()} == {torch.bfloat16}


def test_another_kind_of_model_is_built_where_it_is_asked_for():
    """Llama-2-7B has 6,738,415,616 parameters as published; a GPT of its dimensions has fewer: no gate in its network."""
    import minitransformer.real.methods  # noqa: F401 (the methods learn to serve a Llama)
    from minitransformer.real.llama import Llama, LlamaConfig

    config = LlamaConfig(32_000, 4096, 32, 32, 4096, 11_008)
    adapted = attach_without_memory(METHODS["lora"], config, kind=Llama, rank=8, target_modules=("gate_proj",))
    trained = count_parameters(adapted, trainable_only=True)
    assert count_parameters(adapted) - trained == 6_738_415_616
    assert trained == METHODS["lora"].count(config, rank=8, target_modules=("gate_proj",)) == 32 * 8 * (4096 + 11_008)


def test_bad_setting_is_refused():
    with pytest.raises(ValueError, match="rank"):
        attach_without_memory(METHODS["lora"], SMALL, rank=0)


@pytest.mark.parametrize(
    ("name", "setting", "low", "high", "others", "expected"),
    [
        ("adapter", "bottleneck", 30e6, 60e6, {}, (57, 113)),
        ("prefix", "num_virtual_tokens", 5e6, 20e6, {}, (20, 76)),
        ("prompt", "num_virtual_tokens", 0.1e6, 0.5e6, {}, (25, 122)),
        ("lora", "rank", 10e6, 50e6, {"target_modules": QV}, (20, 95)),
        ("lora", "rank", 10e6, 50e6, {"target_modules": MATRICES}, (5, 24)),
        ("prompt", "num_virtual_tokens", 4096, 4096, {}, (1, 1)),  # both ends are inside
        ("prompt", "num_virtual_tokens", 4097, 8191, {}, None),  # between one vector and two
        ("prompt", "num_virtual_tokens", 1, 1e12, {}, (1, 4095)),  # all that leave room in the block
        ("prompt", "num_virtual_tokens", 1e12, 2e12, {}, None),
    ],
)
def test_settings_within_a_range(name, setting, low, high, others, expected):
    assert settings_within(METHODS[name], SEVEN_BILLION, setting, low, high, **others) == expected


# ---- bytes kept for backward --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_bytes_without_memory_are_those_of_a_real_model(name):
    """Three sequences of seven tokens, on the tiny base and on its dimensions alone."""
    base = load_base("tiny")
    inputs, targets = (torch.randint(10, (3, 7)) for _ in range(2))
    real = kept_for_backward(METHODS[name].attach(base), inputs, targets)
    assert activation_bytes(attach_without_memory(METHODS[name], base.config, torch.float32), 3, 7) == real


@pytest.mark.parametrize("name", METHODS)
def test_bytes_without_memory_are_those_of_a_real_llama_whose_keys_are_shared(name):
    config = LlamaConfig(vocab_size=10, block_size=32, n_layer=2, n_head=4, n_kv_head=2, n_embd=64, n_inner=80)
    inputs, targets = (torch.randint(10, (3, 7)) for _ in range(2))
    real = kept_for_backward(METHODS[name].attach(Llama(config)), inputs, targets)
    assert activation_bytes(attach_without_memory(METHODS[name], config, torch.float32, kind=Llama), 3, 7) == real


def test_keys_that_are_shared_are_kept_once():
    """Four heads of queries, two of keys: a token keeps half the width less for its keys, and as much for its values."""

    def kept(n_kv_head):
        config = LlamaConfig(vocab_size=10, block_size=32, n_layer=1, n_head=4, n_kv_head=n_kv_head, n_embd=32)
        return activation_bytes(attach_without_memory(METHODS["full"], config, torch.float32, kind=Llama), 3, 7)

    assert kept(4) - kept(2) == 2 * 3 * 7 * 16 * 4  # 21 tokens, half of 32 channels, 4 bytes each


def kept_by_full(config):
    return activation_bytes(attach_without_memory(METHODS["full"], config), 1, 2048)


def test_full_fine_tuning_keeps_what_a_sum_by_hand_gives():
    """Of one layer at seven billion: no T x T map is among it."""
    one, two = (GPTConfig(32_000, 4096, layers, 32, 4096, 11_008) for layers in (1, 2))
    block = kept_by_full(two) - kept_by_full(one)
    norms, attention, mlp = (
        4 * 4096,
        4 * 4096,
        2 * 11_008,
    )  # in and out, twice; q, k, v and the output; GELU's in and out
    by_hand = 2048 * (2 * (norms + attention + mlp) + 4 * 32)  # and the kernel's 32-bit number for each head
    assert block == pytest.approx(by_hand, rel=0.01)


def test_prefix_keeps_its_attention_weights_and_a_plain_model_does_not():
    """With all else linear in the tokens, a square term is left over when their number doubles."""

    def square(name, **settings):
        model = attach_without_memory(METHODS[name], GPTConfig(10, 4096, 1, 4, 64), **settings)
        one, two = (activation_bytes(model, 1, tokens) for tokens in (512, 1024))
        return two - 2 * one

    assert abs(square("full")) < 1000
    assert square("prefix") == pytest.approx(4 * 2 * (1024 * 1034 - 2 * 512 * 522), rel=0.01)  # 4 heads, 2 bytes


def test_more_tokens_than_the_method_leaves_are_refused():
    model = attach_without_memory(METHODS["prefix"], SMALL, num_virtual_tokens=10)
    activation_bytes(model, 1, 22)
    with pytest.raises(ValueError, match="33 positions"):
        activation_bytes(model, 1, 23)


def test_fused_kernel_gives_the_same_and_is_taken_away_again():
    q, k, v = torch.randn(3, 2, 4, 7, 8)  # (B, n_head, T, head_dim) each
    chosen = F.scaled_dot_product_attention
    expected = chosen(q, k, v, is_causal=True)
    with pytest.raises(ZeroDivisionError), fused_kernel():
        torch.testing.assert_close(F.scaled_dot_product_attention(q, k, v, is_causal=True), expected)
        raise ZeroDivisionError
    assert F.scaled_dot_product_attention is chosen


# ---- the budget ---------------------------------------------------------------------------------------------------------


def test_budget_of_full_fine_tuning_is_sixteen_bytes_a_parameter():
    budget = memory_budget(attach_without_memory(METHODS["full"], SMALL), tokens=8)
    n = METHODS["full"].count(SMALL)
    assert budget.pop("activations") > 0
    assert budget == {"weights": 2 * n, "gradients": 2 * n, "moments": 8 * n, "master weights": 4 * n}


def test_budget_of_a_method_holds_the_frozen_weights_and_pays_for_the_trained_ones():
    budget = memory_budget(attach_without_memory(METHODS["lora"], SMALL, rank=3, target_modules=("q_proj",)), tokens=8)
    frozen, trained = METHODS["full"].count(SMALL), 2 * 3 * (8 + 8)
    assert budget["weights"] == 2 * (frozen + trained)
    assert (budget["gradients"], budget["moments"], budget["master weights"]) == (2 * trained, 8 * trained, 4 * trained)


def test_activations_of_the_budget_are_in_sixteen_bits():
    """About half of those in 32 bits; the kernel's own number a query, and the tokens, keep their size."""
    wide = GPTConfig(vocab_size=10, block_size=64, n_layer=2, n_head=1, n_embd=128)
    single = activation_bytes(attach_without_memory(METHODS["full"], wide, torch.float32), 2, 32)
    half = memory_budget(attach_without_memory(METHODS["full"], wide), 2, 32)["activations"]
    assert half == pytest.approx(single / 2, rel=0.02)


def test_ladder_keeps_least_at_seven_billion_and_ia3_as_much_as_full():
    few = GPTConfig(32_000, 4096, 4, 32, 4096, 11_008)  # four of the layers
    settings = {"full": {}, "ia3": {}, "lora": {"rank": 8, "target_modules": QV}, "lst": {"reduction_factor": 8}}
    kept = {
        name: activation_bytes(attach_without_memory(METHODS[name], few, **given), 1, 2048)
        for name, given in settings.items()
    }
    assert kept["lst"] < 0.35 * kept["full"] < kept["lora"] < 0.85 * kept["full"]
    assert kept["ia3"] > 0.95 * kept["full"]


# ---- arithmetic ---------------------------------------------------------------------------------------------------------


class OneLayer(nn.Module):
    """Logits by a linear layer of (10 -> 10) from one-hot tokens."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(10, 10)

    def forward(self, idx):
        return self.linear(F.one_hot(idx, 10).float())


def test_flops_of_one_layer_are_those_counted_by_hand():
    """Two a weight and token forward; backward as many for the weight's gradient, and none for the tokens'."""
    with torch.device("meta"):
        model = OneLayer()
    one_hot = F.one_hot
    F.one_hot = lambda idx, n: torch.empty(*idx.shape, n, device=idx.device)  # the meta device has none
    try:
        assert step_flops(model, 3, 4) == (2 * 12 * 100, 2 * 12 * 100)
    finally:
        F.one_hot = one_hot


def test_backward_of_full_fine_tuning_costs_twice_the_forward_and_of_lora_once():
    """But for the bottom of the model and the thin matrices. LST's backward hardly counts."""
    wide = GPTConfig(vocab_size=100, block_size=64, n_layer=4, n_head=4, n_embd=256)
    settings = {"full": {}, "lora": {"rank": 1, "target_modules": QV}, "lst": {"reduction_factor": 8}}
    costs = {}
    for name, given in settings.items():
        model = attach_without_memory(METHODS[name], wide, **given)
        forward, backward = step_flops(model, 2, 32)
        costs[name] = backward / forward
        assert all(p.grad is None for p in model.parameters())
    assert costs["full"] == pytest.approx(2, abs=0.05)
    assert costs["lora"] == pytest.approx(1, abs=0.1)
    assert costs["lst"] < 0.3


def test_forward_flops_are_two_a_weight_and_token_and_attention():
    wide = GPTConfig(vocab_size=100, block_size=64, n_layer=4, n_head=4, n_embd=256)
    B, T, d = 2, 32, 256
    matrices = sum(p.numel() for name, p in GPT(wide).named_parameters() if p.dim() == 2 and "wte" not in name) - 64 * d
    forward, _ = step_flops(attach_without_memory(METHODS["full"], wide), B, T)
    assert forward == 2 * B * T * matrices + 4 * 2 * (2 * B * T * T * d)  # four layers, two products of T x T


@pytest.mark.parametrize("name", ["full", "adapter", "prompt", "prefix", "ia3", "lora", "dora", "lst", "mam"])
def test_flops_by_layer_are_those_of_all_layers(name):
    deep = GPTConfig(vocab_size=100, block_size=64, n_layer=7, n_head=4, n_embd=32)
    settings = {"num_virtual_tokens": 5} if name in ("prompt", "prefix", "mam") else {}
    everything = step_flops(attach_without_memory(METHODS[name], deep, **settings), 2, 16)
    assert step_flops_by_layer(METHODS[name], deep, 2, 16, **settings) == everything

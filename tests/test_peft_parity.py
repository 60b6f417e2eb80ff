"""The hand-written methods against `peft`, and against their formulas written down a second time."""

import copy
import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.testing import assert_close

from minitransformer.methods import METHODS
from minitransformer.surgery import MATRICES, count_parameters, trainable_state_dict

PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
SHAPE = {"vocab_size": 30, "n_layer": 3, "n_head": 4, "n_embd": 16, "n_inner": 40}


def tokens():
    return torch.randint(30, (3, 24))


# ---- LoRA -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[MATRICES, ("q_proj", "v_proj"), ("down_proj",)], ids=",".join)
def pair(request, make_gpt):
    """Our LoRA and the one of `peft` on the same base with the same random A and B; alpha is not the rank."""
    base = make_gpt(**SHAPE)
    ours = METHODS["lora"].attach(copy.deepcopy(base), rank=3, alpha=5.0, target_modules=request.param)
    theirs = get_peft_model(base, LoraConfig(r=3, lora_alpha=5.0, target_modules=list(request.param), lora_dropout=0.0))
    theirs_weights = trainable_state_dict(theirs)
    for name, tensor in trainable_state_dict(ours).items():  # "blocks.0.attn.q_proj.lora_A"
        tensor.normal_(std=0.3)
        theirs_weights.pop(f"base_model.model.{name}.default.weight").copy_(tensor)
    assert not theirs_weights
    return ours.eval(), theirs.eval()


def test_lora_trains_as_many_numbers_as_peft(pair):
    ours, theirs = pair
    assert count_parameters(ours, trainable_only=True) == theirs.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_logits_of_lora_are_those_of_peft(pair, dtype, tolerance):
    ours, theirs = (model.to(dtype) for model in pair)
    idx = tokens()
    with torch.no_grad():
        expected = theirs(idx)
        assert_close(ours(idx), expected, atol=tolerance, rtol=tolerance)
        with theirs.disable_adapter():  # without this, agreement could come from a path that adds nothing
            assert not torch.allclose(theirs(idx), expected, atol=1e-2)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_gradients_of_lora_are_those_of_peft(pair, dtype, tolerance):
    ours, theirs = (model.to(dtype) for model in pair)
    idx = tokens()
    for model in (ours, theirs):
        model(idx).square().mean().backward()
    theirs_gradients = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    for name, p in ours.named_parameters():
        if p.requires_grad:
            expected = theirs_gradients[f"base_model.model.{name}.default.weight"]
            scale = expected.abs().max().item()
            assert scale > 1e-4
            assert_close(p.grad, expected, atol=10 * tolerance * scale, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_merged_lora_is_that_of_peft(pair, dtype, tolerance):
    ours, theirs = (model.to(dtype) for model in pair)
    ours, theirs = METHODS["lora"].merge(ours), theirs.merge_and_unload()
    idx = tokens()
    with torch.no_grad():
        assert_close(ours(idx), theirs(idx), atol=tolerance, rtol=tolerance)
    assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), atol=tolerance, rtol=tolerance)


# ---- the bottleneck adapter -----------------------------------------------------------------------------------------


def gelu(x):
    """GPT-2's approximation of x times the normal distribution function."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def logits_with_adapters(base, w, idx):
    """A GPT with an adapter after each sublayer, x + up(gelu(down(x))), before the result is added to the stream."""

    def adapter(x, name):
        hidden = gelu(x @ w[f"{name}.down_proj.weight"].T + w[f"{name}.down_proj.bias"])
        return x + hidden @ w[f"{name}.up_proj.weight"].T + w[f"{name}.up_proj.bias"]

    x = base.embed(idx)
    for i, block in enumerate(base.blocks):
        x = x + adapter(block.attn(block.ln_1(x)), f"blocks.{i}.attn.adapter")
        x = x + adapter(block.mlp(block.ln_2(x)), f"blocks.{i}.mlp.adapter")
    return base.unembed(x)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
def test_logits_of_the_adapter_are_those_of_its_formula(make_gpt, dtype, tolerance):
    base = make_gpt(**SHAPE).to(dtype)
    adapted = METHODS["adapter"].attach(copy.deepcopy(base), bottleneck=5)
    weights = trainable_state_dict(adapted)
    for tensor in weights.values():
        tensor.normal_(std=0.3)
    idx = tokens()
    with torch.no_grad():
        expected = logits_with_adapters(base, weights, idx)
        assert_close(adapted(idx), expected, atol=tolerance, rtol=tolerance)
        assert not torch.allclose(base(idx), expected, atol=1e-2)

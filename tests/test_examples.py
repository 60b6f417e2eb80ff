"""The examples: short, verified, and where `peft` has the method too, the same numbers with the same weights."""

import copy
from functools import partial
from pathlib import Path

import peft
import pytest
import torch
from parity import SHAPE, TOLERANCE, Pair
from torch.testing import assert_close

from minitransformer.experiments.bench import Bench, logits_of
from minitransformer.experiments.own import load_method
from minitransformer.experiments.promises import PROMISES
from minitransformer.experiments.verify import check
from minitransformer.methods import METHODS
from minitransformer.surgery import MATRICES, base_weights, count_parameters, trainable_state_dict

FOLDER = Path(__file__).parents[1] / "examples"
FILES = {file.stem: file for file in sorted(FOLDER.glob("*.py"))}
SLOW = {"compiled", "process"}  # seconds each


def method(name):
    return load_method(FILES[name])


def test_there_are_eight():
    assert set(FILES) == {
        "bitfit", "layer_norms", "lora_plus", "loreft", "pissa", "rslora", "sparse_mask", "vera",
    }  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_example_is_short_and_names_its_paper_and_itself(name):
    text = FILES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert "arXiv:" in text.split('"""')[1]
    assert method(name).name == name and name not in METHODS


@pytest.mark.parametrize("name", FILES)
def test_example_keeps_every_promise(name):
    bench = Bench(method(name))
    found = [check(promise, bench) for promise in PROMISES.values() if promise.name not in SLOW]
    assert [(finding.promise, finding.found) for finding in found if finding.state == "BROKEN"] == []
    assert next(finding for finding in found if finding.promise == "start").state == "kept"


# ---- against `peft` -----------------------------------------------------------------------------------------------------


def lora_like(old, new, name, tensor):
    return f"base_model.model.{name.replace(old, new)}.default.weight", tensor


def pair(name, settings, config, as_theirs, make_gpt, dtype):
    """Our example and `peft` on one base, with equal random weights."""
    base = make_gpt(**SHAPE).to(dtype)
    ours = method(name).attach(copy.deepcopy(base), **settings)
    theirs = peft.get_peft_model(copy.deepcopy(base), config).to(dtype)
    return base, ours.eval(), theirs.eval(), as_theirs


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_rslora_is_that_of_peft(make_gpt, dtype):
    config = peft.LoraConfig(r=3, lora_alpha=5.0, target_modules=list(MATRICES), use_rslora=True)
    settings = {"rank": 3, "alpha": 5.0}
    both = Pair(*pair("rslora", settings, config, partial(lora_like, "", ""), make_gpt, dtype))
    both.check_logits()
    both.check_gradients()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_layer_norms_are_those_of_peft(make_gpt, dtype):
    def as_theirs(name, tensor):
        place = name.replace("scale", "ln_tuning_layers.default.weight").replace(
            "shift", "ln_tuning_layers.default.bias"
        )
        return f"base_model.model.{place}", tensor

    config = peft.LNTuningConfig(target_modules=["ln_1", "ln_2", "ln_f"])
    both = Pair(*pair("layer_norms", {}, config, as_theirs, make_gpt, dtype))
    both.check_logits()
    both.check_gradients()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_vera_is_that_of_peft(make_gpt, dtype):
    """With our random matrices in theirs; they cut one pair for all layers, so the targets here have one shape."""

    def as_theirs(name, tensor):
        name = (
            name.removesuffix(".d") + ".vera_lambda_d"
            if name.endswith(".d")
            else name.removesuffix(".b") + ".vera_lambda_b"
        )
        return f"base_model.model.{name}.default", tensor

    config = peft.VeraConfig(r=6, target_modules=["q_proj", "v_proj"], projection_prng_key=0)
    parts = pair("vera", {"rank": 6, "target_modules": ("q_proj", "v_proj")}, config, as_theirs, make_gpt, dtype)
    layer = parts[1].blocks[0].attn.q_proj
    for module in parts[2].modules():
        if hasattr(module, "vera_A") and "default" in module.vera_A:
            module.vera_A["default"].data.copy_(layer.A)
            module.vera_B["default"].data.copy_(layer.B)
    both = Pair(*parts)
    both.check_logits()
    both.check_gradients()


def test_pissa_starts_and_computes_as_that_of_peft(make_gpt):
    """Theirs takes the start out of the frozen matrix, in 32 bits; the start and the function are the same."""
    targets = ["q_proj", "down_proj"]
    config = peft.LoraConfig(r=3, lora_alpha=5.0, target_modules=targets, init_lora_weights="pissa")
    settings = {"rank": 3, "alpha": 5.0, "target_modules": targets}
    parts = pair("pissa", settings, config, partial(lora_like, "", ""), make_gpt, torch.float32)
    for name, tensor in trainable_state_dict(parts[1]).items():
        theirs = parts[2].get_parameter(lora_like("", "", name, tensor)[0])
        assert_close(tensor.abs(), theirs.detach().abs(), atol=1e-4, rtol=1e-4)  # the sign of a vector is free
    Pair(*parts).check_logits()


def test_lora_plus_takes_the_steps_of_two_rates(make_gpt):
    """AdamW on ours at one rate, and on a LoRA whose B has `ratio` times the rate: the same models, step by step."""
    ours = method("lora_plus").attach(make_gpt(**SHAPE).double(), rank=3, ratio=8.0)
    torch.manual_seed(1)
    for tensor in trainable_state_dict(ours).values():
        tensor.normal_(std=0.1)
    theirs = METHODS["lora"].attach(make_gpt(**SHAPE).double(), rank=3)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        for name, tensor in trainable_state_dict(theirs).items():
            tensor.mul_(8.0 if name.endswith("lora_B") else 1.0)
    B = [p for name, p in theirs.named_parameters() if name.endswith("lora_B")]
    A = [p for name, p in theirs.named_parameters() if name.endswith("lora_A")]
    plain = {"weight_decay": 0.0, "eps": 1e-30}
    one = torch.optim.AdamW([p for p in ours.parameters() if p.requires_grad], lr=1e-3, **plain)
    two = torch.optim.AdamW([{"params": A, "lr": 1e-3}, {"params": B, "lr": 8e-3}], **plain)
    idx = torch.randint(30, (3, 24), generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for model, optimizer in ((ours, one), (theirs, two)):
            optimizer.zero_grad()
            model(idx).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            assert_close(ours(idx), theirs(idx), atol=1e-8, rtol=1e-8)


# ---- against their own definitions ----------------------------------------------------------------------------------


def test_bitfit_learns_what_unfrozen_biases_learn(make_gpt):
    ours, theirs = make_gpt(), make_gpt()
    theirs.load_state_dict(ours.state_dict())
    ours = method("bitfit").attach(ours)
    theirs.requires_grad_(False)
    biases = {name: p.requires_grad_() for name, p in theirs.named_parameters() if name.endswith("bias")}
    for model in (ours, theirs):
        model(torch.arange(10)[None]).square().mean().backward()
    assert count_parameters(ours, trainable_only=True) == sum(p.numel() for p in biases.values())
    for name, p in biases.items():
        assert_close(ours.get_parameter(name.removesuffix("bias") + "shift").grad, p.grad, atol=1e-5, rtol=1e-4)


def test_loreft_changes_a_state_in_the_subspace_of_R_alone_as_the_equation_says(make_gpt):
    bench = Bench(method("loreft"))
    adapted = bench.trained()
    block, h = adapted.blocks[0], torch.randn(2, 5, 8)
    R = block.rotation()
    assert_close(R @ R.T, torch.eye(len(R)), atol=1e-5, rtol=0)
    before = block.base(h)
    by_hand = before + (before @ block.W.T + block.b - before @ R.T) @ R
    assert_close(block(h), by_hand)
    outside = torch.eye(8) - R.T @ R
    assert_close(block(h) @ outside, before @ outside, atol=1e-4, rtol=1e-4)


def test_sparse_mask_changes_the_drawn_entries_alone():
    bench = Bench(method("sparse_mask"))
    merged = bench.method.merge(bench.trained(one_in=10))
    changed = {
        name: (weight != base_weights(bench.base())[name]).sum().item() for name, weight in merged.named_parameters()
    }
    wanted = {name: weight.numel() // 10 for name, weight in merged.named_parameters() if name.endswith("proj.weight")}
    assert changed == {name: wanted.get(name, 0) for name in changed}


def test_the_eight_differ(make_gpt):
    """After the same random shake, no two examples are the same function."""
    found = [logits_of(Bench(method(name)).trained()) for name in FILES]
    assert all(not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(found) for b in found[:i])

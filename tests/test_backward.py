"""Ways of computing a step that must not change its numbers: each method on a GPT and on a Llama, under each of them."""

import copy
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from minitransformer import backward as backward_module
from minitransformer.adapters import attach
from minitransformer.backward import Backward
from minitransformer.measure import kept_for_backward
from minitransformer.methods import METHODS
from minitransformer.real import Llama, LlamaConfig
from minitransformer.surgery import trainable_state_dict
from minitransformer.tasks import IGNORE
from minitransformer.train import train

SETTINGS = {"lora": {"rank": 2, "alpha": 6.0}, "dora": {"rank": 2, "alpha": 6.0}, "mam": {"bottleneck": 3}}
every_method = pytest.mark.parametrize("name", METHODS)
every_model = pytest.mark.parametrize("kind", ["gpt", "llama"])


@pytest.fixture
def make(make_gpt):
    """A function that makes a model with a method attached, all of it random: (kind, method, precision)."""

    def make(kind, name, dtype=torch.float32):
        torch.manual_seed(1)
        if kind == "gpt":
            model = make_gpt(n_embd=16)
        else:
            shape = {"vocab_size": 10, "block_size": 64, "n_layer": 2, "n_embd": 16, "n_inner": 24, "tied": True}
            model = Llama(LlamaConfig(n_head=2, n_kv_head=1, **shape))
            for key, weight in model.named_parameters():
                torch.nn.init.normal_(weight, std=1.5 if key == "wte.weight" else 0.4)
        adapted = attach(model.to(dtype), name, **SETTINGS.get(name, {}))
        if name != "full":
            for weight in trainable_state_dict(adapted).values():
                weight.add_(0.2 * torch.randn_like(weight))
        return adapted

    return make


@pytest.fixture
def batch():
    """Seven rows, whose targets count in very different numbers, in one of them in no place."""
    tokens = torch.randint(10, (7, 13), generator=torch.Generator().manual_seed(0))
    targets = tokens[:, 1:].clone()  # (7, 12)
    for row, counted in enumerate([12, 1, 0, 7, 2, 3, 1]):
        targets[row, : 12 - counted] = IGNORE
    return tokens[:, :-1], targets


def loss_and_gradients(model, inputs, targets, **options):
    loss = Backward(model, **options)(inputs, targets)
    return loss, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def by_hand(model, inputs, targets):
    """The mean cross-entropy a target and its gradients, in two lines of PyTorch."""
    loss = torch.nn.functional.cross_entropy(model(inputs).float().flatten(0, 1), targets.flatten())
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def check_close(found, wanted, tolerance):
    """The loss, and every gradient against the largest number of its tensor (that of the keys' biases is always zero)."""
    assert found[0] == pytest.approx(wanted[0], rel=tolerance, abs=tolerance)
    assert found[1].keys() == wanted[1].keys()
    largest = max(gradient.abs().max() for gradient in wanted[1].values())
    for name, gradient in wanted[1].items():
        scale = max(gradient.abs().max(), 1e-3 * largest)
        assert_close(found[1][name] / scale, gradient / scale, atol=tolerance, rtol=0, msg=name)


# Blocks that a method goes through by their parts, or that read what is gone in the backward pass.
NOT_TWICE = {"prefix": "gradient_checkpointing", "mam": "gradient_checkpointing", "intrinsic": "checkpointing"}
OPTIONS = {
    "nothing": {},
    "in parts": {"gradient_accumulation_steps": 3},
    "row by row": {"gradient_accumulation_steps": 7},
    "twice": {"gradient_checkpointing": True},
    "head": {"head_on_targets": True},
    "together": {"gradient_accumulation_steps": 2, "gradient_checkpointing": True, "head_on_targets": True},
}


@pytest.mark.parametrize("how", OPTIONS)
@every_method
@every_model
def test_loss_and_gradients_are_those_of_one_plain_pass(make, batch, kind, name, how):
    model = make(kind, name)
    wanted = by_hand(copy.deepcopy(model), *batch)
    modules = {key: set(vars(module)) for key, module in model.named_modules()}
    if OPTIONS[how].get("gradient_checkpointing") and name in NOT_TWICE:
        with pytest.raises(ValueError, match=NOT_TWICE[name]):
            loss_and_gradients(model, *batch, **OPTIONS[how])
    else:
        check_close(loss_and_gradients(model, *batch, **OPTIONS[how]), wanted, 1e-5)
    assert {key: set(vars(module)) for key, module in model.named_modules()} == modules  # nothing is left in the model


@every_method
@every_model
def test_bf16_is_near_and_leaves_weights_and_gradients_in_32_bits(make, batch, kind, name):
    model = make(kind, name)
    wanted = by_hand(copy.deepcopy(model), *batch)
    found = loss_and_gradients(model, *batch, bf16=True)
    assert {gradient.dtype for gradient in found[1].values()} == {torch.float32}
    assert found[0] == pytest.approx(wanted[0], rel=0.02) and found[0] != wanted[0]
    ours, theirs = (torch.cat([gradient.flatten() for gradient in grads.values()]) for grads in (found[1], wanted[1]))
    assert (ours - theirs).norm() < 0.06 * theirs.norm()  # eight bits of mantissa
    assert model(batch[0]).dtype == torch.float32


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.06), (torch.float16, 0.01)], ids=str)
@pytest.mark.parametrize("name", [name for name in METHODS if name != "full"])
@every_model
def test_32_bits_beside_a_base_in_16_get_the_gradients_of_that_base_in_32(make, batch, kind, name, dtype, tolerance):
    model = make(kind, name, dtype)
    wanted = by_hand(copy.deepcopy(model).float(), *batch)
    loss, _ = by_hand(copy.deepcopy(model), *batch)
    found = loss_and_gradients(model, *batch, gradient_accumulation_steps=2)
    assert found[0] == pytest.approx(loss, rel=1e-5)  # of logits in 16 bits, but itself in 32
    ours, theirs = (torch.cat([gradient.flatten() for gradient in grads.values()]) for grads in (found[1], wanted[1]))
    assert ours.dtype == torch.float32
    assert (ours - theirs).norm() < tolerance * theirs.norm()


# ---- what an option is for --------------------------------------------------------------------------------------------


def bytes_kept(model, inputs, targets, **options):
    """Bytes between forward and backward; `Backward` stands where the model would."""
    way = Backward(model, **options)

    class Whole(torch.nn.Module):
        def forward(self, idx):
            return way.summed_loss(idx, targets)[None, None, None].expand(1, 1, 2)

    whole = Whole()
    whole.model = model
    return kept_for_backward(whole, inputs, torch.zeros(1, 1, dtype=torch.long))


@pytest.mark.parametrize(("name", "part"), [("full", 0.35), ("lora", 0.35), ("prompt", 0.35), ("lst", 0.55)])
def test_checkpointed_blocks_keep_a_fraction_of_the_bytes(make_gpt, name, part):
    """Beside a ladder's blocks the ladder keeps what it reads, too."""
    model = attach(make_gpt(n_embd=32, n_layer=6), name)
    tokens = torch.randint(10, (8, 33))
    kept = [bytes_kept(model, tokens[:, :-1], tokens[:, 1:], gradient_checkpointing=on) for on in (True, False)]
    assert kept[0] < part * kept[1]


def test_head_runs_where_a_target_counts_alone(make, batch):
    model, seen = make("llama", "lora"), []
    model.ln_f.register_forward_hook(lambda module, inputs, out: seen.append(tuple(out.shape)))
    loss_and_gradients(model, *batch, head_on_targets=True)
    assert seen == [(26, 16)]


def test_autocast_computes_the_products_in_16_bits(make, batch):
    model, seen = make("gpt", "lora"), []
    model.blocks[0].attn.q_proj.base.register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    loss_and_gradients(model, *batch, bf16=True)
    assert seen == [torch.bfloat16]


# ---- torch.compile ----------------------------------------------------------------------------------------------------


@pytest.fixture
def traced(monkeypatch):
    """Compile without machine code: forward and backward graph are traced, and run by PyTorch."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


@every_method
def test_compiled_it_has_the_same_gradients(make_gpt, batch, traced, name):
    model = attach(make_gpt(n_layer=1), name)
    check_close(loss_and_gradients(model, *batch, torch_compile=True), by_hand(copy.deepcopy(model), *batch), 1e-5)


needs_compiler = pytest.mark.skipif(
    not backward_module.has_compiler() or sys.platform == "win32", reason="no C++ compiler is here"
)


@needs_compiler
def test_compiled_to_machine_code_a_run_has_the_same_losses(make_gpt, task):
    runs, base = [], make_gpt(n_layer=1)
    for on in (False, True):
        model = attach(copy.deepcopy(base), "ia3")
        runs.append(train(model, task, 5, 1e-2, batch_size=4, progress=False, torch_compile=on).losses)
        assert not any("_orig_mod" in key for key in model.state_dict())
    assert runs[1] == pytest.approx(runs[0], abs=1e-5)


def test_importing_the_course_does_not_import_the_compiler():
    code = "import sys, minitransformer as mt; mt.train; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


# ---- what is refused --------------------------------------------------------------------------------------------------


def test_compiling_without_a_compiler_is_refused(gpt, task, monkeypatch):
    monkeypatch.setattr(backward_module.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"torch_compile needs a C\+\+ compiler .* install g\+\+"):
        train(gpt, task, 1, 1e-3, torch_compile=True, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be a whole number of at least 1, not 0"),
        ({"gradient_accumulation_steps": 5}, r"4 sequences cannot be cut into 5 parts .*make it larger"),
        ({"torch_compile": True, "gradient_checkpointing": True}, "torch_compile .* gradient_checkpointing changes it"),
        ({"torch_compile": True, "head_on_targets": True}, "torch_compile .* head_on_targets changes it"),
    ],
    ids=str,
)
def test_options_that_do_not_serve_are_refused(gpt, task, snapshot, same, options, message):
    before = snapshot(gpt)
    with pytest.raises(ValueError, match=message):
        train(gpt, task, 1, 1e-3, batch_size=4, progress=False, **options)
    assert same(snapshot(gpt), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_autocast_of_a_base_that_is_not_in_32_bits_is_refused(gpt, task, dtype):
    with pytest.raises(ValueError, match=rf"bf16: 'wte.weight' is in {dtype}; .*trains in 32"):
        train(attach(gpt.to(dtype), "lora"), task, 1, 1e-3, progress=False, bf16=True)


def test_head_on_targets_of_a_model_without_that_step_is_refused(constant_model, task):
    with pytest.raises(ValueError, match="head_on_targets: a Constant has no step `unembed`"):
        train(constant_model(torch.zeros(10)), task, 1, 1e-3, progress=False, head_on_targets=True)


# ---- in a run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [how for how in OPTIONS if how != "row by row"])
def test_run_goes_as_the_plain_one(make, task, how):
    runs = [
        train(make("gpt", "lora"), task, 20, 1e-2, batch_size=6, progress=False, evaluate_at=[10], **options)
        for options in ({}, OPTIONS[how])
    ]
    assert runs[1].losses == pytest.approx(runs[0].losses, abs=1e-4)
    assert [found["bits"] for found in runs[1].evaluations] == pytest.approx(
        [found["bits"] for found in runs[0].evaluations], rel=1e-4
    )


def test_run_is_continued_in_smaller_parts(make, task, interrupted, tmp_path):
    """How a step is computed is no part of what the run is."""
    whole = train(make("gpt", "lora"), task, 12, 1e-2, batch_size=6, progress=False)
    settings = {"batch_size": 6, "progress": False, "state_file": tmp_path / "state", "save_every": 4}
    with pytest.raises(KeyboardInterrupt):
        train(make("gpt", "lora"), interrupted(task, 10), 12, 1e-2, **settings)
    rest = train(make("gpt", "lora"), task, 12, 1e-2, gradient_accumulation_steps=3, **settings)
    assert rest.losses[:8] == whole.losses[:8]
    assert rest.losses == pytest.approx(whole.losses, abs=1e-5)

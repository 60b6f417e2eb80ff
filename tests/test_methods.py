"""What every fine-tuning method promises (`minitransformer.method`), tested on whatever is registered in METHODS."""

import copy
from contextlib import contextmanager

import pytest
import torch
from torch.testing import assert_close

from minitransformer.adapters import load_adapter, save_adapter
from minitransformer.course.lesson import SEVEN_BILLION
from minitransformer.generate import generate
from minitransformer.methods import METHODS
from minitransformer.model import GPT
from minitransformer.surgery import (
    added_modules,
    check_plain,
    count_parameters,
    detach,
    trainable_state_dict,
)
from minitransformer.train import train

# Where a method starts: at the base model itself, or elsewhere, because virtual tokens take attention and positions, or
# because the head reads a side network that knows nothing yet.
STARTS_AT_THE_BASE = {"full", "adapter", "ia3", "lora", "dora", "intrinsic"}
STARTS_ELSEWHERE = {"prompt", "prefix", "mam", "lst"}
ADDS_MODULES = [name for name in METHODS if name != "full"]  # full fine-tuning trains the base and adds nothing

SHAPES = [
    {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_inner": 40},
    {"n_layer": 1, "n_head": 3, "n_embd": 24, "n_inner": 24, "vocab_size": 13},
    {"n_layer": 3, "n_head": 1, "n_embd": 8, "n_inner": None, "block_size": 48},
]

# A good value of every setting that is not its default, and values that are errors.
OTHER = {
    "bottleneck": 3,
    "rank": 3,
    "alpha": 5.0,
    "target_modules": ("v_proj", "down_proj"),
    "feedforward_modules": (),
    "num_virtual_tokens": 3,
    "projection_dim": 5,
    "reduction_factor": 2,
    "scale": 2.5,
    "dimension": 7,
    "seed": 3,
}
NO_WHOLE_NUMBERS = (0, -1, 1.5, True)
WRONG = {
    "bottleneck": NO_WHOLE_NUMBERS,
    "rank": NO_WHOLE_NUMBERS,
    "alpha": (0, -1, -0.5, float("nan")),
    "target_modules": ("q_proj", (), ("nope",), ("q_proj", "c_attn"), ("attn.q_proj",), ("lm_head",), ("wte",)),
    "feedforward_modules": ("down_proj", ("q_proj",), ("nope",)),
    "num_virtual_tokens": (*NO_WHOLE_NUMBERS, 64),  # 64 fill the whole block
    "projection_dim": NO_WHOLE_NUMBERS,
    "reduction_factor": NO_WHOLE_NUMBERS,
    "scale": (0, -1, float("nan")),
    "dimension": NO_WHOLE_NUMBERS,
    "seed": (-1, 1.5, True, 2**63),
}


def others_of(name):
    """A good value of every setting of a method that is not its default."""
    own = {"adapter": {"target_modules": ("mlp",)}, "ia3": {"target_modules": ("q_proj", "up_proj", "down_proj")}}
    return {setting: {**OTHER, **own.get(name, {})}[setting] for setting in METHODS[name].defaults}


def cases():
    """Every method with its defaults, with each setting alone changed, and with all of them changed."""
    for name in METHODS:
        others = others_of(name)
        tried = [{}, *({setting: value} for setting, value in others.items())]
        for settings in [*tried, others] if len(others) > 1 else tried:
            yield pytest.param(name, settings, id="-".join([name, *settings]))


def wrong_settings():
    for name, method in METHODS.items():
        yield pytest.param(name, "nonsense", 1, id=f"{name}-nonsense")
        for setting in method.defaults:
            for value in WRONG[setting]:
                yield pytest.param(name, setting, value, id=f"{name}-{setting}-{value}")


every_method = pytest.mark.parametrize("name", METHODS)
every_case = pytest.mark.parametrize(("name", "settings"), list(cases()))
every_shape = pytest.mark.parametrize(
    "shape", SHAPES, ids=lambda shape: "d{n_embd}-h{n_head}-f{n_inner}".format(**shape)
)
both_precisions = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])


def tokens(model, batch=3, length=12):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(model.config.vocab_size, (batch, length), generator=generator)


def randomize(model):
    """Fill what trains with random numbers, so that no term of a formula is zero or one by chance."""
    for tensor in trainable_state_dict(model).values():
        tensor.normal_(std=0.3)
    return model


@contextmanager
def unchanged(model):
    """Check that nothing happens to a model: modules, weights to the bit, what trains."""
    modules, weights = dict(model.named_modules()), {name: p.clone() for name, p in model.named_parameters()}
    trains = {name: p.requires_grad for name, p in model.named_parameters()}
    yield
    assert dict(model.named_modules()) == modules
    assert {name: p.requires_grad for name, p in model.named_parameters()} == trains
    assert all(torch.equal(p, weights[name]) for name, p in model.named_parameters())


def test_every_method_says_where_it_starts():
    assert set(METHODS) <= STARTS_AT_THE_BASE | STARTS_ELSEWHERE


# ---- attached -------------------------------------------------------------------------------------------------------


@every_shape
@every_case
def test_attached_and_untrained_it_is_the_base_where_the_method_promises_it(make_gpt, shape, name, settings):
    gpt = make_gpt(**shape)
    idx = tokens(gpt)
    with torch.no_grad():
        base = gpt(idx)
        adapted = METHODS[name].attach(gpt, **settings)(idx)
    if name in STARTS_AT_THE_BASE:
        assert_close(adapted, base, atol=1e-6, rtol=1e-6)
    else:
        assert not torch.allclose(adapted, base, atol=1e-3)


@every_case
@pytest.mark.parametrize("length", [1, 12])
def test_logits_have_the_shape_of_the_real_tokens(gpt, name, settings, length):
    adapted = METHODS[name].attach(gpt, **settings)
    assert adapted(tokens(gpt, 3, length)).shape == (3, length, 10)


@every_case
def test_trained_weights_change_the_logits(gpt, name, settings):
    """Without this, the other tests could be passed by a method that does nothing."""
    before = gpt(tokens(gpt))
    adapted = randomize(METHODS[name].attach(gpt, **settings))
    assert not torch.allclose(adapted(tokens(gpt)), before, atol=1e-2)


@every_case
def test_no_token_sees_the_future(gpt, name, settings):
    adapted = randomize(METHODS[name].attach(gpt, **settings))
    idx = tokens(gpt)
    other = idx.clone()
    other[:, -4:] = (other[:, -4:] + 1) % 10
    with torch.no_grad():
        one, two = adapted(idx), adapted(other)
    assert_close(one[:, :-4], two[:, :-4], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(one[:, -4:], two[:, -4:], atol=1e-2)


@every_method
def test_all_that_it_adds_has_the_precision_of_the_base(gpt, name):
    adapted = METHODS[name].attach(gpt.double())
    tensors = [*adapted.parameters(), *adapted.buffers()]
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float64}
    assert adapted(tokens(gpt)).dtype == torch.float64


@every_method
def test_it_generates_even_beyond_the_block(gpt, name):
    adapted = randomize(METHODS[name].attach(gpt))
    room = adapted.config.block_size
    start = tokens(gpt, 2, room - 3)
    text = generate(adapted, start, 6)
    assert text.shape == (2, room + 3)
    with torch.no_grad():  # the newest token is the likeliest one after the `room` tokens before it
        assert torch.equal(text[:, -1], adapted(text[:, -1 - room : -1])[:, -1].argmax(dim=-1))


# ---- trained --------------------------------------------------------------------------------------------------------


@every_case
def test_base_stays_frozen_to_the_bit_and_all_that_is_added_learns(gpt, task, snapshot, name, settings):
    base = dict(gpt.named_parameters())  # the tensors themselves: whatever the adapted model calls them, we hold them
    adapted = METHODS[name].attach(gpt, **settings)
    before, start = {key: p.clone() for key, p in base.items()}, snapshot(adapted)
    train(adapted, task, steps=5, learning_rate=METHODS[name].learning_rate, batch_size=4, progress=False)

    if name != "full":
        assert all(torch.equal(p, before[key]) for key, p in base.items())
        assert all(p.grad is None and not p.requires_grad for p in base.values())
    trained = trainable_state_dict(adapted)
    assert trained
    assert not [key for key, tensor in trained.items() if torch.equal(tensor, start[key])]


@every_shape
@every_case
def test_formula_counts_what_trains(make_gpt, shape, name, settings):
    adapted = METHODS[name].attach(make_gpt(**shape), **settings)
    n = METHODS[name].count(adapted.config, **settings)
    assert type(n) is int
    assert n == count_parameters(adapted, trainable_only=True)


@every_method
def test_what_trains_does_not_depend_on_what_trained_before(gpt, name):
    adapted = METHODS[name].attach(gpt.requires_grad_(False))
    assert METHODS[name].count(gpt.config) == count_parameters(adapted, trainable_only=True)


@every_case
def test_formula_counts_what_trains_at_seven_billion(name, settings):
    with torch.device("meta"):  # shapes without memory
        giant = GPT(SEVEN_BILLION)
    adapted = METHODS[name].attach(giant, **settings)
    assert all(p.is_meta for p in adapted.parameters())
    assert METHODS[name].count(SEVEN_BILLION, **settings) == count_parameters(adapted, trainable_only=True)


# ---- merged, and taken off ------------------------------------------------------------------------------------------


@every_case
@both_precisions
def test_merged_is_a_plain_gpt_with_the_same_logits_or_nothing(gpt, name, settings, dtype, tolerance):
    names, idx = list(gpt.state_dict()), tokens(gpt)
    adapted = randomize(METHODS[name].attach(gpt.to(dtype), **settings))
    with torch.no_grad():
        before = adapted(idx)
        merged = METHODS[name].merge(adapted)
        assert torch.equal(adapted(idx), before)  # it goes on working as before
        if not METHODS[name].mergeable:
            assert merged is None
            return
        assert type(merged) is GPT
        assert not added_modules(merged)
        assert list(merged.state_dict()) == names
        assert_close(merged(idx), before, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("name", ADDS_MODULES)
def test_merging_leaves_the_tensors_of_the_base_as_they_were(gpt, name):
    base = dict(gpt.named_parameters())
    before = {key: p.clone() for key, p in base.items()}
    METHODS[name].merge(randomize(METHODS[name].attach(gpt)))
    assert all(torch.equal(p, before[key]) for key, p in base.items())


@every_case
def test_taken_off_it_leaves_the_base_to_the_bit(gpt, snapshot, same, name, settings):
    before, modules = snapshot(gpt), dict(gpt.named_modules())
    adapted = randomize(METHODS[name].attach(gpt, **settings))
    if name == "full":
        before = snapshot(gpt)  # nothing was added that could be taken off
    restored = detach(adapted)
    assert restored is gpt
    assert dict(restored.named_modules()) == modules
    assert same(snapshot(restored), before)
    check_plain(restored)


@every_case
def test_saved_weights_give_the_same_logits_on_a_fresh_base(gpt, tmp_path, name, settings):
    fresh, idx = copy.deepcopy(gpt), tokens(gpt)
    adapted = randomize(METHODS[name].attach(gpt, **settings))
    save_adapter(adapted, tmp_path / "one.safetensors")
    torch.manual_seed(1)  # whatever is drawn at random now must be overwritten, or be drawn from a seed of its own
    with torch.no_grad():
        assert not torch.allclose(METHODS[name].attach(copy.deepcopy(fresh), **settings)(idx), adapted(idx), atol=1e-2)
        assert torch.equal(load_adapter(fresh, tmp_path / "one.safetensors")(idx), adapted(idx))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ADDS_MODULES)
@pytest.mark.parametrize("second", METHODS)
def test_second_method_on_top_is_an_error_and_changes_nothing(gpt, first, second):
    adapted = randomize(METHODS[first].attach(gpt))
    with unchanged(adapted), pytest.raises(ValueError, match="attached already"):
        METHODS[second].attach(adapted)


@pytest.mark.parametrize(("name", "setting", "value"), list(wrong_settings()))
def test_wrong_setting_is_an_error_that_names_it_and_changes_nothing(gpt, name, setting, value):
    with unchanged(gpt), pytest.raises(ValueError, match=setting):
        METHODS[name].attach(gpt, **{setting: value})
    with pytest.raises(ValueError, match=setting):
        METHODS[name].count(gpt.config, **{setting: value})

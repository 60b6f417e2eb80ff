import copy

import pytest
import torch
from torch import nn

from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import (
    MATRICES,
    Attached,
    added_modules,
    base_weights,
    check_plain,
    check_positive,
    check_targets,
    count_parameters,
    detach,
    fingerprint,
    freeze,
    linear_layer,
    linear_names,
    load_weights,
    matrix_shape,
    replace_modules,
    target_names,
    trainable_state_dict,
)


class Wrapped(Attached):
    """What a method does to a linear layer: keep it as `base`, add something that trains."""

    def __init__(self, base):
        super().__init__(base)
        self.out_features = base.out_features
        self.scale = nn.Parameter(torch.full((base.out_features,), 2.0))

    def forward(self, x):
        return self.base(x) * self.scale


class Around(Attached):
    """What a method does that wraps the whole model."""

    def __init__(self, base):
        super().__init__(base)
        self.config = base.config
        self.bias = nn.Parameter(torch.ones(()))

    def forward(self, idx):
        return self.base(idx) + self.bias


@pytest.fixture
def adapted(gpt):
    """A frozen GPT whose queries and values are wrapped."""
    freeze(gpt)
    replace_modules(gpt, ["q_proj", "v_proj"], Wrapped)
    return gpt


def idx():
    return torch.randint(10, (2, 12), generator=torch.Generator().manual_seed(0))


# ---- freezing and counting ------------------------------------------------------------------------------------------


def test_freeze_stops_what_is_there_and_not_what_comes_later(gpt):
    freeze(gpt)
    assert not any(p.requires_grad for p in gpt.parameters())
    gpt.blocks[0].attn.q_proj = Wrapped(gpt.blocks[0].attn.q_proj)
    assert [name for name, p in gpt.named_parameters() if p.requires_grad] == ["blocks.0.attn.q_proj.scale"]


@pytest.mark.parametrize("n_inner", [7, 32])
def test_count_of_a_gpt_is_that_of_its_matrices_norms_and_biases(n_inner):
    vocabulary, block, layers, d = 10, 16, 3, 8
    attn = 4 * (d * d + d)
    mlp = d * n_inner + n_inner + n_inner * d + d
    total = (2 * vocabulary + block) * d + layers * (attn + mlp + 4 * d) + 2 * d
    model = GPT(GPTConfig(vocabulary, block, layers, n_head=2, n_embd=d, n_inner=n_inner))
    assert count_parameters(model) == count_parameters(model, trainable_only=True) == total


def test_count_tells_trained_from_frozen(adapted):
    plain = GPT(adapted.config)
    assert count_parameters(adapted) == count_parameters(plain) + 4 * 8
    assert count_parameters(adapted, trainable_only=True) == 4 * 8


def test_shared_weight_is_counted_once(gpt):
    before = count_parameters(gpt)
    gpt.lm_head.weight = gpt.wte.weight
    assert count_parameters(gpt) == before - 80


@pytest.mark.parametrize("name", MATRICES)
def test_matrix_shape_is_that_of_the_model(gpt, name):
    [module] = [module for full, module in gpt.blocks[1].named_modules() if full.endswith(name)]
    assert matrix_shape(gpt.config, name) == (module.in_features, module.out_features)


# ---- replacing ------------------------------------------------------------------------------------------------------


def test_targets_are_matched_by_their_whole_last_part(gpt):
    gpt.blocks[0].attn.other_q_proj = nn.Linear(2, 2)
    gpt.q_proj_2 = nn.Linear(2, 2)
    assert target_names(gpt, ["q_proj"]) == ["blocks.0.attn.q_proj", "blocks.1.attn.q_proj"]


def test_replace_modules_replaces_the_targets_and_nothing_else(gpt):
    gpt.blocks[0].attn.other_q_proj = nn.Linear(2, 2)
    before = dict(gpt.named_modules())
    names = replace_modules(gpt, ("down_proj", "q_proj"), Wrapped)
    expected = {f"blocks.{i}.{name}" for i in range(2) for name in ("attn.q_proj", "mlp.down_proj")}
    assert set(names) == expected
    after = dict(gpt.named_modules())
    for name, module in before.items():
        if name in expected:
            assert isinstance(after[name], Wrapped)
            assert after[name].base is module
        else:
            assert after[name] is module


@pytest.mark.parametrize("targets", [["q_proj", "nope"], ["other_q_proj"], "q_proj", ["attn.q_proj"], [""]])
def test_target_that_matches_nothing_is_an_error_before_anything_is_replaced(gpt, targets):
    before = dict(gpt.named_modules())
    with pytest.raises(ValueError, match=r"no module of the model is called .*q_proj"):
        replace_modules(gpt, targets, Wrapped)
    assert dict(gpt.named_modules()) == before


def test_target_inside_another_is_an_error_before_anything_is_replaced(gpt):
    before = dict(gpt.named_modules())
    with pytest.raises(ValueError, match=r"'blocks\.0\.attn\.q_proj' lies inside 'blocks\.0\.attn'"):
        replace_modules(gpt, ["attn", "q_proj"], Wrapped)
    assert dict(gpt.named_modules()) == before


@pytest.mark.parametrize("targets", ["q_proj", [], (), ["q_proj", "c_attn"], ["lm_head"]], ids=str)
def test_check_targets_wants_a_list_of_a_blocks_matrices(targets):
    check_targets(MATRICES)
    with pytest.raises(ValueError, match="target_modules"):
        check_targets(targets)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "3"])
def test_check_positive_names_the_setting_and_its_value(value):
    check_positive(rank=1)
    with pytest.raises(ValueError, match=f"rank must be .*{value!r}"):
        check_positive(alpha=3, rank=value)


# ---- is a method attached? ------------------------------------------------------------------------------------------


def test_plain_model_is_plain(gpt):
    check_plain(gpt)
    assert added_modules(gpt) == []


def test_added_modules_are_named(adapted):
    assert added_modules(adapted) == [f"blocks.{i}.attn.{name}" for i in range(2) for name in ("q_proj", "v_proj")]


def test_looking_for_added_modules_does_not_change_what_is_drawn_next(adapted):
    before = torch.get_rng_state()
    added_modules(adapted)
    assert torch.equal(torch.get_rng_state(), before)


def test_replaced_module_is_not_plain(adapted):
    with pytest.raises(ValueError, match=r"Wrapped attached already \(at 'blocks\.0\.attn\.q_proj'\)"):
        check_plain(adapted)


def test_wrapped_model_is_not_plain(gpt):
    with pytest.raises(ValueError, match="Around attached already"):
        check_plain(Around(gpt))


class Base(nn.Module):
    """A user's own model, with a part of its own called `base`."""

    def __init__(self):
        super().__init__()
        self.base, self.head = nn.Linear(4, 4), nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.head(self.base(x))


def test_part_called_base_is_no_attached_module():
    model = Base()
    parts = dict(model.named_modules())
    check_plain(model)
    assert added_modules(model) == []
    assert detach(model) is model
    assert dict(model.named_modules()) == parts


def test_compiled_model_is_not_plain_but_has_the_base_inside(gpt):
    compiled = torch.compile(gpt, backend="eager")
    with pytest.raises(ValueError, match="compiled"):
        check_plain(compiled)
    assert detach(compiled) is gpt
    gpt.blocks[1].mlp = torch.compile(gpt.blocks[1].mlp, backend="eager")
    with pytest.raises(ValueError, match="compiled"):
        check_plain(gpt)
    check_plain(detach(gpt))


def test_linear_names_are_those_of_plain_linear_layers_alone():
    model = nn.ModuleDict({"body": nn.ModuleDict({"one": nn.Linear(2, 2), "both": nn.Linear(2, 2)})})
    model["both"] = nn.Embedding(2, 2)  # one name for two kinds
    model["attention"] = nn.MultiheadAttention(4, 2)  # reads the weight of its out_proj past the layer's forward
    assert linear_names(model) == ("one",)


@pytest.mark.parametrize("attach", [lambda gpt: replace_modules(gpt, MATRICES, Wrapped) and gpt, Around])
def test_weights_of_the_base_inside_are_those_of_the_base(gpt, attach):
    gpt.lm_head.weight = gpt.wte.weight  # shared, so counted once
    before = base_weights(gpt)
    assert list(before) == [name for name, _ in gpt.named_parameters()]
    inside = base_weights(attach(gpt))
    assert list(inside) == list(before)
    assert all(inside[name] is tensor for name, tensor in before.items())


def test_fingerprint_tells_a_bit_a_precision_and_a_tie(gpt):
    prints = {fingerprint(base_weights(gpt))}
    prints.add(fingerprint(base_weights(copy.deepcopy(gpt).double())))
    tied = copy.deepcopy(gpt)
    tied.lm_head.weight = tied.wte.weight
    untied = copy.deepcopy(tied)
    untied.lm_head.weight = nn.Parameter(untied.wte.weight.detach().clone())
    prints |= {fingerprint(base_weights(model)) for model in (tied, untied)}
    with torch.no_grad():
        gpt.blocks[1].mlp.up_proj.weight[3, 2].nextafter_(torch.tensor(9.0))
    prints.add(fingerprint(base_weights(gpt)))
    assert len(prints) == 5


def test_linear_layer_has_a_bias_only_if_it_is_given_one():
    weight = torch.randn(3, 2)
    assert linear_layer(weight, None).bias is None
    assert torch.equal(linear_layer(weight, torch.ones(3))(torch.ones(2)), weight.sum(dim=1) + 1)


# ---- detaching ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attach",
    [
        lambda gpt: replace_modules(gpt, MATRICES, Wrapped) and gpt,
        Around,
        lambda gpt: Around(replace_modules(gpt, ["o_proj"], Wrapped) and gpt),
        lambda gpt: Around(Around(gpt)),
    ],
    ids=["modules", "model", "both", "twice"],
)
def test_detach_restores_the_base_to_the_bit(gpt, snapshot, same, attach):
    weights, logits, modules = snapshot(gpt), gpt(idx()), dict(gpt.named_modules())
    adapted = attach(gpt)
    assert not torch.equal(adapted(idx()), logits)
    restored = detach(adapted)
    assert restored is gpt
    assert dict(restored.named_modules()) == modules
    assert same(snapshot(restored), weights)
    assert torch.equal(restored(idx()), logits)
    check_plain(restored)


def test_detach_takes_off_what_was_put_on_twice(gpt):
    modules = dict(gpt.named_modules())
    replace_modules(gpt, ["q_proj"], Wrapped)
    replace_modules(gpt, ["q_proj"], Wrapped)
    assert dict(detach(gpt).named_modules()) == modules


def test_detach_leaves_a_plain_model_alone(gpt, snapshot, same):
    before = snapshot(gpt)
    assert detach(gpt) is gpt
    assert same(snapshot(gpt), before)


# ---- the weights that train ------------------------------------------------------------------------------------


def test_trainable_state_dict_holds_what_trains_and_nothing_else(adapted):
    weights = trainable_state_dict(adapted)
    assert set(weights) == {f"blocks.{i}.attn.{name}.scale" for i in range(2) for name in ("q_proj", "v_proj")}
    assert not any(tensor.requires_grad for tensor in weights.values())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights | {"blocks.1.attn.v_proj.scale": torch.zeros(9)},
        lambda weights: weights | {"blocks.1.attn.v_proj.scale": torch.zeros(1)},  # would broadcast
        lambda weights: weights | {"more": torch.zeros(8)},
        lambda weights: {name: w for name, w in weights.items() if name != "blocks.1.attn.v_proj.scale"},
        lambda weights: {},
    ],
    ids=["wrong shape", "shape that broadcasts", "one too many", "one missing", "none"],
)
def test_weights_that_do_not_fit_are_an_error_and_nothing_is_copied(adapted, snapshot, same, spoil):
    before = snapshot(adapted)
    weights = spoil({name: torch.zeros_like(w) for name, w in trainable_state_dict(adapted).items()})
    with pytest.raises(ValueError, match=r"do not fit this model, at '.*'.* attach the same settings"):
        load_weights(adapted, weights)
    assert same(snapshot(adapted), before)


def test_loading_weights_leaves_the_frozen_ones_alone(adapted, snapshot):
    before = snapshot(adapted)
    load_weights(adapted, {name: torch.zeros_like(w) for name, w in trainable_state_dict(adapted).items()})
    changed = {name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == set(trainable_state_dict(adapted))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_an_error_and_nothing_is_copied(adapted, snapshot, same, value):
    before = snapshot(adapted)
    weights = {name: torch.zeros_like(w) for name, w in trainable_state_dict(adapted).items()}
    weights["blocks.1.attn.v_proj.scale"][3] = value
    with pytest.raises(ValueError, match=r"'blocks\.1\.attn\.v_proj\.scale' holds numbers that are not finite"):
        load_weights(adapted, weights)
    assert same(snapshot(adapted), before)


def test_loaded_weights_are_copies_in_their_own_precision(adapted):
    weights = {name: w.clone().double() for name, w in trainable_state_dict(adapted).items()}
    load_weights(adapted, weights)
    for name, weight in weights.items():
        loaded = adapted.get_parameter(name)
        assert torch.equal(loaded, weight) and loaded.dtype == torch.float64 and loaded.requires_grad
        assert loaded.data_ptr() != weight.data_ptr()

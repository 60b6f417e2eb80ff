"""Swapping, mixing and routing, with random weights that are not zero, alpha unlike the rank, and tight tolerances."""

import pytest
import torch

from minitransformer.methods import METHODS
from minitransformer.methods.library import (
    LoRAMixture,
    MixedPromptGPT,
    factors,
    mix_ia3,
    mix_loras,
    put_on_originals,
    stacked,
    swap,
)
from minitransformer.model import GPT
from minitransformer.surgery import detach, load_weights, trainable_state_dict

RANK, ALPHA = 3, 5.0
LORA = {"rank": RANK, "alpha": ALPHA, "target_modules": ["q_proj", "v_proj", "down_proj"]}
TOLERANCE = {"rtol": 0, "atol": 1e-10}  # in float64


def random_weights(base, method, seed, **settings):
    """Weights of a method for this base, none of them zero or one."""
    adapted = METHODS[method].attach(base, **settings)
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: tensor.shape for name, tensor in trainable_state_dict(adapted).items()}
    return {name: 0.5 + torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


@pytest.fixture
def base(make_gpt):
    """A function that builds the same small base every time, in float64."""

    def build() -> GPT:
        torch.manual_seed(7)
        return make_gpt().double()

    return build


@pytest.fixture
def library(base):
    return {name: random_weights(base(), "lora", seed, **LORA) for seed, name in enumerate("abc")}


def alone(base, method, weights, **settings):
    """The method attached, with these weights."""
    adapted = METHODS[method].attach(base, **settings).double()
    load_weights(adapted, weights)
    return adapted


def tokens(rows=7, length=9):
    return torch.randint(10, (rows, length), generator=torch.Generator().manual_seed(0))


CHOICE = torch.tensor([2, 0, 0, 1, 2, 1, 0])


# ---- swapping -----------------------------------------------------------------------------------------------------------


def test_swapped_in_lora_gives_the_logits_of_the_attached_one(base, library):
    server, now = base(), None
    for name in "abcab":
        swap(server, library.get(now), library[name], ALPHA)
        now = name
        wanted = alone(base(), "lora", library[name], **LORA)(tokens())
        torch.testing.assert_close(server(tokens()), wanted, **TOLERANCE)
        assert (wanted - base()(tokens())).abs().max() > 0.1  # the LoRA does something


def test_swapped_out_lora_leaves_the_base_but_for_rounding(base, library):
    server = base()
    swap(server, None, library["a"], ALPHA)
    swap(server, library["a"], None, ALPHA)
    for name, weight in base().state_dict().items():
        torch.testing.assert_close(server.state_dict()[name], weight, **TOLERANCE)


def test_swap_changes_the_matrices_of_the_lora_alone(base, library):
    server = base()
    swap(server, None, library["a"], ALPHA)
    changed = [
        name for name, weight in base().state_dict().items() if not torch.equal(server.state_dict()[name], weight)
    ]
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "v_proj", "down_proj"}
    assert len(changed) == 6
    assert all(name.endswith(".weight") for name in changed)


def test_rounding_of_swaps_adds_up_and_originals_keep_it_away(base, library):
    library = {name: {key: tensor.float() for key, tensor in weights.items()} for name, weights in library.items()}
    swapped, renewed, originals = base().float(), base().float(), base().float().state_dict()
    put_on_originals(renewed, originals, library["a"], ALPHA)
    first = {name: weight.clone() for name, weight in renewed.state_dict().items()}
    swap(swapped, None, library["a"], ALPHA)
    for old, new in (("a", "b"), ("b", "c"), ("c", "a")) * 10:
        swap(swapped, library[old], library[new], ALPHA)
        put_on_originals(renewed, originals, library[new], ALPHA)
    assert all(torch.equal(first[name], weight) for name, weight in renewed.state_dict().items())
    assert not all(torch.equal(first[name], weight) for name, weight in swapped.state_dict().items())
    torch.testing.assert_close(
        renewed(tokens()),
        alone(base(), "lora", {k: v.double() for k, v in library["a"].items()}, **LORA)(tokens()).float(),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "bad", [{"x.scale": torch.ones(2)}, {"x.lora_A": torch.ones(2, 2)}, {}], ids=["ia3", "half", "empty"]
)
def test_what_is_no_lora_is_refused_and_the_model_unchanged(base, library, bad, same, snapshot):
    with pytest.raises(ValueError, match="not the weights of a LoRA"):
        factors(bad, ALPHA)
    server = base()
    before = snapshot(server)
    with pytest.raises(ValueError, match="not the weights of a LoRA"):
        swap(server, library["a"], bad, ALPHA)
    with pytest.raises(ValueError, match="not the weights of a LoRA"):
        put_on_originals(server, base().state_dict(), bad, ALPHA)
    with pytest.raises(ValueError, match="alpha"):
        swap(server, None, library["a"], 0.0)
    assert same(snapshot(server), before)


@pytest.mark.parametrize(
    "put_on",
    [
        lambda server, library, bad: swap(server, library["a"], bad, ALPHA),
        lambda server, library, bad: put_on_originals(server, server.state_dict(), bad, ALPHA),
        lambda server, library, bad: mix_loras(server, {"bad": bad}, ALPHA),
    ],
    ids=["swap", "originals", "mix"],
)
@pytest.mark.parametrize("place", ["blocks.9.attn.q_proj", "blocks.1.mlp.down_proj"], ids=["missing", "other shape"])
def test_lora_of_another_base_is_refused_and_the_model_unchanged(base, library, put_on, place, same, snapshot):
    server = base()
    before = snapshot(server)
    pair = {f"{place}.lora_A": torch.ones(RANK, 3).double(), f"{place}.lora_B": torch.ones(3, RANK).double()}
    with pytest.raises(ValueError, match=f"does not fit this model, at '{place}'"):
        put_on(server, library, {**library["b"], **pair})
    assert same(snapshot(server), before)
    assert all(parameter.requires_grad for parameter in server.parameters())


def test_lora_in_32_bits_goes_onto_a_server_in_16(base, library):
    library = {name: {key: tensor.float() for key, tensor in weights.items()} for name, weights in library.items()}
    originals = base().bfloat16().state_dict()
    swapped, renewed = base().bfloat16(), base().bfloat16()
    swap(swapped, None, library["a"], ALPHA)
    put_on_originals(renewed, originals, library["b"], ALPHA)
    put_on_originals(renewed, originals, library["a"], ALPHA)
    assert {weight.dtype for weight in swapped.state_dict().values()} == {torch.bfloat16}
    assert all(torch.equal(swapped.state_dict()[name], weight) for name, weight in renewed.state_dict().items())


# ---- mixing -------------------------------------------------------------------------------------------------------------


def check_rows(mixed, models, rows=None):
    """Every row gives what its own model gives it alone, and another choice gives something else."""
    rows = tokens() if rows is None else rows
    logits = mixed(rows, CHOICE)
    for row, k, found in zip(rows, CHOICE, logits, strict=True):
        torch.testing.assert_close(found, models[k](row[None])[0], **TOLERANCE)
    assert (mixed(rows, (CHOICE + 1) % 3) - logits).abs().amax(dim=(1, 2)).min() > 1e-2


def test_mixed_loras_give_every_row_its_own(base, library):
    models = [alone(base(), "lora", weights, **LORA) for weights in library.values()]
    check_rows(mix_loras(base(), library, ALPHA), models)


def test_mixed_ia3_gives_every_row_its_own(base):
    vectors = {k: random_weights(base(), "ia3", k) for k in range(3)}
    check_rows(mix_ia3(base(), vectors), [alone(base(), "ia3", vectors[k]) for k in range(3)])


def test_mixed_prompts_give_every_row_its_own(base):
    prompts = {k: random_weights(base(), "prompt", k, num_virtual_tokens=4) for k in range(3)}
    models = [alone(base(), "prompt", prompts[k], num_virtual_tokens=4) for k in range(3)]
    check_rows(MixedPromptGPT(base(), stacked(prompts)["prompt"]), models)


def test_mixed_model_is_frozen_and_gives_the_base_back(base, library, same, snapshot):
    mixed = mix_loras(base(), library, ALPHA)
    mixed(tokens(), CHOICE)
    assert not any(parameter.requires_grad for parameter in mixed.parameters())
    assert same(snapshot(detach(mixed)), snapshot(base()))


@pytest.mark.parametrize("mix", [mix_loras, LoRAMixture])
def test_library_of_unlike_adapters_is_refused_and_the_model_unchanged(base, library, mix, same, snapshot):
    model = base()
    before = snapshot(model)
    wider = random_weights(base(), "lora", 0, **{**LORA, "rank": 2})
    fewer = random_weights(base(), "lora", 0, **{**LORA, "target_modules": ["q_proj"]})
    for bad in (wider, fewer):
        with pytest.raises(ValueError, match="'b' has other names or shapes"):
            mix(model, {"a": library["a"], "b": bad}, ALPHA)
    with pytest.raises(ValueError, match="no adapter"):
        mix(model, {}, ALPHA)
    with pytest.raises(ValueError, match="not the weights of a LoRA"):
        mix(model, {"a": random_weights(base(), "ia3", 0)}, ALPHA)
    with pytest.raises(ValueError, match="vectors"):
        mix_ia3(model, library)
    assert same(snapshot(model), before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="attached already"):
        mix(METHODS["ia3"].attach(model), library, ALPHA)


# ---- routing ------------------------------------------------------------------------------------------------------------


def test_mixture_with_one_gate_open_is_that_expert(base, library):
    mixture = LoRAMixture(base(), library, ALPHA)
    gates = torch.nn.functional.one_hot(CHOICE, 3).double()  # (batch, K)
    mixed = mix_loras(base(), library, ALPHA)
    torch.testing.assert_close(mixture.mixed(tokens(), gates), mixed(tokens(), CHOICE), **TOLERANCE)


def test_mixture_weighs_the_updates_of_its_experts(base, library):
    mixture = LoRAMixture(base(), library, ALPHA)
    gates = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    server = base()
    for weights, gate in zip(library.values(), gates.tolist(), strict=True):
        swap(server, None, weights, gate * ALPHA)
    found = mixture.mixed(tokens(), gates.expand(7, 3))
    torch.testing.assert_close(found, server(tokens()), **TOLERANCE)


def test_untrained_router_mixes_all_experts_alike(base, library):
    mixture = LoRAMixture(base(), library, ALPHA)
    assert torch.equal(mixture.gates(tokens()), torch.full((7, 3), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("reads", [1, 4])
def test_router_reads_the_first_tokens_and_no_later_ones(base, library, reads):
    mixture = LoRAMixture(base(), library, ALPHA, reads=reads)
    torch.nn.init.normal_(mixture.router.weight)
    gates = mixture.gates(tokens())
    torch.testing.assert_close(gates.sum(dim=-1), torch.ones(7, dtype=torch.float64))
    for place in range(9):
        other = tokens()
        other[:, place] = (other[:, place] + 1) % 10
        assert torch.equal(mixture.gates(other), gates) == (place >= reads)
    later = tokens()
    later[:, 6:] = 0
    assert torch.equal(mixture(later)[:, :6], mixture(tokens())[:, :6])  # no token sees those behind it


@pytest.mark.parametrize("reads", [0, -1, 65, 1.0, True, None])
def test_bad_reads_is_refused(base, library, reads):
    with pytest.raises(ValueError, match="reads must be a whole number from 1 to 64"):
        LoRAMixture(base(), library, ALPHA, reads=reads)

"""Swapping, mixing and routing, with random weights that are not zero, alpha unlike the rank, and tight tolerances."""

import copy
from dataclasses import replace

import pytest
import torch

from minitransformer.generate import generate
from minitransformer.method import trained
from minitransformer.methods import METHODS
from minitransformer.methods.library import mix_ia3, mix_loras, mix_prompts, put_on_originals, swap
from minitransformer.methods.mixture import LoRAMixture
from minitransformer.model import GPT
from minitransformer.surgery import base_weights, detach, fingerprint, trainable_state_dict

LORA = {"rank": 3, "alpha": 5.0, "target_modules": ["q_proj", "v_proj", "down_proj"]}
UNLIKE = [  # each with a rank, an alpha and targets of its own
    LORA,
    {"rank": 1, "alpha": 7.0, "target_modules": ["q_proj", "o_proj"]},
    {"rank": 4, "alpha": 0.5, "target_modules": ["down_proj"]},
]
TOLERANCE = {"rtol": 0, "atol": 1e-10}  # in float64


def random_trained(base, method, seed, **settings):
    """A method as if trained on this base, none of its weights zero or one."""
    adapted = METHODS[method].attach(base, **settings)
    generator = torch.Generator().manual_seed(seed)
    for tensor in trainable_state_dict(adapted).values():
        tensor.copy_(0.5 + torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    return trained(adapted)


@pytest.fixture
def base(make_gpt):
    """A function that builds the same small base every time, in float64."""

    def build() -> GPT:
        torch.manual_seed(7)
        return make_gpt().double()

    return build


@pytest.fixture
def library(base):
    return {name: random_trained(base(), "lora", seed, **LORA) for seed, name in enumerate("abc")}


def alone(base, entry):
    """The method attached, with these weights."""
    return METHODS[entry.adaptation.method].restore(base, entry, allow_other_base=True)


def in_32_bits(entry):
    return replace(entry, weights={name: weight.float() for name, weight in entry.weights.items()})


def not_finite(entry, value=float("nan")):
    """A copy with one number that is none."""
    weights = {name: weight.clone() for name, weight in entry.weights.items()}
    list(weights.values())[-1].view(-1)[1] = value
    return replace(entry, weights=weights)


def tokens(rows=7, length=9):
    return torch.randint(10, (rows, length), generator=torch.Generator().manual_seed(0))


CHOICE = torch.tensor([2, 0, 0, 1, 2, 1, 0])


# ---- swapping -----------------------------------------------------------------------------------------------------------


def test_swapped_in_lora_gives_the_logits_of_the_attached_one(base, library):
    server, now = base(), None
    for name in "abcab":
        swap(server, library.get(now), library[name])
        now = name
        wanted = alone(base(), library[name])(tokens())
        torch.testing.assert_close(server(tokens()), wanted, **TOLERANCE)
        assert (wanted - base()(tokens())).abs().max() > 0.1  # the LoRA does something


def test_swapped_out_lora_leaves_the_base_but_for_rounding(base, library):
    server = base()
    swap(server, None, library["a"])
    swap(server, library["a"], None)
    for name, weight in base().state_dict().items():
        torch.testing.assert_close(server.state_dict()[name], weight, **TOLERANCE)


def test_swap_changes_the_matrices_of_the_lora_alone(base, library):
    server = base()
    swap(server, None, library["a"])
    changed = [
        name for name, weight in base().state_dict().items() if not torch.equal(server.state_dict()[name], weight)
    ]
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "v_proj", "down_proj"}
    assert len(changed) == 6
    assert all(name.endswith(".weight") for name in changed)


def test_rounding_of_swaps_adds_up_and_originals_keep_it_away(base, library):
    library = {name: in_32_bits(entry) for name, entry in library.items()}
    swapped, renewed, originals = base().float(), base().float(), base().float().state_dict()
    put_on_originals(renewed, originals, library["a"])
    first = {name: weight.clone() for name, weight in renewed.state_dict().items()}
    swap(swapped, None, library["a"])
    for old, new in (("a", "b"), ("b", "c"), ("c", "a")) * 10:
        swap(swapped, library[old], library[new])
        put_on_originals(renewed, originals, library[new])
    assert all(torch.equal(first[name], weight) for name, weight in renewed.state_dict().items())
    assert not all(torch.equal(first[name], weight) for name, weight in swapped.state_dict().items())
    torch.testing.assert_close(
        renewed(tokens()),
        alone(base(), library["a"])(tokens()).float(),
        rtol=1e-4,
        atol=1e-4,
    )


def test_hundred_swaps_leave_no_trace_beyond_rounding(base, library):
    """In 32 bits; what is left is below a part in 100,000 of the largest weight that its matrix had on the way."""
    server, now, generator = base().float(), None, torch.Generator().manual_seed(0)
    library = {name: in_32_bits(entry) for name, entry in library.items()}
    merged = [METHODS["lora"].merge(alone(base().float(), entry)) for entry in library.values()]
    for new in [*"abc", *("abc"[i] for i in torch.randint(3, (97,), generator=generator).tolist()), None]:
        swap(server, library.get(now), library.get(new))
        now = new
    for name, weight in base().float().named_parameters():
        largest = max(model.get_parameter(name).abs().max() for model in merged)
        assert (server.get_parameter(name) - weight).abs().max() <= 1e-5 * largest, name


def test_what_is_not_on_cannot_be_taken_off(base, library, same, snapshot):
    server = base()
    for name in "a", "b":
        with pytest.raises(ValueError, match="not on"):
            swap(server, library[name], None)
    assert same(snapshot(server), snapshot(base()))
    swap(server, None, library["a"])
    before = snapshot(server)
    other_alpha = scaled(library["a"], 2.0)
    for off in (library["b"], other_alpha):
        with pytest.raises(ValueError, match="not on"):
            swap(server, off, library["c"])
    assert same(snapshot(server), before)
    swap(server, copy.deepcopy(library["a"]), None)  # the same LoRA, read again
    with pytest.raises(ValueError, match="not on"):
        swap(server, library["a"], None)
    put_on_originals(server, base().state_dict(), library["b"])
    with pytest.raises(ValueError, match="not on"):
        swap(server, library["a"], None)
    swap(server, library["b"], None)


def empty(entry):
    return replace(entry, weights={})


def half(entry):
    return replace(entry, weights=dict(list(entry.weights.items())[:1]))


@pytest.mark.parametrize("spoil", [empty, half, not_finite], ids=["empty", "half", "not finite"])
def test_what_is_no_lora_is_refused_and_the_model_unchanged(base, library, spoil, same, snapshot):
    bad = spoil(library["b"])
    server = base()
    swap(server, None, library["a"])
    before = snapshot(server)
    for call in (
        lambda: swap(server, library["a"], bad),
        lambda: put_on_originals(server, base().state_dict(), bad),
    ):
        with pytest.raises(ValueError, match=r"not the weights of a LoRA|not finite"):
            call()
    assert same(snapshot(server), before)
    swap(server, library["a"], library["b"])  # what is on is still known


def test_vectors_of_ia3_are_refused_by_a_swap(base, library):
    with pytest.raises(ValueError, match="'ia3'"):
        swap(base(), None, random_trained(base(), "ia3", 0))


def test_swap_that_would_overflow_is_refused_and_the_model_unchanged(base, library, same, snapshot):
    server = base().half()
    before = snapshot(server)
    with pytest.raises(ValueError, match=r"swap: .* not finite"):
        swap(server, None, scaled(library["a"], 1e5))
    assert same(snapshot(server), before)


@pytest.mark.parametrize(
    "put_on",
    [
        lambda server, library, bad: swap(server, None, bad),
        lambda server, library, bad: put_on_originals(server, server.state_dict(), bad),
        lambda server, library, bad: mix_loras(server, {"good": library["a"], "bad": bad}),
        lambda server, library, bad: LoRAMixture(server, {"good": library["a"], "bad": bad}),
    ],
    ids=["swap", "originals", "mix", "mixture"],
)
@pytest.mark.parametrize("place", ["blocks.9.attn.q_proj", "blocks.1.mlp.down_proj"], ids=["missing", "other shape"])
def test_lora_that_does_not_fit_is_refused_and_the_model_unchanged(base, library, put_on, place, same, snapshot):
    server = base()
    before = snapshot(server)
    pair = {f"{place}.lora_A": torch.ones(3, 3).double(), f"{place}.lora_B": torch.ones(3, 3).double()}
    with pytest.raises(ValueError, match=f"does not fit this model, at '{place}'"):
        put_on(server, library, replace(library["b"], weights={**library["b"].weights, **pair}))
    assert same(snapshot(server), before)
    assert all(parameter.requires_grad for parameter in server.parameters())


def test_lora_in_32_bits_goes_onto_a_server_in_16(base, library):
    library = {name: in_32_bits(entry) for name, entry in library.items()}
    originals = base().bfloat16().state_dict()
    swapped, renewed = base().bfloat16(), base().bfloat16()
    swap(swapped, None, library["a"])
    put_on_originals(renewed, originals, library["b"])
    put_on_originals(renewed, originals, library["a"])
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
    check_rows(mix_loras(base(), library), [alone(base(), entry) for entry in library.values()])


def test_mixed_ia3_gives_every_row_its_own(base):
    vectors = {k: random_trained(base(), "ia3", k) for k in range(3)}
    check_rows(mix_ia3(base(), vectors), [alone(base(), vectors[k]) for k in range(3)])


def test_mixed_prompts_give_every_row_its_own(base):
    prompts = {k: random_trained(base(), "prompt", k, num_virtual_tokens=4) for k in range(3)}
    check_rows(mix_prompts(base(), prompts), [alone(base(), prompts[k]) for k in range(3)])


@pytest.mark.parametrize("targets", [("v_proj",), ("down_proj",), ("o_proj", "up_proj", "down_proj")])
@pytest.mark.parametrize("reads", [(), ("down_proj",)])
def test_mixed_ia3_has_its_knobs_where_they_were_trained(base, targets, reads):
    settings = {"target_modules": targets, "feedforward_modules": tuple(set(reads) & set(targets))}
    vectors = {k: random_trained(base(), "ia3", k, **settings) for k in range(3)}
    check_rows(mix_ia3(base(), vectors), [alone(base(), vectors[k]) for k in range(3)])


def test_each_lora_of_a_mix_keeps_its_own_rank_alpha_and_targets(base):
    library = {k: random_trained(base(), "lora", k, **settings) for k, settings in enumerate(UNLIKE)}
    models = [alone(base(), library[k]) for k in range(3)]
    check_rows(mix_loras(base(), library), models)
    mixture = LoRAMixture(base(), library)
    for k, model in enumerate(models):
        gates = torch.eye(3, dtype=torch.float64)[k].expand(7, 3)  # one expert alone
        torch.testing.assert_close(mixture.mix(tokens(), gates), model(tokens()), **TOLERANCE)


BAD_CHOICES = {
    "-1": torch.tensor([2, 0, 0, 1, 2, 1, -1]),
    "K": torch.tensor([2, 0, 0, 1, 2, 1, 3]),
    "bools": CHOICE.bool(),
    "floats": CHOICE.float(),
    "too few": CHOICE[:-1],
    "one": CHOICE[:1],
    "a column": CHOICE[:, None],
    "a list": CHOICE.tolist(),
    "none": None,
}


@pytest.mark.parametrize("choice", BAD_CHOICES.values(), ids=BAD_CHOICES)
@pytest.mark.parametrize("method", ["lora", "ia3", "prompt"])
def test_choice_that_is_none_of_the_library_is_refused(base, method, choice):
    mix = {"lora": mix_loras, "ia3": mix_ia3, "prompt": mix_prompts}[method]
    mixed = mix(base(), {k: random_trained(base(), method, k) for k in range(3)})
    with pytest.raises(ValueError, match="choice must be"):
        mixed(tokens(), choice)
    mixed(tokens(), CHOICE)


def test_mixed_model_without_a_choice_is_refused(base, library):
    mixed = mix_loras(base(), library)
    mixed(tokens(), CHOICE)  # which must not be remembered
    for call in (lambda: mixed(tokens()), lambda: mixed.base(tokens()), lambda: generate(mixed, tokens(), 1)):
        with pytest.raises(ValueError, match="choice"):
            call()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["lora", "ia3", "prompt"])
def test_mixed_batch_on_a_base_of_16_bits_is_that_of_each_alone(base, method, dtype):
    mix = {"lora": mix_loras, "ia3": mix_ia3, "prompt": mix_prompts}[method]
    library = {k: random_trained(base().to(dtype), method, k) for k in range(3)}
    assert {weight.dtype for entry in library.values() for weight in entry.weights.values()} == {torch.float32}
    mixed, models = mix(base().to(dtype), library), [alone(base().to(dtype), entry) for entry in library.values()]
    logits = mixed(tokens(), CHOICE)
    assert logits.dtype == dtype
    for row, k, found in zip(tokens(), CHOICE, logits, strict=True):
        wanted = models[k](row[None])[0].float()
        assert (found.float() - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_mixed_model_is_frozen_and_gives_the_base_back(base, library, same, snapshot):
    mixed = mix_loras(base(), library)
    mixed(tokens(), CHOICE)
    assert not any(parameter.requires_grad for parameter in mixed.parameters())
    assert same(snapshot(detach(mixed)), snapshot(base()))


MIXES = {"lora": (mix_loras, LoRAMixture), "ia3": (mix_ia3,), "prompt": (mix_prompts,)}
every_mix = pytest.mark.parametrize(("method", "mix"), [(name, mix) for name, mixes in MIXES.items() for mix in mixes])


@every_mix
def test_library_that_cannot_be_mixed_is_refused_by_name_and_the_model_unchanged(base, method, mix, same, snapshot):
    model, good = base(), random_trained(base(), method, 0)
    before = snapshot(model)
    elsewhere = replace(good, adaptation=replace(good.adaptation, base=fingerprint(base_weights(base().float()))))
    other = random_trained(base(), "ia3" if method == "lora" else "lora", 0)
    for bad, message in {
        "another base": (elsewhere, "'b' belongs to another base"),
        "another method": (other, f"'b' was trained by .* not by '{method}'"),
        "nan": (not_finite(good), "'b': .* not finite"),
        "inf": (not_finite(good, float("inf")), "'b': .* not finite"),
    }.values():
        with pytest.raises(ValueError, match=message):
            mix(model, {"a": good, "b": bad})
    with pytest.raises(ValueError, match="no adapter"):
        mix(model, {})
    assert same(snapshot(model), before)
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="attached already"):
        mix(METHODS["ia3"].attach(model), {"a": good})


def test_prompts_of_two_lengths_and_knobs_in_two_places_are_refused_by_name(base):
    prompts = {p: random_trained(base(), "prompt", 0, num_virtual_tokens=p) for p in (3, 4)}
    with pytest.raises(ValueError, match="4 has other names or shapes"):
        mix_prompts(base(), prompts)
    square = {"target_modules": ("o_proj",)}  # as many numbers on what it reads as on what it puts out
    knobs = {
        reads: random_trained(base(), "ia3", 0, **square, feedforward_modules=reads) for reads in ((), ("o_proj",))
    }
    with pytest.raises(ValueError, match="has other feedforward_modules"):
        mix_ia3(base(), knobs)


# ---- routing ------------------------------------------------------------------------------------------------------------


def test_mixture_with_one_gate_open_is_that_expert(base, library):
    mixture = LoRAMixture(base(), library)
    gates = torch.nn.functional.one_hot(CHOICE, 3).double()  # (batch, K)
    mixed = mix_loras(base(), library)
    torch.testing.assert_close(mixture.mix(tokens(), gates), mixed(tokens(), CHOICE), **TOLERANCE)


def scaled(entry, factor):
    """The LoRA with its alpha multiplied."""
    settings = {**entry.adaptation.settings, "alpha": factor * entry.adaptation.settings["alpha"]}
    return replace(entry, adaptation=replace(entry.adaptation, settings=settings))


def test_mixture_weighs_the_updates_of_its_experts(base, library):
    mixture = LoRAMixture(base(), library)
    gates = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    server = base()
    for weights, gate in zip(library.values(), gates.tolist(), strict=True):
        swap(server, None, scaled(weights, gate))
    found = mixture.mix(tokens(), gates.expand(7, 3))
    torch.testing.assert_close(found, server(tokens()), **TOLERANCE)


def test_untrained_router_mixes_all_experts_alike(base, library):
    mixture = LoRAMixture(base(), library)
    assert torch.equal(mixture.gates(tokens()), torch.full((7, 3), 1 / 3, dtype=torch.float64))


@pytest.mark.parametrize("reads", [1, 4])
def test_router_reads_the_first_tokens_and_no_later_ones(base, library, reads):
    mixture = LoRAMixture(base(), library, reads=reads)
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
        LoRAMixture(base(), library, reads=reads)

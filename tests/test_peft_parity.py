"""The hand-written methods against `peft`, with the same random weights in both."""

import copy

import pytest
import torch
from parity import SHAPE, TOLERANCE, Pair, as_gpt2, tokens
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from torch.testing import assert_close

from minitransformer.methods import METHODS
from minitransformer.methods.prefix import discard_mlp
from minitransformer.surgery import MATRICES, count_parameters

every_precision = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


# ---- methods that change matrices: `peft` wraps our own GPT ---------------------------------------------------------


def lora(target_modules, use_dora=False):
    """Alpha is not the rank: with alpha = rank, a scaling that is forgotten could not be seen."""
    name = "dora" if use_dora else "lora"
    theirs = LoraConfig(r=3, lora_alpha=5.0, target_modules=list(target_modules), lora_dropout=0.0, use_dora=use_dora)

    def as_theirs(name, tensor):  # "blocks.0.attn.q_proj.lora_A"
        name = name.replace(".magnitude", ".lora_magnitude_vector")
        return f"base_model.model.{name}.default.weight", tensor

    return name, {"rank": 3, "alpha": 5.0, "target_modules": target_modules}, theirs, as_theirs


def ia3():
    """In both, the knobs behind the activation stand before the matrix that reads the activations."""
    theirs = IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])

    def as_theirs(name, tensor):  # "blocks.0.attn.k_proj.scale" is a column there, "blocks.0.mlp.down_proj.scale" a row
        name = name.replace("scale", "ia3_l.default")
        return f"base_model.model.{name}", tensor[None] if "mlp" in name else tensor[:, None]

    return "ia3", {}, theirs, as_theirs


WRAPPED = {
    "lora on all": lora(MATRICES),
    "lora on q and v": lora(("q_proj", "v_proj")),
    "lora on down": lora(("down_proj",)),
    "dora on all": lora(MATRICES, use_dora=True),
    "dora on q and v": lora(("q_proj", "v_proj"), use_dora=True),
    "ia3": ia3(),
}


@pytest.fixture(params=WRAPPED)
def wrapped(request, make_gpt):
    """A function that builds the pair in one precision."""
    name, settings, config, as_theirs = WRAPPED[request.param]

    def build(dtype=torch.float32):
        base = make_gpt(**SHAPE).to(dtype)
        ours = METHODS[name].attach(copy.deepcopy(base), **settings)
        theirs = get_peft_model(copy.deepcopy(base), copy.deepcopy(config)).to(dtype)  # it writes into its config
        return Pair(base, ours.eval(), theirs.eval(), as_theirs)

    build.method = METHODS[name]
    return build


def test_as_many_numbers_train_as_in_peft(wrapped):
    pair = wrapped()
    assert count_parameters(pair.ours, trainable_only=True) == pair.theirs.get_nb_trainable_parameters()[0]


@every_precision
def test_logits_are_those_of_peft(wrapped, dtype):
    wrapped(dtype).check_logits()


@every_precision
def test_gradients_are_those_of_peft(wrapped, dtype):
    wrapped(dtype).check_gradients()


@every_precision
def test_merged_model_is_that_of_peft(wrapped, dtype):
    pair, tolerance, idx = wrapped(dtype), TOLERANCE[dtype], tokens()
    ours, theirs = wrapped.method.merge(pair.ours), pair.theirs.merge_and_unload()
    with torch.no_grad():
        assert_close(ours(idx), theirs(idx), atol=tolerance, rtol=tolerance)
    assert_close(dict(ours.state_dict()), dict(theirs.state_dict()), atol=tolerance, rtol=tolerance)


def test_ia3_of_peft_on_gpt2_also_scales_the_queries(make_gpt):
    """Keys and values are one matrix with the queries there (`c_attn`), and by default all of it gets knobs.

    The paper has none on the queries: with those at one, `peft` computes what we compute, and L d numbers are too many.
    """
    base = make_gpt(**SHAPE).double()
    d, n_layer = base.config.n_embd, base.config.n_layer
    ours = METHODS["ia3"].attach(copy.deepcopy(base))
    theirs = get_peft_model(as_gpt2(base), IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=True))
    idx = tokens()
    with torch.no_grad():
        for block, their_block in zip(ours.blocks, theirs.base_model.model.transformer.h, strict=True):
            knobs = [block.attn.k_proj.scale.normal_(), block.attn.v_proj.scale.normal_()]
            their_block.attn.c_attn.ia3_l["default"].copy_(torch.cat([torch.ones(d), *knobs])[:, None])
            their_block.mlp.c_proj.ia3_l["default"].copy_(block.mlp.down_proj.scale.normal_())
        assert_close(ours(idx), theirs(idx).logits, atol=1e-10, rtol=1e-10)
    assert theirs.get_nb_trainable_parameters()[0] == count_parameters(ours, trainable_only=True) + n_layer * d


# ---- methods that add virtual tokens: `peft` needs a model of Hugging Face ------------------------------------------

P, HIDDEN = 5, 7  # virtual tokens; width of the MLP that makes a prefix


def rows(keys_values):
    """A prefix as `peft` keeps it, a virtual token a row, K0 | V0 | K1 | ...: (n_layer, 2, p, d) -> (p, n_layer 2 d)."""
    return keys_values.permute(2, 0, 1, 3).flatten(1)


def prompt_as_theirs(name, tensor):
    return "prompt_encoder.default.embedding.weight", tensor


def prefix_as_theirs(name, tensor):
    if name == "prefix.keys_values":
        return "prompt_encoder.default.embedding.weight", rows(tensor)
    name = name.replace("prefix.table", "embedding").replace("prefix.mlp", "transform")
    return f"prompt_encoder.default.{name}", tensor


WITH_MLP = PrefixTuningConfig(
    task_type="CAUSAL_LM", num_virtual_tokens=P, prefix_projection=True, encoder_hidden_size=HIDDEN
)
VIRTUAL = {
    "prompt": ("prompt", {}, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=P), prompt_as_theirs),
    "prefix": ("prefix", {}, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=P), prefix_as_theirs),
    "prefix from an MLP": ("prefix", {"projection_dim": HIDDEN}, WITH_MLP, prefix_as_theirs),
}


@pytest.fixture(params=VIRTUAL)
def virtual(request, make_gpt):
    """A function that builds the pair in one precision. In both, the real tokens stand at positions P, P + 1, ..."""
    name, settings, config, as_theirs = VIRTUAL[request.param]

    def build(dtype=torch.float32):
        base = make_gpt(**SHAPE).to(dtype)
        ours = METHODS[name].attach(copy.deepcopy(base), num_virtual_tokens=P, **settings)
        theirs = get_peft_model(as_gpt2(base), copy.deepcopy(config)).to(dtype)
        return Pair(base, ours.eval(), theirs.eval(), as_theirs)

    return build


def test_as_many_numbers_train_in_virtual_tokens_as_in_peft(virtual):
    pair = virtual()
    assert count_parameters(pair.ours, trainable_only=True) == pair.theirs.get_nb_trainable_parameters()[0]


@every_precision
def test_logits_with_virtual_tokens_are_those_of_peft(virtual, dtype):
    virtual(dtype).check_logits()


@every_precision
def test_gradients_of_virtual_tokens_are_those_of_peft(virtual, dtype):
    virtual(dtype).check_gradients()


@pytest.mark.parametrize("virtual", ["prefix from an MLP"], indirect=True)
def test_prefix_without_its_mlp_is_what_peft_exports(virtual):
    """`peft` writes the keys and values to a file, never the MLP; we throw the MLP away by hand."""
    pair = virtual(torch.float64)
    ours = discard_mlp(pair.ours)
    exported = pair.theirs.get_prompt_embedding_to_save("default")
    assert_close(rows(ours.prefix.keys_values.detach()), exported, atol=1e-10, rtol=1e-10)
    pair.check_logits()

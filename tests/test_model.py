import inspect
import math
import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minitransformer import model as model_module
from minitransformer.generate import generate
from minitransformer.model import GPT, GPTConfig, attention

DIMENSIONS = {"vocab_size": 10, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 8, "n_inner": 20}


# ---- the config -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIMENSIONS)
@pytest.mark.parametrize("value", [0, -1, 2.0, "8"])
def test_config_error_names_the_field_and_the_value(name, value):
    with pytest.raises(ValueError, match=rf"{name} .*{re.escape(repr(value))}"):
        GPTConfig(**{**DIMENSIONS, name: value})


@pytest.mark.parametrize("name", [name for name in DIMENSIONS if name != "n_inner"])
@pytest.mark.parametrize("value", [None, True])
def test_config_takes_neither_none_nor_bool_for_a_number(name, value):
    with pytest.raises(ValueError, match=name):
        GPTConfig(**{**DIMENSIONS, "n_inner": None, name: value})


def test_config_wants_whole_heads():
    with pytest.raises(ValueError, match=r"n_embd=10 .* n_head=4"):
        GPTConfig(**{**DIMENSIONS, "n_embd": 10, "n_head": 4})


def test_config_derives_inner_width_and_head_width():
    config = GPTConfig(vocab_size=10, block_size=8, n_layer=2, n_head=4, n_embd=12)
    assert (config.n_inner, config.head_dim) == (48, 3)
    assert GPTConfig(**DIMENSIONS).n_inner == 20


def test_config_is_frozen():
    with pytest.raises(AttributeError):
        GPTConfig(**DIMENSIONS).n_layer = 3


# ---- attention ------------------------------------------------------------------------------------------------------


def queries_keys_values(n_queries, n_keys):
    return torch.randn(2, 3, n_queries, 4), torch.randn(2, 3, n_keys, 4), torch.randn(2, 3, n_keys, 4)


@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 1), (5, 5), (1, 6), (5, 6), (4, 9)])
def test_attention_is_causal_and_aligned_at_the_end(n_queries, n_keys):
    q, k, v = queries_keys_values(n_queries, n_keys)
    visible = torch.tensor([[key <= n_keys - n_queries + query for key in range(n_keys)] for query in range(n_queries)])
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    assert_close(attention(q, k, v), expected, atol=1e-6, rtol=0)


def test_attention_avoids_the_trap_of_the_fused_kernel():
    q, k, v = queries_keys_values(4, 9)
    fused = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # lines up at the start: the last keys are hidden
    assert_close(fused[:, :, 0], v[:, :, 0])  # its first query sees the first key alone
    assert (attention(q, k, v) - fused).abs().amax(dim=(0, 1, 3)).min() > 0.01  # every query gets something else


def test_attention_needs_a_key_for_every_query():
    with pytest.raises(ValueError, match="5 queries need at least 5 keys, not 4"):
        attention(*queries_keys_values(5, 4))


# ---- the GPT --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0, 3, 11])
def test_a_token_changes_no_logits_before_it_and_all_from_there_on(gpt, t):
    idx = torch.randint(10, (2, 12))
    other = idx.clone()
    other[:, t] = (idx[:, t] + 1) % 10
    change = (gpt(other) - gpt(idx)).abs().amax(dim=(0, 2))  # (T,)
    assert (change[:t] < 1e-6).all()
    assert (change[t:] > 1e-4).all()


def test_sequences_of_a_batch_do_not_see_each_other(gpt):
    idx = torch.randint(10, (3, 12))
    assert_close(gpt(idx), torch.cat([gpt(row[None]) for row in idx]), atol=1e-5, rtol=0)


def test_forward_is_embed_transform_unembed(gpt):
    idx = torch.randint(10, (2, 12))
    logits = gpt(idx)
    assert logits.shape == (2, 12, 10)
    assert torch.equal(logits, gpt.unembed(gpt.transform(gpt.embed(idx))))


@pytest.mark.parametrize("start", [0, 1, 52])
def test_embed_takes_positions_from_start_on(gpt, start):
    idx = torch.randint(10, (2, 12))
    expected = gpt.wte.weight[idx] + gpt.wpe.weight[start : start + 12]
    assert torch.equal(gpt.embed(idx, start), expected)


@pytest.mark.parametrize(("length", "start"), [(65, 0), (12, 53), (1, 64)])
def test_tokens_beyond_the_block_are_an_error_that_names_block_size(gpt, length, start):
    with pytest.raises(ValueError, match=rf"{length + start} .*block_size=64"):
        gpt.embed(torch.zeros(1, length, dtype=torch.long), start)


def test_head_is_not_tied_to_the_embedding(gpt):
    assert gpt.lm_head.weight.data_ptr() != gpt.wte.weight.data_ptr()


def test_new_model_starts_near_the_uniform_distribution():
    torch.manual_seed(1)
    model = GPT(GPTConfig(vocab_size=50, block_size=32, n_layer=3, n_head=4, n_embd=64))
    probabilities = model(torch.randint(50, (4, 32))).softmax(dim=-1)
    assert (probabilities - 1 / 50).abs().max() < 0.02


def test_model_file_is_short_and_knows_no_fine_tuning_method():
    source = inspect.getsource(model_module)
    assert len(source.splitlines()) <= 200
    assert not re.findall(r"lora|adapter|prefix|prompt|peft", source, re.IGNORECASE)


# ---- generation -----------------------------------------------------------------------------------------------------


def test_greedy_generation_is_a_loop_over_argmax_and_slides_beyond_the_block(make_gpt):
    gpt = make_gpt(block_size=8, vocab_size=20)
    start = torch.randint(20, (3, 5))
    expected = start.tolist()
    for row in expected:
        for _ in range(10):
            row.append(gpt(torch.tensor([row[-8:]]))[0, -1].argmax().item())
    assert all(len(set(row[5:])) > 2 for row in expected)
    assert generate(gpt, start, 10).tolist() == expected


def test_generation_starts_from_more_tokens_than_the_block_holds(make_gpt):
    gpt = make_gpt(block_size=8)
    start = torch.randint(10, (2, 20))
    out = generate(gpt, start, 3)
    assert torch.equal(out[:, :20], start)
    assert torch.equal(out[:, 20:], generate(gpt, start[:, -8:], 3)[:, 8:])


def test_generation_of_nothing_gives_the_text_back(gpt):
    idx = torch.randint(10, (2, 4))
    assert torch.equal(generate(gpt, idx, 0), idx)


def test_sampling_is_reproducible_by_its_generator(gpt):
    def sample(seed):
        return generate(gpt, torch.zeros(4, 2, dtype=torch.long), 20, 1.0, torch.Generator().manual_seed(seed))

    first = sample(1)
    torch.manual_seed(99)  # the global seed plays no part
    assert torch.equal(sample(1), first)
    assert not torch.equal(sample(2), first)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sampling_divides_the_logits_by_the_temperature(constant_model, temperature):
    logits = torch.tensor([0.0, 1.0, 2.0])
    model = constant_model(logits)
    model.config = SimpleNamespace(block_size=4)
    drawn = generate(model, torch.zeros(20_000, 1, dtype=torch.long), 1, temperature)[:, 1]
    frequencies = drawn.bincount(minlength=3) / 20_000
    assert_close(frequencies, (logits / temperature).softmax(dim=0), atol=0.015, rtol=0)


@pytest.mark.parametrize("temperature", [-0.5, -1e-40, math.nan, math.inf, -math.inf])
def test_temperature_that_is_none_is_an_error(gpt, temperature):
    with pytest.raises(ValueError, match="temperature must be a number of 0 or more"):
        generate(gpt, torch.zeros(1, 1, dtype=torch.long), 1, temperature)


@pytest.mark.parametrize("temperature", [1e-40, 1e-310, 1e-25, 1e-4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_near_absolute_zero_the_likeliest_token_is_all_that_is_left(make_gpt, temperature, dtype):
    gpt, start = make_gpt(vocab_size=20).to(dtype), torch.randint(20, (3, 5))
    assert torch.equal(generate(gpt, start, 8, temperature), generate(gpt, start, 8))


@pytest.mark.parametrize("count", [-1, 1.0, True, None, "3", 100_001, 10**30])
def test_number_of_new_tokens_is_checked(gpt, count):
    with pytest.raises(ValueError, match=r"max_new_tokens must be .* from 0 to 100000"):
        generate(gpt, torch.zeros(1, 1, dtype=torch.long), count)


@pytest.mark.parametrize(
    "idx",
    [
        torch.zeros(2, 0, dtype=torch.long),  # an empty text
        torch.zeros(3, dtype=torch.long),
        torch.zeros(1, 1, 1, dtype=torch.long),
        torch.tensor([[0, 10]]),  # the vocabulary ends at 9
        torch.tensor([[-1, 3]]),
        torch.zeros(1, 3),
        torch.ones(1, 3, dtype=torch.bool),
        [[1, 2]],
    ],
    ids=["empty", "one dimension", "three", "beyond the vocabulary", "negative", "floats", "bools", "a list"],
)
@pytest.mark.parametrize("count", [0, 1])
def test_text_to_continue_is_checked(gpt, idx, count):
    with pytest.raises(ValueError, match="generate: idx must be"):
        generate(gpt, idx, count)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_text_may_come_in_any_whole_numbers(gpt, dtype):
    idx = torch.randint(10, (2, 4))
    assert torch.equal(generate(gpt, idx.to(dtype), 3), generate(gpt, idx, 3))

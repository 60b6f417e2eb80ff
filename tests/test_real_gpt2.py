"""GPT-2's files in and out, against `transformers`."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_real_llama import make, randomize
from torch.testing import assert_close
from transformers import GPT2Config as TheirConfig
from transformers import GPT2LMHeadModel, LlamaForCausalLM

import minitransformer as mt
from minitransformer.real import GPT2, GPT2Config, generate, save_hf
from minitransformer.real.weights import llama_from_directory
from minitransformer.surgery import trainable_state_dict

SIZES = {"small": (2, 4, 32, None), "wide": (3, 2, 20, 50)}


def tokens(rows=3, length=16):
    return torch.randint(40, (rows, length), generator=torch.Generator().manual_seed(0))


def their_model(size="small", tied=True):
    """A GPT-2 with random weights that are large enough to matter, biases too."""
    n_layer, n_head, n_embd, n_inner = SIZES[size]
    torch.manual_seed(0)
    config = TheirConfig(
        vocab_size=40, n_positions=32, n_layer=n_layer, n_head=n_head, n_embd=n_embd, n_inner=n_inner,
        tie_word_embeddings=tied, attn_implementation="eager", bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    for name, weight in model.named_parameters():
        with torch.no_grad():
            weight.normal_(1.0 if "ln_" in name and name.endswith("weight") else 0.0, 0.2)
    return model


@pytest.fixture(params=[("small", True), ("wide", True), ("wide", False)], ids=str)
def pair(request, tmp_path):
    theirs = their_model(*request.param)
    theirs.save_pretrained(tmp_path)
    return theirs, GPT2.from_pretrained(tmp_path)


def test_logits_are_those_of_transformers(pair):
    theirs, ours = pair
    with torch.no_grad():
        assert_close(ours(tokens()), theirs(tokens()).logits, atol=1e-4, rtol=1e-4)
    assert mt.count_parameters(ours) == theirs.num_parameters() == mt.count(ours.config, "full")


def test_greedy_tokens_are_those_of_transformers(pair):
    theirs, ours = pair
    start = tokens(4, 5)
    mask = torch.ones_like(start)
    expected = theirs.generate(start, attention_mask=mask, max_new_tokens=20, do_sample=False, pad_token_id=0)
    assert torch.equal(mt.generate(ours, start, 20), expected)


def test_saved_it_is_what_transformers_reads(pair, tmp_path):
    theirs, ours = pair
    save_hf(ours, tmp_path / "again")
    again = GPT2LMHeadModel.from_pretrained(tmp_path / "again").eval()
    with torch.no_grad():
        assert_close(again(tokens()).logits, theirs(tokens()).logits, atol=1e-5, rtol=1e-5)
    assert_close(dict(again.state_dict()), dict(theirs.state_dict()), atol=0, rtol=0)
    assert_close(dict(GPT2.from_pretrained(tmp_path / "again").state_dict()), dict(ours.state_dict()), atol=0, rtol=0)


def test_courses_own_gpt_and_a_llama_are_saved_for_transformers(make_gpt, tmp_path):
    gpt, idx = make_gpt(vocab_size=40, block_size=32).eval(), tokens()
    save_hf(gpt, tmp_path / "gpt")
    llama = make()
    save_hf(llama, tmp_path / "llama")
    with torch.no_grad():
        theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "gpt").eval()
        assert_close(theirs(idx).logits, gpt(idx), atol=1e-4, rtol=1e-4)
        theirs = LlamaForCausalLM.from_pretrained(tmp_path / "llama").eval()
        assert_close(theirs(idx).logits, llama(idx), atol=1e-4, rtol=1e-4)
        assert torch.equal(llama_from_directory(tmp_path / "llama")(idx), llama(idx))


def test_adapted_model_is_not_saved_as_a_plain_one(tmp_path):
    with pytest.raises(ValueError, match="attached already"):
        save_hf(mt.attach(make(), "lora"), tmp_path)
    with pytest.raises(ValueError, match="a Linear is no GPT"):
        save_hf(torch.nn.Linear(2, 2), tmp_path)


def test_old_files_with_masks_and_without_a_prefix_are_read(tmp_path):
    theirs = their_model()
    theirs.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    old = {name.removeprefix("transformer."): weight for name, weight in load_file(file).items()}
    old |= {"h.0.attn.bias": torch.ones(1, 1, 32, 32), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    save_file(old, file)
    with torch.no_grad():
        assert_close(GPT2.from_pretrained(tmp_path)(tokens()), theirs(tokens()).logits, atol=1e-4, rtol=1e-4)


def test_tied_head_stays_tied(tmp_path):
    their_model().save_pretrained(tmp_path)
    model = GPT2.from_pretrained(tmp_path)
    assert model.lm_head.weight is model.wte.weight
    clone = copy.deepcopy(model)
    assert clone.lm_head.weight is clone.wte.weight
    with torch.random.fork_rng():
        assert GPT2(GPT2Config(8, 8, 1, 1, 8)).lm_head.weight.shape == (8, 8)


@pytest.mark.parametrize("name", mt.METHODS)
def test_every_method_serves_a_tied_gpt2(name, tmp_path):
    their_model().save_pretrained(tmp_path)
    model, idx = GPT2.from_pretrained(tmp_path), tokens()
    base = copy.deepcopy(model)
    settings = {"intrinsic": {"dimension": 20}, "lst": {"reduction_factor": 2}}.get(name, {})
    adapted = randomize(mt.attach(model, name, **settings))
    assert mt.count_parameters(adapted, trainable_only=True) == mt.count(base.config, name, **settings)
    mt.train(adapted, (idx, idx), steps=2, learning_rate=1e-3, batch_size=3, progress=False)
    mt.save_adapter(adapted, tmp_path / "one.safetensors")
    again = mt.load_adapter(copy.deepcopy(base), tmp_path / "one.safetensors")
    assert torch.equal(again(idx), adapted(idx))
    assert trainable_state_dict(again).keys() == trainable_state_dict(adapted).keys()
    if mt.METHODS[name].mergeable:
        merged = mt.merge(adapted)
        with torch.no_grad():
            assert_close(merged(idx), adapted(idx), atol=1e-4, rtol=1e-4)
        assert merged.lm_head.weight is merged.wte.weight


REFUSED = {
    "other model": ({"model_type": "gpt_neo"}, "model_type is 'gpt_neo'"),
    "other activation": ({"activation_function": "relu"}, "activation_function='relu'"),
    "scores divided by the layer": ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
    "other width": ({"n_embd": 64}, "has the shape"),
    "heads that do not divide": ({"n_head": 5}, "n_embd=32 must be a multiple of n_head=5"),
    "too many layers": ({"n_layer": 2**31 - 1}, "announces 2147483647 layers"),
    "a layer too few": ({"n_layer": 1}, "which this kind of model does not have"),
    "no number": ({"n_positions": None}, "block_size is None"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_config_is_refused_with_the_reason(case, tmp_path):
    new, message = REFUSED[case]
    their_model().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **new}))
    with pytest.raises(ValueError, match=message):
        GPT2.from_pretrained(tmp_path)


def test_name_is_not_looked_for_on_a_hub():
    with pytest.raises(ValueError, match="nothing is downloaded"):
        GPT2.from_pretrained("gpt2")


def test_memory_of_a_llama_is_not_asked_of_a_gpt(make_gpt):
    with pytest.raises(ValueError, match=r"remembers nothing; use minitransformer\.generate"):
        generate(make_gpt(vocab_size=40), tokens(1, 3), 2)

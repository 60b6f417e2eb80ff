import pytest
import torch
from parity import as_gpt2
from torch.testing import assert_close

from minitransformer.generate import generate


@pytest.fixture(params=[(1, 8, None), (4, 16, 40)], ids=str)
def pair(request, make_gpt):
    """Our GPT with random weights, and GPT-2 of the reference library with the same weights."""
    n_head, n_embd, n_inner = request.param
    ours = make_gpt(vocab_size=30, block_size=24, n_layer=3, n_head=n_head, n_embd=n_embd, n_inner=n_inner)
    return ours, as_gpt2(ours)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_logits_are_those_of_gpt2(pair, dtype, tolerance):
    ours, theirs = (model.to(dtype) for model in pair)
    idx = torch.randint(30, (3, 24))
    with torch.no_grad():
        assert_close(ours(idx), theirs(idx).logits, atol=tolerance, rtol=tolerance)


def test_logits_depend_on_every_weight(pair):
    """Without this, agreement could come from weights that play no part."""
    ours, theirs = pair
    idx = torch.randint(30, (3, 24))
    for model, output in ((ours, ours(idx)), (theirs, theirs(idx).logits)):
        output.square().sum().backward()
        unused = [
            name
            for name, p in model.named_parameters()
            if p.grad.abs().max() < 1e-3 and not name.endswith("k_proj.bias")
        ]
        assert not unused


def test_greedy_tokens_are_those_of_gpt2(pair):
    ours, theirs = pair
    start = torch.randint(30, (4, 3))
    expected = theirs.generate(
        start, attention_mask=torch.ones_like(start), max_new_tokens=21, do_sample=False, pad_token_id=0
    )
    assert expected.shape == (4, 24)
    assert all(len(set(row)) > 2 for row in expected[:, 3:].tolist())
    assert torch.equal(generate(ours, start, 21), expected)

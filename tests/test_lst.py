"""Ladder side tuning: the side network cut out of the backbone, and the paper's output."""

import copy

import pytest
import torch
from torch.testing import assert_close

from minitransformer.experiments.variants import attach_lst_pruned, attach_lst_sum
from minitransformer.methods.lst import attach_lst, prune_into_side, strongest

SHAPE = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_inner": 40, "vocab_size": 10}


@pytest.fixture
def base(make_gpt):
    return make_gpt(**SHAPE)


def tokens():
    return torch.randint(10, (3, 12), generator=torch.Generator().manual_seed(0))


def largest(importance, n):
    """Places of the n largest, counted out by hand."""
    return sorted(sorted(range(len(importance)), key=lambda i: -importance[i])[:n])


def by_head(importance, n_head, n):
    width = len(importance) // n_head
    return [h * width + i for h in range(n_head) for i in largest(importance[h * width : (h + 1) * width], n)]


def rows(linear):
    return [sum(abs(x) for x in row) for row in linear.weight.tolist()]


def columns(linear):
    return [sum(abs(x) for x in column) for column in linear.weight.T.tolist()]


def added(*lists):
    return [sum(numbers) for numbers in zip(*lists, strict=True)]


def stream_of(model):
    """Strength of each channel of the residual stream: what writes to it."""
    writers = [rows(m) for block in model.blocks for m in (block.attn.o_proj, block.mlp.down_proj)]
    return added([sum(abs(x) for x in column) for column in model.wte.weight.T.tolist()], *writers)


def test_strongest_are_chosen_in_each_group_and_stay_in_order():
    importance = torch.tensor([1.0, 9, 3, 8, 7, 2, 0, 4])
    assert strongest(importance, 3).tolist() == [1, 3, 4]
    assert strongest(importance, 2, groups=2).tolist() == [1, 3, 4, 7]
    assert strongest(importance, 1, groups=4).tolist() == [1, 3, 4, 7]


def test_side_that_is_not_pruned_is_the_backbone(base):
    adapted = attach_lst_pruned(base, reduction_factor=1)
    x = torch.randn(3, 12, SHAPE["n_embd"])
    for side, block in zip(adapted.side, adapted.base.blocks, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(side.parameters(), block.parameters(), strict=True))
        with torch.no_grad():
            assert torch.equal(side(x), block(x))
    for ladder in adapted.ladders:
        assert torch.equal(ladder.weight, torch.eye(SHAPE["n_embd"])) and not ladder.bias.any()


@pytest.mark.parametrize("r", [2, 4])
def test_channels_with_the_largest_l1_norms_are_kept(base, r):
    adapted = attach_lst_pruned(base, reduction_factor=r)
    stream = largest(stream_of(base), SHAPE["n_embd"] // r)
    n_head = SHAPE["n_head"]
    n = len(stream) // n_head
    for side, block in zip(adapted.side, base.blocks, strict=True):
        a, m = block.attn, block.mlp
        match = by_head(added(rows(a.q_proj), rows(a.k_proj)), n_head, n)
        carry = by_head(added(rows(a.v_proj), columns(a.o_proj)), n_head, n)
        inner = largest(added(rows(m.up_proj), columns(m.down_proj)), SHAPE["n_inner"] // r)
        kept = {
            "attn.q_proj": (match, stream),
            "attn.k_proj": (match, stream),
            "attn.v_proj": (carry, stream),
            "attn.o_proj": (stream, carry),
            "mlp.up_proj": (inner, stream),
            "mlp.down_proj": (stream, inner),
        }
        for name, (outputs, inputs) in kept.items():
            small, large = side.get_submodule(name), block.get_submodule(name)
            expected = torch.stack([torch.stack([large.weight[i, j] for j in inputs]) for i in outputs])
            assert torch.equal(small.weight, expected), name
            assert torch.equal(small.bias, large.bias[outputs]), name
        for norm in ("ln_1", "ln_2"):
            assert torch.equal(side.get_submodule(norm).weight, block.get_submodule(norm).weight[stream])
            assert torch.equal(side.get_submodule(norm).bias, block.get_submodule(norm).bias[stream])
    h = torch.randn(5, SHAPE["n_embd"])
    for ladder in adapted.ladders:
        assert torch.equal(ladder(h), h[:, stream])


def test_planted_channels_survive(base):
    """Two channels of the stream in each half, two of the feed-forward network: made strong, they are found."""
    stream, inner = [1, 6, 11, 12], [0, 3, 5, 8, 17, 18, 25, 30, 31, 39]
    with torch.no_grad():
        for block in base.blocks:
            block.mlp.down_proj.weight[stream] += 50
            block.mlp.up_proj.weight[inner] -= 50
    adapted = attach_lst_pruned(base, reduction_factor=4)
    assert adapted.ladders[0].weight.argmax(dim=1).tolist() == stream
    for side, block in zip(adapted.side, base.blocks, strict=True):
        assert torch.equal(side.mlp.up_proj.bias, block.mlp.up_proj.bias[inner])


def test_what_is_never_used_can_be_pruned_without_a_trace(base):
    """Where the other channels are silent, the pruned feed-forward network computes what the large one computes."""
    stream, inner = [0, 2, 5, 7, 8, 10, 13, 15], list(range(0, 40, 2))
    others = [i for i in range(40) if i not in inner]
    with torch.no_grad():
        base.wte.weight[:, stream] += 100
        for block in base.blocks:
            block.mlp.up_proj.weight[inner] += 10
            block.mlp.up_proj.weight[others] = 0
            block.mlp.down_proj.weight[:, others] = 0
        adapted = attach_lst_pruned(base, reduction_factor=2)
        x = torch.randn(5, 8)
        wide = torch.zeros(5, 16).index_copy(1, torch.tensor(stream), x)
        for side, block in zip(adapted.side, base.blocks, strict=True):
            assert_close(side.mlp(x), block.mlp(wide)[:, stream], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("r", [1, 2, 8])
def test_pruning_leaves_the_backbone_as_it_is(base, snapshot, same, r):
    before = snapshot(base)
    adapted = prune_into_side(attach_lst(base, r))
    assert same(snapshot(adapted.base), before)
    assert not any(p.requires_grad for p in adapted.base.parameters())
    assert all(p.requires_grad for name, p in adapted.named_parameters() if not name.startswith("base."))


def test_sum_starts_as_the_base_and_the_paper_s_output_does_not(base):
    idx = tokens()
    with torch.no_grad():
        before = base(idx)
        assert torch.equal(attach_lst_sum(copy.deepcopy(base))(idx), before)
        assert not torch.allclose(attach_lst(base)(idx), before, atol=1e-2)


def test_head_reads_nothing_of_the_last_state(base):
    """With a zero way up, the side has nothing to say but the bias, and the logits are the same at every place."""
    idx, adapted = tokens(), attach_lst(base)
    with torch.no_grad():
        assert adapted.up_proj.weight.any(), "it starts with something to read"
        adapted.up_proj.weight.zero_()
        adapted.up_proj.bias.normal_()
        logits = adapted(idx)
        assert_close(logits, base.unembed(adapted.up_proj.bias).expand_as(logits), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(logits, base(idx), atol=1e-2)

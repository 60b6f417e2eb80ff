"""Weights in four bits: the published table, errors within their bounds, bytes by count, gradients, and LoRA on top."""

import copy
import importlib.util

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

import minitransformer as mt
from minitransformer.course.rounding import moved_within_steps, rulers_of_blocks, sixteen_values
from minitransformer.real import GPT2, GPT2Config, Llama, LlamaConfig, bytes_kept, from_four_bits, save_hf, to_four_bits
from minitransformer.real.four_bits import FourBitLinear, NF4Linear, Q41Linear
from minitransformer.real.gguf import GGUF, Q4_1, pack_q4_1, unpack
from minitransformer.real.nf4 import NF4, nf4_codes, pack_scales, unpack_scales
from minitransformer.real.weights import keep_as_in_file
from minitransformer.surgery import base_weights, fingerprint

PUBLISHED = torch.tensor([  # Dettmers et al. 2023, appendix E
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip
KINDS = [("nf4", {}), ("nf4", {"double": False}), ("nf4", {"block_size": 32}), ("q4_1", {})]
CONFIG = LlamaConfig(
    vocab_size=50, block_size=32, n_layer=2, n_head=4, n_embd=64, n_inner=192, n_kv_head=2, rope_base=100.0, tied=True
)
BITS = {"nf4": NF4Linear, "q4_1": Q41Linear}


def linear(d_in=192, d_out=70, bias=True):
    layer = nn.Linear(d_in, d_out, bias=bias).requires_grad_(False)
    layer.weight.copy_(torch.randn(d_out, d_in) * torch.rand(d_out, 1))
    return layer


def packed(layer, kind, **settings):
    return BITS[kind](layer, **settings)


@pytest.fixture
def llama():
    return Llama(CONFIG)


# ---- NF4 --------------------------------------------------------------------------------------------------------------


def test_table_is_the_published_one():
    assert_close(NF4, PUBLISHED, atol=2.5e-7, rtol=0)


def test_every_weight_gets_the_nearest_of_the_sixteen_values():
    blocks = torch.randn(50, 64)
    absmax = blocks.abs().amax(dim=1, keepdim=True)
    distances = (blocks[..., None] - absmax[..., None] * PUBLISHED).abs()  # (blocks, 64, 16)
    ours = distances.gather(-1, nf4_codes(blocks, absmax).long()[..., None])[..., 0]
    assert_close(ours, distances.amin(dim=-1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("block_size", [32, 64])
def test_error_is_at_most_half_a_step_of_the_block(block_size):
    layer = linear()
    blocks = layer.weight.view(-1, block_size)
    wrong = (NF4Linear(layer, block_size, double=False).weight.view_as(blocks) - blocks).abs()
    absmax = blocks.abs().amax(dim=1, keepdim=True)
    assert (wrong <= absmax * NF4.diff().max() / 2 + 1e-6).all()
    assert (wrong > absmax * NF4.diff().max() / 4).any()  # the bound is no idle one


def test_largest_of_a_block_and_zero_come_back_to_the_bit():
    layer = linear(64, 3)
    layer.weight[0].zero_()
    layer.weight[1, 5], layer.weight[2, 7] = 9.0, 0.0
    again = NF4Linear(layer, double=False).weight
    assert not again[0].any() and again[1, 5] == 9.0 and again[2, 7] == 0.0
    assert not NF4Linear(layer).weight[0].any()  # nor with scales of 8 bits


# Three of mantissa are right to half of an eighth; numbers below the smallest normal one, 2^-6 of 448, to half of 2^-9.
def test_scales_in_eight_bits_are_wrong_by_a_sixteenth_of_their_distance_from_the_mean_at_most():
    absmax = torch.rand(1000) + 0.5
    absmax[256:512] *= 100
    codes, scale, mean = pack_scales(absmax)
    assert (codes.dtype, codes.shape, scale.shape, mean.shape) == (torch.float8_e4m3fn, (1000,), (4,), (1,))
    wrong = (unpack_scales(codes, scale, mean) - absmax).abs()
    smallest = scale.repeat_interleave(256)[:1000] * 2**-10
    assert (wrong <= torch.maximum((absmax - mean).abs() / 16, smallest) + 1e-5).all()


def test_equal_scales_come_back_and_there_is_no_division_by_zero():
    assert_close(unpack_scales(*pack_scales(torch.full((300,), 0.3))), torch.full((300,), 0.3))


def test_double_quantisation_costs_little_beside_the_four_bits():
    layer = linear(1024, 64, bias=False)
    single, double = ((NF4Linear(layer, double=d).weight - layer.weight).square().mean() for d in (False, True))
    assert single < double < 1.05 * single


# ---- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "settings", "bits"),
    [("nf4", {}, 4.127), ("nf4", {"double": False}, 4.5), ("nf4", {"block_size": 32}, 4.254), ("q4_1", {}, 5.0)],
)
def test_bits_a_weight_by_count(kind, settings, bits):
    layer = packed(linear(1024, 1024, bias=False), kind, **settings)
    assert 8 * layer.packed_bytes / 2**20 == pytest.approx(bits, abs=5e-4)
    assert layer.packed_bytes == bytes_kept(layer)


def test_double_quantisation_keeps_4_127_bits_a_weight_and_saves_0_373():
    """Of a matrix of n weights: n / 2 bytes of codes, n / 64 of scales, 4 for each 256 scales, 4 for their mean."""
    layer = linear(1024, 1024, bias=False)
    n = layer.weight.numel()
    double, single = NF4Linear(layer).packed_bytes, NF4Linear(layer, double=False).packed_bytes
    assert double == n // 2 + n // 64 + 4 * n // (64 * 256) + 4
    assert single == n // 2 + 4 * n // 64
    assert round(8 * double / n, 3) == 4.127 and round(8 * (single - double) / n, 3) == 0.373


def test_bytes_of_a_model_are_those_of_its_matrices_in_four_bits_and_of_the_rest_in_32(llama):
    matrices = CONFIG.n_layer * sum(d_in * d_out for d_in, d_out in CONFIG.matrices.values())
    rest = 4 * (mt.count_parameters(llama) - matrices)
    assert bytes_kept(llama) == rest + 4 * matrices
    assert bytes_kept(to_four_bits(copy.deepcopy(llama), double=False)) == rest + matrices * 9 // 16
    assert bytes_kept(to_four_bits(llama, "q4_1")) == rest + matrices * 5 // 8


# ---- what is said of NF4 ----------------------------------------------------------------------------------------------


def normal_weights(d=1024):
    layer = nn.Linear(d, d, bias=False).requires_grad_(False)
    layer.weight.normal_()
    return layer


def test_nf4_loses_less_than_even_steps_with_the_same_scales_and_more_than_q4_1_with_its_own():
    layer = normal_weights()
    blocks = layer.weight.view(-1, 64)
    absmax = blocks.abs().amax(dim=1, keepdim=True)
    even = (7 * blocks / absmax).round() * absmax / 7  # from -7 to 7
    nf4, q4_1 = NF4Linear(layer, double=False), Q41Linear(layer)
    loss = [(w.view_as(blocks) - blocks).square().mean() for w in (q4_1.weight, nf4.weight, even)]
    assert loss[0] < 0.8 * loss[1] < 0.8 * 0.8 * loss[2]
    assert q4_1.packed_bytes > nf4.packed_bytes  # what Q4_1 pays for it


def test_sixteen_values_are_not_used_equally_often_on_normal_weights():
    blocks = normal_weights().weight.view(-1, 64)
    codes = nf4_codes(blocks, blocks.abs().amax(dim=1, keepdim=True))
    share = 16 * torch.bincount(codes.flatten().int(), minlength=16) / codes.numel()  # 1: as often as each should
    assert share.min() < 0.35 and share.max() > 1.4


# ---- Q4_1 -------------------------------------------------------------------------------------------------------------


def test_q4_1_is_packed_and_unpacked_as_by_gguf_to_the_byte():
    gguf = pytest.importorskip("gguf", reason="the library gguf is a maintainer's: pip install -r requirements-dev.txt")
    layer = linear(320, 80)
    layer.weight[3, :32], layer.weight[4, :32] = 0.25, 0.0  # blocks without a difference in them
    theirs = gguf.quants.quantize(layer.weight.numpy(), gguf.GGMLQuantizationType.Q4_1)
    ours = Q41Linear(layer)
    assert np.array_equal(ours.raw.numpy(), theirs)
    expected = gguf.quants.dequantize(theirs, gguf.GGMLQuantizationType.Q4_1)
    assert torch.equal(ours.weight, torch.from_numpy(expected.copy()))


def test_q4_1_is_wrong_by_half_a_step_of_the_block_at_most():
    layer = linear()
    blocks = layer.weight.view(-1, 32)
    least, largest = blocks.aminmax(dim=1, keepdim=True)
    wrong = (Q41Linear(layer).weight.view_as(blocks) - blocks).abs()
    rounding = (least.abs() + largest.abs()) * 2**-10  # of scale and least, to 16 bits
    assert (wrong <= (largest - least) / 30 + rounding).all()


def test_what_was_q4_1_in_a_file_stays_so_to_the_byte(tmp_path, llama):
    from test_real_files import neighbours, settings, written

    from minitransformer.real.weights import GGUFS, llama_from_gguf, llama_names

    heads = {"q_proj": CONFIG.n_head, "k_proj": CONFIG.n_kv_head}
    tensors = []
    for ours, weight in llama.state_dict().items():
        weight = neighbours(weight, heads[ours.split(".")[-2]]) if ours.split(".")[-2] in heads else weight
        kind = Q4_1 if "_proj" in ours else 0
        raw = pack_q4_1(weight.numpy()) if kind else weight.numpy()
        tensors.append((llama_names(CONFIG, GGUFS)[ours], tuple(weight.shape), kind, None, raw.tobytes()))
    given = {**settings(CONFIG), "tokenizer.ggml.tokens": ["a"] * CONFIG.vocab_size}
    opened = GGUF(written(tmp_path / "small.gguf", given, tensors))
    whole, idx = llama_from_gguf(opened), torch.randint(50, (2, 9))
    kept = keep_as_in_file(copy.deepcopy(whole), opened)
    assert sum(isinstance(module, FourBitLinear) for module in kept.modules()) == 14
    assert_close(kept(idx), whole(idx), atol=1e-5, rtol=0)
    down = kept.blocks[1].mlp.down_proj
    assert down.raw.numpy().tobytes() == dict((t[0], t[4]) for t in tensors)["blk.1.ffn_down.weight"]
    assert np.array_equal(unpack(down.raw.numpy(), Q4_1), whole.blocks[1].mlp.down_proj.weight.detach().numpy().ravel())
    with pytest.raises(ValueError, match="is of another model"):
        keep_as_in_file(Llama(LlamaConfig(**{**vars(CONFIG), "n_inner": 64})), opened)
    plain = [
        (n, s, 0, None, llama.state_dict()[o].numpy().tobytes())
        for (n, s, *_), o in zip(tensors, llama.state_dict(), strict=True)
    ]
    with pytest.raises(ValueError, match="holds no matrix in Q4_1; pack one with to_four_bits"):
        keep_as_in_file(whole, GGUF(written(tmp_path / "plain.gguf", given, plain)))


# ---- the layer --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [16, 512])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_outputs_and_gradients_are_those_of_a_linear_layer_with_the_unpacked_weights(
    monkeypatch, kind, settings, bias, rows
):
    monkeypatch.setattr("minitransformer.real.four_bits.ROWS", rows)  # 70 rows: several pieces and a rest, or one piece
    layer = packed(linear(bias=bias), kind, **settings)
    plain = nn.Linear(192, 70, bias=bias).requires_grad_(False)
    plain.weight.copy_(layer.weight)
    if bias:
        plain.bias.copy_(layer.bias)
    x, gradient = torch.randn(3, 5, 192, requires_grad=True), torch.randn(3, 5, 70) / 10
    (expected,) = torch.autograd.grad(plain(x), x, gradient)
    (found,) = torch.autograd.grad(layer(x), x, gradient)
    assert_close(layer(x) / 10, plain(x) / 10, atol=1e-6, rtol=1e-6)
    assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", BITS)
def test_nothing_unpacked_is_kept_for_the_backward_pass(kind):
    layer, kept = packed(linear(), kind), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        layer(torch.randn(5, 192, requires_grad=True))
    assert kept == []


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_a_cast_changes_what_it_computes_in_and_no_byte_of_the_weights(kind, settings):
    layer = packed(linear(), kind, **settings)
    before = {name: kept.clone() for name, kept in layer.named_buffers()}
    x = torch.randn(4, 192)
    exact = layer(x)
    assert_close(layer.bfloat16()(x.bfloat16()).float(), exact, atol=0.3, rtol=0.05)
    assert layer(x.bfloat16()).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64
    assert all(torch.equal(before[name], kept) for name, kept in layer.named_buffers())


def test_mixed_precision_gives_the_gradient_in_the_precision_of_the_input():
    layer, x = NF4Linear(linear()), torch.randn(4, 192, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16 and x.grad.dtype == torch.float32
    assert_close(x.grad, layer.weight.sum(dim=0).expand(4, -1), atol=0.3, rtol=0.05)


# ---- LoRA on top ------------------------------------------------------------------------------------------------------


def trained_a_little(adapted, idx):
    """What was attached after a few steps, and the losses on the way."""
    optimizer = torch.optim.AdamW([p for p in adapted.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(adapted(idx[:, :-1]).flatten(0, 1), idx[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "adapter", "prompt", "prefix"])
@pytest.mark.parametrize("kind", BITS)
def test_methods_train_on_four_bits_and_the_weights_stay_bit_for_bit(llama, kind, method):
    base = to_four_bits(llama, kind)
    before = fingerprint(base_weights(base))
    adapted = mt.attach(base, method)
    losses = trained_a_little(adapted, torch.randint(50, (4, 12)))
    assert losses[-1] < losses[0] - 0.02
    assert fingerprint(base_weights(adapted)) == before
    assert all(p.grad is None for p in base_weights(adapted).values())
    assert mt.count_parameters(adapted, trainable_only=True) == mt.count(CONFIG, method)


@pytest.mark.parametrize("method", ["full", "intrinsic"])
@pytest.mark.parametrize("kind", BITS)
def test_methods_that_train_the_weights_themselves_are_refused_on_four_bits(llama, kind, method):
    """They would train the norms and the embeddings alone, in silence."""
    base = to_four_bits(llama, kind)
    before = {name: p.requires_grad for name, p in base.named_parameters()}
    with pytest.raises(ValueError, match=f"{method} trains the weights themselves, .*q_proj.* are packed"):
        mt.attach(base, method)
    assert {name: p.requires_grad for name, p in base.named_parameters()} == before
    mt.attach(from_four_bits(base), method)


def test_lora_beside_four_bits_has_the_gradients_of_lora_beside_the_unpacked_weights(llama):
    four = mt.attach(to_four_bits(llama), "lora", rank=3)
    for p in four.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=0.1)
    plain = mt.detach(copy.deepcopy(four))
    plain = mt.attach(from_four_bits(plain), "lora", rank=3)
    plain.load_state_dict({n: p for n, p in four.named_parameters() if p.requires_grad}, strict=False)
    idx = torch.randint(50, (4, 12))
    assert_close(four(idx), plain(idx), atol=1e-5, rtol=0)
    for model in (four, plain):
        F.cross_entropy(model(idx[:, :-1]).flatten(0, 1), idx[:, 1:].flatten()).backward()
    found = {name: p.grad for name, p in four.named_parameters() if p.requires_grad}
    expected = {name: p.grad for name, p in plain.named_parameters() if p.requires_grad}
    assert len(found) == 24 and all(gradient.any() for gradient in found.values())
    assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_lora_is_saved_loaded_and_merged_on_four_bits(llama, tmp_path):
    base, idx = to_four_bits(llama), torch.randint(50, (2, 9))
    untouched = copy.deepcopy(base)
    adapted = mt.attach(base, "lora")
    trained_a_little(adapted, idx)
    mt.save_adapter(adapted, tmp_path / "lora.safetensors")
    assert_close(mt.load_adapter(copy.deepcopy(untouched), tmp_path / "lora.safetensors")(idx), adapted(idx))
    merged = mt.merge(adapted)
    assert_close(merged(idx), adapted(idx), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="another base"):
        mt.load_adapter(to_four_bits(from_four_bits(untouched), "q4_1"), tmp_path / "lora.safetensors")


def test_four_bits_survive_a_copy_and_a_file(llama):
    base, idx = to_four_bits(llama), torch.randint(50, (2, 9))
    other = to_four_bits(Llama(CONFIG))
    assert not torch.equal(other(idx), base(idx))
    other.load_state_dict(base.state_dict())
    assert torch.equal(other(idx), base(idx)) and torch.equal(copy.deepcopy(base)(idx), base(idx))


@pytest.mark.parametrize("kind", BITS)
def test_every_model_of_the_course_is_packed_and_unpacked(kind, tmp_path):
    for model in (
        mt.GPT(mt.GPTConfig(vocab_size=10, block_size=16, n_layer=2, n_head=2, n_embd=64)),
        GPT2(GPT2Config(vocab_size=10, block_size=16, n_layer=2, n_head=2, n_embd=64)),
    ):
        names = to_four_bits(model, kind, target_modules=["up_proj", "down_proj"]).blocks[0]
        assert type(names.mlp.up_proj) is BITS[kind] and type(names.attn.q_proj) is nn.Linear
        idx = torch.randint(10, (2, 9))
        logits = model(idx)
        with pytest.raises(ValueError, match="save_hf: the model is in four bits; unpack it with from_four_bits"):
            save_hf(model, tmp_path)
        assert_close(from_four_bits(model)(idx), logits, atol=1e-5, rtol=1e-5)
        save_hf(model, tmp_path)


# ---- what is refused --------------------------------------------------------------------------------------------------

WRONG = {
    "other kind": ({"kind": "nf8"}, "kind must be 'nf4' or 'q4_1', not 'nf8'"),
    "no targets": ({"target_modules": []}, "target_modules must be a list of names"),
    "other targets": ({"target_modules": ["wte"]}, "'wte' names no linear layer"),
    "block of nothing": ({"block_size": 0}, "block_size must be a whole number of at least 1, not 0"),
    "block that does not fit": (
        {"block_size": 48},
        "'blocks.0.attn.q_proj' has rows of 64 weights, which blocks of 48",
    ),
    "half a byte": ({"block_size": 1}, "two codes a byte; give an even block_size"),
    "double": ({"double": 2}, "double must be True or False, not 2"),
    "blocks in q4_1": ({"kind": "q4_1", "block_size": 32}, "leave out block_size=32"),
    "double in q4_1": ({"kind": "q4_1", "double": False}, "double=False"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_settings_are_refused_and_nothing_is_changed(llama, case):
    settings, message = WRONG[case]
    before = fingerprint(base_weights(llama))
    with pytest.raises(ValueError, match=message):
        to_four_bits(llama, **settings)
    assert fingerprint(base_weights(llama)) == before


@pytest.mark.parametrize(("kind", "number"), [("nf4", float("nan")), ("nf4", float("inf")), ("q4_1", -1e5)])
def test_numbers_that_four_bits_cannot_hold_are_refused(llama, kind, number):
    llama.blocks[1].mlp.down_proj.weight.data[0, 0] = number
    with pytest.raises(ValueError, match=rf"in {kind}: 'blocks.1.mlp.down_proj.weight' holds numbers .* not finite"):
        to_four_bits(llama, kind)
    assert not any(isinstance(module, FourBitLinear) for module in llama.modules())


def test_packed_and_adapted_models_are_refused(llama):
    with pytest.raises(ValueError, match="has a LoRALinear attached already"):
        to_four_bits(mt.attach(copy.deepcopy(llama), "lora"))
    to_four_bits(llama, target_modules=["o_proj"])
    with pytest.raises(ValueError, match=r"'blocks.0.attn.o_proj' is in four bits already; load the model again"):
        to_four_bits(llama)
    with pytest.raises(ValueError, match="attached already"):
        from_four_bits(mt.attach(llama, "lora"))


# ---- the pictures of the lesson -----------------------------------------------------------------------------------------


def ticks(panel):
    """Where the upright lines of a panel stand."""
    return torch.tensor([path.vertices[0][0] for lines in panel.collections for path in lines.get_paths()])


def test_values_stand_under_the_weights_that_they_are_for():
    even = torch.linspace(-1, 1, 16)
    weights, *rows = sixteen_values(torch.tensor([[-1.0, 0.5], [0.5, 1.0]]), {"even": even, "NF4": NF4}).axes
    assert sum(bar.get_height() for bar in weights.patches) == 4
    assert [row.get_ylabel() for row in rows] == ["even", "NF4"]
    for row, table in zip(rows, (even, NF4), strict=True):
        assert_close(ticks(row).float(), table)


def test_each_block_lies_on_its_own_ruler():
    blocks = torch.randn(3, 32)
    rulers = blocks.amin(dim=1, keepdim=True) + torch.rand(3, 1) * torch.arange(16)
    [axes] = rulers_of_blocks(blocks, rulers).axes
    assert_close(ticks(axes).float(), rulers.flatten())
    for line, block, row in zip(axes.lines, blocks, range(3), strict=True):
        assert line.get_xdata().tolist() == block.tolist() and set(line.get_ydata()) == {row}


def test_reach_of_a_value_ends_halfway_to_the_next():
    before, after = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([0.01, 0.9, -0.8])
    [axes] = moved_within_steps(before, after, NF4).axes
    drawn = [line.get_ydata().tolist() for line in axes.lines]
    assert drawn == [before.tolist(), after.tolist()]
    ends = torch.tensor([path.vertices[0][1] for path in axes.collections[0].get_paths()]).float()
    inside = torch.bucketize(after, ends) == nf4_codes(after[None], torch.ones(1, 1))[0]
    assert len(ends) == 15 and inside.all()


# ---- the library ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_weights_in_nf4_are_those_of_bitsandbytes():
    from bitsandbytes import functional

    layer = linear(256, 64)
    theirs, state = functional.quantize_4bit(layer.weight, blocksize=64, quant_type="nf4")
    assert_close(NF4Linear(layer, double=False).weight, functional.dequantize_4bit(theirs, state), atol=1e-6, rtol=0)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_scales_in_eight_bits_cost_and_err_as_those_of_bitsandbytes():
    """Its eight bits are another format than ours, so the errors are not the same to the bit. The bytes are."""
    from bitsandbytes import functional

    layer = linear(576, 1536, bias=False)  # as in SmolLM2
    ours = NF4Linear(layer, double=True)
    theirs, state = functional.quantize_4bit(layer.weight, blocksize=64, quant_type="nf4", compress_statistics=True)
    kept = (theirs, state.absmax, state.state2.absmax, state.offset)
    assert bytes_kept(ours) == sum(tensor.nbytes for tensor in kept)

    def error(weight):
        return (weight - layer.weight).square().mean().sqrt()

    assert_close(error(ours.weight), error(functional.dequantize_4bit(theirs, state)), rtol=0.02, atol=0)

"""The hand-written methods against AdapterHub's `adapters` on GPT-2, with the same random weights in both.

All of it with plain attention ("eager"): with the fused one (`sdpa`, the default), its prefix goes wrong. It leaves the
mask to the kernel's `is_causal`, which lines queries and keys up at the start, so that the first real token sees the
first virtual token and nothing else; and in a batch with padding, it masks the prefix out altogether.
"""

import copy

import adapters
import pytest
import torch
from adapters import DoubleSeqBnConfig, IA3Config, MAMConfig, ParBnConfig, PrefixTuningConfig
from parity import SHAPE, TOLERANCE, Pair, as_gpt2, tokens
from torch.testing import assert_close

from minitransformer.experiments.variants import attach_mam_normed, attach_parallel_normed
from minitransformer.methods import METHODS
from minitransformer.methods.ia3 import Scaled
from minitransformer.methods.mam import attach_parallel
from minitransformer.surgery import count_parameters, freeze, replace_modules

P = 5  # virtual tokens
BOTTLENECK = {"reduction_factor": 3, "non_linearity": "gelu_new"}  # a third of the width 16, rounded down: 5
every_precision = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def adapterhub(base, config):
    theirs = as_gpt2(base)
    adapters.init(theirs)
    theirs.add_adapter("task", config=config)
    theirs.train_adapter("task")
    return theirs.to(base.wte.weight.dtype).eval()


def as_theirs(name, tensor):
    """From blocks.0.attn.adapter.down_proj.weight, or blocks.0.mlp.down_proj.weight where the adapter is parallel."""
    if name == "prefix.keys_values":  # one long vector there: token 0 of K0, of V0, of K1, ..., then token 1
        name = "transformer.h.0.attn.prefix_tuning.pool.prefix_tunings.task.self_prefix.control_trans"
        return name, tensor.permute(2, 0, 1, 3).flatten()
    down = "adapter_down.0" if "adapter." in name else "adapter_down.1"  # a parallel one has a layer norm before it
    name = name.removeprefix("base.").replace("blocks.", "transformer.h.").replace("adapter.", "")
    name = name.replace("attn.", "attention_adapters.adapters.task.").replace("mlp.", "output_adapters.adapters.task.")
    return name.replace("down_proj", down).replace("up_proj", "adapter_up"), tensor


def sequential(base):
    """Behind both sublayers, before the residual stream is added: AdapterHub's Houlsby adapter, but for the GELU."""
    ours = METHODS["adapter"].attach(copy.deepcopy(base), bottleneck=5)
    return Pair(base, ours, adapterhub(base, DoubleSeqBnConfig(**BOTTLENECK)), as_theirs)


def reads_what_the_sublayer_reads(theirs):
    """Copy the model's own layer norm into the one that `ln_before=True` puts before a parallel adapter; freeze it."""
    for block in theirs.transformer.h:
        norm = block.output_adapters.adapters["task"].adapter_norm_before
        norm.load_state_dict(block.ln_2.state_dict())
        freeze(norm)
    return theirs


def as_theirs_without_norm(name, tensor):
    """The same where theirs has no layer norm before the adapter: its first layer is then number 0."""
    name, tensor = as_theirs(name, tensor)
    return name.replace("adapter_down.1", "adapter_down.0"), tensor


def parallel(base):
    """Both read the residual stream x, before the layer norm."""
    ours = attach_parallel(copy.deepcopy(base), bottleneck=5, scale=3.0)
    theirs = adapterhub(base, ParBnConfig(**BOTTLENECK, scaling=3.0))
    return Pair(base, ours, theirs, as_theirs_without_norm)


def parallel_normed(base):
    """The variant that reads LN(x): theirs with a layer norm of its own before the adapter, equal to the model's."""
    ours = attach_parallel_normed(copy.deepcopy(base), bottleneck=5, scale=3.0)
    theirs = adapterhub(base, ParBnConfig(**BOTTLENECK, scaling=3.0, ln_before=True))
    return Pair(base, ours, reads_what_the_sublayer_reads(theirs), as_theirs)


def mam(base, attach=METHODS["mam"].attach, **reads):
    """Both parts. AdapterHub's prefix leaves real tokens at positions 0, 1, ...: we tell it ours, P, P + 1, ..."""
    ours = attach(copy.deepcopy(base), num_virtual_tokens=P, bottleneck=5, scale=3.0)
    prefix = PrefixTuningConfig(flat=True, prefix_length=P)  # flat: without an MLP
    config = MAMConfig(prefix_tuning=prefix, adapter=ParBnConfig(**BOTTLENECK, scaling=3.0, **reads))
    theirs, names = adapterhub(base, config), as_theirs_without_norm
    if reads:
        theirs, names = reads_what_the_sublayer_reads(theirs), as_theirs
    return Pair(base, ours, theirs, names, {"position_ids": torch.arange(P, P + tokens().size(1))[None]})


def mam_normed(base):
    """Both parts, the adapters reading LN(x)."""
    return mam(base, attach_mam_normed, ln_before=True)


@pytest.fixture
def base(make_gpt):
    return make_gpt(**SHAPE).double()


every_method = pytest.mark.parametrize("make", [sequential, parallel, parallel_normed, mam, mam_normed])


@every_method
def test_as_many_numbers_train_as_in_adapterhub(base, make):
    pair = make(base)
    assert count_parameters(pair.ours, trainable_only=True) == count_parameters(pair.theirs, trainable_only=True)


@every_method
@every_precision
def test_logits_are_those_of_adapterhub(base, make, dtype):
    make(base.to(dtype)).check_logits()


@every_method
@every_precision
def test_gradients_are_those_of_adapterhub(base, make, dtype):
    make(base.to(dtype)).check_gradients()


# ---- where AdapterHub computes something else -----------------------------------------------------------------------


def test_adapterhub_leaves_real_tokens_behind_a_prefix_at_position_0(base):
    """Left alone, theirs is ours with the position embeddings moved back by P."""
    pair = mam(base)
    pair.options = {}
    idx = tokens()
    with torch.no_grad():
        assert not torch.allclose(pair.ours(idx), pair.their_logits(idx), atol=1e-2)
        positions = pair.ours.base.wpe.weight
        positions.copy_(positions.roll(P, dims=0))
    pair.check_logits()


def test_ia3_of_adapterhub_scales_before_the_activation(base):
    """The paper scales behind it, as we do. Theirs is ours with the knobs on the matrix that leads to the activation."""
    theirs = adapterhub(base, IA3Config())
    ours = METHODS["ia3"].attach(copy.deepcopy(base))
    moved = copy.deepcopy(base)
    replace_modules(moved, ("k_proj", "v_proj", "up_proj"), lambda linear: Scaled(linear, torch.ones_like(linear.bias)))
    idx = tokens()
    with torch.no_grad():
        for one, two, their_block in zip(ours.blocks, moved.blocks, theirs.transformer.h, strict=True):
            k, v, ff = (
                one.attn.k_proj.scale.normal_(),
                one.attn.v_proj.scale.normal_(),
                one.mlp.down_proj.scale.normal_(),
            )
            two.attn.k_proj.scale.copy_(k)
            two.attn.v_proj.scale.copy_(v)
            two.mlp.up_proj.scale.copy_(ff)
            their_block.attn.c_attn.loras["task"].lora_B.copy_(torch.cat([k, v])[:, None])
            their_block.mlp.c_fc.loras["task"].lora_B.copy_(ff[:, None])
        expected = theirs(idx).logits
        assert_close(moved(idx), expected, atol=1e-10, rtol=1e-10)
        assert not torch.allclose(ours(idx), expected, atol=1e-2)

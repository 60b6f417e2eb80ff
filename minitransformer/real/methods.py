"""What the methods of the course do otherwise on a Llama; all the rest of them serves it as it is.

A Llama has no table of positions to add to a prompt, its keys are rotated and shared, and its blocks have other parts.
Importing this file tells `METHODS` (see `Method.serve`).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from minitransformer.methods import METHODS
from minitransformer.methods.full import count_full
from minitransformer.methods.ia3 import check_ia3
from minitransformer.methods.lst import LadderGPT, set_beside, side_config
from minitransformer.methods.mam import attach_parallel, count_parallel
from minitransformer.methods.prefix import Prefix, PrefixedGPT, ReparameterizedPrefix, check_prefix
from minitransformer.methods.prompt import PromptedGPT, attach_prompt
from minitransformer.model import GPTConfig
from minitransformer.real.gpt2 import GPT2Config
from minitransformer.real.llama import Llama, LlamaBlock, LlamaConfig, remembering
from minitransformer.surgery import beside, check_plain, check_room, freeze, matrix_shape

# ---- full -------------------------------------------------------------------------------------------------------------


def count_weights(config: LlamaConfig) -> int:
    """All of a Llama's weights, by formula: matrices without biases, norms without shifts, the table once if it is tied."""
    d = config.n_embd
    matrices = sum(d_in * d_out for d_in, d_out in config.matrices.values())
    tables = config.vocab_size * d * (1 if config.tied else 2)
    return tables + config.n_layer * (matrices + 2 * d) + d


def count_gpt2(config: GPT2Config) -> int:
    """All of a GPT-2's weights, by formula: a GPT's, without a head where that is the table."""
    return count_full(config) - (config.vocab_size * config.n_embd if config.tied else 0)


# ---- prompt -----------------------------------------------------------------------------------------------------------


class PromptedLlama(PromptedGPT):
    """A frozen Llama that reads trained vectors before the real tokens, at positions 0 to p - 1."""

    def forward(self, idx: Tensor) -> Tensor:
        """Logits of the real tokens: (B, T) -> (B, T, vocab_size)."""
        p = len(self.prompt)
        real = self.base.embed(idx, start=p)  # (B, T, d)
        x = torch.cat([self.prompt.to(real.dtype).expand(len(idx), -1, -1), real], dim=1)  # (B, p + T, d)
        return self.base.unembed(self.base.transform(x)[:, p:])  # (B, T, vocab_size)


def prompt_llama(model: Llama, num_virtual_tokens: int) -> PromptedLlama:
    """As `attach_prompt`."""
    return PromptedLlama(model, attach_prompt(model, num_virtual_tokens).prompt.detach())


# ---- prefix -----------------------------------------------------------------------------------------------------------


class PrefixedLlama(PrefixedGPT):
    """A frozen Llama whose every attention begins with trained keys and values in its memory, as if it had read p tokens.

    The keys are those that a memory keeps, after the rotation; in `peft` too.
    """

    def forward(self, idx: Tensor) -> Tensor:
        """Logits of the real tokens: (B, T) -> (B, T, vocab_size)."""
        x = self.base.embed(idx, start=self.num_virtual_tokens)  # (B, T, d)
        with remembering(self.base):
            for block, prefix in zip(self.base.blocks, self.prefix().to(x.dtype), strict=True):
                heads = block.attn.split_heads(prefix)  # (2, n_kv_head, p, h): keys, values
                k, v = heads[:, None].expand(-1, len(idx), -1, -1, -1)  # (B, n_kv_head, p, h) each
                block.attn.memory.extend(k, v)
            return self.base.unembed(self.base.transform(x))


def prefix_llama(model: Llama, num_virtual_tokens: int, projection_dim: int | None) -> PrefixedLlama:
    """As `attach_prefix`."""
    check_plain(model)
    check_prefix(model.config, num_virtual_tokens, projection_dim)
    freeze(model)
    if projection_dim is None:
        prefix = remembered_tokens(model, num_virtual_tokens)
    else:
        prefix = ReparameterizedPrefix(model.config, num_virtual_tokens, projection_dim)
        prefix.mlp[-1] = nn.Linear(projection_dim, 2 * model.config.n_layer * model.config.kv_width)
        prefix.to(**beside(model.wte.weight))
    return PrefixedLlama(model, prefix, num_virtual_tokens)


@torch.no_grad()
def remembered_tokens(model: Llama, num_virtual_tokens: int) -> Prefix:
    """A prefix that starts as what the model remembers of random real tokens."""
    idx = torch.randint(model.config.vocab_size, (1, num_virtual_tokens), device=model.wte.weight.device)  # (1, p)
    with remembering(model):
        model(idx)
        memories = [(block.attn.memory.k, block.attn.memory.v) for block in model.blocks]  # (1, n_kv_head, p, h) each
    merge = model.blocks[0].attn.merge_heads
    keys_values = torch.stack([torch.cat([merge(k), merge(v)]) for k, v in memories])  # (n_layer, 2, p, kv_width)
    return Prefix(keys_values.to(**beside(model.wte.weight)))


def count_prefix_llama(config: LlamaConfig, num_virtual_tokens: int, projection_dim: int | None) -> int:
    """Trained parameters: 2 L p kv_width; with the MLP, those of its table and its two layers."""
    check_prefix(config, num_virtual_tokens, projection_dim)
    p, d, out, hidden = num_virtual_tokens, config.n_embd, 2 * config.n_layer * config.kv_width, projection_dim
    return p * out if hidden is None else p * d + (d * hidden + hidden) + (hidden * out + out)


# ---- mam --------------------------------------------------------------------------------------------------------------


def mam_llama(model: Llama, num_virtual_tokens: int, bottleneck: int, scale: float) -> PrefixedLlama:
    """As `attach_mam`."""
    check_plain(model)
    check_room(model.config, num_virtual_tokens)
    attach_parallel(model, bottleneck, scale)
    return PrefixedLlama(model, remembered_tokens(model, num_virtual_tokens), num_virtual_tokens)


def count_mam_llama(config: LlamaConfig, num_virtual_tokens: int, bottleneck: int, scale: float) -> int:
    """Trained parameters: those of the prefix, and those of the parallel adapters."""
    return count_prefix_llama(config, num_virtual_tokens, None) + count_parallel(config, bottleneck, scale)


# ---- (IA)^3 -----------------------------------------------------------------------------------------------------------


def count_ia3_llama(config: LlamaConfig, target_modules: Sequence[str], feedforward_modules: Sequence[str]) -> int:
    """Trained parameters: a knob for each output, or each input, of every target, the gate among them."""
    check_ia3(target_modules, feedforward_modules, tuple(config.matrices))
    shapes = {name: matrix_shape(config, name) for name in target_modules}  # (d_in, d_out)
    return config.n_layer * sum(shape[0 if name in feedforward_modules else 1] for name, shape in shapes.items())


# ---- ladder side tuning -----------------------------------------------------------------------------------------------


def narrow(config: LlamaConfig, side: GPTConfig) -> LlamaConfig:
    """The Llama with the widths of a side network."""
    return replace(config, n_embd=side.n_embd, n_inner=side.n_inner)


class LadderLlama(LadderGPT):
    """A frozen Llama and a narrow one beside it that reads each of its layers."""

    def __init__(self, base: Llama, side: GPTConfig) -> None:
        super().__init__(base, side)
        self.side = nn.ModuleList(LlamaBlock(narrow(base.config, side)) for _ in base.blocks)


def lst_llama(model: Llama, reduction_factor: int) -> LadderLlama:
    """As `attach_lst`."""
    return set_beside(model, reduction_factor, LadderLlama)


def count_lst_llama(config: LlamaConfig, reduction_factor: int) -> int:
    """Trained parameters: L side blocks, L + 1 ladders, L gates, the way up."""
    side = narrow(config, side_config(config, reduction_factor))
    d, s, L = config.n_embd, side.n_embd, config.n_layer
    block = sum(d_in * d_out for d_in, d_out in side.matrices.values()) + 2 * s
    return L * block + (L + 1) * (d * s + s) + L + (s * d + d)


METHODS["full"].serve(GPT2Config, count_gpt2)
for name, build, formula in (
    ("full", None, count_weights),
    ("prompt", prompt_llama, None),
    ("ia3", None, count_ia3_llama),
    ("prefix", prefix_llama, count_prefix_llama),
    ("mam", mam_llama, count_mam_llama),
    ("lst", lst_llama, count_lst_llama),
):
    if build is not None:
        METHODS[name].serve(Llama, build)
    if formula is not None:
        METHODS[name].serve(LlamaConfig, formula)

"""A Llama: the same three steps and the same names as the course's GPT, with the four changes that most models of today have.

Norms without a mean (RMSNorm), positions as rotations of queries and keys, several queries to a key (grouped keys), and a
gate in the feed-forward network (SwiGLU). Shapes in comments: B sequences, T tokens, d = n_embd, and h = head_dim. Like the
GPT, the model knows nothing of fine-tuning.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.model import GPTConfig, attention


@dataclass(frozen=True)
class LlamaConfig(GPTConfig):
    """The dimensions of a Llama: those of a GPT, and these.

    Args:
        n_kv_head: heads of keys and values, each shared by n_head / n_kv_head heads of queries; None: n_head.
        rope_base: the slowest pair of channels turns about once in 2 pi rope_base tokens.
        norm_eps: what RMSNorm adds to the mean square.
        tied: whether the head is the table of the embeddings.

    Raises:
        ValueError: a dimension is not a positive whole number, or does not divide what it must.
    """

    n_kv_head: int | None = None
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_kv_head is None:
            object.__setattr__(self, "n_kv_head", self.n_head)
        if type(self.n_kv_head) is not int or self.n_kv_head < 1 or self.n_head % self.n_kv_head:
            raise ValueError(f"LlamaConfig: n_kv_head={self.n_kv_head!r} must divide n_head={self.n_head}")
        if self.head_dim % 2:
            raise ValueError(f"LlamaConfig: the width {self.head_dim} of a head must be even: channels turn in pairs")
        for name in ("rope_base", "norm_eps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise ValueError(f"LlamaConfig: {name} must be a number above 0, not {value!r}")
        if type(self.tied) is not bool:
            raise ValueError(f"LlamaConfig: tied must be True or False, not {self.tied!r}")

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values, of a token."""
        return self.n_kv_head * self.head_dim

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The linear layers of each block by name, with (in_features, out_features)."""
        d, f, kv = self.n_embd, self.n_inner, self.kv_width
        attn = {"q_proj": (d, d), "k_proj": (d, kv), "v_proj": (d, kv), "o_proj": (d, d)}
        return {**attn, "gate_proj": (d, f), "up_proj": (d, f), "down_proj": (f, d)}


class RMSNorm(nn.Module):
    """Divide by the root of the mean square; no mean is taken off, no shift added (Zhang and Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, n_embd: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # squares want more than 16 bits
        wide = wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


def rotate(x: Tensor, start: int, base: float) -> Tensor:
    """Turn each pair of channels by an angle that grows with the position (Su et al. 2021, arXiv:2104.09864, section 3.2).

    Channel i and channel i + h / 2 are a pair, as in Hugging Face's files; pair i turns by base^(-2i / h) a token. A query's
    product with a key then depends on how far apart they stand, not on where.

    Args:
        x: queries or keys at positions start, start + 1, ..., (B, n_head, T, h).
        start: position of the first.
        base: of the speeds.
    """
    T, h = x.shape[-2:]
    pairs = torch.arange(0, h, 2, dtype=torch.float, device=x.device)  # (h / 2,)
    positions = torch.arange(start, start + T, dtype=torch.float, device=x.device)  # (T,)
    angles = torch.outer(positions, 1.0 / base ** (pairs / h))  # (T, h / 2)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    one, two = x.chunk(2, dim=-1)  # (B, n_head, T, h / 2) each
    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1)


class Memory:
    """Keys and values that one attention has computed so far, (B, n_kv_head, S, h) each: the cache of generation."""

    def __init__(self) -> None:
        self.k: Tensor | None = None
        self.v: Tensor | None = None

    def __len__(self) -> int:
        return 0 if self.k is None else self.k.size(-2)

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest keys and values, (B, n_kv_head, T, h); return all of them."""
        self.k = k if self.k is None else torch.cat([self.k, k], dim=-2)
        self.v = v if self.v is None else torch.cat([self.v, v], dim=-2)
        return self.k, self.v


class LlamaAttention(nn.Module):
    """Self-attention with rotated queries and keys, in which n_head / n_kv_head heads of queries share keys and values.

    `memory` is None, or holds what was read before (see `remembering`): then the tokens stand behind that, and see it.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim, self.rope_base = config.head_dim, config.rope_base
        self.sharing = config.n_head // config.n_kv_head  # heads of queries to a head of keys (arXiv:2305.13245)
        self.q_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.k_proj = nn.Linear(config.n_embd, config.kv_width, bias=False)
        self.v_proj = nn.Linear(config.n_embd, config.kv_width, bias=False)
        self.o_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.memory: Memory | None = None

    def split_heads(self, x: Tensor) -> Tensor:
        """Cut the width into heads: (B, T, heads * h) -> (B, heads, T, h)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """Put the heads side by side again: (B, n_head, T, h) -> (B, T, d)."""
        return x.transpose(1, 2).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        start = 0 if self.memory is None else len(self.memory)
        q = rotate(self.split_heads(self.q_proj(x)), start, self.rope_base)  # (B, n_head, T, h)
        k = rotate(self.split_heads(self.k_proj(x)), start, self.rope_base)  # (B, n_kv_head, T, h)
        v = self.split_heads(self.v_proj(x))  # (B, n_kv_head, T, h)
        if self.memory is not None:
            k, v = self.memory.extend(k, v)  # (B, n_kv_head, S, h): what was read before comes first
        T, S = q.size(-2), k.size(-2)
        if T in (1, S):  # the fused call of `attention`, which reads shared heads where they lie
            mix = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1, enable_gqa=True)  # (B, n_head, T, h)
        else:
            k, v = (heads.repeat_interleave(self.sharing, dim=1) for heads in (k, v))  # (B, n_head, S, h)
            mix = attention(q, k, v)  # (B, n_head, T, h)
        return self.o_proj(self.merge_heads(mix))  # (B, T, d)


class LlamaMLP(nn.Module):
    """The feed-forward network with a gate: what goes up is let through as far as the gate is open (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.n_embd, config.n_inner, bias=False)
        self.up_proj = nn.Linear(config.n_embd, config.n_inner, bias=False)
        self.down_proj = nn.Linear(config.n_inner, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # d -> n_inner -> d


class LlamaBlock(nn.Module):
    """One transformer block: attention, then the feed-forward network, each added to the residual stream."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.ln_1 = RMSNorm(config.n_embd, config.norm_eps)
        self.attn = LlamaAttention(config)
        self.ln_2 = RMSNorm(config.n_embd, config.norm_eps)
        self.mlp = LlamaMLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Llama(nn.Module):
    """A Llama (Touvron et al. 2023, arXiv:2307.09288), in the three steps of the course's GPT."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # a vector for each token
        self.blocks = nn.ModuleList(LlamaBlock(config) for _ in range(config.n_layer))
        self.ln_f = RMSNorm(config.n_embd, config.norm_eps)
        if not config.tied:
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self._init_weights)

    @staticmethod
    def _init_weights(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)

    def embed(self, idx: Tensor, start: int = 0) -> Tensor:
        """Turn tokens at positions start, start + 1, ... into vectors: (B, T) -> (B, T, d).

        The vectors do not depend on the positions: attention adds those.

        Raises:
            ValueError: the last position would lie outside the block.
        """
        end = start + idx.size(1)
        if end > self.config.block_size:
            raise ValueError(f"{end} positions do not fit block_size={self.config.block_size}: give fewer tokens")
        return self.wte(idx)  # (B, T, d)

    def transform(self, x: Tensor) -> Tensor:
        """Run the blocks: (B, T, d) -> (B, T, d)."""
        for block in self.blocks:
            x = block(x)
        return x

    def unembed(self, x: Tensor) -> Tensor:
        """Final norm and head: (B, T, d) -> (B, T, vocab_size)."""
        x = self.ln_f(x)  # (B, T, d)
        return F.linear(x, self.wte.weight) if self.config.tied else self.lm_head(x)

    def forward(self, idx: Tensor) -> Tensor:
        """Logits of the next token after each token: (B, T) -> (B, T, vocab_size)."""
        return self.unembed(self.transform(self.embed(idx)))


@contextmanager
def remembering(model: nn.Module) -> Iterator[None]:
    """While this is open, every attention of a Llama keeps the keys and values of what it reads, and reads on from there.

    An attention that remembers already goes on doing so, and keeps what it has when this closes.
    """
    attentions = [module for module in model.modules() if isinstance(module, LlamaAttention) and module.memory is None]
    for attn in attentions:
        attn.memory = Memory()
    try:
        yield
    finally:
        for attn in attentions:
            attn.memory = None

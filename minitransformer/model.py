"""A minimal GPT: everything between token numbers and logits, in one file.

Shapes in comments: B sequences in a batch, T tokens in a sequence, d = n_embd. The model knows nothing of
fine-tuning: each method of the course replaces or wraps one of the modules below from outside.
"""

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class GPTConfig:
    """The dimensions of a GPT.

    Args:
        vocab_size: number of different tokens.
        block_size: the most tokens that the model can see at once (its context window).
        n_layer: number of transformer blocks.
        n_head: attention heads a block.
        n_embd: width d of the residual stream; a multiple of n_head.
        n_inner: width of the feed-forward network; None means 4 * n_embd.

    Raises:
        ValueError: a dimension is not a positive whole number, or n_embd is no multiple of n_head.
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    n_embd: int
    n_inner: int | None = None

    def __post_init__(self) -> None:
        if self.n_inner is None and isinstance(self.n_embd, int):
            object.__setattr__(self, "n_inner", 4 * self.n_embd)  # the one way to set a field of a frozen dataclass
        for name in (field.name for field in fields(GPTConfig)):  # not those that another kind of model adds
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"GPTConfig: {name} must be a positive whole number, not {value!r}")
        if self.n_embd % self.n_head:
            raise ValueError(f"GPTConfig: n_embd={self.n_embd} must be a multiple of n_head={self.n_head}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The linear layers of each block by name, with (in_features, out_features)."""
        d, f = self.n_embd, self.n_inner
        square = dict.fromkeys(("q_proj", "k_proj", "v_proj", "o_proj"), (d, d))
        return {**square, "up_proj": (d, f), "down_proj": (f, d)}


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1), aligned at the end.

    The last query stands beside the last key, so query i of T sees the first S - T + i + 1 of S keys. With more keys
    than queries, the extra keys come first and every query sees them: a cache of past tokens, for example. With as
    many keys as queries, or one query, PyTorch's fused kernel computes the same faster. It serves no other case, for its
    own `is_causal` lines queries and keys up at the start: extra keys would push real context out of sight.

    Args:
        q: queries, (B, n_head, T, head_dim).
        k: keys, (B, n_head, S, head_dim) with S >= T.
        v: values, (B, n_head, S, head_dim).

    Returns:
        The mix of values for each query, (B, n_head, T, head_dim).

    Raises:
        ValueError: there are fewer keys than queries, so that some query would see nothing.
    """
    T, S = q.size(-2), k.size(-2)
    if S < T:
        raise ValueError(f"attention: {T} queries need at least {T} keys, not {S}")
    if S == T or T == 1:  # a single query, the last, sees every key
        return F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
    hidden = torch.ones(T, S, dtype=torch.bool, device=q.device).triu(S - T + 1)  # (T, S)
    mask = torch.zeros(T, S, dtype=q.dtype, device=q.device).masked_fill(hidden, -math.inf)  # (T, S)
    scores = q / math.sqrt(q.size(-1)) @ k.transpose(-2, -1) + mask  # (B, n_head, T, S)
    return scores.softmax(dim=-1) @ v  # (B, n_head, T, head_dim)


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention: every token gathers from itself and the tokens before it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.q_proj = nn.Linear(config.n_embd, config.n_embd)
        self.k_proj = nn.Linear(config.n_embd, config.n_embd)
        self.v_proj = nn.Linear(config.n_embd, config.n_embd)
        self.o_proj = nn.Linear(config.n_embd, config.n_embd)

    def split_heads(self, x: Tensor) -> Tensor:
        """Cut the width into heads: (B, T, d) -> (B, n_head, T, head_dim)."""
        return x.unflatten(-1, (self.n_head, -1)).transpose(1, 2)

    def merge_heads(self, x: Tensor) -> Tensor:
        """Put the heads side by side again: (B, n_head, T, head_dim) -> (B, T, d)."""
        return x.transpose(1, 2).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        q = self.split_heads(self.q_proj(x))  # (B, n_head, T, head_dim)
        k = self.split_heads(self.k_proj(x))  # (B, n_head, T, head_dim)
        v = self.split_heads(self.v_proj(x))  # (B, n_head, T, head_dim)
        return self.o_proj(self.merge_heads(attention(q, k, v)))  # (B, T, d)


class MLP(nn.Module):
    """The feed-forward network: every token thinks for itself, in n_inner dimensions."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.n_embd, config.n_inner)
        self.act = nn.GELU(approximate="tanh")  # GPT-2's version of GELU
        self.down_proj = nn.Linear(config.n_inner, config.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        return self.down_proj(self.act(self.up_proj(x)))  # d -> n_inner -> d


class Block(nn.Module):
    """One transformer block: attention, then the feed-forward network, each added to the residual stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """A GPT-2 (Radford et al. 2019) with separate projections and an untied head.

    `forward` is three steps in a row, each public, so that other code can start in the middle:
    `embed` (tokens to vectors), `transform` (the blocks), `unembed` (vectors to logits).
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # a vector for each token
        self.wpe = nn.Embedding(config.block_size, config.n_embd)  # a vector for each position
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.apply(self._init_weights)
        for block in self.blocks:  # each block adds to the stream twice: smaller steps keep its variance level
            for projection in (block.attn.o_proj, block.mlp.down_proj):
                nn.init.normal_(projection.weight, std=0.02 / math.sqrt(2 * config.n_layer))

    @staticmethod
    def _init_weights(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def embed(self, idx: Tensor, start: int = 0) -> Tensor:
        """Turn tokens at positions start, start + 1, ... into vectors: (B, T) -> (B, T, d).

        Raises:
            ValueError: the last position would lie outside the block.
        """
        end = start + idx.size(1)
        if end > self.config.block_size:
            raise ValueError(f"{end} positions do not fit block_size={self.config.block_size}: give fewer tokens")
        positions = torch.arange(start, end, device=idx.device)  # (T,)
        return self.wte(idx) + self.wpe(positions)  # (B, T, d)

    def transform(self, x: Tensor) -> Tensor:
        """Run the blocks: (B, T, d) -> (B, T, d)."""
        for block in self.blocks:
            x = block(x)
        return x

    def unembed(self, x: Tensor) -> Tensor:
        """Final norm and head: (B, T, d) -> (B, T, vocab_size)."""
        return self.lm_head(self.ln_f(x))

    def forward(self, idx: Tensor) -> Tensor:
        """Logits of the next token after each token: (B, T) -> (B, T, vocab_size)."""
        return self.unembed(self.transform(self.embed(idx)))

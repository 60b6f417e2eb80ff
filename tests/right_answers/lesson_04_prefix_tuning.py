"""Right answers in other styles to the exercises of lesson 04."""

from right_answers.right import Right

RIGHT = [
    Right("predict_numbers", "a list", "return table + first + second, kept", "return [table + first + second, kept]"),
    Right("predict_numbers", "whole floats", "return table + first + second, kept", "return 6.854272e7, float(kept)"),
    Right(
        "predict_numbers",
        "a tensor",
        "return table + first + second, kept",
        "return torch.tensor([table + first + second, kept])",
    ),
    Right("predict_zero_prefix", "rounded", "return 6 / 16", "return 0.375"),
    Right(
        "predict_zero_prefix",
        "a fraction",
        "return 6 / 16",
        "from fractions import Fraction\n    return Fraction(6, 16)",
    ),
    Right("predict_zero_prefix", "a tensor", "return 6 / 16", "return torch.tensor([6.0]) / 16"),
    Right(
        "prefix_mask",
        "loops",
        None,
        """
def prefix_mask(lengths, T):
    p = max(lengths.tolist())
    mask = torch.zeros(len(lengths), 1, T, p + T, dtype=torch.bool)
    for b, m in enumerate(lengths.tolist()):
        for i in range(T):
            mask[b, 0, i, p - m : p + i + 1] = True
    return mask
""",
    ),
    Right(
        "prefix_mask",
        "tril",
        None,
        """
def prefix_mask(lengths, T):
    p = lengths.max().item()
    mask = torch.ones(len(lengths), 1, T, p + T).tril(p).bool()
    filling = torch.arange(p)[None] < (p - lengths)[:, None]
    mask[..., :p] &= ~filling[:, None, None]
    return mask
""",
    ),
    Right(
        "prefix_mask",
        "two parts side by side",
        None,
        """
def prefix_mask(lengths, T):
    p, B = int(lengths.max()), lengths.numel()
    own = torch.arange(p, 0, -1) <= lengths[:, None]
    text = torch.ones(T, T, dtype=torch.bool).tril()
    return torch.cat([own[:, None, None].expand(-1, 1, T, -1), text.expand(B, 1, -1, -1)], dim=-1)
""",
    ),
    Right(
        "read_on",
        "keys and values apart",
        None,
        """
def read_on(base, cache, idx):
    S = cache.shape[3]
    x = base.embed(idx, start=S)
    out = []
    for n, block in enumerate(base.blocks):
        a, h = block.attn, block.ln_1(x)
        k = torch.cat([cache[n, 0], a.k_proj(h)], dim=1)
        v = torch.cat([cache[n, 1], a.v_proj(h)], dim=1)
        x = x + a.o_proj(a.merge_heads(attention(*(a.split_heads(t) for t in (a.q_proj(h), k, v)))))
        x = x + block.mlp(block.ln_2(x))
        out.append(torch.stack((k, v)))
    return [base.lm_head(base.ln_f(x)), torch.stack(out)]
""",
    ),
    Right(
        "read_on",
        "the kernel with a mask",
        "attention(q, k, v)",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(q.size(2), k.size(2), dtype=torch.bool).tril(k.size(2) - q.size(2)))",
    ),
    Right(
        "read_on",
        "scores by hand",
        "attention(q, k, v)",
        "(q @ k.mT / q.size(-1) ** 0.5).masked_fill(torch.ones(q.size(2), k.size(2), dtype=torch.bool).triu(k.size(2) - q.size(2) + 1), float('-inf')).softmax(-1) @ v",
    ),
    Right(
        "mended_attend",
        "cut by the lesson's method",
        "[prefix.unflatten(-1, (attn.n_head, -1)).transpose(0, 1) for prefix in (prefix_k, prefix_v)]",
        "[attn.split_heads(prefix[None])[0] for prefix in (prefix_k, prefix_v)]",
    ),
    Right(
        "mended_attend",
        "the prefix before the cut",
        None,
        """
def mended_attend(attn, x, prefix_k, prefix_v):
    B, T, _ = x.shape
    p = prefix_k.size(0)
    k = torch.cat([prefix_k.expand(B, -1, -1), attn.k_proj(x)], dim=1)
    v = torch.cat([prefix_v.expand(B, -1, -1), attn.v_proj(x)], dim=1)
    mask = torch.arange(p + T)[None] <= torch.arange(T)[:, None] + p
    q, k, v = map(attn.split_heads, (attn.q_proj(x), k, v))
    return attn.o_proj(attn.merge_heads(F.scaled_dot_product_attention(q, k, v, mask)))
""",
    ),
    Right(
        "mended_attend",
        "a mask of numbers",
        "attn_mask=mask)",
        "attn_mask=torch.zeros_like(mask, dtype=x.dtype).masked_fill(~mask, float('-inf')))",
    ),
    Right(
        "mended_attend",
        "the kernel under its own name",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=mask)",
        "torch._C._nn.scaled_dot_product_attention(q, k, v, attn_mask=mask)",
    ),
    Right(
        "read_on",
        "attention token by token",
        "attn.merge_heads(attention(q, k, v))",
        "attn.merge_heads(torch.cat([attention(q[:, :, i : i + 1], k[:, :, : old.size(2) + i + 1], "
        "v[:, :, : old.size(2) + i + 1]) for i in range(q.size(2))], dim=2))",
    ),
    Right(
        "read_on",
        "attention row by row and head by head",
        "        x = x + attn.o_proj(attn.merge_heads(attention(q, k, v)))",
        """
        n, M = q.size(2), k.size(2)
        hidden = torch.ones(n, M, dtype=torch.bool).triu(M - n + 1)
        rows = []
        for b in range(q.size(0)):
            heads = []
            for j in range(q.size(1)):
                scores = (q[b, j] @ k[b, j].T / q.size(-1) ** 0.5).masked_fill(hidden, float("-inf"))
                heads.append(scores.softmax(dim=-1) @ v[b, j])
            rows.append(torch.cat(heads, dim=-1))
        x = x + attn.o_proj(torch.stack(rows))""",
    ),
    Right(
        "read_on",
        "the kernel with PyTorch's own mask",
        "attention(q, k, v)",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=__import__('torch.nn.attention.bias', fromlist=['bias'])"
        ".causal_lower_right(q.size(2), k.size(2)))",
    ),
    Right(
        "mended_attend",
        "queries for the prefix too, cut off afterwards",
        None,
        """
def mended_attend(attn, x, prefix_k, prefix_v):
    B, T, d = x.shape
    p = len(prefix_k)
    k = torch.cat([prefix_k[None].repeat(B, 1, 1), attn.k_proj(x)], 1)
    v = torch.cat([prefix_v[None].repeat(B, 1, 1), attn.v_proj(x)], 1)
    q = torch.cat([x.new_zeros(B, p, d), attn.q_proj(x)], 1)
    mixed = F.scaled_dot_product_attention(*map(attn.split_heads, (q, k, v)), is_causal=True)
    return attn.o_proj(attn.merge_heads(mixed))[:, p:]
""",
    ),
]

"""Right answers in other styles to the exercises of lesson 09."""

from right_answers.right import Right

RIGHT = [
    Right("predict_parameters", "a list", "return prefix, adapters", "return [prefix, adapters]"),
    Right("predict_parameters", "whole floats", "return prefix, adapters", "return 2.4576e5, float(adapters)"),
    Right("predict_parameters", "a tensor", "return prefix, adapters", "return torch.tensor([prefix, adapters])"),
    Right("predict_rates", "a list", "return adam_up, plain_up, plain_down", "return [0.05, 0.25, 1e-2]"),
    Right(
        "predict_rates",
        "a tensor",
        "return adam_up, plain_up, plain_down",
        "return torch.tensor([0.05, 0.25, 0.01], dtype=torch.double)",
    ),
    Right(
        "predict_rates",
        "numpy",
        "return adam_up, plain_up, plain_down",
        "import numpy as np\n    return np.array([5, 25, 1]) / 100",
    ),
    Right(
        "beside_both",
        "names for all",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    added = at_attention(x) * scale
    middle = block.attn(block.ln_1(x)) + added + x
    return torch.stack([middle, block.mlp(block.ln_2(middle)), scale * at_mlp(middle)]).sum(0)
""",
    ),
    Right(
        "beside_both",
        "a loop",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    for norm, sublayer, adapter in ((block.ln_1, block.attn, at_attention), (block.ln_2, block.mlp, at_mlp)):
        x = x + sublayer(norm(x)) + scale * adapter(x)
    return x
""",
    ),
    Right(
        "beside_both",
        "torch.add",
        "x + block.mlp(block.ln_2(x)) + scale * at_mlp(x)",
        "torch.add(x + block.mlp(block.ln_2(x)), at_mlp(x), alpha=scale)",
    ),
    Right(
        "prefix_afterwards",
        "one softmax over both",
        None,
        """
def prefix_afterwards(h, q, k, prefix_k, prefix_v):
    T, p = q.size(-2), prefix_k.size(-2)
    keys = torch.cat([prefix_k.expand(len(q), -1, -1, -1), k], dim=-2)
    scores = q @ keys.transpose(-2, -1) / q.size(-1) ** 0.5
    future = torch.ones(T, p + T, dtype=torch.bool).triu(p + 1)
    weights = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
    gate = weights[..., :p].sum(dim=-1)
    alone = scores[..., :p].softmax(dim=-1) @ prefix_v
    return h + gate[..., None] * (alone - h), gate
""",
    ),
    Right(
        "prefix_afterwards",
        "einsum",
        "q @ prefix_k.transpose(-2, -1) / math",
        'torch.einsum("bhtd,hpd->bhtp", q, prefix_k) / math',
    ),
    Right(
        "prefix_afterwards",
        "the largest taken off",
        "torch.sigmoid(a.logsumexp(dim=-1) - b.logsumexp(dim=-1))",
        """None
    top = torch.maximum(a.amax(dim=-1, keepdim=True), b.amax(dim=-1, keepdim=True)).detach()
    e_a, e_b = (a - top).exp().sum(dim=-1), (b - top).exp().sum(dim=-1)
    gate = e_a / (e_a + e_b)""",
    ),
    Right("prefix_afterwards", "a list", "return mixed, gate", "return [mixed, gate]"),
    Right(
        "widen",
        "the adapter first",
        None,
        """
@torch.no_grad()
def widen(beside, config):
    mlp, s = beside.base, beside.scale
    wide = MLP(replace(config, n_inner=config.n_inner + beside.down_proj.out_features))
    wide.up_proj.weight = nn.Parameter(torch.cat([beside.down_proj.weight, mlp.up_proj.weight]))
    wide.up_proj.bias = nn.Parameter(torch.cat([beside.down_proj.bias, mlp.up_proj.bias]))
    wide.down_proj.weight = nn.Parameter(torch.cat([s * beside.up_proj.weight, mlp.down_proj.weight], dim=1))
    wide.down_proj.bias = nn.Parameter(mlp.down_proj.bias + s * beside.up_proj.bias)
    return wide
""",
    ),
    Right(
        "widen",
        "filled in slices",
        None,
        """
def widen(beside, config):
    f, m = config.n_inner, beside.down_proj.out_features
    wide = MLP(replace(config, n_inner=f + m)).to(beside.down_proj.weight)
    up, down = wide.up_proj, wide.down_proj
    up.weight.data[:f], up.weight.data[f:] = beside.base.up_proj.weight.data, beside.down_proj.weight.data
    up.bias.data[:f], up.bias.data[f:] = beside.base.up_proj.bias.data, beside.down_proj.bias.data
    down.weight.data[:, :f] = beside.base.down_proj.weight.data
    down.weight.data[:, f:] = beside.scale * beside.up_proj.weight.data
    down.bias.data = beside.base.down_proj.bias.data + beside.scale * beside.up_proj.bias.data
    return wide
""",
    ),
    Right(
        "widen",
        "a state dict",
        None,
        """
def widen(beside, config):
    s, old = beside.scale, beside.state_dict()
    wide = MLP(replace(config, n_inner=config.n_inner + beside.down_proj.out_features)).to(old["up_proj.bias"].dtype)
    wide.load_state_dict({
        "up_proj.weight": torch.cat([old["base.up_proj.weight"], old["down_proj.weight"]]),
        "up_proj.bias": torch.cat([old["base.up_proj.bias"], old["down_proj.bias"]]),
        "down_proj.weight": torch.cat([old["base.down_proj.weight"], s * old["up_proj.weight"]], 1),
        "down_proj.bias": old["base.down_proj.bias"] + s * old["up_proj.bias"],
    })
    return wide
""",
    ),
    Right(
        "mended_mam",
        "the adapter called whole",
        None,
        """
def mended_mam(base, adapters, scale, prefix, idx):
    x = base.embed(idx, start=prefix.shape[2])
    for n, block in enumerate(base.blocks):
        x = x + attend(block.attn, block.ln_1(x), *prefix[n])
        x = x + block.mlp(block.ln_2(x)) + scale * adapters[n](x)
    return base.unembed(x)
""",
    ),
    Right(
        "mended_mam",
        "positions by hand",
        "base.embed(idx, start=prefix.size(2))",
        "base.wte(idx) + base.wpe.weight[prefix.size(2) : prefix.size(2) + idx.size(1)]",
    ),
    Right(
        "mended_mam",
        "attention written out",
        "attend(block.attn, block.ln_1(x), prefix_k, prefix_v)",
        """0
        a, h = block.attn, block.ln_1(x)
        k = torch.cat([prefix_k.expand(len(x), -1, -1), a.k_proj(h)], dim=1)
        v = torch.cat([prefix_v.expand(len(x), -1, -1), a.v_proj(h)], dim=1)
        x = x + a.o_proj(a.merge_heads(attention(*map(a.split_heads, (a.q_proj(h), k, v)))))""",
    ),
    # ---- constants of 32 bits
    Right(
        "beside_both",
        "the scale a tensor",
        "    # On the right,",
        "    scale = torch.tensor(scale)\n    # On the right,",
    ),
    Right(
        "prefix_afterwards",
        "the root of a tensor",
        "    T = q.size(-2)",
        "    T, q = q.size(-2), q * (math.sqrt(q.size(-1)) / torch.sqrt(torch.tensor(q.size(-1))))",
    ),
    Right("prefix_afterwards", "a number far below all scores", "future, -math.inf", "future, -1e9"),
]

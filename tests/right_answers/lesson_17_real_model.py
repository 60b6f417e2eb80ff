"""Right answers in other styles to the exercises of lesson 17."""

from right_answers.right import Right

RIGHT = [
    Right(
        "predict_shared",
        "a list",
        "return remembered, lora, rank, matrices",
        "return [remembered, lora, rank, matrices]",
    ),
    Right(
        "predict_shared",
        "whole floats",
        "return remembered, lora, rank, matrices",
        "return 11_520.0, 368_640.0, 145.0, 106_168_320.0",
    ),
    Right(
        "predict_shared",
        "matrices added up",
        "134_515_008 - 49_152 * d - (2 * L + 1) * d",
        "L * (2 * d * d + 2 * d * kv + 3 * d * 1536)",
    ),
    Right(
        "predict_shared", "by trying", "d * kv // (d + kv) + 1", "next(r for r in range(1, d) if r * (d + kv) > d * kv)"
    ),
    Right(
        "forget",
        "complex numbers",
        None,
        """def forget(k, v, keep, drop, base):
    h = k.shape[-1]
    first, _, rest = k.split([keep, drop, k.shape[2] - keep - drop], dim=2)
    speeds = torch.tensor([base ** (-2 * i / h) for i in range(h // 2)], dtype=k.dtype)
    z = torch.complex(rest[..., : h // 2].contiguous(), rest[..., h // 2 :].contiguous())
    z = z * torch.exp(-1j * drop * speeds)
    stays = [j for j in range(k.shape[2]) if not keep <= j < keep + drop]
    return torch.cat([first, torch.cat([z.real, z.imag], -1).to(k.dtype)], 2), v[:, :, stays]
""",
    ),
    Right(
        "forget",
        "matrices of two by two",
        None,
        """def forget(k, v, keep, drop, base):
    h = k.size(-1)
    angles = torch.stack([torch.tensor(drop * base ** (-2 * i / h), dtype=k.dtype) for i in range(h // 2)])
    c, s = torch.cos(angles), torch.sin(angles)
    turn = torch.stack([torch.stack([c, s]), torch.stack([-s, c])])  # (2, 2, h / 2)
    pairs = k[:, :, keep + drop :].unflatten(-1, (2, -1))
    moved = torch.einsum("xyi,bntyi->bntxi", turn, pairs).flatten(-2)
    return torch.cat((k[:, :, :keep], moved), 2), torch.cat((v[:, :, :keep], v[:, :, keep + drop :]), 2)
""",
    ),
    Right(
        "forget",
        "to zero, and to the new place",
        None,
        """def by(x, positions, base):
    h = x.size(-1)
    angles = positions[:, None].to(x.dtype) / base ** (torch.arange(0, h, 2).to(x.dtype) / h)
    turned = torch.cat([-x[..., h // 2 :], x[..., : h // 2]], -1)
    return x * angles.cos().repeat(1, 2) + turned * angles.sin().repeat(1, 2)


def forget(k, v, keep, drop, base):
    S = k.size(2)
    stays = torch.tensor([j for j in range(S) if j < keep or j >= keep + drop])
    plain = by(k[:, :, stays], -stays, base)
    return [by(plain, torch.arange(S - drop), base), v.index_select(2, stays)]
""",
    ),
    Right(
        "forget",
        "angles in 32 bits",
        "pairs = torch.arange(0, k.size(-1), 2, dtype=k.dtype)",
        "pairs = torch.arange(0, k.size(-1), 2)",
    ),
    Right(
        "score_names",
        "cross-entropy, filled with -100",
        None,
        """def score_names(model, question, names):
    targets = nn.utils.rnn.pad_sequence(names, batch_first=True, padding_value=-100)
    with remembering(model):
        first = model(question.unsqueeze(0))[:, -1]
        for module in model.modules():
            memory = getattr(module, "memory", None)
            if memory is not None:
                memory.k = memory.k.repeat(len(names), 1, 1, 1)
                memory.v = memory.v.repeat(len(names), 1, 1, 1)
        later = model(targets.clamp(min=0))
    logits = torch.cat([first.repeat(len(names), 1)[:, None], later[:, :-1]], 1)
    return -F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=-100, reduction="none").sum(1)
""",
    ),
    Right(
        "score_names",
        "the last tokens not read",
        None,
        """def score_names(model, question, names):
    K, longest = len(names), max(map(len, names))
    filled = question.new_full((K, longest), 1)
    for row, name in zip(filled, names):
        row[: len(name)] = name
    with remembering(model):
        start = model(question.view(1, -1))[0, -1].log_softmax(0)
        scores = [start[name[0]] for name in names]
        if longest > 1:
            for block in model.blocks:
                block.attn.memory.k = block.attn.memory.k.expand(K, *block.attn.memory.k.shape[1:])
                block.attn.memory.v = block.attn.memory.v.expand(K, *block.attn.memory.v.shape[1:])
            later = model(filled[:, :-1]).log_softmax(-1)
            for k, name in enumerate(names):
                for t in range(1, len(name)):
                    scores[k] = scores[k] + later[k, t - 1, name[t]]
    return torch.stack(scores)
""",
    ),
    Right(
        "score_names",
        "other tokens as filling",
        "pad_sequence(names, batch_first=True)",
        "pad_sequence(names, batch_first=True, padding_value=3)",
    ),
    Right(
        "score_names",
        "logits less their logsumexp",
        "likely = logits.log_softmax(dim=-1).gather(2, filled[..., None])[..., 0]",
        "likely = logits.gather(2, filled[..., None]).squeeze(2) - logits.logsumexp(-1)",
    ),
    Right(
        "mended_keys",
        "all but the product in 64 bits",
        None,
        """def mended_keys(x, norm, k_proj, head_dim, positions, base):
    y = x.double()
    y = y / (y.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight.double()
    k = k_proj(y.to(x.dtype)).double().view(*x.shape[:2], -1, head_dim).permute(0, 2, 1, 3)
    speeds = torch.tensor([base ** (-2 * i / head_dim) for i in range(head_dim // 2)], dtype=torch.float64)
    angles = torch.einsum("bt,i->bti", positions.double(), speeds)[:, None]
    half = head_dim // 2
    one, two = k[..., :half], k[..., half:]
    out = torch.cat([one * angles.cos() - two * angles.sin(), two * angles.cos() + one * angles.sin()], -1)
    return out.to(x.dtype)
""",
    ),
    Right(
        "mended_keys",
        "F.rms_norm in 32 bits",
        "    size = torch.rsqrt(x.to(wide).square().mean(dim=-1, keepdim=True) + norm.eps)  # (B, T, 1)\n    normed = norm.weight * (x * size).to(x.dtype)  # (B, T, d)\n",
        "    normed = F.rms_norm(x.to(wide), (x.size(-1),), norm.weight.to(wide), norm.eps).to(x.dtype)\n",
    ),
    Right(
        "mended_keys",
        "the turn in 32 bits",
        "    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)\n    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1)\n",
        "    cos, sin = angles.cos(), angles.sin()\n    return torch.cat([one * cos - two * sin, two * cos + one * sin], dim=-1).to(x.dtype)\n",
    ),
    Right(
        "mended_keys",
        "scaled before squaring",
        "torch.rsqrt(x.to(wide).square().mean(dim=-1, keepdim=True) + norm.eps)",
        "1 / (x.to(wide).norm(dim=-1, keepdim=True) ** 2 / x.size(-1) + norm.eps) ** 0.5",
    ),
]

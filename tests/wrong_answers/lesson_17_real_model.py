"""Wrong answers that students give to the exercises of lesson 17."""

from wrong_answers.wrong import Wrong

TURN = "moved = torch.cat([one * cos + two * sin, two * cos - one * sin], dim=-1)  # turned back"
LIKELY = "likely = logits.log_softmax(dim=-1).gather(2, filled[..., None])[..., 0]  # (K, n)"

WRONG = [
    Wrong(
        "predict_shared",
        "as wide as the queries",
        "remembered = L * 2 * kv",
        "remembered = L * 2 * d",
        "as wide as the queries",
    ),
    Wrong("predict_shared", "keys alone", "remembered = L * 2 * kv", "remembered = L * kv", "a key and a value"),
    Wrong("predict_shared", "one layer", "remembered = L * 2 * kv", "remembered = 2 * kv", "one layer"),
    Wrong("predict_shared", "one head", "remembered = L * 2 * kv", "remembered = L * 2 * 64", "one head"),
    Wrong("predict_shared", "square matrices", "8 * 2 * (d + kv)", "8 * 2 * (d + d)", "not square"),
    Wrong("predict_shared", "one matrix", "8 * 2 * (d + kv)", "8 * (d + kv)", "one of the two"),
    Wrong("predict_shared", "A alone", "8 * 2 * (d + kv)", "8 * 2 * d", "A alone"),
    Wrong("predict_shared", "B alone", "8 * 2 * (d + kv)", "8 * 2 * kv", "B alone"),
    Wrong("predict_shared", "equally many", "(d + kv) + 1", "(d + kv)", "equally many"),
    Wrong("predict_shared", "full rank", "d * kv // (d + kv) + 1", "kv", "highest rank"),
    Wrong("predict_shared", "square break-even", "d * kv // (d + kv) + 1", "d // 2 + 1", "square"),
    Wrong("predict_shared", "norms left in", " - (2 * L + 1) * d", "", "norms are still"),
    Wrong("predict_shared", "the last norm", "(2 * L + 1) * d", "2 * L * d", "one more norm"),
    Wrong("predict_shared", "the table twice", "- 49_152 * d", "- 2 * 49_152 * d", "counted once"),
    Wrong("predict_shared", "the table left in", "134_515_008 - 49_152 * d", "134_515_008", "no matrix of a block"),
    Wrong(
        "predict_shared",
        "the library",
        "lora = L * 8 * 2 * (d + kv)",
        'lora = METHODS["lora"].count(LlamaConfig(49_152, 8192, 30, 9, 576, 1536, n_kv_head=3), rank=8, alpha=1.0, target_modules=("k_proj", "v_proj"))',
        "pencil and paper",
    ),
    Wrong(
        "predict_shared",
        "three numbers",
        "return remembered, lora, rank, matrices",
        "return lora, rank, matrices",
        "return 4 numbers",
    ),
    Wrong("forget", "not turned", TURN, "moved = torch.cat([one, two], dim=-1)", "old positions"),
    Wrong("forget", "turned forward", "angles = drop * base", "angles = -drop * base", "the wrong way"),
    Wrong("forget", "half the sign", "two * cos - one * sin", "two * cos + one * sin", "is not right"),
    Wrong("forget", "too far", "angles = drop * base", "angles = (keep + drop) * base", "keep + drop"),
    Wrong("forget", "one too far", "angles = drop * base", "angles = (drop + 1) * base", "too near"),
    Wrong("forget", "one too near", "angles = drop * base", "angles = (drop - 1) * base", "too far"),
    Wrong("forget", "by one", "angles = drop * base", "angles = 1 * base", "one position only"),
    Wrong(
        "forget",
        "the kept ones, too",
        None,
        """def forget(k, v, keep, drop, base):
    stays = [j for j in range(k.size(2)) if not keep <= j < keep + drop]
    h = k.size(-1)
    angles = drop * base ** (-torch.arange(0, h, 2, dtype=k.dtype) / h)
    one, two = k[:, :, stays].chunk(2, dim=-1)
    k = torch.cat([one * angles.cos() + two * angles.sin(), two * angles.cos() - one * angles.sin()], dim=-1)
    return k, v[:, :, stays]
""",
        "were turned, too",
    ),
    Wrong(
        "forget",
        "values turned",
        "v[:, :, keep + drop :]], dim=2)",
        "v[:, :, keep + drop :].flip(-1)], dim=2)",
        "the new v is not right",
    ),
    Wrong(
        "forget",
        "the first ones forgotten",
        "v = torch.cat([v[:, :, :keep], v[:, :, keep + drop :]], dim=2)",
        "v = v[:, :, drop:]",
        "they are the ones to stay",
    ),
    Wrong(
        "forget",
        "the newest forgotten",
        "v = torch.cat([v[:, :, :keep], v[:, :, keep + drop :]], dim=2)",
        "v = v[:, :, : v.size(2) - drop]",
        "the newest tokens",
    ),
    Wrong("forget", "exchanged", "return k, v\n", "return v, k\n", "exchanged"),
    Wrong(
        "forget",
        "neighbours",
        "one, two = k[:, :, keep + drop :].chunk(2, dim=-1)",
        "one, two = k[:, :, keep + drop :, 0::2], k[:, :, keep + drop :, 1::2]",
        "is not right",
    ),
    Wrong(
        "forget",
        "neighbours, put back",
        None,
        """def forget(k, v, keep, drop, base):
    h, rest = k.size(-1), k[:, :, keep + drop :]
    angles = drop * base ** (-torch.arange(0, h, 2, dtype=k.dtype) / h)
    one, two = rest[..., 0::2], rest[..., 1::2]
    moved = torch.stack([one * angles.cos() + two * angles.sin(), two * angles.cos() - one * angles.sin()], -1)
    return torch.cat([k[:, :, :keep], moved.flatten(-2)], 2), torch.cat([v[:, :, :keep], v[:, :, keep + drop :]], 2)
""",
        "neighbouring channels",
    ),
    Wrong(
        "forget", "speeds of another width", "(-pairs / k.size(-1))", "(-pairs / 2 / k.size(-1))", "the speeds are off"
    ),
    Wrong("forget", "speeds turned round", "(-pairs / k.size(-1))", "(pairs / k.size(-1))", "is not right"),
    Wrong(
        "forget",
        "turned for their places once more",
        None,
        """def forget(k, v, keep, drop, base):
    stays = [j for j in range(k.size(2)) if not keep <= j < keep + drop]
    h = k.size(-1)
    speeds = base ** (-torch.arange(0, h, 2, dtype=k.dtype) / h)
    angles = torch.arange(len(stays), dtype=k.dtype)[:, None] * speeds
    one, two = k[:, :, stays].chunk(2, dim=-1)
    k = torch.cat([one * angles.cos() - two * angles.sin(), two * angles.cos() + one * angles.sin()], dim=-1)
    return k, v[:, :, stays]
""",
        "a second time",
    ),
    Wrong(
        "forget",
        "the course's rotate",
        TURN,
        "moved = rotate(k[:, :, keep + drop :, None].flatten(0, 2), -drop, base).view(k[:, :, keep + drop :].shape)",
        "write the turn yourself",
    ),
    Wrong(
        "forget",
        "in place",
        "    k = torch.cat([k[:, :, :keep], moved], dim=2)\n",
        "    with torch.no_grad():\n        k[:, :, keep + drop :] = moved\n    k = torch.cat([k[:, :, :keep], k[:, :, keep + drop :]], dim=2)\n",
        "changed in place",
    ),
    Wrong(
        "forget", "detached", "= k[:, :, keep + drop :].chunk", "= k[:, :, keep + drop :].detach().chunk", "gradient"
    ),
    Wrong(
        "forget",
        "keep is at least one",
        "    k = torch.cat([k[:, :, :keep], moved], dim=2)",
        "    keep = max(keep, 1)\n    k = torch.cat([k[:, :, :keep], moved], dim=2)",
        "is not right",
    ),
    Wrong(
        "forget",
        "empty is an error",
        "    cos, sin = angles.cos()",
        "    assert k.size(2) > keep + drop\n    cos, sin = angles.cos()",
        "its own assert",
    ),
    Wrong(
        "forget",
        "width four written in",
        "torch.arange(0, k.size(-1), 2, dtype=k.dtype)",
        "torch.arange(0, 4, 2, dtype=k.dtype)",
        "the shapes do not fit",
    ),
    Wrong("forget", "single precision", "return k, v\n", "return k.float(), v\n", "as what was given"),
    Wrong("forget", "a tuple of one", "return k, v\n", "return k\n", "return 2 things"),
    Wrong(
        "score_names",
        "a mean",
        "(likely * real).sum(dim=1)",
        "(likely * real).sum(dim=1) / real.sum(dim=1)",
        "a mean over the tokens",
    ),
    Wrong(
        "score_names", "a probability", "(likely * real).sum(dim=1)", "(likely * real).sum(dim=1).exp()", "no logarithm"
    ),
    Wrong("score_names", "a loss", "return (likely", "return -(likely", "the sign"),
    Wrong(
        "score_names",
        "the first token alone",
        "return (likely * real).sum(dim=1)",
        "return likely[:, 0]",
        "only the first token",
    ),
    Wrong(
        "score_names",
        "without the first",
        "return (likely * real).sum(dim=1)",
        "return (likely * real)[:, 1:].sum(dim=1)",
        "the first token is missing",
    ),
    Wrong("score_names", "filling counted", "(likely * real).sum(dim=1)", "likely.sum(dim=1)", "the filling"),
    Wrong("score_names", "logits added", "logits.log_softmax(dim=-1).gather", "logits.gather", "logits were added up"),
    Wrong(
        "score_names",
        "softmax over the tokens",
        "logits.log_softmax(dim=-1)",
        "logits.log_softmax(dim=1)",
        "is not right",
    ),
    Wrong(
        "score_names",
        "each token by its own logits",
        "logits = torch.cat([logits, model(filled)[:, :-1]], dim=1)",
        "logits = model(filled)",
        "they foretell the next one",
    ),
    Wrong(
        "score_names",
        "without the question",
        "        logits = torch.cat([logits, model(filled)[:, :-1]], dim=1)  # (K, n, vocab_size): each foretells one further\n",
        "    logits = torch.cat([logits, model(filled)[:, :-1]], dim=1)\n",
        "without the question",
    ),
    Wrong(
        "score_names",
        "one after another, in one memory",
        None,
        """def score_names(model, question, names):
    scores = []
    with remembering(model):
        first = model(question[None])[0, -1].log_softmax(-1)
        for name in names:
            later = model(name[None])[0].log_softmax(-1)
            scores.append(first[name[0]] + later[:-1].gather(1, name[1:, None]).sum())
    return torch.stack(scores)
""",
        "went on growing",
    ),
    Wrong(
        "score_names",
        "one after another",
        None,
        """def score_names(model, question, names):
    scores = []
    with remembering(model):
        first = model(question[None])[0, -1].log_softmax(-1)
        kept = [(block.attn.memory.k, block.attn.memory.v) for block in model.blocks]
        for name in names:
            for block, (k, v) in zip(model.blocks, kept):
                block.attn.memory.k, block.attn.memory.v = k, v
            later = model(name[None])[0].log_softmax(-1)
            scores.append(first[name[0]] + later[:-1].gather(1, name[1:, None]).sum())
    return torch.stack(scores)
""",
        "once for the question and once for all names",
    ),
    Wrong(
        "score_names",
        "the question read for each name",
        None,
        """def score_names(model, question, names):
    rows = [torch.cat([question, name]) for name in names]
    filled = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    likely = model(filled)[:, :-1].log_softmax(-1).gather(2, filled[:, 1:, None])[..., 0]
    place = torch.arange(1, filled.size(1))
    real = (place >= len(question)) & (place < torch.tensor([[len(row)] for row in rows]))
    return (likely * real).sum(1)
""",
        "the question once",
    ),
    Wrong(
        "score_names",
        "not expanded",
        "            memory.k, memory.v = (part.expand(K, -1, -1, -1) for part in (memory.k, memory.v))\n",
        "",
        "the shapes do not fit",
    ),
    Wrong(
        "score_names",
        "remembers afterwards",
        None,
        """def score_names(model, question, names):
    K = len(names)
    filled = nn.utils.rnn.pad_sequence(names, batch_first=True)
    with remembering(model):
        memories = [block.attn.memory for block in model.blocks]
        logits = model(question[None])[:, -1:].expand(K, -1, -1)
        for memory in memories:
            memory.k, memory.v = memory.k.expand(K, -1, -1, -1), memory.v.expand(K, -1, -1, -1)
        logits = torch.cat([logits, model(filled)[:, :-1]], dim=1)
    for block, memory in zip(model.blocks, memories):
        block.attn.memory = memory
    likely = logits.log_softmax(dim=-1).gather(2, filled[..., None])[..., 0]
    return (likely * (torch.arange(filled.size(1)) < torch.tensor([[len(name)] for name in names]))).sum(1)
""",
        "still remembers",
    ),
    Wrong(
        "score_names",
        "filled in front",
        "nn.utils.rnn.pad_sequence(names, batch_first=True)",
        "nn.utils.rnn.pad_sequence([name.flip(0) for name in names], batch_first=True).flip(1)",
        "is not right",
    ),
    Wrong(
        "score_names",
        "the names sorted",
        "    K = len(names)\n",
        "    K = len(names)\n    names = sorted(names, key=len)\n",
        "is not right",
    ),
    Wrong(
        "score_names",
        "the list sorted",
        "    K = len(names)\n",
        "    K = len(names)\n    names.sort(key=len, reverse=True)\n",
        "names was changed",
    ),
    Wrong("score_names", "three names written in", "    K = len(names)\n", "    K = 3\n", "the shapes do not fit"),
    Wrong(
        "score_names",
        "no gradient",
        "with remembering(model):",
        "with torch.no_grad(), remembering(model):",
        "no gradient",
    ),
    Wrong(
        "score_names",
        "the question without a gradient",
        "[:, -1:].expand(K, -1, -1)",
        "[:, -1:].detach().expand(K, -1, -1)",
        "gradient",
    ),
    Wrong(
        "score_names",
        "a small number added",
        "logits.log_softmax(dim=-1).gather(2, filled[..., None])",
        "(logits.softmax(dim=-1) + 1e-8).log().gather(2, filled[..., None])",
        "nearly right",
    ),
    Wrong(
        "score_names",
        "the first name's length",
        "torch.tensor([[len(name)] for name in names])",
        "torch.tensor([[len(names[0])] for name in names])",
        "is not right",
    ),
    Wrong("mended_keys", "still broken", None, "mended_keys = broken_keys\n", "still"),
    Wrong(
        "mended_keys",
        "the norm alone",
        "angles = positions[:, None, :, None] * speeds",
        "angles = positions[:, None, :, None].to(x.dtype) * speeds.to(x.dtype)",
        "the angles are still computed",
    ),
    Wrong("mended_keys", "the rotation alone", "x.to(wide).square()", "x.square()", "still taken in 16 bits"),
    Wrong(
        "mended_keys",
        "positions still rounded",
        "angles = positions[:, None, :, None] * speeds",
        "angles = positions[:, None, :, None].to(x.dtype) * speeds",
        "wrong by more than rounding",
    ),
    Wrong(
        "mended_keys",
        "speeds still rounded",
        "angles = positions[:, None, :, None] * speeds",
        "angles = positions[:, None, :, None] * speeds.to(x.dtype).to(wide)",
        "wrong by more than rounding",
    ),
    Wrong(
        "mended_keys",
        "angles rounded at the end",
        "angles = positions[:, None, :, None] * speeds",
        "angles = (positions[:, None, :, None] * speeds).to(x.dtype)",
        "wrong by more than rounding",
    ),
    Wrong(
        "mended_keys",
        "the mean back in 16 bits",
        "x.to(wide).square().mean(",
        "x.to(wide).square().to(x.dtype).mean(",
        "still taken in 16 bits",
    ),
    Wrong(
        "mended_keys",
        "squares cut off",
        "x.to(wide).square()",
        "x.square().clamp(max=65_504)",
        "wrong by more than rounding",
    ),
    Wrong(
        "mended_keys",
        "from position 0",
        "angles = positions[:, None, :, None] * speeds",
        "angles = torch.arange(x.size(1))[:, None] * speeds",
        "from position 0 on",
    ),
    Wrong(
        "mended_keys",
        "the first row's positions",
        "positions[:, None, :, None]",
        "positions[:1, None, :, None]",
        "as the first one is",
    ),
    Wrong(
        "mended_keys",
        "32 bits come out",
        "angles.cos().to(x.dtype), angles.sin().to(x.dtype)",
        "angles.cos(), angles.sin()",
        "come back to that",
    ),
    Wrong(
        "mended_keys",
        "the product in 32 bits",
        "k_proj(normed)",
        "F.linear(normed.to(wide), k_proj.weight.to(wide), None if k_proj.bias is None else k_proj.bias.to(wide)).to(x.dtype)",
        "a product of matrices is done in",
    ),
    Wrong(
        "mended_keys",
        "k_proj cast for good",
        "k = k_proj(normed)",
        "k = k_proj.to(wide)(normed.to(wide)).to(x.dtype)",
        "was changed",
    ),
    Wrong(
        "mended_keys",
        "16 bits always",
        "wide = torch.promote_types(x.dtype, torch.float32)",
        "wide = torch.float16",
        "is not right",
    ),
    Wrong("mended_keys", "the norm itself", "k_proj(normed)", "k_proj(norm(x))", "write the two lines yourself"),
    Wrong("mended_keys", "the bias left out", "k_proj(normed)", "F.linear(normed, k_proj.weight)", "is not right"),
    Wrong("mended_keys", "no eps", "keepdim=True) + norm.eps)", "keepdim=True))", "is not right"),
    Wrong("mended_keys", "a usual eps", "+ norm.eps)", "+ 1e-5)", "is not right"),
    Wrong("mended_keys", "detached", "(x * size).to(x.dtype)", "(x * size.detach()).to(x.dtype)", "gradient of x"),
    Wrong(
        "mended_keys",
        "a mean taken off",
        "(x * size).to(x.dtype)",
        "((x - x.mean(-1, keepdim=True)) * size).to(x.dtype)",
        "is not right",
    ),
]

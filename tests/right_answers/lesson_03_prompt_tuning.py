"""Right answers in other styles to the exercises of lesson 03."""

from right_answers.right import Right

RIGHT = [
    Right("predict_numbers", "a whole float", "return 30 * 4096", "return 1.2288e5"),
    Right("predict_numbers", "a tensor", "return 30 * 4096", "return torch.tensor(30) * 4096"),
    Right("predict_numbers", "numpy", "return 30 * 4096", "import numpy as np\n    return np.int64(30) * 4096"),
    Right("predict_places", "a list", "return first, longest, most", "return [first, longest, most]"),
    Right("predict_places", "a tensor", "return first, longest, most", "return torch.tensor([first, longest, most])"),
    Right(
        "predict_places",
        "numpy",
        "return first, longest, most",
        "import numpy as np\n    return np.array([first, longest, most])",
    ),
    Right(
        "prompt_from_text",
        "repeated and cut",
        "model.wte.weight[text[places]].detach()",
        "model.wte(text.repeat(-(-p // len(text)))[:p]).detach().clone()",
    ),
    Right(
        "prompt_from_text",
        "token by token under no_grad",
        None,
        """
def prompt_from_text(model, text, p):
    with torch.no_grad():
        return torch.stack([model.wte(text[i % len(text)]) for i in range(p)])
""",
    ),
    Right(
        "prompt_from_text",
        "grown until it is long enough",
        None,
        """
def prompt_from_text(model, text, p):
    said = text
    while len(said) < p:
        said = torch.cat([said, text])
    return model.wte.weight.data[said[:p]].clone()
""",
    ),
    Right(
        "forward_mixed",
        "filling made of real tokens, gathered",
        None,
        """
def forward_mixed(base, prompts, idx):
    B, T = idx.shape
    p = torch.tensor([len(prompt) for prompt in prompts])
    x = base.wte(idx.repeat(1, int(p.max()) // T + 2))[:, : int(p.max()) + T].clone()
    for b in range(B):
        x[b, : p[b]] = prompts[b]
        x[b, p[b] : p[b] + T] = base.wte(idx[b])
    x = base.transform(x + base.wpe.weight[: x.size(1)])
    places = p[:, None] + torch.arange(T)
    return base.unembed(x[torch.arange(B)[:, None], places])
""",
    ),
    Right(
        "forward_mixed",
        "the block written out",
        "base.transform(torch.stack(rows))",
        """torch.stack(rows)
    from minitransformer.model import attention
    for block in base.blocks:
        a, h = block.attn, block.ln_1(x)
        q, k, v = (a.split_heads(m(h)) for m in (a.q_proj, a.k_proj, a.v_proj))
        x = x + a.o_proj(a.merge_heads(attention(q, k, v)))
        x = x + block.mlp(block.ln_2(x))""",
    ),
    Right(
        "forward_mixed",
        "through a rebuilt GPT",
        "base.transform(torch.stack(rows))",
        """torch.stack(rows)
    twin = GPT(base.config).to(x.dtype)
    twin.load_state_dict(base.state_dict())
    x = twin.transform(x)""",
    ),
    Right(
        "forward_mixed",
        "padded by F.pad",
        "torch.cat([virtual, real, filling])",
        "F.pad(torch.cat([virtual, real]), (0, 0, 0, longest - p))",
    ),
    Right(
        "mended_loss",
        "virtual logits cut off",
        None,
        """
def mended_loss(base, prompt, idx, targets):
    B, p = len(idx), len(prompt)
    virtual = (prompt + base.wpe.weight[:p]).expand(B, -1, -1)
    x = torch.cat([virtual, base.embed(idx, start=p)], dim=1)
    logits = base.unembed(base.transform(x))[:, p:]
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), targets.reshape(-1), ignore_index=IGNORE)
""",
    ),
    Right(
        "mended_loss",
        "by hand over what counts",
        "    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)",
        """    counts = targets != IGNORE
    chosen = logits.log_softmax(dim=-1)[counts].gather(1, targets[counts][:, None])
    return -chosen.mean()""",
    ),
    Right(
        "mended_loss", "padded targets", "torch.cat([ignored, targets], dim=1)", "F.pad(targets, (p, 0), value=IGNORE)"
    ),
    Right(
        "prompt_from_text",
        "embedded, positions taken off again",
        None,
        """
def prompt_from_text(model, text, p):
    places = text[torch.arange(p) % len(text)]
    with torch.no_grad():
        return model.embed(places[None])[0] - model.wpe.weight[:p]
""",
    ),
    Right(
        "forward_mixed",
        "put into zeros",
        None,
        """
def forward_mixed(base, prompts, idx):
    B, T = idx.shape
    n = [len(prompt) for prompt in prompts]
    x = torch.zeros(B, max(n) + T, base.config.n_embd).to(base.wte.weight)
    for b in range(B):
        x[b, : n[b]] = prompts[b]
        x[b, n[b] : n[b] + T] = base.wte(idx[b])
    x = base.transform(x + base.wpe.weight[: x.size(1)])
    return base.unembed(torch.stack([x[b, n[b] : n[b] + T] for b in range(B)]))
""",
    ),
    Right(
        "forward_mixed",
        "filled to the whole block",
        "max(len(prompt) for prompt in prompts)",
        "base.config.block_size - T",
    ),
]

"""Right answers in other styles to the exercises of lesson 15."""

from right_answers.right import Right

RIGHT = [
    Right("predict_change", "a list", "return swap, fresh, path, even", "return [32, 24, 393_216, 3072]"),
    Right(
        "predict_change",
        "whole floats",
        "return swap, fresh, path, even",
        "return 32.0, 24.0, 393_216.0, 4096 * 12_288 / 16_384",
    ),
    Right(
        "predict_change", "a tensor", "return swap, fresh, path, even", "return torch.tensor([swap, fresh, path, even])"
    ),
    Right(
        "fill_in_front",
        "positions gathered",
        None,
        """def fill_in_front(base, prompts, texts):
    lengths = torch.tensor([len(p) + len(t) for p, t in zip(prompts, texts)])
    S = int(lengths.max())
    column = torch.arange(S)
    position = (column - (S - lengths)[:, None]).clamp(min=0)  # (B, S)
    tokens = [torch.cat([p, base.wte(t)]) for p, t in zip(prompts, texts)]
    x = torch.stack([F.pad(row, (0, 0, S - len(row), 0)) for row in tokens]) + base.wpe(position)
    mask = torch.ones(len(texts), 1, S, S, dtype=torch.bool).tril()
    for b, n in enumerate(lengths.tolist()):
        mask[b, :, S - n :, : S - n] = False
    return x, mask
""",
    ),
    Right(
        "fill_in_front",
        "any filling",
        "real.new_zeros(S - n, real.size(1))",
        "torch.randn(S - n, real.size(1), dtype=real.dtype)",
    ),
    Right("fill_in_front", "the filling sees all", "past & is_real | itself", "past & is_real | ~is_real.mT"),
    Right(
        "fill_in_front",
        "a list",
        "return torch.stack(rows), past & is_real | itself",
        "return [torch.stack(rows), (past & is_real).logical_or(itself)]",
    ),
    Right(
        "fill_in_front",
        "embeddings by hand",
        "base.embed(text[None], start=p)[0]",
        "base.wte.weight[text] + base.wpe.weight[p : p + len(text)]",
    ),
    Right(
        "following_lora",
        "a buffer that is not saved",
        None,
        """class FollowingLoRA(nn.Module):
    def __init__(self, base, rank, scaling):
        super().__init__()
        base.weight.requires_grad = False
        if base.bias is not None:
            base.bias.requires_grad = False
        self.base, self.scaling, self.merged = base, scaling, False
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.register_buffer("aside", None, persistent=False)

    @torch.no_grad()
    def train(self, mode=True):
        super().train(mode)
        if mode and self.merged:
            self.base.weight.data[:] = self.aside
        elif not mode and not self.merged:
            self.aside = self.base.weight.detach().clone()
            torch.addmm(self.aside, self.lora_B, self.lora_A, alpha=self.scaling, out=self.base.weight)
        self.merged = not mode
        return self

    def forward(self, x):
        y = self.base(x)
        return y if self.merged else y + F.linear(F.linear(x, self.lora_A), self.scaling * self.lora_B)
""",
    ),
    Right(
        "following_lora",
        "by the mode",
        "if self.original is not None:\n            return",
        "if not self.training:\n            return",
    ),
    Right("following_lora", "data", "self.base.weight += self.scaling", "self.base.weight.data += self.scaling"),
    Right(
        "following_lora",
        "the mode first",
        "        with torch.no_grad():\n            if not mode",
        "        super().train(mode)\n        with torch.no_grad():\n            if not mode",
    ),
    Right(
        "answer_each",
        "sorted",
        None,
        """def answer_each(base, loras, x, choice):
    y = base(x)
    order = choice.argsort(stable=True)
    numbers, counts = choice[order].unique_consecutive(return_counts=True)
    parts = []
    for k, rows in zip(numbers.tolist(), order.split(counts.tolist())):
        part = y[rows]
        if k >= 0:
            A, B, s = loras[k]
            part = part + F.linear(F.linear(x[rows], A), s * B)
        parts.append(part)
    return torch.cat(parts)[order.argsort()]
""",
    ),
    Right(
        "answer_each",
        "by a mask",
        "        rows = (choice == k).nonzero().flatten()  # (n,): none for a LoRA that nobody wants\n        if len(rows):",
        "        rows = torch.where(choice == k)[0]\n        if (choice == k).any():",
    ),
    Right(
        "answer_each",
        "in place on its own result",
        "y = y.index_add(0, rows, s * x[rows] @ A.T @ B.T)",
        "y[rows] += s * (x[rows] @ A.T) @ B.T",
    ),
    Right(
        "answer_each",
        "those present",
        "    for k, (A, B, s) in enumerate(loras):",
        "    for k in set(choice.tolist()) - {-1}:\n        A, B, s = loras[k]",
    ),
    Right(
        "mended_merge",
        "new layers by hand",
        None,
        """@torch.no_grad()
def mended_merge(model):
    merged, known = copy.deepcopy(model), {}

    def plain(layer):
        if layer not in known:
            known[layer] = nn.Linear(layer.base.in_features, layer.base.out_features, bias=layer.base.bias is not None)
            known[layer].to(layer.base.weight.dtype)
            known[layer].weight.copy_(layer.base.weight + layer.scaling * layer.lora_B @ layer.lora_A)
            if layer.base.bias is not None:
                known[layer].bias.copy_(layer.base.bias)
        return known[layer]

    for i, step in enumerate(list(merged.steps)):
        merged.steps[i] = plain(step)
    merged.head = plain(merged.head)
    return merged
""",
    ),
    Right(
        "mended_merge",
        "untied, then in place",
        None,
        """def mended_merge(model):
    merged = copy.deepcopy(model)
    merged.head.base.weight = nn.Parameter(merged.head.base.weight.detach().clone())
    for layer in {*merged.steps, merged.head}:
        layer.base.weight.data += layer.scaling * layer.lora_B.data @ layer.lora_A.data
    merged.steps = nn.ModuleList(step.base for step in merged.steps)
    merged.head = merged.head.base
    return merged
""",
    ),
    Right(
        "mended_merge",
        "by index",
        "    merged.steps = nn.ModuleList(made[id(step)] for step in merged.steps)\n",
        "    for i, step in enumerate(list(merged.steps)):\n        merged.steps[i] = made[id(step)]\n",
    ),
    Right(
        "answer_each",
        "tokens as columns",
        "s * x[rows] @ A.T @ B.T)",
        "(s * B @ (A @ x[rows].T)).T)",
    ),
    Right(
        "answer_each",
        "einsum of three",
        "s * x[rows] @ A.T @ B.T)",
        's * torch.einsum("ni,ri,or->no", x[rows], A, B))',
    ),
    Right(
        "answer_each",
        "one token as a vector",
        "(choice == k).nonzero().flatten()  # (n,): none for a LoRA that nobody wants\n        if len(rows):\n            y = y.index_add(0, rows, s * x[rows] @ A.T @ B.T)",
        "(choice == k).nonzero().squeeze()\n        if rows.numel():\n            y[rows] = y[rows] + s * (x[rows] @ A.T) @ B.T",
    ),
    Right(
        "fill_in_front",
        "rows turned round and filled behind, fillings that see all",
        None,
        """def fill_in_front(base, prompts, texts):
    from torch.nn.utils.rnn import pad_sequence

    rows = [torch.cat([prompt, base.wte(text)]) for prompt, text in zip(prompts, texts)]
    rows = [row + base.wpe.weight[: len(row)] for row in rows]
    vectors = pad_sequence([row.flip(0) for row in rows], batch_first=True, padding_value=7.0).flip(1)
    there = pad_sequence([torch.ones(len(row)).bool() for row in rows], batch_first=True, padding_side="left")
    S = there.size(1)
    mask = torch.ones(S, S).tril().bool() & there[:, None] | ~there[:, :, None]
    return vectors, mask[:, None]
""",
    ),
    Right(
        "following_lora",
        "a buffer that is not saved",
        "        self.original = None  # the weight, while the update is in it\n",
        '        self.register_buffer("original", None, persistent=False)\n',
    ),
    Right(
        "answer_each",
        "sorted into segments, a bincount long",
        None,
        """def answer_each(base, loras, x, choice):
    order = choice.argsort()
    counts = torch.bincount(choice + 1, minlength=len(loras) + 1).tolist()
    segments = x[order].split(counts)
    paths = [x.new_zeros(counts[0], base.out_features)]
    for segment, (A, B, s) in zip(segments[1:], loras):
        paths.append(s * segment @ A.T @ B.T if len(segment) else x.new_zeros(0, base.out_features))
    return base(x) + torch.cat(paths)[order.argsort()]
""",
    ),
    Right(
        "mended_merge",
        "remembered within the call",
        None,
        """import functools


def mended_merge(model):
    copied = copy.deepcopy(model)

    @functools.cache
    def folded(layer):
        return layer.merged()

    copied.steps = nn.ModuleList(map(folded, copied.steps))
    copied.head = folded(copied.head)
    return copied
""",
    ),
]

"""Wrong answers that students give to the exercises of lesson 15."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_change", "north's rank alone", "swap = 8 + 24", "swap = 2 * 8", "north's rank alone"),
    Wrong("predict_change", "south's rank twice", "swap = 8 + 24", "swap = 2 * 24", "each with its own rank"),
    Wrong("predict_change", "north not taken out", "swap = 8 + 24", "swap = 24", "taken out, too"),
    Wrong("predict_change", "the originals as a swap", "fresh = 24", "fresh = 32", "overwritten by the copy"),
    Wrong("predict_change", "the originals for nothing", "fresh = 24", "fresh = 0", "south's product is not"),
    Wrong("predict_change", "A alone", "24 * (4096 + 12_288)", "24 * 4096", "A alone"),
    Wrong("predict_change", "square", "24 * (4096 + 12_288)", "24 * 2 * 4096", "only one side"),
    Wrong("predict_change", "each at its own rank", "path = 24 *", "path = 8 *", "go through the zeros"),
    Wrong("predict_change", "through both", "path = 24 *", "path = 32 *", "not through both"),
    Wrong("predict_change", "product formed", "(4096 + 12_288)", "(4096 * 12_288)", "never does"),
    Wrong("predict_change", "half the width", "even = 24 * 4096 * 12_288 // path", "even = 2048", "square matrix"),
    Wrong("predict_change", "merging as tokens", "24 * 4096 * 12_288 // path", "24", "much cheaper"),
    Wrong(
        "predict_change",
        "built",
        "swap = 8 + 24",
        "swap = 32 + nn.Linear(1, 1, bias=False).weight.numel() - 1",
        "calculate",
    ),
    Wrong(
        "predict_change",
        "three numbers",
        "return swap, fresh, path, even",
        "return swap, fresh, path",
        "return 4 numbers",
    ),
    Wrong(
        "fill_in_front",
        "filling behind",
        "torch.cat([filling, virtual, real])",
        "torch.cat([virtual, real, filling])",
        "stands behind",
    ),
    Wrong(
        "fill_in_front",
        "text before the prompt",
        "[filling, virtual, real]",
        "[filling, real, virtual]",
        "text stands before",
    ),
    Wrong("fill_in_front", "text at position 0", "start=p)[0]", "start=0)[0]", "begin at 0"),
    Wrong(
        "fill_in_front",
        "prompt without positions",
        "prompt + base.wpe.weight[:p]",
        "prompt",
        "the prompt has no position",
    ),
    Wrong(
        "fill_in_front",
        "text without positions",
        "base.embed(text[None], start=p)[0]",
        "base.wte(text)",
        "no position embeddings",
    ),
    Wrong(
        "fill_in_front",
        "columns for positions",
        None,
        """def fill_in_front(base, prompts, texts):
    lengths = [len(p) + len(t) for p, t in zip(prompts, texts)]
    S = max(lengths)
    rows = [
        F.pad(torch.cat([p, base.wte(t)]), (0, 0, S - n, 0)) + base.wpe.weight[:S]
        for p, t, n in zip(prompts, texts, lengths)
    ]
    columns = torch.arange(S)
    real = columns >= S - torch.tensor(lengths)[:, None, None, None]
    return torch.stack(rows), (columns <= columns[:, None]) & real | torch.eye(S, dtype=torch.bool)
""",
        "counted from the first column",
    ),
    Wrong("fill_in_front", "filling sees nothing", "past & is_real | itself", "past & is_real", "softmax is nan"),
    Wrong(
        "fill_in_front", "filling seen", "past & is_real | itself", "(past & (is_real | True)) | itself", "sees filling"
    ),
    Wrong("fill_in_front", "not causal", "past & is_real | itself", "(past | True) & is_real | itself", "behind it"),
    Wrong("fill_in_front", "inside out", "past & is_real | itself", "~(past & is_real | itself)", "inside out"),
    Wrong("fill_in_front", "a filling too many", ">= S - torch", "> S - torch", "does not see all before it"),
    Wrong("fill_in_front", "one mask for all", "past & is_real | itself", "(past & is_real | itself)[:1]", "of shape"),
    Wrong(
        "fill_in_front",
        "minus infinity for the mask",
        "past & is_real | itself",
        "(past & is_real | itself).float()",
        "of bool",
    ),
    Wrong(
        "fill_in_front",
        "nan for filling",
        "real.new_zeros(S - n, real.size(1))",
        "real.new_full((S - n, real.size(1)), torch.nan)",
        "finite",
    ),
    Wrong("fill_in_front", "detached", "prompt + base.wpe", "prompt.detach() + base.wpe", "no gradient"),
    Wrong(
        "fill_in_front", "single precision", "torch.stack(rows), past", "torch.stack(rows).float(), past", "is float32"
    ),
    Wrong(
        "fill_in_front",
        "prompts changed",
        "    rows = []\n",
        "    rows = []\n    prompts[0] = prompts[0] * 1.0\n",
        "was changed",
    ),
    Wrong(
        "fill_in_front",
        "sorted",
        "    S = max(lengths)\n",
        "    S = max(lengths)\n    texts.sort(key=len)\n",
        "was changed",
    ),
    Wrong(
        "following_lora",
        "eval instead of train",
        None,
        """class FollowingLoRA(nn.Module):
    def __init__(self, base, rank, scaling):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.scaling = scaling
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.original = None

    def eval(self):
        if self.original is None:
            self.original = self.base.weight.clone()
            self.base.weight.data += self.scaling * self.lora_B.data @ self.lora_A.data
        return super().eval()

    def forward(self, x):
        if self.original is not None:
            return self.base(x)
        return self.base(x) + self.scaling * x @ self.lora_A.T @ self.lora_B.T
""",
        "never by their own eval()",
    ),
    Wrong(
        "following_lora",
        "subtracted",
        "self.base.weight.copy_(self.original)  #",
        "self.base.weight -= self.scaling * self.lora_B @ self.lora_A  #",
        "rounding is left",
    ),
    Wrong("following_lora", "merged twice", "if not mode and self.original is None:", "if not mode:", "once more"),
    Wrong("following_lora", "returns nothing", "return super().train(mode)", "super().train(mode)", "returns self"),
    Wrong(
        "following_lora",
        "the mode of itself alone",
        "return super().train(mode)  #",
        "self.training = mode\n        return self  #",
        "leaves the layer, or what is in it",
    ),
    Wrong("following_lora", "no mode", "return super().train(mode)  #", "return self  #", "leaves the layer"),
    Wrong("following_lora", "a reference kept", "self.base.weight.clone()", "self.base.weight.detach()", "still in"),
    Wrong(
        "following_lora",
        "scale missing",
        "self.base.weight += self.scaling * self.lora_B",
        "self.base.weight += self.lora_B",
        "scale is missing",
    ),
    Wrong(
        "following_lora",
        "taken away",
        "self.base.weight += self.scaling",
        "self.base.weight -= self.scaling",
        "taken away",
    ),
    Wrong(
        "following_lora", "transposed", "self.lora_B @ self.lora_A\n", "(self.lora_A.T @ self.lora_B.T)\n", "transposed"
    ),
    Wrong(
        "following_lora",
        "another tensor",
        "self.base.weight += self.scaling * self.lora_B @ self.lora_A",
        "self.base.weight = nn.Parameter(self.base.weight + self.scaling * self.lora_B @ self.lora_A, requires_grad=False)",
        "in place",
    ),
    Wrong(
        "following_lora",
        "recorded",
        "self.base.weight += self.scaling * self.lora_B @ self.lora_A",
        "with torch.enable_grad():\n                    self.base.weight.add_(self.scaling * self.lora_B @ self.lora_A)",
        "history",
    ),
    Wrong(
        "following_lora",
        "kept as a parameter",
        "self.original = self.base.weight.clone()",
        "self.original = nn.Parameter(self.base.weight.clone(), requires_grad=False)",
        "must not be saved",
    ),
    Wrong(
        "following_lora",
        "counted twice",
        "        if self.original is not None:\n            return self.base(x)\n",
        "",
        "counts twice",
    ),
    Wrong(
        "following_lora",
        "the path subtracted again",
        "            return self.base(x)\n",
        "            u = self.scaling * self.lora_B @ self.lora_A\n            return F.linear(x, self.base.weight - u + u, self.base.bias)\n",
        "products of matrices",
    ),
    Wrong(
        "following_lora",
        "the first weight kept",
        None,
        """class FollowingLoRA(nn.Module):
    def __init__(self, base, rank, scaling):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.first = base.weight.detach().clone()
        self.scaling = scaling
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    @torch.no_grad()
    def train(self, mode=True):
        if self.training and not mode:
            self.base.weight += self.scaling * self.lora_B @ self.lora_A
        if mode and not self.training:
            self.base.weight.copy_(self.first)
        return super().train(mode)

    def forward(self, x):
        if not self.training:
            return self.base(x)
        return self.base(x) + self.scaling * x @ self.lora_A.T @ self.lora_B.T
""",
        "the layer was made with",
    ),
    Wrong("following_lora", "scale in forward missing", "self.scaling * x @", "x @", "scale is missing"),
    Wrong("following_lora", "detached", "x @ self.lora_A.T @", "x @ self.lora_A.detach().T @", "no gradient"),
    Wrong(
        "following_lora",
        "trains the weight",
        "                self.original = None\n        return",
        "                self.original = None\n                self.base.weight.requires_grad_()\n        return",
        "or trains",
    ),
    Wrong(
        "answer_each",
        "-1 is the last",
        None,
        """def answer_each(base, loras, x, choice):
    y = base(x)
    rows = []
    for n, k in enumerate(choice.tolist()):
        A, B, s = loras[k]
        rows.append(y[n] + s * x[n] @ A.T @ B.T)
    return torch.stack(rows)
""",
        "-1 is the last",
    ),
    Wrong(
        "answer_each",
        "order of the LoRAs",
        None,
        """def answer_each(base, loras, x, choice):
    y, parts = base(x), []
    for k in range(-1, len(loras)):
        rows = choice == k
        part = y[rows]
        if k >= 0 and rows.any():
            A, B, s = loras[k]
            part = part + s * x[rows] @ A.T @ B.T
        parts.append(part)
    return torch.cat(parts)
""",
        "order of the LoRAs",
    ),
    Wrong(
        "answer_each",
        "place among those present",
        "rows = (choice == k).nonzero().flatten()",
        "present = choice[choice >= 0].unique()\n        rows = (choice == (present[k] if k < len(present) else -9)).nonzero().flatten()",
        "by its place",
    ),
    Wrong(
        "answer_each",
        "place with -1 among them",
        "rows = (choice == k).nonzero().flatten()",
        "present = choice.unique()\n        rows = (choice == (present[k] if k < len(present) else -9)).nonzero().flatten()",
        "-1 among them",
    ),
    Wrong(
        "answer_each",
        "the first scaling",
        "for k, (A, B, s) in enumerate(loras):",
        "s = loras[0][2]\n    for k, (A, B, _) in enumerate(loras):",
        "as the first one",
    ),
    Wrong("answer_each", "no scaling", "s * x[rows]", "x[rows]", "scaling is missing"),
    Wrong("answer_each", "base alone", "    return y\n", "    return base(x)\n", "the base alone"),
    Wrong(
        "answer_each",
        "all tokens through all",
        "        if len(rows):\n            y = y.index_add(0, rows, s * x[rows] @ A.T @ B.T)",
        "        if len(rows):\n            y = y + (choice == k)[:, None] * (s * x @ A.T @ B.T)",
        "tokens go through LoRAs",
    ),
    Wrong(
        "answer_each",
        "unused computed",
        "        if len(rows):\n            y = y.index_add(0, rows, s * x[rows] @ A.T @ B.T)",
        "        y = y + (choice == k)[:, None] * (s * x @ A.T @ B.T)",
        "no token wants",
    ),
    Wrong(
        "answer_each",
        "token by token",
        None,
        """def answer_each(base, loras, x, choice):
    rows = []
    for row, k in zip(x, choice.tolist()):
        y = base(row[None])
        if k >= 0:
            A, B, s = loras[k]
            y = y + s * row[None] @ A.T @ B.T
        rows.append(y)
    return torch.cat(rows)
""",
        "products of matrices",
    ),
    Wrong(
        "answer_each",
        "base again for each",
        "y.index_add(0, rows, s * x[rows] @ A.T @ B.T)",
        "y.index_copy(0, rows, base(x[rows]) + s * x[rows] @ A.T @ B.T)",
        "products of matrices",
    ),
    Wrong("answer_each", "x detached", "s * x[rows] @", "s * x[rows].detach() @", "gradient of x"),
    Wrong("answer_each", "B detached", "@ A.T @ B.T", "@ A.T @ B.detach().T", "no gradient reaches B"),
    Wrong(
        "answer_each",
        "choice changed",
        "    y = base(x)  #",
        "    choice.clamp_(min=0)\n    y = base(x)  #",
        "choice was changed",
    ),
    Wrong(
        "answer_each",
        "single precision",
        "s * x[rows] @ A.T @ B.T)",
        "(s * x[rows] @ A.T @ B.T).float().to(y.dtype))",
        "nearly right",
    ),
    Wrong(
        "answer_each",
        "the last LoRA for none",
        "enumerate(loras):",
        "enumerate(loras, start=-1):",
        "what the tokens get",
    ),
    Wrong("mended_merge", "still broken", None, "mended_merge = broken_merge\n", "table of embeddings"),
    Wrong(
        "mended_merge",
        "the head mended alone",
        None,
        """def mended_merge(model):
    merged = copy.deepcopy(model)
    merged.head = merged.head.merged()
    for i, step in enumerate(merged.steps):
        step.base.weight.data += step.scaling * step.lora_B.data @ step.lora_A.data
        merged.steps[i] = step.base
    return merged
""",
        "added each time",
    ),
    Wrong(
        "mended_merge",
        "the steps mended alone",
        "merged.head = merged.head.merged()",
        "head = merged.head\n    head.base.weight.data += head.scaling * head.lora_B.data @ head.lora_A.data\n    merged.head = head.base",
        "one tensor",
    ),
    Wrong(
        "mended_merge",
        "a copy each place",
        "made[id(step)] for step",
        "step.merged() for step",
        "one module at the places",
    ),
    Wrong(
        "mended_merge",
        "head without LoRA",
        "merged.head.merged()",
        "nn.Linear(1, 1)\n    merged.head.weight = nn.Parameter(model.table.weight.detach().clone())",
        "the head is merged without",
    ),
    Wrong(
        "mended_merge",
        "head tied again",
        "merged.head = merged.head.merged()",
        "merged.head = merged.head.merged()\n    merged.table.weight = merged.head.weight",
        "one tensor",
    ),
    Wrong("mended_merge", "no copy", "copy.deepcopy(model)", "model", "was changed"),
    Wrong("mended_merge", "wrapped still", "    merged.head = merged.head.merged()\n", "", "plain nn.Linear"),
    Wrong(
        "mended_merge",
        "the step's base",
        "step.merged() for step in merged.steps}",
        "step.base for step in merged.steps}",
        "without its LoRA",
    ),
    Wrong(
        "mended_merge",
        "the lesson's merge",
        None,
        "from minitransformer.methods.lora import merge_lora\n\n\ndef mended_merge(model):\n    return merge_lora(copy.deepcopy(model))\n",
        "plain nn.Linear",
    ),
    Wrong(
        "mended_merge",
        "two places written in",
        "nn.ModuleList(made[id(step)] for step in merged.steps)",
        "nn.ModuleList([next(iter(made.values()))] * 2)",
        "steps, and the model",
    ),
    Wrong(
        "mended_merge",
        "weights shared",
        "copy.deepcopy(model)",
        "copy.copy(model)\n    merged._modules = dict(model._modules)",
        "shares",
    ),
    Wrong(
        "fill_in_front",
        "zero taken for filling",
        "is_real = columns >= S - torch.tensor(lengths)[:, None, None, None]",
        "is_real = (torch.stack(rows) != 0).any(dim=-1)[:, None, None]",
        "does not see all before it",
    ),
    Wrong(
        "following_lora",
        "returns nothing when it merges",
        "return super().train(mode)  #",
        "super().train(mode)\n        return self if mode else None  #",
        "train(False) returns self",
    ),
    Wrong(
        "following_lora",
        "merged in single precision",
        "self.scaling * self.lora_B @ self.lora_A\n",
        "(self.scaling * self.lora_B.float() @ self.lora_A.float())\n",
        "nearly right",
    ),
    Wrong(
        "following_lora",
        "a path of single precision",
        "self.scaling * x @ self.lora_A.T @ self.lora_B.T",
        "(self.scaling * x @ self.lora_A.T @ self.lora_B.T).float().to(x.dtype)",
        "nearly right",
    ),
    Wrong(
        "answer_each",
        "all tokens through all, in one product of three",
        "        if len(rows):\n            y = y.index_add(0, rows, s * x[rows] @ A.T @ B.T)",
        "        if len(rows):\n            path = torch.linalg.multi_dot([x, A.T, B.T])\n            y = torch.where((choice == k)[:, None], y + s * path, y)",
        "tokens go through LoRAs",
    ),
    Wrong(
        "answer_each",
        "vector by vector",
        None,
        """def answer_each(base, loras, x, choice):
    rows = list(base(x))
    for n, k in enumerate(choice.tolist()):
        if k >= 0:
            A, B, s = loras[k]
            rows[n] = rows[n] + s * B @ (A @ x[n])
    return torch.stack(rows)
""",
        "products of matrices",
    ),
    Wrong(
        "answer_each",
        "own matrices gathered for each token",
        None,
        """def answer_each(base, loras, x, choice):
    y, most = base(x), max(len(A) for A, _, _ in loras)
    rows = (choice >= 0).nonzero().flatten()
    if not len(rows):
        return y
    As = torch.stack([F.pad(A, (0, 0, 0, most - len(A))) for A, _, _ in loras])[choice[rows]]
    Bs = torch.stack([F.pad(s * B, (0, most - len(A))) for A, B, s in loras])[choice[rows]]
    return y.index_add(0, rows, (Bs @ (As @ x[rows][..., None]))[..., 0])
""",
        "multiplications",
    ),
    Wrong(
        "mended_merge",
        "a bias where there was none",
        None,
        """@torch.no_grad()
def mended_merge(model):
    def plain(layer):
        new = nn.Linear(layer.base.in_features, layer.base.out_features).to(layer.base.weight.dtype)
        new.weight.copy_(layer.merged_weight())
        new.bias.copy_(0 if layer.base.bias is None else layer.base.bias)
        return new

    merged, made = copy.deepcopy(model), {step: plain(step) for step in model.steps}
    merged.steps, merged.head = nn.ModuleList(made[step] for step in model.steps), plain(model.head)
    return merged
""",
        "weights and biases",
    ),
    Wrong(
        "mended_merge",
        "the LoRAs kept",
        "    return merged\n",
        "    merged.spare = copy.deepcopy(model.steps)\n    return merged\n",
        "weights and biases",
    ),
    Wrong(
        "mended_merge",
        "the head in single precision",
        "merged.head.merged()",
        "merged.head.merged().float().to(model.table.weight.dtype)",
        "nearly right",
    ),
    Wrong(
        "mended_merge",
        "steps in single precision",
        "id(step): step.merged()",
        "id(step): step.merged().float().to(model.table.weight.dtype)",
        "nearly right",
    ),
    Wrong(
        "following_lora",
        "A starts at zero",
        "torch.randn(rank, base.in_features)",
        "torch.zeros(rank, base.in_features)",
        "leave __init__",
    ),
    Wrong(
        "following_lora",
        "one place for all layers",
        """self.original = self.base.weight.clone()  # a plain attribute is not saved
                self.base.weight += self.scaling * self.lora_B @ self.lora_A
            if mode and self.original is not None:
                self.base.weight.copy_(self.original)""",
        """FollowingLoRA.kept, self.original = self.base.weight.clone(), True
                self.base.weight += self.scaling * self.lora_B @ self.lora_A
            if mode and self.original is not None:
                self.base.weight.copy_(FollowingLoRA.kept)""",
        "another layer",
    ),
    Wrong(
        "following_lora",
        "a bias in any case",
        "        if self.original is not None:\n            return self.base(x)\n",
        "        if self.original is not None:\n            return x @ self.base.weight.T + self.base.bias\n",
        "may have no bias",
    ),
    Wrong(
        "answer_each",
        "the last LoRA left out",
        "in enumerate(loras):",
        "in enumerate(loras[:-1]):",
        "the last LoRA of the list is left out",
    ),
    Wrong(
        "answer_each",
        "-1 thought to be there always",
        "    for k, (A, B, s) in enumerate(loras):",
        "    for k in choice.unique()[1:].tolist():\n        A, B, s = loras[k]",
        "the first LoRA that is present is left out",
    ),
    Wrong("answer_each", "a bias in any case", "base(x)", "x @ base.weight.T + base.bias", "may have no bias"),
    Wrong(
        "mended_merge",
        "a default that remembers earlier calls",
        None,
        """def mended_merge(model, made={}):
    merged = copy.deepcopy(model)
    for i, step in enumerate(model.steps):
        if step not in made:
            made[step] = step.merged()
        merged.steps[i] = made[step]
    merged.head = merged.head.merged()
    return merged
""",
        "earlier call",
    ),
]

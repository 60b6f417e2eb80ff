"""Right answers in other styles to the exercises of lesson 02."""

from right_answers.right import Right

RIGHT = [
    Right(
        "predict_three",
        "a list",
        "return two_a_block, one_a_block, with_norms",
        "return [two_a_block, one_a_block, with_norms]",
    ),
    Right("predict_three", "halved to a whole float", "one_a_block = blocks * one", "one_a_block = two_a_block / 2"),
    Right(
        "predict_three",
        "a tensor",
        "return two_a_block, one_a_block, with_norms",
        "return torch.tensor([two_a_block, one_a_block, with_norms])",
    ),
    Right("predict_moved", "lists", "return one, two", "return list(one), sorted(two)"),
    Right("predict_moved", "a list of sets", "return one, two", "return [one, two]"),
    Right("predict_moved", "tuples", "return one, two", "return tuple(one), frozenset(two)"),
    Right(
        "attach_pfeiffer",
        "freeze by hand",
        None,
        """
def attach_pfeiffer(model, reduction, leave_out=()):
    for parameter in model.parameters():
        parameter.requires_grad = False
    width = model.config.n_embd
    for i in range(len(model.blocks)):
        if i in leave_out:
            continue
        old = model.blocks[i].mlp
        model.blocks[i].mlp = AdaptedSublayer(old, Adapter(width, int(width / reduction)).to(model.wte.weight.dtype))
    return model
""",
    ),
    Right(
        "attach_pfeiffer",
        "numbers to keep",
        "for number, block in enumerate(model.blocks):\n        if number not in leave_out:",
        "for number in set(range(len(model.blocks))) - set(leave_out):\n            block = model.blocks[number]",
    ),
    Right(
        "attach_pfeiffer",
        "attached, then frozen by name",
        None,
        """
def attach_pfeiffer(model, reduction, leave_out=()):
    d = model.config.n_embd
    for number, block in enumerate(model.blocks):
        if number not in leave_out:
            block.mlp = AdaptedSublayer(block.mlp, Adapter(d, d // reduction).to(model.wte.weight))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".adapter." in name)
    return model
""",
    ),
    Right(
        "join_adapters",
        "in slices",
        None,
        """
def join_adapters(a, b, w):
    m, d = a.down_proj.weight.shape
    joined = Adapter(d, m + b.down_proj.out_features).to(a.down_proj.weight.dtype)
    down, up = joined.down_proj, joined.up_proj
    down.weight.data[:m], down.weight.data[m:] = a.down_proj.weight.data, b.down_proj.weight.data
    down.bias.data[:m], down.bias.data[m:] = a.down_proj.bias.data, b.down_proj.bias.data
    up.weight.data[:, :m], up.weight.data[:, m:] = w * a.up_proj.weight.data, (1 - w) * b.up_proj.weight.data
    up.bias.data = torch.lerp(b.up_proj.bias.data, a.up_proj.bias.data, w)
    return joined
""",
    ),
    Right(
        "join_adapters",
        "b first",
        None,
        """
def join_adapters(a, b, w):
    d = a.down_proj.in_features
    joined = Adapter(d, a.down_proj.out_features + b.down_proj.out_features).to(a.down_proj.weight)
    with torch.no_grad():
        joined.down_proj.weight[:] = torch.cat([b.down_proj.weight, a.down_proj.weight])
        joined.down_proj.bias[:] = torch.cat([b.down_proj.bias, a.down_proj.bias])
        joined.up_proj.weight[:] = torch.cat([(1 - w) * b.up_proj.weight, w * a.up_proj.weight], dim=1)
        joined.up_proj.bias[:] = w * a.up_proj.bias + (1 - w) * b.up_proj.bias
    return joined
""",
    ),
    Right(
        "join_adapters",
        "new parameters",
        None,
        """
def join_adapters(a, b, w):
    joined = Adapter(a.down_proj.in_features, len(a.down_proj.bias) + len(b.down_proj.bias))
    for name, side in (("weight", 1), ("bias", None)):
        old = [getattr(x.down_proj, name).detach() for x in (a, b)]
        setattr(joined.down_proj, name, nn.Parameter(torch.cat(old)))
        up = [f * getattr(x.up_proj, name).detach() for f, x in ((w, a), (1 - w, b))]
        setattr(joined.up_proj, name, nn.Parameter(torch.cat(up, dim=1) if side else up[0] + up[1]))
    return joined
""",
    ),
    Right(
        "adapter_fusion",
        "einsum",
        "        q = self.query(x).unsqueeze(-2)  # (B, T, 1, d)\n        scores = (q * self.key(z)).sum(dim=-1)  # (B, T, N)",
        '        scores = torch.einsum("btd,btnd->btn", self.query(x), self.key(z))',
    ),
    Right(
        "adapter_fusion",
        "N in front",
        None,
        """
class AdapterFusion(nn.Module):
    def __init__(self, adapters, n_embd):
        super().__init__()
        self.adapters = nn.ModuleList(adapters)
        for parameter in self.adapters.parameters():
            parameter.requires_grad = False
        self.query, self.key, self.value = (nn.Linear(n_embd, n_embd, bias=False) for _ in range(3))
        self.value.weight.data = torch.eye(n_embd)

    def forward(self, x):
        z = torch.stack([adapter(x) for adapter in self.adapters])
        s = torch.softmax((self.query(x) * self.key(z)).sum(-1, keepdim=True), dim=0)
        return (s * self.value(z)).sum(dim=0)
""",
    ),
    Right(
        "adapter_fusion",
        "mixed before the value",
        "(weights.unsqueeze(-1) * self.value(z)).sum(dim=-2)",
        "self.value((weights.unsqueeze(-1) * z).sum(dim=-2))",
    ),
    Right(
        "attach_houlsby",
        "freeze by name at the end",
        None,
        """
def attach_houlsby(model, bottleneck):
    d = model.config.n_embd
    for block in model.blocks:
        for place in ("attn", "mlp"):
            setattr(block, place, AdaptedSublayer(getattr(block, place), Adapter(d, bottleneck).to(model.wte.weight)))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".adapter." in name or "ln_" in name)
    return model
""",
    ),
    Right(
        "attach_houlsby",
        "norms one by one",
        "    for module in model.modules():\n        if isinstance(module, nn.LayerNorm):\n            module.requires_grad_(True)\n",
        "    for block in model.blocks:\n        block.ln_1.requires_grad_(True)\n        block.ln_2.requires_grad_(True)\n    model.ln_f.requires_grad_(True)\n",
    ),
    Right(
        "attach_houlsby",
        "a list of adapters",
        "Adapter(d, bottleneck).to(model.wte.weight))\n        block.mlp",
        "[Adapter(d, bottleneck)][0].to(model.wte.weight.dtype))\n        block.mlp",
    ),
    Right(
        "predict_moved",
        "keys of dictionaries",
        "return one, two",
        "return dict.fromkeys(one).keys(), dict.fromkeys(two)",
    ),
    Right(
        "attach_houlsby",
        "down at zero, up at random",
        "    return model",
        "    for module in model.modules():\n"
        "        if isinstance(module, Adapter):\n"
        "            nn.init.zeros_(module.down_proj.weight)\n"
        "            nn.init.zeros_(module.down_proj.bias)\n"
        "            nn.init.normal_(module.up_proj.weight, std=0.1)\n    return model",
    ),
    Right(
        "adapter_fusion",
        "adapter by adapter",
        None,
        """
class AdapterFusion(nn.Module):
    def __init__(self, adapters, n_embd):
        super().__init__()
        self.adapters = nn.ModuleList(adapters)
        for parameter in self.adapters.parameters():
            parameter.requires_grad = False
        self.query, self.key, self.value = (nn.Linear(n_embd, n_embd, False) for _ in range(3))
        with torch.no_grad():
            self.value.weight.copy_(torch.eye(n_embd))

    def forward(self, x):
        zs, q = [adapter(x) for adapter in self.adapters], self.query(x)
        shares = torch.cat([(q * self.key(z)).sum(dim=-1, keepdim=True) for z in zs], dim=-1).softmax(dim=-1)
        return sum(shares[..., n : n + 1] * self.value(z) for n, z in enumerate(zs))
""",
    ),
]

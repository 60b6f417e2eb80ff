"""Wrong answers that students give to the exercises of lesson 02."""

from wrong_answers.wrong import Wrong

ONE = 'one = {"up_proj.weight", "up_proj.bias"}'
LOOP = "    for number, block in enumerate(model.blocks):\n        if number not in leave_out:\n"
HOULSBY_LOOP = "    for block in model.blocks:\n"
FIRST = "AdaptedSublayer(block.attn, Adapter(d, bottleneck).to(model.wte.weight))"
SECOND = "AdaptedSublayer(block.mlp, Adapter(d, bottleneck).to(model.wte.weight))"

DOWN = "torch.cat([a.down_proj.weight, b.down_proj.weight])"
COPY_DOWN = (
    ")  # (m_a + m_b, d)\n"
    "        joined.down_proj.bias.copy_(torch.cat([a.down_proj.bias, b.down_proj.bias]))  # (m_a + m_b)\n"
    "        # Above it, each group is weighed. The weight of a Linear is (d_out, d_in): features are its columns.\n"
    "        up = "
)
UP = "torch.cat([w * a.up_proj.weight, (1 - w) * b.up_proj.weight], dim=1)"
COPY_UP = (
    "\n        joined.up_proj.weight.copy_(up)  # (d, m_a + m_b)\n"
    "        # Both biases land on the same d outputs: they add up, weighed.\n"
    "        bias = "
)
BIAS = "w * a.up_proj.bias + (1 - w) * b.up_proj.bias"

WRONG = [
    Wrong("predict_three", "biases forgotten", "2 * d * m + m + d", "2 * d * m", "forget the biases"),
    Wrong("predict_three", "bias down forgotten", "2 * d * m + m + d", "2 * d * m + d", "bias of the way down"),
    Wrong("predict_three", "bias up forgotten", "2 * d * m + m + d", "2 * d * m + m", "bias of the way up"),
    Wrong("predict_three", "bias up as wide as the bottleneck", "m + m + d", "m + m + m", "as wide as its output"),
    Wrong("predict_three", "one matrix", "2 * d * m + m + d", "d * m + m + d", "two matrices"),
    Wrong("predict_three", "one block", "two_a_block = 2 * blocks * one", "two_a_block = 2 * one", "one block"),
    Wrong(
        "predict_three",
        "one adapter a block",
        "two_a_block = 2 * blocks",
        "two_a_block = blocks",
        "that is one adapter a block",
    ),
    Wrong("predict_three", "Pfeiffer as Houlsby", "one_a_block = blocks", "one_a_block = 2 * blocks", "is half"),
    Wrong("predict_three", "norms forgotten", " + norms * 2 * d", "", "come on top"),
    Wrong("predict_three", "the last norm forgotten", "norms = 2 * blocks + 1", "norms = 2 * blocks", "ln_f"),
    Wrong("predict_three", "one norm a block", "norms = 2 * blocks + 1", "norms = blocks + 1", "two norms"),
    Wrong("predict_three", "norms without biases", "norms * 2 * d", "norms * d", "a weight and a bias"),
    Wrong("predict_three", "norms alone", "two_a_block + norms", "norms", "add the two"),
    Wrong(
        "predict_moved",
        "all move at once",
        ONE,
        'one = {"up_proj.weight", "up_proj.bias", "down_proj.weight", "down_proj.bias"}',
        "matrix of zeros",
    ),
    Wrong("predict_moved", "nothing moves", ONE, "one = set()", "the zero matrix itself"),
    Wrong(
        "predict_moved",
        "down first",
        ONE,
        'one = {"down_proj.weight", "down_proj.bias"}',
        "what does the gradient of the way down have to pass",
    ),
    Wrong(
        "predict_moved",
        "only the bias",
        ONE,
        'one = {"up_proj.bias"}',
        "go through the four and ask what their gradient has to pass,",
    ),
    Wrong(
        "predict_moved",
        "only the weight",
        ONE,
        'one = {"up_proj.weight"}',
        "go through the four and ask what their gradient has to pass,",
    ),
    Wrong("predict_moved", "down never", 'one | {"down_proj.weight", "down_proj.bias"}', "set(one)", "no longer zero"),
    Wrong(
        "predict_moved",
        "bias below forgotten",
        ', "down_proj.bias"',
        "",
        "once the gradient comes through, where does it stop",
    ),
    Wrong("predict_moved", "only the new ones", "one | {", "{", "stays moved"),
    Wrong(
        "attach_pfeiffer", "leave_out inverted", "number not in leave_out", "number in leave_out", "the other way round"
    ),
    Wrong(
        "attach_pfeiffer",
        "leave_out inverted unless empty",
        "number not in leave_out",
        "not leave_out or number in leave_out",
        "the other way round",
    ),
    Wrong("attach_pfeiffer", "leave_out ignored", "number not in leave_out", "True", "no effect"),
    Wrong("attach_pfeiffer", "blocks from one", "number not in", "number + 1 not in", "counted from 0"),
    Wrong(
        "attach_pfeiffer",
        "behind attention",
        "block.mlp = AdaptedSublayer(block.mlp",
        "block.attn = AdaptedSublayer(block.attn",
        "behind attention",
    ),
    Wrong("attach_pfeiffer", "reduction as bottleneck", "d // reduction", "reduction", "not the bottleneck"),
    Wrong(
        "attach_pfeiffer",
        "multiplied",
        "d // reduction",
        "d * reduction",
        "the bottleneck is not d multiplied by the reduction factor",
    ),
    Wrong("attach_pfeiffer", "inner width", "d // reduction", "model.config.n_inner // reduction", "inner width"),
    Wrong(
        "attach_pfeiffer",
        "one adapter for all",
        LOOP + "            adapter = Adapter(d, d // reduction)",
        "    adapter = Adapter(d, d // reduction)\n" + LOOP + "            pass",
        "share one adapter",
    ),
    Wrong("attach_pfeiffer", "base not frozen", "    freeze(model)", "    pass", "base is not frozen"),
    Wrong(
        "attach_pfeiffer",
        "left out blocks not frozen",
        "    freeze(model)  #",
        "    for number in set(range(len(model.blocks))) - set(leave_out):\n        freeze(model.blocks[number])  #",
        "base is not frozen",
    ),
    Wrong(
        "attach_pfeiffer",
        "frozen at the end",
        "    return model",
        "    freeze(model)\n    return model",
        "nothing trains",
    ),
    Wrong("attach_pfeiffer", "precision forgotten", "adapter.to(model.wte.weight)", "adapter", "precision of the base"),
    Wrong(
        "attach_pfeiffer",
        "base and adapter swapped",
        "AdaptedSublayer(block.mlp, adapter.to(model.wte.weight))",
        "AdaptedSublayer(adapter.to(model.wte.weight), block.mlp)",
        "swapped",
    ),
    Wrong("attach_pfeiffer", "return forgotten", "    return model", "    pass", "forget the return"),
    Wrong(
        "join_adapters",
        "weights swapped",
        "    with torch.no_grad():",
        "    w = 1 - w\n    with torch.no_grad():",
        "here w belongs to b, and 1 - w to a",
    ),
    Wrong(
        "join_adapters",
        "sum of both",
        UP + COPY_UP + BIAS,
        "torch.cat([a.up_proj.weight, b.up_proj.weight], dim=1)" + COPY_UP + "a.up_proj.bias + b.up_proj.bias",
        "that is the sum",
    ),
    Wrong(
        "join_adapters",
        "weight below the bend",
        DOWN + COPY_DOWN + UP,
        "torch.cat([w * a.down_proj.weight, (1 - w) * b.down_proj.weight])"
        + COPY_DOWN.replace("a.down_proj.bias, b", "w * a.down_proj.bias, (1 - w) * b")
        + "torch.cat([a.up_proj.weight, b.up_proj.weight], dim=1)",
        "below the bend",
    ),
    Wrong(
        "join_adapters",
        "bias not weighed",
        "w * a.up_proj.bias + (1 - w) * b.up_proj.bias",
        "a.up_proj.bias + b.up_proj.bias",
        "the last biases are added without their weights",
    ),
    Wrong(
        "join_adapters",
        "bias averaged",
        "w * a.up_proj.bias + (1 - w) * b.up_proj.bias",
        "(a.up_proj.bias + b.up_proj.bias) / 2",
        "are averaged",
    ),
    Wrong("join_adapters", "bias of a alone", " + (1 - w) * b.up_proj.bias", "", "that of a alone"),
    Wrong(
        "join_adapters",
        "bias of up forgotten",
        "        joined.up_proj.bias.copy_(bias)",
        "        pass",
        "the last biases are missing",
    ),
    Wrong(
        "join_adapters",
        "bias of down forgotten",
        "        joined.down_proj.bias.copy_(torch.cat([a.down_proj.bias, b.down_proj.bias]))",
        "        pass",
        "starts it at random",
    ),
    Wrong(
        "join_adapters",
        "matrix not weighed",
        "torch.cat([w * a.up_proj.weight, (1 - w) * b.up_proj.weight], dim=1)",
        "torch.cat([a.up_proj.weight, b.up_proj.weight], dim=1)",
        "only the last biases are weighed",
    ),
    Wrong(
        "join_adapters",
        "order above",
        "torch.cat([w * a.up_proj.weight, (1 - w) * b.up_proj.weight], dim=1)",
        "torch.cat([(1 - w) * b.up_proj.weight, w * a.up_proj.weight], dim=1)",
        "order differs",
    ),
    Wrong(
        "join_adapters",
        "order of the bias below",
        "torch.cat([a.down_proj.bias, b.down_proj.bias])",
        "torch.cat([b.down_proj.bias, a.down_proj.bias])",
        "another order than their weights",
    ),
    Wrong(
        "join_adapters",
        "w for both",
        UP + COPY_UP + BIAS,
        UP.replace("(1 - w)", "w") + COPY_UP + BIAS.replace("(1 - w)", "w"),
        "b does not count w",
    ),
    Wrong(
        "join_adapters",
        "a changed in place",
        "w * a.up_proj.weight",
        "a.up_proj.weight.mul_(w)",
        "a.up_proj.weight was changed in place",
    ),
    Wrong(
        "join_adapters",
        "absolute weight",
        "w * a.up_proj.weight",
        "abs(w) * a.up_proj.weight",
        "the new adapter gives for w = -0.7 is not right",
    ),
    Wrong(
        "adapter_fusion",
        "plain list",
        "nn.ModuleList(adapters).requires_grad_(False)",
        "[adapter.requires_grad_(False) for adapter in adapters]",
        "nn.ModuleList",
    ),
    Wrong("adapter_fusion", "adapters train", ".requires_grad_(False)", "", "not frozen"),
    Wrong("adapter_fusion", "value at random", "        nn.init.eye_(self.value.weight)\n", "", "identity matrix"),
    Wrong(
        "adapter_fusion",
        "query with a bias",
        "self.query = nn.Linear(n_embd, n_embd, bias=False)",
        "self.query = nn.Linear(n_embd, n_embd)",
        "has a bias",
    ),
    Wrong(
        "adapter_fusion",
        "softmax over tokens",
        "softmax(dim=-1)",
        "softmax(dim=1)",
        "the adapters, for each token alone?) is not right",
    ),
    Wrong(
        "adapter_fusion",
        "softmax over the batch",
        "softmax(dim=-1)",
        "softmax(dim=0)",
        "the adapters, for each token alone?) is not right",
    ),
    Wrong(
        "adapter_fusion", "no softmax", "scores.softmax(dim=-1)", "scores", "the scores must be positive and sum to one"
    ),
    Wrong("adapter_fusion", "sigmoid", "scores.softmax(dim=-1)", "scores.sigmoid()", "a sigmoid for each"),
    Wrong(
        "adapter_fusion",
        "scaled by the width",
        "scores.softmax",
        "(scores / x.size(-1) ** 0.5).softmax",
        "no 1/sqrt(d)",
    ),
    Wrong("adapter_fusion", "value forgotten", "self.value(z)", "z", "value is not used"),
    Wrong("adapter_fusion", "key forgotten", "self.key(z)", "z", "the keys are the adapters' outputs themselves"),
    Wrong("adapter_fusion", "query forgotten", "self.query(x)", "x", "the queries are x itself"),
    Wrong("adapter_fusion", "keys from x", "self.key(z)", "self.key(x).unsqueeze(-2)", "every adapter counts fully"),
    Wrong("adapter_fusion", "detour again", "return (", "return x + (", "x comes once too often"),
    Wrong("adapter_fusion", "return forgotten", "return (", "y = (", "forget the return"),
    Wrong(
        "attach_houlsby",
        "zero adapters still",
        HOULSBY_LOOP,
        "    Adapter = ZeroAdapter\n" + HOULSBY_LOOP,
        "both projections are zero",
    ),
    Wrong(
        "attach_houlsby",
        "shared still",
        FIRST + "\n        block.mlp = " + SECOND,
        "AdaptedSublayer(block.attn, Adapter(d, bottleneck).to(model.wte.weight))\n        block.mlp = AdaptedSublayer(block.mlp, block.attn.adapter)",
        "share one adapter still",
    ),
    Wrong("attach_houlsby", "blocks frozen only", "    freeze(model)\n", "    freeze(model.blocks)\n", "trains still"),
    Wrong("attach_houlsby", "nothing frozen", "    freeze(model)\n", "", "trains still"),
    Wrong(
        "attach_houlsby",
        "frozen at the end",
        "    for module in",
        "    freeze(model)\n    for module in",
        "adapters are frozen",
    ),
    Wrong("attach_houlsby", "norms frozen", "module.requires_grad_(True)", "pass", "layer norms are frozen"),
    Wrong(
        "attach_houlsby",
        "the last norm frozen",
        "in model.modules()",
        "in model.blocks.modules()",
        "ln_f is a layer norm",
    ),
    Wrong(
        "attach_houlsby",
        "norm weights alone",
        "module.requires_grad_(True)",
        "module.weight.requires_grad_(True)",
        "is frozen",
    ),
    Wrong(
        "attach_houlsby",
        "one adapter for the model",
        HOULSBY_LOOP,
        "    one = Adapter(d, bottleneck).to(model.wte.weight)\n"
        + HOULSBY_LOOP
        + "        block.attn, block.mlp = AdaptedSublayer(block.attn, one), AdaptedSublayer(block.mlp, one)\n        continue\n",
        "all places",
    ),
    Wrong(
        "adapter_fusion",
        "plain mean",
        "scores.softmax(dim=-1)",
        "scores.softmax(dim=-1) * 0 + 1 / 3",
        "the adapters, for each token alone?) is not right",
    ),
    Wrong(
        "adapter_fusion", "detour taken off", "self.value(z)", "self.value(z - x.unsqueeze(-2))", "detour is taken off"
    ),
    Wrong(
        "attach_pfeiffer",
        "a copy",
        "    freeze(model)",
        "    model = copy.deepcopy(model)\n    freeze(model)",
        "in place",
    ),
    Wrong(
        "attach_houlsby",
        "tiny instead of zero",
        "    for module in",
        "    for block in model.blocks:\n        nn.init.normal_(block.mlp.adapter.up_proj.weight, std=1e-3)\n    for module in",
        "two projections zero, with its bias?) is not right",
    ),
    Wrong(
        "attach_houlsby",
        "features alike",
        "    for module in",
        "    for block in model.blocks:\n        for parameter in block.mlp.adapter.down_proj.parameters():\n            nn.init.constant_(parameter, 0.1)\n    for module in",
        "the features of an adapter are alike",
    ),
    Wrong(
        "attach_houlsby",
        "one norm a block frozen",
        "    return model",
        "    freeze(model.blocks[0].ln_1)\n    return model",
        "does not train",
    ),
    # ---- as a reader's attempts showed
    Wrong(
        "predict_three",
        "asked the library",
        "    d, m, blocks",
        "    METHOD.count(GPTConfig(9, 9, 12, 12, 768), bottleneck=64)\n    d, m, blocks",
        "calculate",
    ),
    Wrong("predict_moved", "tried out", "    return one, two", "    Adapter(3, 2)\n    return one, two", "calculate"),
    Wrong("predict_moved", "one set", "    return one, two", "    return one", "return 2 things"),
    Wrong(
        "attach_pfeiffer",
        "the lesson's",
        "    d = model",
        "    attach_adapter(model)\n    d = model",
        "put the adapters in yourself",
    ),
    Wrong("attach_pfeiffer", "sizes written in", "d // reduction", "4", "the bottleneck is"),
    Wrong("attach_pfeiffer", "rounded up", "d // reduction", "-(-d // reduction)", "rounded down"),
    Wrong(
        "attach_pfeiffer",
        "way up at random",
        "AdaptedSublayer(block.mlp, adapter",
        "AdaptedSublayer(block.mlp, nn.init.normal_(adapter.up_proj.bias) is None or adapter",
        "do not start as the lesson's",
    ),
    Wrong(
        "attach_pfeiffer",
        "leave_out emptied",
        "    freeze(model)  #",
        "    leave_out.clear() if hasattr(leave_out, 'clear') else None\n    freeze(model)  #",
        "leave_out was changed",
    ),
    Wrong(
        "join_adapters",
        "sizes written in",
        "torch.cat([a.down_proj.bias, b.down_proj.bias])",
        "torch.cat([a.down_proj.bias, b.down_proj.bias])[:8].reshape(8)",
        "",
    ),
    Wrong("join_adapters", "frozen", "    return joined", "    return joined.requires_grad_(False)", "does not train"),
    Wrong(
        "join_adapters",
        "a bias shared",
        "    return joined",
        "    joined.up_proj.bias = a.up_proj.bias\n    return joined",
        "shares up_proj.bias",
    ),
    Wrong(
        "join_adapters",
        "a plain tensor",
        "    return joined",
        "    bias = joined.up_proj.bias.data\n    del joined.up_proj.bias\n    joined.up_proj.bias = bias\n    return joined",
        "no nn.Parameter",
    ),
    Wrong(
        "adapter_fusion",
        "query at zero",
        "nn.init.eye_(self.value.weight)",
        "nn.init.eye_(self.value.weight)\n        nn.init.zeros_(self.query.weight)",
        "starts at zero",
    ),
    Wrong(
        "adapter_fusion",
        "query tiny",
        "nn.init.eye_(self.value.weight)",
        "nn.init.eye_(self.value.weight)\n        nn.init.normal_(self.query.weight, std=1e-3)",
        "numbers of size",
    ),
    Wrong("adapter_fusion", "three adapters", "for adapter in self.adapters]", "for adapter in self.adapters[:3]]", ""),
    Wrong(
        "adapter_fusion",
        "scores under no_grad",
        "        weights = scores",
        "        scores = scores.detach()\n        weights = scores",
        "gradient",
    ),
    Wrong(
        "adapter_fusion", "adapters under no_grad", "[adapter(x) for", "[adapter(x).detach() for", "the gradient of x"
    ),
    Wrong(
        "adapter_fusion",
        "a copy of the adapters",
        "nn.ModuleList(adapters)",
        "nn.ModuleList(copy.deepcopy(list(adapters)))",
        "the very same",
    ),
    Wrong(
        "attach_houlsby",
        "the lesson's",
        "    d = model",
        "    attach_adapter(model)\n    d = model",
        "mend the code yourself",
    ),
    Wrong(
        "attach_houlsby",
        "width written in",
        "Adapter(d, bottleneck).to(model.wte.weight))\n        block.mlp",
        "Adapter(d, 5).to(model.wte.weight))\n        block.mlp",
        "",
    ),
    Wrong("attach_houlsby", "two blocks", "for block in model.blocks:", "for block in model.blocks[:2]:", ""),
    Wrong(
        "attach_pfeiffer",
        "down of ones",
        "            block.mlp = Adapted",
        "            nn.init.ones_(adapter.down_proj.weight)\n            block.mlp = Adapted",
        "numbers that are alike",
    ),
    Wrong(
        "attach_pfeiffer",
        "down too wide",
        "            block.mlp = Adapted",
        "            nn.init.normal_(adapter.down_proj.weight, std=50.0)\n            block.mlp = Adapted",
        "they should be between",
    ),
    Wrong(
        "attach_pfeiffer",
        "bias down at zero",
        "            block.mlp = Adapted",
        "            nn.init.zeros_(adapter.down_proj.bias)\n            block.mlp = Adapted",
        "do not start as the lesson's do",
    ),
    Wrong(
        "attach_pfeiffer",
        "one seed for all",
        "            block.mlp = Adapted",
        "            torch.manual_seed(0)\n            adapter = Adapter(d, d // reduction)\n            block.mlp = Adapted",
        "the same numbers each time",
    ),
    Wrong(
        "attach_pfeiffer",
        "the network copied",
        "            block.mlp = Adapted",
        "            block.mlp = copy.deepcopy(block.mlp)\n            block.mlp = Adapted",
        "itself and no copy",
    ),
    Wrong(
        "attach_pfeiffer",
        "copies of one adapter",
        LOOP + "            adapter = Adapter(d, d // reduction)",
        "    first = Adapter(d, d // reduction)\n" + LOOP + "            adapter = copy.deepcopy(first)",
        "draw each anew",
    ),
    Wrong("attach_pfeiffer", "rounded to the nearest", "d // reduction", "round(d / reduction)", "rounded down"),
    Wrong(
        "attach_pfeiffer",
        "the lesson's METHOD",
        None,
        """
def attach_pfeiffer(model, reduction, leave_out=()):
    return METHOD.attach(model, bottleneck=model.config.n_embd // reduction)
""",
        "attach_adapter does the work here",
    ),
    Wrong(
        "attach_pfeiffer",
        "a bias at the head",
        "    return model",
        "    model.lm_head.bias = nn.Parameter(model.wte.weight.new_zeros(model.config.vocab_size), requires_grad=False)\n"
        "    return model",
        "lm_head.bias is new",
    ),
    Wrong("join_adapters", "last bias of a in full", BIAS, "a.up_proj.bias", "of a alone, and in full"),
    Wrong(
        "join_adapters",
        "last biases crossed",
        BIAS,
        "(1 - w) * a.up_proj.bias + w * b.up_proj.bias",
        "each other's weights",
    ),
    Wrong(
        "join_adapters",
        "autograd left off",
        "    with torch.no_grad():\n",
        "    torch.set_grad_enabled(False)\n    if True:\n",
        "leaves autograd switched off",
    ),
    Wrong(
        "join_adapters",
        "forward put over",
        "    return joined",
        "    joined.forward = lambda x: w * a(x) + (1 - w) * b(x)\n    return joined",
        "another forward",
    ),
    Wrong(
        "adapter_fusion",
        "query and key tied",
        "self.key = nn.Linear(n_embd, n_embd, bias=False)",
        "self.key = self.query",
        "share one matrix",
    ),
    Wrong(
        "adapter_fusion",
        "weights of query and key tied",
        "        nn.init.eye_",
        "        self.key.weight = self.query.weight\n        nn.init.eye_",
        "share one matrix",
    ),
    Wrong(
        "adapter_fusion",
        "key a copy of query",
        "        nn.init.eye_",
        "        self.key.load_state_dict(self.query.state_dict())\n        nn.init.eye_",
        "start with the same numbers",
    ),
    Wrong(
        "adapter_fusion",
        "one layer too many",
        "        nn.init.eye_",
        "        self.out = nn.Linear(n_embd, n_embd)\n        nn.init.eye_",
        "is in none of the formulas",
    ),
    Wrong(
        "adapter_fusion",
        "value frozen",
        "        nn.init.eye_(self.value.weight)",
        "        nn.init.eye_(self.value.weight)\n        self.value.requires_grad_(False)",
        "self.value.weight does not train",
    ),
    Wrong(
        "attach_houlsby",
        "the lesson's METHOD",
        None,
        """
def attach_houlsby(model, bottleneck):
    METHOD.attach(model, bottleneck=bottleneck)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)
    return model
""",
        "attach_adapter does the work here",
    ),
    Wrong(
        "attach_houlsby",
        "copies of one adapter",
        SECOND,
        "AdaptedSublayer(block.mlp, copy.deepcopy(block.attn.adapter))",
        "draw each anew",
    ),
    Wrong(
        "attach_houlsby",
        "an adapter behind the head",
        "    return model",
        "    head = Adapter(model.config.vocab_size, 2).to(model.wte.weight)\n"
        "    model.lm_head = AdaptedSublayer(model.lm_head, head).requires_grad_(False)\n    return model",
        "here also lm_head",
    ),
    Wrong(
        "attach_houlsby",
        "down of ones",
        "    return model",
        "    for block in model.blocks:\n        for part in (block.attn, block.mlp):\n"
        "            nn.init.ones_(part.adapter.down_proj.weight)\n    return model",
        "features of an adapter are alike",
    ),
    Wrong(
        "attach_houlsby",
        "down of zeros, bias at random",
        "    return model",
        "    for block in model.blocks:\n        for part in (block.attn, block.mlp):\n"
        "            nn.init.zeros_(part.adapter.down_proj.weight)\n    return model",
        "features of an adapter are alike",
    ),
    Wrong("attach_pfeiffer", "two at least", "d // reduction)", "max(2, d // reduction))", "rounded down"),
    Wrong(
        "attach_pfeiffer",
        "a hook on the model",
        "    return model\n",
        "    model.register_forward_hook(lambda module, inputs, output: output)\n    return model\n",
        "the model has a hook",
    ),
    Wrong(
        "adapter_fusion",
        "raised before the largest is taken off",
        "scores.softmax(dim=-1)",
        "scores.exp() / scores.exp().sum(dim=-1, keepdim=True)",
        "nan",
    ),
    Wrong(
        "attach_houlsby",
        "a hook on the model",
        "    return model\n",
        "    model.register_forward_hook(lambda module, inputs, output: output)\n    return model\n",
        "the model has a hook",
    ),
    Wrong(
        "adapter_fusion",
        "another choice when it does not train",
        "scores.softmax(dim=-1)",
        "scores.softmax(dim=-1) if self.training else scores.softmax(dim=-1).round()",
        "what forward gives",
    ),
    Wrong(
        "adapter_fusion",
        "one row squeezed",
        "return (weights.unsqueeze(-1) * self.value(z)).sum(dim=-2)",
        "return (weights.unsqueeze(-1) * self.value(z)).sum(dim=-2).squeeze()",
        "is of shape",
    ),
    Wrong(
        "join_adapters",
        "a bias of single precision",
        "bias = w * a.up_proj.bias + (1 - w) * b.up_proj.bias",
        "bias = w * a.up_proj.bias.float() + (1 - w) * b.up_proj.bias.float()",
        "nearly right",
    ),
]

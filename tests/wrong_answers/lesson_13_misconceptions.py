"""Wrong answers that students give to the exercises of lesson 13."""

from wrong_answers.wrong import Wrong

FIVE = "return at_base, learning, first, second, factors + 1"
LAST = "return gradients, 2 * gradients, size * math.prod(batch) * sum(kept.values())"


def starts(mistake: str, answer: str, message: str) -> Wrong:
    """Wrong numbers."""
    return Wrong("predict_starts", mistake, FIVE, f"return {answer}", message)


def compare(mistake: str, body: str, message: str) -> Wrong:
    """A whole mended_compare, by the body of its loops over methods and seeds."""
    lines = "".join(f"            {line}\n" for line in body.splitlines())
    return Wrong(
        "mended_compare",
        mistake,
        None,
        "def mended_compare(base, methods, learn, seeds):\n    scores = {name: [] for name in methods}\n"
        f"    for name, attach in methods.items():\n        for seed in seeds:\n{lines}    return scores\n",
        message,
    )


WRONG = [
    starts("one zero alone", "3, 3, 1, 3, 4", "two zeros, or three"),
    starts("all zero", "1, 1, 1, 3, 4", "one zero is enough"),
    starts("all eight", "8, 3, 1, 3, 4", "without any zero"),
    starts("all that start there learn", "7, 7, 1, 3, 4", "no gradient is left"),
    starts("all but the three zeros", "7, 6, 1, 3, 4", "no gradient is left"),
    starts("B alone", "7, 1, 1, 3, 4", "may be A, B or g"),
    starts("A or B", "7, 2, 1, 3, 4", "the gate alone"),
    starts("those that are not zero move", "7, 3, 2, 3, 4", "have the zero in their gradient"),
    starts("nothing moves", "7, 3, 0, 3, 4", "only the others"),
    starts("one by one", "7, 3, 1, 2, 4", "after the first step"),
    starts("all at the base", "7, 3, 1, 3, 15", "all that start at the base"),
    starts("gates do not count", "7, 3, 1, 3, 3", "second gate"),
    starts("two zeros learn", "7, 3, 1, 3, 11", "two zeros do not learn"),
    starts("four numbers", "7, 3, 1, 3", "return 5 numbers"),
    starts("built", "7, 3, 1, sum(1 for _ in nn.Linear(1, 1).parameters()) + 1, 4", "calculate"),
    Wrong("way_back", "numbers for bytes", "size = next(layers.parameters()).element_size()", "size = 1", "each has"),
    Wrong("way_back", "four bytes", "size = next(layers.parameters()).element_size()", "size = 4", "of this precision"),
    Wrong(
        "way_back",
        "frozen weights too",
        "for weight in layers.parameters() if weight.requires_grad)\n    return",
        "for weight in layers.parameters())\n    return",
        "frozen weights have no gradient",
    ),
    Wrong("way_back", "tensors counted", "sum(weight.numel() for", "sum(1 for", "counts the tensors"),
    Wrong("way_back", "one moment", "return gradients, 2 * gradients", "return gradients, gradients", "remembers two"),
    Wrong(
        "way_back",
        "the gradient again",
        "return gradients, 2 * gradients",
        "return gradients, 3 * gradients",
        "counted already",
    ),
    Wrong(
        "way_back",
        "moments of frozen weights",
        "return gradients, 2 * gradients",
        "return gradients, 2 * sum(weight.nbytes for weight in layers.parameters())",
        "frozen weights have no moments",
    ),
    Wrong(
        "way_back",
        "counted twice",
        "sum(kept.values())",
        "(sum(kept.values()) + sum(kept.get(i + 1, 0) for i, layer in enumerate(layers) if isinstance(layer, nn.ReLU) and i + 1 < len(layers) and any(w.requires_grad for n, w in layers[i + 1].named_parameters() if n in ('weight', 'base.weight', 'lora_A')) and any(w.requires_grad for w in layers[: i + 1].parameters())))",
        "kept once",
    ),
    Wrong(
        "way_back",
        "each ReLU",
        "            if below:\n                kept[i + 1] = width\n",
        "            kept[i + 1] = width\n",
        "if nothing before it trains",
    ),
    Wrong(
        "way_back",
        "no ReLU",
        "            if below:\n                kept[i + 1] = width\n",
        "",
        "comes out of a ReLU is missing",
    ),
    Wrong("way_back", "a ReLU keeps what comes in", "kept[i + 1] = width", "kept[i] = width", "what is kept"),
    Wrong(
        "way_back",
        "biases keep",
        "any(weight.requires_grad for weight in [linear.weight, *reading])",
        "any(weight.requires_grad for weight in layer.parameters())",
        "a bias that trains keeps nothing",
    ),
    Wrong(
        "way_back",
        "every product keeps",
        "if any(weight.requires_grad for weight in [linear.weight, *reading]):",
        "if True:",
        "only if its weight trains",
    ),
    Wrong(
        "way_back",
        "products above what trains",
        "any(weight.requires_grad for weight in [linear.weight, *reading])",
        "below or any(weight.requires_grad for weight in [linear.weight, *reading])",
        "what is kept",
    ),
    Wrong(
        "way_back",
        "nothing between A and B",
        '                kept[i, "features"] = len(layer.lora_A)',
        "                pass",
        "what is between A and B is missing",
    ),
    Wrong(
        "way_back",
        "features if A trains",
        "if layer.lora_B.requires_grad:",
        "if layer.lora_A.requires_grad:",
        "what is kept",
    ),
    Wrong("way_back", "features in any case", "if layer.lora_B.requires_grad:", "if True:", "what is kept"),
    Wrong("way_back", "one row", "size * math.prod(batch) * sum", "size * sum", "for one row"),
    Wrong("way_back", "the first of the batch's sizes", "math.prod(batch)", "batch[0]", "what is kept"),
    Wrong("way_back", "the weights too", LAST, LAST + " + gradients", "the weights are there anyway"),
    Wrong(
        "way_back",
        "the base's weight forgotten",
        "for weight in [linear.weight, *reading])",
        "for weight in reading or [linear.weight])",
        "what is kept",
    ),
    Wrong(
        "way_back",
        "measured",
        None,
        """def way_back(layers, shape):
    sizes, weights = {}, {w.untyped_storage().data_ptr() for w in layers.parameters()}
    alive = []

    def pack(t):
        alive.append(t)
        if t.untyped_storage().data_ptr() not in weights:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layers(torch.randn(shape, dtype=next(layers.parameters()).dtype))
    n = sum(w.nbytes for w in layers.parameters() if w.requires_grad)
    return n, 2 * n, sum(sizes.values())
""",
        "run nothing",
    ),
    Wrong(
        "way_back",
        "by hand, but run",
        "    *batch, width = shape\n",
        "    *batch, width = shape\n    F.linear(torch.zeros(2, 3), torch.zeros(4, 3))\n",
        "run nothing",
    ),
    Wrong(
        "way_back",
        "frozen in place",
        "    below = False",
        "    layers.requires_grad_(False)\n    below = False",
        "requires_grad",
    ),
    Wrong(
        "way_back", "the last alone", LAST, "return size * math.prod(batch) * sum(kept.values())", "return 3 numbers"
    ),
    Wrong(
        "way_back",
        "eight bytes or four",
        "size = next(layers.parameters()).element_size()",
        "size = 8 if next(layers.parameters()).dtype == torch.float64 else 4",
        "of this precision",
    ),
    Wrong("way_back", "children, each once", "enumerate(layers)", "enumerate(layers.children())", "works in each"),
    Wrong(
        "way_back",
        "two ReLUs in a row as one",
        "if below:",
        "if below and not (i and isinstance(layers[i - 1], nn.ReLU)):",
        "what is kept",
    ),
    Wrong(
        "way_back",
        "a base has a bias",
        "            if layer.lora_B.requires_grad:",
        "            biased = layer.base.bias.requires_grad\n            if biased or layer.lora_B.requires_grad:",
        "may have no bias",
    ),
    Wrong(
        "way_back",
        "a base is frozen",
        "below = below or any(weight.requires_grad for weight in layer.parameters())",
        "own = layer.parameters() if layer is linear else (layer.lora_A, layer.lora_B)\n"
        "        below = below or any(weight.requires_grad for weight in own)",
        "what is kept",
    ),
    Wrong(
        "way_back",
        "A is forgotten below",
        "below = below or any(weight.requires_grad for weight in layer.parameters())",
        "below = below or any(w.requires_grad for name, w in layer.named_parameters() if name != 'lora_A')",
        "what is kept",
    ),
    Wrong(
        "way_back",
        "the layer above a ReLU is before it",
        "if below:",
        "if any(weight.requires_grad for weight in layers[: i + 2].parameters()):",
        "if nothing before it trains",
    ),
    Wrong("way_back", "two sizes in front at most", "math.prod(batch)", "math.prod(batch[:2])", "what is kept"),
    compare(
        "neighbours share their batches",
        "torch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed // 2)\nscores[name].append(learn(model))",
        "the same batches with the seeds",
    ),
    compare(
        "ten seeds for all batches",
        "torch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed % 10)\nscores[name].append(learn(model))",
        "the same batches with the seeds",
    ),
    compare(
        "what attach returns is left",
        "torch.manual_seed(seed)\nmodel = copy.deepcopy(base)\nattach(model)\ntorch.manual_seed(seed)\nscores[name].append(learn(model))",
        "another model than one that attach has returned",
    ),
    compare(
        "the base itself",
        "torch.manual_seed(seed)\nmodel = attach(base)\ntorch.manual_seed(seed)\nscores[name].append(learn(model))",
        "base itself",
    ),
    compare(
        "seeded once a run",
        "torch.manual_seed(seed)\nscores[name].append(learn(attach(copy.deepcopy(base))))",
        "must not shift",
    ),
    compare(
        "seeded before the batches alone",
        "model = attach(copy.deepcopy(base))\ntorch.manual_seed(seed)\nscores[name].append(learn(model))",
        "depend on what was drawn before",
    ),
    compare(
        "seeded before the start alone",
        "torch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.seed()\nscores[name].append(learn(model))",
        "other batches with the seed",
    ),
    compare(
        "one seed for all batches",
        "torch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(0)\nscores[name].append(learn(model))",
        "the same batches with the seeds",
    ),
    compare(
        "one seed for all starts",
        "torch.manual_seed(0)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed)\nscores[name].append(learn(model))",
        "starts alike",
    ),
    compare("no seed", "scores[name].append(learn(attach(copy.deepcopy(base))))", "other batches with the seed"),
    compare(
        "seeds by their place",
        "torch.manual_seed(seeds.index(seed))\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seeds.index(seed))\nscores[name].append(learn(model))",
        "with the order of the seeds",
    ),
    compare(
        "batches by the method",
        "torch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed + list(methods).index(name))\nscores[name].append(learn(model))",
        "must not shift",
    ),
    compare(
        "starts by the method's place",
        "torch.manual_seed(seed + 1000 * list(methods).index(name))\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed)\nscores[name].append(learn(model))",
        "with the order of the methods",
    ),
    compare(
        "sorted seeds",
        "seed = sorted(seeds)[seeds.index(seed)]\ntorch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed)\nscores[name].append(learn(model))",
        "with the order of the seeds",
    ),
    compare(
        "the best of two",
        "runs = []\nfor s in (seed, seed + 1000):\n    torch.manual_seed(s)\n    model = attach(copy.deepcopy(base))\n    torch.manual_seed(s)\n    runs.append(learn(model))\nscores[name].append(max(runs))",
        "no choice among several",
    ),
    compare(
        "a mean in the place of scores",
        "torch.manual_seed(seed)\nmodel = attach(copy.deepcopy(base))\ntorch.manual_seed(seed)\nscores[name].append(learn(model))\nscores[name] = [sum(scores[name]) / len(scores[name])] * len(scores[name])",
        "none that learn has returned",
    ),
    Wrong(
        "mended_compare",
        "one copy a method",
        None,
        """def mended_compare(base, methods, learn, seeds):
    scores = {}
    for name, attach in methods.items():
        model = copy.deepcopy(base)
        scores[name] = []
        for seed in seeds:
            torch.manual_seed(seed)
            adapted = attach(model)
            torch.manual_seed(seed)
            scores[name].append(learn(adapted))
    return scores
""",
        "another run has trained it",
    ),
    Wrong(
        "mended_compare",
        "a list",
        "    return scores",
        "    return list(scores.values())",
        "return a dictionary",
    ),
    Wrong(
        "mended_compare",
        "the given one",
        None,
        "def mended_compare(base, methods, learn, seeds):\n    return broken_compare(base, methods, learn, seeds)\n",
        "base itself",
    ),
    Wrong(
        "mended_compare",
        "the given one on copies",
        None,
        """def mended_compare(base, methods, learn, seeds):
    torch.manual_seed(seeds[0])
    return {name: [learn(attach(copy.deepcopy(base))) for _ in seeds] for name, attach in methods.items()}
""",
        "must not shift",
    ),
]

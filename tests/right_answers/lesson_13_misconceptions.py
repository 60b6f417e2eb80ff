"""Right answers in other styles to the exercises of lesson 13."""

from right_answers.right import Right

FIVE = "return at_base, learning, first, second, factors + 1"

RIGHT = [
    Right("predict_starts", "a list", FIVE, "return [7, 3, 1, 3, 4]"),
    Right("predict_starts", "a tensor", FIVE, "return torch.tensor([7, 3, 1, 3, 4])"),
    Right(
        "predict_starts",
        "counted out",
        None,
        """def predict_starts():
    ways = list(itertools.product((0, 1), repeat=3))
    base = [way for way in ways if 0 in way]
    learning = [way for way in base if sum(way) == 2]
    more = [way for way in itertools.product((0, 1), repeat=4) if sum(way) == 3]
    return float(len(base)), len(learning), 1.0, 3.0, len(more)
""",
    ),
    Right(
        "way_back",
        "a set of places",
        None,
        """def way_back(layers, shape):
    rows, width, below, places, inner = math.prod(shape[:-1]), shape[-1], False, {0: shape[-1]}, 0
    kept = set()
    for i, layer in enumerate(layers, start=1):
        if isinstance(layer, nn.Linear | LoRALinear):
            names = {name for name, weight in layer.named_parameters() if weight.requires_grad}
            if names & {"weight", "base.weight", "lora_A"}:
                kept.add(i - 1)
            if "lora_B" in names:
                inner += layer.lora_B.shape[1]
            below |= bool(names)
            width = len(layer.weight if isinstance(layer, nn.Linear) else layer.base.weight)
        elif below:
            kept.add(i)
        places[i] = width
    trained = [w for w in layers.parameters() if w.requires_grad]
    bytes_each = torch.finfo(next(iter(layers.parameters())).dtype).bits // 8
    gradients = sum(w.nbytes for w in trained)
    return [gradients, 2 * gradients, bytes_each * rows * (inner + sum(places[i] for i in kept))]
""",
    ),
    Right(
        "way_back",
        "each layer asks the one above",
        None,
        """def way_back(layers, shape):
    layers = list(layers)
    size = max(w.element_size() for layer in layers for w in layer.parameters())
    rows, width = math.prod(shape) // shape[-1], shape[-1]

    def reads(layer):
        if isinstance(layer, nn.ReLU):
            return False
        if isinstance(layer, LoRALinear):
            return layer.base.weight.requires_grad or layer.lora_A.requires_grad
        return layer.weight.requires_grad

    def on_the_way(i):
        return isinstance(layers[i], nn.ReLU) and any(
            w.requires_grad for layer in layers[:i] for w in layer.parameters()
        )

    total = 0
    for i in range(len(layers) + 1):
        if (i < len(layers) and reads(layers[i])) or (i > 0 and on_the_way(i - 1)):
            total += width
        if i < len(layers) and isinstance(layers[i], LoRALinear):
            total += layers[i].lora_B.requires_grad * layers[i].lora_A.size(0)
            width = layers[i].base.out_features
        elif i < len(layers) and isinstance(layers[i], nn.Linear):
            width = layers[i].out_features
    n = sum(w.numel() for layer in layers for w in layer.parameters() if w.requires_grad)
    return size * n, size * n * 2, size * rows * total
""",
    ),
    Right(
        "way_back",
        "a tensor",
        "return gradients, 2 * gradients, size * math.prod(batch) * sum(kept.values())",
        "return torch.tensor([gradients, 2 * gradients, size * math.prod(batch) * sum(kept.values())])",
    ),
    Right(
        "mended_compare",
        "seeds outside",
        None,
        """def mended_compare(base, methods, learn, seeds):
    scores = {name: [] for name in methods}
    for seed in seeds:
        for name, attach in methods.items():
            torch.manual_seed(seed)
            model = copy.deepcopy(base)
            model = attach(model)
            torch.manual_seed(10_000 + seed)
            scores[name] += [learn(model)]
    return scores
""",
    ),
    Right(
        "mended_compare",
        "the generator left as it was",
        None,
        """def mended_compare(base, methods, learn, seeds):
    def one(attach, seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            state = torch.get_rng_state()
            model = attach(copy.deepcopy(base))
            torch.set_rng_state(state)
            return learn(model)

    return {name: tuple(one(attach, seed) for seed in seeds) for name, attach in methods.items()}
""",
    ),
    Right(
        "mended_compare",
        "a new model with the base's weights",
        "attach(copy.deepcopy(base))",
        "GPT(base.config).to(base.wte.weight.dtype)\n"
        "            model.load_state_dict(base.state_dict())\n"
        "            torch.manual_seed(3 * seed)\n"
        "            model = attach(model)",
    ),
    Right(
        "mended_compare",
        "all attached first",
        None,
        """def mended_compare(base, methods, learn, seeds):
    def seeded(seed, call, model):
        torch.manual_seed(seed)
        return call(model)

    ready = {
        (name, s): seeded(s + 1, attach, copy.deepcopy(base)) for s in seeds for name, attach in methods.items()
    }
    return {name: [seeded(s, learn, ready[name, s]) for s in seeds] for name in methods}
""",
    ),
    Right(
        "way_back",
        "from layer to layer by itself",
        None,
        """def way_back(layers, shape):
    size = max(weight.element_size() for weight in layers.parameters())
    gradients = sum(weight.nbytes for weight in layers.parameters() if weight.requires_grad)

    def kept(above, below, shape, here):
        if not above:
            return 0
        layer, *rest = above
        comes_in = size * math.prod(shape)
        if isinstance(layer, nn.ReLU):
            return below * comes_in + kept(rest, below, shape, below)
        linear = getattr(layer, "base", layer)
        trains = {name for name, weight in layer.named_parameters() if weight.requires_grad}
        own = 0 if here or trains <= {"bias", "base.bias", "lora_B"} else comes_in
        if "lora_B" in trains:
            own += size * math.prod(shape[:-1]) * layer.lora_A.shape[0]
        return own + kept(rest, below or bool(trains), (*shape[:-1], linear.out_features), False)

    return gradients, 2 * gradients, kept(list(layers), False, tuple(shape), False)
""",
    ),
]

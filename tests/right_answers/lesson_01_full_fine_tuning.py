"""Right answers in other styles to the exercises of lesson 01."""

from right_answers.right import Right

RIGHT = [
    Right("predict_training_bytes", "a whole float", "(1 + 2) * 4", "3 * 32 / 8"),
    Right("predict_training_bytes", "a tensor", "return blocks", "return torch.tensor(1) * blocks"),
    Right("predict_training_bytes", "numpy", "return blocks", "import numpy as np\n    return np.int64(1) * blocks"),
    Right("predict_decay", "a list", "return untouched, shrunk", "return [2, 1.71475]"),
    Right("predict_decay", "a tensor", "return untouched, shrunk", "return torch.tensor([untouched, shrunk])"),
    Right(
        "predict_decay",
        "step by step",
        "shrunk = 2.0 * (1 - 0.1 * 0.5) ** 3",
        "shrunk = 2.0\n    for _ in range(3):\n        shrunk -= 0.1 * 0.5 * shrunk",
    ),
    Right(
        "bitfit",
        "module by module",
        None,
        """
def attach_bitfit(model):
    freeze(model)
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias.requires_grad = True
    return model


def count_bitfit(config):
    return config.n_layer * (7 * config.n_embd + config.n_inner) + config.n_embd
""",
    ),
    Right("bitfit", "endswith", 'name.split(".")[-1] == "bias"', 'name.endswith(".bias")'),
    Right(
        "bitfit",
        "a sum over layers",
        "return config.n_layer * (attention + feed_forward + norms) + d",
        "return sum(attention + feed_forward + norms for _ in range(config.n_layer)) + float(d)",
    ),
    Right(
        "task_vectors",
        "state dicts",
        None,
        """
def task_vector(base, tuned):
    old, new = base.state_dict(), tuned.state_dict()
    return {name: new[name] - old[name] for name in new if (new[name] != old[name]).any()}


def add_task_vectors(base, vectors, scale=1.0):
    weights = {name: weight.clone() for name, weight in base.state_dict().items()}
    for vector in vectors:
        for name in vector:
            weights[name] = weights[name] + scale * vector[name]
    model = GPT(base.config).to(base.wte.weight.dtype)
    model.load_state_dict(weights)
    return model
""",
    ),
    Right(
        "task_vectors",
        "summed first",
        None,
        """
@torch.no_grad()
def task_vector(base, tuned):
    pairs = zip(base.named_parameters(), tuned.parameters())
    return {name: (new - old).clone() for (name, old), new in pairs if not torch.equal(old, new)}


def add_task_vectors(base, vectors, scale=1.0):
    model, total = copy.deepcopy(base), {}
    for vector in vectors:
        for name, move in vector.items():
            total[name] = total.get(name, 0) + move
    for name, parameter in model.named_parameters():
        if name in total:
            parameter.data += scale * total[name]
    return model
""",
    ),
    Right(
        "task_vectors",
        "add with alpha",
        "parameter.add_(scale * difference)",
        "parameter.add_(difference, alpha=scale)",
    ),
    Right(
        "mended_loss",
        "sliced",
        None,
        """
def mended_loss(model, tokens, answer_start):
    logits = model(tokens)[:, answer_start - 1 : -1]
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), tokens[:, answer_start:].reshape(-1))
""",
    ),
    Right(
        "mended_loss",
        "log-probabilities by hand",
        None,
        """
def mended_loss(model, tokens, answer_start):
    logp = model(tokens[:, :-1]).log_softmax(dim=-1)
    chosen = logp.gather(-1, tokens[:, 1:, None])[..., 0]
    return -chosen[:, answer_start - 1 :].mean()
""",
    ),
    Right(
        "mended_loss",
        "transposed, padded with IGNORE",
        None,
        """
def mended_loss(model, tokens, answer_start):
    targets = F.pad(tokens[:, answer_start:], (answer_start - 1, 1), value=IGNORE)
    return F.cross_entropy(model(tokens).transpose(1, 2), targets, ignore_index=IGNORE)
""",
    ),
    Right("mended_loss", "of shape (1,)", "targets.flatten())  # a", "targets.flatten()).view(1)  # a"),
    Right(
        "bitfit",
        "thawed layer by layer",
        None,
        """
def attach_bitfit(model):
    model.requires_grad_(False)
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias.requires_grad = True
    return model


def count_bitfit(config):
    return sum([config.n_embd] * 7 + [config.n_inner]) * config.n_layer + config.n_embd
""",
    ),
    Right(
        "task_vectors",
        "a new model that loads what was added up",
        None,
        """
def task_vector(base, tuned):
    start = base.state_dict()
    return {name: end - start[name] for name, end in tuned.state_dict().items() if (end != start[name]).any()}


def add_task_vectors(base, vectors, scale=1.0):
    state = {name: weight.clone() for name, weight in base.state_dict().items()}
    for vector in vectors:
        for name, move in vector.items():
            state[name] = state[name] + scale * move
    model = GPT(base.config).to(base.wte.weight)
    model.load_state_dict(state)
    return model
""",
    ),
]

"""Wrong answers that students give to the exercises of lesson 01."""

from wrong_answers.wrong import Wrong

WRONG = [
    # ---- predict_training_bytes
    Wrong("predict_training_bytes", "gradients forgotten", "(1 + 2)", "2", "That is two numbers for each that trains"),
    Wrong("predict_training_bytes", "gradients only", "(1 + 2)", "1", "one number for each"),
    Wrong("predict_training_bytes", "weights counted", "(1 + 2)", "(1 + 1 + 2)", "left out"),
    Wrong("predict_training_bytes", "numbers and no bytes", "(1 + 2) * 4", "(1 + 2)", "number of numbers"),
    Wrong("predict_training_bytes", "bits", "(1 + 2) * 4", "(1 + 2) * 32", "in bits"),
    Wrong("predict_training_bytes", "16 bits", "(1 + 2) * 4", "(1 + 2) * 2", "not 2"),
    Wrong("predict_training_bytes", "bias forgotten", "256 * 64 + 64 ", "256 * 64 ", "biases"),
    Wrong(
        "predict_training_bytes",
        "bias as wide as the input",
        "256 * 64 + 64 ",
        "256 * 64 + 256 ",
        "as wide as what comes out",
    ),
    Wrong("predict_training_bytes", "one block", "blocks = 5", "blocks = 1", "one block"),
    Wrong(
        "predict_training_bytes",
        "up_proj too",
        "256 * 64 + 64 ",
        "256 * 64 + 64 + 64 * 256 + 256 ",
        "up_proj is frozen",
    ),
    # ---- predict_decay
    Wrong("predict_decay", "zero gradient freezes", "2.0 * (1 - 0.1 * 0.5) ** 3", "2.0", "not frozen"),
    Wrong("predict_decay", "skipped weights decay", "untouched = 2.0", "untouched = 2.0 * 0.95**3", "skips the weight"),
    Wrong("predict_decay", "rate forgotten", "(1 - 0.1 * 0.5)", "(1 - 0.5)", "not weight_decay alone"),
    Wrong("predict_decay", "decay forgotten", "(1 - 0.1 * 0.5)", "(1 - 0.1)", "not the rate alone"),
    Wrong("predict_decay", "one step", " ** 3", "", "one step"),
    Wrong("predict_decay", "no compounding", "(1 - 0.1 * 0.5) ** 3", "(1 - 3 * 0.1 * 0.5)", "the step before"),
    Wrong(
        "predict_decay", "subtracted", "2.0 * (1 - 0.1 * 0.5) ** 3", "2.0 - 3 * 0.1 * 0.5", "with a gradient of zero"
    ),
    Wrong(
        "predict_decay", "the two swapped", "return untouched, shrunk", "return shrunk, untouched", "skips the weight"
    ),
    # ---- bitfit
    Wrong(
        "bitfit",
        "norms forgotten",
        '(name.split(".")[-1] == "bias")',
        '(name.endswith("proj.bias"))',
        "shift of a layer norm",
    ),
    Wrong(
        "bitfit",
        "the other way round",
        '(name.split(".")[-1] == "bias")',
        '(not name.endswith("bias"))',
        "other way round",
    ),
    Wrong(
        "bitfit",
        "frozen biases stay frozen",
        "parameter.requires_grad_(",
        "parameter.requires_grad &= (",
        "must be thawed",
    ),
    Wrong("bitfit", "nothing is frozen", '(name.split(".")[-1] == "bias")', "(True)", "everything trains"),
    Wrong(
        "bitfit",
        "whole norms train",
        '(name.split(".")[-1] == "bias")',
        '("bias" in name or "ln_" in name)',
        "is no bias",
    ),
    Wrong("bitfit", "all that is a vector", '(name.split(".")[-1] == "bias")', "(parameter.dim() == 1)", "is no bias"),
    Wrong(
        "bitfit",
        "a copy",
        "    return model",
        "    return __import__('copy').deepcopy(model)",
        "the model that it was given",
    ),
    Wrong(
        "bitfit",
        "biases set to zero",
        "    return model",
        "    for name, parameter in model.named_parameters():\n        parameter.data *= 'bias' not in name\n    return model",
        "changed numbers",
    ),
    Wrong(
        "bitfit",
        "last norm not counted",
        "(attention + feed_forward + norms) + d",
        "(attention + feed_forward + norms)",
        "ln_f",
    ),
    Wrong(
        "bitfit",
        "up_proj's bias n_embd wide",
        "feed_forward = f + d",
        "feed_forward = 2 * d",
        "how wide is the bias of up_proj",
    ),
    Wrong(
        "bitfit",
        "down_proj's bias n_inner wide",
        "feed_forward = f + d",
        "feed_forward = 2 * f",
        "how wide is the bias of down_proj",
    ),
    Wrong("bitfit", "up_proj's bias not counted", "feed_forward = f + d", "feed_forward = d", "up_proj is missing"),
    Wrong(
        "bitfit",
        "n_inner taken for four widths",
        "feed_forward = f + d",
        "feed_forward = 4 * d + d",
        "use config.n_inner",
    ),
    Wrong(
        "bitfit",
        "feed-forward not counted",
        "feed_forward = f + d",
        "feed_forward = 0",
        "up_proj and down_proj are missing",
    ),
    Wrong(
        "bitfit",
        "head counted",
        "(attention + feed_forward + norms) + d",
        "(attention + feed_forward + norms) + d + config.vocab_size",
        "lm_head",
    ),
    Wrong("bitfit", "norms in blocks not counted", "feed_forward + norms)", "feed_forward)", "norms in the blocks"),
    # ---- task_vectors
    Wrong("task_vectors", "sign", "end - start[name]", "start[name] - end", "sign is wrong"),
    Wrong(
        "task_vectors",
        "the tuned weight stored",
        "(end - start[name]).detach()",
        "end.detach().clone()",
        "not what moved",
    ),
    Wrong("task_vectors", "everything stored", "if not torch.equal(end, start[name]):", "if True:", "has not moved"),
    Wrong("task_vectors", "graph kept", ".detach()", "", "detach it"),
    Wrong(
        "task_vectors",
        "small moves left out",
        "not torch.equal(end, start[name])",
        "(end - start[name]).abs().mean() > 0.05",
        "leaves out",
    ),
    Wrong(
        "task_vectors",
        "moved only if far enough",
        "not torch.equal(end, start[name])",
        "not torch.allclose(end, start[name])",
        "leaves out ln_f",
    ),
    Wrong(
        "task_vectors",
        "only if every number moved",
        "not torch.equal(end, start[name])",
        "(end != start[name]).all()",
        "leaves out",
    ),
    Wrong("task_vectors", "base changed", "copy.deepcopy(base)", "base", "it must stay as it is"),
    Wrong(
        "task_vectors",
        "shallow copy",
        "copy.deepcopy(base)",
        "copy.copy(base)",
        "it must stay as it is",
    ),
    Wrong("task_vectors", "scale forgotten", "scale * difference", "difference", "scale has no effect"),
    Wrong(
        "task_vectors",
        "last vector wins",
        "parameter.add_(scale * difference)",
        "parameter.copy_(base.get_parameter(name) + scale * difference)",
        "the last one only",
    ),
    Wrong(
        "task_vectors",
        "vector scaled in place",
        "scale * difference",
        "difference.mul_(scale)",
        "it must stay as it is",
    ),
    Wrong(
        "task_vectors",
        "mean",
        "scale * difference",
        "scale * difference / len(vectors)",
        "that is a mean of the vectors",
    ),
    Wrong("task_vectors", "subtracted", "parameter.add_(", "parameter.sub_(", "subtracted"),
    Wrong("task_vectors", "not in place", "parameter.add_(", "parameter = parameter.add(", "nothing was added"),
    Wrong(
        "task_vectors", "first vector only", "for vector in vectors:", "for vector in vectors[:1]:", "only the first"
    ),
    # ---- mended_loss
    Wrong("mended_loss", "question counts", "targets[:, : answer_start - 1] = IGNORE", "pass", "question still counts"),
    Wrong("mended_loss", "mask off by one", ": answer_start - 1]", ": answer_start]", "first answer token"),
    Wrong(
        "mended_loss",
        "mask off by one the other way",
        ": answer_start - 1]",
        ": answer_start - 2]",
        "the token in front of the answer counts as well",
    ),
    Wrong("mended_loss", "tokens changed", ".clone()", "", "tokens was changed"),
    Wrong("mended_loss", "not shifted", "model(tokens[:, :-1])", "model(tokens)[:, 1:]", "same place"),
    Wrong(
        "mended_loss",
        "nothing mended",
        "return F.cross_entropy(",
        "return broken_loss(model, tokens, answer_start) + 0 * F.cross_entropy(",
        "both mistakes",
    ),
    Wrong("mended_loss", "zero for IGNORE", "= IGNORE", "= 0", "token 0"),
    Wrong("mended_loss", "sum", "targets.flatten())", 'targets.flatten(), reduction="sum")', "sum over"),
    Wrong(
        "mended_loss",
        "mean over all places",
        "targets.flatten())",
        'targets.flatten(), reduction="none").mean()',
        "all places",
    ),
    Wrong(
        "mended_loss",
        "graph lost",
        "targets.flatten())",
        "targets.flatten()).detach()",
        "no gradient can flow back from the result",
    ),
    Wrong(
        "mended_loss",
        "shifted by rolling",
        "targets = tokens[:, 1:].clone()",
        "targets, logits = tokens.roll(-1, dims=1), model(tokens)",
        "no next token to predict",
    ),
    Wrong(
        "mended_loss",
        "shifted the wrong way",
        "targets = tokens[:, 1:].clone()",
        "targets, logits = tokens[:, :-1].clone(), model(tokens)[:, 1:]",
        "shifted the wrong way",
    ),
    # ---- as a reader's attempts showed
    Wrong("predict_training_bytes", "built", "    blocks = 5", "    nn.Linear(256, 64)\n    blocks = 5", "calculate"),
    Wrong(
        "predict_decay",
        "tried out",
        "    untouched = 2.0",
        "    torch.optim.AdamW([torch.ones(1, requires_grad=True)])\n    untouched = 2.0",
        "calculate",
    ),
    Wrong("predict_decay", "one number", "return untouched, shrunk", "return shrunk", "return 2 numbers"),
    Wrong(
        "bitfit",
        "two blocks",
        "for name, parameter in model.named_parameters():",
        "for name, parameter in [(n, p) for n, p in model.named_parameters() if 'blocks.2' not in n]:",
        "",
    ),
    Wrong(
        "bitfit",
        "counted by building",
        "    d, f = config",
        "    count_parameters(GPT(config))\n    d, f = config",
        "calculate",
    ),
    Wrong("bitfit", "five layers written in", "config.n_layer * (", "3 * (", "numbers train"),
    Wrong(
        "task_vectors",
        "shares with a vector",
        "                parameter.add_(scale * difference)",
        "                parameter.data = difference",
        "",
    ),
    Wrong(
        "task_vectors",
        "a plain tensor",
        "    return model\n",
        "    bias = model.ln_f.bias.data\n    del model.ln_f.bias\n    model.ln_f.bias = bias\n    return model\n",
        "no nn.Parameter",
    ),
    Wrong(
        "task_vectors",
        "the last norm shared",
        "    return model\n",
        "    model.ln_f = base.ln_f\n    return model\n",
        "shares ln_f",
    ),
    Wrong(
        "task_vectors",
        "the tuned model frozen",
        "    vector = {}",
        "    tuned.requires_grad_(False)\n    vector = {}",
        "requires_grad of tuned",
    ),
    Wrong("task_vectors", "float32", "(end - start[name]).detach()", "(end - start[name]).detach().float()", "float32"),
    Wrong(
        "task_vectors",
        "three vectors at most",
        "for vector in vectors:",
        "for vector in vectors[:2]:",
        "vector of all parameters",
    ),
    Wrong("mended_loss", "start written in", ": answer_start - 1] = IGNORE", ": 6] = IGNORE", ""),
    Wrong(
        "mended_loss",
        "the question under no_grad",
        "    logits = model(tokens[:, :-1])",
        "    model.requires_grad_(False)\n    logits = model(tokens[:, :-1])",
        "requires_grad of model",
    ),
    Wrong(
        "mended_loss",
        "a copy trained",
        "    logits = model(tokens[:, :-1])",
        "    logits = copy.deepcopy(model)(tokens[:, :-1])",
        "no gradient reaches",
    ),
    Wrong(
        "mended_loss",
        "a backward too many",
        "    return F.cross_entropy",
        "    logits.sum().backward(retain_graph=True)\n    return F.cross_entropy",
        "gradient of model",
    ),
    Wrong(
        "predict_decay",
        "Adam with decoupled decay",
        "    untouched = 2.0",
        "    torch.optim.Adam([nn.Parameter(torch.ones(1))], weight_decay=0.5, decoupled_weight_decay=True)\n"
        "    untouched = 2.0",
        "calculate",
    ),
    Wrong(
        "bitfit",
        "the count remembered",
        None,
        """
def attach_bitfit(model):
    global REMEMBERED
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    REMEMBERED = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return model


def count_bitfit(config):
    return REMEMBERED
""",
        "by the config that is given",
    ),
    Wrong("bitfit", "doubled precision", "return model", "return model.double()", "float64"),
    Wrong(
        "bitfit",
        "parameters replaced",
        "    return model",
        "    for module in model.modules():\n"
        "        if getattr(module, 'bias', None) is not None:\n"
        "            module.bias = nn.Parameter(module.bias.detach().clone())\n"
        "    return model",
        "was replaced",
    ),
    Wrong(
        "bitfit",
        "by the library's formula",
        "    d, f = config.n_embd, config.n_inner",
        "    from minitransformer.methods.full import count_full\n\n"
        "    count_full(config)\n    d, f = config.n_embd, config.n_inner",
        "calculate",
    ),
    Wrong(
        "task_vectors",
        "only what still trains",
        "if not torch.equal(end, start[name]):",
        "if end.requires_grad and not torch.equal(end, start[name]):",
        "not whether they train now",
    ),
    Wrong(
        "task_vectors",
        "moves that add up to nothing",
        "if not torch.equal(end, start[name]):",
        "if (end - start[name]).sum() != 0:",
        "leaves out blocks.0.attn.q_proj.weight",
    ),
    Wrong(
        "task_vectors",
        "upwards only",
        "if not torch.equal(end, start[name]):",
        "if (end - start[name]).max() > 0:",
        "leaves out wte.weight",
    ),
    Wrong(
        "task_vectors",
        "a parameter stored",
        "(end - start[name]).detach()",
        "nn.Parameter((end - start[name]).detach(), requires_grad=False)",
        "a plain tensor",
    ),
    Wrong(
        "task_vectors",
        "autograd left off",
        "    start = dict(base.named_parameters())",
        "    torch.set_grad_enabled(False)\n    start = dict(base.named_parameters())",
        "leaves autograd switched off",
    ),
    Wrong(
        "mended_loss",
        "tokens changed before the model reads them",
        None,
        """
def mended_loss(model, tokens, answer_start):
    targets = tokens[:, 1:]
    targets[:, : answer_start - 1] = IGNORE
    return F.cross_entropy(model(tokens)[:, :-1].transpose(1, 2), targets)
""",
        "tokens was changed in place",
    ),
    Wrong(
        "mended_loss",
        "divided by the rows",
        "targets.flatten())  # a",
        'targets.flatten(), reduction="sum") / len(tokens)  # a',
        "divided by the rows",
    ),
    Wrong(
        "mended_loss",
        "last token dropped",
        "    return F",
        "    targets[:, -1] = IGNORE\n    return F",
        "the last answer token does not count",
    ),
    Wrong(
        "mended_loss",
        "question not read",
        None,
        """
def mended_loss(model, tokens, answer_start):
    logits = model(tokens[:, answer_start - 1 : -1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, answer_start:].flatten())
""",
        "does not read the question",
    ),
    Wrong(
        "task_vectors",
        "base in another mode",
        "    return model\n",
        "    base.eval()\n    return model\n",
        "training is another thing now",
    ),
    Wrong(
        "mended_loss",
        "model left in another mode",
        "    logits = model(",
        "    model.eval()\n    logits = model(",
        "training is another thing now",
    ),
    Wrong(
        "mended_loss",
        "a small number added",
        None,
        """
def mended_loss(model, tokens, answer_start):
    p = model(tokens)[:, answer_start - 1 : -1].softmax(dim=-1)
    return -(p.gather(-1, tokens[:, answer_start:, None]) + 1e-9).log().mean()
""",
        "nearly right",
    ),
    Wrong(
        "mended_loss",
        "rounded to 32 bits",
        "F.cross_entropy(logits.flatten(0, 1), targets.flatten())",
        "F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()).to(logits)",
        "nearly right",
    ),
    Wrong(
        "task_vectors",
        "base thawed",
        "    start = dict(",
        "    base.requires_grad_(True)\n    start = dict(",
        "was False and is True now",
    ),
    Wrong("task_vectors", "scale rounded", "scale * difference", "round(scale, 1) * difference", "numbers differ"),
    Wrong(
        "task_vectors",
        "what hardly moved left out",
        "if not torch.equal(end, start[name]):",
        "if not torch.allclose(end, start[name], rtol=0, atol=1e-7):",
        "leaves out ln_f.weight",
    ),
]

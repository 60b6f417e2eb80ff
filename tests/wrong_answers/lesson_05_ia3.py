"""Wrong answers that students give to the exercises of lesson 05."""

from wrong_answers.wrong import Wrong

KEYS, VALUES = "weight[:, d : 2 * d] *= l_k", "weight[:, 2 * d :] *= l_v"

WRONG = [
    Wrong("predict_shared_keys", "full width", "keys = 8 * 128", "keys = 4096", "8 heads of 128"),
    Wrong("predict_shared_keys", "one head", "keys = 8 * 128", "keys = 128", "that is one head"),
    Wrong("predict_shared_keys", "one block", "trained = 32 * ", "trained = ", "that is one block"),
    Wrong("predict_shared_keys", "keys alone", "2 * keys + 14_336", "keys + 14_336", "sliders of their own"),
    Wrong("predict_shared_keys", "queries too", "2 * keys + 14_336", "4096 + 2 * keys + 14_336", "on the queries"),
    Wrong("predict_shared_keys", "attention alone", "(2 * keys + 14_336)", "2 * keys", "hidden layer"),
    Wrong(
        "predict_shared_keys",
        "wrong width of the network",
        "14_336",
        "4096",
        "the sliders of the feed-forward network stand on its hidden",
    ),
    Wrong("predict_shared_keys", "one byte", "size = 2 * trained", "size = trained", "one byte a number"),
    Wrong("predict_shared_keys", "32 bits", "size = 2 * trained", "size = 4 * trained", "32-bit"),
    Wrong("predict_shared_keys", "bits", "size = 2 * trained", "size = 16 * trained", "those are bits"),
    Wrong("predict_same", "queries", "queries = True", "queries = False", "not all five are right"),
    Wrong("predict_same", "output", "output = True", "output = False", "not all five are right"),
    Wrong("predict_same", "across GELU", "up = False", "up = True", "not all five are right"),
    Wrong("predict_same", "key bias", "key_bias = True", "key_bias = False", "not all five are right"),
    Wrong("predict_same", "value bias", "value_bias = False", "value_bias = True", "not all five are right"),
    Wrong("fold_around", "not a copy", "copy.deepcopy(adapted)", "adapted", "work on a copy"),
    Wrong(
        "fold_around",
        "a shallow copy",
        "folded = copy.deepcopy(adapted)",
        "folded = GPT(adapted.config).double()\n    folded.blocks = nn.ModuleList(METHOD.attach(GPT(adapted.config).double()).blocks)\n    folded.load_state_dict(adapted.state_dict(), assign=True)",
        "it must stay as it is: compute something new, or work on a copy",
    ),
    Wrong(
        "fold_around",
        "the lesson's merge",
        "folded = copy.deepcopy(adapted)",
        "return METHOD.merge(copy.deepcopy(adapted))",
        "k_proj is not the base's",
    ),
    Wrong(
        "fold_around",
        "sliders left on",
        "        attn.k_proj, attn.v_proj, mlp.down_proj = attn.k_proj.base, attn.v_proj.base, mlp.down_proj.base\n",
        "",
        "still has its sliders",
    ),
    Wrong(
        "fold_around",
        "columns of q",
        "attn.q_proj.weight.mul_(attn.k_proj.scale[:, None])",
        "attn.q_proj.weight.mul_(attn.k_proj.scale)",
        "times or divided by? whose sliders?) is not right",
    ),
    Wrong(
        "fold_around",
        "divided",
        "attn.q_proj.weight.mul_(",
        "attn.q_proj.weight.div_(",
        "times or divided by? whose sliders?) is not right",
    ),
    Wrong(
        "fold_around",
        "bias of q forgotten",
        "            attn.q_proj.bias.mul_(attn.k_proj.scale)\n",
        "",
        "attn.q_proj.bias has not changed in any block",
    ),
    Wrong(
        "fold_around",
        "rows of o",
        "attn.o_proj.weight.mul_(attn.v_proj.scale)",
        "attn.o_proj.weight.mul_(attn.v_proj.scale[:, None])",
        "times or divided by? whose sliders?) is not right",
    ),
    Wrong(
        "fold_around",
        "bias of o scaled",
        "            mlp.down_proj",
        "            attn.o_proj.bias.mul_(attn.v_proj.scale)\n            mlp.down_proj",
        "attn.o_proj.bias has changed",
    ),
    Wrong(
        "fold_around",
        "keys' sliders into o",
        "attn.o_proj.weight.mul_(attn.v_proj.scale)",
        "attn.o_proj.weight.mul_(attn.k_proj.scale)",
        "times or divided by? whose sliders?) is not right",
    ),
    Wrong(
        "fold_around",
        "down_proj forgotten",
        "            mlp.down_proj.base.weight.mul_(mlp.down_proj.scale)\n",
        "",
        "down_proj.weight has not changed",
    ),
    Wrong(
        "fold_around",
        "into up_proj",
        "mlp.down_proj.base.weight.mul_(mlp.down_proj.scale)",
        "mlp.up_proj.weight.mul_(mlp.down_proj.scale[:, None])",
        "mlp.up_proj is not the base's",
    ),
    Wrong("fold_around", "return forgotten", "    return folded", "    pass", "forget the return"),
    Wrong(
        "forward_mixed",
        "token axis missing",
        "torch.stack(rows)[:, None]",
        "torch.stack(rows)",
        "does each token have sliders of its own, in the place of eac",
    ),
    Wrong(
        "forward_mixed",
        "the last task for none",
        " if task >= 0 else one for",
        " for",
        "took the sliders of the last task",
    ),
    Wrong("forward_mixed", "zero for none", "torch.ones_like", "torch.zeros_like", "switches its channel off"),
    Wrong(
        "forward_mixed",
        "base changed",
        "copy.deepcopy(base)",
        "base",
        "requires_grad of base.wte.weight was True and is False now",
    ),
    Wrong(
        "forward_mixed",
        "one row after the other",
        "    return mixed(idx)",
        "    return torch.cat([mixed(idx)[b : b + 1] for b in range(len(tasks))])",
        "run them once, for the whole batch",
    ),
    Wrong("forward_mixed", "not set", "            module.scale = ", "            scale = ", "these are the base's"),
    Wrong(
        "forward_mixed",
        "rows by number",
        "for task in tasks]",
        "for task in (0, 1, -1, 2, 2)[: len(tasks)]]",
        "the shapes do not fit",
    ),
    Wrong("forward_mixed", "tasks counted from one", "sliders[task]", "sliders[task - 1]", "row 0 is not"),
    Wrong(
        "forward_mixed",
        "one task for all",
        "for task in tasks]",
        "for task in tasks[:1] * len(tasks)]",
        "all rows have the sliders of task 2",
    ),
    Wrong(
        "forward_mixed",
        "keys alone",
        "if isinstance(module, Scaled):",
        'if isinstance(module, Scaled) and name.endswith("k_proj"):',
        "only the sliders of k_proj",
    ),
    Wrong(
        "forward_mixed",
        "one block's sliders for all",
        'f"{name}.scale"',
        '"blocks.0" + name[8:] + ".scale"',
        "row 0 is not",
    ),
    Wrong("slider_gradient", "not summed", ".sum(dim=(0, 1))", "", "each token has its own share still"),
    Wrong("slider_gradient", "summed over the batch", ".sum(dim=(0, 1))", ".sum(dim=0)", "over the batch only"),
    Wrong("slider_gradient", "summed over the tokens", ".sum(dim=(0, 1))", ".sum(dim=1)", "over the tokens only"),
    Wrong("slider_gradient", "mean", ".sum(dim=(0, 1))", ".mean(dim=(0, 1))", "mean over all tokens"),
    Wrong(
        "slider_gradient", "mean over the batch", ".sum(dim=(0, 1))", ".sum(dim=1).mean(dim=0)", "mean over the batch"
    ),
    Wrong(
        "slider_gradient",
        "behind the slider",
        "return (product * h)",
        "return (product * mlp.down_proj.scale * h)",
        "that holds l once too often",
    ),
    Wrong(
        "slider_gradient",
        "before the activation",
        "mlp.act(mlp.up_proj(x))",
        "mlp.up_proj(x)",
        "that leaves the activation out",
    ),
    Wrong("slider_gradient", "h missing", "(product * h)", "product", "gradient is not right"),
    Wrong("slider_gradient", "g missing", "(product * h)", "h", "gradient is not right"),
    Wrong(
        "slider_gradient",
        "gradient of h",
        "(product * h)",
        "(product * mlp.down_proj.scale)",
        "gradient is not right",
    ),
    Wrong("slider_gradient", "sign", "return (product", "return (-product", "the sign is wrong"),
    Wrong(
        "mended_fold",
        "rows",
        KEYS + "\n    " + VALUES,
        KEYS + "[:, None]\n    " + VALUES + "[:, None]",
        "the rows are scaled",
    ),
    Wrong(
        "mended_fold",
        "thirds",
        KEYS + "\n    " + VALUES,
        "weight[:, :d] *= l_k\n    weight[:, d : 2 * d] *= l_v",
        "the weight has the keys' sliders on the queries",
    ),
    Wrong(
        "mended_fold",
        "only the bias mended",
        KEYS + "\n    " + VALUES,
        "weight[:, :d] *= l_k[:, None]\n    weight[:, d : 2 * d] *= l_v[:, None]",
        "broken weight still",
    ),
    Wrong("mended_fold", "keys' sliders on queries", KEYS, "weight[:, :d] *= l_k", "on the queries' third"),
    Wrong("mended_fold", "queries too", KEYS, "weight[:, :d] *= l_k\n    " + KEYS, "the weight scales the queries too"),
    Wrong(
        "mended_fold",
        "swapped",
        "    d, weight",
        "    l_k, l_v = l_v, l_k\n    d, weight",
        "the bias has the two sliders swapped",
    ),
    Wrong(
        "mended_fold",
        "bias forgotten",
        "    bias[d : 2 * d] *= l_k\n    bias[2 * d :] *= l_v\n",
        "",
        "the bias has not changed",
    ),
    Wrong(
        "mended_fold",
        "bias of the values forgotten",
        "    bias[2 * d :] *= l_v\n",
        "",
        "the bias has changed in the keys' third only",
    ),
    Wrong(
        "mended_fold",
        "bias of the keys forgotten",
        "    bias[d : 2 * d] *= l_k\n",
        "",
        "the bias has changed in the values' third only",
    ),
    Wrong(
        "mended_fold",
        "thirds of the bias",
        "bias[d : 2 * d] *= l_k\n    bias[2 * d :] *= l_v",
        "bias[:d] *= l_k\n    bias[d : 2 * d] *= l_v",
        "the bias has the keys' sliders on the queries",
    ),
    Wrong("mended_fold", "in place", "weight.clone(), bias.clone()", "weight, bias", "changed in place"),
    Wrong(
        "predict_same",
        "all",
        "return queries, output, up, key_bias, value_bias",
        "return (True,) * 5",
        "not all five are right",
    ),
    Wrong(
        "fold_around",
        "l_k twice",
        "attn.q_proj.bias.mul_(attn.k_proj.scale)",
        "attn.q_proj.bias.mul_(attn.k_proj.scale**2)",
        "times or divided by? whose sliders?) is not right",
    ),
    Wrong("forward_mixed", "sum over the tasks", "torch.stack(rows)[:, None]", "torch.stack(rows).mean(dim=0)", "row"),
    Wrong(
        "forward_mixed",
        "only real tasks",
        "return mixed(idx)",
        "return mixed(idx).flatten(0, 1)",
        "what the rows get is of shape",
    ),
    Wrong(
        "slider_gradient",
        "slider twice",
        "(product * h)",
        "(product * mlp.down_proj.scale * h)",
        "that holds l once too often",
    ),
    Wrong(
        "mended_fold",
        "values first",
        "    return weight, bias",
        "    return weight.T, bias",
        "the new weight is of shape",
    ),
    # ---- as a reader's attempts showed
    Wrong(
        "predict_shared_keys",
        "built",
        "    return trained, size",
        "    nn.Linear(4096, 1024)\n    return trained, size",
        "calculate",
    ),
    Wrong("predict_same", "tried out", "    return queries", "    GPT(None)\n    return queries", "calculate"),
    Wrong("predict_same", "four", "return queries, output, up, key_bias", "return queries, output, up", "return 5"),
    Wrong(
        "predict_same",
        "numbers",
        "return queries, output, up, key_bias, value_bias",
        "return 2, 1, 0, 1, 0",
        "True or False",
    ),
    Wrong(
        "fold_around",
        "modules shared",
        "    folded = copy.deepcopy(adapted)",
        "    folded = copy.deepcopy(adapted)\n    folded.ln_f = adapted.ln_f",
        "shares ln_f",
    ),
    Wrong(
        "fold_around",
        "a plain tensor for a Parameter",
        "            attn.q_proj.bias.mul_(attn.k_proj.scale)\n",
        "            bias = attn.q_proj.bias * attn.k_proj.scale\n            del attn.q_proj.bias\n            attn.q_proj.bias = bias\n",
        "is no nn.Parameter",
    ),
    Wrong(
        "fold_around",
        "two blocks",
        "for block in folded.blocks:",
        "for block in folded.blocks[:2]:",
        "still has its sliders",
    ),
    Wrong(
        "fold_around",
        "requires_grad of adapted",
        "    return folded",
        "    adapted.requires_grad_(True)\n    return folded",
        "requires_grad of adapted",
    ),
    Wrong(
        "fold_around",
        "the lesson's merge",
        "    folded = copy.deepcopy(adapted)\n",
        "    return METHOD.merge(adapted)\n    folded = copy.deepcopy(adapted)\n",
        "k_proj is not the base's",
    ),
    Wrong(
        "forward_mixed",
        "a GPT for each row",
        None,
        """
def forward_mixed(base, sliders, idx, tasks):
    out = []
    for row, task in zip(idx, tasks):
        model = METHOD.attach(copy.deepcopy(base))
        if task >= 0:
            load_weights(model, sliders[task])
        out.append(model(row[None])[0].detach())
    return torch.stack(out)
""",
        "run them once",
    ),
    Wrong(
        "forward_mixed",
        "float32 sliders",
        "torch.stack(rows)[:, None])",
        "torch.stack(rows)[:, None].float().to(one.dtype))",
        "rounded to 32 bits on the way",
    ),
    Wrong("forward_mixed", "tasks changed", "    mixed =", "    tasks.sort()\n    mixed =", "tasks was changed"),
    Wrong(
        "forward_mixed",
        "sliders changed",
        "    mixed =",
        "    sliders.append({n: torch.ones_like(s) for n, s in sliders[0].items()})\n    mixed =",
        "sliders was changed",
    ),
    Wrong(
        "forward_mixed",
        "a hook left on",
        "    mixed =",
        "    base.ln_f.register_forward_hook(lambda module, inputs, output: None)\n    mixed =",
        "was changed",
    ),
    Wrong(
        "forward_mixed",
        "the library's",
        "    mixed =",
        "    mix_ia3(copy.deepcopy(base), {})\n    mixed =",
        "the library's mix",
    ),
    Wrong(
        "slider_gradient",
        "autograd",
        "    h = mlp",
        "    return torch.autograd.grad(mlp(x), mlp.down_proj.scale, g)[0]\n    h = mlp",
        "without autograd",
    ),
    Wrong(
        "slider_gradient",
        "backward on a copy",
        "    h = mlp",
        "    twin = copy.deepcopy(mlp)\n    twin(x).backward(g)\n    return twin.down_proj.scale.grad\n    h = mlp",
        "without autograd",
    ),
    Wrong(
        "slider_gradient",
        "out of inference mode",
        "    h = mlp",
        "    with torch.inference_mode(False), torch.enable_grad():\n        twin = copy.deepcopy(mlp)\n        y = twin(x.clone())\n        y.backward(g.clone())\n        return twin.down_proj.scale.grad\n    h = mlp",
        "without autograd",
    ),
    Wrong(
        "slider_gradient",
        "functional",
        "    h = mlp",
        "    return torch.func.vjp(lambda l: l, mlp.down_proj.scale)[1](g)\n    h = mlp",
        "without autograd",
    ),
    Wrong(
        "slider_gradient",
        "divided by the slider",
        "mlp.act(mlp.up_proj(x))  #",
        "(mlp.act(mlp.up_proj(x)) * mlp.down_proj.scale) / mlp.down_proj.scale  #",
        "nan",
    ),
    Wrong(
        "slider_gradient",
        "exact GELU",
        "mlp.act(mlp.up_proj(x))  #",
        "nn.functional.gelu(mlp.up_proj(x))  #",
        "exact GELU",
    ),
    Wrong(
        "slider_gradient",
        "bias left out",
        "mlp.act(mlp.up_proj(x))  #",
        "mlp.act(x @ mlp.up_proj.weight.T)  #",
        "bias of up_proj",
    ),
    Wrong("slider_gradient", "x zeroed", "    return (product", "    x.zero_()\n    return (product", "x was changed"),
    Wrong(
        "slider_gradient",
        "sizes written in",
        "(product * h).sum(dim=(0, 1))",
        "(product * h).reshape(12, 10).sum(0)",
        "",
    ),
    Wrong(
        "mended_fold",
        "ones written in",
        None,
        "\ndef mended_fold(weight, bias, l_k, l_v):\n    factor = torch.cat([torch.ones(5), l_k, l_v])\n    return weight * factor, bias * factor\n",
        "",
    ),
    Wrong(
        "mended_fold", "in place", "weight.clone(), bias.clone()", "weight, bias.clone()", "weight was changed in place"
    ),
    Wrong("mended_fold", "float32", "    return weight, bias", "    return weight.float(), bias", "float32"),
    Wrong(
        "predict_shared_keys",
        "the library's formula",
        "    keys = 8 * 128",
        "    from minitransformer.model import GPTConfig\n\n"
        "    config = GPTConfig(1, 1, 32, 8, 1024, 14336)\n"
        "    METHOD.formula(config, ('k_proj', 'v_proj', 'down_proj'), ('down_proj',))\n    keys = 8 * 128",
        "calculate",
    ),
    Wrong("fold_around", "in 32 bits", "    return folded", "    return folded.float()", "float32; it must be float64"),
    Wrong(
        "fold_around",
        "autograd left off",
        "    folded = copy.deepcopy(adapted)",
        "    torch.set_grad_enabled(False)\n    folded = copy.deepcopy(adapted)",
        "leaves autograd switched off",
    ),
    Wrong(
        "forward_mixed",
        "hooks left in front of the base's layers",
        "    return mixed(idx)",
        "    base.lm_head.register_forward_pre_hook(lambda module, inputs: None)\n    return mixed(idx)",
        "base.lm_head was changed",
    ),
    Wrong(
        "forward_mixed",
        "the base's forward put over",
        "    return mixed(idx)",
        "    base.lm_head.forward = mixed.lm_head.forward\n    return mixed(idx)",
        "base.lm_head was changed",
    ),
    Wrong(
        "forward_mixed",
        "task rows and base rows apart",
        None,
        """
def forward_mixed(base, sliders, idx, tasks):
    some = [row for row, task in enumerate(tasks) if task >= 0]
    none = [row for row, task in enumerate(tasks) if task < 0]
    mixed = METHOD.attach(copy.deepcopy(base))
    for name, module in mixed.named_modules():
        if isinstance(module, Scaled):
            rows = [sliders[tasks[row]][f"{name}.scale"] for row in some]
            module.scale = nn.Parameter(torch.stack(rows)[:, None])
    x = base.embed(idx)
    y = x.clone()
    y[some], y[none] = mixed.transform(x[some]), base.transform(x[none])
    return base.unembed(y)
""",
        "run them once",
    ),
    Wrong("forward_mixed", "in 32 bits", "return mixed(idx)", "return mixed.float()(idx)", "it must be float64"),
    Wrong(
        "slider_gradient",
        "linearized",
        None,
        """
def slider_gradient(mlp, x, g):
    from torch.func import functional_call, linearize

    def loss(s):
        return (functional_call(mlp, {"down_proj.scale": s}, (x,)) * g).sum()

    scale = mlp.down_proj.scale.detach().clone()
    _, slope = linearize(loss, scale)
    return torch.stack([slope(unit) for unit in torch.eye(len(scale)).to(scale)])
""",
        "without autograd",
    ),
    Wrong(
        "mended_fold",
        "rounded to 32 bits",
        None,
        """
def mended_fold(weight, bias, l_k, l_v):
    scale = torch.cat([torch.ones(len(l_k)), l_k.float(), l_v.float()]).to(weight)
    return weight * scale, bias * scale
""",
        "nearly right",
    ),
    Wrong(
        "forward_mixed",
        "-1 thought to be there always",
        '            rows = [sliders[task][f"{name}.scale"] if task >= 0 else one for task in tasks]  # B times (channels)\n',
        '            known = sorted(set(tasks))[1:]\n            rows = [sliders[task][f"{name}.scale"] if task in known else one for task in tasks]\n',
        "is not what task",
    ),
    Wrong(
        "slider_gradient",
        "rounded to 32 bits",
        "return (product * h).sum(dim=(0, 1))",
        "return (product.float() * h.float()).sum(dim=(0, 1)).to(x.dtype)",
        "nearly right",
    ),
]

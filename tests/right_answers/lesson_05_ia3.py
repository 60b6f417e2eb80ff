"""Right answers in other styles to the exercises of lesson 05."""

from right_answers.right import Right

RIGHT = [
    Right("predict_shared_keys", "a list", "return trained, size", "return [trained, size]"),
    Right("predict_shared_keys", "whole floats", "return trained, size", "return 5.24288e5, trained * 16 / 8"),
    Right("predict_shared_keys", "a tensor", "return trained, size", "return torch.tensor([trained, size])"),
    Right(
        "predict_same",
        "a list",
        "return queries, output, up, key_bias, value_bias",
        "return [True, True, False, True, False]",
    ),
    Right(
        "predict_same",
        "a tensor",
        "return queries, output, up, key_bias, value_bias",
        "return torch.tensor([True, True, False, True, False])",
    ),
    Right(
        "predict_same",
        "numpy",
        "return queries, output, up, key_bias, value_bias",
        "import numpy as np\n    return np.array([1, 1, 0, 1, 0]) > 0",
    ),
    Right(
        "fold_around",
        "a new GPT filled",
        None,
        """
@torch.no_grad()
def fold_around(adapted):
    new = GPT(adapted.config).to(adapted.wte.weight.dtype)
    weights = {n.replace(".base.", "."): w.clone() for n, w in adapted.state_dict().items() if not n.endswith(".scale")}
    for i, block in enumerate(adapted.blocks):
        k, v, f = block.attn.k_proj.scale, block.attn.v_proj.scale, block.mlp.down_proj.scale
        weights[f"blocks.{i}.attn.q_proj.weight"] = torch.diag(k) @ weights[f"blocks.{i}.attn.q_proj.weight"]
        weights[f"blocks.{i}.attn.q_proj.bias"] *= k
        weights[f"blocks.{i}.attn.o_proj.weight"] = weights[f"blocks.{i}.attn.o_proj.weight"] @ torch.diag(v)
        weights[f"blocks.{i}.mlp.down_proj.weight"] *= f[None, :]
    new.load_state_dict(weights)
    return new
""",
    ),
    Right(
        "fold_around",
        "new parameters",
        "attn.q_proj.bias.mul_(attn.k_proj.scale)",
        "attn.q_proj.bias = nn.Parameter(attn.q_proj.bias * attn.k_proj.scale)",
    ),
    Right(
        "fold_around",
        "merged for the network",
        "mlp.down_proj.base.weight.mul_(mlp.down_proj.scale)",
        "mlp.down_proj.base = mlp.down_proj.merged()",
    ),
    Right(
        "forward_mixed",
        "hooks on a copy",
        None,
        """
@torch.no_grad()
def forward_mixed(base, sliders, idx, tasks):
    model = copy.deepcopy(base)
    for name, module in model.named_modules():
        kind = name.split(".")[-1]
        if kind not in ("k_proj", "v_proj", "down_proj"):
            continue
        width = module.in_features if kind == "down_proj" else module.out_features
        table = torch.stack([s[f"{name}.scale"] for s in sliders] + [idx.new_ones(width).to(module.weight)])
        rows = table[tasks][:, None]
        if kind == "down_proj":
            module.register_forward_pre_hook(lambda m, inputs, rows=rows: (inputs[0] * rows,))
        else:
            module.register_forward_hook(lambda m, inputs, output, rows=rows: output * rows)
    return model(idx)
""",
    ),
    Right(
        "forward_mixed",
        "one kept for -1 at the end",
        'sliders[task][f"{name}.scale"] if task >= 0 else one for task in tasks',
        '[*(s[f"{name}.scale"] for s in sliders), one][task] for task in tasks',
    ),
    Right(
        "forward_mixed",
        "without a graph",
        "    return mixed(idx)",
        "    with torch.no_grad():\n        return mixed(idx)",
    ),
    Right(
        "slider_gradient",
        "einsum",
        None,
        """
def slider_gradient(mlp, x, g):
    h = mlp.act(mlp.up_proj(x))
    return torch.einsum("btd,df,btf->f", g, mlp.down_proj.base.weight, h)
""",
    ),
    Right(
        "slider_gradient",
        "flattened",
        "(product * h).sum(dim=(0, 1))",
        "(product.flatten(0, 1) * h.flatten(0, 1)).sum(0)",
    ),
    Right(
        "slider_gradient",
        "the matrix's gradient",
        "(product * h).sum(dim=(0, 1))",
        "(mlp.down_proj.base.weight * (g.flatten(0, 1).T @ h.flatten(0, 1))).sum(0)",
    ),
    Right(
        "slider_gradient",
        "token by token",
        "(product * h).sum(dim=(0, 1))",
        "sum(p * a for p, a in zip(product.flatten(0, 1), h.flatten(0, 1)))",
    ),
    Right("mended_fold", "a list", "    return weight, bias", "    return [weight, bias]"),
    Right(
        "mended_fold",
        "one factor for all columns",
        None,
        """
def mended_fold(weight, bias, l_k, l_v):
    factor = torch.cat([torch.ones_like(l_k), l_k, l_v])
    return weight * factor, bias * factor
""",
    ),
    Right(
        "mended_fold",
        "chunks",
        None,
        """
def mended_fold(weight, bias, l_k, l_v):
    q, k, v = weight.chunk(3, dim=1)
    b_q, b_k, b_v = bias.chunk(3)
    return torch.cat([q, k @ l_k.diag(), v @ l_v.diag()], dim=1), torch.cat([b_q, l_k * b_k, l_v * b_v])
""",
    ),
]

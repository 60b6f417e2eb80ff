"""Right answers in other styles to the exercises of lesson 19."""

from right_answers.right import Right

RIGHT = [
    Right("predict_settings", "a list", "return q, up, v, alpha, up / q", "return [6, 12, 2, 96, 2]"),
    Right(
        "predict_settings",
        "a tensor",
        "return q, up, v, alpha, up / q",
        "return torch.tensor([q, up, v, alpha, up / q])",
    ),
    Right("predict_settings", "square roots", "up = 24 / 4**0.5", "up = 24 / math.sqrt(4)"),
    Right(
        "read_lora",
        "tensor by tensor, with a regular expression",
        None,
        """def read_lora(weights, config, shapes):
    import re

    if not len(weights):
        raise ValueError("empty")
    parts = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"base_model\\\\.model\\\\.(.+)\\\\.lora_([AB])\\\\.weight", name)
        if match is None or match[1] not in shapes:
            raise ValueError(f"nothing here is called {name}")
        parts.setdefault(match[1], {})[match[2]] = tensor
    result = {}
    for place, both in parts.items():
        if len(both) != 2:
            raise ValueError(f"{place}: one is missing")

        def of(pattern, otherwise):
            for key, value in (config.get(pattern) or {}).items():
                if re.fullmatch(rf"(.*\\\\.)?{re.escape(key)}", place):
                    return value
            return otherwise

        rank, alpha = of("rank_pattern", config["r"]), of("alpha_pattern", config["lora_alpha"])
        d_out, d_in = shapes[place]
        if tuple(both["A"].shape) != (rank, d_in):
            raise ValueError(f"A of {place}")
        if tuple(both["B"].shape) != (d_out, rank):
            raise ValueError(f"B of {place}")
        result[place] = [both["A"], both["B"], alpha / rank ** (0.5 if config.get("use_rslora") else 1)]
    return result
""".replace("\\\\", "\\"),
    ),
    Right(
        "read_lora",
        "names known beforehand",
        None,
        """def read_lora(weights, config, shapes):
    names = {f"base_model.model.{place}.lora_{part}.weight": (place, part) for place in shapes for part in "AB"}
    strange = [name for name in weights if name not in names]
    if strange or not weights:
        raise ValueError(f"unknown: {strange}")
    found = {}
    for place in dict.fromkeys(names[name][0] for name in weights):
        rank, alpha = config["r"], config["lora_alpha"]
        for key in reversed(config.get("rank_pattern") or {}):
            if place == key or place.endswith("." + key):
                rank = config["rank_pattern"][key]
        for key in reversed(config.get("alpha_pattern") or {}):
            if place == key or place.endswith("." + key):
                alpha = config["alpha_pattern"][key]
        try:
            A, B = (weights[f"base_model.model.{place}.lora_{part}.weight"] for part in "AB")
        except KeyError as error:
            raise ValueError(f"{error} is missing") from None
        if [*A.shape, *B.shape] != [rank, shapes[place][1], shapes[place][0], rank]:
            raise ValueError("wrong shapes at " + place)
        found[place] = (A, B, torch.tensor(alpha / rank if not config.get("use_rslora") else alpha / rank**0.5).double())
    return found
""",
    ),
    Right(
        "read_lora",
        "half a LoRA is what is left over",
        '            raise ValueError(f"{place} has only one of A and B")\n',
        "            continue\n",
    ),
    Right(
        "read_lora",
        "clones",
        "A, B = (weights[name] for name in names)",
        "A, B = (weights[name].clone() for name in names)",
    ),
    Right(
        "one_rank",
        "the largest's scaling",
        None,
        """def one_rank(loras):
    A, B, scaling = max(loras.values(), key=lambda lora: len(lora[0]))
    rank = len(A)
    out = {}
    for place, (A, B, s) in loras.items():
        wide_A, wide_B = A.new_zeros(rank, A.size(1)), B.new_zeros(B.size(0), rank)
        wide_A[: len(A)] = A
        wide_B[:, : len(A)] = s / scaling * B
        out[place] = [wide_A, wide_B]
    return [rank, scaling * rank, out]
""",
    ),
    Right(
        "one_rank",
        "cat",
        "filled[place] = F.pad(A, (0, 0, 0, more)), F.pad(s * B, (0, more))",
        "filled[place] = torch.cat([A, torch.zeros(more, A.size(1)).to(A)]), torch.cat([s * B, torch.zeros(len(B), more).to(B)], 1)",
    ),
    Right(
        "one_rank",
        "a negative alpha",
        "alpha = float(rank)",
        "alpha, loras = -2.0 * rank, {k: (A, B, -s / 2) for k, (A, B, s) in loras.items()}",
    ),
    Right(
        "mended_fold",
        "in three parts",
        None,
        """def mended_fold(c_attn, c_proj, loras):
    parts = dict(zip("qkv", c_attn.chunk(3, dim=1)))
    parts["o"] = c_proj
    for name, (A, B, alpha) in loras.items():
        parts[name] = parts[name] + A.T @ B.T * (alpha / A.shape[0])
    return torch.cat([parts[name] for name in "qkv"], 1), parts["o"].clone()
""",
    ),
    Right(
        "mended_fold",
        "one low-rank matrix",
        None,
        """def mended_fold(c_attn, c_proj, loras):
    d, new = len(c_proj), c_proj.clone()
    inner = [name for name in loras if name != "o"]
    if "o" in loras:
        A, B, alpha = loras["o"]
        new = new + (alpha / len(A)) * torch.einsum("ri,or->io", A, B)
    if not inner:
        return c_attn.clone(), new
    A = torch.cat([loras[name][0] for name in inner])
    blocks = torch.block_diag(*[loras[name][2] / len(loras[name][0]) * loras[name][1] for name in inner])
    B = c_attn.new_zeros(3 * d, len(A))
    for i, name in enumerate(inner):
        third = "qkv".index(name)
        B[third * d : (third + 1) * d] = blocks[i * d : (i + 1) * d]
    return c_attn + (B @ A).T, new
""",
    ),
    Right(
        "mended_fold",
        "views",
        "c_attn[:, third * d : (third + 1) * d] += update",
        "c_attn.chunk(3, dim=1)[third].add_(update)",
    ),
]

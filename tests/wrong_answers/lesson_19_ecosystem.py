"""Wrong answers that students give to the exercises of lesson 19."""

from wrong_answers.wrong import Wrong

FITS = 'f".{place}".endswith(f".{key}")'
ONLY = '        if not left >= set(names):\n            raise ValueError(f"{place} has only one of A and B")\n'
LEFT = "    if left:\n        raise ValueError(f\"these belong to no layer: {', '.join(sorted(left))}\")\n"
DIVIDED = 'alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)'
FILLED = "filled[place] = F.pad(A, (0, 0, 0, more)), F.pad(s * B, (0, more))"
UPDATE = "update = alpha / len(A) * (B @ A).T"

WRONG = [
    Wrong("predict_settings", "no root", "q = 24 / 16**0.5", "q = 24 / 16", "the root of the rank by which"),
    Wrong("predict_settings", "times the root", "q = 24 / 16**0.5", "q = 24 * 16**0.5", "the root divides"),
    Wrong("predict_settings", "the rank of all", "up = 24 / 4**0.5", "up = 24 / 16**0.5", "its rank is 4"),
    Wrong("predict_settings", "its rank, no root", "up = 24 / 4**0.5", "up = 24 / 4", "the root is of that"),
    Wrong("predict_settings", "the alpha of all", "v = 8 / 16**0.5", "v = 24 / 16**0.5", "its alpha is 8"),
    Wrong("predict_settings", "the other's rank", "v = 8 / 16**0.5", "v = 8 / 4**0.5", "rank is that of all"),
    Wrong("predict_settings", "their alpha", "alpha = q * 16", "alpha = 24", "not by its root"),
    Wrong("predict_settings", "the factor", "alpha = q * 16", "alpha = q", "that is the factor"),
    Wrong("predict_settings", "for up_proj", "alpha = q * 16", "alpha = up * 16", "suits up_proj"),
    Wrong("predict_settings", "ranks compared", "up / q\n", "16 / 4\n", "two factors"),
    Wrong("predict_settings", "nothing", "up / q\n", "1\n", "another than that of q_proj"),
    Wrong("predict_settings", "the whole factor", "up / q\n", "up\n", "in it already"),
    Wrong("predict_settings", "the other way round", "up / q\n", "q / up\n", "the other way round"),
    Wrong(
        "predict_settings",
        "the course's reader",
        "    q = 24 / 16**0.5\n",
        '    q = peft_format.scalings_of({"q.lora_A": torch.zeros(16, 1)}, {"r": 16, "lora_alpha": 24})\n',
        "pencil and paper",
    ),
    Wrong(
        "predict_settings",
        "four numbers",
        "return q, up, v, alpha, up / q",
        "return q, up, v, alpha",
        "return 5 numbers",
    ),
    Wrong(
        "read_lora",
        "what is left over is passed over",
        LEFT,
        "",
        "a name belongs to no layer, and it was read without a word",
    ),
    Wrong(
        "read_lora",
        "half a LoRA is passed over",
        ONLY,
        "        if not left >= set(names):\n            left -= set(names)\n            continue\n",
        "a layer has no A, and it was read",
    ),
    Wrong("read_lora", "half a LoRA is a KeyError", ONLY, "", "is a KeyError"),
    Wrong(
        "read_lora",
        "an empty file",
        '    if not weights:\n        raise ValueError("the file is empty")\n',
        "",
        "the file is empty, and it was read",
    ),
    Wrong(
        "read_lora",
        "an assert",
        '    if not weights:\n        raise ValueError("the file is empty")\n',
        '    assert weights, "the file is empty"\n',
        "is a AssertionError",
    ),
    Wrong(
        "read_lora",
        "the ranks' agreement alone",
        "if A.shape != (rank, d_in) or B.shape != (d_out, rank):",
        "if len(A) != B.size(1):",
        "read without a word",
    ),
    Wrong("read_lora", "A alone is looked at", " or B.shape != (d_out, rank)", "", "B has a column more"),
    Wrong("read_lora", "B alone is looked at", "A.shape != (rank, d_in) or ", "", "A has a row more"),
    Wrong(
        "read_lora",
        "widths are not looked at",
        "A.shape != (rank, d_in) or B.shape != (d_out, rank)",
        "len(A) != rank or B.size(1) != rank",
        "another width",
    ),
    Wrong(
        "read_lora",
        "the rank from the file",
        'rank = setting("rank_pattern", place, config["r"])',
        "rank = len(A)",
        "of another rank",
    ),
    Wrong(
        "read_lora",
        "one rank for all",
        'rank = setting("rank_pattern", place, config["r"])',
        'rank = config["r"]',
        "all fits was refused",
    ),
    Wrong(
        "read_lora",
        "the rank of all in the scaling",
        DIVIDED,
        'alpha / (math.sqrt(config["r"]) if config.get("use_rslora") else config["r"])',
        "rank_pattern",
    ),
    Wrong("read_lora", "no root", DIVIDED, "alpha / rank", "divided by the root"),
    Wrong("read_lora", "always the root", DIVIDED, "alpha / math.sqrt(rank)", "do not ask for it"),
    Wrong("read_lora", "not divided", DIVIDED, "alpha", "not divided"),
    Wrong(
        "read_lora",
        "one alpha for all",
        'alpha = setting("alpha_pattern", place, config["lora_alpha"])',
        'alpha = config["lora_alpha"]',
        "alpha_pattern",
    ),
    Wrong("read_lora", "without the dot", FITS, "place.endswith(key)", "all fits was refused"),
    Wrong("read_lora", "anywhere in it", FITS, "key in place", "all fits was refused"),
    Wrong("read_lora", "never the place itself", FITS, 'place.endswith(f".{key}")', "alpha_pattern"),
    Wrong("read_lora", "the last word alone", FITS, 'place.split(".")[-1] == key', "all fits was refused"),
    Wrong(
        "read_lora", "the last that fits", "in pattern.items()", "in reversed(pattern.items())", "all fits was refused"
    ),
    Wrong("read_lora", "a missing pattern", "config.get(kind) or {}", "config[kind]", "your answer stops"),
    Wrong("read_lora", "a pattern of None", "config.get(kind) or {}", "config.get(kind, {})", "your answer stops"),
    Wrong(
        "read_lora", "exchanged", "found[place] = A, B, alpha", "found[place] = B, A, alpha", "A and B are exchanged"
    ),
    Wrong("read_lora", "names for keys", "found[place] = A, B", "found[names[0]] = A, B", "not names"),
    Wrong(
        "read_lora",
        "the file's dictionary is eaten",
        "A, B = (weights[name] for name in names)",
        "A, B = (weights.pop(name) for name in names)",
        "weights was changed",
    ),
    Wrong(
        "read_lora",
        "a message without the name",
        "f\"these belong to no layer: {', '.join(sorted(left))}\"",
        '"something belongs to no layer"',
        "does not name",
    ),
    Wrong(
        "read_lora",
        "prefix or not",
        None,
        """def read_lora(weights, config, shapes):
    def of(kind, place, otherwise):
        for key, value in (config.get(kind) or {}).items():
            if f".{place}".endswith(f".{key}"):
                return value
        return otherwise

    if not weights:
        raise ValueError("empty")
    parts = {}
    for name, tensor in weights.items():
        place, _, rest = name.replace("base_model.", "").replace("model.", "").partition(".lora_")
        if place not in shapes or rest[:1] not in ("A", "B"):
            raise ValueError(name)
        parts.setdefault(place, {})[rest[0]] = tensor
    found = {}
    for place, both in parts.items():
        rank = of("rank_pattern", place, config["r"])
        if len(both) < 2 or both["A"].shape != (rank, shapes[place][1]) or both["B"].shape != (shapes[place][0], rank):
            raise ValueError(place)
        alpha = of("alpha_pattern", place, config["lora_alpha"])
        found[place] = both["A"], both["B"], alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return found
""",
        "read without a word",
    ),
    Wrong("one_rank", "the smallest", "rank = max(", "rank = min(", "the smallest rank"),
    Wrong(
        "one_rank",
        "the sum",
        "rank = max(len(A) for A, _, _ in loras.values())",
        "rank = sum(len(A) for A, _, _ in loras.values())",
        "sum of the ranks",
    ),
    Wrong("one_rank", "scalings lost", "F.pad(s * B, (0, more))", "F.pad(B, (0, more))", "its own scaling is lost"),
    Wrong("one_rank", "the rank not in alpha", "alpha = float(rank)", "alpha = 1.0", "is it the scaling"),
    Wrong("one_rank", "twice", "F.pad(s * B, (0, more))", "F.pad(s * s * B, (0, more))", "twice"),
    Wrong("one_rank", "divided", "F.pad(s * B, (0, more))", "F.pad(B / s, (0, more))", "should be multiplied by"),
    Wrong(
        "one_rank",
        "A scaled",
        FILLED,
        "filled[place] = F.pad(s * A, (0, 0, 0, more)), F.pad(B, (0, more))",
        "to the bit",
    ),
    Wrong(
        "one_rank",
        "half on each side",
        FILLED,
        "filled[place] = F.pad(s**0.5 * A, (0, 0, 0, more)), F.pad(s**0.5 * B, (0, more))",
        "to the bit",
    ),
    Wrong(
        "one_rank",
        "rows above",
        FILLED,
        "filled[place] = F.pad(A, (0, 0, more, 0)), F.pad(s * B, (more, 0))",
        "to the bit",
    ),
    Wrong(
        "one_rank",
        "above and right",
        FILLED,
        "filled[place] = F.pad(A, (0, 0, more, 0)), F.pad(s * B, (0, more))",
        "is not right",
    ),
    Wrong(
        "one_rank",
        "A filled at random",
        FILLED,
        "filled[place] = torch.cat([A, torch.randn(more, A.size(1), dtype=A.dtype)]), F.pad(s * B, (0, more))",
        "then B learns there",
    ),
    Wrong(
        "one_rank",
        "B filled at random",
        FILLED,
        "filled[place] = F.pad(A, (0, 0, 0, more)), torch.cat([s * B, torch.randn(len(B), more, dtype=B.dtype)], dim=1)",
        "then A learns there",
    ),
    Wrong(
        "one_rank",
        "both filled with ones",
        FILLED,
        "filled[place] = F.pad(A, (0, 0, 0, more), value=1.0), F.pad(s * B, (0, more), value=1.0)",
        "is not right",
    ),
    Wrong(
        "one_rank",
        "repeated",
        FILLED,
        "filled[place] = A.repeat(rank, 1)[:rank], F.pad(s * B, (0, more))",
        "then B learns there",
    ),
    Wrong("one_rank", "rank written in", "rank = max(len(A) for A, _, _ in loras.values())", "rank = 6", "is wanted"),
    Wrong(
        "one_rank",
        "single precision",
        "F.pad(s * B, (0, more))",
        "F.pad(s * B, (0, more)).float()",
        "is of torch.float32",
    ),
    Wrong(
        "one_rank",
        "in place",
        "    for place, (A, B, s) in loras.items():\n",
        "    for place, (A, B, s) in loras.items():\n        B *= s\n        s = 1.0\n",
        "changed in place",
    ),
    Wrong(
        "one_rank",
        "a list",
        "return rank, alpha, filled",
        "return rank, alpha, list(filled.values())",
        "return a dictionary",
    ),
    Wrong("one_rank", "two things", "return rank, alpha, filled", "return rank, filled", "return 3 things"),
    Wrong("mended_fold", "still broken", None, "mended_fold = broken_fold\n", "c_attn:"),
    Wrong(
        "mended_fold",
        "the next third",
        'third = "qkv".index(name)',
        'third = [other for other in "qkv" if other in loras].index(name)',
        "the next third that is free",
    ),
    Wrong(
        "mended_fold",
        "in the order told",
        'third = "qkv".index(name)',
        'third = [other for other in loras if other != "o"].index(name)',
        "c_attn:",
    ),
    Wrong(
        "mended_fold",
        "the first one's rank",
        UPDATE,
        "update = alpha / len(next(iter(loras.values()))[0]) * (B @ A).T",
        "the rank of the first LoRA",
    ),
    Wrong(
        "mended_fold", "c_proj as it was", "c_proj += update", "c_proj += update.T", "A square matrix does not complain"
    ),
    Wrong("mended_fold", "none turned", UPDATE, "update = alpha / len(A) * (B @ A)", "c_attn: in it"),
    Wrong("mended_fold", "not divided", UPDATE, "update = alpha * (B @ A).T", "not divided by the rank"),
    Wrong(
        "mended_fold", "divided by the width", UPDATE, "update = alpha / A.size(1) * (B @ A).T", "c_attn is not right"
    ),
    Wrong(
        "mended_fold",
        "taken away",
        "c_attn[:, third * d : (third + 1) * d] += update",
        "c_attn[:, third * d : (third + 1) * d] -= update",
        "taken away",
    ),
    Wrong(
        "mended_fold",
        "the update alone",
        "c_attn[:, third * d : (third + 1) * d] += update",
        "c_attn[:, third * d : (third + 1) * d] = update",
        "c_attn is not right",
    ),
    Wrong(
        "mended_fold",
        "rows for columns",
        "c_attn[:, third * d : (third + 1) * d] += update",
        "c_attn.view(3, d, d)[third] += update",
        "c_attn is not right",
    ),
    Wrong(
        "mended_fold",
        "heads between",
        "c_attn[:, third * d : (third + 1) * d] += update",
        "c_attn[:, third::3] += update",
        "c_attn is not right",
    ),
    Wrong(
        "mended_fold", "c_proj forgotten", "            c_proj += update\n", "            continue\n", "c_proj: nothing"
    ),
    Wrong(
        "mended_fold",
        "c_attn in place",
        "c_attn, c_proj = c_attn.clone(), c_proj.clone()",
        "c_proj = c_proj.clone()",
        "changed in place",
    ),
    Wrong(
        "mended_fold",
        "no copy where nothing changes",
        "c_attn, c_proj = c_attn.clone(), c_proj.clone()",
        'c_attn, c_proj = c_attn.clone(), c_proj.clone() if "o" in loras else c_proj',
        "return a copy",
    ),
    Wrong(
        "mended_fold",
        "all four wanted",
        "    d = len(c_attn)\n",
        '    loras = {name: loras[name] for name in "qkvo"}\n    d = len(c_attn)\n',
        "your answer stops",
    ),
    Wrong("mended_fold", "single precision", UPDATE, "update = (alpha / len(A) * (B @ A).T).float()", "nearly right"),
    Wrong("mended_fold", "exchanged", "return c_attn, c_proj", "return c_proj, c_attn", "of shape"),
    Wrong(
        "read_lora",
        "a key is a regular expression",
        FITS,
        '__import__("re").match(rf"(.*\\.)?({key})$", place)',
        "which key of a pattern fits",
    ),
    Wrong(
        "read_lora",
        "the longest key that fits",
        "pattern = config.get(kind) or {}",
        "pattern = dict(sorted((config.get(kind) or {}).items(), key=lambda item: -len(item[0])))",
        "not the first that fits",
    ),
    Wrong(
        "read_lora",
        "names of other kinds are passed over",
        "    if left:\n",
        '    left = {name for name in left if "lora_" in name}\n    if left:\n',
        "a name belongs to no layer",
    ),
    Wrong(
        "read_lora",
        "numbers are counted, and not rows and columns",
        "if A.shape != (rank, d_in) or B.shape != (d_out, rank):",
        "if A.numel() != rank * d_in or B.numel() != d_out * rank:",
        "A lies on its side",
    ),
    Wrong(
        "read_lora",
        "the file before is still there",
        "found, left = {}, set(weights)",
        'found, left = globals().setdefault("found", {}), set(weights)',
        "the file has nothing for it",
    ),
    Wrong(
        "one_rank",
        "at least five",
        "rank = max(len(A) for A, _, _ in loras.values())",
        "rank = max(5, *[len(A) for A, _, _ in loras.values()])",
        "the rank is 5",
    ),
]

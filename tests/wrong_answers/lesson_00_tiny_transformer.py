"""Wrong answers that students give to the exercises of lesson 00."""

from wrong_answers.wrong import Wrong

WRONG = [
    # ---- predict_parameters
    Wrong(
        "predict_parameters",
        "head tied",
        " + last_norm + head",
        " + last_norm",
        "Is the head tied to the token embedding, or has it a matrix",
    ),
    Wrong("predict_parameters", "positions forgotten", "tokens + positions + 3", "tokens + 3", "wpe"),
    Wrong("predict_parameters", "attention biases forgotten", "4 * (12 * 12 + 12)", "4 * (12 * 12)", "four attention"),
    Wrong("predict_parameters", "bias of up_proj 8 wide", "(12 * 48 + 48)", "(12 * 48 + 12)", "bias of up_proj"),
    Wrong(
        "predict_parameters",
        "feed-forward biases forgotten",
        "(12 * 48 + 48) + (48 * 12 + 12)",
        "2 * 12 * 48",
        "two biases",
    ),
    Wrong("predict_parameters", "last norm forgotten", " + last_norm", "", "behind the last block"),
    Wrong("predict_parameters", "one norm a block", "2 * (12 + 12)", "12 + 12", "Each block has two norms"),
    Wrong("predict_parameters", "one block", " + 3 * (", " + (", "one block"),
    Wrong("predict_parameters", "heads multiply", "4 * (12 * 12 + 12)", "4 * 4 * (12 * 12 + 12)", "Heads cut"),
    Wrong("predict_parameters", "o_proj forgotten", "4 * (12 * 12 + 12)", "3 * (12 * 12 + 12)", "o_proj"),
    Wrong(
        "predict_parameters",
        "feed-forward 8 wide",
        "(12 * 48 + 48) + (48 * 12 + 12)",
        "2 * (12 * 12 + 12)",
        "n_inner was left out",
    ),
    # ---- predict_first_symbol
    Wrong("predict_first_symbol", "agreement not added", "5: 0.5", "5: 0.25", "add up to"),
    Wrong(
        "predict_first_symbol",
        "equal shares of symbols",
        "{0: 0.25, 5: 0.5, 6: 0.25}",
        "{s: 1 / 3 for s in (0, 5, 6)}",
        "equally likely are the four skills",
    ),
    Wrong("predict_first_symbol", "a skill forgotten", "5: 0.5, 6: 0.25", "5: 0.75", "missing"),
    Wrong("predict_first_symbol", "add_two adds one more", "6: 0.25", "7: 0.25", "no skill begins"),
    # ---- window_mask
    Wrong(
        "window_mask",
        "aligned at the start",
        "torch.arange(n_keys - n_queries, n_keys)",
        "torch.arange(n_queries)",
        "at the start",
    ),
    Wrong("window_mask", "future visible", "(key <= query) & ", "", "sees the future"),
    Wrong("window_mask", "own key hidden", "(key <= query)", "(key < query)", "own key"),
    Wrong("window_mask", "one key too many", "(key > query - window)", "(key >= query - window)", "too many"),
    Wrong(
        "window_mask",
        "one key too few",
        "(key > query - window)",
        "(key > query - window + 1) | (key == query)",
        "too few",
    ),
    Wrong("window_mask", "no window", " & (key > query - window)", "", "too many"),
    Wrong(
        "window_mask",
        "inside out",
        "return (key <= query) & (key > query - window)",
        "return ~((key <= query) & (key > query - window))",
        "inside out",
    ),
    Wrong(
        "window_mask",
        "zeros and ones",
        "return (key <= query) & (key > query - window)",
        "return ((key <= query) & (key > query - window)).float()",
        "booleans",
    ),
    Wrong(
        "window_mask",
        "keys down, queries across",
        "return (key <= query) & (key > query - window)",
        "return ((key <= query) & (key > query - window)).T",
        "shape",
    ),
    # ---- top_k_probabilities
    Wrong(
        "top_k_probabilities",
        "multiplied by the temperature",
        "kept / temperature",
        "kept * temperature",
        "upside down",
    ),
    Wrong("top_k_probabilities", "temperature forgotten", "(kept / temperature)", "kept", "no effect"),
    Wrong(
        "top_k_probabilities",
        "the k-th itself cut",
        "logits < bar",
        "logits <= logits.topk(min(k, logits.size(-1) - 1) + 1, dim=-1).values[:, -2:-1]",
        "too few",
    ),
    Wrong(
        "top_k_probabilities",
        "one too many",
        "logits.topk(k, dim=-1)",
        "logits.topk(min(k + 1, logits.size(-1)), dim=-1)",
        "too many",
    ),
    Wrong(
        "top_k_probabilities",
        "the smallest kept",
        "logits < bar",
        "logits > logits.topk(k, dim=-1, largest=False).values[:, -1:]",
        "smallest",
    ),
    Wrong("top_k_probabilities", "zero instead of minus infinity", "-math.inf", "0.0", "not a probability of 0"),
    Wrong(
        "top_k_probabilities",
        "softmax before the cut",
        "(kept / temperature).softmax(dim=-1)",
        "(logits / temperature).softmax(dim=-1) * (logits >= bar)",
        "do not add up to 1",
    ),
    Wrong("top_k_probabilities", "one bar for the batch", "values[:, -1:]", "values.min()", "bar of its own"),
    Wrong("top_k_probabilities", "changed in place", "masked_fill(", "masked_fill_(", "in place"),
    Wrong(
        "top_k_probabilities",
        "softmax over the batch",
        ".softmax(dim=-1)",
        ".softmax(dim=0)",
        "some probabilities are no numbers",
    ),
    # ---- mended_attention
    Wrong(
        "mended_attention",
        "still divided by the root of d",
        "math.sqrt(head_dim)",
        "math.sqrt(d)",
        "the scores are still divided by too much",
    ),
    Wrong("mended_attention", "not divided", " / math.sqrt(head_dim)", "", "not divided at all"),
    Wrong(
        "mended_attention",
        "divided by head_dim",
        "math.sqrt(head_dim)",
        "head_dim",
        "the scores are divided by too much",
    ),
    Wrong(
        "mended_attention",
        "heads still cut across tokens",
        "view(B, T, n_head, head_dim).transpose(1, 2)",
        "view(B, n_head, T, head_dim)",
        "a token sees what stands behind it",
    ),
    Wrong(
        "mended_attention",
        "heads not put together again",
        "mixed.transpose(1, 2).reshape",
        "mixed.reshape",
        "a token sees what stands behind it",
    ),
    Wrong(
        "mended_attention",
        "mask lost",
        "scores.masked_fill(hidden, -math.inf)",
        "scores",
        "a token sees what stands behind it",
    ),
    Wrong(
        "mended_attention",
        "output projection lost",
        "F.linear(mixed.transpose(1, 2).reshape(B, T, d), w_o)",
        "mixed.transpose(1, 2).reshape(B, T, d)",
        "it gives is not right",
    ),
    Wrong(
        "mended_attention",
        "number of heads written down",
        "head_dim = d // n_head",
        "n_head, head_dim = 4, d // 4",
        "it gives is not right",
    ),
    Wrong(
        "mended_attention",
        "only the scores mended",
        "head_dim = d // n_head",
        "head_dim = d // n_head\n    if n_head > 1:\n        return broken_attention(x, w_q * math.sqrt(n_head), w_k, w_v, w_o, n_head)",
        "still cut by a view",
    ),
    # ---- as a reader's attempts showed
    Wrong(
        "predict_parameters",
        "built and counted",
        "    tokens =",
        "    GPT(GPTConfig(50, 24, 3, 4, 12))\n    tokens =",
        "calculate",
    ),
    Wrong("predict_parameters", "half a number", "+ last_norm + head", "+ last_norm + head + 0.5", "whole number"),
    Wrong(
        "predict_first_symbol",
        "a list",
        "return {0: 0.25, 5: 0.5, 6: 0.25}",
        "return [(0, 0.25), (5, 0.5), (6, 0.25)]",
        "return a dictionary",
    ),
    Wrong("predict_first_symbol", "per cent", "{0: 0.25, 5: 0.5, 6: 0.25}", "{0: 25, 5: 50, 6: 25}", "add up to"),
    Wrong("window_mask", "sizes written in", "torch.arange(n_keys)[None, :]", "torch.arange(4)[None, :]", "shape"),
    Wrong(
        "window_mask",
        "numbers for booleans",
        "return (key <= query) & (key > query - window)",
        "return ((key <= query) & (key > query - window)).float()",
        "must hold booleans",
    ),
    Wrong(
        "top_k_probabilities",
        "raised before the largest is taken off",
        "(kept / temperature).softmax(dim=-1)",
        "(kept / temperature).exp() / (kept / temperature).exp().sum(dim=-1, keepdim=True)",
        "no large logit raised",
    ),
    Wrong(
        "top_k_probabilities",
        "float32",
        "(kept / temperature).softmax(dim=-1)",
        "(kept / temperature).float().softmax(dim=-1)",
        "float32",
    ),
    Wrong("top_k_probabilities", "size written in", "logits.topk(k, dim=-1)", "logits[:, :12].topk(k, dim=-1)", ""),
    Wrong(
        "top_k_probabilities",
        "in place",
        "    kept = logits.masked_fill(",
        "    kept = logits.masked_fill_(",
        "logits was changed",
    ),
    Wrong("mended_attention", "under no_grad", "    scores = q", "    q = q.detach()\n    scores = q", "gradient"),
    Wrong(
        "mended_attention",
        "float32 mask",
        "    mixed = scores",
        "    scores = scores.float()\n    mixed = scores",
        "precision",
    ),
    Wrong(
        "mended_attention", "the lesson's", "    head_dim =", "    attention(x, x, x)\n    head_dim =", "mend the code"
    ),
    Wrong("mended_attention", "x in place", "    head_dim =", "    x.data.zero_()\n    head_dim =", "x was changed"),
    Wrong(
        "predict_parameters",
        "the library's formula",
        "    tokens = 50 * 12",
        "    from minitransformer.methods.full import METHOD\n\n"
        "    METHOD.formula(GPTConfig(50, 24, 3, 4, 12))\n    tokens = 50 * 12",
        "pencil and paper",
    ),
    Wrong(
        "predict_first_symbol",
        "the skills are asked",
        "return {",
        "[skill(torch.tensor([[4, 1, 5, 2, 0, 3]])) for skill in SKILLS.values()]\n    return {",
        "pencil and paper",
    ),
    Wrong("top_k_probabilities", "a number for minus infinity", "-math.inf", "-1000.0", "still have some probability"),
    Wrong("top_k_probabilities", "a large number for minus infinity", "-math.inf", "-1e4", "lower than all of them"),
    Wrong(
        "top_k_probabilities",
        "double",
        "return (kept / temperature)",
        "return (kept.double() / temperature)",
        "it must be float32",
    ),
    Wrong(
        "top_k_probabilities",
        "bar of the flattened table",
        "logits.topk(k, dim=-1).values[:, -1:]",
        "logits.flatten().topk(k).values[-1]",
        "bar of its own",
    ),
    Wrong(
        "mended_attention",
        "dropout",
        ".softmax(dim=-1) @ v",
        ".softmax(dim=-1)\n    mixed = F.dropout(mixed, 0.1) @ v",
        "nothing may be drawn at random",
    ),
    Wrong(
        "mended_attention",
        "default precision left",
        "    B, T, d = x.shape\n",
        "    B, T, d = x.shape\n    torch.set_default_dtype(torch.float64)\n",
        "default precision",
    ),
    Wrong(
        "top_k_probabilities",
        "one largest logit for the batch",
        None,
        """
def top_k_probabilities(logits, k, temperature):
    bar = logits.topk(k, dim=-1).values[:, -1:]
    e = ((logits - logits.max()) / temperature).exp() * (logits >= bar)
    return e / e.sum(dim=-1, keepdim=True)
""",
        "a largest logit of its own",
    ),
    Wrong(
        "mended_attention",
        "a number for minus infinity",
        "masked_fill(hidden, -math.inf)",
        "masked_fill(hidden, -1000.0)",
        "sees what stands behind it",
    ),
    Wrong(
        "mended_attention",
        "raised before the largest is taken off",
        "scores.masked_fill(hidden, -math.inf).softmax(dim=-1) @ v",
        "(lambda e: e / e.sum(-1, keepdim=True))(scores.exp() * ~hidden) @ v",
        "nan",
    ),
    Wrong(
        "mended_attention",
        "PyTorch's own",
        None,
        """
def mended_attention(x, w_q, w_k, w_v, w_o, n_head):
    T, d = x.shape[1:]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    mixed, _ = F.multi_head_attention_forward(
        *[x.transpose(0, 1)] * 3, d, n_head, torch.cat([w_q, w_k, w_v]), None, None, None, False, 0.0, w_o, None,
        attn_mask=future, need_weights=False,
    )
    return mixed.transpose(0, 1)
""",
        "mend the code instead",
    ),
]

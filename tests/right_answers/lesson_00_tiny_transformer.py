"""Right answers in other styles to the exercises of lesson 00."""

from right_answers.right import Right

RIGHT = [
    Right("predict_parameters", "a whole float", "+ last_norm + head", "+ last_norm + float(head)"),
    Right("predict_parameters", "a tensor", "return tokens", "return torch.tensor(0) + tokens"),
    Right("predict_parameters", "numpy", "return tokens", "import numpy as np\n    return np.int64(0) + tokens"),
    Right("predict_first_symbol", "fractions", "{0: 0.25, 5: 0.5, 6: 0.25}", "{0: 1 / 4, 6: 1 / 4, 5: 2 / 4}"),
    Right(
        "predict_first_symbol",
        "numpy",
        "return {0: 0.25, 5: 0.5, 6: 0.25}",
        "import numpy as np\n    return {np.int64(0): np.float32(0.25), np.int64(5): np.float32(0.5), np.int64(6): 0.25}",
    ),
    Right(
        "predict_first_symbol",
        "counted",
        "return {0: 0.25, 5: 0.5, 6: 0.25}",
        "from collections import Counter\n    return Counter({5: torch.tensor(0.5), 0: torch.tensor(0.25), 6.0: 0.25})",
    ),
    Right(
        "window_mask",
        "loops",
        None,
        """
def window_mask(n_queries, n_keys, window):
    rows = []
    for i in range(n_queries):
        own = n_keys - n_queries + i
        rows.append([own - window < j <= own for j in range(n_keys)])
    return torch.tensor(rows)
""",
    ),
    Right(
        "window_mask",
        "two triangles",
        None,
        """
def window_mask(n_queries, n_keys, window):
    ones = torch.ones(n_queries, n_keys)
    return (ones.tril(n_keys - n_queries) - ones.tril(n_keys - n_queries - window)).bool()
""",
    ),
    Right(
        "window_mask",
        "distances",
        "return (key <= query) & (key > query - window)",
        "away = query - key\n    return torch.logical_and(away >= 0, away < window)",
    ),
    Right(
        "top_k_probabilities",
        "scattered",
        None,
        """
def top_k_probabilities(logits, k, temperature):
    best = torch.topk(logits, k)
    shares = F.softmax(best.values / temperature, dim=1)
    return torch.zeros_like(logits).scatter(1, best.indices, shares)
""",
    ),
    Right(
        "top_k_probabilities",
        "sorted, row by row",
        None,
        """
def top_k_probabilities(logits, k, temperature):
    rows = []
    for row in logits:
        bar = row.sort().values[-k]
        rows.append(torch.where(row >= bar, row, float("-inf")).div(temperature).softmax(0))
    return torch.stack(rows)
""",
    ),
    Right(
        "top_k_probabilities",
        "on a clone in place",
        "kept = logits.masked_fill(logits < bar, -math.inf)",
        "kept = logits.clone()\n    kept[logits < bar] = float('-inf')",
    ),
    Right(
        "mended_attention",
        "the kernel",
        None,
        """
def mended_attention(x, w_q, w_k, w_v, w_o, n_head):
    q, k, v = ((x @ w.T).unflatten(-1, (n_head, -1)).transpose(1, 2) for w in (w_q, w_k, w_v))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2) @ w_o.T
""",
    ),
    Right(
        "mended_attention",
        "head by head",
        None,
        """
def mended_attention(x, w_q, w_k, w_v, w_o, n_head):
    T, width = x.size(1), x.size(2) // n_head
    out = []
    for n in range(n_head):
        part = slice(n * width, (n + 1) * width)
        q, k, v = x @ w_q[part].T, x @ w_k[part].T, x @ w_v[part].T
        scores = (q @ k.mT / width**0.5).masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
        out.append(scores.softmax(-1) @ v)
    return torch.cat(out, dim=-1) @ w_o.T
""",
    ),
    Right(
        "mended_attention",
        "einsum",
        None,
        """
def mended_attention(x, w_q, w_k, w_v, w_o, n_head):
    q, k, v = (F.linear(x, w).unflatten(-1, (n_head, -1)) for w in (w_q, w_k, w_v))
    scores = torch.einsum("bihc,bjhc->bhij", q, k) / q.size(-1) ** 0.5
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    weights = scores.masked_fill(hidden, -math.inf).softmax(dim=-1)
    return F.linear(torch.einsum("bhij,bjhc->bihc", weights, v).flatten(2), w_o)
""",
    ),
    Right(
        "top_k_probabilities",
        "a softmax of its own",
        None,
        """
def top_k_probabilities(logits, k, temperature):
    bar = logits.topk(k, dim=-1).values[:, -1:]
    e = ((logits - logits.max(dim=-1, keepdim=True).values) / temperature).exp() * (logits >= bar)
    return e / e.sum(dim=-1, keepdim=True)
""",
    ),
    Right("mended_attention", "the lowest number there is", "-math.inf", "torch.finfo(x.dtype).min"),
]

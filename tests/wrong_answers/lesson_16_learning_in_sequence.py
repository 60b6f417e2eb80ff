"""Wrong answers that students give to the exercises of lesson 16."""

from wrong_answers.wrong import Wrong

FOUR = "return average, backward, forgetting, forward"


def transfer(mistake: str, answer: str, message: str) -> Wrong:
    """Wrong numbers."""
    return Wrong("predict_transfer", mistake, FOUR, f"return {answer}", message)


def rows_and_columns(mistake: str, old: str, new: str, message: str) -> Wrong:
    """A change of the reference solution of add_up."""
    return Wrong("add_up", mistake, old, new, message)


def step(mistake: str, body: str, message: str) -> Wrong:
    """A whole mended_step."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return Wrong("mended_step", mistake, None, f"def mended_step(optimizer, A, old):\n{lines}", message)


WRONG = [
    transfer("the last task alone", "85, -46, 50, 6", "the last task alone"),
    transfer("without the last task", "42.33, -46, 50, 6", "average accuracy"),
    transfer("when each was learned", "87.5, -46, 50, 6", "average accuracy"),
    transfer("the last task counts", "53, -34.5, 50, 6", "counts as zero"),
    transfer("the other sign", "53, 46, 50, 6", "below zero"),
    transfer("backward from the best", "53, -50, 50, 6", "not from the best"),
    transfer("the sum", "53, -138, 50, 6", "the sum"),
    transfer("to the next stage alone", "53, -36, 50, 6", "backward transfer"),
    transfer("forgetting with the last", "53, -46, 37.5, 6", "counts as zero"),
    transfer("forgetting from the diagonal", "53, -46, 46, 6", "best that it ever had"),
    transfer("forgetting below zero", "53, -46, -50, 6", "above zero"),
    transfer("forward with the first", "53, -46, 50, 4.5", "first task counts"),
    transfer("forward the other way", "53, -46, 50, -6", "minus the earlier"),
    transfer("forward without the base", "53, -46, 50, 8.33", "forward transfer"),
    transfer("as parts of one", "0.53, -0.46, 0.5, 0.06", "average accuracy"),
    transfer("three numbers", "53, -46, 50", "return 4 numbers"),
    rows_and_columns(
        "weight on both",
        "rows.setdefault(name, []).append(A)",
        "rows.setdefault(name, []).append(weight * A)",
        "on A and on B",
    ),
    rows_and_columns("the minus is lost", "weight * scaling", "weight.abs() * scaling", "minus is lost"),
    rows_and_columns("no scaling", "weight * scaling * B", "weight * B", "scaling of each LoRA is missing"),
    rows_and_columns("no weight", "weight * scaling * B", "scaling * B", "weights are missing"),
    rows_and_columns(
        "the weight's number", "weight * scaling", "weight.item() * scaling", "no gradient reaches weights"
    ),
    rows_and_columns("detached", "append(A)", "append(A.detach().clone())", "no gradient reaches A"),
    rows_and_columns("B detached", "scaling * B)", "scaling * B.detach())", "no gradient reaches B"),
    rows_and_columns(
        "scaling on both",
        "rows.setdefault(name, []).append(A)",
        "rows.setdefault(name, []).append(scaling * A)",
        "scaling is on A and on B",
    ),
    rows_and_columns(
        "a mean",
        "weight * scaling * B",
        "weight / sum(name in lora for lora in loras) * scaling * B",
        "the mean",
    ),
    rows_and_columns(
        "divided by the sum", "weight * scaling", "weight / weights.sum() * scaling", "divided by their sum"
    ),
    rows_and_columns("A the other way round", "torch.cat(rows[name])", "torch.cat(rows[name][::-1])", "same order"),
    rows_and_columns(
        "only those that all change",
        "for name in rows}",
        "for name in rows if all(name in lora for lora in loras)}",
        "is missing",
    ),
    rows_and_columns(
        "zero weights left out",
        "        for name, (A, B, scaling) in lora.items():",
        "        if weight == 0:\n            continue\n        for name, (A, B, scaling) in lora.items():",
        "is missing",
    ),
    Wrong(
        "add_up",
        "factors added",
        None,
        """def add_up(loras, weights):
    result = {}
    for lora, weight in zip(loras, weights, strict=True):
        for name, (A, B, scaling) in lora.items():
            old_A, old_B = result.get(name, (0, 0))
            result[name] = old_A + A, old_B + weight * scaling * B
    return result
""",
        "R is the sum of the ranks",
    ),
    Wrong(
        "add_up",
        "formed, and taken apart",
        None,
        """def add_up(loras, weights):
    total, ranks = {}, {}
    for lora, weight in zip(loras, weights, strict=True):
        for name, (A, B, scaling) in lora.items():
            total[name] = total.get(name, 0) + weight * scaling * B @ A
            ranks[name] = ranks.get(name, 0) + len(A)
    result = {}
    for name, W in total.items():
        U, S, V = torch.linalg.svd(W, full_matrices=False)
        R = ranks[name]
        pad = max(0, R - len(S))
        U, S, V = U[:, :R], S[:R], V[:R]
        result[name] = nn.functional.pad(S[:, None] * V, (0, 0, 0, pad)), nn.functional.pad(U, (0, pad))
    return result
""",
        "a product of matrices was formed",
    ),
    Wrong(
        "add_up",
        "the first one's own A",
        None,
        """def add_up(loras, weights):
    result = {}
    for weight, lora in zip(weights, loras, strict=True):
        for name, (A, B, scaling) in lora.items():
            B = weight * scaling * B
            if name in result:
                A, B = torch.cat([result[name][0], A]), torch.cat([result[name][1], B], dim=1)
            result[name] = A, B
    return result
""",
        "shares memory",
    ),
    rows_and_columns(
        "in place",
        "        for name, (A, B, scaling) in lora.items():",
        "        for name in list(lora):\n            A, B, scaling = lora.pop(name)",
        "was changed",
    ),
    rows_and_columns("a triple", "dim=1))", "dim=1), 1.0)", "return 2 things"),
    rows_and_columns(
        "the weight by its place",
        "    for lora, weight in zip(loras, weights, strict=True):\n        for name, (A, B, scaling) in lora.items():\n",
        "    for lora in loras:\n        for name, (A, B, scaling) in lora.items():\n"
        "            weight = weights[len(rows.get(name, []))]\n",
        "its place among those",
    ),
    step("the given one", "broken_step(optimizer, A, old)", "this is what broken_step does"),
    step("the optimizer alone", "optimizer.step()", "the old rows are not looked at"),
    step("no step", "pass", "A did not move"),
    step(
        "the gradient rightly projected",
        "if old:\n    V = torch.cat(old)\n    A.grad = A.grad - A.grad @ torch.linalg.pinv(V) @ V\noptimizer.step()",
        "what does it make of the gradient",
    ),
    step(
        "gradient and step",
        "before, g = A.detach().clone(), A.grad\nonto = torch.linalg.pinv(torch.cat(old)) @ torch.cat(old) if old else A.new_zeros(A.size(1), A.size(1))\n"
        "A.grad = g - g @ onto\noptimizer.step()\nA.grad = g\nA.data -= (A.data - before) @ onto",
        "lost the old directions before",
    ),
    step(
        "at right angles and of length one",
        "before = A.detach().clone()\noptimizer.step()\nstep = A.detach() - before\n"
        "for rows in old:\n    step = step - step @ rows.T @ rows\nA.data = before + step",
        "at right angles and of length one",
    ),
    step(
        "of length one",
        "before = A.detach().clone()\noptimizer.step()\nstep = A.detach() - before\n"
        "for rows in old:\n    unit = nn.functional.normalize(rows, dim=1)\n    step = step - step @ unit.T @ unit\nA.data = before + step",
        "as if they were at right angles",
    ),
    step(
        "one after the other",
        "before = A.detach().clone()\noptimizer.step()\nstep = A.detach() - before\n"
        "for rows in old:\n    step = step - step @ torch.linalg.pinv(rows) @ rows\nA.data = before + step",
        "one old matrix after the other",
    ),
    step(
        "QR, though rows repeat",
        "before = A.detach().clone()\noptimizer.step()\nif old:\n    Q = torch.linalg.qr(torch.cat(old).T).Q\n"
        "    step = A.detach() - before\n    A.data = before + step - step @ Q @ Q.T",
        "is unchanged; at right angles",
    ),
    step(
        "an inverse, though rows repeat",
        "before = A.detach().clone()\noptimizer.step()\nif old:\n    V = torch.cat(old)\n    step = A.detach() - before\n"
        "    A.data = before + step - step @ V.T @ torch.linalg.inv(V @ V.T + 1e-3 * torch.eye(len(V), dtype=V.dtype)) @ V",
        "A after step 1 is not right",
    ),
    Wrong(
        "mended_step",
        "in the old directions alone",
        "A -= (A - before) @ onto",
        "A.copy_(before + (A - before) @ onto)",
        "in the old directions alone",
    ),
    Wrong("mended_step", "A itself projected", "A -= (A - before) @ onto", "A -= A @ onto", "A itself has lost"),
    Wrong("mended_step", "a reference", "A.detach().clone()", "A.detach()", "the old rows are not looked at"),
    Wrong("mended_step", "an empty list", "    if old:\n", "    if True:\n", "your answer stops"),
    Wrong(
        "mended_step",
        "a new parameter",
        "        with torch.no_grad():\n            A -= (A - before) @ onto",
        "        A = nn.Parameter(A - (A - before) @ onto)\n        optimizer.param_groups[0]['params'][0] = A",
        "optimizer",
    ),
    Wrong(
        "mended_step",
        "a graph",
        "        with torch.no_grad():\n            A -= (A - before) @ onto",
        "        A -= (A - before) @ onto",
        "in place",
    ),
    Wrong(
        "mended_step",
        "the newest alone",
        "V = torch.cat(old)",
        "V = old[-1]",
        "moved by",
    ),
    Wrong(
        "mended_step",
        "B left behind",
        "    optimizer.step()\n",
        "    weights = [w.detach().clone() for w in optimizer.param_groups[0]['params']]\n    optimizer.step()\n"
        "    for weight, was in zip(optimizer.param_groups[0]['params'], weights):\n"
        "        if weight is not A:\n            weight.data = was\n",
        "the other parameters move",
    ),
    Wrong(
        "mended_step",
        "gradients cleared",
        "    optimizer.step()\n",
        "    optimizer.step()\n    optimizer.zero_grad()\n",
        "the gradient of A was changed",
    ),
    Wrong(
        "mended_step",
        "A returned",
        "    optimizer.step()\n",
        "    optimizer.step()\n    if not old:\n        return A\n",
        "return nothing",
    ),
    step(
        "the projection of the first call, kept",
        """before = A.detach().clone()
optimizer.step()
if not hasattr(A, "P"):
    V = torch.cat([*old, A.detach()[:1] * 0])
    A.P = torch.linalg.pinv(V) @ V
A.data -= (A.data - before) @ A.P""",
        "where the old rows are others",
    ),
    step(
        "the start of the first call, kept",
        """if not hasattr(optimizer, "start"):
    optimizer.start = A.detach().clone()
optimizer.step()
V = torch.cat([*old, A.detach()[:1] * 0])
A.data -= (A.data - optimizer.start) @ torch.linalg.pinv(V) @ V""",
        "where the old rows are others",
    ),
    step(
        "the momentum loses the directions, too",
        """before = A.detach().clone()
optimizer.step()
V = torch.cat([*old, A.detach()[:1] * 0])
P = torch.linalg.pinv(V) @ V
A.data -= (A.data - before) @ P
kept = optimizer.state[A].get("momentum_buffer")
if kept is not None:
    kept -= kept @ P""",
        "where the old rows are others",
    ),
    step(
        "every parameter of that width",
        """V = torch.cat([*old, A.detach()[:1] * 0])
weights = [w for group in optimizer.param_groups for w in group["params"] if w.shape[-1] == A.shape[-1]]
before = [w.detach().clone() for w in weights]
optimizer.step()
for w, b in zip(weights, before):
    w.data -= (w.data - b) @ torch.linalg.pinv(V) @ V""",
        "another parameter of A's shape",
    ),
    step(
        "the first parameter of the optimizer",
        """A = optimizer.param_groups[0]["params"][0]
V = torch.cat([*old, A.detach()[:1] * 0])
before = A.detach().clone()
optimizer.step()
A.data -= (A.data - before) @ torch.linalg.pinv(V) @ V""",
        "the old rows are not looked at",
    ),
    step(
        "in 32 bits",
        """V = torch.cat([*old, A.detach()[:1] * 0]).float()
before = A.detach().clone()
optimizer.step()
A.data -= (A.data - before) @ (torch.linalg.pinv(V) @ V).to(A.dtype)""",
        "rounded to 32 bits",
    ),
    step(
        "short rows count as none",
        """V = torch.cat([*old, A.detach()[:1] * 0])
_, sizes, axes = torch.linalg.svd(V, full_matrices=False)
axes = axes[sizes > 0.01]
before = A.detach().clone()
optimizer.step()
A.data -= (A.data - before) @ axes.T @ axes""",
        "the old rows are not looked at",
    ),
]

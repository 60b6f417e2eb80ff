"""Right answers in other styles to the exercises of lesson 16."""

from right_answers.right import Right

FOUR = "return average, backward, forgetting, forward"

RIGHT = [
    Right("predict_transfer", "a list", FOUR, "return [53, -46, 50, 6]"),
    Right("predict_transfer", "a tensor", FOUR, "return torch.tensor([53.0, -46.0, 50.0, 6.0])"),
    Right(
        "predict_transfer",
        "from the table",
        None,
        """def predict_transfer():
    R = torch.tensor([[0, 4, 1, 2], [90, 10, 5, 0], [60, 80, 10, 0], [70, 92, 95, 5], [30, 56, 41, 85]]).double()
    end, learned = R[-1], R[1:].diagonal()
    backward = (end - learned)[:-1].mean()
    forgetting = (R[1:-1].amax(dim=0) - end)[:-1].mean()
    forward = sum(R[i, i] - R[0, i] for i in range(1, 4)) / 3
    return end.mean(), backward, forgetting, forward
""",
    ),
    Right(
        "add_up",
        "matrix by matrix",
        None,
        """def add_up(loras, weights):
    names = {name for lora in loras for name in lora}
    result = {}
    for name in names:
        parts = [(w, *lora[name]) for w, lora in zip(weights, loras) if name in lora]
        A = torch.cat([A for _, A, _, _ in parts], dim=0)
        B = torch.cat([B * s * w for w, _, B, s in parts], dim=1)
        result[name] = A, B
    return result
""",
    ),
    Right(
        "add_up",
        "the weight on A",
        None,
        """def add_up(loras, weights):
    result = {}
    for k in range(len(loras)):
        for name, (A, B, s) in loras[k].items():
            A, B = weights[k] * s * A, 1.0 * B
            if name in result:
                A, B = torch.cat([result[name][0], A]), torch.cat([result[name][1], B], dim=-1)
            result[name] = [A, B]
    return result
""",
    ),
    Right(
        "add_up",
        "in another order, transposed",
        None,
        """def add_up(loras, weights):
    result = {}
    for w, lora in reversed(list(zip(weights, loras))):
        for name, (A, B, s) in lora.items():
            result.setdefault(name, []).append((A.clone(), (B * (w * s)).mT))
    return {
        name: (torch.vstack([A for A, _ in parts]), torch.vstack([B for _, B in parts]).mT)
        for name, parts in result.items()
    }
""",
    ),
    Right(
        "mended_step",
        "an orthonormal basis",
        None,
        """def mended_step(optimizer, A, old):
    start = A.detach().clone()
    optimizer.step()
    rows = torch.cat([*old, A.new_zeros(1, A.size(1))])
    _, sizes, basis = torch.linalg.svd(rows, full_matrices=False)
    basis = basis[sizes > 1e-5 * sizes.max()]
    step = A.detach() - start
    A.data.copy_(start + step - step @ basis.T @ basis)
""",
    ),
    Right(
        "mended_step",
        "row by row, against those that are left",
        None,
        """@torch.no_grad()
def mended_step(optimizer, A, old):
    basis = []
    for rows in old:
        for row in rows:
            rest = row.clone()
            for _ in range(2):
                for axis in basis:
                    rest = rest - (rest @ axis) * axis
            if rest.norm() > 1e-4 * row.norm():
                basis.append(rest / rest.norm())
    before = A.clone()
    optimizer.step()
    for axis in basis:
        A.sub_(torch.outer((A - before) @ axis, axis))
""",
    ),
    Right(
        "mended_step",
        "least squares",
        None,
        """def mended_step(optimizer, A, old):
    before = A.detach().clone()
    optimizer.step()
    if sum(len(rows) for rows in old):
        step = (A - before).detach()
        V = torch.cat(old, dim=0)
        A.data = before + step - (torch.linalg.lstsq(V.T, step.T, driver="gelsd").solution.T @ V)
""",
    ),
    Right(
        "mended_step",
        "the pinv of the other side",
        "torch.linalg.pinv(V) @ V",
        "V.T @ torch.linalg.pinv(V.T)",
    ),
    Right(
        "add_up",
        "a factor for each row, repeated",
        None,
        """def add_up(loras, weights):
    total = {}
    for name in {name for lora in loras for name in lora}:
        those = [k for k, lora in enumerate(loras) if name in lora]
        A, B, s = zip(*(loras[k][name] for k in those))
        factor = (weights[those] * torch.tensor(s).to(weights)).repeat_interleave(torch.tensor([len(a) for a in A]))
        total[name] = [torch.vstack(A).clone(), torch.hstack(B) * factor]
    return total
""",
    ),
    Right(
        "mended_step",
        "the directions that are free, from the rows' squares",
        None,
        """def mended_step(optimizer, A, old):
    was = A.detach().clone()
    optimizer.step()
    squares = sum((rows.double().T @ rows.double() for rows in old), torch.zeros(A.shape[1], A.shape[1]).double())
    sizes, axes = torch.linalg.eigh(squares)
    free = axes[:, sizes <= 1e-10 * sizes.max()]
    with torch.no_grad():
        A.copy_(was + (A - was).double() @ free @ free.T)
""",
    ),
    Right(
        "mended_step",
        "a hook of the optimizer",
        None,
        """def mended_step(optimizer, A, old):
    was = A.detach().clone()

    def after(*_):
        if old:
            V = torch.cat(old)
            A.data.sub_((A.data - was) @ torch.linalg.pinv(V) @ V)

    handle = optimizer.register_step_post_hook(after)
    optimizer.step()
    handle.remove()
""",
    ),
]

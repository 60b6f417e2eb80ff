"""Right answers in other styles to the exercises of lesson 18."""

from right_answers.right import Right

RIGHT = [
    Right("predict_bits", "a list", "return plain, double, move", "return [plain, double, move]"),
    Right(
        "predict_bits",
        "bits first",
        "weights // 2 + blocks + 4 * (blocks // 128)",
        "weights * (4 + 8 / 32 + 32 / (32 * 128)) / 8",
    ),
    Right("predict_bits", "three digits", "0.0795803 / 2 * 3.2", "0.127"),
    Right(
        "pack",
        "the nearest by distance, block numbers",
        None,
        """def pack(weight, table, block_size):
    flat = weight.reshape(-1)
    n = flat.numel()
    which = torch.arange(n) // block_size
    absmax = torch.stack([part.abs().max() for part in flat.split(block_size)])
    scaled = flat / absmax.clamp(min=1e-30)[which]
    codes = (scaled[:, None] - table[None]).abs().argmin(1)
    if n % 2:
        codes = torch.cat([codes, codes.new_tensor([9])])
    pairs = codes.view(-1, 2)
    return (16 * pairs[:, 0] + pairs[:, 1]).to(torch.uint8), absmax


def unpack(codes, absmax, table, block_size, shape):
    n = 1
    for d in shape:
        n *= d
    both = codes.new_empty(2 * len(codes))
    both[0::2] = codes // 16
    both[1::2] = codes % 16
    values = F.embedding(both[:n].int(), table[:, None])[:, 0]
    return (values * absmax[torch.arange(n) // block_size]).reshape(shape)
""",
    ),
    Right(
        "pack",
        "loops",
        None,
        """def pack(weight, table, block_size):
    absmax, codes = [], []
    for part in weight.flatten().split(block_size):
        largest = part.abs().max()
        absmax.append(largest)
        for w in part:
            codes.append(0 if largest == 0 else int((table - w / largest).abs().argmin()))
    codes += [0] * (len(codes) % 2)
    packed = [16 * codes[i] + codes[i + 1] for i in range(0, len(codes), 2)]
    return torch.tensor(packed, dtype=torch.uint8), torch.stack(absmax)


def unpack(codes, absmax, table, block_size, shape):
    both = [c for byte in codes.tolist() for c in divmod(byte, 16)]
    out = torch.zeros(shape, dtype=absmax.dtype)
    flat = out.view(-1)
    for i in range(flat.numel()):
        flat[i] = table[both[i]] * absmax[i // block_size]
    return out
""",
    ),
    Right(
        "pack",
        "nan put right afterwards",
        "    scaled = blocks / absmax.where(absmax > 0, 1.0)[:, None]  # (blocks, block_size): between -1 and 1\n",
        "    scaled = (blocks / absmax[:, None]).nan_to_num()\n",
    ),
    Right("lean_lora", "the product in three", "s * F.linear(F.linear(x, A), B)", "s * (x @ A.T @ B.T)"),
    Right(
        "lean_lora",
        "all in one function",
        None,
        """class Lean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, A, B, unpack, s):
        ctx.save_for_backward(x, A, B)
        ctx.unpack, ctx.s = unpack, s
        return x @ unpack().T + s * x @ A.T @ B.T

    @staticmethod
    def backward(ctx, G):
        x, A, B = ctx.saved_tensors
        of_a = ctx.s * G @ B
        of_x = G @ ctx.unpack() + of_a @ A if ctx.needs_input_grad[0] else None
        flat = x.reshape(-1, x.size(-1))
        of_A = of_a.reshape(-1, len(A)).T @ flat
        of_B = ctx.s * G.reshape(-1, len(B)).T @ (flat @ A.T)
        return of_x, of_A, of_B, None, None


def lean_lora(x, unpack, A, B, s):
    return Lean.apply(x, A, B, unpack, s)
""",
    ),
    Right(
        "lean_lora",
        "hooks on what is saved",
        None,
        """def lean_lora(x, unpack, A, B, s):
    W = unpack()
    storage = W.data_ptr()

    def put(tensor):
        return tensor.shape == W_shape if tensor.data_ptr() == storage else tensor

    def get(kept):
        if isinstance(kept, torch.Tensor):
            return kept
        made = unpack()
        return made if kept else made.T

    W_shape = W.shape
    with torch.autograd.graph.saved_tensors_hooks(put, get):
        y = F.linear(x, W)
    del W
    return y + F.linear(F.linear(x, s * A), B)
""",
    ),
    Right(
        "start_beside",
        "eigenvectors",
        None,
        """def start_beside(W, Q, rank, s):
    M = (W - Q) / s
    values, V = torch.linalg.eigh(M.T @ M)
    V = V[:, -rank:]  # the largest are the last
    length = values[-rank:].clamp(min=0).sqrt()
    root = length.sqrt()
    return root[:, None] * V.T, M @ V / root
""",
    ),
    Right(
        "start_beside",
        "one term after the other",
        None,
        """def start_beside(W, Q, rank, s):
    U, S, V = torch.svd((W - Q) / s)
    A = torch.stack([S[i] ** 0.5 * V[:, i] for i in range(rank)])
    B = torch.stack([S[i] ** 0.5 * U[:, i] for i in range(rank)], dim=1)
    return [A, B]
""",
    ),
    Right(
        "start_beside",
        "diagonal matrices",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "return torch.diag(root) @ Vh[:rank], U[:, :rank] @ torch.diag(root)",
    ),
    Right(
        "start_beside",
        "another sign",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "return -root[:, None] * Vh[:rank], -U[:, :rank] * root",
    ),
    Right(
        "mended_scales",
        "group by group",
        None,
        """def mended_scales(absmax, group):
    mean = sum(absmax) / len(absmax)
    codes, steps = [], []
    for part in (absmax - mean).split(group):
        step = max(part.max(), -part.min()) / 127
        steps.append(step)
        codes.append(torch.round(part / step))
    return torch.cat(codes).to(torch.int8), torch.stack(steps), mean
""",
    ),
    Right(
        "mended_scales",
        "filled with the mean",
        "F.pad(absmax - mean, (0, -n % group)).view(-1, group)",
        "torch.cat([absmax, mean.expand(-n % group)]).view(-1, group) - mean",
    ),
    Right("mended_scales", "halves up", "(aside / steps[:, None]).round()", "(aside / steps[:, None] + 0.5).floor()"),
    Right(
        "mended_scales",
        "steps in a column, a list",
        "return codes.flatten()[:n], steps, mean\n",
        "return [codes.view(-1)[:n], steps[:, None], mean[None]]\n",
    ),
]

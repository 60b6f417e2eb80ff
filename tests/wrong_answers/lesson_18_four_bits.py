"""Wrong answers that students give to the exercises of lesson 18."""

from wrong_answers.wrong import Wrong

HALVES = "return codes[0::2] << 4 | codes[1::2], absmax"
BACK = "(table[both.long()] * absmax.repeat_interleave(block_size)[:n]).view(shape)"
STEPS = "steps = aside.abs().amax(dim=1) / 127"
LORA = "class MadeTwice"


def lean(forward: str, backward: str) -> str:
    """An answer with a function of its own for all, of which two lines are given."""
    return f"""class Lean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, A, B, unpack, s):
        {forward}
        return x @ W.T + s * x @ A.T @ B.T

    @staticmethod
    def backward(ctx, G):
        {backward}
        s = ctx.s
        of_a = s * G @ B
        flat = x.reshape(-1, x.size(-1))
        return G @ W + of_a @ A, of_a.reshape(-1, len(A)).T @ flat, s * G.reshape(-1, len(B)).T @ (flat @ A.T), None, None


def lean_lora(x, unpack, A, B, s):
    return Lean.apply(x, A, B, unpack, s)
"""


WRONG = [
    Wrong(
        "predict_bits", "codes alone", "plain = weights // 2 + 4 * blocks", "plain = weights // 2", "the codes alone"
    ),
    Wrong(
        "predict_bits",
        "the scales alone",
        "plain = weights // 2 + 4 * blocks",
        "plain = 4 * blocks",
        "the scales alone",
    ),
    Wrong(
        "predict_bits",
        "bits",
        "plain = weights // 2 + 4 * blocks",
        "plain = 4 * weights + 32 * blocks",
        "eight are a byte",
    ),
    Wrong(
        "predict_bits",
        "a byte a code",
        "plain = weights // 2 + 4 * blocks",
        "plain = weights + 4 * blocks",
        "two codes go",
    ),
    Wrong(
        "predict_bits", "the lesson's blocks", "blocks = weights // 32", "blocks = weights // 64", "blocks are of 32"
    ),
    Wrong(
        "predict_bits",
        "a scale a byte",
        "plain = weights // 2 + 4 * blocks",
        "plain = weights // 2 + blocks",
        "four bytes",
    ),
    Wrong("predict_bits", "the groups forgotten", " + 4 * (blocks // 128)", "", "which counts"),
    Wrong("predict_bits", "groups of 256", "blocks // 128", "blocks // 256", "128 scales are a group"),
    Wrong("predict_bits", "a group of weights", "4 * (blocks // 128)", "4 * (weights // 128)", "not 128 weights"),
    Wrong("predict_bits", "one byte a group", "4 * (blocks // 128)", "blocks // 128", "four bytes"),
    Wrong("predict_bits", "the whole way", "0.0795803 / 2 * 3.2", "0.0795803 * 3.2", "half way"),
    Wrong("predict_bits", "no absmax", "0.0795803 / 2 * 3.2", "0.0795803 / 2", "times the block's largest"),
    Wrong("predict_bits", "divided", "0.0795803 / 2 * 3.2", "0.0795803 / 2 / 3.2", "not divided"),
    Wrong(
        "predict_bits",
        "the other neighbour",
        "0.0795803 / 2 * 3.2",
        "0.0910500 / 2 * 3.2",
        "the other neighbour is nearer",
    ),
    Wrong(
        "predict_bits",
        "a model is built",
        "blocks = weights // 32",
        "blocks = torch.nn.Linear(8, 8).weight.numel() * weights // 2048",
        "pencil and paper",
    ),
    Wrong("predict_bits", "two numbers", "return plain, double, move", "return plain, double", "return 3 numbers"),
    Wrong("pack", "the lower half first", HALVES, "return codes[1::2] << 4 | codes[0::2], absmax", "exchanged"),
    Wrong("pack", "a code a byte", HALVES, "return codes[: len(flat)], absmax", "one code a byte"),
    Wrong(
        "pack",
        "the value below",
        "torch.bucketize(scaled, (table[1:] + table[:-1]) / 2)",
        "(torch.bucketize(scaled, table, right=True) - 1)",
        "of the value below",
    ),
    Wrong("pack", "the value above", "(table[1:] + table[:-1]) / 2)", "table[:-1])", "of the value above"),
    Wrong(
        "pack",
        "even steps",
        "torch.bucketize(scaled, (table[1:] + table[:-1]) / 2)",
        "((scaled + 1) * 7.5).round().long()",
        "steps were taken for even",
    ),
    Wrong("pack", "not divided", "blocks / absmax.where(absmax > 0, 1.0)[:, None]", "blocks", "not divided"),
    Wrong(
        "pack",
        "divided by the largest of all",
        "blocks / absmax.where(absmax > 0, 1.0)[:, None]",
        "blocks / absmax.max()",
        "largest of all",
    ),
    Wrong(
        "pack",
        "the largest without its size",
        "absmax = blocks.abs().amax(dim=1)",
        "absmax = blocks.amax(dim=1)",
        "larger in size",
    ),
    Wrong(
        "pack",
        "one absmax for all",
        "absmax = blocks.abs().amax(dim=1)",
        "absmax = blocks.abs().max().expand(len(blocks))",
        "one absmax for all",
    ),
    Wrong("pack", "a column", HALVES, "return codes[0::2] << 4 | codes[1::2], absmax[:, None]", "one number a block"),
    Wrong(
        "pack",
        "zeros get one",
        "absmax = blocks.abs().amax(dim=1)",
        "absmax = blocks.abs().amax(dim=1)\n    absmax = absmax.where(absmax > 0, 1.0)",
        "absmax must be 0",
    ),
    Wrong(
        "pack", "nan in codes", "return (table[both", "assert absmax.all()\n    return (table[both", "its own assert"
    ),
    Wrong(
        "pack",
        "the filling packed",
        "codes = torch.bucketize(scaled, (table[1:] + table[:-1]) / 2).flatten()[: len(flat)]",
        "codes = torch.bucketize(scaled, (table[1:] + table[:-1]) / 2).flatten()",
        "the filling of the last block",
    ),
    Wrong(
        "pack",
        "an even number written in",
        "    codes = F.pad(codes, (0, len(codes) % 2)).to(torch.uint8)  # an even number\n",
        "    codes = codes[: len(codes) // 2 * 2].to(torch.uint8)\n",
        "the last is missing",
    ),
    Wrong(
        "pack",
        "full blocks alone",
        "F.pad(flat, (0, -len(flat) % block_size)).view",
        "flat.view",
        "the shapes do not fit",
    ),
    Wrong(
        "pack",
        "the last block forgotten",
        "F.pad(flat, (0, -len(flat) % block_size)).view",
        "flat[: len(flat) // block_size * block_size].view",
        "absmax is of shape",
    ),
    Wrong(
        "pack",
        "signed",
        HALVES,
        "return (codes[0::2] << 4 | codes[1::2]).to(torch.int8), absmax",
        "must be of torch.uint8",
    ),
    Wrong(
        "pack",
        "in place",
        "    flat = weight.flatten()\n",
        "    flat = weight.flatten()\n    weight /= weight.abs().max()\n",
        "changed in place",
    ),
    Wrong(
        "pack",
        "a block a row",
        "    flat = weight.flatten()\n",
        "    flat = weight.mT.flatten() if weight.dim() > 1 else weight.flatten()\n",
        "is not right",
    ),
    Wrong(
        "pack",
        "unpacked halves exchanged",
        "torch.stack([codes >> 4, codes & 15], dim=1)",
        "torch.stack([codes & 15, codes >> 4], dim=1)",
        "unpack: the two codes",
    ),
    Wrong(
        "pack",
        "all upper halves first",
        "torch.stack([codes >> 4, codes & 15], dim=1)",
        "torch.stack([codes >> 4, codes & 15], dim=0)",
        "what unpack returns",
    ),
    Wrong("pack", "no absmax back", BACK, "table[both.long()].view(shape)", "not multiplied by absmax"),
    Wrong(
        "pack",
        "divided back",
        BACK,
        "(table[both.long()] / absmax.where(absmax > 0, 1.0).repeat_interleave(block_size)[:n]).view(shape)",
        "value over absmax",
    ),
    Wrong("pack", "flat back", BACK, "table[both.long()] * absmax.repeat_interleave(block_size)[:n]", "of shape"),
    Wrong(
        "pack",
        "back in single precision",
        BACK,
        "(table[both.long()] * absmax.float().repeat_interleave(block_size)[:n]).to(table.dtype).view(shape)",
        "nearly right",
    ),
    Wrong(
        "lean_lora",
        "the plain lines",
        None,
        "def lean_lora(x, unpack, A, B, s):\n    return F.linear(x, unpack()) + s * F.linear(F.linear(x, A), B)\n",
        "keeps a matrix of d_out by d_in",
    ),
    Wrong(
        "lean_lora",
        "merged",
        None,
        "def lean_lora(x, unpack, A, B, s):\n    return F.linear(x, unpack() + s * B @ A)\n",
        "keeps a matrix of d_out by d_in",
    ),
    Wrong(
        "lean_lora",
        "checkpoint",
        None,
        "def lean_lora(x, unpack, A, B, s):\n    return library.checkpoint(lambda x: F.linear(x, unpack()) + s * x @ A.T @ B.T, x, use_reentrant=False)\n",
        "no checkpoint",
    ),
    Wrong(
        "lean_lora",
        "the matrix saved",
        "ctx.unpack = unpack\n        return F.linear(x, unpack())",
        "W = unpack()\n        ctx.save_for_backward(W)\n        ctx.unpack = lambda: ctx.saved_tensors[0]\n        return F.linear(x, W)",
        "keeps a matrix of d_out by d_in",
    ),
    Wrong(
        "lean_lora",
        "the matrix on ctx",
        "ctx.unpack = unpack\n        return F.linear(x, unpack())",
        "W = unpack()\n        ctx.unpack = lambda: W\n        return F.linear(x, W)",
        "which was kept",
    ),
    Wrong(
        "lean_lora",
        "a copy on ctx",
        "ctx.unpack = unpack\n        return F.linear(x, unpack())",
        "W = unpack()\n        copy = W.clone()\n        ctx.unpack = lambda: copy\n        return F.linear(x, W)",
        "is the matrix kept",
    ),
    Wrong(
        "lean_lora",
        "unpacked on the way back in any case",
        None,
        lean(
            "ctx.save_for_backward(x, A, B)\n        ctx.unpack, ctx.s = unpack, s\n        W = unpack()",
            "x, A, B = ctx.saved_tensors\n        W = ctx.unpack()",
        ),
        "all the same",
    ),
    Wrong(
        "lean_lora",
        "attributes",
        None,
        lean("W = unpack()\n        ctx.s, ctx.all = s, (x.clone(), A, B, W)", "x, A, B, W = ctx.all"),
        "which was kept",
    ),
    Wrong(
        "lean_lora",
        "unpacked twice there",
        "return F.linear(x, unpack())",
        "return F.linear(x, unpack() * (unpack() == unpack()))",
        "on the way there",
    ),
    Wrong(
        "lean_lora",
        "unpacked twice back",
        "return G @ ctx.unpack(), None",
        "return G @ ctx.unpack() / 2 + G @ ctx.unpack() / 2, None",
        "on the way back",
    ),
    Wrong(
        "lean_lora",
        "the LoRA's matrix formed",
        "s * F.linear(F.linear(x, A), B)",
        "s * F.linear(x, B @ A)",
        "keeps a matrix of d_out by d_in",
    ),
    Wrong(
        "lean_lora",
        "scale missing",
        "s * F.linear(F.linear(x, A), B)",
        "F.linear(F.linear(x, A), B)",
        "scale is missing",
    ),
    Wrong(
        "lean_lora",
        "scale before both",
        "return MadeTwice.apply(x, unpack) + s * F.linear(F.linear(x, A), B)",
        "return s * (MadeTwice.apply(x, unpack) + F.linear(F.linear(x, A), B))",
        "before both",
    ),
    Wrong("lean_lora", "the LoRA alone", "return MadeTwice.apply(x, unpack) + s", "return s", "the matrix is missing"),
    Wrong(
        "lean_lora",
        "no way through W",
        "MadeTwice.apply(x, unpack)",
        "F.linear(x.detach(), unpack())",
        "the way through W is missing",
    ),
    Wrong(
        "lean_lora",
        "backward gives nothing",
        "return G @ ctx.unpack(), None",
        "return None, None",
        "the way through W is missing",
    ),
    Wrong(
        "lean_lora",
        "no way through A",
        "F.linear(F.linear(x, A), B)",
        "F.linear(F.linear(x.detach(), A), B)",
        "the way through A and B is missing",
    ),
    Wrong(
        "lean_lora",
        "transposed on the way back",
        "G @ ctx.unpack(), None",
        "G @ ctx.unpack().T, None",
        "the shapes do not fit",
    ),
    Wrong("lean_lora", "A detached", "F.linear(x, A)", "F.linear(x, A.detach())", "no gradient"),
    Wrong(
        "lean_lora",
        "in single precision",
        "return F.linear(x, unpack())",
        "return F.linear(x.float(), unpack().float()).to(x.dtype)",
        "nearly right",
    ),
    Wrong(
        "lean_lora",
        "the wide path kept",
        "s * F.linear(F.linear(x, A), B)",
        "F.linear(F.linear(x, A), B) * torch.tensor(s, dtype=x.dtype).requires_grad_()",
        "autograd keeps more",
    ),
    Wrong(
        "start_beside", "s forgotten", "root = (sigma[:rank] / s).sqrt()", "root = sigma[:rank].sqrt()", "divide by it"
    ),
    Wrong(
        "start_beside",
        "s undone on both sides",
        "(sigma[:rank] / s).sqrt()",
        "sigma[:rank].sqrt() / s",
        "s B A is not right",
    ),
    Wrong("start_beside", "the other way round", "(W - Q, full", "(Q - W, full", "the sign is wrong"),
    Wrong("start_beside", "of the matrix", "(W - Q, full", "(W, full", "nearest to W"),
    Wrong("start_beside", "of the rounded matrix", "(W - Q, full", "(Q, full", "nearest to Q"),
    Wrong(
        "start_beside",
        "the last terms",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "root = (sigma[-rank:] / s).sqrt()\n    return root[:, None] * Vh[-rank:], U[:, -rank:] * root",
        "the smallest terms",
    ),
    Wrong(
        "start_beside",
        "sigma missing",
        "(sigma[:rank] / s).sqrt()",
        "(sigma[:rank] ** 0 / s).sqrt()",
        "sigma is missing",
    ),
    Wrong(
        "start_beside",
        "sigma on both sides",
        "root = (sigma[:rank] / s).sqrt()",
        "root = sigma[:rank] / s**0.5",
        "squared",
    ),
    Wrong(
        "start_beside",
        "the root once",
        "U[:, :rank] * root",
        "U[:, :rank] / s**0.5",
        "the root of sigma is in the product",
    ),
    Wrong(
        "start_beside",
        "all in B",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "return Vh[:rank], U[:, :rank] * root**2",
        "a half of sigma",
    ),
    Wrong(
        "start_beside",
        "all in A",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "return root[:, None] ** 2 * Vh[:rank], U[:, :rank]",
        "a half of sigma",
    ),
    Wrong(
        "start_beside",
        "s in one of them",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "return root[:, None] * Vh[:rank] * s, U[:, :rank] * root / s",
        "a half of sigma",
    ),
    Wrong("start_beside", "V not turned", "root[:, None] * Vh[:rank], U", "root[:, None] * Vh.T[:rank], U", "is"),
    Wrong(
        "start_beside",
        "exchanged",
        "return root[:, None] * Vh[:rank], U[:, :rank] * root",
        "return U[:, :rank] * root, root[:, None] * Vh[:rank]",
        "of shape",
    ),
    Wrong("start_beside", "rank two", "    root = (sigma", "    rank = 2\n    root = (sigma", "of shape"),
    Wrong(
        "start_beside",
        "a usual start",
        None,
        "def start_beside(W, Q, rank, s):\n    return torch.randn(rank, W.size(1), dtype=W.dtype), torch.zeros(W.size(0), rank, dtype=W.dtype)\n",
        "is zero",
    ),
    Wrong(
        "start_beside",
        "in single precision",
        "torch.linalg.svd(W - Q, full_matrices=False)",
        "(part.to(W.dtype) for part in torch.linalg.svd((W - Q).float(), full_matrices=False))",
        "nearly right",
    ),
    Wrong(
        "start_beside",
        "in place",
        "torch.linalg.svd(W - Q, full",
        "torch.linalg.svd(W.sub_(Q), full",
        "changed in place",
    ),
    Wrong("mended_scales", "still broken", None, "mended_scales = broken_scales\n", "the filling counts in the mean"),
    Wrong(
        "mended_scales",
        "mean of the filled",
        "mean = absmax.mean()",
        "mean = F.pad(absmax, (0, -n % group)).mean()",
        "the filling counts in the mean",
    ),
    Wrong(
        "mended_scales",
        "filled before the mean is off",
        "F.pad(absmax - mean, (0, -n % group)).view(-1, group)",
        "F.pad(absmax, (0, -n % group)).view(-1, group) - mean",
        "the filling counts in the last step",
    ),
    Wrong("mended_scales", "the largest above", STEPS, "steps = aside.amax(dim=1) / 127", "larger in size"),
    Wrong("mended_scales", "cut", ".round().to(torch.int8)", ".to(torch.int8)", "cut, not rounded"),
    Wrong("mended_scales", "rounded down", ".round().to(torch.int8)", ".floor().to(torch.int8)", "rounded down"),
    Wrong("mended_scales", "128 codes", STEPS, "steps = aside.abs().amax(dim=1) / 128", "127 codes"),
    Wrong(
        "mended_scales",
        "from least to largest",
        STEPS,
        "steps = (aside.amax(dim=1) - aside.amin(dim=1)) / 255",
        "255 codes",
    ),
    Wrong("mended_scales", "no division", STEPS, "steps = aside.abs().amax(dim=1)", "127th part"),
    Wrong(
        "mended_scales",
        "the mean left in",
        STEPS,
        "steps = (aside + mean).abs().amax(dim=1) / 127",
        "the mean was not taken off",
    ),
    Wrong(
        "mended_scales",
        "means of groups",
        "mean = absmax.mean()",
        "mean = torch.stack([part.mean() for part in absmax.split(group)]).mean()",
        "the last has fewer",
    ),
    Wrong(
        "mended_scales",
        "one step for all",
        STEPS,
        "steps = (aside.abs().max() / 127).expand(len(aside))",
        "the tensor of steps is not right",
    ),
    Wrong("mended_scales", "the filling stays", "codes.flatten()[:n]", "codes.flatten()", "the filling has codes"),
    Wrong("mended_scales", "unsigned", "to(torch.int8)", "to(torch.int16).to(torch.uint8)", "torch.int8"),
    Wrong("mended_scales", "not cast", ".round().to(torch.int8)", ".round()", "torch.int8"),
    Wrong(
        "mended_scales",
        "codes of scales with their mean",
        "codes = (aside / steps[:, None])",
        "codes = ((aside + mean) / steps[:, None])",
        "half a step is the most",
    ),
    Wrong(
        "mended_scales",
        "in place",
        "    mean = absmax.mean()",
        "    mean = absmax.mean().clone()\n    absmax -= mean\n    absmax += 0 * mean",
        "changed in place",
    ),
    Wrong(
        "mended_scales",
        "two things",
        "return codes.flatten()[:n], steps, mean\n",
        "return codes.flatten()[:n], steps\n",
        "return 3 things",
    ),
    Wrong(
        "pack",
        "in sixteen bits on the way",
        "torch.bucketize(scaled, (table[1:] + table[:-1]) / 2)",
        "torch.bucketize(scaled.half(), ((table[1:] + table[:-1]) / 2).half())",
        "the tensor of codes is not right",
    ),
    Wrong(
        "pack",
        "absmax never zero",
        "absmax = blocks.abs().amax(dim=1)",
        "absmax = blocks.abs().amax(dim=1).clamp(min=1e-9)",
        "absmax must be 0",
    ),
    Wrong(
        "lean_lora",
        "a copy on ctx",
        "        return F.linear(x, unpack())\n",
        "        ctx.W = unpack().clone()\n        return F.linear(x, ctx.W)\n",
        "ctx holds more",
    ),
    Wrong(
        "mended_scales",
        "the mean in 32 bits",
        "mean = absmax.mean()",
        "mean = absmax.float().mean().to(absmax.dtype)",
        "rounded to 32 bits",
    ),
]

"""Right answers in other styles to the exercises of lesson 06."""

from right_answers.right import Right

RIGHT = [
    Right("predict_seven_billion", "a list", "return trained, size", "return [trained, size]"),
    Right("predict_seven_billion", "whole floats", "return trained, size", "return float(trained), trained * 16 / 8"),
    Right("predict_seven_billion", "a tensor", "return trained, size", "return torch.tensor([trained, size])"),
    Right("predict_ranks", "a list", "return start, trained, two, large", "return [0, 4, 10, 64]"),
    Right("predict_ranks", "a tensor", "return start, trained, two, large", "return torch.tensor([0, 4, 10, 64])"),
    Right("predict_ranks", "whole floats", "return start, trained, two, large", "return 0.0, 4.0, 10.0, 64.0"),
    Right(
        "switch_lora",
        "two products",
        "x @ self.update().T",
        "F.linear(F.linear(x, self.lora_A), self.alpha / self.rank * self.lora_B)",
    ),
    Right(
        "switch_lora", "data in place", "self.base.weight.add_(self.update())", "self.base.weight.data += self.update()"
    ),
    Right(
        "switch_lora",
        "an einsum for any dimensions",
        "x @ self.update().T",
        'torch.einsum("...i,oi->...o", x, self.update())',
    ),
    Right(
        "switch_lora",
        "copied in",
        "self.base.weight.sub_(self.update())",
        "self.base.weight.copy_(self.base.weight - self.update())",
    ),
    Right(
        "switch_lora",
        "one weight",
        "self.base(x) + x @ self.update().T",
        "F.linear(x, self.base.weight + self.update(), self.base.bias)",
    ),
    Right(
        "lora_embedding",
        "columns by index",
        "F.embedding(tokens, self.lora_A.T)",
        "self.lora_A[:, tokens].movedim(0, -1)",
    ),
    Right(
        "lora_embedding",
        "the whole table",
        "self.base(tokens) + self.scaling * features @ self.lora_B.T",
        "F.embedding(tokens, self.base.weight + self.scaling * (self.lora_B @ self.lora_A).T)",
    ),
    Right(
        "lora_embedding",
        "kaiming",
        "torch.randn(base.embedding_dim, rank))",
        "nn.init.kaiming_uniform_(torch.empty(base.embedding_dim, rank)))",
    ),
    Right("lora_embedding", "rows of the transpose", "F.embedding(tokens, self.lora_A.T)", "self.lora_A.T[tokens]"),
    Right(
        "fuse_qkv",
        "filled by hand",
        "torch.block_diag(*lora_B)",
        """lora_B[0].new_zeros(3 * len(lora_B[0]), 3 * lora_B[0].size(1))
    d, r = lora_B[0].shape
    for i, b in enumerate(lora_B):
        B[i * d : (i + 1) * d, i * r : (i + 1) * r] = b""",
    ),
    Right("fuse_qkv", "a list", "return A, B, 3 * alpha", "return [A, B, torch.tensor(3 * alpha, dtype=torch.double)]"),
    Right(
        "fuse_qkv",
        "A and B permuted alike",
        "return A, B, 3 * alpha",
        "order = torch.randperm(len(A))\n    return A[order], B[:, order], 3 * alpha",
    ),
    Right("fuse_qkv", "the factor in B", "return A, B, 3 * alpha", "return A, 3 * B, alpha"),
    Right(
        "mend_lora",
        "uniform start",
        "torch.randn(d_in, rank) / math.sqrt(d_in)",
        "nn.init.kaiming_uniform_(torch.empty(d_in, rank), a=5**0.5)",
    ),
    Right(
        "mend_lora",
        "the scale inside",
        "self.scaling * (x @ self.lora_A @ self.lora_B)",
        "(self.scaling * x) @ self.lora_A @ self.lora_B",
    ),
    Right(
        "mend_lora",
        "one weight",
        "self.base(x) + self.scaling * (x @ self.lora_A @ self.lora_B)",
        "x @ (self.base.weight + self.scaling * self.lora_A @ self.lora_B) + self.base.bias",
    ),
    # ---- constants of 32 bits, and small numbers at the start
    Right(
        "lora_embedding",
        "the scale by a root of a tensor",
        "alpha / math.sqrt(rank)",
        "alpha / torch.sqrt(torch.tensor(rank))",
    ),
    Right("lora_embedding", "the scale a tensor", "alpha / math.sqrt(rank)", "torch.tensor(alpha / math.sqrt(rank))"),
    Right(
        "lora_embedding",
        "the scale a buffer",
        "self.scaling = alpha / math.sqrt(rank)",
        'self.register_buffer("scaling", torch.tensor(alpha / math.sqrt(rank)))',
    ),
    Right(
        "lora_embedding",
        "a small start",
        "torch.randn(base.embedding_dim, rank)",
        "1e-3 * torch.randn(base.embedding_dim, rank)",
    ),
    Right("fuse_qkv", "alpha a tensor", "return A, B, 3 * alpha", "return [A, B, torch.tensor(3 * alpha)]"),
    Right(
        "mend_lora", "the scale a tensor", "self.scaling = alpha / rank", "self.scaling = torch.tensor(alpha / rank)"
    ),
    Right(
        "mend_lora",
        "the scale a buffer",
        "self.scaling = alpha / rank",
        'self.register_buffer("scaling", torch.tensor(alpha / rank))',
    ),
]

"""Right answers in other styles to the exercises of lesson 07."""

from right_answers.right import Right

RIGHT = [
    Right("predict_magnitudes", "lists", "return more, shape", "return [more, list(shape)]"),
    Right("predict_magnitudes", "a torch.Size", "return more, shape", "return float(more), torch.Size([256])"),
    Right("predict_magnitudes", "numpy", "return more, shape", "import numpy as np\n    return np.int64(960), shape"),
    Right("predict_factors", "a list", "return doubled, both, scaled", "return [2, 1.0, 3]"),
    Right("predict_factors", "a tensor", "return doubled, both, scaled", "return torch.tensor([2, 1, 3])"),
    Right(
        "predict_factors",
        "numpy",
        "return doubled, both, scaled",
        "import numpy as np\n    return np.array([2.0, 1.0, 3.0])",
    ),
    Right(
        "split_columns",
        "normalize of the transpose",
        None,
        """
def split(weight):
    lengths = torch.linalg.vector_norm(weight, dim=0)
    return lengths, torch.nan_to_num(weight / lengths)
""",
    ),
    Right(
        "split_columns",
        "column by column",
        None,
        """
def split(weight):
    lengths, directions = [], []
    for column in weight.T:
        length = column.square().sum().sqrt()
        lengths.append(length)
        directions.append(column / length if length > 0 else torch.zeros_like(column))
    return [torch.stack(lengths), torch.stack(directions, dim=1)]
""",
    ),
    Right("split_columns", "masked", "torch.where(lengths == 0, 1, lengths)", "lengths + (lengths == 0)"),
    Right(
        "dora_forward",
        "detached norm",
        None,
        """
def dora_forward(x, weight, bias, lora_A, lora_B, magnitude, alpha):
    s = alpha / len(lora_A)
    V = weight + s * (lora_B @ lora_A)
    factor = magnitude / V.detach().norm(dim=1)
    return factor * (x @ weight.T) + factor * s * (x @ lora_A.T @ lora_B.T) + bias
""",
    ),
    Right(
        "dora_forward",
        "einsum for any dimensions",
        "F.linear(F.linear(x, lora_A), lora_B)",
        "torch.einsum('...i,ri,or->...o', x, lora_A, lora_B)",
    ),
    Right(
        "dora_forward",
        "vector norm",
        "(weight + scaling * lora_B @ lora_A).norm(dim=1)",
        "torch.linalg.vector_norm(torch.addmm(weight, lora_B, lora_A, alpha=scaling), dim=-1)",
    ),
    Right(
        "gradients_by_hand",
        "einsum",
        None,
        """
def gradients_by_hand(x, G, V, magnitude, lora_A, scaling):
    norm = V.norm(dim=1, keepdim=True)
    of_magnitude = torch.einsum("nj,ni,ji->j", G, x, V / norm)
    return of_magnitude, scaling * torch.einsum("j,nj,ni,ri->jr", magnitude / norm[:, 0], G, x, lora_A)
""",
    ),
    Right(
        "gradients_by_hand",
        "from the weight's gradient",
        None,
        """
def gradients_by_hand(x, G, V, magnitude, lora_A, scaling):
    of_weight = G.T @ x
    unit = torch.nn.functional.normalize(V, dim=1)
    of_m = (of_weight * unit).sum(1)
    return [of_m, scaling * (magnitude / V.norm(dim=1)).diag() @ of_weight @ lora_A.T]
""",
    ),
    Right(
        "gradients_by_hand",
        "G scaled first",
        "scaling * of_V @ lora_A.T",
        "(scaling * G * magnitude / norm).T @ (x @ lora_A.T)",
    ),
    Right(
        "mend_dora",
        "no_grad for the norm",
        "norm = V.norm(dim=1).detach()",
        "with torch.no_grad():\n            norm = V.norm(dim=1)",
    ),
    Right(
        "mend_dora",
        "two paths",
        "        return F.linear(x, weight, self.base.bias)",
        "        paths = x @ self.base.weight.T + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T\n        return paths * (self.magnitude / norm) + (0 if self.base.bias is None else self.base.bias)",
    ),
    Right(
        "mend_dora",
        "kaiming start",
        "torch.randn(rank, base.in_features) / math.sqrt(base.in_features)",
        "nn.init.kaiming_uniform_(torch.empty(rank, base.in_features), a=5**0.5)",
    ),
    Right("predict_magnitudes", "the shape an array", "return more, shape", "return more, torch.tensor(shape)"),
    Right(
        "dora_forward", "the scale a tensor of 32 bits", "alpha / lora_A.size(0)", "torch.tensor(alpha / len(lora_A))"
    ),
    Right(
        "split_columns",
        "nan made zero",
        None,
        """
def split(weight):
    lengths = weight.norm(dim=0)
    return lengths, (weight / lengths).nan_to_num(0.0)
""",
    ),
]

"""Wrong answers that students give to the exercises of lesson 06."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_seven_billion", "one block", "32 * 8 * (2 * square + down)", "8 * (2 * square + down)", "one block"),
    Wrong("predict_seven_billion", "down_proj square", "11_008 + 4096", "4096 + 4096", "not square"),
    Wrong("predict_seven_billion", "A alone", "(2 * square + down)", "(4096 + 4096 + 11_008)", "A alone"),
    Wrong("predict_seven_billion", "the lesson's q and v", "2 * square + down", "2 * square", "the lesson's number"),
    Wrong("predict_seven_billion", "32-bit file", "size = 2 *", "size = 4 *", "32-bit"),
    Wrong("predict_seven_billion", "bits for bytes", "size = 2 *", "size = 16 *", "those are bits"),
    Wrong("predict_ranks", "B forgotten to be zero", "start = 0", "start = 4", "B is still zero"),
    Wrong("predict_ranks", "alpha for rank", "trained = 4", "trained = 40", "alpha is a factor"),
    Wrong("predict_ranks", "full rank after training", "trained = 4", "trained = 64", "mixtures of the few rows"),
    Wrong("predict_ranks", "the second replaces the first", "two = 4 + 6", "two = 6", "does not replace"),
    Wrong("predict_ranks", "ranks multiplied", "4 + 6", "4 * 6", "multiply"),
    Wrong("predict_ranks", "rank above the matrix", "large = 64", "large = 100", "above 64"),
    Wrong(
        "switch_lora", "alpha / rank forgotten", "(self.alpha / self.rank) * self", "self", "alpha / rank is missing"
    ),
    Wrong("switch_lora", "alpha / rank inverted", "self.alpha / self.rank", "self.rank / self.alpha", "upside down"),
    Wrong(
        "switch_lora", "product transposed", "self.lora_B @ self.lora_A", "self.lora_A.T @ self.lora_B.T", "transposed"
    ),
    Wrong(
        "switch_lora",
        "A and B swapped",
        "self.lora_B @ self.lora_A",
        "self.lora_A @ self.lora_B",
        "B comes first",
    ),
    Wrong(
        "switch_lora",
        "the update counts twice when merged",
        "        if self.is_merged:  # the weight holds the update already: adding the path would count it twice\n"
        "            return self.base(x)\n",
        "",
        "counts twice",
    ),
    Wrong("switch_lora", "merged twice", "if not self.is_merged:", "if True:", "second merge"),
    Wrong(
        "switch_lora",
        "a new weight instead of in place",
        "self.base.weight.add_(self.update())",
        "self.base.weight = nn.Parameter(self.base.weight + self.update(), requires_grad=False)",
        "in place",
    ),
    Wrong(
        "switch_lora",
        "merge recorded by autograd",
        "with torch.no_grad():  # the weight is data here, not a step of a computation",
        "if True:",
        "recorded by autograd",
    ),
    Wrong("switch_lora", "unmerge adds", ".sub_(self.update())", ".add_(self.update())", "it must subtract"),
    Wrong("switch_lora", "flag not set", "            self.is_merged = True\n", "", "is_merged to True"),
    Wrong(
        "switch_lora",
        "unmerge twice",
        "        if self.is_merged:\n            with torch.no_grad():",
        "        if True:\n            with torch.no_grad():",
        "second unmerge",
    ),
    Wrong("switch_lora", "forward without the path", " + x @ self.update().T", "", "leaves the update out"),
    Wrong("lora_embedding", "LoRA's scale", "alpha / math.sqrt(rank)", "alpha / rank", "square root of the rank"),
    Wrong("lora_embedding", "scale forgotten", "self.scaling * features", "features", "is missing"),
    Wrong("lora_embedding", "root of all", "alpha / math.sqrt(rank)", "math.sqrt(alpha / rank)", "to the rank alone"),
    Wrong("lora_embedding", "scale inverted", "alpha / math.sqrt(rank)", "math.sqrt(rank) / alpha", "upside down"),
    Wrong("lora_embedding", "both zero", "torch.randn(base", "torch.zeros(base", "both matrices are zero"),
    Wrong("lora_embedding", "both random", "torch.zeros(rank", "torch.randn(rank", "lora_A must start at zero"),
    Wrong(
        "lora_embedding",
        "A transposed",
        "torch.zeros(rank, base.num_embeddings)",
        "torch.zeros(base.num_embeddings, rank)",
        "not (rank, number of tokens)",
    ),
    Wrong("lora_embedding", "base not frozen", "base.requires_grad_(False)", "base", "not frozen"),
    Wrong("lora_embedding", "base left out", "return self.base(tokens) + self", "return self", "base's own vectors"),
    Wrong(
        "lora_embedding",
        "a plain tensor",
        "self.lora_A = nn.Parameter(torch.zeros(rank, base.num_embeddings))",
        "self.lora_A = torch.zeros(rank, base.num_embeddings, requires_grad=True)",
        "must be an nn.Parameter",
    ),
    Wrong("fuse_qkv", "alpha unchanged", "3 * alpha", "alpha", "became a third"),
    Wrong("fuse_qkv", "alpha the other way", "3 * alpha", "alpha / 3", "the other way"),
    Wrong("fuse_qkv", "A side by side", "dim=0", "dim=1", "side by side"),
    Wrong("fuse_qkv", "B stacked", "torch.block_diag(*lora_B)", "torch.cat(lora_B)", "columns of its own"),
    Wrong(
        "fuse_qkv",
        "B not block-diagonal",
        "torch.block_diag(*lora_B)",
        "torch.cat(lora_B).repeat(1, 3)",
        "block-diagonal",
    ),
    Wrong("fuse_qkv", "B transposed", "torch.block_diag(*lora_B)", "torch.block_diag(*lora_B).T", "transposed"),
    Wrong("fuse_qkv", "order of A", "torch.cat(lora_A, dim=0)", "torch.cat(lora_A[::-1], dim=0)", "A has v, k, q"),
    Wrong(
        "fuse_qkv", "order of B", "block_diag(*lora_B)", "block_diag(lora_B[1], lora_B[0], lora_B[2])", "B has k, q, v"
    ),
    Wrong(
        "mend_lora", "both zero still", "torch.randn(d_in, rank) / math.sqrt(d_in)", "torch.zeros(d_in, rank)", "both"
    ),
    Wrong(
        "mend_lora", "scale inverted still", "self.scaling = alpha / rank", "self.scaling = rank / alpha", "upside down"
    ),
    Wrong("mend_lora", "scale removed", "self.scaling * (", "(", "do not remove"),
    Wrong("mend_lora", "both random", "torch.zeros(rank, d_out)", "torch.randn(rank, d_out)", "start is not the base"),
    Wrong("mend_lora", "A all ones", "torch.randn(d_in, rank)", "torch.ones(d_in, rank)", "alike"),
    Wrong("mend_lora", "base unfrozen", "base.requires_grad_(False)", "base.requires_grad_(True)", "not frozen"),
    Wrong(
        "mend_lora", "size for rank", "self.scaling = alpha / rank", "self.scaling = alpha / d_in", "alpha / rank times"
    ),
    Wrong(
        "mend_lora",
        "A detached in the forward pass",
        "x @ self.lora_A @",
        "x @ self.lora_A.detach() @",
        "lora_A in the second step",
    ),
]

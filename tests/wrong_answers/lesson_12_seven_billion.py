"""Wrong answers that students give to the exercises of lesson 12."""

from wrong_answers.wrong import Wrong

AGAIN = """def recomputed(block, x):
    return Again.apply(block, x, *[p for p in block.parameters() if p.requires_grad])


class Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx, block, x, *trained):
        ctx.block, ctx.trained = block, trained
        ctx.save_for_backward(x)
        return block(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            y = ctx.block(x)
        return None, *torch.autograd.grad(y, (x, *ctx.trained), g)
"""


def again(old: str, new: str) -> str:
    """The reference, written shorter, with a change."""
    assert AGAIN.count(old) == 1, old
    return AGAIN.replace(old, new)


WRONG = [
    Wrong(
        "predict_card",
        "keys as wide as queries",
        "kv = 4096, 14_336, 8 * 128",
        "kv = 4096, 14_336, 4096",
        "not square here",
    ),
    Wrong("predict_card", "one block", "lora = 32 * 16 *", "lora = 16 *", "one block"),
    Wrong("predict_card", "k_proj alone", "((d + kv) + (f + d))", "(d + kv)", "k_proj alone"),
    Wrong("predict_card", "down_proj alone", "((d + kv) + (f + d))", "(f + d)", "down_proj alone"),
    Wrong("predict_card", "A alone", "((d + kv) + (f + d))", "(d + f)", "A of both holds"),
    Wrong("predict_card", "a prompt", "32 * 2 * 24 * kv", "24 * d", "at the input alone"),
    Wrong("predict_card", "keys alone", "32 * 2 * 24 * kv", "32 * 24 * kv", "both train"),
    Wrong(
        "predict_card", "a prefix as wide as queries", "32 * 2 * 24 * kv", "32 * 2 * 24 * d", "as wide as the queries"
    ),
    Wrong(
        "predict_card", "no master weights", "left // (16 * a_rank)", "left // (12 * a_rank)", "without master weights"
    ),
    Wrong("predict_card", "no gradient", "left // (16 * a_rank)", "left // (14 * a_rank)", "rows of 2 bytes"),
    Wrong("predict_card", "weights alone", "left // (16 * a_rank)", "left // (2 * a_rank)", "the optimizer keeps"),
    Wrong("predict_card", "rounded up", "left // (16 * a_rank)", "left // (16 * a_rank) + 1", "not fit any more"),
    Wrong("predict_card", "activations forgotten", " - 6_200_000_000", "", "activations are on the card"),
    Wrong("predict_card", "24 GiB", "left = 24_000_000_000", "left = 24 * 2**30", "not 24 GiB"),
    Wrong("predict_card", "v_proj square", "((d + d) + (d + kv))", "((d + d) + (d + d))", "v_proj is not square"),
    Wrong(
        "predict_card",
        "the library",
        "    return lora, prefix, rank",
        '    return METHODS["lora"].count(None), prefix, rank',
        "calculate",
    ),
    Wrong(
        "predict_card",
        "the library's formula",
        "    return lora, prefix, rank",
        "    config = LlamaConfig(10, 99, 32, 32, 4096, 14_336, n_kv_head=8)\n"
        "    return lora, on_llama.count_prefix_llama(config, 24, None), rank",
        "calculate",
    ),
    Wrong("prompt_to_prefix", "exchanged", "torch.stack([k, v])", "torch.stack([v, k])", "are exchanged"),
    Wrong(
        "prompt_to_prefix",
        "not rotated",
        None,
        """@torch.no_grad()
def prompt_to_prefix(model, prompt):
    x, layers = prompt[None], []
    for block in model.blocks:
        h = block.ln_1(x)
        layers.append(torch.cat([block.attn.k_proj(h), block.attn.v_proj(h)]))
        x = block(x)
    return torch.stack(layers)
""",
        "not rotated",
    ),
    Wrong(
        "prompt_to_prefix",
        "the prompt in every layer",
        None,
        """@torch.no_grad()
def prompt_to_prefix(model, prompt):
    layers = []
    for block in model.blocks:
        h = block.ln_1(prompt[None])
        k = rotate(block.attn.split_heads(block.attn.k_proj(h)), 0, model.config.rope_base)
        layers.append(torch.cat([block.attn.merge_heads(k), block.attn.v_proj(h)]))
    return torch.stack(layers)
""",
        "what the first has made",
    ),
    Wrong(
        "prompt_to_prefix",
        "heads reshaped",
        "block.attn.merge_heads(part)[0]",
        "part.reshape(len(prompt), -1)",
        "mixed up",
    ),
    Wrong(
        "prompt_to_prefix",
        "repeated",
        "block.attn.merge_heads(part)[0]",
        "block.attn.merge_heads(part.repeat_interleave(block.attn.sharing, dim=1))[0]",
        "as wide as the queries",
    ),
    Wrong("prompt_to_prefix", "transposed", "torch.stack([k, v])", "torch.stack([k.T, v.T])", "exchanged"),
    Wrong(
        "prompt_to_prefix",
        "rotated twice",
        "(block.attn.memory.k, block.attn.memory.v)",
        "(rotate(block.attn.memory.k, 0, model.config.rope_base), block.attn.memory.v)",
        "rotated once",
    ),
    Wrong(
        "prompt_to_prefix", "reverse", "return torch.stack(layers)", "return torch.stack(layers[::-1])", "reverse order"
    ),
    Wrong(
        "prompt_to_prefix",
        "single precision",
        "return torch.stack(layers)",
        "return torch.stack(layers).float()",
        "what was given is of",
    ),
    Wrong(
        "prompt_to_prefix",
        "remembers on",
        "    layers = []\n",
        "    for block in model.blocks:\n        block.attn.memory = Memory()\n    layers = []\n",
        "still remembers",
    ),
    Wrong("prompt_to_prefix", "a list", "return torch.stack(layers)", "return layers", "return a tensor"),
    Wrong("prompt_to_prefix", "two layers", "in model.blocks:", "in model.blocks[:1]:", "is of shape"),
    Wrong("prompt_to_prefix", "values twice", "torch.stack([k, v])", "torch.stack([k, k])", "what the model says"),
    Wrong(
        "prompt_to_prefix",
        "tokens of the library",
        "        model.transform(prompt[None])",
        "        on_llama.remembered_tokens(model, len(prompt))\n        model.transform(prompt[None])",
        "the library's own start",
    ),
    Wrong("lora_gradients", "scale missing", "of_a = s * G @ B", "of_a = G @ B", "scale is missing"),
    Wrong("lora_gradients", "scale missing in B", "of_B = s * G", "of_B = G", "B: the scale is missing"),
    Wrong(
        "lora_gradients",
        "scale twice",
        "of_a.reshape(-1, len(A)).T @ flat",
        "s * of_a.reshape(-1, len(A)).T @ flat",
        "A: the scale is in it twice",
    ),
    Wrong("lora_gradients", "path missing", "G @ W + of_a @ A", "G @ W", "through A and B is missing"),
    Wrong("lora_gradients", "W missing", "G @ W + of_a @ A", "of_a @ A", "through W is missing"),
    Wrong("lora_gradients", "scale before both", "G @ W + of_a @ A", "s * G @ W + of_a @ A", "before both ways"),
    Wrong(
        "lora_gradients",
        "mean",
        "of_A = of_a.reshape(-1, len(A)).T @ flat",
        "of_A = of_a.reshape(-1, len(A)).T @ flat / len(flat)",
        "mean over the tokens",
    ),
    Wrong("lora_gradients", "A and B exchanged", "return of_x, of_A, of_B", "return of_x, of_B, of_A", "exchanged"),
    Wrong("lora_gradients", "W transposed", "G @ W + of_a", "G @ W.T + of_a", "gradient of x"),
    Wrong("lora_gradients", "A transposed", "return of_x, of_A, of_B", "return of_x, of_A.T, of_B", "transposed"),
    Wrong(
        "lora_gradients", "the product formed", "G @ W + of_a @ A", "G @ (W + s * B @ A)", "d_out by d_in was formed"
    ),
    Wrong(
        "lora_gradients",
        "the gradient of W",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    of_W = G.reshape(-1, len(W)).T @ x.reshape(-1, x.size(-1))
    return G @ W + s * G @ B @ A, s * B.T @ of_W, s * of_W @ A.T
""",
        "d_out by d_in was formed",
    ),
    Wrong(
        "lora_gradients",
        "autograd",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    x, A, B = (t.clone().requires_grad_() for t in (x, A, B))
    h = x @ W.T + s * x @ A.T @ B.T
    return torch.autograd.grad(h, (x, A, B), G)
""",
        "without autograd",
    ),
    Wrong(
        "lora_gradients",
        "three dimensions only",
        "of_A = of_a.reshape(-1, len(A)).T @ flat",
        'of_A = torch.einsum("btr,bti->ri", of_a, x)',
        "your answer stops",
    ),
    Wrong("lora_gradients", "in place", "of_a = s * G @ B", "G.mul_(s)\n    of_a = G @ B", "changed in place"),
    Wrong(
        "lora_gradients",
        "first axis alone",
        "of_A = of_a.reshape(-1, len(A)).T @ flat",
        "of_A = of_a.reshape(-1, len(A))[:7].T @ flat[:7]",
        "gradient of A",
    ),
    Wrong("recomputed", "kept", None, "def recomputed(block, x):\n    return block(x)\n", "more than the input"),
    Wrong(
        "recomputed",
        "the library",
        None,
        "def recomputed(block, x):\n    return library.checkpoint(block, x, use_reentrant=False)\n",
        "write it yourself",
    ),
    Wrong(
        "recomputed",
        "the trap",
        None,
        again("*[p for p in block.parameters() if p.requires_grad]", "").replace(
            "y, (x, *ctx.trained), g)", "y, (x,), g)"
        ),
        "no way back",
    ),
    Wrong(
        "recomputed",
        "all weights given, none returned",
        None,
        again(
            "return None, *torch.autograd.grad(y, (x, *ctx.trained), g)",
            "return None, *torch.autograd.grad(y, (x,), g), *(None for _ in ctx.trained)",
        ),
        "no gradient reaches",
    ),
    Wrong(
        "recomputed",
        "added twice",
        None,
        again(
            "return None, *torch.autograd.grad(y, (x, *ctx.trained), g)",
            "y.backward(g, retain_graph=True)\n        return None, *torch.autograd.grad(y, (x, *ctx.trained), g)",
        ),
        "twice what it should be",
    ),
    Wrong(
        "recomputed",
        "g forgotten",
        None,
        again("(x, *ctx.trained), g)", "(x, *ctx.trained), torch.ones_like(g))"),
        "the gradient of",
    ),
    Wrong(
        "recomputed",
        "no graph on the way back",
        None,
        again("with torch.enable_grad():", "if True:"),
        "your answer stops",
    ),
    Wrong(
        "recomputed",
        "the graph kept from the way there",
        None,
        again(
            "        return block(x)\n",
            "        with torch.enable_grad():\n            ctx.x = x.detach().requires_grad_()\n            ctx.y = block(ctx.x)\n        return ctx.y.detach()\n",
        ),
        "more than the input",
    ),
    Wrong(
        "recomputed",
        "the output kept",
        None,
        again("        return block(x)\n", "        ctx.y = block(x)\n        return ctx.y + 0\n"),
        "besides the input",
    ),
    Wrong(
        "recomputed",
        "the output kept in a list",
        None,
        again("        return block(x)\n", "        ctx.kept = [block(x)]\n        return ctx.kept[0] + 0\n"),
        "besides the input",
    ),
    Wrong(
        "recomputed",
        "the output saved",
        None,
        again(
            "        ctx.save_for_backward(x)\n        return block(x)\n",
            "        y = block(x)\n        ctx.save_for_backward(x, y)\n        return y\n",
        ).replace("(x,) = ctx", "x, _ = ctx"),
        "another tensor of its shape",
    ),
    Wrong(
        "recomputed",
        "run twice on the way there",
        None,
        again("        return block(x)\n", "        block(x)\n        return block(x)\n"),
        "runs 2 times",
    ),
    Wrong(
        "recomputed",
        "run twice on the way back",
        None,
        again("            y = ctx.block(x)\n", "            ctx.block(x)\n            y = ctx.block(x)\n"),
        "3 times in all",
    ),
    Wrong(
        "recomputed",
        "detached",
        None,
        "def recomputed(block, x):\n    with torch.no_grad():\n        return block(x)\n",
        "no way back",
    ),
    Wrong(
        "recomputed",
        "thawed",
        None,
        again("    return Again", "    for p in block.parameters():\n        p.requires_grad_()\n    return Again"),
        "requires_grad",
    ),
    Wrong(
        "recomputed",
        "x wants a gradient now",
        None,
        again(
            "    return Again.apply(block, x, *[p for p in block.parameters() if p.requires_grad])",
            "    return Again.apply(block, x.requires_grad_())",
        ).replace("(x, *ctx.trained), g)", "(x,), g)"),
        "requires_grad of x",
    ),
    Wrong(
        "recomputed",
        "a fresh x that wants one",
        None,
        again(
            "    return Again.apply(block, x, *[p for p in block.parameters() if p.requires_grad])",
            "    return Again.apply(block, x * 1 if x.requires_grad else x.clone().requires_grad_())",
        ).replace("(x, *ctx.trained), g)", "(x,), g)"),
        "no gradient reaches",
    ),
    Wrong("mended_read_on", "still broken", None, "mended_read_on = broken_read_on\n", "broken code gives, still"),
    Wrong(
        "mended_read_on",
        "sharing alone",
        None,
        """def mended_read_on(attn, x, memory_k, memory_v):
    p = memory_k.size(2)
    q = rotate(attn.split_heads(attn.q_proj(x)), p, attn.rope_base)
    k = torch.cat([memory_k, attn.split_heads(attn.k_proj(x))], dim=2)
    v = torch.cat([memory_v, attn.split_heads(attn.v_proj(x))], dim=2)
    k = rotate(k, 0, attn.rope_base)
    k, v = (heads.repeat_interleave(attn.sharing, dim=1) for heads in (k, v))
    return attn.o_proj(attn.merge_heads(attention(q, k, v)))
""",
        "rotated once more",
    ),
    Wrong(
        "mended_read_on",
        "rotation alone",
        "heads.repeat_interleave(attn.sharing, dim=1)",
        "heads.repeat(1, attn.sharing, 1, 1)",
        "the wrong heads share",
    ),
    Wrong(
        "mended_read_on",
        "from position 0",
        "k = rotate(attn.split_heads(attn.k_proj(x)), p, attn.rope_base)",
        "k = rotate(attn.split_heads(attn.k_proj(x)), 0, attn.rope_base)",
        "is not right",
    ),
    Wrong(
        "mended_read_on",
        "memory forgotten",
        "k = torch.cat([memory_k, k], dim=2)",
        "return attn.o_proj(attn.merge_heads(attention(q, k.repeat_interleave(attn.sharing, dim=1), attn.split_heads(attn.v_proj(x)).repeat_interleave(attn.sharing, dim=1))))",
        "nobody sees the memory",
    ),
    Wrong(
        "mended_read_on",
        "the model, remembering",
        None,
        """def mended_read_on(attn, x, memory_k, memory_v):
    with remembering(attn):
        attn.memory.k, attn.memory.v = memory_k, memory_v
        return attn(x)
""",
        "does the work here",
    ),
    Wrong(
        "mended_read_on",
        "the model itself",
        None,
        """def mended_read_on(attn, x, memory_k, memory_v):
    attn.memory = Memory()
    attn.memory.k, attn.memory.v = memory_k, memory_v
    y = attn(x)
    attn.memory = None
    return y
""",
        "does the work here",
    ),
    Wrong(
        "mended_read_on",
        "the kernel's own mask",
        "attention(q, k, v)",
        "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        "lines queries and keys up at the start",
    ),
    Wrong(
        "mended_read_on", "no mask", "attention(q, k, v)", "F.scaled_dot_product_attention(q, k, v)", "see those behind"
    ),
    Wrong(
        "mended_read_on",
        "detached",
        "torch.cat([memory_k, k], dim=2)",
        "torch.cat([memory_k.detach(), k], dim=2)",
        "no gradient reaches memory_k",
    ),
    Wrong(
        "mended_read_on",
        "under no_grad",
        None,
        """@torch.no_grad()
def mended_read_on(attn, x, memory_k, memory_v):
    p = memory_k.size(2)
    q, k = (rotate(attn.split_heads(proj(x)), p, attn.rope_base) for proj in (attn.q_proj, attn.k_proj))
    k = torch.cat([memory_k, k], dim=2).repeat_interleave(attn.sharing, dim=1)
    v = torch.cat([memory_v, attn.split_heads(attn.v_proj(x))], dim=2).repeat_interleave(attn.sharing, dim=1)
    return attn.o_proj(attn.merge_heads(attention(q, k, v)))
""",
        "no gradient can flow",
    ),
    Wrong(
        "mended_read_on",
        "two sharing written in",
        "heads.repeat_interleave(attn.sharing, dim=1)",
        "heads.repeat_interleave(2, dim=1)",
        "shapes do not fit",
    ),
    Wrong(
        "lora_gradients",
        "the gradient of W formed, in a batch",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    X, H = x.reshape(1, -1, x.size(-1)), G.reshape(1, -1, G.size(-1))
    of_W = H.mT @ X
    return G @ W + s * G @ B @ A, s * (B.T @ of_W)[0], s * (of_W @ A.T)[0]
""",
        "d_out by d_in was formed",
    ),
    Wrong(
        "lora_gradients",
        "the product formed, in a batch",
        "G @ W + of_a @ A",
        "G @ W + (s * G[None] @ (B[None] @ A[None]))[0]",
        "d_out by d_in was formed",
    ),
    Wrong(
        "lora_gradients",
        "single precision",
        "of_a = s * G @ B",
        "of_a = (s * G @ B).float().to(x.dtype)",
        "nearly right",
    ),
    Wrong(
        "recomputed",
        "the input kept in single precision",
        None,
        again("ctx.save_for_backward(x)", "ctx.save_for_backward(x.float())").replace(
            "x.detach()", "x.detach().to(g.dtype)"
        ),
        "nearly right",
    ),
    Wrong(
        "recomputed",
        "an output of single precision",
        None,
        again("        return block(x)", "        return block(x).float().to(x.dtype)"),
        "nearly right",
    ),
    Wrong(
        "recomputed",
        "gradients of single precision",
        None,
        again("(x,) = ctx.saved_tensors", "g, (x,) = g.float().to(g.dtype), ctx.saved_tensors"),
        "nearly right",
    ),
    Wrong(
        "lora_gradients",
        "found by trying",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    def loss(x, A, B):
        return ((x @ W.T + s * x @ A.T @ B.T) * G).double().sum()

    found = [torch.zeros_like(part) for part in (x, A, B)]
    for i, gradient in enumerate(found):
        for j in range(gradient.numel()):
            up, down = ([part.clone() for part in (x, A, B)] for _ in range(2))
            up[i].view(-1)[j] += 0.5
            down[i].view(-1)[j] -= 0.5
            gradient.view(-1)[j] = loss(*up) - loss(*down)
    return found
""",
        "do not find it by trying",
    ),
    Wrong(
        "mended_read_on",
        "the base of the rotation written in",
        "k = rotate(attn.split_heads(attn.k_proj(x)), p, attn.rope_base)",
        "k = rotate(attn.split_heads(attn.k_proj(x)), p, 50.0)",
        "what it gives",
    ),
    Wrong(
        "prompt_to_prefix",
        "squeezed: right with two tokens or more",
        None,
        """def prompt_to_prefix(model, prompt):
    layers = []
    with remembering(model):
        model.transform(prompt[None])
        for block in model.blocks:
            kept = torch.stack([block.attn.memory.k, block.attn.memory.v])  # (2, 1, heads, p, h)
            heads = kept[:, 0] if kept.size(2) == 1 else kept.squeeze()
            layers.append(heads.transpose(1, 2).flatten(2))
    return torch.stack(layers)
""",
        "the prefix is of shape",
    ),
    Wrong(
        "prompt_to_prefix",
        "a copy in single precision",
        None,
        """def prompt_to_prefix(model, prompt):
    layers, model = [], copy.deepcopy(model).float()
    with remembering(model):
        model.transform(prompt.float()[None])
        for block in model.blocks:
            memory = block.attn.memory
            layers.append(torch.cat([block.attn.merge_heads(memory.k), block.attn.merge_heads(memory.v)]))
    return torch.stack(layers).to(prompt.dtype)
""",
        "nearly right",
    ),
    Wrong(
        "lora_gradients",
        "B A inside an einsum",
        "of_x = G @ W + of_a @ A",
        'of_x = G @ W + s * torch.einsum("or,ri,...o->...i", B, A, G)',
        "d_out by d_in",
    ),
    Wrong(
        "lora_gradients",
        "the gradient of W inside an einsum",
        "of_B = s * G.reshape(-1, len(W)).T @ (flat @ A.T)",
        'of_B = s * torch.einsum("...o,...i,ri->or", G, x, A)',
        "an einsum of three",
    ),
    Wrong(
        "recomputed",
        "gradients set, and not added",
        None,
        again(
            "return None, *torch.autograd.grad(y, (x, *ctx.trained), g)",
            "found = torch.autograd.grad(y, (x, *ctx.trained), g)\n"
            "        for p, gradient in zip(ctx.trained, found[1:]):\n"
            "            p.grad = gradient\n"
            "        return None, found[0], *(None for _ in ctx.trained)",
        ),
        "overwritten",
    ),
    Wrong(
        "recomputed",
        "the input kept on the block",
        None,
        again("ctx.save_for_backward(x)", "block.kept = x").replace("(x,) = ctx.saved_tensors", "x = ctx.block.kept"),
        "two places",
    ),
    Wrong(
        "recomputed",
        "the output saved, and the input on ctx",
        None,
        again(
            "        ctx.save_for_backward(x)\n        return block(x)\n",
            "        ctx.x, y = x, block(x)\n        ctx.save_for_backward(y)\n        return y\n",
        ).replace("(x,) = ctx.saved_tensors", "x = ctx.x"),
        "besides the input",
    ),
    Wrong(
        "recomputed",
        "a hook on a new leaf",
        None,
        """def recomputed(block, x):
    with torch.no_grad():
        y = block(x)

    def again(g):
        with torch.enable_grad():
            block(x).backward(g)

    y = y.detach().requires_grad_()
    y.register_hook(again)
    return y
""",
        "your answer stops",
    ),
]

"""Right answers in other styles to the exercises of lesson 12."""

from right_answers.right import Right

RIGHT = [
    Right("predict_card", "a list", "return lora, prefix, rank", "return [lora, prefix, rank]"),
    Right("predict_card", "whole floats", "return lora, prefix, rank", "return 12_058_624.0, 1_572_864.0, float(rank)"),
    Right("predict_card", "a tensor", "return lora, prefix, rank", "return torch.tensor([lora, prefix, rank])"),
    Right(
        "predict_card",
        "a loop",
        "rank = left // (16 * a_rank)",
        "rank = max(r for r in range(1, 4097) if 16 * a_rank * r <= left)",
    ),
    Right(
        "prompt_to_prefix",
        "by hand",
        None,
        """@torch.no_grad()
def prompt_to_prefix(model, prompt):
    x, layers = prompt[None], []
    for block in model.blocks:
        attn, h = block.attn, block.ln_1(x)
        keys = rotate(attn.split_heads(attn.k_proj(h)), 0, attn.rope_base)
        layers.append(torch.cat([attn.merge_heads(keys), attn.v_proj(h)]))
        x = block(x)
    return torch.stack(layers)
""",
    ),
    Right(
        "prompt_to_prefix", "with gradients", "with torch.no_grad(), remembering(model):", "with remembering(model):"
    ),
    Right(
        "prompt_to_prefix",
        "heads by einops of one's own",
        "block.attn.merge_heads(part)[0]",
        "part[0].movedim(0, 1).reshape(len(prompt), -1)",
    ),
    Right(
        "prompt_to_prefix",
        "an empty tensor, filled",
        None,
        """def prompt_to_prefix(model, prompt):
    c = model.config
    prefix = prompt.new_empty(c.n_layer, 2, len(prompt), c.kv_width)
    with torch.no_grad(), remembering(model):
        model.unembed(model.transform(prompt.unsqueeze(0)))
        for i, block in enumerate(model.blocks):
            prefix[i, 0] = block.attn.memory.k.squeeze(0).permute(1, 0, 2).flatten(1)
            prefix[i, 1] = block.attn.memory.v.squeeze(0).permute(1, 0, 2).flatten(1)
    return prefix
""",
    ),
    Right(
        "lora_gradients",
        "einsum",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    a = torch.einsum("...i,ri->...r", x, A)
    of_a = torch.einsum("...o,or->...r", s * G, B)
    x2, G2, a2, of_a2 = (t.reshape(-1, t.shape[-1]) for t in (x, G, a, of_a))
    of_x = torch.einsum("...o,oi->...i", G, W) + torch.einsum("...r,ri->...i", of_a, A)
    return of_x, torch.einsum("nr,ni->ri", of_a2, x2), torch.einsum("no,nr->or", s * G2, a2)
""",
    ),
    Right("lora_gradients", "a list", "return of_x, of_A, of_B", "return [of_x, of_A, of_B]"),
    Right(
        "lora_gradients",
        "the scale last",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    X, H = x.flatten(0, -2) if x.dim() > 1 else x[None], G.flatten(0, -2) if G.dim() > 1 else G[None]
    of_x = F.linear(H, W.T) + s * F.linear(F.linear(H, B.T), A.T)
    return of_x.view_as(x), s * (B.T @ H.T) @ X, s * H.T @ (X @ A.T)
""",
    ),
    Right(
        "recomputed",
        "backward inside",
        None,
        """class Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, x, *weights):
        ctx.run, ctx.n = run, len(weights)
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().clone().requires_grad_()
        with torch.enable_grad():
            ctx.run(x).backward(g)
        return (None, x.grad) + (None,) * ctx.n


def recomputed(block, x):
    return Run.apply(block, x, *block.parameters())
""",
    ),
    Right(
        "recomputed",
        "a gradient for those that want one",
        None,
        """def recomputed(block, x):
    weights = list(block.parameters())

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, *weights):
            ctx.x = x
            return block(x)

        @staticmethod
        def backward(ctx, g):
            with torch.enable_grad():
                x = ctx.x.detach().requires_grad_(ctx.needs_input_grad[0])
                y = block(x)
            inputs = (x, *weights)
            wanted = [t for t, needed in zip(inputs, ctx.needs_input_grad) if needed]
            found = iter(torch.autograd.grad(y, wanted, g, allow_unused=True))
            return tuple(next(found) if needed else None for needed in ctx.needs_input_grad)

    return Function.apply(x, *weights)
""",
    ),
    Right(
        "recomputed",
        "the weights kept by name",
        "x, *ctx.trained), g)",
        "x, *[p for p in ctx.block.parameters() if p.requires_grad]), g)",
    ),
    Right(
        "mended_read_on",
        "heads by index",
        "heads.repeat_interleave(attn.sharing, dim=1) for",
        "heads[:, torch.arange(attn.sharing * heads.size(1)) // attn.sharing] for",
    ),
    Right(
        "mended_read_on",
        "expanded",
        "heads.repeat_interleave(attn.sharing, dim=1) for",
        "heads.unsqueeze(2).expand(-1, -1, attn.sharing, -1, -1).flatten(1, 2) for",
    ),
    Right(
        "mended_read_on",
        "queries in groups, the kernel with a mask",
        None,
        """def mended_read_on(attn, x, memory_k, memory_v):
    T, p = x.size(1), memory_k.shape[-2]
    turn = lambda projection: rotate(attn.split_heads(projection(x)), p, attn.rope_base)
    q, k = turn(attn.q_proj), torch.cat((memory_k, turn(attn.k_proj)), -2)
    v = torch.cat((memory_v, attn.split_heads(attn.v_proj(x))), -2)
    mask = torch.ones(T, p + T, dtype=torch.bool).tril(p)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    return attn.o_proj(attn.merge_heads(y))
""",
    ),
    Right(
        "lora_gradients",
        "W copied",
        "G @ W + of_a @ A",
        "G @ W.T.contiguous().T.clone() + of_a @ A",
    ),
    Right(
        "lora_gradients",
        "einsum of three",
        None,
        """def lora_gradients(x, G, W, A, B, s):
    of_x = torch.einsum("...o,oi->...i", G, W) + s * torch.einsum("...o,or,ri->...i", G, B, A)
    return of_x, s * torch.einsum("...o,or,...i->ri", G, B, x), s * torch.einsum("...i,ri,...o->or", x, A, G)
""",
    ),
    Right(
        "recomputed",
        "a vector-Jacobian product of the block as a function",
        None,
        """class Again(torch.autograd.Function):
    @staticmethod
    def forward(ctx, block, names, x, *trained):
        ctx.block, ctx.names = block, names
        ctx.save_for_backward(x, *trained)
        return block(x)

    @staticmethod
    def backward(ctx, g):
        x, *trained = ctx.saved_tensors
        run = lambda x, weights: torch.func.functional_call(ctx.block, weights, (x,))
        _, back = torch.func.vjp(run, x.detach(), dict(zip(ctx.names, trained)))
        of_x, of_weights = back(g)
        return None, None, of_x, *(of_weights[name] for name in ctx.names)


def recomputed(block, x):
    named = {name: p for name, p in block.named_parameters() if p.requires_grad}
    return Again.apply(block, list(named), x, *named.values())
""",
    ),
    Right(
        "recomputed",
        "the input saved, and on ctx too",
        "ctx.block, ctx.trained = block, trained",
        "ctx.block, ctx.trained, ctx.x = block, trained, x",
    ),
    Right(
        "mended_read_on",
        "scores by hand, in groups of heads",
        None,
        """def mended_read_on(attn, x, memory_k, memory_v):
    T, p = x.size(1), memory_k.size(2)
    q, k = (rotate(attn.split_heads(proj(x)), p, attn.rope_base) for proj in (attn.q_proj, attn.k_proj))
    k = torch.cat([memory_k, k], 2)[:, :, None]  # (B, heads, 1, p + T, h)
    v = torch.cat([memory_v, attn.split_heads(attn.v_proj(x))], 2)[:, :, None]
    scores = q.unflatten(1, (-1, attn.sharing)) @ k.mT / attn.head_dim**0.5
    scores = scores.masked_fill(torch.arange(p + T) > torch.arange(T)[:, None] + p, -torch.inf)
    return attn.o_proj(attn.merge_heads((scores.softmax(-1) @ v).flatten(1, 2)))
""",
    ),
]

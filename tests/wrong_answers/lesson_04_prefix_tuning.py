"""Wrong answers that students give to the exercises of lesson 04."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_numbers", "keys only", "out = 2 * layers * d", "out = layers * d", "two; one of them"),
    Wrong("predict_numbers", "one layer only", "out = 2 * layers * d", "out = 2 * d", "one layer"),
    Wrong("predict_numbers", "a soft prompt", "kept = p * out", "kept = p * d", "soft prompt"),
    Wrong("predict_numbers", "heads counted again", "kept = p * out", "kept = p * out * 32", "all heads together"),
    Wrong(
        "predict_numbers", "one token only", "kept = p * out", "kept = out", "What does a virtual token need, and where"
    ),
    Wrong(
        "predict_numbers",
        "biases forgotten",
        """first = d * hidden + hidden
    second = hidden * out + out""",
        """first = d * hidden
    second = hidden * out""",
        "forget the biases",
    ),
    Wrong("predict_numbers", "one bias forgotten", "hidden * out + out", "hidden * out", "one of the two biases"),
    Wrong("predict_numbers", "table forgotten", "table + first + second", "first + second", "table trains too"),
    Wrong(
        "predict_numbers",
        "prefix counted on top",
        "table + first + second",
        "kept + table + first + second",
        "computed",
    ),
    Wrong("predict_numbers", "MLP for one layer", "hidden * out + out", "2 * (hidden * d + d)", "one layer only"),
    Wrong(
        "predict_numbers",
        "an MLP a layer",
        "return table + first + second",
        "return layers * (table + first + 2 * (hidden * d + d))",
        "with the MLP",
    ),
    Wrong(
        "predict_numbers", "swapped", "table + first + second, kept", "kept, table + first + second", "other way round"
    ),
    Wrong("predict_zero_prefix", "zeros taken for nothing", "6 / 16", "1", "zeros are not nothing"),
    Wrong("predict_zero_prefix", "text goes silent", "6 / 16", "0.0", "go silent"),
    Wrong("predict_zero_prefix", "share of the prefix", "6 / 16", "10 / 16", "falls on the prefix"),
    Wrong("predict_zero_prefix", "future seen", "6 / 16", "9 / 19", "sixth token see"),
    Wrong("predict_zero_prefix", "itself not seen", "6 / 16", "5 / 15", "sees itself"),
    Wrong("predict_zero_prefix", "one key for the whole prefix", "6 / 16", "6 / 7", "key of its own"),
    Wrong(
        "predict_zero_prefix",
        "text to prefix",
        "6 / 16",
        "6 / 10",
        "How many keys does the token see, and how many of them are t",
    ),
    Wrong(
        "prefix_mask", "lined up at the start", "columns <= p + queries", "columns <= queries", "does not see itself"
    ),
    Wrong("prefix_mask", "itself not seen", "columns <= p + queries", "columns < p + queries", "does not see itself"),
    Wrong(
        "prefix_mask",
        "next token seen",
        "columns <= p + queries",
        "columns <= p + queries + 1",
        "sees a token behind it",
    ),
    Wrong("prefix_mask", "true means hidden", "return past & real", "return ~(past & real)", "inside out"),
    Wrong("prefix_mask", "lengths ignored", "past & real", "past & (real | True)", "filling is seen"),
    Wrong(
        "prefix_mask",
        "filling behind the prefix",
        "columns >= p - lengths[:, None, None, None]",
        "(columns < lengths[:, None, None, None]) | (columns >= p)",
        "At which end is the filling",
    ),
    Wrong(
        "prefix_mask", "one column too few", "columns >= p - lengths", "columns > p - lengths", "does not see itself"
    ),
    Wrong(
        "prefix_mask",
        "one column too many",
        "columns >= p - lengths",
        "columns >= p - 1 - lengths",
        "filling is seen",
    ),
    Wrong("prefix_mask", "floats to add", "return past & real", "return (past & real).float()", "mask of bool"),
    Wrong("prefix_mask", "no dimension for the heads", "return past & real", "return (past & real)[:, 0]", "shape"),
    Wrong("prefix_mask", "not causal", "past & real", "(past | True) & real", "sees a token behind it"),
    Wrong("prefix_mask", "either condition is enough", "past & real", "past | real", "sees a token behind it"),
    Wrong("read_on", "text at position zero", "start=cache.size(3)", "start=0", "the old ones have these"),
    Wrong(
        "read_on",
        "position right for the first text only",
        "start=cache.size(3)",
        "start=4",
        "of a second portion (it begins where the longer cache ends) is not right",
    ),
    Wrong("read_on", "cache does not grow", "layers.append(both)", "layers.append(old)", "not grown"),
    Wrong(
        "read_on", "new tokens only", "layers.append(both)", "layers.append(new)", "new tokens make a cache of shape"
    ),
    Wrong("read_on", "new before old", "torch.cat([old, new], dim=2)", "torch.cat([new, old], dim=2)", "stay in front"),
    Wrong("read_on", "norm forgotten", "block.ln_1(x)", "x", "k_proj reads what comes behind the norm"),
    Wrong(
        "read_on",
        "keys and values swapped",
        "torch.stack([attn.k_proj(h), attn.v_proj(h)])",
        "torch.stack([attn.v_proj(h), attn.k_proj(h)])",
        "swapped",
    ),
    Wrong(
        "read_on",
        "the kernel's own mask",
        "attention(q, k, v)",
        "F.scaled_dot_product_attention(q, k, v, is_causal=True)",
        "at the start",
    ),
    Wrong(
        "read_on",
        "no mask",
        "attention(q, k, v)",
        "F.scaled_dot_product_attention(q, k, v)",
        "is_causal lines up at the start. And is the rest of the block there",
    ),
    Wrong(
        "read_on",
        "residual missing",
        "x = x + attn.o_proj",
        "x = attn.o_proj",
        "is_causal lines up at the start. And is the rest of the block there",
    ),
    Wrong("read_on", "final norm missing", "base.unembed(x)", "base.lm_head(x)", "tensor of logits is not right"),
    Wrong(
        "read_on",
        "cache changed in place",
        "both = torch.cat([old, new], dim=2)",
        "both = torch.cat([old.mul_(1.5), new], dim=2)",
        "something that was given is changed in place",
    ),
    Wrong(
        "mended_attend",
        "heads still scrambled",
        "prefix.unflatten(-1, (attn.n_head, -1)).transpose(0, 1)",
        "prefix.reshape(attn.n_head, p, -1)",
        "mask is mended",
    ),
    Wrong("mended_attend", "mask still at the start", "attn_mask=mask", "is_causal=True", "heads are mended"),
    Wrong("mended_attend", "no mask", ", attn_mask=mask", "", "a token sees those behind it"),
    Wrong("mended_attend", "itself not seen", ".tril(p)", ".tril(p - 1)", "does not see itself"),
    Wrong("mended_attend", "right for this prefix alone", ".tril(p)", ".tril(4)", "a token sees those behind it"),
    Wrong("mended_attend", "next token seen", ".tril(p)", ".tril(p + 1)", "a token sees those behind it"),
    Wrong(
        "mended_attend",
        "prefix hidden",
        "attn_mask=mask)",
        "attn_mask=mask & (torch.arange(p + T) >= p))",
        "nobody sees the prefix",
    ),
    Wrong(
        "mended_attend",
        "pasted from the lesson",
        "B, T, p = len(x)",
        "return attend(attn, x, prefix_k, prefix_v)\n    B, T, p = len(x)",
        "the lesson's attend and attention do the work here",
    ),
    Wrong(
        "mended_attend",
        "text before the prefix",
        "torch.cat([heads[1].expand(B, -1, -1, -1), v], dim=2)",
        "torch.cat([v, heads[1].expand(B, -1, -1, -1)], dim=2)",
        "a token sees those behind it",
    ),
    # ---- as a reader's attempts showed
    Wrong(
        "predict_numbers",
        "asked the library",
        "    p, d, layers",
        "    METHOD.count(SEVEN_BILLION)\n    p, d, layers",
        "calculate",
    ),
    Wrong(
        "predict_numbers",
        "no biases",
        "first = d * hidden + hidden\n    second = hidden * out + out",
        "first = d * hidden\n    second = hidden * out",
        "forget the biases",
    ),
    Wrong("predict_zero_prefix", "a word", "return 6 / 16", 'return "6 / 16"', "must be a number"),
    Wrong("prefix_mask", "size written in", "columns = torch.arange(p + T)", "columns = torch.arange(9)", ""),
    Wrong(
        "prefix_mask",
        "lengths changed",
        "    return past & real",
        "    lengths.clamp_(min=99)\n    return past & real",
        "lengths was changed",
    ),
    Wrong(
        "prefix_mask",
        "numbers for booleans",
        "    return past & real",
        "    return (past & real).float()",
        "mask of bool",
    ),
    Wrong("prefix_mask", "one mask for all", "    return past & real", "    return (past & real)[:1]", "has shape"),
    Wrong(
        "read_on",
        "under no_grad",
        "    x = base.embed(idx, start=cache.size(3))",
        "    cache = cache.detach()\n    x = base.embed(idx, start=cache.size(3))",
        "no gradient can flow back",
    ),
    Wrong("read_on", "float32", "torch.stack(layers)", "torch.stack(layers).float()", "changed"),
    Wrong("read_on", "two layers", "zip(base.blocks, cache, strict=True)", "list(zip(base.blocks, cache))[:2]", ""),
    Wrong(
        "read_on",
        "old tokens again",
        "new = torch.stack([attn.k_proj(h), attn.v_proj(h)])",
        "attn.k_proj(old[0])\n        new = torch.stack([attn.k_proj(h), attn.v_proj(h)])",
        "no old one may be computed again",
    ),
    Wrong("read_on", "tokens in place", "    x = base.embed", "    idx.zero_()\n    x = base.embed", "idx was changed"),
    Wrong(
        "mended_attend",
        "by hand",
        "F.scaled_dot_product_attention(q, k, v, attn_mask=mask)",
        "(q @ k.mT / q.size(-1) ** 0.5).masked_fill(~mask, float('-inf')).softmax(-1) @ v",
        "must do the work",
    ),
    Wrong("mended_attend", "heads written in", "(attn.n_head, -1)", "(2, -1)", ""),
    Wrong(
        "mended_attend",
        "prefix detached",
        "mixed = F",
        "k = k.detach()\n    mixed = F",
        "result is right, but the gradient of x is not right",
    ),
    Wrong(
        "mended_attend",
        "the lesson's",
        "    mixed = F",
        "    attend(attn, x, prefix_k, prefix_v)\n    mixed = F",
        "let the kernel do it",
    ),
    Wrong(
        "predict_numbers",
        "the library's formula",
        "    p, d, layers",
        "    METHOD.formula(SEVEN_BILLION, 30, 256)\n    p, d, layers",
        "calculate",
    ),
    Wrong(
        "prefix_mask",
        "itself hidden",
        "past = columns <= p + queries",
        "past = columns < p + queries",
        "does not see itself",
    ),
    Wrong(
        "read_on",
        "the cache that is returned detached",
        "layers.append(both)",
        "layers.append(both.detach())",
        "the cache that you return is detached",
    ),
    Wrong(
        "read_on",
        "the new part of the cache detached",
        "layers.append(both)",
        "layers.append(torch.cat([old, new.detach()], dim=2))",
        "read in two portions",
    ),
    Wrong(
        "read_on",
        "one token after the other",
        None,
        """
def read_on(base, cache, idx):
    logits = []
    for t in range(idx.size(1)):
        x, layers = base.embed(idx[:, t : t + 1], start=cache.size(3)), []
        for block, old in zip(base.blocks, cache):
            attn, h = block.attn, block.ln_1(x)
            both = torch.cat([old, torch.stack([attn.k_proj(h), attn.v_proj(h)])], dim=2)
            q, k, v = map(attn.split_heads, (attn.q_proj(h), *both))
            x = x + attn.o_proj(attn.merge_heads(attention(q, k, v)))
            x = x + block.mlp(block.ln_2(x))
            layers.append(both)
        cache = torch.stack(layers)
        logits.append(base.unembed(x))
    return torch.cat(logits, dim=1), cache
""",
        "all new tokens go through them together",
    ),
    Wrong("read_on", "no second norm", "block.mlp(block.ln_2(x))", "block.mlp(x)", "the second norm"),
    Wrong("mended_attend", "a diagonal too low", ".tril(p)", ".tril(p - 1)", "does not see itself"),
    Wrong(
        "mended_attend",
        "values cut by a reshape still",
        "    k = torch.cat([heads[0]",
        "    heads[1] = prefix_v.reshape(attn.n_head, p, -1)\n    k = torch.cat([heads[0]",
        "each other's values",
    ),
    Wrong(
        "mended_attend",
        "heads put together by a reshape",
        "attn.merge_heads(mixed)",
        "mixed.reshape(B, T, -1)",
        "put together as they were cut",
    ),
    Wrong("prefix_mask", "six at most", "p = int(lengths.max())", "p = min(6, int(lengths.max()))", "has shape"),
    Wrong(
        "read_on",
        "new keys in 32 bits",
        "return base.unembed(x), torch.stack(layers)",
        "new = torch.stack(layers)[..., cache.size(3) :, :].float().to(x.dtype)\n"
        "    return base.unembed(x), torch.cat([cache, new], dim=3)",
        "nearly right",
    ),
    Wrong(
        "mended_attend",
        "a number for minus infinity",
        "attn_mask=mask)",
        "attn_mask=torch.zeros(T, p + T, dtype=x.dtype).masked_fill(~mask, -1000.0))",
        "a token sees those behind it",
    ),
    Wrong(
        "read_on",
        "one row squeezed",
        "    return base.unembed(x), torch.stack(layers)",
        "    return base.unembed(x).squeeze(0), torch.stack(layers)",
        "is of shape",
    ),
    Wrong(
        "mended_attend",
        "one virtual token squeezed",
        "prefix.unflatten(-1, (attn.n_head, -1)).transpose(0, 1)",
        "prefix.unflatten(-1, (attn.n_head, -1)).squeeze(0).transpose(0, 1)",
        "your answer stops",
    ),
]

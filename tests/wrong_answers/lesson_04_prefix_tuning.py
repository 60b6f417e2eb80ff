"""Wrong answers that students give to the exercises of lesson 04."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_numbers", "keys only", "out = 2 * layers * d", "out = layers * d", "two; one of them"),
    Wrong("predict_numbers", "one layer only", "out = 2 * layers * d", "out = 2 * d", "one layer"),
    Wrong("predict_numbers", "a soft prompt", "kept = p * out", "kept = p * d", "soft prompt"),
    Wrong("predict_numbers", "heads counted again", "kept = p * out", "kept = p * out * 32", "all heads together"),
    Wrong("predict_numbers", "one token only", "kept = p * out", "kept = out", "for every virtual token"),
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
        "one for all layers",
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
    Wrong("predict_zero_prefix", "text to prefix", "6 / 16", "6 / 10", "all keys"),
    Wrong(
        "prefix_mask", "lined up at the start", "columns <= p + queries", "columns <= queries", "lined up at the start"
    ),
    Wrong("prefix_mask", "itself not seen", "columns <= p + queries", "columns < p + queries", "does not see itself"),
    Wrong(
        "prefix_mask", "next token seen", "columns <= p + queries", "columns <= p + queries + 1", "sees the next one"
    ),
    Wrong("prefix_mask", "true means hidden", "return past & real", "return ~(past & real)", "inside out"),
    Wrong("prefix_mask", "lengths ignored", "past & real", "past & (real | True)", "filling is seen"),
    Wrong(
        "prefix_mask",
        "filling behind the prefix",
        "columns >= p - lengths[:, None, None, None]",
        "(columns < lengths[:, None, None, None]) | (columns >= p)",
        "directly before the text",
    ),
    Wrong(
        "prefix_mask", "one column too few", "columns >= p - lengths", "columns > p - lengths", "too many or too few"
    ),
    Wrong(
        "prefix_mask",
        "one column too many",
        "columns >= p - lengths",
        "columns >= p - 1 - lengths",
        "too many or too few",
    ),
    Wrong("prefix_mask", "floats to add", "return past & real", "return (past & real).float()", "mask of bool"),
    Wrong("prefix_mask", "no dimension for the heads", "return past & real", "return (past & real)[:, 0]", "shape"),
    Wrong("prefix_mask", "not causal", "past & real", "(past | True) & real", "sees the next one"),
    Wrong("read_on", "text at position zero", "start=cache.size(3)", "start=0", "begin where the cache ends"),
    Wrong("read_on", "position right for the first text only", "start=cache.size(3)", "start=4", "position 9"),
    Wrong("read_on", "cache does not grow", "layers.append(both)", "layers.append(old)", "not grown"),
    Wrong("read_on", "new tokens only", "layers.append(both)", "layers.append(new)", "4 old and 5 new"),
    Wrong("read_on", "new before old", "torch.cat([old, new], dim=2)", "torch.cat([new, old], dim=2)", "stay in front"),
    Wrong("read_on", "norm forgotten", "block.ln_1(x)", "x", "k_proj reads ln_1"),
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
        "not those of PrefixedGPT",
    ),
    Wrong("read_on", "residual missing", "x = x + attn.o_proj", "x = attn.o_proj", "not those of PrefixedGPT"),
    Wrong("read_on", "final norm missing", "base.unembed(x)", "base.lm_head(x)", "not those of PrefixedGPT"),
    Wrong(
        "read_on",
        "cache changed in place",
        "both = torch.cat([old, new], dim=2)",
        "both = torch.cat([old.mul_(1.5), new], dim=2)",
        "has changed",
    ),
    Wrong(
        "mended_attend",
        "heads still scrambled",
        "prefix.unflatten(-1, (attn.n_head, -1)).transpose(0, 1)",
        "prefix.reshape(attn.n_head, p, -1)",
        "mask is mended",
    ),
    Wrong("mended_attend", "mask still at the start", "attn_mask=mask", "is_causal=True", "heads are mended"),
    Wrong("mended_attend", "no mask", ", attn_mask=mask", "", "sees the future"),
    Wrong("mended_attend", "itself not seen", ".tril(p)", ".tril(p - 1)", "does not see itself"),
    Wrong("mended_attend", "next token seen", ".tril(p)", ".tril(p + 1)", "sees the next one"),
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
        "still do the work",
    ),
    Wrong(
        "mended_attend",
        "text before the prefix",
        "torch.cat([heads[1].expand(B, -1, -1, -1), v], dim=2)",
        "torch.cat([v, heads[1].expand(B, -1, -1, -1)], dim=2)",
        "not what the lesson",
    ),
]

"""Wrong answers that students give to the exercises of lesson 09."""

from wrong_answers.wrong import Wrong

WRONG = [
    # ---- predict_parameters
    Wrong("predict_parameters", "keys only", "2 * layers * 5 * d", "layers * 5 * d", "one of them is forgotten"),
    Wrong("predict_parameters", "prefix in one layer", "2 * layers * 5 * d", "2 * 5 * d", "that is one layer"),
    Wrong("predict_parameters", "a soft prompt", "2 * layers * 5 * d", "5 * d", "soft prompt"),
    Wrong("predict_parameters", "one virtual token", "2 * layers * 5 * d", "2 * layers * d", "one virtual token"),
    Wrong("predict_parameters", "heads multiply", "2 * layers * 5 * d", "2 * layers * 5 * d * 16", "do not multiply"),
    Wrong("predict_parameters", "biases forgotten", "d * 16 + 16 + 16 * d + d", "2 * d * 16", "forget the biases"),
    Wrong("predict_parameters", "bias of up_proj forgotten", " + 16 * d + d)", " + 16 * d)", "bias of up_proj"),
    Wrong("predict_parameters", "two a block", "layers * (d * 16", "2 * layers * (d * 16", "two a block"),
    Wrong("predict_parameters", "one block", "layers * (d * 16", "1 * (d * 16", "one block"),
    Wrong("predict_parameters", "one matrix", "16 * d + d)", "d)", "two matrices"),
    Wrong("predict_parameters", "scale counted", "layers * (d * 16", "4 * layers * (d * 16", "adds no numbers"),
    Wrong("predict_parameters", "scales trained", "16 * d + d)", "16 * d + d + 1)", "does not train"),
    Wrong("predict_parameters", "swapped", "return prefix, adapters", "return adapters, prefix", "other way round"),
    # ---- predict_rates
    Wrong("predict_rates", "Adam upside down", "adam_up = s * rate", "adam_up = rate / s", "upside down"),
    Wrong(
        "predict_rates",
        "Adam with the same rate",
        "adam_up = s * rate",
        "adam_up = rate",
        "at an equal rate W_up moves equally far",
    ),
    Wrong("predict_rates", "Adam as gradient descent", "adam_up = s * rate", "adam_up = s * s * rate", "Adam divides"),
    Wrong("predict_rates", "gradient descent as Adam", "plain_up = s * s * rate", "plain_up = s * rate", "Adam's rate"),
    Wrong("predict_rates", "upside down", "plain_up = s * s * rate", "plain_up = rate / s / s", "upside down"),
    Wrong("predict_rates", "the same rate", "plain_up = s * s * rate", "plain_up = rate", "at an equal rate"),
    Wrong("predict_rates", "down_proj as up_proj", "plain_down = rate", "plain_down = s * rate", "gradient descent"),
    Wrong("predict_rates", "a guess", "plain_up = s * s * rate", "plain_up = 0.08", "the two runs differ"),
    # ---- beside_both
    # ---- prefix_afterwards
    Wrong(
        "prefix_afterwards",
        "gate upside down",
        "a.logsumexp(dim=-1) - b.logsumexp(dim=-1)",
        "b.logsumexp(dim=-1) - a.logsumexp(dim=-1)",
        "gate is upside down",
    ),
    Wrong("prefix_afterwards", "mask forgotten", ".masked_fill(future, -math.inf)", "", "causal mask"),
    Wrong(
        "prefix_afterwards",
        "mask hides the token itself",
        ".triu(1)",
        ".triu(1).logical_or(torch.eye(T).bool())",
        "gate is not right",
    ),
    Wrong(
        "prefix_afterwards",
        "root forgotten",
        "T = q.size(-2)",
        "T, q = q.size(-2), q * math.sqrt(q.size(-1))",
        "root of head_dim",
    ),
    Wrong(
        "prefix_afterwards",
        "the lesson's line",
        "torch.sigmoid(a.logsumexp(dim=-1) - b.logsumexp(dim=-1))",
        "a.exp().sum(dim=-1) / (a.exp().sum(dim=-1) + b.exp().sum(dim=-1))",
        "exponential of a large score is infinite",
    ),
    Wrong(
        "prefix_afterwards",
        "odds",
        "torch.sigmoid(a.logsumexp(dim=-1) - b.logsumexp(dim=-1))",
        "(a.logsumexp(dim=-1) - b.logsumexp(dim=-1)).exp()",
        "text's part alone",
    ),
    Wrong(
        "prefix_afterwards",
        "keys counted",
        "torch.sigmoid(a.logsumexp(dim=-1) - b.logsumexp(dim=-1))",
        "(a.size(-1) / (a.size(-1) + 1 + torch.arange(T))).double().expand(q.shape[:-1])",
        "only counts keys",
    ),
    Wrong("prefix_afterwards", "dimension kept", "return mixed, gate", "return mixed, gate[..., None]", "shape"),
    Wrong(
        "prefix_afterwards", "order of the result", "return mixed, gate", "return gate, mixed", "the gate is of shape"
    ),
    Wrong(
        "prefix_afterwards",
        "one gate for all heads",
        "b.logsumexp(dim=-1))  #",
        "b.logsumexp(dim=-1)).mean(dim=1, keepdim=True).expand(q.shape[:-1])  #",
        "each has its own",
    ),
    Wrong("prefix_afterwards", "h does not give way", "(1 - gate[..., None]) * h", "h", "give way"),
    Wrong("prefix_afterwards", "correction not gated", "gate[..., None] * correction", "correction", "not gated"),
    Wrong(
        "prefix_afterwards",
        "sum turned round",
        "(1 - gate[..., None]) * h + gate[..., None] * correction",
        "gate[..., None] * h + (1 - gate[..., None]) * correction",
        "turned round",
    ),
    Wrong(
        "prefix_afterwards",
        "softmax over everything",
        "a.softmax(dim=-1) @ prefix_v",
        "torch.cat([a, b], dim=-1).softmax(dim=-1)[..., : a.size(-1)] @ prefix_v",
        "the gate came in twice",
    ),
    Wrong(
        "prefix_afterwards",
        "values averaged",
        "a.softmax(dim=-1) @ prefix_v",
        "prefix_v.mean(dim=1, keepdim=True)",
        "output (the gate is right) is not right",
    ),
    Wrong(
        "prefix_afterwards",
        "softmax over the queries",
        "a.softmax(dim=-1)",
        "a.softmax(dim=-2)",
        "output (the gate is right) is not right",
    ),
    Wrong(
        "prefix_afterwards",
        "prefix hidden by the mask",
        "gate = torch",
        "a = a.masked_fill(torch.ones(T, a.size(-1)).bool().triu(1), -math.inf)\n    gate = torch",
        "gate is not right",
    ),
    Wrong(
        "prefix_afterwards",
        "future and past exchanged",
        ".triu(1)",
        ".tril(-1)",
        "gate is not right",
    ),
    Wrong(
        "prefix_afterwards",
        "h changed in place",
        "return mixed, gate",
        "h.copy_(mixed)\n    return h, gate",
        "something that needs a gradient is changed in place",
    ),
    # ---- widen
    Wrong(
        "widen",
        "scale forgotten",
        "mlp, s = beside.base, beside.scale",
        "mlp, s = beside.base, 1",
        "the scale is missing",
    ),
    Wrong(
        "widen",
        "scale before the bend",
        """torch.cat([mlp.up_proj.weight, beside.down_proj.weight], dim=0))  # (f + m, d)
        wide.up_proj.bias.copy_(torch.cat([mlp.up_proj.bias, beside.down_proj.bias]))  # (f + m,)
        # Each feature's column, in the same order. The scale comes behind the bend, so it fits in here.
        wide.down_proj.weight.copy_(torch.cat([mlp.down_proj.weight, s * beside""",
        """torch.cat([mlp.up_proj.weight, s * beside.down_proj.weight], dim=0))
        wide.up_proj.bias.copy_(torch.cat([mlp.up_proj.bias, s * beside.down_proj.bias]))
        wide.down_proj.weight.copy_(torch.cat([mlp.down_proj.weight, beside""",
        "before the bend",
    ),
    Wrong("widen", "last bias not scaled", "+ s * beside.up_proj.bias", "+ beside.up_proj.bias", "bias is not scaled"),
    Wrong("widen", "adapter's last bias lost", " + s * beside.up_proj.bias", "", "adapter's last bias is missing"),
    Wrong("widen", "the MLP's last bias lost", "mlp.down_proj.bias + s", "s", "own last bias is missing"),
    Wrong(
        "widen",
        "both last biases scaled",
        "mlp.down_proj.bias + s * beside.up_proj.bias",
        "s * (mlp.down_proj.bias + beside.up_proj.bias)",
        "own last bias is scaled",
    ),
    Wrong(
        "widen",
        "everything scaled",
        "    return wide",
        "    wide.down_proj.weight.data[:, : config.n_inner] *= s\n"
        "    wide.down_proj.bias.data += (s - 1) * mlp.down_proj.bias\n"
        "    return wide",
        "MLP's part too",
    ),
    Wrong(
        "widen",
        "features in two orders",
        "torch.cat([mlp.down_proj.weight, s * beside.up_proj.weight], dim=1)",
        "torch.cat([s * beside.up_proj.weight, mlp.down_proj.weight], dim=1)",
        "keep one order",
    ),
    Wrong(
        "widen",
        "feature bias forgotten",
        "torch.cat([mlp.up_proj.bias, beside.down_proj.bias])",
        "torch.cat([mlp.up_proj.bias, 0 * beside.down_proj.bias])",
        "bias of the adapter's down_proj",
    ),
    Wrong(
        "widen",
        "adapter left out",
        "    return wide",
        "    return __import__('copy').deepcopy(mlp)",
        "up_proj.weight is of shape",
    ),
    Wrong("widen", "the old module", "    return wide", "    return beside", "return a plain MLP, not ParallelAdapter"),
    Wrong(
        "widen",
        "the old weights scaled in place",
        "s * beside.up_proj.weight]",
        "beside.up_proj.weight.mul_(s)]",
        "beside.up_proj.weight was changed in place",
    ),
    Wrong(
        "widen",
        "last bias shared",
        "wide.down_proj.bias.copy_(mlp.down_proj.bias + s * beside.up_proj.bias)",
        "wide.down_proj.bias = mlp.down_proj.bias",
        "the new MLP shares down_proj.bias with beside",
    ),
    Wrong(
        "widen",
        "adapter's matrices exchanged",
        "torch.cat([mlp.up_proj.weight, beside.down_proj.weight], dim=0)",
        "torch.cat([mlp.up_proj.weight, beside.up_proj.weight.T], dim=0)",
        "the new MLP computes is not right",
    ),
    # ---- mended_mam
    Wrong("mended_mam", "text at position 0", "idx, start=prefix.size(2)", "idx", "begins at position 0"),
    Wrong("mended_mam", "another size of the prefix", "prefix.size(2)", "len(prefix)", "it gives is not right"),
    Wrong("mended_mam", "text one too early", "prefix.size(2)", "prefix.size(2) - 1", "too early"),
    Wrong("mended_mam", "scale lost", "scale * adapter.up_proj", "adapter.up_proj", "scale is gone"),
    Wrong(
        "mended_mam",
        "scale twice",
        "F.gelu(adapter.down_proj",
        "F.gelu(scale * adapter.down_proj",
        "counts twice",
    ),
    Wrong(
        "mended_mam",
        "nothing mended",
        "x = base.embed(idx, start=prefix.size(2))",
        "return broken_mam(base, adapters, scale, prefix, idx)\n    x = base.embed(idx, start=prefix.size(2))",
        "still stands before the bend",
    ),
    Wrong(
        "mended_mam",
        "the bias not scaled",
        "scale * adapter.up_proj(features)",
        "scale * adapter.up_proj(features) - (scale - 1) * adapter.up_proj.bias",
        "last bias is not scaled",
    ),
    # ---- beside_both
    Wrong(
        "beside_both",
        "both read behind the norm",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    read = block.ln_1(x)
    x = x + block.attn(read) + scale * at_attention(read)
    again = block.ln_2(x)
    return x + block.mlp(again) + scale * at_mlp(again)
""",
        "both adapters read what the norm gives",
    ),
    Wrong(
        "beside_both",
        "first reads behind the norm",
        "at_attention(x)",
        "at_attention(block.ln_1(x))",
        "beside attention reads what the norm",
    ),
    Wrong(
        "beside_both",
        "second reads behind the norm",
        "at_mlp(x)",
        "at_mlp(block.ln_2(x))",
        "feed-forward network reads what the norm",
    ),
    Wrong("beside_both", "sequential", "at_mlp(x)", "at_mlp(block.mlp(block.ln_2(x)))", "reads what that gives"),
    Wrong(
        "beside_both",
        "scale at the second only",
        "scale * at_attention",
        "at_attention",
        "missing at the adapter beside attention",
    ),
    Wrong(
        "beside_both", "scale at the first only", "scale * at_mlp", "at_mlp", "missing at the adapter beside the feed"
    ),
    Wrong(
        "beside_both",
        "no scale",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    x = x + block.attn(block.ln_1(x)) + at_attention(x)
    return x + block.mlp(block.ln_2(x)) + at_mlp(x)
""",
        "missing at both",
    ),
    Wrong("beside_both", "scale on what is read", "scale * at_mlp(x)", "at_mlp(scale * x)", "is not right"),
    Wrong(
        "beside_both",
        "the stream as it came, twice",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    return block(x) + scale * (at_attention(x) + at_mlp(x))
""",
        "what the block alone gives",
    ),
    Wrong(
        "beside_both",
        "second reads the old stream",
        "    x = x + block.attn(block.ln_1(x)) + scale * at_attention(x)\n",
        "    old = x\n    x = x + block.attn(block.ln_1(x)) + scale * at_attention(x)\n    x = x + scale * at_mlp(old) - scale * at_mlp(x)\n",
        "is not right",
    ),
    Wrong(
        "beside_both",
        "x changed in place",
        "    x = x + block.attn(block.ln_1(x)) +",
        "    x.data += 1\n    x = x + block.attn(block.ln_1(x)) +",
        "x was changed",
    ),
    Wrong(
        "beside_both",
        "adapters exchanged",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    x = x + block.attn(block.ln_1(x)) + scale * at_mlp(x)
    return x + block.mlp(block.ln_2(x)) + scale * at_attention(x)
""",
        "changed places",
    ),
    Wrong("beside_both", "residual missing", "    return x + block.mlp", "    return block.mlp", "is not right"),
    Wrong(
        "beside_both",
        "under no_grad",
        "    x = x + block.attn(block.ln_1(x)) + scale * at_attention(x)",
        "    with torch.no_grad():\n        x = x + block.attn(block.ln_1(x)) + scale * at_attention(x)",
        "no gradient reaches",
    ),
    Wrong(
        "beside_both",
        "the lesson's class",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    d, m = at_mlp.down_proj.in_features, at_mlp.down_proj.out_features
    layer = ParallelAdapter(block.mlp, block.ln_2, d, m, scale)
    return layer(x)
""",
        "write the two lines yourself",
    ),
    # ---- mended_mam
    Wrong(
        "mended_mam",
        "still sequential",
        "adapter.down_proj(x)",
        "adapter.down_proj(block.mlp(block.ln_2(x)))",
        "sequential, not parallel",
    ),
    Wrong(
        "mended_mam", "reads behind the norm", "adapter.down_proj(x)", "adapter.down_proj(block.ln_2(x))", "before it"
    ),
    Wrong(
        "mended_mam",
        "reads the stream with the output",
        "adapter.down_proj(x)",
        "adapter.down_proj(x + block.mlp(block.ln_2(x)))",
        "reads the finished sum",
    ),
    Wrong(
        "mended_mam",
        "scale still inside",
        None,
        """
def mended_mam(base, adapters, scale, prefix, idx):
    x = base.embed(idx, start=prefix.size(2))
    for block, adapter, (prefix_k, prefix_v) in zip(base.blocks, adapters, prefix, strict=True):
        x = x + attend(block.attn, block.ln_1(x), prefix_k, prefix_v)
        features = F.gelu(scale * adapter.down_proj(x), approximate="tanh")
        x = x + block.mlp(block.ln_2(x)) + adapter.up_proj(features)
    return base.unembed(x)
""",
        "still stands before the bend",
    ),
    Wrong(
        "mended_mam",
        "scale on both",
        "F.gelu(adapter.down_proj(x)",
        "F.gelu(scale * adapter.down_proj(x)",
        "counts twice",
    ),
    # ---- as a reader's attempts showed
    Wrong(
        "predict_parameters",
        "asked the library",
        "return prefix, adapters",
        "return prefix, METHOD.count(GPTConfig(9, 9, 24, 16, 1024)) - prefix",
        "calculate",
    ),
    Wrong("predict_rates", "a negative rate", "plain_down = rate", "plain_down = -rate", "not below zero"),
    Wrong(
        "prefix_afterwards",
        "under no_grad",
        "    gate = torch.sigmoid",
        "    a, b = a.detach(), b.detach()\n    gate = torch.sigmoid",
        "",
    ),
    Wrong("prefix_afterwards", "float32", "    return mixed, gate", "    return mixed.float(), gate", "float32"),
    Wrong("prefix_afterwards", "heads written in", "T = q.size(-2)", "T = 6", ""),
    Wrong("widen", "float32", ".to(mlp.up_proj.weight.dtype)", "", "float32"),
    Wrong("widen", "width written in", "config.n_inner + beside.down_proj.out_features", "23", ""),
    Wrong(
        "widen",
        "a plain tensor",
        "    return wide",
        "    bias = wide.down_proj.bias.data\n    del wide.down_proj.bias\n    wide.down_proj.bias = bias\n    return wide",
        "no nn.Parameter",
    ),
    Wrong("widen", "scale written in", "mlp, s = beside.base, beside.scale", "mlp, s = beside.base, 4", "is not right"),
    Wrong("widen", "exact GELU", "    return wide", "    wide.act = nn.GELU()\n    return wide", "is not right"),
    Wrong(
        "mended_mam",
        "the lesson's classes",
        "    x = base.embed(",
        "    ParallelAdapter.forward(None, None)\n    x = base.embed(",
        "lesson's own classes",
    ),
    Wrong(
        "mended_mam",
        "two blocks",
        "zip(base.blocks, adapters, prefix, strict=True)",
        "list(zip(base.blocks, adapters, prefix))[:2]",
        "is not right",
    ),
    Wrong(
        "mended_mam",
        "prefix detached",
        "prefix_k, prefix_v)\n        # Second",
        "prefix_k.detach(), prefix_v)\n        # Second",
        "gradient of the prefix",
    ),
    Wrong(
        "mended_mam",
        "adapters popped",
        "    return base.unembed(x)",
        "    adapters.pop()\n    return base.unembed(x)",
        "adapters was changed",
    ),
    # ---- as an attack showed
    Wrong(
        "predict_parameters",
        "the library's formula",
        "    return prefix, adapters",
        "    from minitransformer.methods.prefix import count_prefix\n"
        "    count_prefix(GPTConfig(50_257, 1024, 24, 16, 1024), 5, None)\n    return prefix, adapters",
        "calculate",
    ),
    Wrong(
        "beside_both",
        "second reads a stream without the first adapter",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    read = x + block.attn(block.ln_1(x))
    x = read + scale * at_attention(x)
    return x + block.mlp(block.ln_2(x)) + scale * at_mlp(read)
""",
        "without what the first adapter added",
    ),
    Wrong(
        "beside_both",
        "second reads the stream that came in",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    old = x
    x = x + block.attn(block.ln_1(x)) + scale * at_attention(x)
    return x + block.mlp(block.ln_2(x)) + scale * at_mlp(old)
""",
        "the stream before attention; by then it has moved",
    ),
    Wrong(
        "beside_both",
        "first reads the stream after attention",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    x = x + block.attn(block.ln_1(x))
    x = x + scale * at_attention(x)
    return x + block.mlp(block.ln_2(x)) + scale * at_mlp(x)
""",
        "reads the stream after attention",
    ),
    Wrong(
        "beside_both",
        "both sequential",
        None,
        """
def beside_both(block, x, at_attention, at_mlp, scale):
    out = block.attn(block.ln_1(x))
    x = x + out + scale * at_attention(out)
    out = block.mlp(block.ln_2(x))
    return x + out + scale * at_mlp(out)
""",
        "both adapters read what their sublayer gives",
    ),
    Wrong(
        "beside_both",
        "first sequential",
        "at_attention(x)",
        "at_attention(block.attn(block.ln_1(x)))",
        "beside attention reads what attention gives",
    ),
    Wrong(
        "beside_both",
        "x detached on one way",
        "scale * at_attention(x)",
        "scale * at_attention(x.detach())",
        "detached, or under torch.no_grad()",
    ),
    Wrong("prefix_afterwards", "a mask of -100", "future, -math.inf", "future, -100.0", "the gate"),
    Wrong("prefix_afterwards", "a mask of -1000", "future, -math.inf", "future, -1000.0", "the gate"),
    Wrong("prefix_afterwards", "a mask of -10000", "future, -math.inf", "future, -1e4", "the gate"),
    Wrong(
        "widen",
        "the old forward",
        "    return wide",
        "    wide.forward = beside.forward\n    return wide",
        "has another forward",
    ),
    Wrong(
        "widen",
        "a hook",
        "    return wide",
        "    wide.register_forward_hook(lambda module, given, result: beside(given[0]))\n    return wide",
        "has a hook",
    ),
    Wrong(
        "widen",
        "first biases in another order",
        "torch.cat([mlp.up_proj.bias, beside.down_proj.bias])",
        "torch.cat([beside.down_proj.bias, mlp.up_proj.bias])",
        "the other of the bias of up_proj",
    ),
    Wrong(
        "mended_mam",
        "behind the finished sum",
        None,
        """
def mended_mam(base, adapters, scale, prefix, idx):
    x = base.embed(idx, start=prefix.size(2))
    for block, adapter, (prefix_k, prefix_v) in zip(base.blocks, adapters, prefix, strict=True):
        x = x + attend(block.attn, block.ln_1(x), prefix_k, prefix_v)
        x = x + block.mlp(block.ln_2(x))
        x = x + scale * adapter(x)
    return base.unembed(x)
""",
        "reads the finished sum",
    ),
    Wrong(
        "mended_mam",
        "reads the stream before attention",
        None,
        """
def mended_mam(base, adapters, scale, prefix, idx):
    x = base.embed(idx, start=prefix.size(2))
    for block, adapter, (prefix_k, prefix_v) in zip(base.blocks, adapters, prefix, strict=True):
        old = x
        x = x + attend(block.attn, block.ln_1(x), prefix_k, prefix_v)
        x = x + block.mlp(block.ln_2(x)) + scale * adapter(old)
    return base.unembed(x)
""",
        "the stream before attention",
    ),
    Wrong("mended_mam", "always position 5", "start=prefix.size(2)", "start=5", "at position 5"),
]

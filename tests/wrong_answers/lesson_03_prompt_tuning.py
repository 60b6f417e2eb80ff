"""Wrong answers that students give to the exercises of lesson 03."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_numbers", "a prompt in every layer", "30 * 4096", "30 * 4096 * 32", "enters once"),
    Wrong("predict_numbers", "keys and values in every layer", "30 * 4096", "2 * 32 * 30 * 4096", "keys and values"),
    Wrong("predict_numbers", "bytes instead of numbers", "30 * 4096", "2 * 30 * 4096", "bytes"),
    Wrong("predict_numbers", "vectors counted", "30 * 4096", "30", "how long is it"),
    Wrong("predict_numbers", "table counted too", "30 * 4096", "(30 + 32_000) * 4096", "table is frozen"),
    Wrong("predict_numbers", "one head only", "30 * 4096", "30 * 128", "length of one"),
    Wrong("predict_numbers", "nothing returned", "return 30 * 4096", "pass", "the answer is None"),
    Wrong("predict_places", "text not shifted", "first = 20", "first = 0", "taken by the prompt"),
    Wrong("predict_places", "counted from one", "first = 20", "first = 21", "count from 0"),
    Wrong("predict_places", "last virtual token", "first = 20", "first = 19", "last virtual token"),
    Wrong("predict_places", "prompt takes no room", "longest = 64 - 20", "longest = 64", "room in the block"),
    Wrong("predict_places", "one too short", "longest = 64 - 20", "longest = 64 - 21", "off by one"),
    Wrong("predict_places", "question forgotten", "64 - 2 * 14 - 12", "64 - 2 * 14", "question with its answer"),
    Wrong("predict_places", "one example only", "64 - 2 * 14 - 12", "64 - 14 - 12", "not one"),
    Wrong("predict_places", "examples without = and ;", "64 - 2 * 14 - 12", "64 - 2 * 12 - 12", "everything else"),
    Wrong(
        "prompt_from_text",
        "positions added",
        "model.wte.weight[text[places]].detach()",
        "(model.wte.weight[text[places]] + model.wpe.weight[:p]).detach()",
        "position embeddings are in it",
    ),
    Wrong("prompt_from_text", "graph not cut", ".detach()", "", "detach"),
    Wrong(
        "prompt_from_text",
        "each token repeated",
        "torch.arange(p) % len(text)",
        "torch.arange(p) // -(-p // len(text))",
        "not each of its tokens",
    ),
    Wrong(
        "prompt_from_text",
        "last token repeated",
        "torch.arange(p) % len(text)",
        "torch.arange(p).clamp(max=len(text) - 1)",
        "last token",
    ),
    Wrong(
        "prompt_from_text",
        "end of a long text",
        "torch.arange(p) % len(text)",
        "torch.arange(p) % len(text) + max(0, len(text) - p)",
        "beginning, not its end",
    ),
    Wrong(
        "prompt_from_text",
        "filled up with zeros",
        "return model.wte.weight[text[places]].detach()",
        "return F.pad(model.wte.weight[text[:p]].detach(), (0, 0, 0, max(0, p - len(text))))",
        "zeros",
    ),
    Wrong(
        "prompt_from_text",
        "text not repeated",
        "torch.arange(p) % len(text)",
        "torch.arange(min(p, len(text)))",
        "shape",
    ),
    Wrong(
        "prompt_from_text",
        "embeddings not looked up",
        "model.wte.weight[text[places]].detach()",
        "text[places]",
        "shape",
    ),
    Wrong(
        "prompt_from_text",
        "first rows of the table, not copied",
        "return model.wte.weight[text[places]].detach()",
        "return model.wte.weight[:p].detach()",
        "right tokens",
    ),
    Wrong(
        "prompt_from_text",
        "model frozen",
        "places = torch.arange(p)",
        "model.requires_grad_(False)\n    places = torch.arange(p)",
        "requires_grad of model.wte.weight was True and is False now",
    ),
    Wrong("forward_mixed", "text at position zero", "start=p", "start=0", "begins at position 0"),
    Wrong("forward_mixed", "all texts at one position", "start=p", "start=longest", "same position"),
    Wrong(
        "forward_mixed", "prompt without positions", "prompt + base.wpe.weight[:p]", "prompt", "no position embeddings"
    ),
    Wrong(
        "forward_mixed",
        "first rows kept",
        "row[len(prompt) : len(prompt) + T]",
        "row[:T]",
        "only the row without a prompt is right",
    ),
    Wrong("forward_mixed", "last rows kept", "row[len(prompt) : len(prompt) + T]", "row[-T:]", "last rows"),
    Wrong(
        "forward_mixed",
        "logits of virtual tokens not cut off",
        "row[len(prompt) : len(prompt) + T]",
        "row",
        "what the rows get is of shape",
    ),
    Wrong(
        "forward_mixed",
        "prompt behind the text",
        "torch.cat([virtual, real, filling])",
        "torch.cat([real, virtual, filling])",
        "only the row without a prompt is right",
    ),
    Wrong(
        "forward_mixed",
        "filling between prompt and text",
        "torch.cat([virtual, real, filling])",
        "torch.cat([virtual, filling, real])",
        "only rows with the longest prompt are right, and they need n",
    ),
    Wrong(
        "forward_mixed",
        "filling in front of all",
        "torch.cat([virtual, real, filling])",
        "torch.cat([filling, virtual, real])",
        "only rows with the longest prompt are right, and they need n",
    ),
    Wrong(
        "forward_mixed",
        "filling in front of all, last rows kept",
        """torch.cat([virtual, real, filling]))  # (longest + T, d)
    x = base.transform(torch.stack(rows))  # (B, longest + T, d)
    # The text of row b begins at its own p.
    texts = [row[len(prompt) : len(prompt) + T]""",
        """torch.cat([filling, virtual, real]))
    x = base.transform(torch.stack(rows))
    texts = [row[-T:]""",
        "only rows with the longest prompt are right, and they need n",
    ),
    Wrong(
        "forward_mixed",
        "same prompt for all",
        "virtual = prompt +",
        "virtual = prompts[1][:p] +",
        "the shapes do not fit",
    ),
    Wrong(
        "forward_mixed",
        "row by row",
        "x = base.transform(torch.stack(rows))",
        "x = torch.cat([base.transform(row[None]) for row in rows])",
        "run them once, for all rows together",
    ),
    Wrong("mended_loss", "only the targets mended", "idx, start=p", "idx", "share the positions"),
    Wrong(
        "mended_loss",
        "only the positions mended",
        "torch.cat([ignored, targets], dim=1)",
        "torch.cat([targets, ignored], dim=1)",
        "too early",
    ),
    Wrong("mended_loss", "virtual tokens count", "(B, p), IGNORE)", "(B, p), 0)", "targets are token 0"),
    Wrong(
        "mended_loss", "sum instead of mean", "ignore_index=IGNORE)", 'ignore_index=IGNORE, reduction="sum")', "the sum"
    ),
    Wrong(
        "mended_loss",
        "losses not averaged",
        "ignore_index=IGNORE)",
        'ignore_index=IGNORE, reduction="none")',
        "the loss is of shape",
    ),
    Wrong(
        "mended_loss",
        "divided by all tokens",
        "ignore_index=IGNORE)",
        'ignore_index=IGNORE, reduction="sum") / idx.numel()',
        "number of tokens that count",
    ),
    Wrong("mended_loss", "prompt detached", "virtual = prompt +", "virtual = prompt.detach() +", "no gradient"),
    Wrong(
        "mended_loss",
        "prompt without positions",
        "prompt + base.wpe.weight[:p]",
        "prompt",
        "have no position embeddings",
    ),
    # ---- as a reader's attempts showed
    Wrong(
        "predict_numbers",
        "asked the library",
        "return 30 * 4096",
        "return METHOD.count(SEVEN_BILLION, num_virtual_tokens=30)",
        "calculate",
    ),
    Wrong("predict_numbers", "half a number", "return 30 * 4096", "return 30 * 4096 + 0.5", "whole number"),
    Wrong("predict_places", "two numbers", "return first, longest, most", "return first, longest", "return 3 numbers"),
    Wrong(
        "predict_places",
        "true for a number",
        "return first, longest, most",
        "return first, longest, True",
        "number 3 must be",
    ),
    Wrong("prompt_from_text", "length written in", "torch.arange(p) % len(text)", "torch.arange(p) % 4", ""),
    Wrong("prompt_from_text", "repeated three times", "text[places]", "text.repeat(3)[:p]", "shape"),
    Wrong("prompt_from_text", "width written in", ".detach()  # (p, d)", ".detach().reshape(p, 8)", ""),
    Wrong("prompt_from_text", "float32", ".detach()  # (p, d)", ".detach().float()", "and the table is"),
    Wrong(
        "prompt_from_text",
        "text changed",
        "    places =",
        "    text.clamp_(max=3)\n    places =",
        "was changed in place",
    ),
    Wrong(
        "forward_mixed",
        "prompts sorted in place",
        "    rows = []",
        "    prompts.sort(key=len)\n    rows = []",
        "prompts was changed",
    ),
    Wrong(
        "forward_mixed",
        "inputs zeroed in place",
        "    return base.unembed",
        "    idx.zero_()\n    return base.unembed",
        "idx was changed",
    ),
    Wrong(
        "forward_mixed",
        "prompt detached",
        "virtual = prompt +",
        "virtual = prompt.detach() +",
        "no gradient can flow back",
    ),
    Wrong(
        "forward_mixed",
        "prompt changed in place",
        "virtual = prompt + base.wpe.weight[:p]",
        "virtual = prompt.data.add_(base.wpe.weight[:p])",
        "was changed in place",
    ),
    Wrong(
        "forward_mixed",
        "under no_grad",
        "    x = base.transform(torch.stack(rows))",
        "    with torch.no_grad():\n        x = base.transform(torch.stack(rows))",
        "no gradient can flow back",
    ),
    Wrong("forward_mixed", "longest written in", "max(len(prompt) for prompt in prompts)", "8", ""),
    Wrong("forward_mixed", "length written in", "T = idx.size(1)", "T = 6", ""),
    Wrong(
        "forward_mixed",
        "row by row through rebuilt models",
        None,
        """
def forward_mixed(base, prompts, idx):
    other = GPT(base.config).to(base.wte.weight.dtype)
    other.load_state_dict(base.state_dict())
    return torch.cat([PromptedGPT(other, prompt)(row[None]) for prompt, row in zip(prompts, idx)])
""",
        "run them once",
    ),
    Wrong(
        "forward_mixed",
        "no final norm",
        "base.unembed(torch.stack(texts))",
        "base.lm_head(torch.stack(texts))",
        "is not right",
    ),
    Wrong(
        "forward_mixed",
        "one position too early",
        "start=p)[0]",
        "start=max(0, p - 1))[0]",
        "only the row without a prompt",
    ),
    Wrong(
        "forward_mixed",
        "list of prompts used up",
        "p = len(prompt)",
        "p = len(prompt)\n        prompts.append(prompt) if len(prompts) < 9 else None",
        "",
    ),
    Wrong("mended_loss", "length written in", "B, p = len(idx), len(prompt)", "B, p = len(idx), 4", ""),
    Wrong(
        "mended_loss",
        "mean of row means",
        "    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)",
        "    return torch.stack([F.cross_entropy(a, b, ignore_index=IGNORE) for a, b in zip(logits, targets)]).mean()",
        "rows' means",
    ),
    Wrong(
        "mended_loss",
        "fifteen written in",
        "targets.flatten(), ignore_index=IGNORE)",
        'targets.flatten(), ignore_index=IGNORE, reduction="sum") / 15',
        "is not right",
    ),
    Wrong(
        "mended_loss", "tokens zeroed", "    return F.cross", "    idx.zero_()\n    return F.cross", "idx was changed"
    ),
    Wrong(
        "mended_loss",
        "targets clamped in place",
        "    B, p",
        "    targets.clamp_(min=0)\n    B, p",
        "targets was changed",
    ),
    Wrong(
        "mended_loss",
        "cut too late",
        "    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)",
        "    return F.cross_entropy(logits[:, p + 2 :].flatten(0, 1), targets[:, p + 2 :].flatten(), ignore_index=IGNORE)",
        "is not right",
    ),
    Wrong(
        "mended_loss",
        "a prompt of its own",
        None,
        """
def mended_loss(base, prompt, idx, targets):
    logits = PromptedGPT(base, prompt)(idx)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
""",
        "does the work here",
    ),
    Wrong(
        "predict_numbers",
        "another method's formula",
        "    return 30 * 4096",
        "    from minitransformer.methods.prefix import count_prefix\n\n"
        "    return count_prefix(SEVEN_BILLION, 30, None) // 64",
        "calculate",
    ),
    Wrong(
        "prompt_from_text",
        "each token only once",
        None,
        """
def prompt_from_text(model, text, p):
    text = torch.tensor(list(dict.fromkeys(text.tolist())))
    return model.wte.weight[text[torch.arange(p) % len(text)]].detach()
""",
        "the first of them are not the right tokens",
    ),
    Wrong(
        "prompt_from_text",
        "expanded",
        "    places = ",
        "    if len(text) == 1:\n        return model.wte(text).detach().expand(p, -1)\n    places = ",
        "clone() them",
    ),
    Wrong(
        "prompt_from_text",
        "inference mode",
        None,
        """
def prompt_from_text(model, text, p):
    with torch.inference_mode():
        return model.wte(text[torch.arange(p) % len(text)])
""",
        "use torch.no_grad() or detach()",
    ),
    Wrong(
        "forward_mixed",
        "the blocks twice, the head once",
        "    x = base.transform(",
        "    base.transform(torch.stack(rows))\n    x = base.transform(",
        "run them once",
    ),
    Wrong(
        "forward_mixed",
        "cut off by one",
        "row[len(prompt) : len(prompt) + T]",
        "row[len(prompt) - 1 : len(prompt) - 1 + T]",
        "the shapes do not fit",
    ),
    Wrong(
        "forward_mixed",
        "the most written in",
        "max(len(prompt) for prompt in prompts)",
        "13",
        "the shapes do not fit",
    ),
    Wrong(
        "forward_mixed",
        "axes of length one lost",
        "return base.unembed(torch.stack(texts))",
        "return base.unembed(torch.stack(texts).squeeze())",
        "is of shape",
    ),
    Wrong("forward_mixed", "long prompts cut", "p = len(prompt)\n", "p = min(len(prompt), 12)\n", ""),
    Wrong(
        "forward_mixed",
        "rounded to 32 bits",
        "base.unembed(torch.stack(texts))",
        "base.unembed(torch.stack(texts)).float().to(x.dtype)",
        "nearly right",
    ),
    Wrong(
        "mended_loss",
        "the lesson's",
        None,
        """
def mended_loss(base, prompt, idx, targets):
    model = PromptedGPT(base, prompt.detach())
    del model.prompt
    model.prompt = prompt
    return F.cross_entropy(model(idx).flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
""",
        "does the work here",
    ),
    Wrong(
        "mended_loss",
        "no more ignored than the text has tokens",
        "ignored = torch.full((B, p), IGNORE)",
        "ignored = torch.full_like(targets[:, :p], IGNORE)",
        "your answer stops",
    ),
    Wrong(
        "mended_loss",
        "a prompt cut to the text's length",
        "virtual.expand(B, -1, -1)",
        "virtual[: idx.size(1)].expand(B, -1, -1)",
        "your answer stops",
    ),
    Wrong(
        "mended_loss",
        "the base's embed replaced",
        "    B, p = len(idx), len(prompt)\n",
        "    B, p, embed = len(idx), len(prompt), base.embed\n    base.embed = lambda idx, start=0: embed(idx, start=p)\n",
        "base was changed",
    ),
    Wrong(
        "forward_mixed",
        "a larger block for the base",
        "    T = idx.size(1)\n",
        "    import dataclasses\n\n    T = idx.size(1)\n    base.config = dataclasses.replace(base.config, block_size=1000)\n",
        "base was changed",
    ),
]

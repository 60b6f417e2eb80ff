"""Wrong answers that students give to the exercises of lesson 03."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_numbers", "a prompt in every layer", "30 * 4096", "30 * 4096 * 32", "enters once"),
    Wrong("predict_numbers", "keys and values in every layer", "30 * 4096", "2 * 32 * 30 * 4096", "keys and values"),
    Wrong("predict_numbers", "bytes instead of numbers", "30 * 4096", "2 * 30 * 4096", "bytes"),
    Wrong("predict_numbers", "vectors counted", "30 * 4096", "30", "how long is it"),
    Wrong("predict_numbers", "table counted too", "30 * 4096", "(30 + 32_000) * 4096", "table is frozen"),
    Wrong("predict_numbers", "one head only", "30 * 4096", "30 * 128", "length of one"),
    Wrong("predict_numbers", "nothing returned", "return 30 * 4096", "pass", "one whole number"),
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
        "not frozen",
    ),
    Wrong("forward_mixed", "text at position zero", "start=p", "start=0", "begins at position 0"),
    Wrong("forward_mixed", "all texts at one position", "start=p", "start=longest", "same position"),
    Wrong(
        "forward_mixed", "prompt without positions", "prompt + base.wpe.weight[:p]", "prompt", "no position embeddings"
    ),
    Wrong("forward_mixed", "first rows kept", "row[len(prompt) : len(prompt) + T]", "row[:T]", "first rows"),
    Wrong("forward_mixed", "last rows kept", "row[len(prompt) : len(prompt) + T]", "row[-T:]", "last rows"),
    Wrong(
        "forward_mixed",
        "logits of virtual tokens not cut off",
        "row[len(prompt) : len(prompt) + T]",
        "row",
        "real tokens only",
    ),
    Wrong(
        "forward_mixed",
        "prompt behind the text",
        "torch.cat([virtual, real, filling])",
        "torch.cat([real, virtual, filling])",
        "prompt, then text",
    ),
    Wrong(
        "forward_mixed",
        "filling between prompt and text",
        "torch.cat([virtual, real, filling])",
        "torch.cat([virtual, filling, real])",
        "before the text",
    ),
    Wrong(
        "forward_mixed",
        "filling in front of all",
        "torch.cat([virtual, real, filling])",
        "torch.cat([filling, virtual, real])",
        "before the text",
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
        "stands in front",
    ),
    Wrong("forward_mixed", "same prompt for all", "virtual = prompt +", "virtual = prompts[1][:p] +", "some row"),
    Wrong(
        "forward_mixed",
        "row by row",
        "x = base.transform(torch.stack(rows))",
        "x = torch.cat([base.transform(row[None]) for row in rows])",
        "run once",
    ),
    Wrong("mended_loss", "only the targets mended", "idx, start=p", "idx", "share the positions"),
    Wrong(
        "mended_loss",
        "only the positions mended",
        "torch.cat([ignored, targets], dim=1)",
        "torch.cat([targets, ignored], dim=1)",
        "too early",
    ),
    Wrong("mended_loss", "virtual tokens count", "(B, p), IGNORE)", "(B, p), 0)", "virtual tokens count"),
    Wrong(
        "mended_loss", "sum instead of mean", "ignore_index=IGNORE)", 'ignore_index=IGNORE, reduction="sum")', "the sum"
    ),
    Wrong(
        "mended_loss",
        "losses not averaged",
        "ignore_index=IGNORE)",
        'ignore_index=IGNORE, reduction="none")',
        "one mean",
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
        "mended_loss", "prompt without positions", "prompt + base.wpe.weight[:p]", "prompt", "the lesson's model has"
    ),
]

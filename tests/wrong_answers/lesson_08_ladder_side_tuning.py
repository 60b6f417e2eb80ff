"""Wrong answers that students give to the exercises of lesson 08."""

from wrong_answers.wrong import Wrong

WRONG = [
    Wrong("predict_ladders", "12 ladders", "ladders = 13", "ladders = 12", "those are 12 ladders"),
    Wrong("predict_ladders", "biases forgotten", "(768 * width + width)", "768 * width", "forget the biases"),
    Wrong("predict_ladders", "one ladder", "numbers = ladders * (", "numbers = (", "one ladder"),
    Wrong("predict_ladders", "bias of the wrong side", "width + width)", "width + 768)", "as the layer has outputs"),
    Wrong(
        "predict_ladders", "outputs kept instead of inputs", "1024 * 768 * 2", "1024 * width * 2", "ladders' outputs"
    ),
    Wrong("predict_ladders", "bits for bytes", "768 * 2", "768 * 16", "those are bits"),
    Wrong("predict_ladders", "32 bits", "768 * 2", "768 * 4", "32-bit"),
    Wrong("predict_ladders", "width multiplied", "768 // 8", "768 * 8", "not wider"),
    Wrong("predict_ladders", "12 states", "size = ladders *", "size = 12 *", "those are 12 states"),
    Wrong(
        "predict_first_step",
        "everything gets a gradient",
        "width * 96 + 96",
        "101126",
        "how should a gradient come past",
    ),
    Wrong("predict_first_step", "nothing gets a gradient", "width * 96 + 96", "0", "gradient of U itself"),
    Wrong("predict_first_step", "bias forgotten", "width * 96 + 96", "width * 96", "U's bias"),
    Wrong("predict_first_step", "bias of the narrow side", "* 96 + 96", "* 96 + width", "leads up"),
    Wrong("predict_first_step", "gates counted", "* 96 + 96", "* 96 + 96 + 6", "nothing reaches them"),
    Wrong("predict_first_step", "temperature forgotten", "-0.1 / 0.1", "-0.1", "temperature is missing"),
    Wrong(
        "predict_first_step",
        "temperature multiplied",
        "-0.1 / 0.1",
        "-0.1 * 0.1",
        "the temperature makes a small step of a count for more, not",
    ),
    Wrong("predict_first_step", "sign of the sigmoid", "(-0.1 / 0.1)", "(0.1 / 0.1)", "a grew, so the gate grew too"),
    Wrong("channel_gate", "gate inverted", "g * s + (1 - g) * read", "(1 - g) * s + g * read", "wrong way round"),
    Wrong("channel_gate", "temperature forgotten", "self.a / self.temperature", "self.a", "leaves the temperature out"),
    Wrong("channel_gate", "temperature multiplied", "self.a / self", "self.a * self", "multiplies by the temperature"),
    Wrong(
        "channel_gate",
        "temperature outside the sigmoid",
        "torch.sigmoid(self.a / self.temperature)",
        "torch.sigmoid(self.a) / self.temperature",
        "inside the sigmoid",
    ),
    Wrong("channel_gate", "rest of the share forgotten", "(1 - g) * read", "read", "rest of the share"),
    Wrong("channel_gate", "one gate for all", "(width,), start", "(1,), start", "self.a is of shape"),
    Wrong(
        "channel_gate",
        "no parameter",
        "nn.Parameter(torch.full((width,), start))",
        "torch.full((width,), start)",
        "nn.Parameter",
    ),
    Wrong("channel_gate", "a is the share", "temperature * math.log(share / (1 - share))", "share", "a itself"),
    Wrong(
        "channel_gate", "temperature missing at the start", "temperature * math", "math", "at the start the temperature"
    ),
    Wrong(
        "channel_gate",
        "fraction upside down",
        "share / (1 - share)",
        "(1 - share) / share",
        "the gates start at 1 - share",
    ),
    Wrong("channel_gate", "start always 0.5", "torch.full((width,), start)", "torch.zeros(width)", "0.5 still"),
    Wrong(
        "channel_gate",
        "divided by the temperature at the start",
        "temperature * math.log(share / (1 - share))",
        "math.log(share / (1 - share)) / temperature",
        "divided by the temperature",
    ),
    Wrong("channel_gate", "log of the share alone", "share / (1 - share)", "share", "not the inverse"),
    Wrong("skipping_ladder", "layers counted from 0", ", start=1", "", "counted from 1"),
    Wrong(
        "skipping_ladder",
        "input of the block instead of its output",
        "h = block(h)  # (B, T, d): the output of block i\n"
        "                if i in self.layers:\n"
        "                    states.append(h)",
        "if i in self.layers:\n                    states.append(h)\n                h = block(h)",
        "must read its output",
    ),
    Wrong("skipping_ladder", "embeddings not read", "states = [h]", "states = []", "embeddings are missing"),
    Wrong("skipping_ladder", "all states kept", "if i in self.layers:", "if True:", "all states"),
    Wrong("skipping_ladder", "no wall", "with torch.no_grad():  #", "if True:  #", "in the graph"),
    Wrong(
        "skipping_ladder",
        "no graph anywhere",
        "    def forward(self, idx: Tensor)",
        "    @torch.no_grad()\n    def forward(self, idx: Tensor)",
        "no gradient can flow back from the result",
    ),
    Wrong(
        "skipping_ladder",
        "gate inverted",
        "g * s + (1 - g) * ladder(h)",
        "(1 - g) * s + g * ladder(h)",
        "wrong way round",
    ),
    Wrong("skipping_ladder", "temperature forgotten", "gate / TEMPERATURE", "gate", "temperature is missing"),
    Wrong(
        "skipping_ladder",
        "temperature multiplied",
        "gate / TEMPERATURE",
        "gate * TEMPERATURE",
        "the gate multiplies by the temperature",
    ),
    Wrong(
        "skipping_ladder",
        "gate behind the side block",
        "side(g * s + (1 - g) * ladder(h))",
        "g * side(s) + (1 - g) * ladder(h)",
        "forward gives is not right",
    ),
    Wrong(
        "mended_forward",
        "gate still inverted",
        "g * s + (1 - g) * ladder(h)",
        "g * ladder(h) + (1 - g) * s",
        "wrong way round",
    ),
    Wrong(
        "mended_forward",
        "sign of the gate turned twice",
        "torch.sigmoid(gate / TEMPERATURE)  # one number",
        "1 - torch.sigmoid(gate / TEMPERATURE)",
        "wrong way round",
    ),
    Wrong(
        "mended_forward",
        "blocks still recorded",
        "        with torch.no_grad():\n            h = block(h)",
        "        if True:\n            h = block(h)",
        "that part is recorded still",
    ),
    Wrong(
        "mended_forward",
        "embeddings still recorded",
        "    with torch.no_grad():\n        h = base.embed(idx)",
        "    if True:\n        h = base.embed(idx)",
        "a gradient reaches wte.weight through a ladder",
    ),
    Wrong(
        "mended_forward",
        "detached after each block",
        "        with torch.no_grad():\n            h = block(h)",
        "        if True:\n            h = block(h).detach()",
        "cutting afterwards",
    ),
    Wrong(
        "mended_forward",
        "head under no_grad",
        "    return base.unembed(",
        "    with torch.no_grad():\n        return base.unembed(",
        "no gradient can flow back from the result",
    ),
    Wrong(
        "mended_forward",
        "side detached too",
        "adapted.up_proj(s))",
        "adapted.up_proj(s.detach()))",
        "no gradient reaches gates",
    ),
    Wrong("mended_forward", "temperature dropped", "gate / TEMPERATURE", "gate", "temperature got lost"),
    Wrong(
        "mended_forward",
        "half and half",
        "torch.sigmoid(gate / TEMPERATURE)  # one number",
        "0.5 + 0 * gate",
        "every gate is at 0.5",
    ),
    # ---- as a reader's attempts showed
    Wrong("predict_ladders", "built", "    return width", "    nn.Linear(2, 2)\n    return width", "calculate"),
    Wrong("predict_first_step", "gates and U", "* 96 + 96  #", "* 96 + 96 + 32 * 32  #", "is not right"),
    Wrong("channel_gate", "width written in", "(width,), start", "(5,), start", "is of shape"),
    Wrong(
        "channel_gate",
        "gate detached",
        "torch.sigmoid(self.a /",
        "torch.sigmoid(self.a.detach() /",
        "no gradient reaches a",
    ),
    Wrong(
        "channel_gate",
        "s in place",
        "        return g * s +",
        "        s.data.mul_(g.detach())\n        return s +",
        "s was changed",
    ),
    Wrong(
        "channel_gate",
        "temperature written in",
        "self.a / self.temperature",
        "self.a / 0.1",
        "not the lesson's",
    ),
    Wrong(
        "channel_gate", "what is read detached", "(1 - g) * read", "(1 - g) * read.detach()", "no gradient reaches read"
    ),
    Wrong(
        "skipping_ladder",
        "detached afterwards",
        """        with torch.no_grad():  # the wall: nothing in here is recorded, whatever trains
            h = self.base.embed(idx)  # (B, T, d)
            states = [h]
            last = self.layers[-1]  # what comes behind it, nobody reads
            for i, block in enumerate(self.base.blocks[:last], start=1):
                h = block(h)  # (B, T, d): the output of block i
                if i in self.layers:
                    states.append(h)
""",
        """        h = self.base.embed(idx)
        states = [h.detach()]
        for i, block in enumerate(self.base.blocks[: self.layers[-1]], start=1):
            h = block(h)
            if i in self.layers:
                states.append(h.detach())
""",
        "cut afterwards",
    ),
    Wrong(
        "skipping_ladder", "all blocks run", "self.base.blocks[:last]", "self.base.blocks", "more work than it needs"
    ),
    Wrong(
        "skipping_ladder",
        "the backbone's state added",
        "self.base.unembed(self.up_proj(s))",
        "self.base.unembed(states[-1] + self.up_proj(s))",
        "backbone's state is added",
    ),
    Wrong(
        "skipping_ladder",
        "the student forgotten",
        "self.base.unembed(self.up_proj(s))",
        "self.base.unembed(states[-1])",
        "",
    ),
    Wrong(
        "skipping_ladder",
        "no norm",
        "self.base.unembed(self.up_proj(s))",
        "self.base.lm_head(self.up_proj(s))",
        "is not right",
    ),
    Wrong(
        "skipping_ladder",
        "the lesson's backbone",
        "        states = self.listen(idx)",
        "        LadderGPT.backbone(self, idx)\n        states = self.listen(idx)",
        "LadderGPT's own",
    ),
    Wrong(
        "skipping_ladder",
        "listened twice",
        "        states = self.listen(idx)",
        "        self.listen(idx)\n        states = self.listen(idx)",
        "more than once",
    ),
    Wrong(
        "skipping_ladder",
        "up_proj zeroed",
        "        states = self.listen(idx)",
        "        self.up_proj.weight.data.zero_()\n        states = self.listen(idx)",
        "was changed",
    ),
    Wrong(
        "skipping_ladder",
        "two rungs only",
        "zip(self.gates, self.side, self.ladders[1:], states[1:], strict=True)",
        "list(zip(self.gates, self.side, self.ladders[1:], states[1:]))[:2]",
        "is not right",
    ),
    Wrong(
        "mended_forward",
        "the lesson's forward",
        "    base = adapted.base\n",
        "    return LadderGPT.forward(adapted, idx)\n    base = adapted.base\n",
        "lesson's own methods",
    ),
    Wrong(
        "mended_forward",
        "the lesson called",
        "    base = adapted.base\n",
        "    return adapted(idx)\n    base = adapted.base\n",
        "lesson's own methods",
    ),
    Wrong(
        "mended_forward",
        "frozen by hand",
        "    base = adapted.base\n",
        "    base = adapted.base.requires_grad_(False)\n",
        "requires_grad of model",
    ),
    Wrong(
        "mended_forward",
        "the base's state added",
        "base.unembed(adapted",
        "base.unembed(h + adapted",
        "last state is added",
    ),
    Wrong(
        "mended_forward",
        "the base alone",
        "base.unembed(adapted.up_proj(s))",
        "base.unembed(h)",
        "the student got lost",
    ),
    Wrong(
        "mended_forward",
        "run twice",
        "            h = block(h)",
        "            block(h)\n            h = block(h)",
        "ran more often",
    ),
    # ---- as an attack showed
    Wrong(
        "predict_ladders",
        "another order",
        "return width, numbers, size",
        "return width, size, numbers",
        "another order",
    ),
    Wrong(
        "predict_ladders",
        "the library's width",
        "    return width, numbers, size",
        "    side_config(GPTConfig(9, 9, 12, 12, 768), 8)\n    return width, numbers, size",
        "calculate",
    ),
    Wrong("predict_first_step", "rounded wrongly", "round(gate, 2)", "0.74", "the gate is not 0.74"),
    Wrong(
        "channel_gate",
        "the gate kept from the first call",
        "        g = torch.sigmoid(self.a / self.temperature)",
        '        if not hasattr(self, "kept"):\n            self.kept = torch.sigmoid(self.a / self.temperature)\n'
        "        g = self.kept",
        "still the one of the start",
    ),
    Wrong(
        "channel_gate",
        "the lesson's temperature at the start",
        "start = temperature *",
        "start = TEMPERATURE *",
        "the start has the lesson's temperature",
    ),
    Wrong(
        "skipping_ladder",
        "the first batch kept",
        "        states = self.listen(idx)",
        '        if not hasattr(self, "kept"):\n            self.kept = self.listen(idx)\n        states = self.kept',
        "logits of an earlier batch",
    ),
    Wrong(
        "skipping_ladder",
        "the first states kept",
        "        return states\n",
        '        self.kept = getattr(self, "kept", states)\n        return self.kept\n',
        "states of an earlier batch",
    ),
    Wrong(
        "skipping_ladder",
        "autograd left off",
        "        with torch.no_grad():  # the wall: nothing in here is recorded, whatever trains",
        "        torch.set_grad_enabled(False)\n        if True:",
        "leaves autograd switched off",
    ),
    Wrong(
        "skipping_ladder",
        "inference mode",
        "with torch.no_grad():  #",
        "with torch.inference_mode():  #",
        "torch.inference_mode()",
    ),
    Wrong(
        "skipping_ladder",
        "the student's own state detached",
        "g * s + (1 - g)",
        "g * s.detach() + (1 - g)",
        "detached, or",
    ),
    Wrong(
        "mended_forward",
        "the first batch kept",
        "    s = adapted.ladders[0](h)",
        '    h = vars(adapted).setdefault("kept", h)\n    s = adapted.ladders[0](h)',
        "logits of an earlier batch",
    ),
    Wrong(
        "mended_forward",
        "the first logits kept",
        "    return base.unembed(adapted.up_proj(s))",
        '    return vars(adapted).setdefault("kept", base.unembed(adapted.up_proj(s)))',
        "logits of an earlier batch",
    ),
    Wrong(
        "mended_forward",
        "autograd left off",
        "    base = adapted.base\n",
        "    torch.set_grad_enabled(False)\n    base = adapted.base\n",
        "leaves autograd switched off",
    ),
    Wrong(
        "channel_gate",
        "one row squeezed",
        "return g * s + (1 - g) * read",
        "return (g * s + (1 - g) * read).squeeze(0)",
        "is of shape",
    ),
    Wrong(
        "skipping_ladder",
        "two rungs at least",
        "s = self.ladders[0](states[0])",
        "s = self.ladders[0](states[0]) + 0 * self.ladders[2](states[2])",
        "an index lies outside",
    ),
]

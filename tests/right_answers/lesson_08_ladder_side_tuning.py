"""Right answers in other styles to the exercises of lesson 08."""

from right_answers.right import Right

RIGHT = [
    Right("predict_ladders", "a list", "return width, numbers, size", "return [width, numbers, size]"),
    Right("predict_ladders", "divided to a whole float", "768 // 8", "768 / 8"),
    Right("predict_ladders", "a tensor", "return width, numbers, size", "return torch.tensor([width, numbers, size])"),
    Right("predict_first_step", "a list, not rounded", "return moved, round(gate, 2)", "return [moved, gate]"),
    Right(
        "predict_first_step",
        "a tensor for the gate",
        "return moved, round(gate, 2)",
        "return moved, torch.sigmoid(torch.tensor(1.0))",
    ),
    Right("predict_first_step", "a whole float", "return moved, round(gate, 2)", "return float(moved), 0.73"),
    Right(
        "channel_gate",
        "logit",
        "temperature * math.log(share / (1 - share))",
        "float(temperature * torch.logit(torch.tensor(share, dtype=torch.double)))",
    ),
    Right("channel_gate", "one step from read", "g * s + (1 - g) * read", "read + g * (s - read)"),
    Right("channel_gate", "lerp", "g * s + (1 - g) * read", "torch.lerp(read, s, g)"),
    Right("channel_gate", "ones times a number", "torch.full((width,), start)", "start * torch.ones(width)"),
    Right(
        "channel_gate",
        "the exponential",
        "torch.sigmoid(self.a / self.temperature)",
        "1 / (1 + (-self.a / self.temperature).exp())",
    ),
    Right(
        "skipping_ladder",
        "a decorator, and stopping in time",
        None,
        """
class SkippingLadderGPT(nn.Module):
    def __init__(self, base, side, layers):
        super().__init__()
        self.base, self.layers = base.requires_grad_(False), layers
        d = base.config.n_embd
        self.ladders = nn.ModuleList(nn.Linear(d, side.n_embd) for _ in range(len(layers) + 1))
        self.gates = nn.Parameter(torch.zeros(len(layers)))
        self.side = nn.ModuleList(Block(side) for _ in layers)
        self.up_proj = nn.Linear(side.n_embd, d)

    @torch.no_grad()
    def listen(self, idx):
        h = self.base.embed(idx)
        states, number = [h], 0
        while len(states) <= len(self.layers):
            h = self.base.blocks[number](h)
            number += 1
            if number in self.layers:
                states.append(h)
        return tuple(states)

    def forward(self, idx):
        h0, *rest = self.listen(idx)
        s = self.ladders[0](h0)
        for k, h in enumerate(rest):
            s = self.side[k](torch.lerp(self.ladders[k + 1](h), s, torch.sigmoid(self.gates[k] / TEMPERATURE)))
        return self.base.lm_head(self.base.ln_f(self.up_proj(s)))
""",
    ),
    Right(
        "skipping_ladder",
        "all gates at once",
        "g = torch.sigmoid(gate / TEMPERATURE)",
        "g = 1 / (1 + torch.exp(-gate / TEMPERATURE))",
    ),
    Right(
        "skipping_ladder",
        "inference mode off, set_grad_enabled",
        "with torch.no_grad():  #",
        "with torch.set_grad_enabled(False):  #",
    ),
    Right(
        "skipping_ladder",
        "blocks by number",
        "enumerate(self.base.blocks[:last], start=1)",
        "[(n, self.base.blocks[n - 1]) for n in range(1, last + 1)]",
    ),
    Right(
        "mended_forward",
        "all states first",
        None,
        """
def mended_forward(adapted, idx):
    base = adapted.base
    with torch.no_grad():
        states = [base.embed(idx)]
        for block in base.blocks:
            states.append(block(states[-1]))
    s = adapted.ladders[0](states[0])
    for k, side in enumerate(adapted.side):
        g = torch.sigmoid(adapted.gates[k] / TEMPERATURE)
        s = side(g * s + (1 - g) * adapted.ladders[k + 1](states[k + 1]))
    return base.unembed(adapted.up_proj(s))
""",
    ),
    Right(
        "mended_forward",
        "norm and head by name",
        "base.unembed(adapted.up_proj(s))",
        "base.lm_head(base.ln_f(adapted.up_proj(s)))",
    ),
    Right(
        "mended_forward",
        "the other way to write the mixture",
        "g * s + (1 - g) * ladder(h)",
        "torch.lerp(ladder(h), s, g)",
    ),
    Right(
        "mended_forward",
        "grad switched",
        "    with torch.no_grad():\n        h = base.embed(idx)",
        "    with torch.set_grad_enabled(False):\n        h = base.embed(idx)",
    ),
    # ---- constants of 32 bits, and ladders that are asked twice
    Right(
        "channel_gate",
        "the temperature a tensor",
        "self.temperature = temperature",
        "self.temperature = torch.tensor(temperature)",
    ),
    Right(
        "channel_gate",
        "the temperature a buffer",
        "self.temperature = temperature",
        'self.register_buffer("temperature", torch.tensor(temperature))',
    ),
    Right(
        "skipping_ladder",
        "the ladder asked twice",
        "side(g * s + (1 - g) * ladder(h))",
        "side(ladder(h) + g * (s - ladder(h)))",
    ),
    Right(
        "mended_forward",
        "the ladder asked twice",
        "side(g * s + (1 - g) * ladder(h))",
        "side(ladder(h) + g * (s - ladder(h)))",
    ),
]

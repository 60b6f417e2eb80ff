"""The bench on which a method is checked: small random models, the method attached to them, and what became of them."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from minitransformer.experiments.own import place_of
from minitransformer.method import Method
from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import added_modules, merge_modules, trainable_state_dict
from minitransformer.train import train

SMALL = GPTConfig(vocab_size=10, block_size=64, n_layer=2, n_head=2, n_embd=8, n_inner=20)
SHAPES = (  # no dimension is another's double or four times another, as they are by default
    GPTConfig(vocab_size=10, block_size=64, n_layer=2, n_head=2, n_embd=16, n_inner=40),
    GPTConfig(vocab_size=13, block_size=64, n_layer=1, n_head=3, n_embd=24, n_inner=24),
    GPTConfig(vocab_size=10, block_size=48, n_layer=3, n_head=1, n_embd=8),
)
PARTS = {"attach": "build", "count": "formula", "merge": "fold"}  # what a lesson calls it -> where a Method keeps it


def tokens(config: GPTConfig = SMALL, batch: int = 3, length: int = 12) -> Tensor:
    """Random tokens, the same every time, (batch, length)."""
    return torch.randint(config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def logits_of(model: nn.Module, idx: Tensor | None = None) -> Tensor:
    """(B, T, vocab_size)."""
    return model(tokens() if idx is None else idx)


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a part of the largest number (of 1 at least)."""
    one, other = one.double(), other.double()
    return ((one - other).abs().max() / other.abs().max().clamp(min=1)).item()


class Bench:
    """Small random models with a method attached to them.

    Args:
        method: that is checked.
        source: file or name that another process finds it by; None: only this process knows it.
    """

    def __init__(self, method: Method, source: str | None = None) -> None:
        self.method, self.source = method, source
        self.file = None if source is None else Path(source).resolve()
        self.whole = method.name == "full"  # trains the base itself and adds nothing

    def base(self, config: GPTConfig = SMALL) -> GPT:
        """A GPT, random down to biases and norms, so that mistakes show; the same one at each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = GPT(config)
            for name, parameter in model.named_parameters():
                nn.init.normal_(parameter, std=2.0 if name in ("wte.weight", "ln_f.weight") else 0.3)
        return model.eval()

    def attach(self, base: GPT | None = None, /, **settings: object) -> nn.Module:
        """The method on a base, untrained, in evaluation mode."""
        torch.manual_seed(1)
        return self.method.attach(self.base() if base is None else base, **settings).eval()

    def trained(self, base: GPT | None = None, /, **settings: object) -> nn.Module:
        """The same as if trained: random numbers are added to all that trains."""
        return self.shake(self.attach(base, **settings))

    @torch.no_grad()
    def shake(self, adapted: nn.Module, std: float = 0.3) -> nn.Module:
        """Add random numbers to all that trains, in place."""
        generator = torch.Generator().manual_seed(2)
        for tensor in trainable_state_dict(adapted).values():
            noise = torch.randn(tensor.shape, dtype=torch.float64, generator=generator)
            tensor.add_((std * noise).to(tensor))
        return adapted

    def steps(self, adapted: nn.Module, steps: int = 5) -> None:
        """A few training steps at the method's own rate."""
        data = (tokens()[:, :-1], tokens()[:, 1:])
        train(adapted, data, steps, self.method.learning_rate, batch_size=3, progress=False)

    def others(self) -> Iterator[dict[str, object]]:
        """Settings that differ from the defaults, one at a time, where the method takes them."""
        for name, default in self.method.defaults.items():
            for value in other_values(default):
                try:
                    self.attach(**{name: value})
                except ValueError:  # it is out of this setting's range
                    continue
                yield {name: value}
                break

    def place(self, look: str) -> str:
        """Where a part of the method is written."""
        own = look == "merge" and self.method.fold is merge_modules  # which only calls `merged` of the modules
        if look in PARTS and not own:
            return f"{look}: {place_of(getattr(self.method, PARTS[look]))}"
        try:
            adapted = self.attach()
            first = next(iter(added_modules(adapted)), "")
            kind = type(adapted.get_submodule(first))
            return f"{look}: {place_of(getattr(kind, 'merged' if own else look, kind))}"
        except Exception:  # what was attached cannot be looked at
            return f"attach: {place_of(self.method.build)}"


def other_values(default: object) -> Sequence[object]:
    """Values to try in the place of a default; none for a kind of setting that is not known."""
    if isinstance(default, bool):
        return (not default,)
    if isinstance(default, int):
        return (default + 1, 2 * default, default - 1)
    if isinstance(default, float):
        return (3 * default + 1,)
    names = isinstance(default, Sequence) and not isinstance(default, str)
    return (tuple(default[:1]), tuple(default[-1:])) if names and len(default) > 1 else ()


def wrong_values(default: object) -> Sequence[object]:
    """Values that no setting with this default can mean; none for a kind of setting that is not known."""
    if isinstance(default, bool) or default is None or isinstance(default, str):
        return ()
    if isinstance(default, int):
        return (-1, 1.5, "three")
    if isinstance(default, float):
        return (math.nan, "three")
    return ("q_proj", ("nope",)) if isinstance(default, Sequence) else ()


def state_of(model: nn.Module) -> tuple[dict, dict, dict]:
    """Modules, copies of the weights, and what trains."""
    named = dict(model.named_parameters())
    weights = {name: parameter.detach().clone() for name, parameter in named.items()}
    return dict(model.named_modules()), weights, {name: p.requires_grad for name, p in named.items()}


def changes(model: nn.Module, before: tuple[dict, dict, dict]) -> str:
    """What is no longer as it was, in words; "" where nothing is."""
    modules, weights, trains = state_of(model)
    if modules != before[0]:
        return "modules were replaced"
    changed = [name for name in weights if not torch.equal(weights[name], before[1][name])]
    if changed:
        return f"the weight {changed[0]!r} was changed"
    switched = [name for name in trains if trains[name] != before[2][name]]
    return f"whether {switched[0]!r} trains was changed" if switched else ""

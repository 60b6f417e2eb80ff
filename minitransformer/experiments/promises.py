"""What a fine-tuning method promises, one small check a promise.

A check gets a `Bench`, on which it attaches the method to small models, and returns what it found. A promise that is
broken raises `Broken`, which says what was found, what it probably means, and where to look.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from minitransformer.experiments.bench import (
    SHAPES,
    SMALL,
    Bench,
    apart,
    changes,
    logits_of,
    state_of,
    tokens,
    wrong_values,
)
from minitransformer.experiments.own import explain
from minitransformer.experiments.scale import SEVEN_BILLION
from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import added_modules, base_weights, count_parameters, trainable_state_dict


class Broken(Exception):
    """A promise is not kept.

    Args:
        found: what was seen.
        probably: what it probably means.
        look: where to look: "attach", "count", "merge", or "forward" of what was attached.
    """

    def __init__(self, found: str, probably: str, look: str = "attach") -> None:
        super().__init__(found)
        self.found, self.probably, self.look = found, probably, look


class Noted(Exception):
    """Nothing is broken, but the promise does not apply, or something should be known; the message says what."""


@dataclass(frozen=True)
class Promise:
    """One promise: its name, what is promised, and the check."""

    name: str
    text: str
    check: Callable[["Bench"], str]


PROMISES: dict[str, Promise] = {}


def promise(text: str) -> Callable[[Callable[["Bench"], str]], Callable[["Bench"], str]]:
    """Enter a check into PROMISES under its function's name; the order here is the order of checking."""

    def enter(check: Callable[["Bench"], str]) -> Callable[["Bench"], str]:
        PROMISES[check.__name__] = Promise(check.__name__, text, check)
        return check

    return enter


# ---- attached -----------------------------------------------------------------------------------------------------------


@promise("attaches, and gives logits (B, T, vocab_size) for the real tokens, the same ones twice")
def attach(bench: Bench) -> str:
    """The promise that all others need."""
    for name, default in bench.method.defaults.items():
        if default is inspect.Parameter.empty:
            raise Broken(f"the setting {name!r} has no default", "write it as a named argument: rank: int = 4")
    built = bench.method.build(bench.base(), **bench.method.defaults)
    if not isinstance(built, nn.Module):
        raise Broken(f"attach gives {type(built).__name__}, no module", "the last line, `return model`, is missing")
    adapted = bench.attach()
    for batch, length in ((3, 12), (2, 1)):
        idx = tokens(batch=batch, length=length)
        logits = logits_of(adapted, idx)
        wanted = (batch, length, SMALL.vocab_size)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            cause = "virtual tokens are in the answer too: cut them off" if batch > 2 else "check each shape on the way"
            raise Broken(f"tokens {(batch, length)} give {found}, not {wanted}", cause, "forward")
        if not torch.equal(logits, logits_of(adapted, idx)):
            raise Broken(
                "two calls with the same tokens give different logits in evaluation mode",
                "something is drawn anew, or kept from one call to the next: dropout by hand, a counter, a cache",
                "forward",
            )
    trains = list(trainable_state_dict(adapted))
    if not trains:
        raise Broken(
            "nothing trains",
            "what is added must be an nn.Parameter of a module, added after freeze(model) and not before",
        )
    return f"{count_parameters(adapted, trainable_only=True)} numbers train, in {len(trains)} tensors"


@promise("untrained, it is the base to 1e-6, where its form allows that")
def start(bench: Bench) -> str:
    """Where a method cannot start at the base (virtual tokens, a side network), that is noted and measured."""
    base = bench.base()
    before, adapted = logits_of(base), bench.attach(base)
    gap = apart(logits_of(adapted), before)
    if gap <= 1e-6:
        return f"largest difference of the logits: {gap:.0e}"
    virtual = SMALL.block_size - room_of(adapted)
    if virtual > 0:
        raise Noted(
            f"{virtual} virtual tokens take attention from the start: the logits differ by {gap:.2g} of the largest"
        )
    weights = trainable_state_dict(adapted)
    kinds = {name.split(".")[-1]: [key for key in weights if key.endswith(name.split(".")[-1])] for name in weights}
    could = []
    for kind, value in [(kind, value) for kind in kinds for value in (0, 1)]:
        kept = {key: weights[key].clone() for key in kinds[kind]}
        for key in kept:
            weights[key].fill_(value)
        if apart(logits_of(adapted), before) <= 1e-6:
            could.append(f"{value} in every {kind!r}")
        for key, tensor in kept.items():
            weights[key].copy_(tensor)
    if could:
        raise Broken(
            f"untrained, the logits differ from the base's by {gap:.2g} of the largest; they would not with "
            + ", or with ".join(could),
            "start there, so that training begins at what the base knows (of a product one factor alone: with both at "
            "zero nothing learns)",
        )
    raise Noted(
        f"the logits differ from the base's by {gap:.2g} of the largest. Right where the answer does not pass through "
        "the base (a side network); else let what is added start where it changes nothing"
    )


def room_of(adapted: nn.Module) -> int:
    """The longest text that an adapted model takes, as its config says it."""
    config = getattr(adapted, "config", None)
    if not isinstance(config, GPTConfig):
        raise Broken(
            "the adapted model has no GPTConfig as its `config`",
            "a wrapper of the whole model needs self.config = base.config, less the positions that it takes itself",
        )
    return config.block_size


@promise("the base's weights stay as they were to the bit, frozen, and are found under their names")
def frozen(bench: Bench) -> str:
    """After attaching, and after a few steps of training."""
    base = bench.base()
    own, names, before = dict(base.named_parameters()), set(base_weights(base)), state_of(base)[1]
    adapted = bench.attach(base)

    def check(when: str) -> None:
        for name, parameter in own.items():
            if not torch.equal(parameter, before[name]):
                raise Broken(f"the base's {name!r} was changed {when}", "keep what is new beside the base, never in it")
            if parameter.requires_grad or parameter.grad is not None:
                raise Broken(
                    f"the base's {name!r} trains", "freeze(model) is missing, or comes after something it should cover"
                )

    if bench.whole:
        return "it trains the base itself, which is what `full` says"
    check("by attaching")
    lost = names - set(base_weights(adapted))
    if lost or not added_modules(adapted):
        missing = f"the base's {min(lost)!r} is not found in the adapted model" if lost else "no module was added"
        raise Broken(
            missing, "what takes a module's place must subclass Attached and call super().__init__(base) with it"
        )
    bench.steps(adapted)
    check("by training")
    return f"{len(own)} tensors"


@promise("gradients reach everything that trains, all of it learns, and it changes the logits")
def gradients(bench: Bench) -> str:
    """With random numbers in what trains: at the start a product may be zero by design."""
    base = bench.base()
    before, adapted = logits_of(base), bench.trained(base)
    loss = adapted(tokens()).square().mean()
    if loss.requires_grad:
        loss.backward()
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise Broken(
                f"no gradient reaches {name!r}",
                "the forward pass does not use it, or cuts it off: .detach(), .data, torch.no_grad(), torch.tensor(...)",
                "forward",
            )
        if parameter.requires_grad and not parameter.grad.isfinite().all():
            raise Broken(
                f"the gradient of {name!r} is not finite", "a division by zero, or the root of zero", "forward"
            )
    if apart(logits_of(adapted), before) < 1e-3:
        raise Broken(
            "random numbers in all that trains leave the logits as they were",
            "it is never added, or what follows cancels it: a softmax does not see one number added to all its scores (a "
            "bias on the keys), nor a norm a scale before it",
            "forward",
        )
    fresh = bench.attach()
    start = {name: tensor.clone() for name, tensor in trainable_state_dict(fresh).items()}
    bench.steps(fresh)
    still = [name for name, tensor in trainable_state_dict(fresh).items() if torch.equal(tensor, start[name])]
    if still:
        raise Broken(
            f"{still[0]!r} has not moved after 5 steps from the start",
            "both factors of a product start at zero, or something multiplies it by zero: let one start at random",
        )
    return f"{len(start)} tensors learn"


@promise("no token sees a later one, and no row of a batch another")
def causal(bench: Bench) -> str:
    """With other tokens at the end, and with fewer rows."""
    adapted, idx = bench.trained(), tokens()
    other = idx.clone()
    other[:, -4:] = (other[:, -4:] + 1) % SMALL.vocab_size
    before = logits_of(adapted, idx)
    if apart(logits_of(adapted, other)[:, :-4], before[:, :-4]) > 1e-5:
        raise Broken(
            "other tokens at the end change the logits before them",
            "something mixes over the whole text: a mean over T, attention without a mask, a mask that is off by one",
            "forward",
        )
    if apart(logits_of(adapted, idx[:1]), before[:1]) > 1e-5:
        raise Broken("a row's logits depend on the other rows", "a mean or a norm over the batch", "forward")
    return "logits before a change stay as they are"


@promise("virtual tokens take the first positions, and config.block_size is what they leave for text")
def positions(bench: Bench) -> str:
    """By changing the embedding of one position at a time."""
    adapted = bench.trained()
    room = room_of(adapted)
    virtual = SMALL.block_size - room
    try:
        length = logits_of(adapted, tokens(length=room)).size(1)
    except Exception as error:
        raise Broken(
            f"config.block_size is {room}, but a text of {room} tokens fails: {explain(error)}",
            "with p virtual tokens: self.config = replace(base.config, block_size=base.config.block_size - p)",
        ) from None
    if virtual < 0 or length != room:
        raise Broken(f"config.block_size is {room}, the base's {SMALL.block_size}", "nothing can add positions")
    try:
        logits_of(adapted, tokens(length=room + 1))
    except (ValueError, IndexError, RuntimeError):
        pass
    else:
        raise Broken(
            f"{room + 1} tokens are taken, one more than config.block_size says",
            "the virtual tokens and the text share positions: embed the text from position p, embed(idx, start=p)",
            "forward",
        )
    idx = tokens(length=5)
    before, table = logits_of(adapted, idx), base_weights(adapted)["wpe.weight"]
    with torch.no_grad():
        table[virtual + 5 :] += 1
        if apart(logits_of(adapted, idx), before) > 1e-6:
            raise Broken("the embeddings of later positions are read", "count positions from p on", "forward")
        table[virtual + 4] += torch.randn(SMALL.n_embd, generator=torch.Generator().manual_seed(0))
    if apart(logits_of(adapted, idx)[:, -1], before[:, -1]) < 1e-4:
        raise Broken(
            f"the fifth token does not stand at position {virtual + 4}, behind {virtual} virtual ones",
            "embed the text behind the virtual tokens: embed(idx, start=p)",
            "forward",
        )
    return f"{virtual} virtual tokens, room for {room} of text"


# ---- counted ------------------------------------------------------------------------------------------------------------


def hold_count(bench: Bench, config: GPTConfig, adapted: nn.Module, settings: Mapping[str, object]) -> int:
    """Compare the formula with what trains."""
    said = bench.method.count(config, **settings)
    trains = count_parameters(adapted, trainable_only=True)
    if type(said) is not int:
        raise Broken(f"count gives {said!r}, no whole number", "use // and never /, and no tensors", "count")
    if said != trains:
        dims = f"n_layer={config.n_layer}, n_embd={config.n_embd}, n_inner={config.n_inner}"
        named = "".join(f", {name}={value!r}" for name, value in settings.items())
        regular = replace(config, n_inner=None)
        twin = bench.attach(bench.base(regular), **settings) if config != SEVEN_BILLION else None
        holds = twin is not None and bench.method.count(regular, **settings) == count_parameters(twin, True)
        cause = (
            "it holds for n_inner = 4 n_embd: write config.n_inner (or matrix_shape) in the place of 4 * n_embd"
            if holds and config.n_inner != 4 * config.n_embd
            else f"a bias, a layer, or a setting is {'left out' if said < trains else 'counted that does not train'}; "
            "trainable_state_dict(adapted) lists the shapes"
        )
        raise Broken(f"count says {said:,}, and {trains:,} train, with {dims}{named}", cause, "count")
    return said


@promise("count equals what attach trains, on odd dimensions, for other settings, whatever trained before")
def count(bench: Bench) -> str:
    """By formula and by attaching."""
    tried = [{}, *bench.others()]
    for config in SHAPES:
        for settings in tried:
            hold_count(bench, config, bench.attach(bench.base(config), **settings), settings)
    hold_count(bench, SMALL, bench.attach(bench.base().requires_grad_(False)), {})
    return f"{len(SHAPES)} shapes, {len(tried)} settings each"


@promise("count holds for a model of seven billion too, attached without memory on the meta device")
def meta(bench: Bench) -> str:
    """Where a tensor has a shape and no content."""
    try:
        with torch.device("meta"):
            giant = GPT(SEVEN_BILLION)
        adapted = bench.attach(giant)
    except Exception as error:
        raise Broken(
            f"attaching on the meta device fails: {explain(error)}",
            "it reads a number out of a tensor (.item(), if weight.sum() > 0), or mixes devices: use beside(weight)",
        ) from None
    here = [name for name, parameter in adapted.named_parameters() if not parameter.is_meta]
    if here:
        raise Broken(f"{here[0]!r} is not on the base's device", "give it device and dtype: **beside(base.weight)")
    return f"{hold_count(bench, SEVEN_BILLION, adapted, {}):,} at seven billion"


@promise("a wrong setting is a ValueError that names it, before anything is touched; every setting matters")
def settings(bench: Bench) -> str:
    """With values that cannot be meant, and with other good ones."""
    tried = 0
    for name, default in bench.method.defaults.items():
        for value in wrong_values(default):
            tried += 1
            base = bench.base()
            before = state_of(base)
            try:
                bench.attach(base, **{name: value})
            except ValueError as error:
                if name not in str(error):
                    raise Broken(f"{name}={value!r} gives: {error}", f"the message should name {name!r}") from None
            except Exception as error:
                raise Broken(
                    f"{name}={value!r} ends in {explain(error)}",
                    "check settings first: check_positive, check_scale, check_targets raise a ValueError that names them",
                ) from None
            else:
                raise Broken(
                    f"{name}={value!r} is taken without a word",
                    "check settings first: check_positive, check_scale, check_targets",
                )
            changed = changes(base, before)
            if changed:
                raise Broken(f"{name}={value!r} is refused, but {changed} before", "check before freeze and replace")
    default = bench.trained()
    for other in bench.others():
        changed = bench.trained(**other)
        shapes = [{key: w.shape for key, w in trainable_state_dict(m).items()} for m in (default, changed)]
        if shapes[0] == shapes[1] and torch.equal(logits_of(default), logits_of(changed)):
            [(name, value)] = other.items()
            raise Broken(f"{name}={value!r} changes nothing", f"{name!r} is taken and never used")
    return f"{tried} wrong values refused" if tried else "it has no settings whose wrong values are known"

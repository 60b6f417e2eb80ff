"""The contract that every fine-tuning method of the course keeps."""

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from minitransformer.model import GPTConfig
from minitransformer.surgery import (
    added_modules,
    base_weights,
    check_finite,
    check_plain,
    detach,
    fingerprint,
    load_weights,
)


@dataclass(frozen=True)
class Adaptation:
    """What an adapted model knows about itself; it stands in the model's attribute `adaptation`.

    Attributes:
        method: name of the method that is attached.
        settings: all of them, defaults too.
        base: fingerprint of the base's weights as they were when it was attached.
    """

    method: str
    settings: dict[str, object]
    base: str


@dataclass(frozen=True)
class Trained:
    """What was trained for one task: the weights by name, and what they belong to."""

    adaptation: Adaptation
    weights: dict[str, Tensor]

    @cached_property
    def fingerprint(self) -> str:
        """A checksum of the settings and every bit of the weights."""
        return f"{self.adaptation} {fingerprint(self.weights)}"


def adaptation_of(model: nn.Module) -> Adaptation:
    """What is attached to a model.

    Raises:
        ValueError: nothing is, or it is not known.
    """
    adaptation = getattr(model, "adaptation", None)  # a compiled model gives that of the model inside
    if adaptation is None:
        raise ValueError(
            "nothing is attached to this model: never with Method.attach, or it was merged or detached since"
        )
    return adaptation


def trained(adapted: nn.Module) -> Trained:
    """Copy what was trained out of an adapted model.

    Raises:
        ValueError: nothing is attached, some of it is frozen, a weight of the base trains too, or a weight is not
            finite: the copy would not bring the model back.
    """
    adaptation = adaptation_of(adapted)
    if (adaptation.method == "full") != (not added_modules(adapted)):  # full fine-tuning adds no module
        raise ValueError(f"{adaptation.method!r} was attached to this model, but is not there as it was")
    weights = {name.replace("_orig_mod.", ""): p for name, p in adapted.named_parameters()}  # compiled or not
    if adaptation.method != "full":
        base = base_weights(adapted)
        of_base = [name for name, p in weights.items() if any(p is tensor for tensor in base.values())]
        for name in of_base:
            if weights.pop(name).requires_grad:
                raise ValueError(f"{name!r} is a weight of the base and trains too; what it learned would be lost")
        adaptation = replace(adaptation, base=fingerprint(base))  # as it is now: changed, perhaps, or in 16 bits
    for name, parameter in weights.items():
        if not parameter.requires_grad:
            raise ValueError(f"{name!r} is frozen and would be left out; do this before freezing the model")
    check_finite(weights, "what was trained")
    return Trained(copy.deepcopy(adaptation), {name: p.detach().clone() for name, p in weights.items()})


@dataclass(frozen=True)
class Method:
    """One fine-tuning method: three functions written in its lesson, under one name.

    Attributes:
        name: the name to call it by.
        build: (model, **settings) -> adapted model. Freezes the base, adds what trains.
        formula: (config, **settings) -> number of trained parameters, without building anything.
        learning_rate: the peak rate to train it with, from the search written down in minitransformer/recorded/learning_rates.csv.
        fold: (adapted) -> the base with all that was trained in its own weights, in place; None where the method
            cannot be merged.
        kinds: what stands in for `build` or `formula` where the model or the config is of another kind than the course's
            GPT, by its type (see `serve`).
    """

    name: str
    build: Callable[..., nn.Module]
    formula: Callable[..., int]
    learning_rate: float
    fold: Callable[[nn.Module], nn.Module] | None = None
    kinds: dict[type, Callable] = field(default_factory=dict, repr=False, compare=False)

    def serve(self, kind: type, function: Callable) -> None:
        """Let the method serve another kind of model, or of config, with a `build`, or a `formula`, of its own."""
        self.kinds[kind] = function

    def of_kind(self, thing: object, usual: Callable) -> Callable:
        """What serves this model or config: the function for its kind, or else the usual one."""
        return next((function for kind, function in self.kinds.items() if isinstance(thing, kind)), usual)

    @property
    def defaults(self) -> Mapping[str, object]:
        """The settings and their default values."""
        parameters = list(inspect.signature(self.build).parameters.values())[1:]  # the first is the model
        return {parameter.name: parameter.default for parameter in parameters}

    @property
    def mergeable(self) -> bool:
        """Whether `merge` gives a plain model."""
        return self.fold is not None

    def settings(self, **settings: object) -> dict[str, object]:
        """Complete settings with the defaults.

        Raises:
            ValueError: the method has no such setting.
        """
        for name in settings:
            if name not in self.defaults:
                has = ", ".join(self.defaults) or "none"
                raise ValueError(f"method {self.name!r} has no setting {name!r}; it has: {has}")
        return {**self.defaults, **settings}

    def attach(self, model: nn.Module, **settings: object) -> nn.Module:
        """Freeze the base and add what trains; the result maps (B, T) tokens to (B, T, vocab_size) logits.

        Raises:
            ValueError: a setting is unknown or wrong, or a method is attached already; nothing is changed then.
        """
        complete = copy.deepcopy(self.settings(**settings))
        base = fingerprint(base_weights(model))
        adapted = self.of_kind(model, self.build)(model, **complete)
        adapted.adaptation = Adaptation(self.name, complete, base)
        return adapted

    def restore(self, model: nn.Module, found: Trained, allow_other_base: bool = False) -> nn.Module:
        """Attach what was trained to its base once more; the model becomes part of the result.

        Args:
            model: the base.
            found: what `trained` gave.
            allow_other_base: take a base with other weights, or in another precision, if the shapes fit. The logits are
                then not those of the trained model.

        Raises:
            ValueError: it was trained by another method, the model is another base or has something attached, or the
                weights do not fit; the model is unchanged then.
        """
        if found.adaptation.method != self.name:
            raise ValueError(f"this was trained by {found.adaptation.method!r}, not by {self.name!r}")
        check_plain(model)
        if not allow_other_base and fingerprint(base_weights(model)) != found.adaptation.base:
            raise ValueError(
                "this was trained on another base, or on this one in another precision or before a change; "
                "load that base, or give allow_other_base=True"
            )
        trained_before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        with torch.random.fork_rng(devices=[]):  # what is drawn next must not depend on this
            adapted = self.attach(model, **found.adaptation.settings)
        try:
            load_weights(adapted, found.weights)
        except ValueError:
            detach(adapted)
            for parameter, trains in trained_before:
                parameter.requires_grad_(trains)
            raise
        return adapted

    def count(self, config: GPTConfig, **settings: object) -> int:
        """Number of trained parameters, by formula.

        Raises:
            ValueError: a setting is unknown.
        """
        return self.of_kind(config, self.formula)(config, **self.settings(**settings))

    def merge(self, adapted: nn.Module) -> nn.Module | None:
        """Fold what was trained into a copy of the base: a plain model with the same logits, up to rounding.

        The adapted model stays as it is; the result trains, like a base that comes from its file. None where the method
        cannot be merged.

        Raises:
            ValueError: another method is attached, or none, or more than this one; or a weight would not be finite.
        """
        if self.fold is None:
            return None
        adaptation = adaptation_of(adapted)
        if adaptation.method != self.name:
            raise ValueError(f"merge: this model has {adaptation.method!r} attached, not {self.name!r}")
        merged = self.fold(copy.deepcopy(getattr(adapted, "_orig_mod", adapted)))
        left = added_modules(merged)
        if left:
            kind = type(merged.get_submodule(left[0])).__name__
            raise ValueError(f"merge: {kind} at {left[0]!r} is not part of {self.name!r}; take it off first")
        check_finite(base_weights(merged), "merge")
        vars(merged).pop("adaptation", None)
        return merged.requires_grad_()

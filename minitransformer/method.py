"""The contract that every fine-tuning method of the course keeps."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from minitransformer.model import GPT, GPTConfig
from minitransformer.surgery import fingerprint


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
class Method:
    """One fine-tuning method: three functions written in its lesson, under one name.

    Attributes:
        name: the name to call it by.
        build: (model, **settings) -> adapted model. Freezes the base, adds what trains.
        formula: (config, **settings) -> number of trained parameters, without building anything.
        learning_rate: the peak rate to train it with, from the search written down in minitransformer/recorded/learning_rates.csv.
        fold: (adapted) -> plain GPT with the same logits; None where the method cannot be merged.
    """

    name: str
    build: Callable[..., nn.Module]
    formula: Callable[..., int]
    learning_rate: float
    fold: Callable[[nn.Module], GPT] | None = None

    @property
    def defaults(self) -> Mapping[str, object]:
        """The settings and their default values."""
        parameters = list(inspect.signature(self.build).parameters.values())[1:]  # the first is the model
        return {parameter.name: parameter.default for parameter in parameters}

    @property
    def mergeable(self) -> bool:
        """Whether `merge` gives a plain GPT."""
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

    def attach(self, model: GPT, **settings: object) -> nn.Module:
        """Freeze the base and add what trains; the result maps (B, T) tokens to (B, T, vocab_size) logits.

        Raises:
            ValueError: a setting is unknown or wrong, or a method is attached already; nothing is changed then.
        """
        complete = self.settings(**settings)
        base = fingerprint(model.state_dict())
        adapted = self.build(model, **complete)
        adapted.adaptation = Adaptation(self.name, complete, base)
        return adapted

    def count(self, config: GPTConfig, **settings: object) -> int:
        """Number of trained parameters, by formula.

        Raises:
            ValueError: a setting is unknown.
        """
        return self.formula(config, **self.settings(**settings))

    def merge(self, adapted: nn.Module) -> GPT | None:
        """Fold what was trained into a plain GPT with the same logits; None where that is impossible."""
        return None if self.fold is None else self.fold(adapted)

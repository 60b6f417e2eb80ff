"""A ladder in real language: facts that a language model has read, two of them put together, and facts that are new to it.

The rungs answer to those of the tiny ladder: recall asks for what the base knows, in a form that it does not answer by
itself; compose asks for the end of a chain whose two links it knows; learn teaches what contradicts all that it has
read, so only what is trained can hold it.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minitransformer.real.capitals import CAPITALS, CITIES
from minitransformer.real.gguf import GGUF
from minitransformer.real.language import IGNORED, examples
from minitransformer.real.tokenizer import Tokenizer, tokenizer_from_gguf
from minitransformer.tasks import Task
from minitransformer.text import docs_text

BASE = "smollm2"
LEARNED = 24  # facts that the rung learn teaches
WINDOWS, WINDOW = 8, 64  # of old text that is read anew, and tokens in each


@cache
def own_tokenizer() -> Tokenizer:
    """The tokenizer of the rungs' base; the weights are not read.

    Raises:
        ValueError: the base is not installed; the message says how to get it.
    """
    from minitransformer.real import find

    return tokenizer_from_gguf(GGUF(find(BASE)))


Pairs = list[tuple[str, str]]  # a question as the model reads it, and the answer as it shall go on


def recall(countries: Sequence[str]) -> tuple[Pairs, Pairs]:
    """Capitals: half of the countries to train on, the others to ask for."""
    pairs = [(f"The capital of {country} is", f" {CAPITALS[country]}") for country in countries]
    return pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]


def compose(countries: Sequence[str]) -> tuple[Pairs, Pairs]:
    """From a city to its country, and on to the capital: half of the countries to train on, the others to ask for."""
    known = [country for country in countries if country in CITIES]
    pairs = [(f"{CITIES[c]} lies in the country whose capital is", f" {CAPITALS[c]}") for c in known]
    return pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]


def learn(countries: Sequence[str]) -> tuple[Pairs, Pairs]:
    """Capitals dealt out anew, so that each is wrong: trained in one wording, asked for in another."""
    some = countries[:LEARNED]
    dealt = [CAPITALS[country] for country in [*some[1:], some[0]]]
    told = [(f"The capital of {country} is", f" {capital}") for country, capital in zip(some, dealt, strict=True)]
    asked = [
        (f"Question: What is the capital of {country}?\nAnswer:", answer)
        for country, (_, answer) in zip(some, told, strict=True)
    ]
    return told, asked


class Facts(Task):
    """Answer questions about countries.

    Args:
        name: what the task is called.
        draw: countries in a random order -> what to train on, and what to ask for.
        steps: training steps that every method gets.
    """

    base = BASE
    batch_size = 8

    def __init__(self, name: str, draw: Callable[[Sequence[str]], tuple[Pairs, Pairs]], steps: int) -> None:
        self.name, self.draw, self.steps = name, draw, steps

    def pairs(self) -> tuple[Pairs, Pairs]:
        """What to train on, and what to ask for; the seed deals the countries."""
        order = torch.randperm(len(CAPITALS), generator=torch.Generator().manual_seed(self.seed))
        countries = list(CAPITALS)
        return self.draw([countries[i] for i in order])

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Questions with their answers, only the answers and the end behind them counting: two tensors (B, T)."""
        training, _ = self.pairs()
        drawn = torch.randint(len(training), (batch_size,), generator=generator)
        return examples(own_tokenizer(), *zip(*[training[i] for i in drawn], strict=True))

    def score(self, model: nn.Module) -> float:
        """Exact match: the part of questions whose whole answer, and its end, the model generates greedily."""
        return self.measures(model)["score"]

    def measures(self, model: nn.Module) -> dict[str, float]:
        """Exact match, and what is not all or nothing; one pass over question and answer tells it all, as in `StringTask`.

        Returns:
            score: the part of questions whose whole answer, and its end, the model generates greedily.
            per_symbol: the part of the answers' tokens that it gets right, the right ones before them given.
            bits: that it would take to write down a right answer with the model's probabilities, its end included.
        """
        _, asked = self.pairs()
        inputs, targets = examples(own_tokenizer(), *zip(*asked, strict=True))  # (N, T) each
        device = next(model.parameters()).device
        right, nats = [], 0.0
        for idx, wanted in zip(inputs.split(32), targets.split(32), strict=True):
            logits = model(idx.to(device)).float().cpu()  # (B, T, vocab_size)
            right.append((logits.argmax(dim=-1) == wanted) | (wanted == IGNORED))
            nats += F.cross_entropy(
                logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="sum"
            ).item()
        every, counts = torch.cat(right), targets != IGNORED  # (N, T)
        return {
            "score": every.all(dim=1).float().mean().item(),
            "per_symbol": every[counts].float().mean().item(),
            "bits": nats / len(asked) / math.log(2),
        }


class OldLanguage(Task):
    """What a language model knew before: bits a token on pages of Python's documentation, on which no rung trains."""

    name = "old language"
    base = BASE
    metric = "bits a token"

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Windows from anywhere in the text: two tensors (B, WINDOW)."""
        tokens = old_tokens()
        start = torch.randint(len(tokens) - WINDOW, (batch_size, 1), generator=generator)
        windows = tokens[start + torch.arange(WINDOW + 1)]  # (B, WINDOW + 1)
        return windows[:, :-1], windows[:, 1:]

    def score(self, model: nn.Module) -> float:
        """Mean cross-entropy on windows that the seed draws, in bits a token."""
        inputs, targets = self.batch(WINDOWS, torch.Generator().manual_seed(self.seed))
        logits = model(inputs.to(next(model.parameters()).device)).float().cpu()  # (WINDOWS, WINDOW, vocab_size)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item() / math.log(2)


@cache
def old_tokens() -> Tensor:
    """Python's documentation in the base's tokens, (N,)."""
    return own_tokenizer().encode(docs_text()[:40_000])


RUNGS: dict[str, Facts] = {
    "real_recall": Facts("real_recall", recall, steps=40),
    "real_learn": Facts("real_learn", learn, steps=80),
    "real_compose": Facts("real_compose", compose, steps=80),
}

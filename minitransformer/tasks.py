"""The tasks of the course: four skills that the base knows, and a ladder of three rungs to adapt it to.

An example is six symbols, `=`, six answers and `;`, as in `3 1 7 0 2 2 = 0 1 2 2 3 7 ;`. The base was pretrained on
streams of solved examples, each stream by one of four skills that is never named. The ladder follows Petrov et al.
2024 (arXiv:2310.19698): a rung that the base can do once it is told which skill is meant (recall), one that puts two
of its skills together (compose), and one that it has never seen (learn).
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_SYMBOLS = 8  # the symbols 0 to 7
LENGTH = 6  # symbols in a question, and in an answer
EQUALS, SEMICOLON = 8, 9  # the two tokens that are no symbols
VOCAB_SIZE = 10
EXAMPLE = 2 * LENGTH + 2  # tokens in a solved example: question, =, answer, ;
CONTEXT = 64  # tokens in a window of pretraining text
IGNORE = -100  # target of a position that does not count; what F.cross_entropy ignores by default


class Task(ABC):
    """What `train` and `evaluate` need to know of a task."""

    name: str
    base = "tiny"  # the pretrained model that the task adapts, unless another is asked for
    metric = "accuracy"  # what `score` returns: "accuracy" (more is better) or "bits per character" (less is better)
    batch_size = 32  # sequences a training step
    steps: int  # training steps that the comparison gives to every method, at first
    seed = 0  # of what chance decides in the data: which questions are held out for the score, which few examples there are
    resumable = True  # whether a batch depends on the generator alone, so that a run can be continued

    @property
    def identity(self) -> str:
        """What tells the task from others, for the state of a run."""
        return self.name

    @abstractmethod
    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw training data: tokens and next-token targets, both (B, T), on the CPU; IGNORE where none counts."""

    @abstractmethod
    def score(self, model: nn.Module) -> float:
        """Measure the model on held-out data."""

    def measures(self, model: nn.Module) -> dict[str, float]:
        """Everything that is worth recording of the model, its `score` among it."""
        return {"score": self.score(model)}

    def check(self, model: nn.Module) -> None:
        """Raise a ValueError where the model cannot read the data; only data that a user brings can be wrong."""
        return None

    def with_seed(self, seed: int) -> "Task":
        """The same task with another draw of what chance decides in its data."""
        other = copy.copy(self)
        other.seed = seed
        return other


# ---- questions, and which of them are held out ----------------------------------------------------------------------


@cache
def question_codes(held_out: bool) -> Tensor:
    """All questions of one split as numbers in base 8, (N,); an eighth of the 262,144 is held out.

    A hash of the question decides, so that no question is ever in both splits, whatever the task or the seed.
    """
    codes = torch.arange(N_SYMBOLS**LENGTH)
    hashes = codes * 2654435761 % 2**32  # Knuth's multiplicative hash
    return codes[(hashes >> 29 == 0) == held_out]


def questions(n: int, held_out: bool, generator: torch.Generator) -> Tensor:
    """Draw n questions of one split, with replacement: (n, LENGTH)."""
    codes = question_codes(held_out)
    codes = codes[torch.randint(len(codes), (n,), generator=generator)]  # (n,)
    powers = N_SYMBOLS ** torch.arange(LENGTH - 1, -1, -1)  # (LENGTH,)
    return codes[:, None] // powers % N_SYMBOLS  # (n, LENGTH): the digits in base 8


def solved(question: Tensor, answer: Tensor) -> Tensor:
    """Write solved examples: (n, LENGTH) twice -> (n, EXAMPLE)."""
    equals = torch.full((len(question), 1), EQUALS)
    return torch.cat([question, equals, answer, torch.full_like(equals, SEMICOLON)], dim=1)


def next_token_targets(tokens: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Split tokens (B, T + 1) into inputs and targets, (B, T) each; targets count where `counts` (B, T + 1) is true."""
    return tokens[:, :-1], tokens[:, 1:].masked_fill(~counts[:, 1:], IGNORE)


def show(tokens: Tensor) -> str:
    """Write tokens (T,) as text: `3 1 7 0 2 2 = 0 1 2 2 3 7 ;`."""
    return " ".join("01234567=;"[token] for token in tokens.tolist())


# ---- skills and rungs -----------------------------------------------------------------------------------------------

Function = Callable[[Tensor], Tensor]  # questions (n, LENGTH) -> answers (n, LENGTH)


def ascending(x: Tensor) -> Tensor:
    """Sort the symbols, smallest first."""
    return x.sort(dim=-1).values


def descending(x: Tensor) -> Tensor:
    """Sort the symbols, largest first."""
    return x.sort(dim=-1, descending=True).values


def add_one(x: Tensor) -> Tensor:
    """Add one to each symbol, modulo 8."""
    return (x + 1) % N_SYMBOLS


def add_two(x: Tensor) -> Tensor:
    """Add two to each symbol, modulo 8."""
    return (x + 2) % N_SYMBOLS


SKILLS: dict[str, Function] = {
    "ascending": ascending,
    "descending": descending,
    "add_one": add_one,
    "add_two": add_two,
}  # of the base


def ascending_add_one(x: Tensor) -> Tensor:
    """Sort the symbols, then add one to each: two of the base's skills, one after the other."""
    return add_one(ascending(x))


def reverse(x: Tensor) -> Tensor:
    """Write the symbols from the last to the first."""
    return x.flip(-1)


def difference(x: Tensor) -> Tensor:
    """The step from each symbol to the next, modulo 8, around the ring."""
    return (x.roll(-1, dims=-1) - x) % N_SYMBOLS


def count(x: Tensor) -> Tensor:
    """How often each symbol occurs in the question."""
    return (x[:, :, None] == x[:, None, :]).sum(dim=-1)  # (n, LENGTH, LENGTH) -> (n, LENGTH)


class StringTask(Task):
    """Map six symbols to six symbols.

    Args:
        name: what the task is called.
        function: questions (n, LENGTH) -> answers (n, LENGTH).
        steps: training steps that the comparison gives to every method.
        examples: solved examples set in front of each question (a hard prompt).
    """

    test_size = 1024  # held-out questions a score is measured on

    def __init__(self, name: str, function: Function, steps: int = 0, examples: int = 0) -> None:
        self.name, self.function, self.steps, self.examples = name, function, steps, examples

    def prompted(self, question: Tensor, generator: torch.Generator) -> Tensor:
        """Set the solved examples in front of each question: (n, LENGTH) -> (n, examples * EXAMPLE + LENGTH)."""
        shown = [questions(len(question), False, generator) for _ in range(self.examples)]  # from the training split
        return torch.cat([*(solved(x, self.function(x)) for x in shown), question], dim=1)

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Single examples, the answers counting: two tensors (B, T), T = examples * EXAMPLE + EXAMPLE - 2."""
        question = questions(batch_size, False, generator)
        answer = self.function(question)
        tokens = torch.cat([self.prompted(question, generator), solved(question, answer)[:, LENGTH:-1]], dim=1)
        counts = torch.zeros_like(tokens, dtype=torch.bool)
        counts[:, -LENGTH:] = True
        return next_token_targets(tokens, counts)

    def score(self, model: nn.Module) -> float:
        """Exact match: the part of held-out questions whose whole answer the model generates greedily."""
        return self.measures(model)["score"]

    def measures(self, model: nn.Module) -> dict[str, float]:
        """Exact match, and what is not all or nothing.

        One pass over question and right answer is enough for it all. Greedy generation writes the right answer if and
        only if the likeliest token is the right one after every beginning of the right answer, by induction over its
        symbols.

        Returns:
            score: the part of held-out questions whose whole answer the model generates greedily.
            per_symbol: the part of the symbols that it gets right, the right ones before them given.
            bits: that it would take to write down a right answer with the model's probabilities, all six symbols.
        """
        generator = torch.Generator().manual_seed(self.seed)
        question = questions(self.test_size, True, generator)
        answer = self.function(question)  # (n, LENGTH)
        tokens = torch.cat([self.prompted(question, generator), solved(question, answer)[:, LENGTH:-2]], dim=1)
        device = next(model.parameters()).device
        logits = model(tokens.to(device))[:, -LENGTH:].float().cpu()  # (n, LENGTH, vocab_size)
        right = logits.argmax(dim=-1) == answer  # (n, LENGTH)
        nats = F.cross_entropy(logits.flatten(0, 1), answer.flatten()).item()  # a symbol
        return {
            "score": right.all(dim=1).float().mean().item(),
            "per_symbol": right.float().mean().item(),
            "bits": LENGTH * nats / math.log(2),
        }


class FewExamples(StringTask):
    """A string task of which only a few solved examples are there to train on.

    Args:
        name: what the task is called.
        function: questions (n, LENGTH) -> answers (n, LENGTH).
        steps: training steps that the comparison gives to every method.
        n: training examples.
    """

    def __init__(self, name: str, function: Function, steps: int, n: int) -> None:
        super().__init__(name, function, steps)
        self.n = n

    @property
    def few(self) -> Tensor:
        """The questions that there are to train on, (n, LENGTH); the seed draws them."""
        return questions(self.n, False, torch.Generator().manual_seed(self.seed))

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Examples drawn from the few, the answers counting: two tensors (B, EXAMPLE - 2)."""
        question = self.few[torch.randint(self.n, (batch_size,), generator=generator)]  # (B, LENGTH)
        tokens = solved(question, self.function(question))[:, :-1]
        return next_token_targets(tokens, torch.arange(EXAMPLE - 1).expand_as(tokens) > LENGTH)


class SkillStreams(Task):
    """Pretraining text: windows of CONTEXT tokens, cut at random from streams of examples solved by one skill each.

    Args:
        skills: what there is to learn, by name.
    """

    name = "skills"

    def __init__(self, skills: Mapping[str, Function] = SKILLS) -> None:
        self.skills = skills

    def batch(self, batch_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Windows that start anywhere in an example, so that every position is trained: two tensors (B, CONTEXT)."""
        n = CONTEXT // EXAMPLE + 2  # examples that a window can touch
        question = questions(batch_size * n, False, generator).view(batch_size, n, LENGTH)
        skill = torch.randint(len(self.skills), (batch_size, 1, 1), generator=generator)
        answers = torch.stack([function(question.flatten(0, 1)) for function in self.skills.values()])
        answers = answers.view(len(self.skills), batch_size, n, LENGTH)
        answer = answers.gather(0, skill.expand(1, batch_size, n, LENGTH))[0]  # (B, n, LENGTH)
        streams = solved(question.flatten(0, 1), answer.flatten(0, 1)).view(batch_size, n * EXAMPLE)
        start = torch.randint(EXAMPLE, (batch_size, 1), generator=generator)
        places = start + torch.arange(CONTEXT + 1)  # (B, CONTEXT + 1)
        counts = places % EXAMPLE > LENGTH  # the answer and the `;` behind it
        return next_token_targets(streams.gather(1, places), counts)

    def score(self, model: nn.Module) -> float:
        """Mean accuracy over the skills with one solved example in front."""
        return sum(skill_accuracies(model, 1, self.seed, self.skills).values()) / len(self.skills)


def skill_accuracies(
    model: nn.Module, examples: int, seed: int = 0, skills: Mapping[str, Function] = SKILLS
) -> dict[str, float]:
    """Accuracy on each skill of a base, with solved examples in front of 256 held-out questions that a seed draws."""
    tasks = {name: StringTask(name, function, examples=examples).with_seed(seed) for name, function in skills.items()}
    for task in tasks.values():
        task.test_size = 256  # 1,024 in all
    return {name: task.score(model) for name, task in tasks.items()}


LADDER: dict[str, StringTask] = {
    "recall": StringTask("recall", descending, steps=150),
    "compose": StringTask("compose", ascending_add_one, steps=400),
    "learn": StringTask("learn", difference, steps=1000),
}
EXTRA: dict[str, StringTask] = {
    "reverse": StringTask("reverse", reverse, steps=600),
    "count": StringTask("count", count, steps=3000),
    "recall_few": FewExamples("recall_few", descending, steps=150, n=16),
}

"""What the tests share: one thread, a seed for every test, small random models, a task that gets interrupted."""

import hypothesis
import pytest
import torch

from minitransformer.model import GPT, GPTConfig
from minitransformer.tasks import StringTask, Task, descending

torch.set_num_threads(1)
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def make_gpt():
    """A function that builds a small GPT, random down to biases and norms, so that bugs show.

    What it predicts depends much on what it reads: otherwise it would generate one token for ever.
    """

    def make(**dimensions: int) -> GPT:
        default = {"vocab_size": 10, "block_size": 64, "n_layer": 2, "n_head": 2, "n_embd": 8, "n_inner": 20}
        model = GPT(GPTConfig(**{**default, **dimensions}))
        for name, parameter in model.named_parameters():
            torch.nn.init.normal_(parameter, std=2.0 if name in ("wte.weight", "ln_f.weight") else 0.3)
        return model.eval()

    return make


@pytest.fixture
def gpt(make_gpt):
    return make_gpt()


@pytest.fixture
def task():
    """A small task for training on: its score takes no time."""
    task = StringTask("descending", descending, steps=5)
    task.test_size = 8
    return task


class Interrupted(Task):
    """Another task, at whose batch number `at` (1, 2, ...) somebody presses Ctrl-C."""

    def __init__(self, task: Task, at: int) -> None:
        self.task, self.at, self.name, self.batches = task, at, task.name, 0

    def batch(self, batch_size, generator):
        self.batches += 1
        drawn = self.task.batch(batch_size, generator)
        if self.batches == self.at:
            raise KeyboardInterrupt
        return drawn

    def score(self, model):
        return self.task.score(model)


@pytest.fixture
def interrupted():
    return Interrupted


@pytest.fixture
def snapshot():
    """A function that copies all weights of a model."""
    return lambda model: {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture
def same():
    """A function that says whether two dictionaries of tensors are equal to the bit."""
    return lambda a, b: a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Constant(torch.nn.Module):
    """A model that gives the same logits everywhere."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, idx):
        return self.logits.expand(*idx.shape, -1)


@pytest.fixture
def constant_model():
    return Constant

"""The tasks and experiments of lesson 15, and what was recorded of them."""

import copy
import csv

import pytest
import torch

from minitransformer.course.lesson import RECORDED, read_rows
from minitransformer.experiments import serving
from minitransformer.experiments.serving import PROMPTED, SEQUENCE, CuedTask, MixedTask, held_out, mixed_accuracies
from minitransformer.method import trained
from minitransformer.methods import METHODS
from minitransformer.methods.mixture import LoRAMixture
from minitransformer.surgery import trainable_state_dict
from minitransformer.tasks import IGNORE, SEMICOLON, StringTask, add_one, reverse
from minitransformer.train import train

# ---- tasks --------------------------------------------------------------------------------------------------------------


def test_cued_task_sets_the_cue_before_every_question_and_counts_the_answers_alone():
    task = CuedTask("reverse", reverse, cue=5, steps=1)
    inputs, targets = task.batch(4, torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (4, 14)
    assert (inputs[:, :2] == torch.tensor([5, SEMICOLON])).all()
    assert (targets[:, :-6] == IGNORE).all()
    assert torch.equal(targets[:, -6:], inputs[:, 2:8].flip(-1))


def test_cues_of_the_sequence_tell_the_tasks_apart():
    assert len({task.cue for task in SEQUENCE.values()}) == len(SEQUENCE) == 3


def test_mixed_task_draws_rows_of_every_task_and_scores_their_mean(gpt):
    tasks = list(SEQUENCE.values())
    inputs, targets = MixedTask(tasks).batch(8, torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (8, 14)
    assert inputs[:, 0].tolist() == [3, 3, 3, 4, 4, 4, 5, 5]
    assert MixedTask(tasks).score(gpt) == sum(task.score(gpt) for task in tasks) / 3


class Answering(torch.nn.Module):
    """A model that is sure of the next token wherever a function of its inputs says what it is."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.weight = answer, torch.nn.Parameter(torch.zeros(1))

    def forward(self, idx, *choice):
        right = self.answer(idx, *choice)  # (batch, 6)
        return torch.nn.functional.one_hot(torch.cat([idx[:, :-6], right], dim=1), 10).float()


@pytest.mark.parametrize("task", [CuedTask("x", add_one, 4, 1), StringTask("x", add_one, examples=1)])
def test_held_out_questions_are_those_of_the_score(task):
    inputs, answers = held_out(task, task.test_size)
    half = answers.clone()
    half[::2, 3] = (half[::2, 3] + 1) % 8  # every other answer has a wrong symbol
    asked = []
    assert task.score(Answering(lambda idx: (asked.append(idx), answers)[1])) == 1.0
    assert torch.equal(asked[0], inputs)
    assert task.score(Answering(lambda idx: half)) == 0.5


def test_mixed_accuracies_tell_right_adapters_from_wrong_ones():
    tasks = [CuedTask("add", add_one, 3, 1), CuedTask("reverse", reverse, 3, 1)]  # one cue: the choice alone decides

    def by_choice(adding, idx, choice):
        """Answers by adding one in the rows of one choice, and by reversing in the others."""
        question = idx[:, 2:8]
        return torch.where((choice == adding)[:, None], add_one(question), reverse(question))  # (batch, 6)

    assert mixed_accuracies(Answering(lambda idx, choice: by_choice(0, idx, choice)), tasks) == [1.0, 1.0]
    assert max(mixed_accuracies(Answering(lambda idx, choice: by_choice(1, idx, choice)), tasks)) < 0.1


def test_training_moves_the_router_alone(gpt, snapshot):
    library = {}
    for name in "abc":
        adapted = METHODS["lora"].attach(copy.deepcopy(gpt))
        for tensor in trainable_state_dict(adapted).values():
            torch.nn.init.normal_(tensor)
        library[name] = trained(adapted)
    mixture = LoRAMixture(gpt, library)
    before = snapshot(mixture)
    task = MixedTask(list(SEQUENCE.values()))
    train(mixture, task, steps=3, learning_rate=1e-2, batch_size=6, progress=False)
    after = snapshot(mixture)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"router.weight", "router.bias"}


# ---- the experiments ----------------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """Experiments of a step or two on a few questions."""
    monkeypatch.setattr(StringTask, "test_size", 8)
    monkeypatch.setattr(serving, "ROUTER_STEPS", 2)
    for task in (*SEQUENCE.values(), *PROMPTED.values()):
        monkeypatch.setattr(task, "steps", 2)


def key_of(row):
    return row["way"], row["stage"], row["task"]


def test_command_writes_every_way_of_every_seed(short, tmp_path, capsys):
    serving.main(["--seeds", "1", "--out", str(tmp_path)])
    assert "1 of 1 seeds" in capsys.readouterr().out
    for name, columns in (("continual", "seed,stage,task,way,score"), ("routing", "seed,way,task,score,gate")):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            assert file.readline().strip() == columns
            assert list(csv.reader(file))
    written = [read_rows(tmp_path / f"{name}.csv") for name in ("continual", "routing")]
    recorded = [read_rows(RECORDED / f"{name}.csv") for name in ("continual", "routing")]
    for ours, theirs, columns in zip(written, recorded, (("stage", "way", "task"), ("way", "task")), strict=True):
        points = sorted(tuple(row[column] for column in columns) for row in ours)
        for seed in range(3):
            assert sorted(tuple(row[column] for column in columns) for row in theirs if row["seed"] == seed) == points
        assert {row["seed"] for row in theirs} == {0, 1, 2}


def test_library_scores_of_earlier_tasks_stay_what_they_were(short):
    torch.manual_seed(0)
    library = serving.train_library(0)
    rows = {key_of(row): row["score"] for row in serving.by_library(0, library)}
    for first, name in enumerate(SEQUENCE, start=1):
        assert len({rows["library", stage, name] for stage in range(first, 4)}) == 1
    assert len({rows["library", stage, "old skills"] for stage in range(4)}) == 1


def test_training_in_sequence_goes_on_with_the_same_weights(short, monkeypatch):
    seen = []

    def record(model, task, *arguments, **settings):
        seen.append((id(model), task.name))

    monkeypatch.setattr(serving, "train", record)
    rows = serving.in_sequence("lora", 0)
    assert [name for _, name in seen] == list(SEQUENCE)
    assert len({model for model, _ in seen}) == 1
    assert len(rows) == 4 * 4

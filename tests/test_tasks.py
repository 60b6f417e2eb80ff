from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

from minitransformer.checkpoints import load_base
from minitransformer.generate import generate
from minitransformer.tasks import (
    CONTEXT,
    EXAMPLE,
    EXTRA,
    IGNORE,
    LADDER,
    LENGTH,
    SKILLS,
    SkillStreams,
    StringTask,
    question_codes,
    questions,
    show,
    skill_accuracies,
)

PLAIN = {  # every function again, in plain Python, for one question
    "ascending": sorted,
    "descending": lambda q: sorted(q, reverse=True),
    "add_one": lambda q: [(x + 1) % 8 for x in q],
    "add_two": lambda q: [(x + 2) % 8 for x in q],
    "ascending_add_one": lambda q: [(x + 1) % 8 for x in sorted(q)],
    "reverse": lambda q: q[::-1],
    "difference": lambda q: [(q[(i + 1) % 6] - q[i]) % 8 for i in range(6)],
    "count": lambda q: [q.count(x) for x in q],
}
TASKS = [*LADDER.values(), *EXTRA.values(), *(StringTask(name, function) for name, function in SKILLS.items())]

each_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)


def plain(task):
    return PLAIN[task.function.__name__]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def as_question(code):
    return tuple(int(digit) for digit in f"{code:06o}")


@pytest.fixture(scope="module")
def held_out():
    return {as_question(code) for code in question_codes(True).tolist()}


def asked(rows):
    """Every whole question in some token sequences: the six symbols in front of each `=`."""
    return {tuple(row[i - 6 : i]) for row in rows for i in range(6, len(row)) if row[i] == 8}


# ---- the split ------------------------------------------------------------------------------------------------------


def test_every_question_is_in_exactly_one_split_an_eighth_held_out():
    training, held_out = question_codes(False).tolist(), question_codes(True).tolist()
    assert sorted(training + held_out) == list(range(8**6))
    assert len(held_out) == pytest.approx(8**6 / 8, rel=0.01)


def test_both_splits_hold_every_symbol_in_every_place():
    for held_out in (False, True):
        drawn = questions(4000, held_out, generator())
        for place in drawn.T:
            assert set(place.tolist()) == set(range(8))


@given(st.integers(0, 2**31), st.integers(1, 200), st.booleans())
def test_questions_come_from_the_split_that_is_asked_for(seed, n, held_out):
    drawn = questions(n, held_out, generator(seed))
    assert drawn.shape == (n, 6)
    other = set(question_codes(not held_out).tolist())
    assert not [row for row in drawn.tolist() if int("".join(map(str, row)), 8) in other]


@each_task
@pytest.mark.parametrize("examples", [0, 3])
def test_no_held_out_question_is_trained_on(task, examples, held_out):
    inputs, _ = StringTask(task.name, task.function, examples=examples).batch(500, generator())
    trained = asked(inputs.tolist())
    assert len(trained) > 450
    assert not trained & held_out


def test_no_held_out_question_is_pretrained_on(held_out):
    inputs, _ = SkillStreams().batch(2000, generator())
    trained = asked(inputs.tolist())
    assert len(trained) > 7000
    assert not trained & held_out


# ---- training batches -----------------------------------------------------------------------------------------------


@each_task
@pytest.mark.parametrize("examples", [0, 1, 3])
def test_a_row_is_solved_examples_a_question_and_its_answer_which_alone_counts(task, examples):
    inputs, targets = StringTask(task.name, task.function, examples=examples).batch(50, generator(1))
    assert inputs.shape == targets.shape == (50, examples * EXAMPLE + 12)
    for row, target in zip(inputs.tolist(), targets.tolist(), strict=True):
        starts = [example * EXAMPLE for example in range(examples + 1)]
        expected = [token for i in starts for token in [*row[i : i + 6], 8, *plain(task)(row[i : i + 6]), 9]]
        assert row == expected[:-2]  # the last answer and the `;` behind it are not shown
        assert all(symbol < 8 for i in starts for symbol in row[i : i + 6])
        assert target == [IGNORE] * (len(row) - 6) + expected[-7:-1]


def test_examples_in_front_differ_from_the_question_and_from_each_other():
    inputs, _ = StringTask("recall", SKILLS["descending"], examples=2).batch(100, generator())
    first, second, question = inputs[:, :6], inputs[:, 14:20], inputs[:, 28:34]
    for a, b in ((first, second), (first, question), (second, question)):
        assert (a != b).any(dim=1).float().mean() > 0.9


@pytest.mark.parametrize("task", [LADDER["learn"], StringTask("x", SKILLS["add_one"], examples=2), SkillStreams()])
def test_a_batch_depends_on_its_generator_alone(task):
    inputs, targets = task.batch(8, generator(5))
    torch.manual_seed(99)
    again = generator(5)
    assert all(torch.equal(a, b) for a, b in zip(task.batch(8, again), (inputs, targets), strict=True))
    assert not torch.equal(task.batch(8, again)[0], inputs)  # the generator has moved on
    assert not torch.equal(task.batch(8, generator(6))[0], inputs)


# ---- pretraining streams --------------------------------------------------------------------------------------------


def windows(n=600):
    """Pretraining windows as lists: (inputs, targets, place in its example of the first token)."""
    inputs, targets = SkillStreams().batch(n, generator(2))
    assert inputs.shape == targets.shape == (n, CONTEXT)
    rows = zip(inputs.tolist(), targets.tolist(), strict=True)
    return [(row, target, (LENGTH - row.index(8)) % EXAMPLE) for row, target in rows]


def test_windows_start_anywhere_in_an_example():
    starts = [start for _, _, start in windows()]
    assert min(starts.count(start) for start in range(EXAMPLE)) > 600 / EXAMPLE / 2


def test_every_position_of_a_window_is_trained():
    counts = [sum(target[i] != IGNORE for _, target, _ in windows()) for i in range(CONTEXT)]
    assert min(counts) > 600 / 2 * 0.8  # 7 of the 14 tokens of an example count


def test_in_a_window_answers_and_semicolons_count_and_nothing_else():
    for row, target, start in windows():
        for i in range(CONTEXT):
            place = (start + i) % EXAMPLE
            assert (row[i] == 8) == (place == 6)
            assert (row[i] == 9) == (place == 13)
            assert (target[i] != IGNORE) == (6 <= place < 13)
        assert all(t in (IGNORE, token) for t, token in zip(target, row[1:], strict=False))


def test_all_examples_in_a_window_are_solved_by_one_skill():
    seen = []
    for row, _, start in windows():
        examples = [row[i : i + 13] for i in range((-start) % EXAMPLE, CONTEXT - 12, EXAMPLE)]
        assert len(examples) >= 3
        fitting = [name for name in SKILLS if all(PLAIN[name](one[:6]) == one[7:] for one in examples)]
        assert len(fitting) == 1
        seen += fitting
    assert min(seen.count(name) for name in SKILLS) > 100


# ---- scores ---------------------------------------------------------------------------------------------------------


class Oracle(nn.Module):
    """A model that answers by a function of the question, in plain Python, and notes what it was asked."""

    def __init__(self, answer):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = SimpleNamespace(block_size=CONTEXT)
        self.answer, self.prompts = answer, []

    def forward(self, idx):
        logits = torch.zeros(*idx.shape, 10)
        for i, row in enumerate(idx.tolist()):
            equals = len(row) - 1 - row[::-1].index(8)
            self.prompts.append(row[: equals + 1])
            for place, symbol in enumerate(self.answer(row[equals - 6 : equals])[: len(row) - equals]):
                logits[i, equals + place, symbol] = 1
        return logits


@each_task
@pytest.mark.parametrize("examples", [0, 2])
def test_a_model_that_answers_right_scores_one(task, examples):
    assert StringTask(task.name, task.function, examples=examples).score(Oracle(plain(task))) == 1.0


@each_task
def test_a_model_that_gets_one_symbol_wrong_scores_zero(task):
    def almost(question):
        answer = plain(task)(question)
        return [*answer[:-1], (answer[-1] + 1) % 8]

    assert task.score(Oracle(almost)) == 0.0


def test_score_is_the_part_of_questions_answered_right(task):
    task.test_size = 512
    oracle = Oracle(lambda q: PLAIN["descending"](q) if q[0] < 2 else q)
    right = task.score(oracle)
    unsorted = [p for p in oracle.prompts if p[0] < 2 or p[:6] == PLAIN["descending"](p[:6])]
    assert right == pytest.approx(len(unsorted) / 512)
    assert 0.2 < right < 0.3


@pytest.mark.parametrize("examples", [0, 1])
@pytest.mark.parametrize("skill", SKILLS)
def test_score_is_what_greedy_generation_gets_right(skill, examples):
    base, task = load_base("tiny"), StringTask(skill, SKILLS[skill], examples=examples)
    drawn = generator()  # the score draws the questions, then the examples, from one generator
    question = questions(task.test_size, True, drawn)
    prompt = torch.cat([task.prompted(question, drawn), torch.full((len(question), 1), 8)], dim=1)
    written = generate(base, prompt, 6)[:, -6:]
    right = sum(a.tolist() == PLAIN[skill](q.tolist()) for a, q in zip(written, question, strict=True))
    with torch.no_grad():
        assert task.score(base) == right / task.test_size
    assert 0.1 < right / task.test_size <= 1


def test_scores_ask_held_out_questions_behind_examples_from_training(held_out):
    task, oracle = StringTask("recall", SKILLS["descending"], examples=2), Oracle(PLAIN["descending"])
    task.score(oracle)
    assert len(oracle.prompts) == StringTask.test_size
    for prompt in oracle.prompts:
        first, second, question = (tuple(prompt[i : i + 6]) for i in (0, EXAMPLE, 2 * EXAMPLE))
        assert question in held_out
        assert not {first, second} & held_out
        assert prompt[:EXAMPLE] == [*first, 8, *PLAIN["descending"](first), 9]


def test_scores_ask_the_same_questions_every_time():
    first, second = Oracle(PLAIN["reverse"]), Oracle(PLAIN["reverse"])
    EXTRA["reverse"].score(first)
    torch.manual_seed(99)
    EXTRA["reverse"].score(second)
    assert first.prompts == second.prompts


def test_few_examples_are_the_same_few_from_the_training_split(held_out):
    task = EXTRA["recall_few"]
    seen = {tuple(row[:6].tolist()) for seed in range(20) for row in task.batch(32, generator(seed))[0]}
    assert len(seen) == 16
    assert not seen & held_out


def test_skill_accuracies_tell_the_skills_apart():
    accuracies = skill_accuracies(Oracle(PLAIN["add_two"]), examples=1)
    assert accuracies == {"ascending": 0.0, "descending": 0.0, "add_one": 0.0, "add_two": 1.0}
    assert SkillStreams().score(Oracle(PLAIN["add_two"])) == 0.25


def test_show_writes_an_example_as_text():
    assert show(torch.tensor([3, 1, 7, 0, 2, 2, 8, 0, 1, 2, 2, 3, 7, 9])) == "3 1 7 0 2 2 = 0 1 2 2 3 7 ;"

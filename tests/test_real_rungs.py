"""The ladder in real language: what is asked, what is held out, and how an answer is scored."""

import math

import pytest
import torch
from torch import nn

from minitransformer.experiments.runs import describe, old_abilities
from minitransformer.real import examples, find
from minitransformer.real.capitals import CAPITALS, CITIES
from minitransformer.real.rungs import RUNGS, OldLanguage, own_tokenizer

try:
    find("smollm2")
except ValueError as missing:
    pytest.skip(str(missing), allow_module_level=True)

END = 2  # the token that ends a turn


class Knows(nn.Module):
    """Writes the answers that it was told, and the end behind them; every other token is its guess."""

    def __init__(self, told, guess=0, ends=True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.inputs, self.targets = examples(own_tokenizer(), *zip(*told, strict=True))
        self.guess, self.ends = guess, ends

    def forward(self, idx):
        logits = torch.zeros(*idx.shape, 49152)
        logits[..., self.guess] = 1.0
        for row, tokens in enumerate(idx):
            for known, wanted in zip(self.inputs, self.targets, strict=True):
                length = min(len(known), len(tokens))
                if torch.equal(known[:length], tokens[:length]):
                    for place in (wanted[:length] >= 0).nonzero().flatten():
                        if self.ends or wanted[place] != END:
                            logits[row, place, wanted[place]] = 20.0
        return logits


@pytest.mark.parametrize("name", ["real_recall", "real_compose"])
def test_what_is_asked_was_never_told_and_the_seed_deals_it_anew(name):
    told, asked = RUNGS[name].pairs()
    assert not {answer for _, answer in told} & {answer for _, answer in asked}
    assert len(told) + len(asked) == (len(CAPITALS) if name == "real_recall" else len(CITIES))
    assert RUNGS[name].with_seed(1).pairs()[1] != asked
    assert RUNGS[name].with_seed(0).pairs()[1] == asked


def test_what_is_learned_is_wrong_and_is_asked_in_other_words():
    told, asked = RUNGS["real_learn"].pairs()
    assert [answer for _, answer in told] == [answer for _, answer in asked]
    countries = {f"The capital of {country} is": country for country in CAPITALS}
    for (question, answer), (again, _) in zip(told, asked, strict=True):
        assert answer.strip() != CAPITALS[countries[question]]
        assert question != again and countries[question] in again


def test_a_city_is_no_capital():
    assert set(CITIES) <= set(CAPITALS)
    assert not set(CITIES.values()) & set(CAPITALS.values())


@pytest.mark.parametrize("name", RUNGS)
def test_a_model_scores_what_it_knows(name):
    task = RUNGS[name].with_seed(3)
    _, asked = task.pairs()
    third = len(asked) // 3
    found = task.measures(Knows(asked[:third]))
    assert found["score"] == pytest.approx(third / len(asked), abs=1e-6)
    assert found["per_symbol"] > found["score"] - 0.1
    assert 0 < found["bits"] < 20 * math.log2(49152)
    assert task.score(Knows(asked)) == 1.0


def test_an_answer_that_does_not_end_is_wrong():
    task = RUNGS["real_recall"]
    _, asked = task.pairs()
    assert task.score(Knows(asked, ends=False)) == 0.0


def test_only_the_answer_and_its_end_count():
    inputs, targets = RUNGS["real_recall"].batch(8, torch.Generator().manual_seed(0))
    told = {tuple(own_tokenizer().encode(answer).tolist()) for _, answer in RUNGS["real_recall"].pairs()[0]}
    assert inputs.shape == targets.shape
    for row in targets:
        answer = row[row >= 0].tolist()
        assert answer[-1] == END and tuple(answer[:-1]) in told


def test_old_language_is_read_in_bits_a_token():
    uniform = Knows([("none", " such")], guess=0)
    uniform.guess = slice(None)  # the same logit everywhere
    assert OldLanguage().score(uniform) == pytest.approx(math.log2(49152), rel=1e-5)
    assert isinstance(old_abilities(RUNGS["real_recall"]), OldLanguage)


def test_a_rung_and_a_base_that_do_not_speak_the_same_tokens_are_refused():
    with pytest.raises(ValueError, match="does not speak the tokens of task 'real_recall'; use 'smollm2'"):
        describe("real_recall", "lora", 0, "cpu", base="tiny")
    with pytest.raises(ValueError, match="does not speak the tokens of task 'recall'; use 'tiny'"):
        describe("recall", "lora", 0, "cpu", base="smollm2")

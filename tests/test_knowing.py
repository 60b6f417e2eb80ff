"""The bases of lesson 14: what they read, that a seed changes it, and that the experiment goes on where it was stopped."""

import pytest
import torch

from minitransformer.experiments import knowing, records
from minitransformer.experiments.tables import read_csv
from minitransformer.tasks import EXAMPLE, LENGTH, SKILLS, SkillStreams


@pytest.fixture
def short(monkeypatch):
    """A few steps in the place of hours."""
    monkeypatch.setattr(knowing, "READING", 2)
    monkeypatch.setattr(knowing, "PLACES", (1, 2))
    monkeypatch.setattr(knowing, "RATES", [0.1])


def solved_examples(inputs):
    """Question and answer of the first whole example in each window of a batch."""
    for window in inputs.tolist():
        start = window.index(9) + 1  # behind the first `;`
        example = window[start : start + EXAMPLE]
        yield torch.tensor(example[:LENGTH]), torch.tensor(example[LENGTH + 1 : -1])


@pytest.mark.parametrize("kind", knowing.KINDS)
def test_streams_hold_the_skills_of_their_kind_and_no_others(kind):
    skills = knowing.KINDS[kind]
    inputs, _ = SkillStreams(skills).batch(200, torch.Generator().manual_seed(0))
    fits = {name: 0 for name in knowing.KINDS["five skills"]}
    for question, answer in solved_examples(inputs):
        for name, function in knowing.KINDS["five skills"].items():
            fits[name] += torch.equal(function(question[None])[0], answer)
    assert all(fits[name] > 20 for name in skills)
    assert ("compose" in skills) == (fits["compose"] > 20)
    assert set(knowing.KINDS["five skills"]) == {*SKILLS, "compose"}


def test_seed_and_kind_change_the_base_and_nothing_else_does(short):
    one, again, other, five = (
        knowing.make_base(kind, seed).state_dict()
        for kind, seed in (("four skills", 0), ("four skills", 0), ("four skills", 1), ("five skills", 0))
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], five[name]) for name in one)


def test_prompt_leaves_the_base_as_it_was_and_is_measured_at_every_place(short):
    base = knowing.make_base("four skills", 0)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    rows = knowing.prompt_rows("four skills", base, 0)
    assert [row["step"] for row in rows] == [1, 2] and {row["trained"] for row in rows} == {320}
    assert all(torch.equal(weight, before[name]) for name, weight in base.state_dict().items())


def test_experiment_goes_on_where_it_was_stopped(short, tmp_path, monkeypatch):
    knowing.main(["--seeds", "1", "--out", str(tmp_path)])
    first = (tmp_path / "knowing.csv").read_text(encoding="utf-8")
    made = []
    make_base = knowing.make_base
    monkeypatch.setattr(knowing, "make_base", lambda kind, seed: made.append((kind, seed)) or make_base(kind, seed))
    knowing.main(["--seeds", "2", "--out", str(tmp_path)])
    assert made == [("four skills", 1), ("five skills", 1)]
    assert (tmp_path / "knowing.csv").read_text(encoding="utf-8").startswith(first)
    assert len(read_csv(tmp_path / "knowing_bases.csv")) == 4


def test_record_is_read_like_a_study(short, tmp_path, monkeypatch):
    knowing.main(["--seeds", "2", "--out", str(tmp_path)])
    monkeypatch.setattr(records, "RECORDED", tmp_path)
    records.record.cache_clear()
    try:
        line = records.over_steps(records.arm("knowing", "compose", "prompt", "five skills"))
    finally:
        records.record.cache_clear()
    assert [point["step"] for point in line] == [1, 2] and len(line[0]["scores"]) == 2

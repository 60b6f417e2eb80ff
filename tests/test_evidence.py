"""The rules of evidence: each kind of broken evidence is refused."""

import math

import pytest

from minitransformer.experiments import records
from minitransformer.experiments.evidence import (
    SOLVED,
    at_step,
    interval,
    reach,
    reaches,
    state,
    steps_to,
    together,
    verdict,
)


def run(*losses, scores=None, steps=(100, 200, 500, 1000)):
    """Measurements of one run at some steps."""
    scores = scores or [0.5] * len(losses)
    return [
        {"step": step, "loss": loss, "score": score} for step, loss, score in zip(steps, losses, scores, strict=False)
    ]


# ---- when a run is finished -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evaluations", "expected"),
    [
        (run(2.0, 1.5, 1.0, 0.98), "unfinished"),  # the last half took 2 %
        (run(2.0, 1.5, 1.0, 0.995), "finished"),  # half a per cent
        (run(2.0, 1.5, 1.0, 1.3), "finished"),  # rises: more steps of this do not help
        (run(2.0, 1.5, 0.02, 0.016), "finished"),  # next to nothing is left to lose
        (run(2.0, 1.5, 0.02, 0.01), "unfinished"),
        (run(2.0, 1.5, 1.0, 0.1, scores=[0, 0, 0.5, SOLVED]), "solved"),
        (run(2.0, 1.5, 1.0, math.inf), "diverged"),
        (run(2.0, 1.5, 1.0, math.nan), "diverged"),
        (run(1.0), "unfinished"),  # one measurement knows of no fall
        (run(1.0, 1.0, steps=(10, 1000)), "unfinished"),  # none at about half of the steps
        (run(1.0, 1.0, steps=(900, 1000)), "unfinished"),  # too near to tell
        (run(2.08, 2.07, 2.07, 2.069), "finished"),  # a plateau is flat, and says no more than that
    ],
)
def test_a_run_is_finished_when_its_loss_no_longer_falls(evaluations, expected):
    assert state(evaluations) == expected


def test_bits_are_not_solved_by_being_large():
    assert state(
        [{**found, "metric": "bits per character"} for found in run(2.5, 2.3, 2.1, 1.9, scores=[2.5] * 4)]
    ) == ("unfinished")


def test_speed_and_reach_are_two_figures():
    evaluations = run(2, 1, 0.5, 0.4, scores=[0.1, 0.97, 0.96, 0.3])
    assert steps_to(evaluations) == 200
    assert reach(evaluations) == 0.97
    assert steps_to(run(2, 1, scores=[0.1, 0.949])) == math.inf
    assert reach(run(2, 1, scores=[2.5, 2.1]), lower_is_better=True) == 2.1


def test_a_solved_run_counts_at_every_later_budget_and_another_does_not():
    assert at_step(run(1, 0.1, scores=[0.5, 0.995]), 1000)["score"] == 0.995
    assert at_step(run(1, 0.9, scores=[0.5, 0.6]), 1000) is None
    assert at_step(run(1, 0.9, scores=[0.5, 0.6]), 100)["score"] == 0.5


# ---- what two groups of runs prove -------------------------------------------------------------------------------------

LOW, HIGH = [0.20, 0.25, 0.22, 0.30, 0.24], [0.60, 0.72, 0.66, 0.58, 0.70]


def test_an_ordering_with_room_and_intervals_apart_holds_here():
    assert verdict(HIGH, LOW) == "holds here"
    assert verdict(LOW, HIGH) == "does not hold"
    assert verdict(HIGH, LOW, ["finished"] * 10) == "holds here"


@pytest.mark.parametrize(
    ("claimed", "other", "states", "why"),
    [
        ([0.99, 1.0, 1.0, 1.0, 1.0], [0.96, 0.96, 0.95, 0.96, 0.97], (), "no room"),  # both at the ceiling
        ([0.04, 0.05, 0.03, 0.04, 0.04], [0.0] * 5, (), "no room"),  # both at the floor
        (HIGH, LOW, ["finished"] * 9 + ["unfinished"], "undecided"),  # a run was still learning
        (HIGH, LOW, ["finished"] * 9 + ["diverged"], "undecided"),
        (HIGH[:3], LOW[:3], (), "undecided"),  # three seeds
        ([0.2, 0.9, 0.3, 0.8, 0.5], [0.1, 0.8, 0.4, 0.6, 0.3], (), "undecided"),  # the intervals overlap
        ([0.62, 0.63, 0.62, 0.61, 0.62], [0.60, 0.61, 0.60, 0.59, 0.60], (), "holds here"),
    ],
)
def test_each_kind_of_broken_evidence_is_refused(claimed, other, states, why):
    assert verdict(claimed, other, states) == why


def test_a_claimed_margin_must_be_there():
    assert verdict(HIGH, LOW, margin=0.3) == "holds here"
    assert verdict(HIGH, LOW, margin=0.5) == "undecided"


def test_scales_without_a_ceiling_have_room_everywhere():
    assert verdict([0.999] * 5, [0.98] * 5, room=None) == "holds here"
    assert verdict([2.2, 2.3, 2.2, 2.2, 2.3], [2.0, 2.0, 2.1, 2.0, 2.0], room=None) == "holds here"


def test_an_interval_holds_the_mean_and_narrows_with_seeds():
    low, high = interval(LOW)
    assert low < sum(LOW) / 5 < high
    wide = interval([0.0, 1.0] * 3)
    narrow = interval([0.0, 1.0] * 30)
    assert narrow[1] - narrow[0] < 0.5 * (wide[1] - wide[0])
    assert interval([0.4] * 5) == pytest.approx((0.4, 0.4))
    with pytest.raises(ValueError, match="needs at least two"):
        interval([0.4])


# ---- reading a record --------------------------------------------------------------------------------------------------


def rows(rate, seeds, points, finished="finished"):
    """Rows of a record: points are (step, score, kept)."""
    return [
        {"task": "recall", "rate": rate, "seed": seed, "step": step, "score": score, "kept": kept, "loss": 1 - score,
         "finished": finished, "trained": 7}
        for seed in range(seeds)
        for step, score, kept in points
    ]  # fmt: skip


RECORD = [
    *rows(0.1, 5, [(10, 0.5, 0.9), (100, 0.96, 0.3)]),
    *rows(0.01, 5, [(10, 0.2, 0.95), (100, 0.955, 0.8)]),
    *rows(0.001, 5, [(10, 0.1, 0.99), (100, 0.6, 0.97)]),
    *rows(1.0, 2, [(10, 0.9, 0.1), (100, 0.99, 0.1)]),  # tried with two seeds only: never chosen
]


def test_every_budget_is_read_at_the_rate_that_is_best_for_it():
    line = records.over_steps(RECORD)
    assert [(point["step"], point["rate"], point["score"]) for point in line] == [(10, 0.1, 0.5), (100, 0.1, 0.96)]
    assert len(line[0]["scores"]) == 5
    assert records.steps_to_reach(RECORD) == 100
    assert records.steps_to_reach(RECORD, 0.97) == math.inf


def test_what_is_kept_is_compared_at_equal_score_along_the_rate():
    assert records.most_kept(RECORD) == pytest.approx(
        0.8
    )  # not 0.3, the rate that the score chose; not 0.97, too low a score
    assert math.isnan(records.most_kept(RECORD, 0.999))


def test_a_run_that_solved_its_task_counts_at_later_budgets():
    early = [*rows(0.1, 5, [(10, 0.995, 0.5)], finished="solved"), *rows(0.3, 5, [(10, 0.2, 0.5), (100, 0.9, 0.1)])]
    line = records.over_steps(early)
    assert [(point["step"], point["rate"], point["score"]) for point in line] == [(10, 0.1, 0.995), (100, 0.1, 0.995)]


@pytest.mark.parametrize(
    ("values", "states", "expected"),
    [
        ([0.97, 0.96, 0.98, 0.97, 0.99], ["finished"], "holds here"),
        ([0.5, 0.6, 0.55, 0.5, 0.6], [], "does not hold"),
        ([0.5, 0.6, 0.55, 0.5, 0.6], ["finished", "unfinished"], "undecided"),
        ([0.9, 1.0, 0.92, 1.0, 0.93], [], "undecided"),
        ([1.0, 1.0, 1.0], [], "undecided"),
    ],
)
def test_a_score_is_reached_by_the_interval_over_seeds(values, states, expected):
    assert reaches(values, 0.95, states) == expected


@pytest.mark.parametrize(
    ("verdicts", "every", "some"),
    [
        (["no room", "no room"], "no room", "no room"),
        (["no room", "holds here"], "holds here", "holds here"),
        (["holds here", "does not hold"], "depends", "holds here"),
        (["holds here", "undecided"], "undecided", "holds here"),
        (["does not hold", "undecided"], "undecided", "undecided"),
        (["does not hold", "no room"], "does not hold", "does not hold"),
    ],
)
def test_a_claim_of_several_comparisons_is_decided_by_those_with_room(verdicts, every, some):
    assert together(verdicts) == every
    assert together(verdicts, some=True) == some

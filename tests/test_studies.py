"""Studies: the search over rates, the record that is its state, and the executors that runs go to."""

import dataclasses
import json
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from minitransformer.checkpoints import load_base
from minitransformer.experiments import studies
from minitransformer.experiments.runs import InThisProcess, Run, carry_out, describe, executor_of, run_once
from minitransformer.experiments.studies import STUDIES, Study, conduct, needed, place_of, rate_at, wanted
from minitransformer.experiments.tables import number_rows, read_csv
from minitransformer.tasks import EXAMPLE, LADDER, StringTask

STUDY = Study("A question?", [("lora", {"rank": 2})], ("recall",), seeds=4, times=10)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(LADDER["recall"], "steps", 10)
    studies.described.cache_clear()
    yield
    studies.described.cache_clear()


def pretended(best, spread=0.4, solved=math.inf):
    """A stand-in for `run_once`: the score falls with the distance of the rate, in half decades, from the best."""

    def result(run: Run) -> dict:
        off = abs(place_of(run.learning_rate) - best)
        score = max(0.0, 0.9 - spread * off) + 0.001 * run.seed
        places = [step for step in (1, 2, 5, 10, 20, 50, 100) if step <= run.steps]
        found = [
            {"step": step, "score": score, "per_symbol": score, "bits": 1.0, "loss": 1 - score, "kept": 0.5}
            for step in places
        ]
        return {"metric": "accuracy", "trained": 7, "total": 70, "seconds": 1.0, "evaluations": found}

    return result


def carried_out(study, result):
    """Every result of a study, in the order of the runs."""
    results, order = {}, []
    while todo := wanted(study)(results):
        results[todo[0]] = result(todo[0])
        order.append(todo[0])
    return results, order


def test_grid_of_rates_is_half_decades():
    assert [rate_at(place) for place in (-3, -2, -1, 0, 1)] == [0.03, 0.1, 0.3, 1.0, 3.0]
    assert all(place_of(rate_at(place)) == place for place in range(-10, 3))
    assert place_of(0.02) == -3


@pytest.mark.parametrize("best", [-9, -6, -4, -3, -1, 1])
def test_search_goes_on_until_the_best_rate_is_inside_and_gives_it_all_seeds(best):
    results, order = carried_out(STUDY, pretended(best, spread=0.07))
    seeds = Counter(place_of(run.learning_rate) for run in order)
    assert min(seeds) < best < max(seeds)
    assert seeds[best] == 4
    assert {count for place, count in seeds.items() if place != best} == {2}
    assert len(results) == len(order)


def test_where_runs_are_dear_only_the_rate_of_the_whole_run_is_searched():
    """At the early budgets a higher rate is better; its search would widen the grid, and its seeds cost as much again."""

    def result(run):
        found = pretended(place_of(1e-2), spread=0.07)(run)
        early = pretended(place_of(1e-2) + 3, spread=0.07)(run)["evaluations"]
        return found | {"evaluations": [*early[:-1], found["evaluations"][-1]]}

    def rates(study):
        return {place_of(run.learning_rate) - place_of(1e-2) for run in carried_out(study, result)[1]}

    assert max(rates(STUDY)) > 3
    assert rates(dataclasses.replace(STUDY, only_end=True)) == {-1, 0, 1}


def test_search_stops_at_the_ends_of_the_grid():
    _, order = carried_out(STUDY, pretended(-20, spread=0.01))
    assert min(place_of(run.learning_rate) for run in order) == studies.LOWEST


def test_ties_choose_the_middle_and_do_not_widen_the_grid():
    _, order = carried_out(STUDY, pretended(0, spread=0.0))
    middle = place_of(1e-2)  # LoRA's own
    assert {place_of(run.learning_rate) for run in order} == {middle - 1, middle, middle + 1}
    assert Counter(place_of(run.learning_rate) for run in order)[middle] == 4


def test_diverged_runs_are_worst():
    def result(run):
        if place_of(run.learning_rate) > -5:
            last = {"step": 3, "score": 0.0, "loss": math.inf, "kept": 0.0}
            return {"metric": "accuracy", "trained": 7, "total": 70, "seconds": 1.0, "evaluations": [last]}
        return pretended(-5)(run)

    _, order = carried_out(STUDY, result)
    assert Counter(place_of(run.learning_rate) for run in order)[-5] == 4


def test_each_budget_has_a_rate_of_its_own():
    def result(run):
        early, late = pretended(-3)(run), pretended(-5)(run)
        early["evaluations"][4:] = late["evaluations"][4:]
        return early

    results, order = carried_out(STUDY, result)
    seeds = Counter(place_of(run.learning_rate) for run in order)
    assert seeds[-3] == seeds[-5] == 4
    chosen = {row["step"]: row["rate"] for row in studies.rate_rows(STUDY, results) if row["chosen"] == "yes"}
    assert chosen == {1: 0.03, 2: 0.03, 5: 0.03, 10: 0.03, 20: 0.003, 50: 0.003, 100: 0.003}


def test_a_curve_along_the_rate_runs_every_rate_with_all_seeds():
    study = Study("?", [("lora", {})], ("recall",), seeds=3, times=1, spread=range(-2, 2))
    _, order = carried_out(study, pretended(0))
    assert Counter(place_of(run.learning_rate) for run in order) == dict.fromkeys([-6, -5, -4, -3], 3)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_can_be_written_down(name):
    study = STUDIES[name]
    assert study.seeds >= 5 and study.about.endswith((".", "?"))
    for arm in studies.arms_of(study):
        assert needed(arm, {}, study)
    assert "hours" in studies.cost(study, wanted(study)({}), 2)


def test_every_study_leaves_room_for_the_question_that_measures_what_is_kept():
    room = load_base("tiny").config.block_size - (2 * EXAMPLE - 2)  # an example, and a question with its answer
    for name, study in STUDIES.items():
        for method, settings in study.arms:
            assert settings.get("num_virtual_tokens", 0) <= room, f"{name}: {method}"


# ---- the record ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(monkeypatch):
    """Runs that were carried out, in the place of training."""
    ran = []
    monkeypatch.setattr("minitransformer.experiments.runs.run_once", lambda run: ran.append(run) or pretended(-4)(run))
    return ran


def test_record_is_the_state_and_nothing_is_run_twice(ran, tmp_path):
    conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    first = list(ran)
    assert len(first) == 2 * 3 + 2
    written = (tmp_path / "mine.csv").read_text(encoding="utf-8")
    conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    assert ran == first
    assert (tmp_path / "mine.csv").read_text(encoding="utf-8") == written
    lines = written.splitlines(keepends=True)
    (tmp_path / "mine.csv").write_text(
        "".join(lines[: 1 + 7 * 3]), encoding="utf-8"
    )  # three runs of seven measurements
    conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    assert sorted(map(str, ran[len(first) :])) == sorted(map(str, first[3:]))
    assert sorted((tmp_path / "mine.csv").read_text(encoding="utf-8").splitlines()) == sorted(written.splitlines())
    card = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert card["runs"] == 8 and card["command"].endswith("sweep mine") and card["bases"].keys() == {"tiny"}


def test_record_of_another_base_is_not_continued(ran, tmp_path):
    conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    card = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    (tmp_path / "mine.json").write_text(json.dumps({**card, "bases": {"tiny": "other"}}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine.csv was recorded on other bases than these; move it away"):
        conduct("mine", tmp_path, InThisProcess(), 1, STUDY)


def test_interrupted_study_keeps_what_is_finished(monkeypatch, tmp_path):
    calls = []

    def interrupted(run):
        calls.append(run)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return pretended(-4)(run)

    monkeypatch.setattr("minitransformer.experiments.runs.run_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    assert len({(row["rate"], row["seed"]) for row in read_csv(tmp_path / "mine.csv")}) == 3
    conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    assert len(calls) == 8 + 1


def test_unknown_study_is_an_error_that_lists_them(tmp_path):
    with pytest.raises(ValueError, match="there is no study 'nope'; there are: steps, "):
        conduct("nope", tmp_path, InThisProcess(), 1)


# ---- real runs ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(StringTask, "test_size", 32)


def test_a_run_records_everything_over_its_steps(small):
    result = run_once(describe("recall", "ia3", 1, "cpu", times=2))
    assert [found["step"] for found in result["evaluations"]] == [1, 2, 5, 10, 20]
    for found in result["evaluations"]:
        assert found.keys() == {"step", "loss", "score", "per_symbol", "bits", "kept"}
        assert 0 <= found["score"] <= found["per_symbol"] <= 1 and found["bits"] > 0 and 0 <= found["kept"] <= 1
    assert result == {**run_once(describe("recall", "ia3", 1, "cpu", times=2)), "seconds": result["seconds"]}


def test_a_seed_changes_start_batches_slice_and_questions(small):
    for method in ("lora", "intrinsic", "prompt"):
        first, second = (run_once(describe("recall", method, seed, "cpu"))["evaluations"] for seed in (0, 1))
        assert all(a["loss"] != b["loss"] and a["bits"] != b["bits"] for a, b in zip(first, second, strict=True))


def test_a_run_that_diverges_is_a_result(small):
    result = run_once(describe("recall", "full", 0, "cpu", rate=1e9, times=10))
    assert result["evaluations"][-1]["loss"] == math.inf
    assert result["evaluations"][-1]["score"] == 0


def test_any_executor_gives_the_same_results(small):
    runs = [describe("recall", "prompt", seed, "cpu") for seed in range(2)]
    found = []
    for pool, width in ((InThisProcess(), 1), (ThreadPoolExecutor(1), 2)):
        results = {}
        carry_out(lambda known: [run for run in runs if run not in known], results, lambda *_: None, pool, width)
        found.append([results[run]["evaluations"] for run in runs])
    assert found[0] == found[1]


def test_processes_give_the_same_results_as_this_one(small, monkeypatch):
    run = describe("recall", "prompt", 0, "cpu", base="nano")
    with executor_of(2) as pool:
        theirs = pool.submit(run_once, run).result()  # a process of its own has the whole test size
    monkeypatch.undo()
    assert theirs["evaluations"] == run_once(run)["evaluations"]


def test_recorded_rows_are_numbers_again(ran, tmp_path):
    conduct("mine", tmp_path, InThisProcess(), 1, STUDY)
    row = number_rows(read_csv(tmp_path / "mine.csv"))[0]
    assert (type(row["step"]), type(row["score"]), type(row["method"])) == (int, float, str)

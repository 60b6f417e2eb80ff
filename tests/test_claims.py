"""The claims ledger: every entry points to a cell or test that is there, and shows what it shows today."""

import ast
import dataclasses
import json
from pathlib import Path

import pytest

from minitransformer.course import claims
from minitransformer.course.claims import LEDGER, ROOT, VERDICTS, Claim, decided, ledger, measured, read_claims
from minitransformer.experiments import records
from minitransformer.experiments.comparisons import Comparison, decide, figures

CLAIMS = read_claims()


def test_ledger_is_up_to_date():
    assert LEDGER.read_text(encoding="utf-8") == ledger(CLAIMS), "run `python -m minitransformer claims`"


def test_about_forty_claims_and_none_twice():
    assert len(CLAIMS) >= 40
    assert len({claim.statement for claim in CLAIMS}) == len(CLAIMS)


def test_every_tagged_cell_is_in_the_ledger():
    pointed = {claim.where for claim in CLAIMS}
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
            for tag in cell["metadata"].get("tags", []):
                assert not tag.startswith("claim-") or f"{file.name}#{tag}" in pointed, f"{file.name}: {tag}"


def test_cells_that_decide_assert_something():
    for claim in CLAIMS:
        if "#" in claim.where:
            name, tag = claim.where.split("#")
            cells = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
            [cell] = [cell for cell in cells if tag in cell["metadata"].get("tags", [])]
            body = ast.walk(ast.parse("".join(cell["source"])))
            assert any(isinstance(node, ast.Assert) for node in body), f"{claim.where} asserts nothing"


GOOD = next(claim for claim in CLAIMS if "#" in claim.where)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"where": "99_nothing.ipynb#claim-x"}, "no such notebook"),
        ({"where": GOOD.where + "-gone"}, "0 cells have this tag"),
        ({"figure": "no such figure 123"}, "does not hold"),
        ({"figure": ""}, "does not hold"),
        ({"where": "tests/test_claims.py::test_nothing"}, "no such test"),
        ({"where": "tests/test_nothing.py::test_nothing"}, "no such test"),
        ({"where": "", "verdict": "holds"}, "points nowhere"),
    ],
)
def test_an_entry_that_points_nowhere_or_is_stale_is_found(change, message):
    with pytest.raises(ValueError, match=message):
        measured(dataclasses.replace(GOOD, **change))


LEARN = '{ record = "steps", task = "learn", better = "lora", than = "ia3", step = 1000 }'


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('verdict = "perhaps"', "'perhaps' is none of"),
        ('verdict = "holds"\ncolour = "red"', "colour"),
        ('verdict = "computed"', "only there"),
        (f'verdict = "holds"\ncompare = [{LEARN}]', "only there"),
        (f'verdict = "computed"\ncompare = [{LEARN}, {{ record = "steps" }}]', "'b': .*missing"),
        (f'verdict = "computed"\nfigure = "x"\ncompare = [{LEARN}]', "leave out `figure`"),
    ],
)
def test_a_bad_entry_is_named(tmp_path: Path, entry, message):
    file = tmp_path / "claims.toml"
    file.write_text(f'[[claim]]\nsection = "a"\nstatement = "b"\nwhy = "c"\n{entry}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_claims(file)


def test_nothing_is_written_when_an_entry_is_wrong(monkeypatch, tmp_path: Path):
    kept = tmp_path / "CLAIMS.md"
    kept.write_text("kept", encoding="utf-8")
    monkeypatch.setattr(claims, "LEDGER", kept)
    monkeypatch.setattr(claims, "read_claims", lambda: [Claim("a", "b", "holds", "c")])
    with pytest.raises(ValueError, match="points nowhere"):
        claims.write_ledger()
    assert kept.read_text(encoding="utf-8") == "kept"


# ---- verdicts that are computed ------------------------------------------------------------------------------------------

COMPARED = [claim for claim in CLAIMS if claim.compare]


def rows(method, scores, state="finished"):
    return [
        {"task": "learn", "base": "tiny", "method": method, "settings": "{}", "trained": 7, "seed": seed, "rate": 0.1,
         "step": 1000, "score": score, "loss": 1.0, "kept": 0.0, "finished": state}
        for seed, score in enumerate(scores)
    ]  # fmt: skip


LOW, HIGH = [0.2, 0.25, 0.22, 0.3, 0.24], [0.6, 0.72, 0.66, 0.58, 0.7]


@pytest.mark.parametrize(
    ("better", "than", "state", "limit", "expected"),
    [
        (HIGH, LOW, "finished", False, "holds here"),
        (LOW, HIGH, "finished", False, "does not hold"),
        ([0.99] * 5, [1.0] * 5, "solved", False, "no room"),
        (HIGH[:3], LOW[:3], "finished", False, "undecided"),
        (HIGH, LOW, "unfinished", False, "holds here"),  # a claim of a budget
        (HIGH, LOW, "unfinished", True, "undecided"),  # a claim of what can be reached
    ],
)
def test_claim_comparison_and_verdict_agree(monkeypatch, better, than, state, limit, expected):
    recorded = rows("lora", better, state) + rows("ia3", than, state)
    monkeypatch.setattr(records, "record", lambda name: recorded)
    claim = Claim("a", "b", "computed", "c", compare=[Comparison("steps", "learn", "lora", "ia3", 1000, limit=limit)])
    assert decided(claim)[0] == expected
    assert f"| **{expected}** (computed) |" in ledger([claim])


def test_comparison_that_is_not_recorded_is_an_error(monkeypatch):
    monkeypatch.setattr(records, "record", lambda name: rows("lora", HIGH))
    with pytest.raises(ValueError, match="steps has no ia3, learn at 1,000 steps"):
        decided(Claim("a", "b", "computed", "c", compare=[Comparison("steps", "learn", "lora", "ia3", 1000)]))


def test_claim_that_a_score_is_reached_asks_whether_runs_were_still_learning(monkeypatch):
    monkeypatch.setattr(records, "record", lambda name: rows("ia3", LOW, "unfinished") + rows("lora", [0.97] * 5))
    assert decide(Comparison("steps", "learn", "lora", 0.95, 1000)) == "holds here"
    assert decide(Comparison("steps", "learn", "ia3", 0.95, 1000)) == "does not hold"
    assert decide(Comparison("steps", "learn", "ia3", 0.95, 1000, limit=True)) == "undecided"
    assert "ia3 0.24↗ (0.20 to 0.30)" in figures([Comparison("steps", "learn", "ia3", 0.95, 1000)])


def test_an_arm_with_settings_is_another_than_the_default(monkeypatch):
    small = [{**row, "settings": '{"rank": 1, "alpha": 8.0}'} for row in rows("lora", LOW)]
    monkeypatch.setattr(records, "record", lambda name: rows("lora", HIGH) + small)
    one = {"method": "lora", "rank": 1, "alpha": 8.0}
    assert decide(Comparison("steps", "learn", "lora", one, 1000)) == "holds here"
    assert "lora rank 1 alpha 8.0 0.24" in figures([Comparison("steps", "learn", "lora", one, 1000)])


def test_what_is_kept_is_compared_at_equal_score(monkeypatch):
    def run(method, rate, score, kept):
        return [{**row, "rate": rate, "kept": kept} for row in rows(method, [score] * 5)]

    recorded = [*run("lora", 0.1, 0.97, 0.2), *run("lora", 0.01, 0.96, 0.6), *run("lora", 0.001, 0.5, 0.9)]
    recorded += [*run("ia3", 0.1, 0.99, 0.4), *run("dora", 0.1, 0.9, 1.0)]
    monkeypatch.setattr(records, "record", lambda name: recorded)
    assert decide(Comparison("steps", "learn", "lora", "ia3", 1000, measure="kept")) == "holds here"
    with pytest.raises(ValueError, match=r"steps has no dora, kept at a score of 0\.95 on learn"):
        decide(Comparison("steps", "learn", "lora", "dora", 1000, measure="kept"))


def test_of_bits_fewer_are_better_and_they_have_no_ceiling(monkeypatch):
    recorded = rows("lora", [2.0, 2.01, 2.02, 2.0, 2.01]) + rows("ia3", [2.4, 2.41, 2.4, 2.42, 2.4])
    code = [{**row, "task": "code", "base": "docs"} for row in recorded]
    monkeypatch.setattr(records, "record", lambda name: code)
    assert decide(Comparison("code", "code", "lora", "ia3", 1000)) == "holds here"


def test_computed_verdicts_are_words_of_the_ledger():
    assert COMPARED
    assert {decided(claim)[0] for claim in COMPARED} <= set(VERDICTS)

import re
from pathlib import Path

from minitransformer.compare import table
from minitransformer.lesson import RECORDED, recorded_rows
from minitransformer.methods import METHODS
from minitransformer.tasks import LADDER

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_of_the_readme_is_the_recorded_comparison():
    tasks = [*LADDER, "code"]
    assert table(recorded_rows(list(METHODS), tasks)) in README


def test_every_registered_method_is_in_the_recorded_comparison_with_the_budget_of_today():
    rows = recorded_rows(list(METHODS), list(LADDER))
    assert {(row["task"], row["method"]) for row in rows} == {(task, method) for task in LADDER for method in METHODS}


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_lesson_is_in_the_readme():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{notebook.name}" in README


def test_default_rates_have_the_best_mean_score_of_the_recorded_search():
    lines = (RECORDED.parent / "learning_rates.csv").read_text(encoding="utf-8").splitlines()[1:]
    for name, method in METHODS.items():
        means: dict[float, list[float]] = {}
        for line in lines:
            of, task, rate, score, _ = line.split(",")
            if of == name and task in LADDER:
                means.setdefault(float(rate), []).append(float(score))
        best = max(sum(scores) for scores in means.values())
        assert sum(means[method.learning_rate]) >= best - 0.03, f"{name}: {means}"  # 0.01 a rung is a tie

import json
import re
import statistics
from pathlib import Path

import pytest

from minitransformer.checkpoints import load_base
from minitransformer.course.claims import cell_output
from minitransformer.course.lesson import RECORDED, read_rows
from minitransformer.experiments.records import arm, ladder_table, over_steps, rates_at
from minitransformer.experiments.studies import STUDIES
from minitransformer.methods import METHODS
from minitransformer.tasks import LADDER

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_of_the_experiment_is_the_recorded_ladder():
    page = (ROOT / "docs" / "experiment.md").read_text(encoding="utf-8")
    assert ladder_table(list(METHODS), list(LADDER)) in page


@pytest.mark.parametrize(
    ("method", "task", "step", "figure"),
    [
        ("prefix", "compose", 400, "0.22"),
        ("prefix", "compose", 4000, "1.00"),
        ("adapter", "learn", 1000, "0.02"),
        ("adapter", "learn", 10_000, "1.00"),
    ],
)
def test_scores_in_the_readme_are_recorded(method, task, step, figure):
    [point] = [point for point in over_steps(arm("steps", task, method)) if point["step"] == step]
    assert f"{point['score']:.2f}" == figure
    assert figure in README
    assert f"{step:,}" in README


def test_every_registered_method_is_recorded_to_ten_times_the_budget_of_today():
    longest = {(task, method): over_steps(arm("steps", task, method))[-1] for task in LADDER for method in METHODS}
    for (task, _), point in longest.items():
        assert point["step"] == 10 * LADDER[task].steps or set(point["states"]) == {"solved"}
        assert len(point["scores"]) == 5


@pytest.mark.parametrize(("rate", "figures"), [(3e-5, ("0.97", "0.98")), (3e-3, ("0.06",))])
def test_what_full_fine_tuning_keeps_in_the_readme_is_recorded(rate, figures):
    found = rates_at(arm("forgetting", "recall", "full"), 75)[rate]
    means = [f"{statistics.mean(row[name] for row in found):.2f}" for name in ("score", "kept")]
    assert means[-len(figures) :] == list(figures)
    assert all(figure in README for figure in figures)


@pytest.mark.parametrize(("method", "figure"), [("full", "0.07"), ("lora", "0.52")])
def test_what_the_real_model_loses_in_the_readme_was_printed_by_the_lesson(method, figure):
    line = re.search(rf"^ *{method} .*bits on old text", cell_output("17_real_model.ipynb#claim-real-ladder"), re.M)[0]
    assert f"+{figure} bits" in line and figure in README


def test_full_fine_tuning_of_the_real_model_loses_less_than_lora_with_every_seed():
    ends = {}
    for method in ("full", "lora"):
        rows = arm("real", "real_recall", method)
        last = over_steps(rows)[-1]
        ends[method] = {
            row["seed"]: row["kept"] for row in rows if (row["step"], row["rate"]) == (last["step"], last["rate"])
        }
    assert len(ends["full"]) == 5 and all(ends["full"][seed] < ends["lora"][seed] - 0.2 for seed in range(5))


PAGES = ["README.md", "CLAIMS.md", *(str(file.relative_to(ROOT)) for file in sorted((ROOT / "docs").glob("*.md")))]
NOTEBOOKS = [
    str(file.relative_to(ROOT)) for name in ("notebooks", "exercises") for file in (ROOT / name).rglob("*.ipynb")
]


@pytest.mark.parametrize("file", [*PAGES, *sorted(NOTEBOOKS)])
def test_links_lead_somewhere(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".ipynb"):
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"\$[^$]*\$|`[^`]*`", "", text))
    inside = [link for link in links if not link.startswith("https://")]
    assert [link for link in inside if not (ROOT / file).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("lesson", [path.stem for path in sorted((ROOT / "exercises").glob("*"))])
def test_lesson_ends_with_a_link_to_its_exercises(lesson):
    cells = json.loads((ROOT / "notebooks" / f"{lesson}.ipynb").read_text(encoding="utf-8"))["cells"]
    assert f"](../exercises/{lesson}/{lesson}.ipynb)" in "".join(cells[-1]["source"])


def test_every_lesson_is_in_the_readme():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"notebooks/{notebook.name}" in README


def test_default_rates_have_the_best_mean_score_of_the_recorded_search():
    rows = read_rows(RECORDED / "learning_rates.csv")
    for name, method in METHODS.items():
        means: dict[float, list[float]] = {}
        for row in rows:
            if row["method"] == name and row["task"] in LADDER:
                means.setdefault(row["learning_rate"], []).append(row["score"])
        best = max(sum(scores) for scores in means.values())
        assert sum(means[method.learning_rate]) >= best - 0.03, f"{name}: {means}"  # 0.01 a rung is a tie


def test_every_recorded_file_is_listed_with_its_command():
    page = (RECORDED / "README.md").read_text(encoding="utf-8")
    for file in RECORDED.rglob("*.csv"):
        assert f"`{file.relative_to(RECORDED).as_posix()}`" in page
    named = re.findall(r"`([a-z_/]+\.(?:csv|json|png))`", page)
    assert [name for name in named if not (RECORDED / name).exists()] == []
    there = [name for name in STUDIES if (RECORDED / f"{name}.csv").exists()]
    assert [name for name in there if f"sweep {name} --out" not in page] == []


def test_counts_of_the_cheat_sheet_are_those_of_the_methods():
    page = (ROOT / "docs" / "cheat_sheet.md").read_text(encoding="utf-8")
    config = load_base("tiny").config
    rows = [line for line in page.splitlines() if "notebooks/" in line and line.startswith("|")]
    counts = [f"{method.count(config):,}" for method in METHODS.values()]
    assert [row.split(" | ")[4] for row in rows] == counts

"""The guides in docs/: what they tell people to type exists, and their figures are the assignments'."""

import json
import re
import sys
from pathlib import Path

import pytest

from minitransformer.__main__ import parse

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
import grade  # noqa: E402
import late  # noqa: E402

GUIDES = [ROOT / "docs" / name for name in ("teachers.md", "students.md", "teachers_plan.md")]
each_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)


def typed(guide: Path) -> str:
    """What stands in a guide as code: blocks and spans."""
    text = guide.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```.*?^ *```", text, re.DOTALL | re.MULTILINE)
    return "\n".join(
        [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.M))]
    )


@each_guide
def test_commands_exist(guide):
    code = typed(guide)
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name in re.findall(r"\bmake (\w+)", code) if name not in targets] == []
    for call in re.findall(r"-m minitransformer (\w[^`\n]*)", code):
        assert parse(call.split()).command == call.split()[0]


def test_options_of_the_grading_exist_and_are_all_explained():
    code = GUIDES[0].read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(--[a-z-]+)`", code, re.MULTILINE)
    known = {name: action for action in grade.command_line()._actions for name in action.option_strings}
    assert set(explained) == set(known) - {"-h", "--help"}
    for name in re.findall(r"--[a-z-]+", " ".join(re.findall(r'OPTIONS="([^"]*)"', code))):
        assert name in known
    for name, default in re.findall(r"^\| `(--[a-z-]+)` .*\| `?([a-z0-9]+)`? \|$", code, re.MULTILINE):
        if known[name].default is not None:
            assert str(known[name].default) == default, name


def test_rule_on_late_days_in_the_guide_is_one(tmp_path):
    file = tmp_path / "late.toml"
    file.write_text(
        re.search(r"```toml\n(.*?)```", GUIDES[0].read_text(encoding="utf-8"), re.DOTALL)[1], encoding="utf-8"
    )
    rule = late.read_rule(file)
    assert (rule.a_day, rule.at_most, rule.free, rule.more, set(rule.due)) == (0.1, 3, 2, {"ada": 3}, {"06_lora"})


@each_guide
def test_links_and_files_exist(guide):
    text = guide.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("https://")]
    assert [link for link in links if not (guide.parent / link).exists()] == []
    packed = re.findall(r"':!([^']+)'", text)
    assert [path for path in packed if not (ROOT / path).exists()] == []


def test_table_of_points_and_minutes_is_the_assignments():
    rows = {}
    for line in GUIDES[0].read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| (\d\d)[^|]*\| (\d+) \| (\d+) \| (\d+) \|", line):
            rows[match[1]] = tuple(map(int, match.groups()[1:]))
    words = {"twenty": 20, "thirty": 30, "forty": 40}
    for file in sorted((ROOT / "solutions").glob("*/*.ipynb")):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        points = [
            it["metadata"]["nbgrader"]["points"] for it in cells if it["metadata"].get("nbgrader", {}).get("grade")
        ]
        told = re.search(r"about ([\w-]+) minutes", "".join("".join(it["source"]) for it in cells))
        assert told, f"{file.stem} does not say how long it takes"
        minutes = words.get(told[1]) or int(told[1])
        assert rows.pop(file.stem[:2]) == (len(points), sum(points), minutes), file.stem
    assert rows == {}


def test_every_lesson_with_an_assignment_has_goals_and_a_week_in_the_plans():
    text = GUIDES[2].read_text(encoding="utf-8")
    goals = re.findall(r"^\| \[(\d\d\w?)\]\(\.\./notebooks/(\w+)\.ipynb\)", text, re.MULTILINE)
    assert [name for name, file in goals if not file.startswith(f"{name}_")] == []
    assigned = {file.parent.name[:2] for file in (ROOT / "solutions").glob("*/*.ipynb")}
    assert assigned <= {name for name, _ in goals}
    ten_weeks = text.partition("### Ten weeks")[2].partition("\n## ")[0]
    handed_in = set(re.findall(r"\b(\d\d)\b", " ".join(re.findall(r"assignments? ([\d, ]+)", ten_weeks))))
    assert handed_in == assigned

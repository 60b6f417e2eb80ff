"""Points for a learning platform, and answers that are alike."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
import alike  # noqa: E402
import upload  # noqa: E402

TOTALS = """\
student,06_lora,07_dora,total
ada,10,8.5,18.5
José Núñez (5281),7,,7
stranger,3,,3
'=x,1,,1
"""
CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Old Homework (12)
    Points Possible,,,,,10
"Lovelace, Ada",101,u1,ada,A,3
"Nunez, Jose",102,u2,jn,A,4
"Babbage, Charles",103,u3,cb,A,5
"""
MOODLE = (
    "First name;Surname;ID number;Email address;Course total\nAda;Lovelace;9;ada@x.org;1\nJosé;Núñez;5;jn@x.org;2\n"
)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def written(folder: Path, export: str) -> tuple[list[dict[str, str]], list[str]]:
    (folder / "totals.csv").write_text(TOTALS, encoding="utf-8")
    (folder / "export.csv").write_text(export, encoding="utf-8-sig")  # as Canvas writes it
    text, lines = upload.upload(folder / "totals.csv", folder / "export.csv", {"06_lora": "10", "07_dora": "10"})
    return table(text), lines


def test_canvas_gets_its_own_columns_the_points_possible_and_one_column_an_assignment(tmp_path):
    rows, lines = written(tmp_path, CANVAS)
    assert list(rows[0]) == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "06_lora", "07_dora"]
    assert rows[0]["Student"].strip() == "Points Possible" and rows[0]["06_lora"] == rows[0]["07_dora"] == "10"
    assert [(row["ID"], row["06_lora"], row["07_dora"]) for row in rows[1:]] == [
        ("101", "10", "8.5"),
        ("102", "7", ""),
        ("103", "", ""),
    ]
    assert [line.partition(":")[0] for line in lines] == ["stranger", "'=x"]


def test_moodle_gets_who_is_who_and_one_column_an_assignment(tmp_path):
    rows, _ = written(tmp_path, MOODLE)
    assert list(rows[0]) == ["First name", "Surname", "ID number", "Email address", "06_lora", "07_dora"]
    assert [(row["Surname"], row["06_lora"]) for row in rows] == [("Lovelace", "10"), ("Núñez", "7")]


def test_two_folders_of_one_name_get_no_points_by_guess(tmp_path):
    (tmp_path / "totals.csv").write_text("student,06_lora,total\nAda L (1),10,10\nAda L (2),3,3\n", encoding="utf-8")
    (tmp_path / "export.csv").write_text('Student,ID\n"L, Ada",7\n', encoding="utf-8")
    text, lines = upload.upload(tmp_path / "totals.csv", tmp_path / "export.csv", {})
    assert table(text)[1]["06_lora"] == ""
    assert "2 folders have this name" in lines[0]


@pytest.mark.parametrize("export", ["a,b\n1,2\n", ""])
def test_what_is_no_gradebook_is_told(tmp_path, export):
    with pytest.raises(ValueError, match="is it a gradebook"):
        written(tmp_path, export)


LONG = "def f(x, y):\n    # {0}\n    {1} = x + y\n    {1} = {1} * 2\n    return {1}\n"


def class_of(folder: Path, **answers: str) -> list[dict]:
    for student, answer in answers.items():
        file = folder / "results" / student / "06_lora.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"key": "", "rows": [{"task": "f", "answer": answer}]}), encoding="utf-8")
    return alike.alike(alike.answers(folder / "results"))


def test_answers_that_are_alike_but_for_names_and_comments_are_listed(tmp_path):
    rows = class_of(
        tmp_path,
        ada=LONG.format("mine", "total"),
        bob=LONG.format("mine", "total") + "\n\n",
        eve=LONG.format("hm", "z"),
        joe="def f(x, y):\n    total = y\n    total += x\n    return 2 * total\n",
    )
    assert [(row["student"], row["other"], row["alike"], row["students"]) for row in rows] == [
        ("ada", "bob", "same text", 2),
        ("ada", "eve", "same but for names and comments", 3),
        ("bob", "eve", "same but for names and comments", 3),
    ]


def test_short_open_and_unreadable_answers_are_not_compared(tmp_path):
    stub = 'def f(x):\n    raise NotImplementedError("f: write your answer here")\n'
    broken = "def f(x:\n  return\n"
    short = "def f(x):\n    return x\n"
    assert class_of(tmp_path, a=stub, b=stub, c=short, d=short, e=broken, f=broken.replace("x", "y")) == []


def test_the_teachers_own_copy_is_no_student(tmp_path):
    text = LONG.format("mine", "total")
    assert class_of(tmp_path, **{".teacher": text, "ada": text}) == []

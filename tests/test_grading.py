"""Grading a class: what each kind of submission gets, and what it cannot do to the others."""

import csv
import datetime
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import classroom
import pytest
from classroom import OPENED, notebook, put

from minitransformer.course.exercises import examine
from minitransformer.course.running import Limits, NoResult, Outcome

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
import assignments  # noqa: E402
import feedback  # noqa: E402
import grade  # noqa: E402
import late  # noqa: E402
import marking  # noqa: E402
import sandbox  # noqa: E402
import submissions  # noqa: E402
import table  # noqa: E402

WALLED, WHY = sandbox.bubblewrap()
needs_bubblewrap = pytest.mark.skipif(not WALLED, reason=WHY or "bubblewrap works")
LINKS = hasattr(os, "symlink") and os.name == "posix"
needs_links = pytest.mark.skipif(not LINKS, reason="Windows lets only administrators make links")
LIMITS = Limits(seconds=8, memory=1024, disk=16, processes=256 if WALLED and sandbox.countable() else 0)
HIDDEN = f"{classroom.CHECKS['add']}\n### BEGIN HIDDEN TESTS\nassert add(2, 2) == 4\n### END HIDDEN TESTS"
RELEASED = ROOT / "minitransformer" / "course" / "released"


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """A folder with the teacher's copy, which tests what the students' copies do not show."""
    folder = tmp_path_factory.mktemp("hidden")
    put(folder / "tiny" / "tiny.ipynb", classroom.teachers({"add": HIDDEN}))
    return folder


# ---- a class, each notebook mangled in another way ------------------------------------------------------------------


def fake(body: str) -> dict:
    """A notebook in which one of three answers is spoilt."""
    return notebook(add=f"def add(a, b):\n    {body}")


def edited() -> dict:
    """Wrong answers, and all done to the checks that a student can do to a file."""
    easy = {task: "assert True" for task in classroom.POINTS}
    wrong = {"add": "def add(a, b):\n    return 0", "double": "def double(a):\n    return 0"}
    made = notebook(easy, **wrong)
    made["cells"].append(classroom.cell("pass", "bonus", grade=True, points=50))
    for it in made["cells"]:
        it["metadata"].setdefault("nbgrader", {}).update(points=100)
    return made


def both_answers() -> dict:
    """A wrong answer in the cell, the right one in a copy of it above the check."""
    made = fake("return a - b")
    made["cells"].insert(
        classroom.position(made, "add") + 1, classroom.cell(classroom.RIGHT["add"], "add", solution=True)
    )
    return made


def zipped(made: dict) -> bytes:
    """An archive of a student's folder, as a learning platform makes it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("week six/tiny.ipynb", json.dumps(made))
        archive.writestr("__MACOSX/week six/._tiny.ipynb", "nothing")
    return packed.getvalue()


def forgetful() -> dict:
    """An answer that its notebook only has in the kernel."""
    return notebook(Twice="class Twice(torch.nn.Module):\n    def forward(self, x):\n        return factor * x")


WHOLE = "tiny/tiny.ipynb"
MANY = {  # student -> (place, content, points of add, double, Twice, what the note starts with; None: the system or the watcher says it)
    "right": (WHOLE, notebook(), 2, 3, 5, ""),
    "by_hand": ("tiny.ipynb", notebook(double="def double(a):\n    return a"), 2, 0, 5, ""),
    "clone": ("exercises/tiny/tiny.ipynb", notebook(), 2, 3, 5, ""),
    "open": (WHOLE, notebook(**OPENED), 0, 0, 0, ""),
    "lucky": (WHOLE, fake("return 3 if b else 1"), 0, 3, 5, ""),
    "edited": (WHOLE, edited(), 0, 0, 5, "changed: the check of add, the check of double, the check of Twice"),
    "unchecked": (WHOLE, classroom.without_checks(notebook()), 2, 3, 5, "missing: the check of add, the check"),
    "renamed": (WHOLE, classroom.renamed_checks(notebook()), 2, 3, 5, ""),
    "twice": (WHOLE, classroom.twice(notebook()), 2, 3, 5, ""),
    "copied": (WHOLE, both_answers(), 2, 3, 5, "add is answered more than once: cell 4 counts, not cell 3"),
    "bare": (WHOLE, classroom.bare(notebook()), 2, 3, 5, ""),
    "shuffled": (WHOLE, classroom.shuffled(notebook()), 2, 3, 5, "its answers stand in another order"),
    "split": (WHOLE, classroom.split(notebook()), 2, 3, 5, ""),
    "one_cell": (WHOLE, classroom.joined(notebook()), 2, 3, 5, ""),
    "old_ids": (WHOLE, notebook() | {"nbformat_minor": 2}, 2, 3, 5, ""),
    "format_3": (WHOLE, classroom.old_format(notebook()), 2, 3, 5, ""),
    "mark": (WHOLE, b"\xef\xbb\xbf" + json.dumps(notebook()).encode(), 2, 3, 5, ""),
    "conflict": (WHOLE, classroom.conflict(notebook()), 2, 3, 5, "1 merge conflicts are unresolved in the file"),
    "magics": (WHOLE, classroom.with_cells(notebook(), *classroom.MAGICS, "sys.exit()"), 2, 3, 5, ""),
    "copy": ("tiny (1).ipynb", notebook(), 2, 3, 5, "its name is tiny (1).ipynb, not tiny.ipynb"),
    "misnamed": ("homework.ipynb", notebook(), 2, 3, 5, "its name is homework.ipynb, not tiny.ipynb"),
    "archive": ("home.zip", zipped(notebook()), 2, 3, 5, "handed in as an archive, home.zip"),
    "other": (
        WHOLE,
        (RELEASED / "06_lora.ipynb").read_bytes(),
        0,
        0,
        0,
        "not the notebook of tiny: it is the notebook of 06_lora",
    ),
    "stranger": (
        WHOLE,
        {"cells": [classroom.cell("x = 1")]},
        0,
        0,
        0,
        "not the notebook of tiny: none of its tasks is in it",
    ),
    "endless": (
        WHOLE,
        fake("while True: pass"),
        0,
        3,
        5,
        "add: stopped after 8 s, in cell 3, line 2: is there an endless loop?",
    ),
    "exits": (WHOLE, fake("sys.exit()"), 0, 3, 5, ""),
    "crashes": (WHOLE, fake("os._exit(0)"), 0, 3, 5, ""),
    "hungry": (WHOLE, fake("x = []\n    while True: x.append(bytearray(10**7))"), 0, 3, 5, None),
    "talkative": (WHOLE, fake("print('x' * 10**8); return a + b"), 2, 3, 5, ""),
    "forger": (WHOLE, fake("torch.equal = lambda a, b: True; return a + b"), 0, 3, 5, ""),
    "misspelled": (WHOLE, notebook(Twice=classroom.RIGHT["Twice"].replace("forward", "froward")), 2, 3, 0, ""),
    "forgetful": (WHOLE, forgetful(), 2, 3, 0, ""),
    "broken": (WHOLE, notebook(double="def double(a)\n    return 2 * a"), 2, 0, 5, ""),
    "gone": (WHOLE, notebook(double="pass"), 2, 0, 5, "double was not found: no cell defines `double`"),
    "picture": (WHOLE, "\x89PNG", 0, 0, 0, "not a notebook: it is no notebook"),
    "list": (WHOLE, "[]", 0, 0, 0, "not a notebook: it is JSON, but no notebook"),
    "page": (WHOLE, "<html></html>", 0, 0, 0, "not a notebook: it is a web page: download the notebook itself"),
    "empty": (WHOLE, "", 0, 0, 0, "not a notebook: the file is empty"),
    "half": (WHOLE, json.dumps(notebook())[:900], 0, 0, 0, "not a notebook: it is cut off or damaged"),
    "absent": ("notes.txt", "sorry", 0, 0, 0, "nothing handed in: no tiny.ipynb, but notes.txt"),
}
if WALLED:  # elsewhere it would do what it says
    vandal = "import shutil; shutil.rmtree(os.environ['HOME'], ignore_errors=True); shutil.rmtree('{}', ignore_errors=True); return a + b"
    MANY["vandal"] = (WHOLE, vandal, 2, 3, 5, "")


@pytest.fixture(scope="module")
def graded(tmp_path_factory, hidden):
    """A class, graded by the command: its rows by student, the folder of the results, the folder of the class."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out")
    for student, (place, content, *_) in MANY.items():
        put(folder / student / place, fake(content.format(folder / "right")) if student == "vandal" else content)
    if LINKS:
        (folder / "link").mkdir()
        (folder / "link" / "tiny").symlink_to(folder / "right" / "tiny")
    arguments = [str(folder), "--out", str(out), "--hidden", str(hidden), "--timeout", "8", "--memory", "1024"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox.Footprint, "take", lambda self: {})  # without walls it would look at this whole disk
        assert grade.main([*arguments, *([] if WALLED else ["--no-bubblewrap"])]) == 0
    assert (folder / "right" / "tiny" / "tiny.ipynb").exists()
    return rows_of(out), out, folder


def rows_of(out: Path, name: str = "grades.csv") -> dict[str, dict[str, str]]:
    with (out / name).open(encoding="utf-8", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def points(row: dict[str, str], assignment: str = "tiny") -> list[float]:
    return [float(row[f"{assignment}/{task}"]) for task in classroom.POINTS]


@pytest.mark.parametrize("student", [*MANY, pytest.param("link", marks=needs_links)])
def test_what_each_submission_gets(graded, student):
    row = graded[0][student]
    *earned, note = MANY[student][2:] if student in MANY else (0, 0, 0, "not graded: a link that leads out of")
    assert points(row) == earned, row
    assert (float(row["total"]), float(row["of"]), row["assignment"]) == (sum(earned), 10, "tiny")
    assert note is None or (row["note"].startswith(note) and bool(row["note"]) == bool(note))


@pytest.mark.parametrize("student", ["bare", "magics", "exits", "misspelled", "shuffled", "half"])
def test_progress_agrees_with_the_grader(graded, hidden, student):
    released = assignments.read_teachers(hidden / "tiny" / "tiny.ipynb").assignment
    rows, _ = examine(released, graded[2] / student / WHOLE)
    assert [row.points for row in rows] == points(graded[0][student])
    kept = json.loads((graded[1] / "results" / student / "tiny.json").read_text(encoding="utf-8"))
    assert [(row.state, row.message) for row in rows] == [(row["state"], row["message"]) for row in kept["rows"]]


def test_every_student_gets_a_page_that_says_what_was_expected(graded):
    rows, out, _ = graded
    pages = {student: (out / "feedback" / student / "tiny.html").read_text(encoding="utf-8") for student in rows}
    assert "<strong>right</strong>" in pages["right"] and "tiny: 10 of 10 points" in pages["right"]
    assert "Task (build): add" in pages["open"] and "<summary>Hint 1</summary>" in pages["open"]
    assert "Think." in pages["open"] and "Think." not in pages["right"]  # hints of what is right are of no use
    assert "stopped after 8 s" in pages["endless"] and "KeyboardInterrupt" not in pages["endless"]
    assert "nothing handed in" in pages["absent"]
    assert "<math" in pages["open"] and 'class="k">def' in pages["by_hand"]  # mathematics and colours are in the page
    for page in pages.values():
        assert "<script" not in page and "http" not in page.replace("http://www.w3.org/1998/Math/MathML", "")


def test_pages_do_not_show_hidden_tests(graded):
    text = (graded[1] / "feedback" / "lucky" / "tiny.html").read_text(encoding="utf-8")
    assert "the check fails" in text and "HIDDEN" not in text and "(2, 2)" not in text.replace("</span>", "")


# ---- walls and limits -----------------------------------------------------------------------------------------------


def outcome(body: str, walled: bool = bool(WALLED), limits: Limits = LIMITS) -> Outcome:
    """What becomes of an answer that does this before it is right."""
    body = body.replace("\n", "\n    ")
    made = fake(f"{body}\n    return a + b")
    toy = assignments.read_assignment(notebook(**OPENED)["cells"], "tiny")
    rows, _ = marking.evaluate(toy, json.dumps(made).encode(), limits, sandbox.Watched(limits, walled), {"add"})
    return rows[0]


@needs_bubblewrap
def test_inside_bubblewrap_there_is_nothing_to_read_write_or_reach(tmp_path):
    secret = put(tmp_path / "gradebook.db", "all the grades")
    tries = f"""import os, socket, subprocess
def result(work):
    try:
        return work()
    except Exception as error:
        return type(error).__name__
print(result(lambda: open({str(secret)!r})))
print([os.path.exists(path) for path in {[str(ROOT / "tests"), str(ROOT / "solutions"), "/var"]!r}])
print(result(lambda: open('/written', 'w')))
print(result(lambda: open({str(ROOT / "minitransformer" / "written")!r}, 'w')))
print(result(lambda: socket.create_connection(('127.0.0.1', 22), timeout=1)))
print(result(lambda: socket.create_connection(('192.0.2.1', 80), timeout=1)))
print(len([name for name in os.listdir('/proc') if name.isdigit()]) < 6)
print(sum(len(os.environ.get(name, '')) for name in ('SSH_AUTH_SOCK', 'PYTHONPATH', 'LOGNAME')))
print(result(lambda: subprocess.run(['bwrap', '--unshare-user', '--bind', '/', '/', 'true'], check=True)))
print(result(lambda: open(os.path.join(os.environ['HOME'], 'mine'), 'w').write('this I may')))"""
    lines = outcome(tries).printed.splitlines()[:10]
    assert lines[:4] == ["FileNotFoundError", "[False, False, False]", "OSError", "OSError"]
    assert lines[4:8] == ["ConnectionRefusedError", "OSError", "True", "0"]
    assert lines[8].endswith("Error") and lines[9] == "10"
    assert secret.read_text() == "all the grades" and not (ROOT / "minitransformer" / "written").exists()


def test_too_many_processes_end_only_the_task():
    start = "import subprocess\nchildren = [subprocess.Popen([sys.executable, '-Sc', 'input()'], stdin=-1) for _ in range(40)]\ntime.sleep(30)"
    assert outcome(start).message == "stopped: more than 32 processes"


@pytest.mark.parametrize("body", ["open('full', 'wb').write(bytes(2 * 10**7))", "os.mkdir('d', 0); os.chmod('.', 0)"])
def test_what_a_task_leaves_on_the_disk_costs_no_other_task(body):
    add = f"def add(a, b):\n    try:\n        {body}\n    except OSError:\n        pass\n    return a + b"
    made = notebook(add=add, double="def double(a):\n    time.sleep(1)  # for the watcher\n    return 2 * a")
    toy = assignments.read_assignment(notebook(**OPENED)["cells"], "tiny")
    rows, _ = marking.evaluate(toy, json.dumps(made).encode(), LIMITS, sandbox.Watched(LIMITS, bool(WALLED)))
    assert [row.state for row in rows[1:]] == ["done", "done"]


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name are found in Linux's /proc")
@pytest.mark.parametrize(
    ("make", "message"),
    [("os.memfd_create('x')", "MB of memory"), ("os.open('x', os.O_RDWR | os.O_CREAT); os.unlink('x')", "MB of files")],
)
def test_what_files_without_a_name_hold_counts(make, message):
    source = f"kept = []\nfor _ in range(200):\n    fd = {make}\n    os.write(fd, bytes(2**23))\ntime.sleep(20)"
    assert outcome(source).message.endswith(message)


@pytest.mark.skipif(os.name != "posix", reason="paths on Windows are never so deep")
def test_folders_a_thousandfold_deep_neither_escape_the_limit_nor_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    deep = "for _ in range(2500): os.mkdir('d'); os.chdir('d')\ntime.sleep(20)"
    assert "MB of files" in outcome(deep).message
    assert not list(tmp_path.iterdir())


def test_without_bubblewrap_it_refuses_says_how_to_get_it_and_goes_on_when_told_so(
    tmp_path, hidden, monkeypatch, capsys
):
    ran = pretend(monkeypatch)
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: ("", "bubblewrap (bwrap) is not installed"))
    monkeypatch.setattr(sandbox.Footprint, "take", lambda self: {})
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook())
    call = [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(hidden)]
    assert grade.main(call) == 2 and not ran and not (tmp_path / "out").exists()
    told = capsys.readouterr().err
    assert (
        "bubblewrap (bwrap) is not installed" in told and "apt install bubblewrap" in told and "--no-bubblewrap" in told
    )
    assert grade.main([*call, "--no-bubblewrap"]) == 0 and ran
    assert "CAN read and change every file that you can" in capsys.readouterr().out


def test_what_a_submission_changes_outside_its_scratch_folder_is_told(tmp_path, monkeypatch):
    """Without walls: as `!pip install` in an answer does."""
    site = put(tmp_path / "python" / "package.py", "x = 1")
    watched = sandbox.Footprint((tmp_path / "python",), (tmp_path / "python" / "skipped",))
    assert watched.take().keys() == {str(site)}
    grading = grade.Grading(tmp_path / "out", LIMITS, False, 1, None, watched)
    result = marking.Result()
    grading.look_around(result)
    assert result.notes == []
    put(tmp_path / "python" / "added.py", "y = 2")
    put(tmp_path / "python" / "skipped" / "log", "ours")
    site.unlink()
    grading.look_around(result)
    [note] = result.notes
    assert (
        note.startswith("LOOK: ") and f"{tmp_path / 'python' / 'added.py'} is new" in note and f"{site} is gone" in note
    )


def test_limits_are_shown():
    text = grade.protection("", Limits(20, 2048))
    assert "20 s, 2048 MB of memory, 256 MB of files, 32 processes" in text


@needs_bubblewrap
def test_nothing_private_may_lie_where_submissions_can_read(tmp_path, hidden, capsys):
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook())
    inside = Path(sandbox.python_folders()[0]) / "grades of a test"
    assert grade.main([str(tmp_path / "class"), "--out", str(inside), "--hidden", str(hidden)]) == 2
    assert "which submissions can read; choose another place" in capsys.readouterr().err and not inside.exists()


@needs_bubblewrap
def test_walls_stand_when_python_is_called_by_a_path_with_dots():
    dots = os.path.join(os.path.dirname(sys.executable), "..", os.path.basename(os.path.dirname(sys.executable)))
    code = "import sandbox; print(sandbox.bubblewrap())"
    command = [os.path.join(dots, os.path.basename(sys.executable)), "-c", code]
    done = subprocess.run(command, cwd=ROOT / "grading", capture_output=True, text=True, check=True)
    assert done.stdout.endswith(", '')\n"), done.stdout


# ---- the command ----------------------------------------------------------------------------------------------------


def pretend(monkeypatch, earned: object = None) -> list[str]:
    """Let nothing run: every task is right, or what `earned` says. Returns the students that were marked, as they come."""
    ran = []

    def mark(submission, limits, place, only=None):
        ran.append(submission.student)
        of = submission.teachers.points
        if submission.notebook is None:
            return marking.Result(
                [{"task": name, "state": "not run", "of": of[name]} for name in of], of, ["nothing handed in"], False
            )
        state = "done" if earned is None or submission.student == ".teacher" else earned(submission)
        rows = [Outcome(name, state, of=value).__dict__ for name, value in of.items() if only is None or name in only]
        return marking.Result(rows, of)

    monkeypatch.setattr(grade, "mark", mark)
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: ("bwrap", ""))
    monkeypatch.setattr(sandbox, "visible", lambda path: "")
    return ran


@pytest.fixture
def two(tmp_path):
    """Teacher's copies of two assignments whose tasks have the same names, and a class that handed in both."""
    for name in ("tiny", "small"):
        put(tmp_path / "two" / name / f"{name}.ipynb", classroom.teachers())
        for student in ("ada", "bob"):
            put(tmp_path / "class" / student / f"{name}.ipynb", notebook())
    return [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(tmp_path / "two")]


def test_interrupted_grading_goes_on_where_it_stopped(tmp_path, hidden, monkeypatch, capsys):
    ran = pretend(monkeypatch)
    for student in ("ada", "bob", "eve", "=1+1"):
        put(tmp_path / "class" / student / "tiny.ipynb", notebook(add=f"add = '{student}'"))

    class Pressed(grade.tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    call = [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(hidden), "--jobs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(grade, "tqdm", Pressed)
        assert grade.main(call) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert 1 < len(ran)  # the teacher's copy and at least one student
    kept = {file: file.read_bytes() for file in (tmp_path / "out" / "results").glob("*/*.json")}
    assert grade.main(call) == 0
    assert sorted(set(ran)) == [".teacher", "=1+1", "ada", "bob", "eve"]
    assert all(file.read_bytes() == text for file, text in kept.items())
    grades = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    assert grades.count("\n") == 5 and "'=1+1" in grades
    total = len(ran)
    assert grade.main(call) == 0 and len(ran) == total  # nothing has changed: nothing runs
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook(add="add = 'corrected'"))
    assert grade.main(call) == 0 and ran[total:] == ["ada"]
    assert grade.main([*call, "--again"]) == 0 and len(ran) == total + 5
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_a_second_call_keeps_all_rows_and_the_teachers_points_and_says_so(tmp_path, two, monkeypatch, capsys):
    pretend(monkeypatch)
    assert grade.main(two) == 0
    file = tmp_path / "out" / "grades.csv"
    text = file.read_text(encoding="utf-8")
    by_hand = [
        line.replace(",2,3,5,10,,10,", ",1.5,3,5,10,,10,") if line.startswith("ada,tiny") else line
        for line in text.splitlines()
    ]
    assert by_hand != text.splitlines()
    file.write_text("\n".join(by_hand) + "\n", encoding="utf-8")
    capsys.readouterr()
    assert grade.main([*two, "--assignment", "tiny"]) == 0
    told = capsys.readouterr().out
    assert "kept, the teacher's: ada, tiny/add: 1.5 (the check gives 2)" in told
    assert "changed: ada, tiny: 10 -> 9.5" in told and "2 other rows were left as they are" in told
    assert grade.main([*two, "--student", "bob", "--assignment", "small"]) == 0
    with file.open(encoding="utf-8", newline="") as opened:
        rows = {(row["student"], row["assignment"]): row for row in csv.DictReader(opened)}
    assert {key: row["total"] for key, row in rows.items()} == {
        ("ada", "small"): "10", ("ada", "tiny"): "9.5", ("bob", "small"): "10", ("bob", "tiny"): "10"
    }  # fmt: skip
    assert (rows["ada", "tiny"]["tiny/add"], rows["ada", "tiny"]["small/add"]) == ("1.5", "")
    page = (tmp_path / "out" / "feedback" / "ada" / "tiny.html").read_text(encoding="utf-8")
    assert "tiny: 9.5 of 10 points" in page and "The teacher gives 1.5 here; the check gives 2." in page
    totals = (tmp_path / "out" / "totals.csv").read_text(encoding="utf-8")
    assert totals == "student,small,tiny,total\nada,10,9.5,19.5\nbob,10,10,20\n"


def test_one_task_is_run_again_and_the_others_keep_what_they_have(tmp_path, two, monkeypatch):
    pretend(monkeypatch)
    assert grade.main(two) == 0
    pretend(monkeypatch, lambda submission: "wrong")
    assert grade.main([*two, "--task", "double", "--assignment", "tiny"]) == 0
    assert points(rows_of(tmp_path / "out")["ada"]) == [2, 0, 5]


def test_what_was_not_handed_in_does_not_count_as_graded(tmp_path, hidden, monkeypatch, capsys):
    pretend(monkeypatch)
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook())
    (tmp_path / "class" / "bob").mkdir()
    assert grade.main([str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(hidden)]) == 0
    assert "1 graded, 0 of them with a note; 1 not handed in" in capsys.readouterr().out


def test_what_the_machine_cannot_run_is_no_students_zero(tmp_path, hidden, monkeypatch, capsys):
    def breaks(submission):
        raise NoResult("no process")

    pretend(monkeypatch, breaks)
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook())
    assert grade.main([str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(hidden)]) == 1
    row = rows_of(tmp_path / "out")["ada"]
    assert row["total"] == "" and row["note"].startswith("NOT GRADED")
    assert not (tmp_path / "out" / "results" / "ada").exists()
    assert "0 graded" in capsys.readouterr().out


def test_teachers_copy_that_fails_its_own_checks_stops_the_grading(tmp_path, monkeypatch, capsys):
    put(tmp_path / "teacher" / "tiny" / "tiny.ipynb", classroom.teachers({"add": "assert add(1, 1) == 3, 'no'"}))
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook())
    monkeypatch.setattr(sandbox.Footprint, "take", lambda self: {})
    call = [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(tmp_path / "teacher")]
    assert grade.main([*call, *([] if WALLED else ["--no-bubblewrap"])]) == 2
    assert "the teacher's own copy of tiny does not get its points for add (no)" in capsys.readouterr().err
    assert not (tmp_path / "out" / "grades.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is not a folder"),
        (["flat"], "06_lora/06_lora.ipynb"),
        ([""], "SUBMISSIONS is empty; name a folder: make grade SUBMISSIONS=folder"),
        (["flat", "--assignment", "tin"], "--assignment is 'tin'; there is"),
        (["class", "--student", "eve"], "--student is 'eve'; there is ada"),
        (["class", "--task", "triple"], "--task is 'triple'; no assignment"),
        (["flat", "--out", "flat/grades"], "lies within the submissions"),
        (["flat", "--jobs", "0"], "--jobs is 0"),
        (["flat", "--hidden", "flat"], "holds no teacher's copies"),
        (["flat", "--late", "nowhere.toml"], "holds no rule on late days"),
    ],
)
def test_wrong_calls_are_told_what_is_right(tmp_path, hidden, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "flat" / "ada.ipynb", notebook())
    put(tmp_path / "class" / "ada" / "tiny.ipynb", notebook())
    given = [] if "--hidden" in arguments else ["--hidden", str(hidden)]
    assert grade.main([*arguments, *given]) == 2
    assert message in capsys.readouterr().err


# ---- what learning platforms give -----------------------------------------------------------------------------------


def archive(file: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(file, "w") as packed:
        for name in names:
            packed.writestr(name, json.dumps(notebook()))
    return file


@pytest.mark.parametrize(
    "names",
    [
        ["Ada Lovelace_5281_assignsubmission_file_/tiny.ipynb", "Bob_77_assignsubmission_file_/tiny (2).ipynb"],
        ["Ada Lovelace_5281_9911_tiny.ipynb", "Bob_LATE_77_9912_tiny-1.ipynb"],
        ["class/Ada Lovelace/tiny.ipynb", "class/Bob/tiny/tiny.ipynb", "__MACOSX/class/._x.ipynb"],
    ],
    ids=["Moodle", "Canvas", "a folder"],
)
def test_an_archive_of_a_learning_platforms_is_a_class(tmp_path, hidden, names):
    students = submissions.find_students(archive(tmp_path / "all.zip", names), tmp_path / "stage")
    found = submissions.find_submissions(students, assignments.teachers_copies(hidden))
    assert [(it.student, it.notebook is not None) for it in found] == [("Ada Lovelace", True), ("Bob", True)]


def test_two_students_of_one_name_are_two(tmp_path):
    names = [f"Ada Lovelace_{number}_assignsubmission_file_/tiny.ipynb" for number in (5281, 77)]
    students = submissions.find_students(archive(tmp_path / "all.zip", names), tmp_path / "stage")
    assert sorted(students) == ["Ada Lovelace", "Ada Lovelace (77)"]


def test_an_archive_cannot_write_outside_or_without_end(tmp_path, monkeypatch):
    submissions.unpack(archive(tmp_path / "a.zip", ["../../out.ipynb", "/abs.ipynb"]), tmp_path / "in" / "here")
    assert {file.name for file in (tmp_path / "in" / "here").iterdir()} == {"out.ipynb", "abs.ipynb"}
    monkeypatch.setattr(submissions, "UNPACKED", 10)
    with pytest.raises(ValueError, match="it holds more than"):
        submissions.unpack(tmp_path / "a.zip", tmp_path / "there")


def test_a_link_to_another_file_is_not_followed(tmp_path):
    other = put(tmp_path / "ada" / "tiny.ipynb", notebook())
    link = tmp_path / "link.ipynb"
    try:
        link.symlink_to(other)
    except OSError:
        pytest.skip("this system makes no links")
    with pytest.raises(ValueError, match="not a plain file"):
        submissions.read_submission(link)


# ---- tables, late days, pages ---------------------------------------------------------------------------------------


def result(state: str = "done", **options: object) -> marking.Result:
    return marking.Result([Outcome("add", state, of=2.0).__dict__], {"add": 2.0}, **options)


def test_a_table_that_a_spreadsheet_has_saved_is_read(tmp_path):
    first = table.Table.read(tmp_path)
    first.save({("ada", "tiny"): result(), ("=eve", "tiny"): result("wrong")}, {})
    text = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    saved = (
        text.replace(",", ";")
        .replace("ada;tiny;2;2;;2;2;", "ada;tiny;1,5;2;;2,0;2;")
        .replace("note\n", "note;remark\n")
    )
    put(tmp_path / "grades.csv", "\ufeff" + saved.replace("2,0;2;\n", "2,0;2;;late talk\n"))
    again = table.Table.read(tmp_path)
    assert again.edits == {("ada", "tiny"): {"tiny/add": "1,5", "remark": "late talk"}}
    again.save({("ada", "tiny"): result()}, {})
    rows = rows_of(tmp_path)
    assert (rows["ada"]["tiny/add"], rows["ada"]["total"], rows["ada"]["remark"]) == ("1,5", "1.5", "late talk")
    assert rows["'=eve"]["total"] == "0"


def test_a_table_of_somebody_elses_is_not_written_over(tmp_path):
    file = put(tmp_path / "grades.csv", "name,grade\nada,1\n")
    with pytest.raises(assignments.GradingError, match="has no columns student and assignment"):
        table.Table.read(tmp_path)
    assert file.read_text() == "name,grade\nada,1\n"


DUE = datetime.datetime(2027, 3, 1, 12)
RULE = "a_day = 0.1\nat_most = 3\nfree = 1\n[due]\ntiny = 2027-03-01T12:00:00\nsmall = 2027-04-01T12:00:00\n[more]\nada = 1\n"


@pytest.mark.parametrize(
    ("student", "hours", "days", "share"),
    [
        ("bob", -1, 0, 1),
        ("bob", 0, 0, 1),
        ("bob", 1, 1, 1),
        ("bob", 25, 2, 0.9),
        ("bob", 96, 4, 0.7),
        ("bob", 97, 5, 0),
        ("ada", 49, 3, 0.9),
    ],
)
def test_late_days_cost_what_the_rule_says(tmp_path, student, hours, days, share):
    rule = late.read_rule(put(tmp_path / "late.toml", RULE))
    handed_in = (DUE + datetime.timedelta(hours=hours)).timestamp()
    found = late.lateness({(student, "tiny"): result(time=handed_in)}, rule)
    own = found.get((student, "tiny"), late.Late())
    assert own.days == days and own.share == pytest.approx(share)
    row = table.Table(tmp_path).row((student, "tiny"), result(), own)
    assert float(row["total"]) == pytest.approx(2 * share) and row["points"] == "2"
    assert ("late" in row["note"]) == (days > 0)


def test_free_days_are_for_all_assignments_and_go_to_the_earliest_deadline(tmp_path):
    rule = late.read_rule(put(tmp_path / "late.toml", RULE))
    times = {"tiny": DUE + datetime.timedelta(hours=1), "small": datetime.datetime(2027, 4, 1, 13)}
    found = late.lateness({("bob", name): result(time=time.timestamp()) for name, time in times.items()}, rule)
    assert {name: found["bob", name].share for name in times} == {"tiny": 1.0, "small": 0.9}
    assert "1 day late (due 01 March 2027, 12:00), 1 free" in found["bob", "tiny"].line


def test_a_rule_with_a_wrong_share_is_told(tmp_path):
    with pytest.raises(assignments.GradingError, match="a_day is 10; it is a share"):
        late.read_rule(put(tmp_path / "late.toml", "a_day = 10\n[due]\ntiny = 2027-03-01T12:00:00\n"))


def test_the_time_that_nbgrader_noted_is_the_time_of_handing_in(tmp_path, hidden):
    file = put(tmp_path / "tiny" / "tiny.ipynb", notebook())
    submission = submissions.Submission("ada", assignments.read_teachers(hidden / "tiny" / "tiny.ipynb"), file)
    assert marking.handed_in_at(submission) == file.stat().st_mtime
    put(tmp_path / "tiny" / "timestamp.txt", "2027-03-01 12:00:00 UTC")
    assert marking.handed_in_at(submission) == DUE.replace(tzinfo=datetime.UTC).timestamp()


def test_what_a_student_wrote_is_text_on_the_page():
    toy = assignments.read_assignment(notebook(**OPENED)["cells"], "tiny")
    rows = [Outcome(name, "wrong", "<b>no</b>", "x = '<script>'", "<i>", 1.0).__dict__ for name in classroom.POINTS]
    page = feedback.page("<eve>", toy, marking.Result(rows, dict(classroom.POINTS)), {}, [])
    assert "<eve>" not in page and "<script>" not in page and "<b>" not in page and "<i>" not in page

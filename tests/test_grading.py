"""Grading a class: what each kind of submission gets, and what it cannot do to the others."""

import csv
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
import assignments  # noqa: E402
import grade  # noqa: E402
import marking  # noqa: E402
import sandbox  # noqa: E402
import submissions  # noqa: E402

WALLED, WHY = sandbox.bubblewrap()
needs_bubblewrap = pytest.mark.skipif(not WALLED, reason=WHY or "bubblewrap works")
LINKS = hasattr(os, "symlink") and os.name == "posix"
needs_links = pytest.mark.skipif(not LINKS, reason="Windows lets only administrators make links")
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
LIMITS = sandbox.Limits(seconds=12, memory=512)


def cell(name: str, source: str, **marks) -> nbformat.NotebookNode:
    default = {"grade": False, "locked": True, "solution": False, "task": False, "schema_version": 3}
    return nbformat.v4.new_code_cell(source, metadata={"nbgrader": {**default, "grade_id": name, **marks}})


def notebook(add: str = "return a + b", double: str = "return 2 * a", **changed: str) -> nbformat.NotebookNode:
    """Somebody's copy of an assignment of two tasks, of 2 and 3 points."""
    sources = {
        "setup": "import os, sys, time",
        "add": f"def add(a, b):\n    ### BEGIN SOLUTION\n    {add}\n    ### END SOLUTION",
        "check_add": "assert add(1, 2) == 3, 'add: the sum is wrong'",
        "double": f"def double(a):\n    ### BEGIN SOLUTION\n    {double}\n    ### END SOLUTION",
        "check_double": "assert double(4) == 8, 'double: wrong'\nprint('warned', file=sys.stderr)",
        **changed,
    }
    points = {"check_add": {"grade": True, "points": 2}, "check_double": {"grade": True, "points": 3}}
    answers = {name: {"solution": True, "locked": False} for name in ("add", "double")}
    made = nbformat.v4.new_notebook()
    made.cells = [cell(name, source, **points.get(name, answers.get(name, {}))) for name, source in sources.items()]
    made.cells.insert(1, nbformat.v4.new_markdown_cell("Answer both."))
    return made


def put(folder: Path, student: str, content: nbformat.NotebookNode | str, place: str = "tiny/tiny.ipynb") -> Path:
    file = folder / student / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else nbformat.writes(content), encoding="utf-8")
    return file


def edited() -> nbformat.NotebookNode:
    """Wrong answers, and all done to the checks that a student can do to a file."""
    copy = notebook("return 0", "return 0", check_add="pass")
    for it in copy.cells:
        it.metadata.tags = ["skip-execution"]
    copy.cells = [it for it in copy.cells if it.metadata.get("nbgrader", {}).get("grade_id") != "check_double"]
    copy.cells[3].metadata.nbgrader |= {"points": 100, "locked": False, "grade": False}
    copy.cells.append(cell("bonus", "pass", grade=True, points=50))
    return copy


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    """A folder with the teacher's copy, which tests what the students' copies do not show."""
    secret = "assert add(1, 2) == 3, 'add: the sum is wrong'\n### BEGIN HIDDEN TESTS\nassert add(2, 2) == 4\n### END HIDDEN TESTS"
    return put(tmp_path_factory.mktemp("hidden"), "tiny", notebook(check_add=secret), "tiny.ipynb").parents[1]


def long_text() -> nbformat.NotebookNode:
    """Right answers, and a cell that takes minutes to turn into HTML."""
    copy = notebook()
    copy.cells.append(nbformat.v4.new_markdown_cell("![" * 100_000))
    return copy


@pytest.fixture(scope="module")
def graded(tmp_path_factory, hidden):
    """A class, graded by the command: its rows by student, and the folder of the results."""
    folder, out = tmp_path_factory.mktemp("class"), tmp_path_factory.mktemp("out")
    put(folder, "right", notebook())
    put(folder, "half", notebook(double="return a"), "tiny.ipynb")
    put(folder, "lucky", notebook(add="return 3", double="print(In)\n    return 2 * a"), "exercises/tiny/tiny.ipynb")
    put(folder, "edited", edited())
    put(folder, "endless", notebook(add="while True: pass"))
    put(folder, "exits", notebook(double="os._exit(0)"))
    put(folder, "hungry", notebook(double="x = []\n    while True: x.append(bytearray(10**7))"))
    files = "import shutil; shutil.rmtree(os.environ['HOME'], ignore_errors=True); "
    others = f"shutil.rmtree({str(folder / 'right')!r}, ignore_errors=True); " if WALLED else ""
    put(folder, "vandal", notebook(add=files + others + "return a + b"))
    put(folder, "picture", "\x89PNG not a notebook")
    put(folder, "list", "[]")
    put(folder, "misnamed", notebook(), "homework.ipynb")
    (folder / "absent").mkdir()
    put(folder, "slow", long_text())
    if LINKS:
        (folder / "copies").mkdir()
        (folder / "copies" / "tiny").symlink_to(folder / "right" / "tiny")
    arguments = [str(folder), "--out", str(out), "--hidden", str(hidden), "--timeout", "12", "--memory", "512"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marking, "RENDERING", 6)
        assert grade.main(arguments) == 0
    with (out / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert (folder / "right" / "tiny" / "tiny.ipynb").exists()
    return rows, out


@pytest.mark.parametrize(
    ("student", "add", "double", "note"),
    [
        ("right", 2, 3, ""),
        ("half", 2, 0, ""),
        ("lucky", 0, 3, ""),
        (
            "edited",
            0,
            0,
            "1 locked cells had been changed: the teacher's ran instead; 1 missing locked cells were put back",
        ),
        ("endless", 0, 3, "longer than 4 s: check_add"),
        ("exits", 2, 0, "stopped: its process ended in a cell"),
        ("hungry", 2, 0, None),
        ("vandal", 2, 3, ""),
        ("picture", 0, 0, "not a notebook"),
        ("list", 0, 0, "not a notebook"),
        ("misnamed", 0, 0, "nothing handed in: no tiny.ipynb, but homework.ipynb"),
        ("absent", 0, 0, "nothing handed in: no tiny.ipynb"),
        ("slow", 2, 3, "the feedback could not be written in 6 s"),
        pytest.param("copies", 0, 0, "not graded: a link that leads out of", marks=needs_links),
    ],
)
def test_what_each_submission_gets(graded, student, add, double, note):
    row = graded[0][student]
    assert (float(row["add"]), float(row["double"])) == (add, double), row
    assert (float(row["total"]), float(row["of"]), row["assignment"]) == (add + double, 5, "tiny")
    if note is not None:
        assert row["note"].startswith(note) and bool(row["note"]) == bool(note)


def test_every_student_gets_feedback(graded):
    rows, out = graded
    pages = {student: (out / "feedback" / student / "tiny.html").read_text(encoding="utf-8") for student in rows}
    assert "Score: 5.0 / 5.0" in pages["right"] and "Score: 3.0 / 5.0" in pages["lucky"]
    assert "nothing handed in" in pages["absent"] and "0 / 5" in pages["absent"]
    assert "TimeoutError" in pages["endless"]
    assert "add: 2 / 2" in pages["slow"]


def test_feedback_does_not_show_hidden_tests(graded):
    text = (graded[1] / "feedback" / "lucky" / "tiny.html").read_text(encoding="utf-8")
    assert "AssertionError" in text and "HIDDEN" not in text and "(2, 2)" not in text.replace("</span>", "")


def run(*sources: str, walled: bool = bool(WALLED), limits: sandbox.Limits = LIMITS) -> dict:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return sandbox.run(nbformat.writes(made), limits, walled)


def printed(result: dict) -> list[str]:
    return ["".join(output.get("text", output.get("ename", "")) for output in it["outputs"]) for it in result["cells"]]


@needs_bubblewrap
def test_inside_bubblewrap_there_is_nothing_to_read_write_or_reach(tmp_path):
    secret = tmp_path / "gradebook.db"
    secret.write_text("all the grades")
    result = run(
        f"open({str(secret)!r})",
        f"import os; print([os.path.exists(path) for path in {[str(ROOT / 'tests'), str(ROOT / 'solutions'), '/var']!r}])",
        "open('/written', 'w')",
        f"open({str(ROOT / 'minitransformer' / 'written')!r}, 'w')",
        "import socket; socket.create_connection(('127.0.0.1', 22), timeout=1)",
        "socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "print(len([name for name in os.listdir('/proc') if name.isdigit()]) < 5)",
        "print(sum(len(os.environ.get(name, '')) for name in ('SSH_AUTH_SOCK', 'PYTHONPATH', 'LOGNAME')))",
        "import subprocess; subprocess.run(['bwrap', '--unshare-user', '--bind', '/', '/', 'true'], check=True)",
        "print(open(os.path.join(os.environ['HOME'], 'mine'), 'w').write('this I may'))",
    )
    refused = [
        "FileNotFoundError",
        "[False, False, False]\n",
        "OSError",
        "OSError",
        "ConnectionRefusedError",
        "OSError",
    ]
    assert printed(result)[:6] == refused
    assert printed(result)[6:8] == ["True\n", "0\n"] and printed(result)[9] == "10\n"
    assert secret.read_text() == "all the grades" and not (ROOT / "minitransformer" / "written").exists()


def test_too_many_processes_files_and_words_end_only_the_run():
    limits = sandbox.Limits(seconds=12, memory=512, disk=8, processes=20, output=1000)
    full = run("print('x' * 5000)", "1 / 0", *["open('big', 'ab').write(bytes(6 * 2**20))"] * 2, limits=limits)
    assert printed(full)[0] == "" and full["cells"][1]["state"] == "error"
    assert full["cells"][3]["state"] == "error" or "disk" in full["ended"]
    start = "import subprocess, sys, time; children = [subprocess.Popen([sys.executable, '-Sc', 'input()'], stdin=-1) for _ in range(30)]; time.sleep(30)"
    assert "the limit of 20 processes" in run(start, limits=limits)["ended"]


@pytest.mark.skipif(sys.platform != "linux", reason="files without a name are found in Linux's /proc")
@pytest.mark.parametrize(
    ("make", "limit"),
    [("os.memfd_create('x')", "memory limit"), ("os.open('x', os.O_RDWR | os.O_CREAT); os.unlink('x')", "disk limit")],
)
def test_what_files_without_a_name_hold_counts(make, limit):
    source = f"import os, time\nfor _ in range(64):\n    fd = {make}\n    os.write(fd, bytes(2**23))\ntime.sleep(9)"
    small = sandbox.Limits(seconds=12, memory=256, disk=64)
    assert limit in run(source, limits=small)["ended"]


@pytest.mark.skipif(os.name != "posix", reason="paths on Windows are never so deep")
def test_folders_a_thousandfold_deep_neither_escape_the_limit_nor_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox.tempfile, "tempdir", str(tmp_path))
    deep = "import os, time\nfor _ in range(2500): os.mkdir('d'); os.chdir('d')\ntime.sleep(9)"
    assert "disk limit" in run(deep)["ended"]
    assert not list(tmp_path.iterdir())


def test_a_kernel_that_leaves_out_the_asserts_is_found_out():
    source = (
        "import ast\nclass Drop(ast.NodeTransformer):\n    def visit_Assert(self, node): return ast.Pass()\n"
        "get_ipython().ast_transformers.append(Drop())"
    )
    assert run(source)["tampered"]


def test_a_kernel_that_calls_everything_a_success_is_found_out(tmp_path, hidden):
    forge = (
        "shell = get_ipython(); true = type(shell).run_cell_async\n"
        "async def run(self, source, **options):\n    options['transformed_cell'] = 'pass'\n    return await true(self, 'pass', **options)\n"
        "type(shell).run_cell_async = run"
    )
    copy = notebook("return 0", "return 0")
    copy.cells.insert(1, nbformat.v4.new_code_cell(forge))
    file = put(tmp_path, "forger", copy)
    submission = submissions.Submission("forger", assignments.read_assignment(hidden / "tiny" / "tiny.ipynb"), file)
    result, _ = marking.mark(submission, LIMITS, bool(WALLED))
    assert set(result.points.values()) == {0.0} and "by hand" in result.notes[-1]


def passes(text: str, limits: sandbox.Limits, walled: bool, started) -> dict:
    """Stands in for running a notebook: everything in it is right."""
    cells = nbformat.reads(text, as_version=4).cells
    states = [{"state": "ok" if it.cell_type == "code" else "", "outputs": []} for it in cells]
    return {"cells": states, "ended": "", "tampered": False}


def test_interrupted_grading_goes_on_where_it_stopped(tmp_path, hidden, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(marking, "feedback", lambda *rest: "a page")
    monkeypatch.setattr(sandbox, "run", lambda text, *rest: ran.append(text) or passes(text, *rest))
    for student in ("ada", "bob", "eve", "=1+1"):
        put(tmp_path / "class", student, notebook(add=f"return '{student}'"))

    class Pressed(grade.tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    call = [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(hidden), "--jobs", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(grade, "tqdm", Pressed)
        assert grade.main(call) == 130
    assert "goes on from here" in capsys.readouterr().err
    before = len(ran)
    assert 1 < before  # the teacher's copy and at least one student
    kept = {file: file.read_bytes() for file in (tmp_path / "out" / "results").glob("*/*.json")}
    assert grade.main(call) == 0
    assert len(set(ran)) == 5 and all(file.read_bytes() == text for file, text in kept.items())
    grades = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    assert grades.count("\n") == 5 and "'=1+1" in grades
    total = len(ran)
    assert grade.main(call) == 0 and len(ran) == total  # nothing has changed: nothing runs
    put(tmp_path / "class", "ada", notebook(add="return 'corrected'"))
    assert grade.main(call) == 0 and len(ran) == total + 1
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_what_the_machine_cannot_run_is_no_students_zero(tmp_path, hidden, monkeypatch):
    put(tmp_path / "class", "ada", notebook(add="return 'hers'"))

    def breaks(text: str, *rest) -> dict:
        if "hers" in text:
            raise sandbox.NoResult("no kernel")
        return passes(text, *rest)

    monkeypatch.setattr(sandbox, "run", breaks)
    monkeypatch.setattr(marking, "feedback", lambda *rest: "a page")
    call = [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(hidden)]
    assert grade.main(call) == 1
    row = next(csv.DictReader((tmp_path / "out" / "grades.csv").open(encoding="utf-8")))
    assert row["total"] == "" and row["note"].startswith("NOT GRADED")
    assert not (tmp_path / "out" / "results" / "ada").exists()


def test_teachers_copy_that_fails_its_own_checks_stops_the_grading(tmp_path, monkeypatch, capsys):
    put(tmp_path / "teacher", "tiny", notebook(), "tiny.ipynb")
    put(tmp_path / "class", "ada", notebook())
    failed = lambda text, *rest: json.loads(json.dumps(passes(text, *rest)).replace("ok", "error"))  # noqa: E731
    monkeypatch.setattr(sandbox, "run", failed)
    monkeypatch.setattr(marking, "feedback", lambda *rest: "a page")
    call = [str(tmp_path / "class"), "--out", str(tmp_path / "out"), "--hidden", str(tmp_path / "teacher")]
    assert grade.main(call) == 2
    assert "the teacher's own copy of tiny does not get its points for add, double" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is not a folder"),
        (["flat"], "06_lora/06_lora.ipynb"),
        ([""], "SUBMISSIONS is empty; name a folder: make grade SUBMISSIONS=folder"),
        (["flat", "--assignment", "tin"], "--assignment is 'tin'; there is"),
        (["flat", "--out", "flat/grades"], "lies within the submissions"),
        (["flat", "--jobs", "0"], "--jobs is 0"),
        (["flat", "--hidden", "flat"], "holds no teacher's copies"),
    ],
)
def test_wrong_calls_are_told_what_is_right(tmp_path, hidden, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "flat", notebook(), "ada.ipynb")
    given = [] if "--hidden" in arguments else ["--hidden", str(hidden)]
    assert grade.main([*arguments, *given]) == 2
    assert message in capsys.readouterr().err


def test_a_link_to_another_file_is_not_followed(tmp_path):
    other = put(tmp_path, "ada", notebook())
    link = tmp_path / "link.ipynb"
    try:
        link.symlink_to(other)
    except OSError:
        pytest.skip("this system makes no links")
    with pytest.raises(ValueError, match="not a plain file"):
        submissions.read_submission(link)


@needs_bubblewrap
def test_nothing_private_may_lie_where_submissions_can_read(hidden, capsys):
    inside = Path(sandbox.python_folders()[0])
    assert grade.main([str(inside), "--hidden", str(hidden)]) == 2
    assert "which submissions can read; choose another place" in capsys.readouterr().err


def test_without_bubblewrap_it_says_what_is_missing():
    text = grade.protection("bubblewrap (bwrap) is not installed")
    assert "is not installed" in text and "every file" in text and "network" in text

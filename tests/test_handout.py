"""What students get: nothing of the teacher's, and no word of what they have not got."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "grading"))
from handout import NAMED, TARGETS, for_students, handout, left_out, makefile_for_students  # noqa: E402

GIT = (
    shutil.which("git")
    and b"Makefile" in subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True).stdout
)
needs_git = pytest.mark.skipif(not GIT, reason="the handout is made from a clone")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return handout(tmp_path_factory.mktemp("handout") / "course")


@needs_git
def test_nothing_of_the_teachers_is_in_it(made):
    names = [file.relative_to(made).as_posix() for file in made.rglob("*")]
    assert not [name for name in names if left_out(name)]
    assert {"exercises/06_lora/06_lora.ipynb", "minitransformer/model.py", "docs/students.md"} <= set(names)
    for file in made.rglob("*"):
        if file.suffix in (".ipynb", ".py", ".md"):
            assert "### BEGIN" + " SOLUTION" not in file.read_text(encoding="utf-8") or "course" in file.parts, file


@needs_git
def test_no_text_names_what_is_not_there_and_every_link_leads_somewhere(made):
    for file in [*made.rglob("*.md"), made / "Makefile"]:
        text = file.read_text(encoding="utf-8")
        assert not NAMED.search(text), (file.name, NAMED.search(text)[0])
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if file.suffix == ".md" else []:
            if "://" not in link and not link.startswith("mailto:"):
                assert (file.parent / link).exists(), (file.name, link)


@needs_git
def test_its_commands_are_those_that_work(made):
    text = (made / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
    assert {"help", "compare", "lab", "clean"} <= targets
    assert not targets & set(TARGETS)
    assert "DEV" not in text
    assert targets == set(re.search(r"\.PHONY: (.*)", text)[1].split())


@needs_git
def test_a_student_is_served_there(made):
    command = [sys.executable, "-m", "minitransformer", "hint", "fuse_qkv"]
    answer = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=600)
    assert "block_diag" in answer.stdout, answer.stderr


def test_sentences_items_and_lines_go_and_the_rest_stays():
    text = """\
Read this. The answers are in `solutions/`. Then go on.

* [Teachers](docs/teachers.md): for them.
* Students, too.

```
make lab     # open
make test    # run all
```

| a | [test_a](tests/test_a.py) |
"""
    left = """\
Read this. Then go on.

* Students, too.

```
make lab     # open
```

| a | test_a |
"""
    assert for_students(text) == left
    assert for_students(left) == left


def test_the_teachers_guides_are_left_out():
    guides = [file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").glob("teachers*.md")]
    assert guides and all(map(left_out, guides))


def test_a_target_that_needs_what_is_left_out_goes_with_its_recipe():
    text = ".PHONY: lab grade\n\nlab: ## open\n\tjupyter lab\n\ngrade: $(DEV) ## grade\n\tpython grading/grade.py\n"
    assert makefile_for_students(text) == ".PHONY: lab\n\nlab: ## open\n\tjupyter lab\n"


@needs_git
def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ValueError, match="is not empty"):
        handout(tmp_path)

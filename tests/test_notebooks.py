"""The committed lessons: executed from top to bottom, complete, clean, and the source of the modules in methods/.

No notebook runs here.
"""

import ast
import copy
import json
import re
import shutil
from pathlib import Path

import pytest
from nbdev.export import nb_export

ROOT = Path(__file__).parents[1]
METHODS_FOLDER = ROOT / "minitransformer" / "methods"
LESSONS = {file.stem: file for file in sorted((ROOT / "notebooks").glob("*.ipynb"))}
ARC = [
    "1. The idea",
    "2. The mathematics",
    "3. Build it",
    "4. Check it",
    "5. Train it",
    "6. Compare",
    "7. What it costs",
    "8. Where it breaks",
    "9. At seven billion",
    "10. Takeaways",
]
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(home|Users|root|tmp|work|usr|opt|var|mnt|content)/\S*|\b[A-Z]:\\Users\S*")


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


def cells(notebook, kind):
    """(number in the notebook, cell, source) of all cells of one kind that are not empty."""
    found = [(i, cell, "".join(cell["source"])) for i, cell in enumerate(notebook["cells"])]
    return [(i, cell, source) for i, cell, source in found if cell["cell_type"] == kind and source.strip()]


def outputs(notebook):
    """(number of the cell, output) of all that is stored."""
    return [(i, output) for i, cell, _ in cells(notebook, "code") for output in cell["outputs"]]


def images(output):
    return ["".join(data) for kind, data in output.get("data", {}).items() if kind.startswith("image/")]


def texts(output):
    """All the text of an output: what was printed, and every form of a value that is no picture."""
    shown = {kind: data for kind, data in output.get("data", {}).items() if not kind.startswith("image/")}
    return ["".join(output.get("text", "")), *("".join(data) for data in shown.values() if not isinstance(data, dict))]


def calls_print(source):
    """Whether the cell itself prints, in a loop or a `with` perhaps; a function that it only defines does not count."""
    nodes = [*ast.parse(source).body]
    for node in nodes:  # grows while it is walked
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)
    return False


def ends_in_a_value(source):
    """Whether Jupyter shows the last line: an expression, not followed by a semicolon, and not a call of print."""
    body = ast.parse(source).body
    if not body or not isinstance(body[-1], ast.Expr) or source.rstrip().endswith(";"):
        return False
    return ast.unparse(body[-1]) != "None" and not calls_print(ast.unparse(body[-1]))


# ---- the rules: each takes a notebook and lists what is wrong ---------------------------------------------------------


def not_executed_in_order(notebook):
    counts = [(i, cell["execution_count"]) for i, cell, _ in cells(notebook, "code")]
    return [f"cell {i} has count {count}" for n, (i, count) in enumerate(counts, start=1) if count != n]


def errors(notebook):
    return [f"cell {i}: {output['ename']}" for i, output in outputs(notebook) if output["output_type"] == "error"]


def prints_without_output(notebook):
    return [
        f"cell {i} prints, and nothing is stored"
        for i, cell, source in cells(notebook, "code")
        if calls_print(source) and not any(output.get("name") == "stdout" for output in cell["outputs"])
    ]


def values_without_output(notebook):
    return [
        f"cell {i} ends in an expression, and nothing is shown; a name or a semicolon makes that intended"
        for i, cell, source in cells(notebook, "code")
        if ends_in_a_value(source) and not any("data" in output for output in cell["outputs"])
    ]


def warnings_and_progress_bars(notebook):
    return [f"cell {i}: {output['text']}" for i, output in outputs(notebook) if output.get("name") == "stderr"]


def machine_paths(notebook):
    sources = [(i, source) for kind in ("code", "markdown") for i, _, source in cells(notebook, kind)]
    shown = [(i, text) for i, output in outputs(notebook) for text in texts(output)]
    found = [(i, MACHINE_PATH.search(text)) for i, text in sources + shown]
    return [f"cell {i}: {match[0]}" for i, match in found if match]


def headings(notebook):
    markdown = "\n".join(source for _, _, source in cells(notebook, "markdown"))
    return re.findall(r"^## (.*)$", markdown, re.MULTILINE)


def headings_off_the_arc(notebook):
    return [] if headings(notebook) == ARC else [f"the headings are {headings(notebook)}"]


def asks_for_a_guess(notebook):
    return any("my_guess = None" in source for _, _, source in cells(notebook, "code"))


# Lessons that ask for a guess have headings of their own; the others keep the arc. (Found, so that no list has to be kept.)
STORIES = {lesson for lesson, file in LESSONS.items() if asks_for_a_guess(read(file))}


def not_told_as_a_story(notebook):
    """A story begins with a question and a guess, and ends with what to remember."""
    code = [source for _, _, source in cells(notebook, "code")]
    guesses = [n for n, source in enumerate(code) if re.search(r"^my_guess = None", source, re.MULTILINE)]
    problems = [] if guesses and guesses[0] <= 3 else ["no guess is asked for in the first cells"]
    first = next(source for _, _, source in cells(notebook, "markdown"))
    problems += [] if "?" in first else ["the lesson opens without a question"]
    return problems + ([] if headings(notebook)[-1] == "To remember" else ["it does not end with what to remember"])


def headings_not_numbered(notebook):
    numbers = [heading.split(".")[0] for heading in headings(notebook)]
    right = numbers == [str(n + 1) for n in range(len(numbers))] and headings(notebook)[-1].endswith("Takeaways")
    return [] if right else [f"the headings are {headings(notebook)}"]


def no_picture(notebook):
    return [] if any(images(output) for _, output in outputs(notebook)) else ["no output is a picture"]


def pictures_shown_twice(notebook):
    """What happens where a function returns a figure that pyplot still holds open, and shows too."""
    problems = []
    for i, cell, _ in cells(notebook, "code"):
        shown = [image for output in cell["outputs"] for image in images(output)]
        problems += [f"cell {i} shows the same picture twice"] if len(set(shown)) < len(shown) else []
    return problems


RULES = [
    not_executed_in_order,
    errors,
    prints_without_output,
    values_without_output,
    warnings_and_progress_bars,
    machine_paths,
    headings_not_numbered,
    no_picture,
    pictures_shown_twice,
]
METHOD_LESSONS = [lesson for lesson in LESSONS if lesson < "11"]  # those after compare, and test claims


@pytest.mark.parametrize("lesson", METHOD_LESSONS)
def test_lesson_on_a_method_is_a_story_or_keeps_the_arc(lesson):
    rule = not_told_as_a_story if lesson in STORIES else headings_off_the_arc
    assert rule(read(LESSONS[lesson])) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("lesson", LESSONS)
def test_lesson_keeps_the_rule(lesson, rule):
    if rule is not headings_not_numbered or lesson not in STORIES:
        assert rule(read(LESSONS[lesson])) == []


# ---- the rules themselves ---------------------------------------------------------------------------------------------


def code(source, count, *stored):
    return {"cell_type": "code", "source": [source], "execution_count": count, "outputs": list(stored)}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": [text]}


def value(**data):
    named = {f"{kind.replace('_', '/')}": [text] for kind, text in data.items()}
    return {"output_type": "execute_result", "data": named}


def made_up_path(*parts):
    """A path for the rule against them, put together here: none stands in the repository."""
    return "/" + "/".join(parts)


WINDOWS_HOME = made_up_path("Users", "anna").replace("/", "\\")


def good_notebook():
    sections = [{"cell_type": "markdown", "source": [f"## {heading}\n", "Text."]} for heading in ARC]
    return {
        "cells": [
            code("import torch", 1),
            *sections,
            code("", None),
            code("for i in range(2):\n    print(i)", 2, stream("0\n1\n")),
            code("def show():\n    print(1)\nx = None", 3),
            code("draw(x)", 4, value(image_png="iVBO" + made_up_path("tmp", "abc="), text_plain="<Figure>")),
            code("model.eval();", 5),
        ]
    }


def spoiled(at, **changes):
    notebook = copy.deepcopy(good_notebook())
    notebook["cells"][at].update(changes)
    return notebook


def test_good_notebook_breaks_no_rule():
    assert [problem for rule in RULES for problem in rule(good_notebook())] == []


@pytest.mark.parametrize(
    ("rule", "at", "changes"),
    [
        (not_executed_in_order, 0, {"execution_count": None}),
        (not_executed_in_order, 0, {"execution_count": 2}),
        (not_executed_in_order, 13, {"execution_count": 7}),
        (errors, 0, {"outputs": [{"output_type": "error", "ename": "ValueError"}]}),
        (prints_without_output, 12, {"outputs": []}),
        (prints_without_output, 0, {"source": ["with a, b:\n", "    if c:\n", "        print(1)"]}),
        (values_without_output, 14, {"outputs": []}),
        (values_without_output, 0, {"source": ["x = 1\n", "x"]}),
        (warnings_and_progress_bars, 0, {"outputs": [stream("UserWarning", "stderr")]}),
        (machine_paths, 0, {"source": [f"open('{made_up_path('home', 'anna', 'data.txt')}')"]}),
        (machine_paths, 1, {"source": [f"## {ARC[0]}\n", f"See {made_up_path('Users', 'anna', 'x')}."]}),
        (machine_paths, 12, {"outputs": [stream("saved to " + made_up_path("tmp", "x.png"))]}),
        (machine_paths, 14, {"outputs": [value(image_png="a", text_html=f'<a href="C:{WINDOWS_HOME}">')]}),
        (headings_off_the_arc, 3, {"source": ["## 3. Building it"]}),
        (headings_off_the_arc, 3, {"source": ["Text."]}),
        (headings_off_the_arc, 3, {"source": ["## 4. Check it"]}),
        (headings_not_numbered, 3, {"source": ["## 4. Check it"]}),
        (headings_not_numbered, 10, {"source": ["## 10. The end"]}),
        (no_picture, 14, {"outputs": [value(text_plain="1")]}),
        (pictures_shown_twice, 14, {"outputs": [value(image_png="a"), value(image_png="a")]}),
    ],
)
def test_planted_fault_is_found(rule, at, changes):
    assert rule(spoiled(at, **changes))


def story(*, question="How many?", guess="my_guess = None  # 1 to 8", end="To remember"):
    sections = ["# 06 LoRA\n\n" + question, f"## The core\n\nText.\n\n## {end}\n"]
    first, last = ({"cell_type": "markdown", "source": [text]} for text in sections)
    return {"cells": [first, code("import torch", 1), code(guess, 2), last]}


def test_story_and_what_is_none():
    assert not_told_as_a_story(story()) == []
    assert not_told_as_a_story(story(question="LoRA is a method.")) == ["the lesson opens without a question"]
    assert not_told_as_a_story(story(guess="guess = 3")) == ["no guess is asked for in the first cells"]
    assert not_told_as_a_story(story(end="Takeaways")) == ["it does not end with what to remember"]


# ---- what the lessons export ------------------------------------------------------------------------------------------


def exports(notebook):
    """Name of the module that a notebook writes, or None."""
    names = [re.search(r"^#\| *default_exp +(\S+)", source, re.MULTILINE) for _, _, source in cells(notebook, "code")]
    return next((match[1] for match in names if match), None)


SOURCES = {name: file for file in LESSONS.values() if (name := exports(read(file)))}


def out_of_date(notebook: Path, module: Path, folder: Path) -> bool:
    """Whether a module is not, to the letter, what its notebook exports; exported anew into an empty folder."""
    copied = folder / "notebooks" / notebook.name  # as far from the modules as in the repository: they name its path
    copied.parent.mkdir()
    shutil.copy(notebook, copied)
    nb_export(copied, folder / "minitransformer" / "methods")
    exported = folder / "minitransformer" / "methods" / module.name
    return exported.read_text(encoding="utf-8") != module.read_text(encoding="utf-8")


def test_every_method_is_written_by_a_lesson():
    assert set(SOURCES) == {file.stem for file in METHODS_FOLDER.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("name", SOURCES)
def test_module_is_what_its_lesson_exports(name, tmp_path):
    assert not out_of_date(SOURCES[name], METHODS_FOLDER / f"{name}.py", tmp_path), f"export {SOURCES[name].name} again"


def test_module_edited_by_hand_is_found(tmp_path):
    edited = tmp_path / "lora.py"
    text = (METHODS_FOLDER / "lora.py").read_text(encoding="utf-8")
    assert "rank: int = 4" in text
    edited.write_text(text.replace("rank: int = 4", "rank: int = 5"), encoding="utf-8")
    assert out_of_date(SOURCES["lora"], edited, tmp_path)


def test_lesson_edited_without_exporting_is_found(tmp_path):
    edited = tmp_path / SOURCES["lora"].name
    text = SOURCES["lora"].read_text(encoding="utf-8")
    assert "rank: int = 4" in text
    edited.write_text(text.replace("rank: int = 4", "rank: int = 5"), encoding="utf-8")
    assert out_of_date(edited, METHODS_FOLDER / "lora.py", tmp_path)

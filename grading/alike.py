"""List answers that are alike: python grading/alike.py [--out grades], after a grading.

It compares the answers of a class, task by task, and writes grades/alike.csv. Being alike proves nothing: many short right answers
are alike by themselves. So the table says how many students wrote the same, and pairs come first that share much which few share.
"""

import argparse
import ast
import csv
import io
import json
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path

SMALLEST = 3  # statements; shorter answers are alike by chance
COLUMNS = ("student", "other", "assignment", "task", "alike", "students", "statements")


class _Renamed(ast.NodeTransformer):
    """Names by the order in which they come up, and no docstrings."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def _name(self, name: str) -> str:
        return self.names.setdefault(name, f"n{len(self.names)}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self._name(node.id)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.arg, node.annotation = self._name(node.arg), None
        return node

    def _function(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._body(node)

    def _body(self, node: ast.FunctionDef | ast.ClassDef) -> ast.AST:
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            node.body = node.body[1:]
        return self.generic_visit(node)

    visit_FunctionDef, visit_ClassDef = _function, _body


def same_text(answer: str) -> str:
    """An answer without blank lines and spaces at the ends of lines: comments and names count."""
    return "\n".join(line.rstrip() for line in answer.splitlines() if line.strip())


def same_code(answer: str) -> str:
    """What an answer does, whatever its names, comments and types are called; "" where Python cannot read it."""
    try:
        return ast.dump(_Renamed().visit(ast.parse(answer)))
    except (SyntaxError, ValueError, RecursionError):
        return ""


def statements(answer: str) -> int:
    """How many statements an answer has within its function or class."""
    try:
        return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(answer))) - 1
    except (SyntaxError, ValueError, RecursionError):
        return len(answer.splitlines())


def answers(results: Path) -> dict[tuple[str, str], dict[str, str]]:
    """The answers of a class, by assignment and task, then by student."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for file in sorted(results.glob("*/*.json")):
        if file.parent.name == ".teacher":
            continue
        for row in json.loads(file.read_text(encoding="utf-8"))["rows"]:
            if row.get("answer", "").strip() and "write your answer here" not in row["answer"]:
                found[file.stem, row["task"]][file.parent.name] = row["answer"]
    return found


def alike(found: dict[tuple[str, str], dict[str, str]]) -> list[dict[str, object]]:
    """Pairs of answers that are alike, a row each; the pair of students that shares the most with the fewest comes first."""
    rows = []
    for (assignment, task), by_student in found.items():
        told = set()
        for says, key in (("same text", same_text), ("same but for names and comments", same_code)):
            groups = defaultdict(list)
            for student, answer in by_student.items():
                if key(answer) and statements(answer) >= SMALLEST:
                    groups[key(answer)].append(student)
            for group in groups.values():
                for pair in combinations(group, 2):
                    if pair not in told:
                        size = statements(by_student[pair[0]])
                        rows.append(dict(zip(COLUMNS, (*pair, assignment, task, says, len(group), size), strict=True)))
                        told.add(pair)
    weight: dict[tuple, float] = defaultdict(float)
    for (
        row
    ) in rows:  # what two of a class share and no third counts most, and a word-for-word copy more than the same idea
        weight[row["student"], row["other"]] += (2 if row["alike"] == "same text" else 1) / (row["students"] - 1) ** 2
    return sorted(rows, key=lambda row: (-weight[row["student"], row["other"]], row["student"], row["other"]))


def main(arguments: list[str]) -> int:
    """The command; it prints how many pairs there are."""
    parser = argparse.ArgumentParser(description="List answers of a class that are alike.")
    parser.add_argument("--out", type=Path, default=Path("grades"), help="the folder of the grading (default: grades)")
    options = parser.parse_args(arguments)
    found = answers(options.out / "results")
    if not found:
        print(f"{options.out / 'results'} holds no answers; grade the class first", file=sys.stderr)
        return 2
    rows, text = alike(found), io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    file = options.out / "alike.csv"
    file.write_text(text.getvalue(), encoding="utf-8", newline="\n")
    pairs = {(row["student"], row["other"]) for row in rows}
    print(f"{len(rows)} answers alike, of {len(pairs)} pairs of students: {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

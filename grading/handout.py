"""Write the folder that students get: python grading/handout.py [FOLDER].

It is what git tracks here, without the solutions, the tests and the grading. What the texts and the Makefile say of these goes
too, sentence by sentence, so that the handout points to nothing that it does not hold.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("solutions", "tests", "grading", "site", ".github", ".ci")  # left out
FILES = ("teachers.md", "teachers_plan.md", "requirements-dev.txt")
TARGETS = "test notebooks exercises handout slides grade lint site book".split()  # of make: they need what is left out
NAMED = re.compile(
    rf"(?<![\w.-])(?:{'|'.join(re.escape(name) + '/' for name in FOLDERS)})"
    rf"|(?<![\w-])(?:{'|'.join(map(re.escape, FILES))})|\bmake (?:{'|'.join(TARGETS)})\b|\bpytest\b"
)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")
SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*\[(])")
ITEM = re.compile(r"\s*(?:[*-]|\d+\.)\s+")


def left_out(file: str) -> bool:
    """Whether a file is not for students, by its path from the course's folder."""
    return file.split("/")[0] in FOLDERS or file.split("/")[-1] in FILES


def for_students(text: str) -> str:
    """A text in Markdown without the sentences, items and lines of code that name what is left out."""
    kept, paragraph, in_code = [], [], False
    for line in [*text.split("\n"), ""]:
        fence = line.lstrip().startswith("```")
        if in_code or fence:
            kept += _sentences(paragraph) if fence and not in_code else []
            kept += [line] if fence or not NAMED.search(line) else []
            in_code, paragraph = in_code != fence, []
        elif line.lstrip().startswith("|"):
            row = LINK.sub(lambda link: link[1] if NAMED.search(link[2]) else link[0], line)
            kept += [] if NAMED.search(row) else [row]
        elif not line.strip() or ITEM.match(line):
            kept += _sentences(paragraph) + ([line] if not line.strip() else [])
            paragraph = [line] if line.strip() else []
        else:
            paragraph.append(line)
    return "\n".join(kept[:-1])


def _sentences(lines: list[str]) -> list[str]:
    """A paragraph or an item without the sentences that name what is left out."""
    text = "\n".join(lines)
    if not NAMED.search(text):
        return lines
    start = ITEM.match(text)
    head = start[0] if start else ""
    kept = [sentence for sentence in SENTENCE.split(text[len(head) :]) if not NAMED.search(sentence)]
    return [head + " ".join(kept)] if kept else []


def makefile_for_students(text: str) -> str:
    """The Makefile without the targets that need what is left out."""
    blocks = []
    for block in text.split("\n\n"):
        name = block.lstrip("\n").partition(":")[0].strip()
        if name in TARGETS or name == "$(DEV)":
            continue
        lines = [line for line in block.split("\n") if not line.startswith(("DEV :=", "NOTEBOOKS :="))]
        lines = [
            " ".join(word for word in line.split() if word not in TARGETS) if line.startswith(".PHONY") else line
            for line in lines
        ]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks).rstrip("\n") + "\n"


def handout(out: Path, root: Path = ROOT) -> Path:
    """Write the handout.

    Args:
        out: the folder that it becomes; it must not exist, or be empty.
        root: the course's folder, which git tracks.

    Returns:
        The folder.

    Raises:
        ValueError: there is something in the folder already, or git does not track the course's.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; name another folder, or delete it first")
    command = ["git", "-C", str(root), "ls-files", "-z"]
    try:
        tracked = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError) as problem:
        raise ValueError(f"the files of {root} are not known: this needs git, and a clone of the course") from problem
    for name in tracked:
        source, copy = root / name, out / name
        if not name or left_out(name) or not source.is_file():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            copy.write_text(for_students(source.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
        elif name == "Makefile":
            copy.write_text(makefile_for_students(source.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
        else:
            shutil.copy(source, copy)
    return out


def main(arguments: list[str]) -> int:
    """The command; it prints where the handout is."""
    try:
        print(handout(Path(arguments[0]) if arguments else ROOT / "build" / "handout"))
    except ValueError as problem:
        print(problem, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

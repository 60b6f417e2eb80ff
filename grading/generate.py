"""Make the students' copies in exercises/ from the teacher's copies in solutions/: python grading/generate.py [FOLDER].

Without a folder they go into the package, too: there they stay as they are, and `progress` and `reset` read them.
"""

import logging
import shutil
import sys
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearSolutions
from traitlets.config import Config

ROOT = Path(__file__).parents[1]
RELEASED = ROOT / "minitransformer" / "course" / "released"


class NamedStub(ClearSolutions):
    """Put an error that names the task in the place of the solution."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        """Replace the solution regions of one cell."""
        task = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        self.code_stub = {"python": f'raise NotImplementedError("{task}: write your answer here")'}
        return super().preprocess_cell(cell, resources, index)


def generate(name: str, out: Path) -> Path:
    """Write the student's copy of one assignment, the same bytes every time.

    Args:
        name: of the assignment, as in "06_lora".
        out: folder that gets NAME/NAME.ipynb.

    Returns:
        The file.
    """
    config = Config()
    config.CourseDirectory.root = str(ROOT)
    config.CourseDirectory.source_directory = "solutions"
    config.CourseDirectory.release_directory = str(out)
    config.CourseDirectory.assignment_id = name
    config.GenerateAssignment.no_database = True
    config.SaveCells.enabled = False  # there is no gradebook to save them in
    config.GenerateAssignment.force = True
    usual = GenerateAssignment.preprocessors.default()
    config.GenerateAssignment.preprocessors = [NamedStub if step is ClearSolutions else step for step in usual]
    converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
    converter.log.setLevel(logging.ERROR)
    converter.start()
    return out / name / f"{name}.ipynb"


def main(arguments: list[str]) -> None:
    """Make all of them, and print where."""
    out = Path(arguments[0]) if arguments else ROOT / "exercises"
    for file in sorted((ROOT / "solutions").glob("*/*.ipynb")):
        made = generate(file.stem, out)
        print(made)
        if not arguments:
            RELEASED.mkdir(exist_ok=True)
            shutil.copy(made, RELEASED)


if __name__ == "__main__":
    main(sys.argv[1:])

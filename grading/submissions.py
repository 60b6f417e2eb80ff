"""What students handed in: finding it in a folder or an archive, as learning platforms make them, and reading it."""

import os
import re
import shutil
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from assignments import GradingError, Teachers, read_teachers

from minitransformer.course.exercises import notebooks_in
from minitransformer.course.running import MEGABYTE

LARGEST = 20 * MEGABYTE  # bytes of a notebook handed in
UNPACKED = 500 * MEGABYTE  # bytes that an archive may hold
FILES = 5000  # files that it may hold
MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<file>.*)")
CANVAS = re.compile(r"(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_\d+_(?P<file>.+)")
LAYOUT = """\
A folder for each student, and in it the notebooks, at any of

    SUBMISSIONS/ada/06_lora/06_lora.ipynb              (nbgrader, JupyterHub)
    SUBMISSIONS/ada/06_lora.ipynb                      (by hand)
    SUBMISSIONS/ada/exercises/06_lora/06_lora.ipynb    (a copy of the course's repository, GitHub Classroom)

or what Moodle or Canvas give for download: the archive as it is, or unpacked."""


@dataclass
class Student:
    """Somebody who handed in something.

    Args:
        name: of the folder, or as the learning platform gives it.
        folders: where the notebooks are.
        number: what the learning platform calls them, as in "5281"; "" where nobody knows.
        notes: what is odd about what was handed in.
    """

    name: str
    folders: list[Path] = field(default_factory=list)
    number: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Submission:
    """What a student handed in for an assignment.

    Args:
        student: their name.
        teachers: the teacher's copy.
        notebook: the file; None: there is none that counts.
        notes: why there is none, or what is odd about it.
    """

    student: str
    teachers: Teachers
    notebook: Path | None
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Student and assignment."""
        return self.student, self.teachers.name


def find_students(folder: Path, stage: Path) -> dict[str, Student]:
    """Find the students in a folder or an archive.

    Args:
        folder: holds a folder for each student, or is what a learning platform gives for download.
        stage: an empty folder, for what has to be unpacked.

    Raises:
        GradingError: there is nothing like that.
    """
    if folder.is_file() and zipfile.is_zipfile(folder):
        unpack(folder, stage / "all")
        folder = stage / "all"
        inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        if len(inside) == 1 and inside[0].is_dir() and not MOODLE.fullmatch(inside[0].name):
            folder = inside[0]  # somebody zipped the folder, not what is in it
    if not folder.is_dir():
        raise GradingError(f"SUBMISSIONS is {str(folder)!r}, which is not a folder.\n{LAYOUT}")
    students: dict[str, Student] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__MACOSX")):
            continue
        match = MOODLE.fullmatch(path.name) or (None if path.is_dir() else CANVAS.fullmatch(path.name))
        if not path.is_dir() and match is None and path.suffix != ".zip":
            continue
        name = match["name"] if match else path.stem if path.suffix == ".zip" else path.name
        number = match["id"] if match else ""
        if name in students and students[name].number != number:  # two people of one name
            name = f"{name} ({number})"
        student = students.setdefault(name, Student(name, number=number))
        own = stage / "students" / str(len(students))
        if path.is_dir():
            student.folders.append(path)
            archives = [file for pattern in ("*.zip", "*/*.zip") for file in sorted(path.glob(pattern))]
        elif path.suffix == ".zip":
            archives = [path]
        else:
            archives = []
            own.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, own / match["file"])
            student.folders.append(own)
        for place, archive in enumerate(archives):
            try:
                unpack(archive, own / str(place))
                student.folders.append(own / str(place))
                student.notes.append(f"handed in as an archive, {archive.name}")
            except (OSError, zipfile.BadZipFile, ValueError, RuntimeError, NotImplementedError) as problem:
                student.notes.append(f"{archive.name} cannot be unpacked: {problem}")
    return students


def unpack(archive: Path, out: Path) -> None:
    """Take the notebooks out of an archive, and the archives in it; nothing else is of use.

    Raises:
        ValueError: it holds too much.
        zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(archive) as opened:
        wanted = [entry for entry in opened.infolist() if entry.filename.endswith((".ipynb", ".zip", "timestamp.txt"))]
        if len(wanted) > FILES or sum(entry.file_size for entry in wanted) > UNPACKED:
            raise ValueError(f"it holds more than {FILES} files or {UNPACKED // MEGABYTE} MB")
        for entry in wanted:
            made = Path(opened.extract(entry, out))  # ZipFile lets no entry out of the folder
            moment = time.mktime((*entry.date_time, 0, 0, -1))
            os.utime(made, (moment, moment))


def find_submissions(students: dict[str, Student], copies: dict[str, Path], only: str = "") -> list[Submission]:
    """Find what each student handed in, of every assignment that at least one student handed in.

    Args:
        students: by name.
        copies: files of the teacher's copies by assignment.
        only: an assignment: look for no other one.

    Raises:
        GradingError: there is nothing to grade, or a teacher's copy cannot be used.
    """
    teachers = {name: read_teachers(file) for name, file in copies.items()}
    assignments = {name: it.assignment for name, it in teachers.items()}
    found: dict[tuple[str, str], tuple[Path, Path, str]] = {}
    for student in students.values():
        for folder in student.folders:
            for name, (file, note) in notebooks_in(folder, assignments).items():
                found.setdefault((student.name, name), (folder, file, note))
    graded = [name for name in teachers if any(key[1] == name for key in found) and only in ("", name)]
    if not graded:
        wanted = only or ", ".join(teachers)
        raise GradingError(f"no student's folder holds a notebook of {wanted}.\n{LAYOUT}")
    submissions = []
    for student in students.values():
        for name in graded:
            if (student.name, name) not in found:
                others = sorted(file.name for folder in student.folders for file in folder.rglob("*") if file.is_file())
                note = f"nothing handed in: no {name}.ipynb" + (f", but {', '.join(others[:3])}" if others else "")
                submissions.append(Submission(student.name, teachers[name], None, (note, *student.notes)))
                continue
            folder, file, note = found[student.name, name]
            notes = tuple(it for it in (note, *student.notes) if it)
            if not within(file, folder):
                file, notes = None, ("not graded: a link that leads out of the student's folder",)
            submissions.append(Submission(student.name, teachers[name], file, notes))
    return submissions


def within(file: Path, folder: Path) -> bool:
    """Whether a file is a student's own: a link could lead to another student's work, or to the solutions."""
    try:
        return file.resolve(strict=True).is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # it leads nowhere, or in a circle
        return False


def read_submission(file: Path) -> bytes:
    """Read what a student handed in.

    Raises:
        ValueError: it cannot be read, for the reason that the message gives.
    """
    if file.is_symlink() or not file.is_file():
        raise ValueError("not a notebook: not a plain file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"not graded: larger than {LARGEST // MEGABYTE} MB; clear its outputs")
    return file.read_bytes()

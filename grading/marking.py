"""Mark one submission: run its tasks, count its points, say what was odd."""

from dataclasses import asdict, dataclass, field

from sandbox import Watched
from submissions import Submission, read_submission

from minitransformer.course.exercises import identify, released
from minitransformer.course.running import Limits, Outcome, evaluate


@dataclass
class Result:
    """What a student got for an assignment.

    Args:
        rows: what became of each task, as dictionaries of `Outcome`; empty where the machine, not the student, is why.
        of: the most points a task.
        notes: what the teacher should know.
        handed_in: whether there was a notebook.
        time: when it was handed in, in seconds since 1970; 0 where nobody knows.
    """

    rows: list[dict] = field(default_factory=list)
    of: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    handed_in: bool = True
    time: float = 0.0

    @property
    def points(self) -> dict[str, float]:
        """What each task earned; empty where nobody knows."""
        return {row["task"]: Outcome(**row).points for row in self.rows}


def mark(
    submission: Submission,
    limits: Limits,
    place: Watched,
    only: set[str] | None = None,
) -> Result:
    """Run a submission and count its points.

    Args:
        submission: what was handed in.
        limits: what a task may use.
        place: where it runs.
        only: names of the tasks to run; default: all.

    Raises:
        NoResult: it could not be run, for a reason that lies with this machine.
    """
    teachers = submission.teachers
    result = Result([], teachers.points, list(submission.notes), submission.notebook is not None)

    def nothing(state: str, message: str = "") -> Result:
        result.rows = [asdict(Outcome(name, state, message, of=of)) for name, of in teachers.points.items()]
        return result

    if submission.notebook is None:
        return nothing("not run")
    result.time = handed_in_at(submission)
    try:
        content = read_submission(submission.notebook)
        rows, notes = evaluate(teachers.assignment, content, limits, place, only)
    except (ValueError, OSError) as problem:
        result.notes.insert(0, f"not a notebook: {problem}" if ":" not in str(problem)[:14] else str(problem))
        return nothing("not run")
    if rows and all(row.state == "missing" for row in rows):
        other = identify(submission.notebook, released())
        what = f"it is the notebook of {other}" if other else "none of its tasks is in it"
        result.notes.insert(0, f"not the notebook of {teachers.name}: {what}")
    else:
        result.notes += [f"{row.task} was not found: {row.message}" for row in rows if row.state == "missing"]
    result.rows = [asdict(row) for row in rows]
    result.notes += notes
    result.notes += [f"{row.task}: {row.message}" for row in rows if row.message.startswith("stopped")]
    return result


def handed_in_at(submission: Submission) -> float:
    """When a notebook was handed in: as nbgrader has noted beside it, or when it was last changed."""
    note = submission.notebook.with_name("timestamp.txt")
    try:
        from dateutil.parser import parse

        return parse(note.read_text(encoding="utf-8")).timestamp()
    except (OSError, ValueError):
        return submission.notebook.stat().st_mtime

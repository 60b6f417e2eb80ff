"""The page that a student gets back. It holds all that it shows, mathematics and colours included: no network is needed."""

import datetime
import html

from latex2mathml.converter import convert
from marking import Result
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from minitransformer.course.reading import Assignment, Exercise
from minitransformer.course.report import badge, bar, document, notes_html, what_it_says
from minitransformer.course.running import Outcome

SHOWN = 20_000  # characters of an answer


class WithMathematics(IPythonRenderer):
    """Markdown as HTML, with MathML in place of LaTeX."""

    def inline_math(self, body: str) -> str:
        """Turn what stands between single dollars into MathML."""
        return mathematics(body, "inline")

    def block_math(self, body: str) -> str:
        """Turn what stands between double dollars into MathML."""
        return mathematics(body, "block")


def mathematics(latex: str, display: str) -> str:
    """LaTeX as MathML; as it is where it cannot be turned."""
    try:
        return convert(latex, display=display)
    except Exception:  # the library has no error of its own
        return f"<code>{html.escape(latex)}</code>"


def markdown(text: str) -> str:
    """A teacher's text as HTML."""
    return MarkdownWithMath(renderer=WithMathematics(escape=False, exclude_anchor_links=True)).render(text)


def code(source: str) -> str:
    """Python in colours."""
    return highlight(source[:SHOWN], PythonLexer(), HtmlFormatter(style="friendly"))


def folded(title: str, inside: str) -> str:
    """HTML that opens with a click."""
    return f"<details><summary>{html.escape(title)}</summary>\n{inside}\n</details>"


def page(student: str, assignment: Assignment, result: Result, points: dict[str, float], lines: list[str]) -> str:
    """The page of one submission.

    Args:
        student: their name.
        assignment: as released.
        result: what the grading found.
        points: what each task earns, as in the table of grades: a teacher may have changed it.
        lines: what counts besides, as in "1 day late: 10 % off".
    """
    earned, of = sum(points.values()), sum(result.of.values())
    when = f", handed in {datetime.datetime.fromtimestamp(result.time):%d %B %Y, %H:%M}" if result.time else ""
    body = [
        f"<h1>{html.escape(assignment.name)}: {earned:g} of {of:g} points</h1>",
        f"<p><strong>{html.escape(student)}</strong>{when}</p>",
        bar(earned, of),
        notes_html([*lines, *result.notes]),
    ]
    rows = {row["task"]: Outcome(**row) for row in result.rows}
    for task in assignment.tasks:
        body += task_html(task, rows[task.name], points.get(task.name, 0.0))
    style = HtmlFormatter(style="friendly").get_style_defs(".highlight")
    return document(f"{student}: {assignment.name}", "\n".join(body), style)


def task_html(task: Exercise, row: Outcome, points: float) -> list[str]:
    """The part of the page about one task."""
    parts = [
        f'<h2 id="{html.escape(task.name)}">{html.escape(task.title)}</h2>',
        f"<p>{badge(row.state)} <strong>{points:g} of {row.of:g}</strong></p>",
        what_it_says(row),
    ]
    if points != row.points:
        parts.append(f'<p class="note">The teacher gives {points:g} here; the check gives {row.points:g}.</p>')
    if row.answer:
        parts.append(folded("your answer", code(row.answer)))
    if row.printed.strip():
        parts.append(folded("what it printed", f"<pre>{html.escape(row.printed)}</pre>"))
    text = task.text.split("<details>")[0]
    parts.append(folded("the task", markdown(text)))
    if row.state != "done":
        parts += [folded(title, markdown(hint)) for title, hint in task.hints]
        parts.append(folded("the check", code(task.visible_check)))
    return parts

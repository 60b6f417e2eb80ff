"""Web pages on what a notebook of exercises earned. They hold all that they show: no network is needed to read them."""

import html
import os
from pathlib import Path

from minitransformer.course.reading import Assignment
from minitransformer.course.running import Outcome

STATES = {  # state -> what the page calls it
    "done": "right",
    "wrong": "not right yet",
    "error": "ends in an error",
    "open": "open",
    "missing": "not found",
    "not run": "not run",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #1d2430; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem }
pre { background: #f5f6f8; padding: .7rem 1rem; overflow-x: auto; font-size: .85rem; line-height: 1.4 }
table { border-collapse: collapse } td, th { padding: .2rem 1rem .2rem 0; text-align: left }
.state { color: #fff; border-radius: .3rem; padding: .05rem .5rem; font-size: .8rem; font-weight: 600; white-space: nowrap }
.done { background: #1a7f4b } .wrong, .error { background: #b3372f } .missing { background: #8a5a00 } .open, .not_run { background: #5b6575 }
.message { border-left: .25rem solid #b3372f; padding-left: .8rem; white-space: pre-wrap }
.note { border-left: .25rem solid #8a5a00; padding-left: .8rem }
.bar { background: #e3e6ea; height: .6rem; border-radius: .3rem } .bar div { background: #1a7f4b; height: .6rem; border-radius: .3rem }
details { margin: .3rem 0 } summary { cursor: pointer; color: #33509c }
@media (prefers-color-scheme: dark) {
  body { color: #dfe3ea; background: #16191f } pre { background: #22262e } summary { color: #9db4f0 } .bar { background: #333a45 }
}
"""


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: as text.
        body: as HTML.
        style: further rules.
    """
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{STYLE}{style}</style></head>\n<body>\n{body}\n</body></html>\n'


def badge(state: str) -> str:
    """A coloured word for a state."""
    return f'<span class="state {state.replace(" ", "_")}">{STATES[state]}</span>'


def bar(points: float, of: float) -> str:
    """A bar as long as the share of the points."""
    return f'<div class="bar"><div style="width: {100 * points / of if of else 0:.0f}%"></div></div>'


def what_it_says(outcome: Outcome) -> str:
    """The message of a task as HTML; "" where there is none."""
    return f'<p class="message">{html.escape(outcome.message)}</p>' if outcome.message else ""


def notes_html(notes: list[str]) -> str:
    """Notes as HTML."""
    return "\n".join(f'<p class="note">{html.escape(note)}</p>' for note in notes)


def write_report(
    file: Path, results: dict[str, tuple[list[Outcome], list[str]]], assignments: dict[str, Assignment]
) -> None:
    """Write the page of `progress`.

    Args:
        file: where it goes; whole or not at all.
        results: outcomes and notes by assignment.
        assignments: as released.

    Raises:
        OSError: it cannot be written.
    """
    earned = sum(row.points for rows, _ in results.values() for row in rows)
    total = sum(row.of for rows, _ in results.values() for row in rows)
    body = [f"<h1>My exercises: {earned:g} of {total:g} points</h1>", bar(earned, total)]
    for name, (rows, notes) in results.items():
        points, of = sum(row.points for row in rows), sum(row.of for row in rows)
        body += [f"<h2>{html.escape(name)}: {points:g} of {of:g}</h2>", bar(points, of), notes_html(notes)]
        for task, row in zip(assignments[name].tasks, rows, strict=True):
            body.append(f"<p>{badge(row.state)} {html.escape(task.title)}</p>{what_it_says(row)}")
    partial = file.with_name(file.name + ".partial")
    partial.write_text(document("My exercises", "\n".join(body)), encoding="utf-8")
    os.replace(partial, file)

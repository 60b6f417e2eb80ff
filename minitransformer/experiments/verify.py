"""Hold a method against all that a method promises, and say of each promise that is broken what it means and where to look.

In a notebook, `verify(METHOD)` checks here. A file is checked in a process of its own, so that one that hangs, ends
Python or crashes gets an answer too. That is no sandbox: the file runs with all the rights that you have.
"""

import html
import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from minitransformer.experiments import travels  # noqa: F401 (enters its promises)
from minitransformer.experiments.bench import PARTS, Bench
from minitransformer.experiments.own import explain, find
from minitransformer.experiments.promises import PROMISES, Broken, Noted, Promise
from minitransformer.method import Method

START = 120  # seconds that a process may take to import PyTorch, on a busy machine
COLORS = {"kept": "#1a7f4b", "BROKEN": "#b3372f", "noted": "#8a5a00", "skipped": "#5b6575"}


@dataclass(frozen=True)
class Finding:
    """What became of one promise.

    Attributes:
        promise: its name.
        text: what is promised.
        state: "kept"; "BROKEN"; "noted": it does not apply, or something should be known; "skipped": not checked.
        found: what was seen.
        probably: of a broken one, what it probably means.
        look: of a broken one, where to look.
    """

    promise: str
    text: str
    state: str
    found: str
    probably: str = ""
    look: str = ""


@dataclass(frozen=True)
class Report:
    """All findings on a method.

    Attributes:
        method: its name; "" where none was found.
        source: the file, or the name, or "" for a method of this process alone.
        findings: one a promise.
    """

    method: str
    source: str
    findings: tuple[Finding, ...]

    @property
    def kept(self) -> bool:
        """Whether no promise is broken, and none was skipped."""
        return all(finding.state in ("kept", "noted") for finding in self.findings)

    @property
    def broken(self) -> list[str]:
        """Names of the broken promises."""
        return [finding.promise for finding in self.findings if finding.state == "BROKEN"]

    @property
    def verdict(self) -> str:
        """The result in a line."""
        whole = {state: sum(finding.state == state for finding in self.findings) for state in COLORS}
        counts = ", ".join(f"{n} {state.lower()}" for state, n in whole.items() if n)
        found = "every promise is kept" if self.kept else "not yet a method"
        first = f"; begin with {self.broken[0]!r}: others may come from it" if len(self.broken) > 1 else ""
        return f"{self.method or self.source}: {found} ({counts}){first}"

    def as_json(self) -> str:
        """The report for other programs."""
        return json.dumps({"kept": self.kept, "broken": self.broken, **asdict(self)}, indent=1)

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            texts = [finding.found] if finding.state in ("kept", "skipped") else [finding.text, finding.found]
            named = {"probably": finding.probably, "look at": finding.look}
            texts += [f"{label}: {text}" for label, text in named.items() if text]
            wrapped = [line for text in texts for line in textwrap.wrap(text, 94, subsequent_indent="  ")]
            lines += [
                f"{finding.state:<8}{finding.promise:<15}{wrapped[0]}",
                *(" " * 23 + line for line in wrapped[1:]),
            ]
        return "\n".join([*lines, self.verdict])

    def _repr_html_(self) -> str:
        rows = []
        for finding in self.findings:
            told = {"Found": finding.found, "Probably": finding.probably, "Look at": finding.look}
            cell = "<br>".join(f"<i>{label}:</i> {html.escape(text)}" for label, text in told.items() if text)
            state = f'<b style="color: {COLORS[finding.state]}">{finding.state}</b>'
            cells = (state, f"<code>{finding.promise}</code>", html.escape(finding.text), cell)
            rows.append("".join(f'<td style="text-align: left; vertical-align: top">{one}</td>' for one in cells))
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p><b>{html.escape(self.verdict)}</b></p><table>{body}</table>"


def verify(method: Method | str | Path, seconds: float = 60) -> Report:
    """Hold a method against everything that a method promises.

    Args:
        method: a Method, which is checked in this process; or the name of one of the course's, or a Python file that
            says METHOD = Method(...), which is checked in a process of its own.
        seconds: that one promise of a file may take.
    """
    if isinstance(method, Method):
        return Report(method.name, "", tuple(findings(Bench(method))))
    return verify_apart(str(method), seconds)


# ---- here ---------------------------------------------------------------------------------------------------------------


def findings(bench: Bench) -> Iterator[Finding]:
    """Check one promise after the other; without the first, none of the others can be checked."""
    can_go_on = True
    with torch.random.fork_rng(devices=[]):
        for promise in PROMISES.values():
            if can_go_on:
                found = check(promise, bench)
                can_go_on = not (promise.name == "attach" and found.state == "BROKEN")
                yield found
            else:
                yield Finding(promise.name, promise.text, "skipped", "attach comes first")


def check(promise: Promise, bench: Bench) -> Finding:
    """Check one promise; whatever is raised is an answer."""
    try:
        return Finding(promise.name, promise.text, "kept", promise.check(bench))
    except Noted as note:
        return Finding(promise.name, promise.text, "noted", str(note))
    except Broken as broken:
        said = (broken.found, broken.probably, bench.place(broken.look))
    except (Exception, SystemExit) as error:
        said = (
            f"the check ends in {explain(error, bench.file)}",
            "the method's own code raises this where it should not: see the line",
            bench.place(promise.name if promise.name in PARTS else "attach"),
        )
    return Finding(promise.name, promise.text, "BROKEN", *said)


# ---- in a process of its own ----------------------------------------------------------------------------------------------


def verify_apart(source: str, seconds: float) -> Report:
    """Check in a process that may hang, end or crash without harm to this one."""
    with tempfile.TemporaryDirectory() as folder:
        notes, printed = Path(folder) / "notes.jsonl", Path(folder) / "printed.txt"
        notes.touch()
        command = [sys.executable, "-m", "minitransformer.experiments.verify", source, str(notes)]
        with printed.open("w") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
            late = wait(process, notes, seconds)
        said = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
        last = (printed.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1][:300]
    name = next((one["method"] for one in said if "method" in one), "")
    found = [Finding(**one["finding"]) for one in said if "finding" in one]
    if not name:
        why = next((one["wrong"] for one in said if "wrong" in one), late or ended(process.returncode, last))
        cause = "the file must import, quickly, and make one METHOD"
        return Report("", source, (Finding("load", "the file makes a method", "BROKEN", why, cause, source),))
    missing = list(PROMISES.values())[len(found) :]
    for promise in missing:
        if promise is missing[0]:
            told = (
                "BROKEN",
                late or ended(process.returncode, last),
                "an endless loop, or a call that ends Python",
                source,
            )
        else:
            told = ("skipped", "not reached")
        found.append(Finding(promise.name, promise.text, *told))
    return Report(name, source, tuple(found))


def wait(process: subprocess.Popen, notes: Path, seconds: float) -> str:
    """Wait until a process ends, and end it when it takes too long over loading or a promise; then say so."""
    size, since = 0, time.monotonic() + START
    while True:
        try:
            process.wait(timeout=0.1)
            return ""
        except subprocess.TimeoutExpired:
            now = notes.stat().st_size
            if now != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > seconds:
                process.kill()
                process.wait()
                return f"stopped after {seconds:g} s"
        except BaseException:  # Ctrl-C
            process.kill()
            raise


def ended(code: int, last: str) -> str:
    """What to say of a process that ended before its time."""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"Python ended here ({how}){': ' + last if last else ''}"


def main(source: str, notes: str) -> None:
    """Check a method and note each finding at once."""
    with Path(notes).open("w", encoding="utf-8") as file:

        def note(**said: object) -> None:
            file.write(json.dumps(said) + "\n")
            file.flush()

        note(ready=True)
        torch.set_num_threads(1)
        try:
            method = find(source)
        except ValueError as error:
            return note(wrong=str(error))
        note(method=str(method.name))
        for finding in findings(Bench(method, source)):
            note(finding=asdict(finding))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The claims ledger: every checkable statement about the methods, where it is tested, the figure, the verdict.

`docs/claims.toml` holds the statements. The figures are not written there: each is read from the output of the tagged
cell that measured it, so the ledger cannot say anything else than the notebook. A verdict that compares scores is not
written there either, but the comparison: the rules of evidence compute the verdict from the recorded runs.
"""

import html
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minitransformer.experiments import comparisons, evidence
from minitransformer.experiments.comparisons import Comparison
from minitransformer.files import write_text

ROOT = Path(__file__).parents[2]
CLAIMS = ROOT / "docs" / "claims.toml"
LEDGER = ROOT / "CLAIMS.md"
COMPUTED = "computed"  # in docs/claims.toml: the rules of evidence give the verdict
VERDICTS = ("holds", "holds here", "depends", "does not hold", "no room", "undecided", "not testable here")

HEADER = """# The claims, tested

What summaries of parameter-efficient fine-tuning say, in our own words, and what came out when it was tested. Each row points to the
cell (by its tag) or the test that decides it. Figures are copied from the cells' outputs by `python -m minitransformer claims`. *Holds here* means: on our
bases, of 40 to 830 thousand parameters. *No room*: both stand at the ceiling, or both at the floor, so there is no order. *Undecided*: intervals over seeds overlap,
or a run was still learning.

Rows marked "computed" are decided by one rule from recorded runs, five seeds each, every method at the rate that is best for that number of steps. The other rows that
compare scores speak of the seeds and the steps of the cell that they point to.

{tally}
"""


@dataclass(frozen=True, eq=False)
class Claim:
    """One statement and its verdict.

    Args:
        section: the heading that it stands under.
        statement: what is claimed.
        verdict: one of VERDICTS.
        why: one sentence, without figures that the cell does not print.
        where: "NN_name.ipynb#claim-tag" (a cell), "tests/test_x.py::test_name" (a test) or "" (not testable).
        figure: a regular expression that finds the figure in the cell's output; "" for tests, and where COMPUTED.
        compare: where the verdict is COMPUTED, what is compared.
        some: the claim is that one of the comparisons holds; else that all do.
    """

    section: str
    statement: str
    verdict: str
    why: str
    where: str = ""
    figure: str = ""
    compare: Sequence[Comparison] = ()
    some: bool = False


def read_claims(file: Path = CLAIMS) -> list[Claim]:
    """Read the statements.

    Raises:
        ValueError: a key is missing or unknown, a verdict is not one of VERDICTS, or a figure is given twice.
    """
    claims = []
    for entry in tomllib.loads(file.read_text(encoding="utf-8"))["claim"]:
        try:
            compared = [Comparison(**it) for it in entry.pop("compare", ())]
            claim = Claim(**entry, compare=compared)
        except TypeError as error:
            raise ValueError(f"{file.name}: {entry.get('statement', entry)!r}: {error}") from None
        if claim.verdict not in (*VERDICTS, COMPUTED):
            raise ValueError(f"{claim.statement!r}: the verdict {claim.verdict!r} is none of {', '.join(VERDICTS)}")
        if (claim.verdict == COMPUTED) != bool(claim.compare):
            raise ValueError(
                f"{claim.statement!r}: a verdict is {COMPUTED!r} where there is a `compare`, and only there"
            )
        if claim.compare and claim.figure:
            raise ValueError(f"{claim.statement!r}: its figures are those of its `compare`; leave out `figure`")
        claims.append(claim)
    return claims


def cell_output(where: str) -> str:
    """All text that the cell printed or showed, as stored: of "NN_name.ipynb#tag".

    Raises:
        ValueError: there is no such notebook, or not exactly one cell with that tag.
    """
    name, tag = where.split("#")
    file = ROOT / "notebooks" / name
    if not file.exists():
        raise ValueError(f"{where}: there is no such notebook")
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if tag in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{where}: {len(tagged)} cells have this tag, and there must be one")
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in tagged[0]["outputs"]]
    return "\n".join("".join(text) for text in texts)


def decided(claim: Claim) -> tuple[str, str]:
    """The verdict of a claim's comparisons by the rules of evidence, and the figures that decide it, in words.

    Raises:
        ValueError: an arm is not recorded, or not at that step.
    """
    found = [comparisons.decide(it) for it in claim.compare]
    return evidence.together(found, claim.some), comparisons.figures(claim.compare)


def measured(claim: Claim) -> str:
    """The figure of a claim, as the cell that it points to prints it; "" for a claim decided by a test.

    Raises:
        ValueError: the claim points nowhere, or the cell's output does not hold its figure.
    """
    if "::" in claim.where:
        name, function = claim.where.split("::")
        if not (ROOT / name).exists() or f"def {function}(" not in (ROOT / name).read_text(encoding="utf-8"):
            raise ValueError(f"{claim.where}: there is no such test")
        return ""
    if not claim.where:
        if claim.verdict != "not testable here":
            raise ValueError(f"{claim.statement!r} points nowhere; only what is not testable here may")
        return ""
    found = re.search(claim.figure, cell_output(claim.where)) if claim.figure else None
    if found is None:
        raise ValueError(f"{claim.where}: the output does not hold {claim.figure!r}")
    return " ".join(found[0].split())


def link(where: str) -> str:
    """A link for the ledger."""
    if "::" in where:
        name, function = where.split("::")
        return f"[{function}]({name})"
    name, _, tag = where.partition("#")
    return f"[{name.split('_')[0]} `{tag.removeprefix('claim-')}`](notebooks/{name})" if name else ""


def sources(claim: Claim) -> list[str]:
    """Links to the recorded studies that a claim's comparisons read."""
    names = dict.fromkeys(it.record for it in claim.compare)
    return [f"[record `{name}`](minitransformer/recorded/{name}.csv)" for name in names]


def ledger(claims: list[Claim]) -> str:
    """Write the claims as a page of tables, a table a section.

    Raises:
        ValueError: as `measured` does.
    """
    verdicts = {claim: decided(claim)[0] if claim.compare else claim.verdict for claim in claims}
    counts = [f"{n} {word}" for word in VERDICTS if (n := list(verdicts.values()).count(word))]
    page = HEADER.format(tally=f"{len(claims)} claims: {', '.join(counts)}.")
    for section in dict.fromkeys(claim.section for claim in claims):
        page += f"\n## {section}\n\n| claim | verdict | why | measured | where |\n|---|---|---|---|---|\n"
        for claim in claims:
            if claim.section == section:
                figure = (decided(claim)[1] if claim.compare else measured(claim)).replace("|", "\\|")
                shown = f"`{figure}`" if figure else ""
                word = f"**{verdicts[claim]}**" + (" (computed)" if claim.compare else "")
                where = ", ".join(filter(None, [link(claim.where), *sources(claim)]))
                row = (claim.statement, word, claim.why, shown, where)
                page += f"| {' | '.join(row)} |\n"
    return page


SIGNS = {
    "holds": "✓",
    "holds here": "✓",
    "depends": "±",
    "does not hold": "✗",
    "no room": "=",
    "undecided": "?",
    "not testable here": "·",
}


def wall(claims: list[Claim]) -> str:
    """Write the claims as HTML: a square a claim, by section, that opens to the statement, the verdict and the reason.

    Raises:
        ValueError: as `decided` does.
    """
    page = ", ".join(f"{sign} {word}" for word, sign in SIGNS.items()) + ".\n\n"
    for section in dict.fromkeys(claim.section for claim in claims):
        page += f'## {section}\n\n<div class="wall">\n'
        for claim in claims:
            if claim.section == section:
                word = decided(claim)[0] if claim.compare else claim.verdict
                texts = [f"<strong>{html.escape(claim.statement)}</strong>", f"{word}. {html.escape(claim.why)}"]
                square = f'<summary aria-label="{html.escape(claim.statement)} {word}">{SIGNS[word]}</summary>'
                opened = "".join(f"<p>{text}</p>" for text in texts)
                page += f'<details class="{word.replace(" ", "-")}">{square}{opened}</details>\n'
        page += "</div>\n\n"
    return page


def write_ledger() -> Path:
    """Write CLAIMS.md anew, and say where it is.

    Raises:
        ValueError: this is an installed copy, without the lessons; or as `read_claims` and `measured` do. The file
            stays as it was then.
    """
    if not CLAIMS.exists():
        raise ValueError(
            "the claims are read from the lessons' outputs, which an installed copy does not have; "
            "run this in the course's repository, installed with `pip install -e .`"
        )
    write_text(LEDGER, ledger(read_claims()))
    return LEDGER

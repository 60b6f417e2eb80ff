"""The page of mistakes, from site/mistakes.toml and from where each mistake is planted in the tests."""

import tomllib
from pathlib import Path

from minitransformer.experiments.verify import PROMISES

HERE = Path(__file__).parent
OPENING = """# Mistakes that teach

Few of these mistakes end in an error message, which is why they teach. Each is planted in the course's tests, and a test that does not see it fails. So each tells you, too,
what to write when you build a method yourself. To hold a file of your own against the promises that are named here: [verify](../docs/extend.md).
"""


def read_mistakes(file: Path = HERE / "mistakes.toml") -> list[dict]:
    """The groups, each with its `name` and its list `mistake`."""
    return tomllib.loads(file.read_text(encoding="utf-8"))["group"]


def planted(mistake: dict) -> str:
    """Where a mistake is planted, as a sentence."""
    places = []
    if "verify" in mistake:
        places.append(f"`verify` holds every method against it: *{PROMISES[mistake['verify'][1]].text}*")
    if "exercise" in mistake:
        lesson = mistake["exercise"][0]
        places.append(f"the check of [exercise {lesson[:2]}](../exercises/{lesson}/{lesson}.ipynb) names it")
    sentence = "; ".join(places)
    return sentence[0].upper() + sentence[1:]


def page_of_mistakes(groups: list[dict]) -> str:
    """All of them in Markdown."""
    page = OPENING
    for group in groups:
        page += f"\n## {group['name']}\n"
        for mistake in group["mistake"]:
            page += f"\n### {mistake['title']}\n\n{mistake['happens']}\n\n"
            page += f"- **How it looks.** {mistake['looks']}\n- **Why.** {mistake['why']}\n"
            page += f"- **What catches it.** {mistake['test']} ({planted(mistake)}.)\n"
            if "report" in mistake:
                name, address, about = mistake["report"]
                page += f"- **Seen in the open.** [{name}]({address}): {about}.\n"
    return page

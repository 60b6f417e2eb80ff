"""The course as a site: `make site`. First the English pages, then a folder for each language with those translated to it."""

import subprocess
import sys
from pathlib import Path

from translations import LANGUAGES

ROOT = Path(__file__).parents[1]


def main(out: str = "build/site") -> int:
    """Build all pages into a folder; a warning is an error. Returns what a shell wants to know: 0 if there was none."""
    worst = 0
    for options, folder in [([], out), *((["-t", language], f"{out}/{language}") for language in LANGUAGES)]:
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", *options, "-b", "html", "-c", "site"]
        worst = max(worst, subprocess.run([*command, ".", folder], cwd=ROOT, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

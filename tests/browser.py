"""Running the site's JavaScript: in Node, a piece at a time; and in a headless browser, a page at a time."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_node = pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def run_js(scripts: str, folder: Path, body: str, **given):
    """What a piece of JavaScript returns, with `given` as constants."""
    constants = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in given.items())
    file = folder / "run.js"
    file.write_text(f"{scripts}\n{constants}console.log(JSON.stringify((() => {{ {body} }})()));\n", encoding="utf-8")
    done = subprocess.run([NODE, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def opened(page: Path, more: str = "") -> str:
    """A page as a browser leaves it, opened from a file, after some JavaScript more; it must not complain."""
    if more:
        page.write_text(page.read_text("utf-8").replace("</body>", f"<script>{more}</script></body>"), encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    return done.stdout

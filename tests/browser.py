"""Running the site's JavaScript: in Node, a piece at a time; and in a headless browser, a page at a time."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
import websocket  # Jupyter brings it

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


class Page:
    """A page in a headless Chromium that is asked over its debugging socket: keys, colours, widths, requests.

    Args:
        folder: for the browser's own files.
    """

    def __init__(self, folder: Path) -> None:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
                   "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = self.wait_for(lambda: (folder / "DevToolsActivePort").read_text().split()[0])
        targets = self.wait_for(lambda: json.load(urlopen(f"http://127.0.0.1:{port}/json")))
        [address] = [target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"][:1]
        self.socket = websocket.create_connection(address, timeout=120)
        self.calls, self.events = 0, []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    @staticmethod
    def wait_for(look):
        """What `look` gives, as soon as it no longer fails."""
        for _ in range(600):
            try:
                return look()
            except (OSError, IndexError):
                time.sleep(0.1)
        raise TimeoutError("the browser does not start")

    def call(self, method: str, **given) -> dict:
        """Call a method of the Chrome DevTools Protocol; events that come in between are kept."""
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": given}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.calls:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def open(self, address: str, width: int = 1200, dark: bool = False) -> None:
        """Go to a page, at this width, and wait until all of it has loaded."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))

    def ask(self, expression: str):
        """The value of a piece of JavaScript there; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key, as a person would."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def requests(self) -> list[str]:
        """What was asked for since the page was opened."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def complaints(self) -> list[dict]:
        """Errors that the page or the browser wrote down since it was opened."""
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}
        return [event["params"] for event in self.events if event["method"] in kinds]

    def close(self) -> None:
        """End this browser."""
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=60)

"""Write the feedback on graded notebooks in a process of its own.

A text can be made so that turning it into HTML takes hours; then that process is ended, and the next page gets a new one.
Starting one takes seconds, so it serves all pages.
"""

import logging
import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path

START = 120  # seconds that the process may take to start, on a busy machine


class Writer:
    """Writes pages, one at a time, in a process that starts with the first page."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process, self.line = None, None

    def write(self, folder: Path, assignment: str, seconds: float) -> str:
        """Turn a graded notebook into nbgrader's feedback.

        Args:
            folder: holds the notebook, ASSIGNMENT.ipynb, and gradebook.db with its points.
            assignment: its name.
            seconds: how long it may take.

        Returns:
            The page as HTML; "" where it could not be written in time.
        """
        with self.lock:
            try:
                if self.process is None:
                    self.start()
                self.line.send((folder, assignment))
                if self.line.poll(seconds):
                    return self.line.recv()
            except (EOFError, OSError):  # the process has ended
                pass
            self.stop()
            return ""

    def start(self) -> None:
        """Start the process and wait until it is ready, so that its start does not count as a page's time."""
        context = multiprocessing.get_context("spawn")
        self.line, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other,), daemon=True)
        self.process.start()
        other.close()
        if self.line.poll(START):
            self.line.recv()

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.line.close()
            self.process = None


def serve(line: Connection) -> None:
    """Write the pages that are asked for, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for grade.py to handle
    import nbformat
    from assignments import resources
    from nbconvert.exporters import HTMLExporter
    from nbgrader.converters import GenerateFeedback
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.preprocessors import GetGrades

    logging.getLogger("traitlets").setLevel(logging.ERROR)
    exporter = HTMLExporter(config=GenerateFeedback(coursedir=CourseDirectory()).config, sanitize_html=True)
    exporter.register_preprocessor(GetGrades, enabled=True)
    line.send("ready")
    while True:
        try:
            folder, assignment = line.recv()
        except EOFError:
            return
        try:
            notebook = nbformat.read(folder / f"{assignment}.ipynb", as_version=4)
            text, _ = exporter.from_notebook_node(notebook, resources(assignment, folder / "gradebook.db"))
        except Exception:  # whatever a student wrote in there, the next one's page must not wait for it
            text = ""
        line.send(text)

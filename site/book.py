"""The course as one PDF and one EPUB: `make book`. Sphinx writes the text, a Chromium on this machine prints it."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "book"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")


def sphinx(builder: str, *options: str) -> Path:
    """Let Sphinx build the book in one of its formats; return the folder."""
    out = OUT / builder
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-t", "book", "-b", builder, "-c", "site"]
    doctrees = str(OUT / "doctrees" / builder)  # not beside what an EPUB packs
    for old in (out, doctrees):
        shutil.rmtree(old, ignore_errors=True)
    subprocess.run([*command, "-d", doctrees, *options, ".", str(out)], cwd=ROOT, check=True)
    return out


def write_epub() -> Path:
    """The EPUB."""
    [made] = sphinx("epub").glob("*.epub")
    return Path(shutil.copy(made, OUT / "peft-by-hand.epub"))


def with_contents(text: str) -> str:
    """The page with a list of its chapters in front of the first."""
    chapters = re.findall(r'<h2>(.*?)<a class="headerlink" href="(#[^"]*)"', text)
    lines = "".join(f'<p><a href="{target}">{title}</a></p>\n' for title, target in chapters)
    return text.replace(
        '<div class="toctree-wrapper', f'<nav class="chapters">\n{lines}</nav>\n<div class="toctree-wrapper', 1
    )


def write_pdf(browser: str) -> Path:
    """The PDF: one long page, printed, with what a reader of the site would open to see."""
    folder = sphinx("singlehtml", "-D", "html_theme=basic", "-D", "html_css_files=course.css,book.css")
    text = (folder / "site" / "book.html").read_text(encoding="utf-8")
    page = folder / "book.html"  # beside its pictures and styles, as Sphinx means it to be
    page.write_text(with_contents(text).replace("<details>", "<details open>"), encoding="utf-8")
    pdf = OUT / "peft-by-hand.pdf"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:  # not the profile of a browser that is open
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={own}"]
        options = ["--no-pdf-header-footer", f"--print-to-pdf={pdf}", "--generate-pdf-document-outline"]
        subprocess.run([*command, *options, page.as_uri()], check=True, capture_output=True)
    return pdf


def main() -> int:
    """Write both, and say where they are."""
    print(f"written to {write_epub()}")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("no PDF: that needs Chromium or Chrome, which prints it; install one, and run this again")
        return 1
    print(f"written to {write_pdf(browser)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

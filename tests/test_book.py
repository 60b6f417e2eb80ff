"""The book: what it says where nothing can print it, and what it is made of. It is built by hand, and no test builds it."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("book", ROOT / "site" / "book.py")
book = importlib.util.module_from_spec(spec)
spec.loader.exec_module(book)


def test_without_a_browser_it_says_so_in_a_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(book, "write_epub", lambda: tmp_path / "a.epub")
    monkeypatch.setattr(book.shutil, "which", lambda name: None)
    assert book.main() == 1
    assert capsys.readouterr().out.splitlines()[1].startswith("no PDF: that needs Chromium or Chrome")


def test_with_one_it_prints_the_page_beside_its_pictures_with_all_answers_open(monkeypatch, tmp_path):
    def sphinx(builder, *options):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "book.html").write_text("<details><summary>the answer</summary>42</details>")
        return tmp_path

    calls = []
    monkeypatch.setattr(book, "sphinx", sphinx)
    monkeypatch.setattr(book.subprocess, "run", lambda command, **options: calls.append(command))
    assert book.write_pdf("chromium").suffix == ".pdf"
    assert (tmp_path / "book.html").read_text().startswith("<details open>")
    assert calls[0][-1] == (tmp_path / "book.html").as_uri()


def test_every_lesson_is_in_it():
    contents = (ROOT / "site" / "book.md").read_text(encoding="utf-8")
    assert "\n../notebooks/*\n" in contents
    named = [line[3:] for line in contents.splitlines() if line.startswith("../") and "*" not in line]
    assert all((ROOT / f"{name}.md").exists() for name in named)

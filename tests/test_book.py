"""The book: what it says where nothing can print it, and what it is made of. The EPUB is built; no test prints the PDF."""

import importlib.util
import posixpath
import re
import zipfile
from pathlib import Path
from xml.etree import ElementTree

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


def test_its_chapters_are_listed_in_front_of_the_first_and_lead_to_them():
    chapters = [("00 Tiny", "#tiny"), ("06 <em>LoRA</em>", "#lora")]
    text = "".join(f'<h2>{title}<a class="headerlink" href="{to}">¶</a></h2>' for title, to in chapters)
    page = book.with_contents(f'<h1>PEFT</h1><div class="toctree-wrapper compound">{text}</div>')
    contents = page[: page.index('<div class="toctree-wrapper')]
    assert re.findall(r'<a href="([^"]*)">(.*?)</a>', contents) == [(to, title) for title, to in chapters]


def test_contents_and_reading_order_of_the_epub_are_its_files(monkeypatch, tmp_path):
    monkeypatch.setattr(book, "OUT", tmp_path)
    with zipfile.ZipFile(book.write_epub()) as epub:
        packed = epub.namelist()
        files = {name: epub.read(name).decode() for name in packed if name.endswith((".xhtml", ".opf", ".ncx"))}
    for text in files.values():
        ElementTree.fromstring(text)  # a strict reader takes it
    package = files["content.opf"]
    items = ElementTree.fromstring(package).iter("{http://www.idpf.org/2007/opf}item")
    ids = {item.get("href"): item.get("id") for item in items}
    read = re.findall(r'idref="([^"]+)"', package)
    lessons = [f"notebooks/{file.stem}.xhtml" for file in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    assert set(read) <= set(ids.values())
    assert read[: 1 + len(lessons)] == [ids[name] for name in ("site/book.xhtml", *lessons)]
    for name in ("nav.xhtml", "toc.ncx"):
        listed = re.findall(r'(?:href|src)="([^"#]+\.xhtml)', files[name])
        assert set(lessons) <= set(listed) <= set(files)
    for name in lessons:
        inside = re.findall(r'<a [^>]*href="([^"#:]+)["#]', files[name])
        inside += re.findall(r'<link [^>]*href="([^"]+)', files[name])
        assert [link for link in inside if posixpath.normpath(f"notebooks/{link}") not in packed] == []


def test_every_lesson_is_in_it():
    contents = (ROOT / "site" / "book.md").read_text(encoding="utf-8")
    assert "\n../notebooks/*\n" in contents
    named = [line[3:] for line in contents.splitlines() if line.startswith("../") and "*" not in line]
    assert all((ROOT / f"{name}.md").exists() for name in named)

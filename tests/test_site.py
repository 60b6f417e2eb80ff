"""The site, built from the stored notebooks: no warning, nothing from elsewhere, every formula drawn."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Page, needs_chromium

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of a site that was just built; warnings are errors, and a link that leads nowhere is a warning."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "site/build.py", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return out


def test_every_lesson_and_exercise_is_a_page(site):
    for folder in ("notebooks", "exercises"):
        for notebook in (ROOT / folder).rglob("*.ipynb"):
            assert (site / notebook.relative_to(ROOT)).with_suffix(".html").exists()


def test_no_page_asks_for_anything_elsewhere(site):
    for page in site.rglob("*.html"):
        asked = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:)?//[^"]*"', page.read_text("utf-8"))
        assert asked == [], page.name
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text("utf-8")


def test_formulas_are_mathml(site):
    page = (site / "notebooks" / "06_lora.html").read_text("utf-8")
    assert page.count("<math") > 5
    assert "\\frac" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.S)


def test_what_is_said_to_nbdev_is_not_on_the_page(site):
    for page in (site / "notebooks").glob("*.html"):
        code = "".join(re.findall(r"<pre>.*?</pre>", page.read_text("utf-8"), flags=re.S))  # a lesson may speak of it
        text = re.sub(r"<[^>]*>", "", code)
        assert "#| default_exp" not in text
        assert "#| export" not in text


def test_search_finds_dora(site):
    index = (site / "searchindex.js").read_text("utf-8")
    terms = json.loads(index[index.index("(") + 1 : index.rindex(")")])
    pages = []
    for kind in ("terms", "titleterms"):  # a word of a page's title is not among its other words
        found = terms[kind].get("dora", [])
        pages += found if isinstance(found, list) else [found]
    assert "notebooks/07_dora" in [terms["docnames"][number] for number in pages]


def test_every_claim_is_a_square_on_the_wall(site):
    page = (site / "site" / "wall.html").read_text("utf-8")
    ledger = (ROOT / "CLAIMS.md").read_text("utf-8")
    assert page.count("<details") == int(re.search(r"(\d+) claims:", ledger)[1])


def test_translated_lesson_and_its_original_lead_to_each_other(site):
    original, translation = (site / folder / "notebooks" / "05_ia3.html" for folder in ("", "de"))
    assert '<a href="../de/notebooks/05_ia3.html" hreflang="de" lang="de">' in original.read_text("utf-8")
    page = translation.read_text("utf-8")
    assert '<html class="no-js" lang="de"' in page
    links = re.findall(r'<a [^>]*href="([^"#:]*html)', page)
    assert {"../../notebooks/05_ia3.html", "../../exercises/05_ia3/05_ia3.html"} <= set(links)
    assert [link for link in links if not (translation.parent / link).exists()] == []


def test_playground_is_there_with_its_numbers(site):
    assert (site / "playground" / "index.html").exists()
    assert "lora learn" in (site / "playground" / "data.js").read_text("utf-8")
    assert 'href="../playground/index.html"' in (site / "site" / "index.html").read_text("utf-8")


# ---- for everyone: alt texts, keyboard, contrast, a phone ---------------------------------------------------------------

PAGES = [  # of every kind
    "site/index.html",
    "notebooks/06_lora.html",
    "exercises/06_lora/06_lora.html",
    "docs/extend.html",
    "docs/cheat_sheet.html",
    "docs/glossary.html",
    "docs/commands.html",
    "docs/teachers_plan.html",
    "site/wall.html",
    "site/mistakes.html",
    "site/reference.html",
    "CLAIMS.html",
    "minitransformer/recorded/README.html",
    "playground/index.html",
    "calculator/index.html",
    "genindex.html",
    "search.html",
    "de/site/locales/de/index.html",
    "de/notebooks/05_ia3.html",
]
each_page = pytest.mark.parametrize("address", PAGES)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    browser = Page(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


def test_every_picture_has_a_text_that_says_what_it_shows(site):
    for file in site.rglob("*.html"):
        pictures = re.findall(r"<img [^>]*>", file.read_text("utf-8"))
        texts = [re.search(r'alt="([^"]*)"', picture) for picture in pictures]
        assert [
            picture for picture, alt in zip(pictures, texts, strict=True) if not alt or len(alt[1].split()) < 3
        ] == []
    lesson = (site / "notebooks" / "12_seven_billion.html").read_text("utf-8")
    assert len(set(re.findall(r'<img [^>]*alt="([^"]*)"', lesson))) > 2  # its own, each


@needs_chromium
@each_page
def test_page_asks_for_nothing_elsewhere_and_does_not_complain(site, page, address):
    page.open((site / address).as_uri())
    assert {request.split(":")[0] for request in page.requests()} <= {"file", "data"}
    assert page.complaints() == []


@needs_chromium
def test_search_in_the_browser_finds_dora(site, page):
    page.open((site / "search.html").as_uri() + "?q=DoRA")
    found = """new Promise((resolve) => { const look = () => {
        const links = [...document.querySelectorAll("#search-results li a")].map((link) => link.href);
        links.length ? resolve(links) : setTimeout(look, 100);
    }; look(); })"""
    assert any("notebooks/07_dora.html" in link for link in page.ask(found))


# Texts whose contrast with what is behind them is too small by WCAG 2, level AA; large ones may have less.
FAINT = """(() => {
    const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const over = (front, back) => front.slice(0, 3).map((v, i) => v * (front[3] ?? 1) + back[i] * (1 - (front[3] ?? 1)));
    const behind = (element) => {
        if (!element) return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
        const own = channels(getComputedStyle(element).backgroundColor);
        return (own[3] ?? 1) === 1 ? own.slice(0, 3) : over(own, behind(element.parentElement));
    };
    const faint = new Map();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const style = getComputedStyle(element);
        const shown = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        if (!walker.currentNode.data.trim() || !shown || element.closest("script, style, noscript, :disabled")) continue;
        const back = behind(element);
        const [a, b] = [light(over(channels(style.color), back)), light(back)].sort((x, y) => x - y);
        const size = parseFloat(style.fontSize);
        const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
        const ratio = (b + 0.05) / (a + 0.05);
        const kind = `${element.tagName}.${element.className} ${style.color} on ${back.map(Math.round)}`;
        if (ratio < needed) faint.set(kind, `${ratio.toFixed(2)} ${walker.currentNode.data.trim().slice(0, 30)}`);
    }
    return [...faint].map(([kind, found]) => `${kind}: ${found}`);
})()"""


@needs_chromium
@each_page
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(site, page, address, dark):
    page.open((site / address).as_uri(), dark=dark)
    assert page.ask(FAINT) == []


# Of each canvas: its ground, the page's, and the contrast of each colour that covers more than a few of its points.
DRAWN = """[...document.querySelectorAll("canvas")].map((canvas) => {
    const light = (rgb) => {
        const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = getComputedStyle(canvas).backgroundColor;
    const behind = light(ground.match(/\\d+/g).map(Number));
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const points = {};
    for (let i = 0; i < data.length; i += 4)
        if (data[i + 3] === 255) (points[data.slice(i, i + 3)] ??= []).push(i);
    const often = Object.entries(points).filter(([, places]) => places.length > 20).map(([rgb]) => light(rgb.split(",").map(Number)));
    const contrasts = often.map((own) => (Math.max(own, behind) + 0.05) / (Math.min(own, behind) + 0.05));
    return [ground, getComputedStyle(document.body).backgroundColor, contrasts];
})"""


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_what_the_playground_draws_stands_on_the_page_s_own_ground_and_apart_from_it(site, page, dark):
    page.open((site / "playground" / "index.html").as_uri(), dark=dark)
    page.ask("start(); for (let step = 0; step < 30; step++) trainOn(); stop()")
    canvases = page.ask(DRAWN)
    assert len(canvases) == 2
    assert len(canvases[1][2]) >= 3  # the frame, the loss, the score
    for ground, paper, contrasts in canvases:
        assert ground == paper
        assert min(contrasts) >= 3


@needs_chromium
@pytest.mark.parametrize("lesson", ["00_tiny_transformer", "05_ia3", "08_ladder_side_tuning", "09_mam_adapter"])
def test_formulas_side_by_side_are_not_cut_off(site, page, lesson):
    page.open((site / "notebooks" / f"{lesson}.html").as_uri(), width=1280)
    cut = "formulas.filter((formula) => formula.scrollWidth > formula.clientWidth + 1).map((formula) => formula.textContent)"
    assert page.ask(f"(formulas = [...document.querySelectorAll('math[display=block]')], {cut})") == []
    assert page.ask("formulas.length") > 1


# What would take the text along if it scrolled sideways: the page, and the theme's column. What is wide scrolls by itself.
SCROLLING = """[document.documentElement, document.body, ...document.querySelectorAll(".content, article")]
    .map((element) => [element.tagName + "." + element.className, element.scrollWidth])
    .filter(([name, width]) => width > innerWidth)"""


@needs_chromium
@each_page
def test_page_fits_a_phone(site, page, address):
    page.open((site / address).as_uri(), width=390)
    assert page.ask("innerWidth") == 390
    assert page.ask(SCROLLING) == []


@needs_chromium
def test_ledger_on_a_phone_is_read_without_scrolling_sideways(site, page):
    page.open((site / "CLAIMS.html").as_uri(), width=390)
    claims = page.ask("[...document.querySelectorAll('tbody td')].filter((cell) => cell.checkVisibility()).map((cell) => "
                      "[cell.getBoundingClientRect().left, cell.getBoundingClientRect().right, cell.scrollWidth - cell.clientWidth])")  # fmt: skip
    assert len(claims) > 300
    assert min(left for left, _, _ in claims) >= 0
    assert max(right for _, right, _ in claims) <= 390
    assert max(hidden for _, _, hidden in claims) <= 0
    wide = "[...document.querySelectorAll('.table-wrapper')].filter((table) => table.scrollWidth > table.clientWidth).length"
    assert page.ask(wide) == 0


# What can be used on a page: links, buttons, fields, what opens. In a group of radio buttons one is enough.
USABLE = """[...document.querySelectorAll("a[href], button, input, select, textarea, summary")]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.disabled)"""


@needs_chromium
@pytest.mark.parametrize("address", ["site/wall.html", "playground/index.html", "calculator/index.html"])
def test_everything_that_can_be_used_is_reached_by_the_keyboard(site, page, address):
    page.open((site / address).as_uri())
    number = page.ask(f"(window.usable = {USABLE}, window.reached = new Set(), usable.length)")
    for _ in range(number + 3):
        page.press("Tab", 9)
        page.ask("void reached.add(document.activeElement)")
    missed = "usable.filter((element) => !reached.has(element)).map((element) => element.outerHTML.slice(0, 100))"
    assert page.ask(missed) == []
    assert number > 10


# Where the keyboard is: the width of what frames it, and whether that frame can be told from the page (contrast of 3).
FRAMED = """(() => {
    const light = (colour) => {
        const channels = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
        const [r, g, b] = channels.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(document.activeElement);
    const [a, b] = [light(outlineColor), light(getComputedStyle(document.body).backgroundColor)].sort((x, y) => x - y);
    return [outlineStyle, parseFloat(outlineWidth), (b + 0.05) / (a + 0.05), document.activeElement.tagName];
})()"""


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("address", ["playground/index.html", "calculator/index.html"])
def test_where_the_keyboard_is_can_be_seen(site, page, address, dark):
    page.open((site / address).as_uri(), dark=dark)
    for _ in range(page.ask(f"{USABLE}.length")):
        page.press("Tab", 9)
        style, width, contrast, name = page.ask(FRAMED)
        assert name != "BODY"
        assert style != "none"
        assert width >= 2
        assert contrast >= 3


@needs_chromium
def test_the_keyboard_stays_on_what_was_used(site, page):
    page.open((site / "playground" / "index.html").as_uri())
    page.ask("document.querySelectorAll('#rows select')[1].focus()")
    page.press("ArrowDown", 40)
    page.press("ArrowDown", 40)
    assert page.ask("[...document.querySelectorAll('#rows select')].indexOf(document.activeElement)") == 1
    page.ask("void (document.getElementById('start').focus(), start())")
    assert page.ask("document.activeElement.id") == "stop"
    page.ask("stop()")
    assert page.ask("document.activeElement.id") == "start"


@needs_chromium
@pytest.mark.parametrize("address", ["playground/index.html", "calculator/index.html"])
def test_every_field_has_a_label(site, page, address):
    page.open((site / address).as_uri())
    unnamed = "[...document.querySelectorAll('input, select')].filter((field) => !field.labels.length && !field.ariaLabel).length"
    assert page.ask(unnamed) == 0

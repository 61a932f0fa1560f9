"""Every page of the site as a browser sees it: in light and dark, on a desk and a phone, without JavaScript."""

import subprocess

import pytest

from tests.browser.conftest import PAGES, needs_npm_tools, start_figures, violations
from tools.build import SITE
from tools.lighthouse import NPM_TOOLS

CHAPTERS = [name for name in PAGES if name.startswith("chapters/")]
STATES = [*PAGES, "search.html?q=momentum"]
PHONE = 360
# A figure below the fold loads late: here it is asked to come at once.
LOADED = """image => {
    image.loading = "eager";
    return image.decode().then(() => image.naturalWidth > 0, () => false);
}"""
# Its height over its width, with what the style sheets pad it taken off, against that of its file.
DISTORTED = """image => {
    const style = getComputedStyle(image);
    const inner = (...sides) => sides.reduce((sum, side) => sum + parseFloat(style["padding" + side]), 0);
    const width = image.clientWidth - inner("Left", "Right"), height = image.clientHeight - inner("Top", "Bottom");
    return Math.abs(height - width * image.naturalHeight / image.naturalWidth) > 2 ? `${width} x ${height}` : null;
}"""
# On a phone; 9 points are 8 pixels then.
SMALL = """images => images.filter(image =>
    image.clientWidth > 0 && image.clientWidth < 0.44 * image.getAttribute("width")
).map(image => image.alt)"""
# A figure that has more on the right fades there, no other does.
FADED_WRONGLY = """frames => frames.filter(frame => {
    const more = frame.scrollWidth - frame.clientWidth - frame.scrollLeft > 1;
    return more != (parseFloat(getComputedStyle(frame).getPropertyValue("--fade")) > 0);
}).length"""
NOT_DRAWN = """formulas => formulas.filter(formula => {
    const drawn = formula.querySelector("mjx-math")?.getBoundingClientRect();
    return !(drawn?.width > 0 && drawn.height > 0);
}).map(formula => formula.textContent)"""
# What scrolls sideways, formulas in the text apart, which may stick out by a hair.
OUT_OF_REACH = """Array.from(document.querySelectorAll("article *")).filter(element =>
    element.scrollWidth > element.clientWidth + 1 && element.tabIndex < 0 && element.clientWidth > 0
    && ["auto", "scroll"].includes(getComputedStyle(element).overflowX)
).map(element => element.outerHTML.slice(0, 120))"""
ON_SCREEN = """Array.from(document.querySelectorAll(".prev-next-area *"))
    .every(element => element.getBoundingClientRect().right <= innerWidth)"""
# The theme shows it to whoever scrolls up.
BACK_TO_TOP = "document.querySelectorAll('#pst-back-to-top').forEach(button => { button.style.display = 'block'; })"
TWICE = "Array.from(document.querySelectorAll('[id]'), e => e.id).filter((id, i, all) => all.indexOf(id) < i)"


def open_folds(page):
    """Open hints, solutions and folded code."""
    page.locator("details").evaluate_all("folds => folds.forEach(fold => { fold.open = true; })")


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_whole_and_asks_nobody_else(home, visit, name, scheme):
    """One visit, because a chapter takes seconds to open; it begins on a phone and ends on a desk."""
    page = visit(f"{home}/{name}", width=PHONE, color_scheme=scheme, has_touch=True)
    if name != "404.html":  # it stands alone, and follows the browser
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.locator("article .math").count() == page.locator("article .math mjx-container").count()
    assert page.locator("mjx-container:not(:has(mjx-assistive-mml math))").count() == 0, "no MathML for screen readers"
    for image in page.locator("article img").all():
        alt = image.get_attribute("alt")
        assert alt and "_images/" not in alt, f"no alt text: {image.get_attribute('src')}"
        assert image.evaluate(LOADED), f"does not load: {image.get_attribute('src')}"
        if image.is_visible():
            assert image.evaluate(DISTORTED) is None, f"out of proportion: {image.get_attribute('src')}"
    assert page.locator(".picture img").evaluate_all(SMALL) == [], "figures with letters too small to read"
    assert page.locator(".picture").evaluate_all(FADED_WRONGLY) == 0, "figures that don't show whether there is more"
    start_figures(page)
    open_folds(page)
    assert page.locator(".cell.tag_hide-input:not(:has(details.hide))").count() == 0, "code that should be folded"
    assert page.evaluate(TWICE) == [], "ids that stand twice in the page"
    for width in (PHONE, 400, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(ON_SCREEN), f"the links to the next pages leave the screen at {width} pixels"
        if page.evaluate(OUT_OF_REACH):
            page.wait_for_timeout(400)  # the theme looks anew at what is too wide
        assert page.evaluate(OUT_OF_REACH) == [], "what the keyboard cannot scroll"
    assert page.context.cookies() == []


@needs_npm_tools
@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("scheme, width", [("light", PHONE), ("dark", 1280)])
def test_page_is_accessible(home, visit, name, scheme, width):
    finger = {"is_mobile": True, "has_touch": True} if width == PHONE else {}
    page = visit(f"{home}/{name}", width=width, color_scheme=scheme, reduced_motion="reduce", **finger)
    start_figures(page)
    open_folds(page)
    page.evaluate(BACK_TO_TOP)
    assert violations(page) == []
    assert page.evaluate("document.getAnimations().length") == 0, "something moves, although less motion is asked for"


@needs_npm_tools
def test_html_is_valid():
    """Every page as it lies on the disk, by the HTML standard's own rules."""
    files = [SITE / name for name in PAGES]
    command = [NPM_TOOLS / ".bin" / "html-validate", "--preset=standard", "--formatter=text", *files]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_reads_without_javascript(home, visit, name):
    page = visit(f"{home}/{name}", java_script_enabled=False)
    pictures = page.locator(".interactive img").all()
    assert len(pictures) == page.locator(".interactive").count() > 0
    assert all(picture.is_visible() for picture in pictures)
    open_folds(page)
    assert page.locator("article .math").evaluate_all(NOT_DRAWN) == []


@pytest.mark.parametrize("name", CHAPTERS)
@pytest.mark.parametrize("width", [PHONE, 1280])
def test_link_to_a_cell_or_a_section_arrives_there(home, visit, name, width):
    page = visit(f"{home}/{name}", width=width)
    cells = page.locator("article .cell[id]:visible").evaluate_all("cells => cells.map(cell => cell.id)")
    for anchor in (cells[len(cells) // 2], "recall"):
        page.goto("about:blank")
        page.goto(f"{home}/{name}#{anchor}", wait_until="load")
        page.wait_for_timeout(1000)  # figures mount on the way
        top = page.locator(f"#{anchor}").bounding_box()["y"]
        assert 0 <= top < 200, f"{anchor} is {top:.0f} pixels from the window's upper edge"
    page.goto("about:blank")
    page.goto(f"{home}/{name}", wait_until="domcontentloaded")
    page.locator('a[href="#recall"]').first.evaluate("link => link.click()")  # before the page is laid out
    page.wait_for_timeout(1000)
    assert 0 <= page.locator("#recall").bounding_box()["y"] < 200


def test_search_finds_a_word_with_no_network(mini, visit):
    for address, excerpts in ((mini[1], True), (mini[0].as_uri(), False)):  # the latter is the site on a disk
        page = visit(f"{address}/search.html?q=edges")
        page.get_by_text("Search finished").wait_for()
        results = page.locator("#search-results li")
        assert results.count() > 0 and (results.locator(".context").count() > 0) == excerpts

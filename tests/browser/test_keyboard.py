"""The site without a mouse: what has the focus shows it, and what opens by a click opens by the keyboard as well."""

import pytest

from tests import mini_site
from tests.browser.conftest import PAGES, start_figures

PHONE = 360
OPACITY = "link => getComputedStyle(link).opacity"
CHAPTER = next((name for name in PAGES if name.startswith("chapters/")), PAGES[0])
# In a figure a part of what has the focus may show it, in a form the frame around.
FOCUSED = """() => {
    const element = document.activeElement, box = element.getBoundingClientRect();
    const parts = [element, ...element.querySelectorAll("*"), element.closest("form") ?? element];
    const ringed = parts.map((part) => getComputedStyle(part)).some((style) =>
        parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== "none" || style.boxShadow !== "none"
        || element.matches("svg *") && parseFloat(style.strokeWidth) > 3);
    const seen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return {end: element === document.body, hidden: element !== document.body && !(ringed && seen)
        && `${element.outerHTML.slice(0, 120)} from ${box.top} to ${box.bottom}, ringed: ${ringed}`};
}"""


def next_stop(page):
    page.keyboard.press("Tab")
    for _ in range(100):  # a busy browser takes its time to scroll there; a stop that stays hidden is one
        if not (focused := page.evaluate(FOCUSED))["hidden"]:
            break
        page.wait_for_timeout(100)
    return focused


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [PHONE, 1280])
def test_whatever_has_the_focus_shows_it(home, visit, name, width):
    page = visit(f"{home}/{name}", width=width, reduced_motion="reduce")
    start_figures(page)  # what they hold has stops, too
    page.evaluate("scrollTo(0, 0)")
    stops = 0
    while not (focused := next_stop(page))["end"]:
        assert not focused["hidden"], f"has the focus, and does not show it: {focused['hidden']}"
        stops += 1
        assert stops < 1000, "the keyboard never leaves the page"
    assert stops


@pytest.mark.parametrize("kind", ["h2 > a", ".linked:has(.math) > a", ".cell_output > .linked > a"])
def test_link_to_a_place_is_within_reach_of_keyboard_and_finger(mini, visit, kind):
    for options, opacity in (({}, "0"), ({"is_mobile": True, "has_touch": True}, "1")):
        page = visit(f"{mini[1]}/chapters/{mini_site.NAME}.html", **options)
        link = page.locator(f"article {kind}.headerlink").first
        assert link.evaluate(OPACITY) == opacity
        link.focus()
        assert link.evaluate("link => link === document.activeElement") and link.evaluate(OPACITY) == "1"


def test_first_stop_skips_to_the_text(home, visit):
    page = visit(f"{home}/{CHAPTER}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_search_opens_finds_and_closes(home, visit):
    page = visit(f"{home}/{CHAPTER}")
    field = page.get_by_role("searchbox")
    page.keyboard.press("Control+k")
    assert field.is_visible()
    page.keyboard.press("Escape")
    assert not field.is_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("momentum")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=momentum**")


def test_colours_switch(home, visit):
    page = visit(f"{home}/{CHAPTER}", color_scheme="light")
    button = page.get_by_role("button", name="Color mode")
    themes = set()
    for _ in range(3):
        button.press("Enter")
        themes.add(page.evaluate("document.documentElement.dataset.theme"))
    assert themes == {"light", "dark"}


@pytest.mark.parametrize("toggle, link", [("primary", "Glossary"), ("secondary", "Recall")])
def test_menu_on_a_phone_opens_and_closes(home, visit, toggle, link):
    page = visit(f"{home}/{CHAPTER}", width=PHONE)
    menu, link = page.locator("dialog[open]"), page.get_by_role("link", name=link, exact=True).first
    page.locator(f"button.{toggle}-toggle").first.press("Enter")
    menu.wait_for()
    for _ in range(100):
        page.keyboard.press("Tab")
        if link.evaluate("link => link === document.activeElement"):
            break
    else:
        pytest.fail("the keyboard does not reach the menu's links")
    page.keyboard.press("Escape")
    menu.wait_for(state="detached")


def test_download_menu_opens(home, visit):
    page = visit(f"{home}/{CHAPTER}")
    page.get_by_role("button", name="Download this page").press("Enter")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('.dropdown-menu') !== null")


def test_folded_code_opens(home, visit):
    page = visit(f"{home}/{CHAPTER}")
    fold = page.locator("article details.hide").first
    fold.locator("summary").press("Enter")
    assert fold.locator("pre").is_visible()

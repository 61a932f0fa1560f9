"""Every page of the site as a browser sees it: in light and dark, on a desk and a phone, without JavaScript."""

import pytest

from tests.mini_site import ROOT

SITE = ROOT / "_build" / "html"
PAGES = sorted(
    str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if "_static" not in path.relative_to(SITE).parts
) or ["index.html"]


@pytest.fixture(scope="module")
def home(serve):
    if not (SITE / "index.html").exists():
        pytest.fail(f"there is no site in {SITE} to look at: run `make book` first")
    return serve(SITE)


def wait_for_math(page):
    page.wait_for_function("!window.MathJax || (MathJax.startup?.promise && MathJax.startup.promise.then(() => true))")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_whole_and_asks_nobody_else(home, visit, name, scheme):
    page = visit(f"{home}/{name}", color_scheme=scheme)
    wait_for_math(page)
    assert page.complaints == []
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.locator("mjx-merror").count() == 0
    assert page.locator("article .math").count() == page.locator("article .math mjx-container").count()
    for image in page.locator("article img").all():
        alt = image.get_attribute("alt")
        assert alt and "_images/" not in alt, f"no alt text: {image.get_attribute('src')}"
        assert image.evaluate("image => image.complete && image.naturalWidth > 0")
    assert page.locator(".interactive:not(.mounted)").count() == 0


@pytest.mark.parametrize("name", PAGES)
def test_page_fits_a_phone(home, visit, name):
    page = visit(f"{home}/{name}", has_touch=True)
    wait_for_math(page)
    for width in (400, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("chapters/")])
def test_chapter_reads_without_javascript(home, visit, name):
    page = visit(f"{home}/{name}", java_script_enabled=False)
    assert page.complaints == []
    pictures = page.locator(".interactive img").all()
    assert len(pictures) == page.locator(".interactive").count()
    assert all(picture.is_visible() for picture in pictures)


def test_search_finds_a_word_with_no_network(home, visit):
    page = visit(f"{home}/search.html?q=claim")
    page.locator("#search-results li").first.wait_for()
    assert page.complaints == []

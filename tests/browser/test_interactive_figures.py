"""What every interactive figure owes its reader: a static picture, labels, a page that fits a phone, no complaint."""

import pytest

from tests import mini_site
from tests.browser.conftest import bring_near, start_figures, visit_figures

FIGURES = pytest.mark.parametrize("css", mini_site.INTERACTIVE)
# The words by which a screen reader knows an element, as far as these figures give them.
NAME = """element => (element.getAttribute("aria-label") ?? [...(element.labels ?? []), element]
    .map(part => part.textContent).join(" ")).trim()"""

# [red, green, blue] of an element's colour, and of what is behind it: the page, and the tint of its row if any.
SHADES = """(element, property) => {
    const paint = (...colours) => {
        const context = new OffscreenCanvas(1, 1).getContext("2d");
        for (context.fillStyle of colours) context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const page = getComputedStyle(document.body).backgroundColor, row = element.previousElementSibling;
    const behind = row?.matches("rect.data, rect.grad") ? [page, getComputedStyle(row).fill] : [page];
    return [paint(...behind, getComputedStyle(element)[property]), paint(...behind)];
}"""
COLOURED = [  # elements, the property that colours them, the least contrast: WCAG 2.2, 1.4.3 and 1.4.11
    ("p, label, th, td, select, button:not(.main)", "color", 4.5),
    (".field, .handle .knob:not(.bars *)", "stroke", 3),
    ("svg text", "fill", 4.5),
    (
        ".axis, .edge path:not(.tip), .box, .contours path, .way, .step, .curve path",
        "stroke",
        3,
    ),
    (".tip, .spot, .logit, .probability, .gradient, .bars .knob", "fill", 3),
]


def chapter(site):
    return f"{site[1]}/chapters/{mini_site.NAME}.html"


@FIGURES
def test_figure_takes_the_place_of_its_picture(interactive, css):
    figure = interactive(css)
    assert figure.is_visible() and figure.get_attribute("aria-label").startswith("Interactive figure: ")
    assert figure.page.locator(f"#cell-{css} .interactive > img").is_hidden()


@FIGURES
def test_every_control_has_a_name_and_shows_its_focus(interactive, css):
    figure = interactive(css)
    controls = figure.locator("button, input, select, [tabindex='0']").all()
    assert len(controls) > 4
    for control in controls:
        assert control.evaluate(NAME), f"no name: {control.evaluate('element => element.outerHTML')}"
        if control.is_disabled():
            continue
        figure.page.keyboard.press("Tab")  # from now on the browser shows what has the focus
        control.focus()
        mark = control.evaluate(
            """element => [element, ...element.children].some(part => {
                const style = getComputedStyle(part);
                return style.outlineStyle !== "none" || parseFloat(style.strokeWidth) >= 3;
            })"""
        )
        assert mark, f"nothing shows the focus: {control.evaluate('element => element.outerHTML')}"
    for picture in figure.locator("svg:not([aria-hidden])").all():
        assert picture.get_attribute("aria-label")


@FIGURES
@pytest.mark.parametrize("width", [360, 480, 700, 768, 1280])
def test_figure_fits_its_page_and_stays_legible(interactive, css, width):
    figure = interactive(css, width=width)
    assert figure.page.evaluate("document.documentElement.scrollWidth") <= width
    right = figure.bounding_box()["x"] + figure.bounding_box()["width"]
    inside = "element => element.getBoundingClientRect().right"
    for part in figure.locator("button, input, select, label, table, p, svg text").all():
        assert part.evaluate(inside) <= right, f"sticks out: {part.evaluate('element => element.outerHTML')}"
    for text in figure.locator("svg text").all():
        size = text.evaluate("element => parseFloat(getComputedStyle(element).fontSize) * element.getScreenCTM().a")
        assert size >= 11, f"{size:.1f} px: {text.text_content()}"


def luminance(shade):
    """Relative luminance of [red, green, blue] in 0..255. Source: WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in shade)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@FIGURES
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_stand_out(interactive, css, scheme):
    figure = interactive(css, color_scheme=scheme)
    for selector, colour, least in COLOURED:
        for element in figure.locator(selector).all():
            dark, light = sorted(luminance(shade) for shade in element.evaluate(SHADES, colour))
            contrast = (light + 0.05) / (dark + 0.05)
            assert contrast >= least, f"{contrast:.2f}: {element.evaluate('element => element.outerHTML')}"


@FIGURES
def test_picture_stands_without_javascript(mini, visit, css):
    picture = visit(chapter(mini), java_script_enabled=False).locator(f"#cell-{css} .interactive img")
    assert picture.is_visible() and picture.get_attribute("alt") == mini_site.INTERACTIVE[css]().alt()


def test_a_figure_waits_until_the_window_comes_near(mini, visit):
    last = visit(chapter(mini)).locator(".interactive").last
    last.locator(".bookfig").wait_for(state="detached")
    assert last.locator("img").is_visible()
    bring_near(last)
    last.locator(".bookfig").wait_for()
    assert last.locator("img").is_hidden()


def test_pictures_stand_if_the_figures_fail(mini, visit):
    folder, address = mini
    page = (folder / "chapters" / f"{mini_site.NAME}.html").read_text(encoding="utf-8")
    page = page.replace("function render(", "function gone(")
    (folder / "chapters" / "broken.html").write_text(page, encoding="utf-8")
    broken = visit(f"{address}/chapters/broken.html")
    visit_figures(broken)
    broken.wait_for_load_state("networkidle")
    pictures = broken.locator(".interactive img").all()
    assert len(pictures) == len(mini_site.INTERACTIVE) and all(picture.is_visible() for picture in pictures)
    assert sum("could not start" in complaint for complaint in broken.complaints) == len(pictures)
    broken.complaints.clear()


def test_page_works_when_opened_from_disk(mini, visit):
    page = visit((mini[0] / "chapters" / f"{mini_site.NAME}.html").as_uri())
    start_figures(page)
    page.locator("mjx-container").first.wait_for()


@FIGURES
def test_print_shows_the_static_picture(interactive, css):
    figure = interactive(css)
    figure.page.emulate_media(media="print")
    assert figure.page.locator(f"#cell-{css} .interactive > img").is_visible() and figure.is_hidden()

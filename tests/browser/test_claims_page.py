"""The claims page's table and the landing page's figure, as a reader uses them."""

import pytest


@pytest.fixture
def claims(mini, visit):
    page = visit(f"{mini[1]}/claims.html")
    page.locator(".filter").wait_for()
    return page


def shown(page):
    return [row.inner_text() for row in page.locator("table.claims tbody tr:visible").all()]


def test_words_and_verdict_filter_the_claims(claims):
    assert len(shown(claims)) == 2
    claims.get_by_label("Containing").fill("edges > pix")
    (row,) = shown(claims)
    assert "Edges > pixels" in row and claims.get_by_role("status").inner_text() == "1 of 2 claims"
    claims.evaluate("document.querySelector('table.claims tbody td').append(' isn’t')")
    claims.get_by_label("Containing").fill("isn't")  # as keyboards write it
    assert len(shown(claims)) == 1
    claims.get_by_label("Containing").fill("")
    claims.get_by_label("Verdict").select_option("holds")
    (row,) = shown(claims)
    assert "Pixels beat edges" in row


def test_heading_sorts_by_mouse_and_keyboard(claims):
    heading = claims.get_by_role("button", name="Claim")
    heading.click()
    assert ["Edges" in row for row in shown(claims)] == [True, False]
    heading.press("Enter")
    assert ["Edges" in row for row in shown(claims)] == [False, True]
    assert heading.locator("..").get_attribute("aria-sort") == "descending"


def test_landing_page_races_unless_motion_is_reduced(mini, visit):
    steps = {}
    for motion in ("no-preference", "reduce"):
        page = visit(f"{mini[1]}/index.html", reduced_motion=motion)
        page.locator(".interactive.mounted").wait_for()
        picture, steps[motion] = page.locator(".bookfig svg").first, set()
        for _ in range(4):
            steps[motion].add(picture.inner_html())
            page.wait_for_timeout(150)
    assert len(steps["no-preference"]) > 1 and len(steps["reduce"]) == 1

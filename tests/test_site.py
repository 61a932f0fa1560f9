"""The site as files: what a cell's output becomes, the Colab button with and without an address, generated pages."""

import re
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup

from tests import mini_site

ADDRESS = "https://github.com/owner/book"
CHAPTER = f"chapters/{mini_site.NAME}.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The mini book without an address, as a folder of HTML."""
    return mini_site.build(tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="module")
def all_pages(site):
    """Every page of the mini book, and of the book itself where it is built: [(path, parsed)]."""
    paths = [path for folder in (site, mini_site.ROOT / "_build" / "html") for path in folder.rglob("*.html")]
    return [(path, BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")) for path in paths]


def page(site, name):
    return BeautifulSoup((site / name).read_text(encoding="utf-8"), "html.parser")


def cell(site, name):
    return page(site, CHAPTER).find(id=f"cell-{name}")


def test_alt_text_of_a_figure_is_quoted_right(site):
    assert [image["alt"] for image in cell(site, "figure").find_all("img")] == [mini_site.ALT]


@pytest.mark.parametrize("name", mini_site.INTERACTIVE)
def test_interactive_figure_stands_as_a_picture_with_alt_text(site, name):
    interactive = cell(site, name).find(class_="interactive")
    assert interactive.find("img")["alt"] == mini_site.INTERACTIVE[name]().alt()
    assert interactive.find("script", type="application/vnd.jupyter.widget-view+json")


def test_page_carries_the_state_of_its_figures_and_of_nothing_else(site):
    state = page(site, CHAPTER).find("script", type="application/vnd.jupyter.widget-state+json").text
    assert all(figure.__name__ in state for figure in mini_site.INTERACTIVE.values())
    assert mini_site.BAR not in state


def test_progress_bar_leaves_nothing_behind(site):
    assert not cell(site, "progress").find(class_="cell_output").find_all()


def test_claim_and_sentence_are_shown_and_their_records_are_not(site):
    assert cell(site, "claim").find(class_="claim holds")
    assert cell(site, "say").find("strong").text == "2.30" and cell(site, "say").find(class_="math")
    assert "vnd.book" not in page(site, CHAPTER).text


def test_solution_is_folded_behind_its_own_words(site):
    assert "Show solution" in cell(site, "solution").find("details").find("summary").text


def test_only_pages_that_use_mathjax_or_figures_load_them(site):
    def scripts(name):
        return " ".join(script.get("src", "") for script in page(site, name).find_all("script"))

    assert "mathjax" in scripts(CHAPTER) and "widget-host" in scripts(CHAPTER)
    for name in ("index.html", "claims.html", "status.html", "running.html"):
        assert "mathjax" not in scripts(name) and "widget-host" not in scripts(name)


def test_no_page_loads_anything_from_another_host(all_pages):
    for path, parsed in all_pages:
        for tag in parsed.find_all(["script", "img", "link"]):
            address = tag.get("src") or tag.get("href") or ""
            assert not re.match(r"(https?:)?//", address), f"{path} loads {address}"


def test_every_link_within_the_site_leads_somewhere(all_pages):
    anchors = {path: {tag["id"] for tag in parsed.find_all(id=True)} for path, parsed in all_pages}
    for path, parsed in all_pages:
        for link in parsed.find_all("a", href=True):
            file, anchor = urldefrag(link["href"])
            if re.match(r"\w+:", file):
                continue
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.is_file(), f"{path}: {link['href']} leads nowhere"
            assert not anchor or anchor in anchors[target], f"{path}: {link['href']} names no place of {target.name}"


def test_claims_page_says_what_was_measured_and_links_to_the_cell(site):
    rows = page(site, "claims.html").find("table", class_="claims").find("tbody").find_all("tr")
    assert [row.find("a")["href"] for row in rows] == [f"{CHAPTER}#cell-claim", f"{CHAPTER}#cell-failed"]
    assert [row.find(role="img")["aria-label"] for row in rows] == ["holds", "does not hold"]
    assert rows[1].find("a").text == "Edges > pixels"
    text = rows[0].get_text(" ", strip=True)
    assert "end to end 0.625 ± 0.18 (from 0.5 to 0.75)" in text and "classes 10" in text
    assert "2 seeds, shapes, CPU (test), torch 2.11.0" in text


def test_status_page_says_what_ran_where_on_what(site):
    run = page(site, "status.html").find("dl", class_="run")
    facts = dict(zip([t.text for t in run.find_all("dt")], [d.text for d in run.find_all("dd")], strict=True))
    assert facts == {
        "Claims": "1 of 2 hold",
        "Data": "cifar10 (45,000 train, 5,000 validation, 10,000 test images): some are JPEG copies",
        "Budget": "laptop",
        "Device": "CPU (test)",
        "Versions": "Python 3.12.1, torch 2.11.0",
        "Time": "2 min 11 s",
        "Date": "2026-11-23",
    }


def test_notebook_without_a_run_is_refused_by_name():
    notebook = mini_site.chapter()
    del notebook.metadata["book"]
    with pytest.raises(ValueError, match=r"01-mini\.ipynb has no record of its run.*make outputs"):
        mini_site.pages().status_page({"01-mini": notebook})


def test_without_an_address_the_colab_button_leads_to_plain_words(site):
    (button,) = page(site, CHAPTER).find_all(class_="btn-colab")
    assert button["href"] == "../running.html#in-colab"
    assert "has no address yet" in page(site, "running.html").find(id="in-colab").text
    assert not page(site, "index.html").find_all(class_="btn-colab")
    assert "github.com" not in (site / CHAPTER).read_text(encoding="utf-8")


def test_with_an_address_the_buttons_lead_there(tmp_path):
    site = mini_site.build(tmp_path, ADDRESS)
    (button,) = page(site, CHAPTER).find_all(class_="btn-colab")
    colab = "https://colab.research.google.com/github/owner/book/blob/main/"
    assert button["href"] == f"{colab}chapters/{mini_site.NAME}.ipynb"
    assert page(site, CHAPTER).find(class_="btn-source-repository-button")["href"] == ADDRESS
    assert "has no address" not in (site / "running.html").read_text(encoding="utf-8")


def test_address_that_colab_cannot_open_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected https://github.com/OWNER/NAME"):
        mini_site.build(tmp_path, "https://example.org/book")

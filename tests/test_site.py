"""The site as files: what a cell's output becomes, the Colab button with and without an address, generated pages."""

import base64
import importlib
import io
import json
import re
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
import yaml
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from PIL import Image

from tests import mini_site
from tools.notebooks import chapters

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
    images = cell(site, "figure").find_all("img")
    assert [image["alt"] for image in images] == [mini_site.ALT]
    assert cell(site, "figure").select(".cell_output > .picture > img") == images


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


def test_code_of_a_figure_is_folded_and_the_figure_is_not(site):
    fold = cell(site, "figure").find("details")
    assert "show('figure')" in fold.text and not fold.find("img") and cell(site, "figure").find("img")


def test_solution_is_folded_behind_its_own_words(site):
    assert "Show solution" in cell(site, "solution").find("details").find("summary").text


def test_page_loads_the_scripts_that_it_uses_and_no_other(site):
    def scripts(name):
        return " ".join(f"{script.get('src', '')} {script.text}" for script in page(site, name).find_all("script"))

    for name in (CHAPTER, "index.html", "claims.html", "status.html", "running.html"):
        assert "mathjax" not in scripts(name).lower()
        assert ("widget-host" in scripts(name)) == (name in (CHAPTER, "index.html"))
        copies = bool(page(site, name).find("pre"))
        assert [script in scripts(name) for script in ("clipboard.min.js", "copybutton.js")] == [copies, copies]
    assert "claims.js" in scripts("claims.html") and "claims.js" not in scripts(CHAPTER)
    assert not list(site.rglob("tex-*.js"))


def test_formula_stands_in_the_page_drawn_and_as_mathml(site):
    inline, displayed = cell(site, "say").find(class_="math"), page(site, CHAPTER).find("div", class_="math")
    assert inline.find("mjx-math", {"aria-hidden": "true"}).find_all("mjx-c")
    assert inline.find("mjx-assistive-mml").find("math").text.replace("\u2061", "") == "ln10"
    assert inline.parent["class"] == ["unbroken"] and inline.next_sibling == ","  # no line may begin with the comma
    assert displayed.find("mjx-container", display="true")
    assert "pst-scrollable-table-container" in displayed["class"]  # it may have to scroll
    assert "\\" not in inline.text + displayed.text


def test_a_size_or_a_time_is_not_broken_over_two_lines(site):
    assert "Its 3\u00a0×\u00a03 pixels take 2\u00a0minutes." in page(site, CHAPTER).text


def test_fonts_of_formulas_hold_the_glyphs_in_use_alone(site):
    css = next((site / "_static").glob("page-*.css")).read_text(encoding="utf-8")
    fonts = {name: site / "_static" / name for name in re.findall(r"url\((mathjax/[^)]+\.woff)\)", css)}
    (italic,) = (TTFont(path) for name, path in fonts.items() if "Math-Italic" in name)
    assert {ord("p"), ord("y")} <= set(italic.getBestCmap())  # of the mini chapter's equation
    assert ord("w") not in italic.getBestCmap()
    assert sum(path.stat().st_size for path in fonts.values()) < 100_000


def test_formula_that_mathjax_cannot_render_stops_the_build(tmp_path, monkeypatch):
    monkeypatch.setattr(mini_site, "INDEX", mini_site.INDEX + "\nIt is $2\\unknown$\n")
    with pytest.raises(ValueError, match=r"index\.md.*Undefined control sequence \\unknown: 2\\unknown"):
        mini_site.build(tmp_path)


def test_macro_of_the_configuration_is_known(monkeypatch):
    monkeypatch.syspath_prepend(mini_site.ROOT / "site")
    formulas = importlib.import_module("formulas")
    rendered = formulas.Formulas({"of": [r"#1\left(#2\right)", 2]})
    with rendered.engine:
        assert rendered.typeset(r"\of{f}{x}", False) == rendered.typeset(r"f\left(x\right)", False)


def test_no_page_loads_anything_from_another_host(all_pages):
    for path, parsed in all_pages:
        for tag in parsed.find_all(["script", "img", "link"]):
            address = tag.get("src") or tag.get("href") or ""
            assert not re.match(r"(https?:)?//", address), f"{path} loads {address}"


def test_page_has_one_stylesheet_and_no_script_that_blocks(all_pages):
    for path, parsed in all_pages:
        if path.name != "404.html" and "_static" not in path.parts:
            assert len(parsed.find_all("link", rel="stylesheet")) == 1, path
            assert all(script.has_attr("defer") for script in parsed.find_all("script", src=True)), path


def test_page_has_an_icon_and_its_figures_load_late(all_pages):
    for path, parsed in all_pages:
        if "_static" not in path.parts:
            icon = parsed.find("link", rel="icon")["href"]
            assert icon == "data:," or (path.parent / icon).is_file(), path
            assert all(image["loading"] == "lazy" for image in parsed.select("article img")), path


def test_stylesheet_has_the_icons_in_use_alone_and_all_that_it_refers_to(site):
    sheet = site / page(site, "index.html").find("link", rel="stylesheet")["href"]
    css = sheet.read_text(encoding="utf-8")
    icons = {name: int(code, 16) for name, code in re.findall(r'\.(fa-[\w-]+):before\{content:"\\(\w+)"', css)}
    assert {"fa-magnifying-glass", "fa-xmark"} <= {*re.findall(r"fa-[\w-]+", css)}  # of a page, of a script
    assert len(icons) < 20
    (font,) = re.findall(r"url\(data:font/woff;base64,([^)]+)\)", css)
    assert set(icons.values()) <= set(TTFont(io.BytesIO(base64.b64decode(font))).getBestCmap())
    assert len(font) < 8_000
    assert 'html[data-theme="dark"] .highlight' in css  # the theme writes it last of all
    assert "@import" not in css and "div.highlight" in css  # basic.css, which the theme's sheet imports
    for address in re.findall(r"url\([\"']?(?!data:)([^)\"']+)", css):
        assert (sheet.parent / address).is_file(), address


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
    cells = {td["data-label"]: td.get_text(" ", strip=True) for td in rows[0].find_all("td")}
    measured = cells["Measured"].replace("\xa0", " ")
    assert "end to end: 0.62 ± 0.18 (from 0.50 to 0.75)" in measured and "classes: 10" in measured
    assert [cells[name] for name in ("Chapter", "Seeds", "Data")] == ["1", "2", "shapes"]
    assert cells["Run"] == "CPU\xa0(test) torch\xa02.11.0 2026-11-23"


def test_what_only_tools_read_in_a_cell_is_not_shown(site):
    shown = page(site, CHAPTER).find(id="cell-parameters").text.strip()
    assert shown.split("\n") == [
        "epochs: int = 5  # 1 to 200 passes",
        'set: str = "auto"  # ["auto", "shapes"] # the images',
    ]


def test_bibliography_is_sorted_by_surname_and_names_the_chapter(site):
    entries = page(site, "bibliography.html").article.find_all("li")
    assert [entry.text.strip().split(":")[0] for entry in entries] == ["Y.-B. Abel, C. Cantor", "A. Zorn"]
    assert [entry.find("small").text for entry in entries] == ["Chapter\N{NO-BREAK SPACE}1."] * 2


@pytest.mark.parametrize(
    "entry, problem",
    [
        ("A. Zorn: [Another title](https://example.org/z), 2001.", "one work, two entries"),
        ("A. Zorn: [One](https://example.org/1), 2001; [two](https://example.org/2), 2002.", "one work with one link"),
        ("A. Zorn: *A book*, 2001.", "one work with one link"),
    ],
)
def test_a_work_has_one_entry_in_the_bibliography(entry, problem):
    notebook = mini_site.chapter()
    sources = next(cell for cell in notebook.cells if cell.source.startswith("## Sources"))
    sources.source += f"* {entry}\n"
    with pytest.raises(ValueError, match=problem):
        mini_site.pages().bibliography_page({mini_site.NAME: notebook})


def test_landing_page_lists_the_chapter_with_its_question_and_time(site):
    item = page(site, "index.html").article.find("ol").get_text(" ", strip=True)
    assert "A mini chapter" in item and "Is it small?" in item and "run 2\xa0min\xa011\xa0s on CPU\xa0(test)" in item


def test_landing_page_shows_the_figure_it_asks_for(site):
    figure = page(site, "index.html").find(class_="interactive")
    assert "data-play" in figure.attrs and figure.find("img")["alt"] == mini_site.INTERACTIVE["race"]().alt()
    with pytest.raises(ValueError, match="figure of the cell 'none'"):
        mini_site.pages().landing_page("<!-- FIGURE none -->", {mini_site.NAME: mini_site.chapter()}, site)


def test_chapter_says_what_it_takes_and_gives_its_executed_notebook(site):
    glance = page(site, CHAPTER).find(class_="glance")
    assert "Read 5 min" in glance.text and "Run 2\xa0min\xa011\xa0s on CPU\xa0(test)" in glance.text
    notebook = nbformat.read((site / CHAPTER).parent / glance.find("a", download=True)["href"], as_version=4)
    assert any(cell.get("outputs") for cell in notebook.cells)
    assert not page(site, "running.html").find(class_="glance")


def test_it_is_known_of_every_chapter_what_it_needs():
    needs = yaml.safe_load(mini_site.pages().NEEDS.read_text(encoding="utf-8"))
    assert list(needs) == [path.stem for path in chapters()]


def test_chapter_leads_to_the_pages_before_and_after(site):
    links = page(site, CHAPTER).select(".prev-next-area a")
    assert [link["href"] for link in links] == ["../index.html", "../claims.html"]


def test_equations_and_figures_can_be_linked_to(site):
    parsed = page(site, CHAPTER)
    (equation,) = parsed.find_all("div", class_="math")
    assert equation["id"] == "equation-a-mini-chapter-1"
    links = {link["href"] for link in parsed.select(".linked > a.headerlink")}
    assert links == {"#equation-a-mini-chapter-1", "#cell-figure", *(f"#cell-{css}" for css in mini_site.INTERACTIVE)}


def test_status_page_says_what_ran_where_on_what(site):
    run = page(site, "status.html").find("dl", class_="run")
    facts = dict(zip([t.text for t in run.find_all("dt")], [d.text for d in run.find_all("dd")], strict=True))
    assert facts == {
        "Result": "ran to its end; 1 of 2 claims hold",
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


def test_printed_columns_are_not_wrapped(site):
    found = page(site, CHAPTER).select(".output.stream")
    assert ["columns" in node["class"] for node in found] == [True, False]


def test_search_index_holds_prose_code_and_claims(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    terms = json.loads(re.search(r"Search\.setIndex\((.*)\)", index, re.DOTALL)[1])["terms"]
    for word in ("loss", "show", "beat"):  # prose; code; the claim "Pixels beat edges"
        assert word in terms


def test_page_that_is_not_there_has_a_page(site):
    assert page(site, "404.html").find("a")["href"] == "index.html" and not (site / "sitemap.xml").exists()


def test_with_addresses_the_site_is_complete(tmp_path):
    """Of the repository: buttons. Of the site: sitemap, preview cards."""
    site = mini_site.build(tmp_path, ADDRESS, "https://example.org/book")
    head = page(site, CHAPTER).head
    card = head.find("meta", property="og:image")["content"]
    assert card.startswith("https://example.org/book/_static/cards/")
    assert Image.open(site / card.removeprefix("https://example.org/book/")).size == (1200, 630)
    assert head.find("meta", property="og:title")["content"] == "A mini chapter"
    sitemap = (site / "sitemap.xml").read_text(encoding="utf-8")
    assert f"<loc>https://example.org/book/{CHAPTER}</loc>" in sitemap
    assert page(site, "404.html").find("a")["href"] == "https://example.org/book/"
    (button,) = page(site, CHAPTER).find_all(class_="btn-colab")
    colab = "https://colab.research.google.com/github/owner/book/blob/main/"
    assert button["href"] == f"{colab}chapters/{mini_site.NAME}.ipynb"
    assert page(site, "index.html").article.find("a", string="chapter 1 in Colab")["href"] == button["href"]
    source = page(site, CHAPTER).find(class_="btn-source-repository-button")
    assert source["href"] == f"{ADDRESS}/blob/main/chapters/{mini_site.NAME}.ipynb"
    assert page(site, "index.html").find(class_="btn-source-repository-button")["href"] == ADDRESS
    assert "has no address" not in (site / "running.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("url", "baseurl", "expected"),
    [("https://example.org/book", "", "https://github.com/OWNER/NAME"), ("", "example.org/book", "https://")],
)
def test_address_that_leads_nowhere_is_refused(tmp_path, url, baseurl, expected):
    with pytest.raises(ValueError, match=f"expected {expected}"):
        mini_site.build(tmp_path, url, baseurl)

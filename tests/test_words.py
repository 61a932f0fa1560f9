"""Glossary and symbols against the chapters: what an entry links to is where the book says it."""

import functools
import re

import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors.index import slugify
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools.notebooks import ROOT, chapters, read

MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
ENTRY = re.compile(r'<span id="([\w-]+)"></span>\*\*\[(.+?)\]\(([^)]+)\)\*\*(?: \((.+?)\))?: (.+)')
ENTRIES = [line for line in (ROOT / "glossary.md").read_text(encoding="utf-8").splitlines() if line.startswith("<span")]
TOKEN = re.compile(r"\\(?:text|mathrm|operatorname|texttt|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|[^\s{}]")
GREEK = "alpha beta gamma delta (?:var)?epsilon eta theta kappa lambda mu xi pi rho sigma tau (?:var)?phi chi psi Delta"
LETTER = re.compile(rf"[A-Za-z]|\\(?:{'|'.join([*GREEK.split(), 'Sigma', 'ell'])})")
PUT_ON_A_LETTER = ("\\hat", "\\tilde", "\\dot", "\\mathbb", "\\mathcal")


@functools.cache
def sections(address):
    """{anchor: (text, formulas)} of a chapter, from each heading to the next one, whatever its level."""
    found, text, formulas = {}, [], []
    for cell in read(ROOT / address).cells:
        tokens = MARKDOWN.parse(cell.source) if cell.cell_type == "markdown" else []
        for before, token in zip([None, *tokens], tokens, strict=False):
            if before and before.type == "heading_open":
                text, formulas = found[slugify(token.content)] = [], []
            if token.type == "math_block":
                formulas.append(token.content)
            for part in token.children or ():
                (formulas if part.type == "math_inline" else text).append(
                    "\n" if "break" in part.type else part.content
                )
            text.append("\n")
        for output in cell.get("outputs", ()):
            text.append(output.get("data", {}).get("text/markdown", ""))
    return {anchor: ("".join(text), formulas) for anchor, (text, formulas) in found.items()}


def linked(link):
    """(text, formulas) of the section that a link leads to."""
    address, anchor = link.split("#")
    return sections(address)[anchor]


def says(text, word):
    """Whether the text holds the word or its plural, in capitals or not, with hyphens or spaces."""
    pattern = r"[-\s]+".join(map(re.escape, re.split(r"[-\s]+", word)))
    return re.search(rf"(?<!\w){pattern}s?(?!\w)", text, re.IGNORECASE) is not None


def test_every_line_of_the_glossary_is_an_entry():
    assert len(ENTRIES) > 90 and all(ENTRY.fullmatch(line) for line in ENTRIES)
    assert len(ENTRIES) == (ROOT / "glossary.md").read_text(encoding="utf-8").count("**[")


def test_terms_are_sorted_and_unique_under_their_letter():
    terms, anchors = zip(*((ENTRY.fullmatch(line)[2], ENTRY.fullmatch(line)[1]) for line in ENTRIES), strict=True)
    keys = [re.sub(r"\W", "", term).lower() for term in terms]
    assert keys == sorted(set(keys)) and len(set(anchors)) == len(anchors)
    letters = re.findall(r"^## (.)$|\*\*\[(.)", (ROOT / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    heading = None
    for new, first in letters:
        heading = new or heading
        assert new or first.upper() == heading


@pytest.mark.parametrize("line", ENTRIES, ids=lambda line: ENTRY.fullmatch(line)[1])
def test_term_is_used_in_the_section_that_explains_it(line):
    _, term, link, form, _ = ENTRY.fullmatch(line).groups()
    words = form.split(", ") if form else term.split(", ")
    assert all(says(linked(link)[0], word) for word in words), f"{link} doesn't say {words}"


def tokens(formula):
    """A formula as a list of TeX's commands and characters, without what only spaces or groups them."""
    bare = re.sub(r"\\[lr]Vert|\\\|", "‖", re.sub(r"\\[,;!]|\\q?quad|\\[bB]ig", " ", formula))
    return TOKEN.findall(bare)


def holds(formula, symbol):
    """Whether the tokens of a symbol follow each other in those of a formula."""
    inside, wanted = tokens(formula), tokens(symbol)
    return any(inside[i : i + len(wanted)] == wanted for i in range(len(inside)))


def symbols():
    """[(symbol, links)] of the tables of symbols.md; "$\\mu$, $s$" are two."""
    rows = re.findall(r"^\| (\$.+?) \| .+ \| (.+) \|$", (ROOT / "symbols.md").read_text(encoding="utf-8"), re.MULTILINE)
    return [
        (symbol, re.findall(r"\((chapters/[^)]+)\)", links))
        for cell, links in rows
        for symbol in re.findall(r"\$(.+?)\$", cell)
    ]


@pytest.mark.parametrize(("symbol", "links"), symbols())
def test_symbol_stands_in_a_formula_of_the_section_it_links_to(symbol, links):
    formulas = [formula for link in links for formula in linked(link)[1]]
    assert links and any(holds(formula, symbol) for formula in formulas), f"${symbol}$ is in no formula of {links}"


def letters(formula):
    """The letters of a formula, Latin and Greek, with what is put on them."""
    inside = tokens(formula)
    marks = [f"{before} " if before in PUT_ON_A_LETTER else "" for before in ["", *inside]]
    return {mark + token for mark, token in zip(marks, inside, strict=False) if LETTER.fullmatch(token)}


@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_no_letter_of_a_chapter_lacks_an_entry(chapter):
    known = set().union(*(letters(symbol) for symbol, _ in symbols()))
    used = set().union(*(letters(f) for _, fs in sections(f"chapters/{chapter.name}").values() for f in fs))
    assert used <= known, f"symbols.md doesn't say what {sorted(used - known)} mean"

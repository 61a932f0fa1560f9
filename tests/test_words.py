"""Glossary and symbols against the chapters: what an entry links to is where the book says it."""

import functools
import re

import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.anchors.index import slugify
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools.notebooks import ROOT, chapters, read

MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
GLOSSARY = (ROOT / "glossary.md").read_text(encoding="utf-8")
ENTRY = re.compile(r'<span id="([\w-]+)"></span>\*\*\[(.+?)\]\((chapters/[^)]+#[^)]+)\)\*\*(?: \((.+?)\))?: .+\.')
ENTRIES = [match.groups() for match in map(ENTRY.fullmatch, GLOSSARY.splitlines()) if match]  # [(id, term, link, form)]
TOKEN = re.compile(r"\\(?:text|mathrm|operatorname|texttt|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|[^\s{}]")
GREEK = "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega"
LETTER = re.compile(rf"[a-z]|\\ell|\\(?:var)?(?:{GREEK})", re.IGNORECASE)
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
    lines = GLOSSARY[GLOSSARY.index("## A") :].splitlines()
    assert [line for line in lines if line and not line.startswith("## ") and not ENTRY.fullmatch(line)] == []


def test_terms_are_sorted_and_unique_each_under_its_letter():
    terms = [re.sub(r"\W", "", term).lower() for _, term, _, _ in ENTRIES]
    assert len(terms) > 90 and terms == sorted(set(terms))
    assert len({anchor for anchor, _, _, _ in ENTRIES}) == len(ENTRIES)
    letter = None
    for heading, first in re.findall(r"^## (.)$|\*\*\[(.)", GLOSSARY, re.MULTILINE):
        letter = heading or letter
        assert heading or first.upper() == letter


def test_each_term_is_used_in_the_section_that_explains_it():
    words = [(word, link) for _, term, link, form in ENTRIES for word in (form or term).split(", ")]
    assert [(word, link) for word, link in words if not says(linked(link)[0], word)] == []


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


def test_each_symbol_stands_in_a_formula_of_the_section_it_links_to():
    missing = [
        (symbol, links)
        for symbol, links in symbols()
        if not any(holds(formula, symbol) for link in links for formula in linked(link)[1])
    ]
    assert len(symbols()) > 100 and missing == []


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

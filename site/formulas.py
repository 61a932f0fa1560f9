"""Renders the formulas while the site is built, so that no page has to load and run MathJax.

Knows: how MathJax runs without a browser, what its markup lacks on a page that has no script, which glyphs are in use.
Doesn't know: what surrounds a formula: Sphinx writes an equation's frame, number and anchor.

A formula stands alone: what one defines (\\newcommand, \\label) is not for others, which may be on another page.
"""

import functools
import hashlib
import html
import importlib.util
import json
import re
from pathlib import Path

import quick
from myst_parser.sphinx_ext.mathjax import html_visit_displaymath
from py_mini_racer import MiniRacer
from sphinx.ext.mathjax import html_visit_math
from sphinx.util import logging

MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
PARTS = [
    "startup",
    "core",
    "adaptors/liteDOM",
    "input/tex-full",
    "output/chtml",
    "output/chtml/fonts/tex",
    "a11y/assistive-mml",
]
# Its loader would fetch parts from the network. Its packages for errors would hide what is wrong with a formula.
BEFORE = 'MathJax = {startup: {ready() {}}, tex: {packages: {"[-]": ["noerrors", "noundefined"]}, macros: %s}}'
AFTER = """
MathJax.startup.defaultReady();
const { adaptor } = MathJax.startup;
const typeset = (tex, display) => adaptor.outerHTML(MathJax.tex2chtml(tex, { display }));
const stylesheet = () => adaptor.textContent(MathJax.chtmlStylesheet());
"""
NOTICE = """\
/* Of MathJax 3.2.2, https://github.com/mathjax/MathJax, Copyright (c) The MathJax Consortium, Apache License 2.0,
   https://www.apache.org/licenses/LICENSE-2.0; its fonts are cut to the characters in use. */
"""
SHEET = "formulas.css"
TEX = re.compile(r"\\([(\[])(.*)\\[)\]]", re.DOTALL)  # as Sphinx writes it: \(inline\) or \[displayed\]
# The theme lets the keyboard reach what has this class and is too wide for the page.
SCROLLABLE = "pst-scrollable-table-container"
ERROR = re.compile(r'<mjx-merror data-mjx-error="([^"]*)"')
CHARACTER = re.compile(r'content: "(?:\\([0-9A-F]+)|(.))"')
ZERO = 0xEFFC  # the only character of MathJax_Zero, which gives lines no height; browsers refuse a font that has none
FONT = re.compile(r'url\("[^"]*/([\w-]+)\.woff"\)')
LOGGER = logging.getLogger(__name__)


class Formulas:
    """MathJax with the formulas of one build."""

    def __init__(self, macros):
        self.engine = MiniRacer()
        parts = [(MATHJAX / f"{part}.js").read_text(encoding="utf-8") for part in PARTS]
        for code in (BEFORE % json.dumps(macros), *parts, AFTER):
            self.engine.eval(code)
        self.typeset = functools.cache(functools.partial(self.engine.call, "typeset"))


def visitor(visit_math):
    """Sphinx's visitor of formulas, which leaves TeX to the browser, made into one that renders it."""

    def visit(translator, node):
        def render(match):
            formula = translator.builder.formulas.typeset(html.unescape(match[2]), match[1] == "[")
            if error := ERROR.search(formula):
                message = html.unescape(error[1])
                LOGGER.warning("MathJax cannot render a formula: %s: %s", message, node.astext(), location=node)
            return formula.replace("mjx-TeXAtom", "mjx-texatom")  # HTML allows no capitals there

        start = len(translator.body)
        try:
            visit_math(translator, node)
        finally:  # it ends with an exception: docutils' way to say that a node has no more to visit
            formula = TEX.sub(render, "".join(translator.body[start:]), count=1)
            translator.body[start:] = [formula.replace('<div class="math', f'<div class="{SCROLLABLE} math', 1)]

    return visit


def start(app):
    if app.builder.format == "html":
        settings = app.config.mathjax3_config or {}
        app.builder.formulas = Formulas(settings.get("tex", {}).get("macros", {}))


def finish(app, exception):
    """Write MathJax's stylesheet and fonts, with the glyphs of this build alone: it must have made all pages."""
    if app.builder.format != "html":
        return
    with app.builder.formulas.engine as engine:  # V8 must be closed before Python ends
        if exception:
            return
        css = engine.call("stylesheet")
    static = Path(app.outdir, "_static")
    characters = {ZERO, *(int(code, 16) if code else ord(plain) for code, plain in CHARACTER.findall(css))}
    (static / "mathjax").mkdir(exist_ok=True)

    def store(match):
        font = quick.cut(MATHJAX / f"output/chtml/fonts/woff-v2/{match[1]}.woff", characters)
        name = f"mathjax/{match[1]}-{hashlib.sha256(font).hexdigest()[:8]}.woff"  # browsers keep an old name's content
        (static / name).write_bytes(font)
        return f"url({name})"

    (static / SHEET).write_text(NOTICE + FONT.sub(store, css), encoding="utf-8")


def setup(app):
    app.add_html_math_renderer("formulas", (visitor(html_visit_math), None), (visitor(html_visit_displaymath), None))
    app.add_css_file(SHEET)
    app.connect("builder-inited", start)
    app.connect("build-finished", finish)

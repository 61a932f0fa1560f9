"""The sheet for printing: a chapter's exercises with points, difficulty and minutes, as one file of HTML.

Knows: what of a hand-out stands on paper. Doesn't know: what must not be in a hand-out (handout.py).
"""

import importlib.util
import re
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from tools.files import PAGE

HINTS = re.compile(r"<details>.*?</details>", re.DOTALL)
# Unchanged from MathJax 3.2.2, https://github.com/mathjax/MathJax, Apache License 2.0; SVG needs no fonts beside it.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg.js"
STYLE = """\
body { max-width: 46rem }
h3 { margin-top: 2.5rem; break-after: avoid }
pre { font-size: .8rem; background: #f4f4f4; padding: .6rem .8rem; white-space: pre-wrap; break-inside: avoid }
table { border-collapse: collapse } td, th { padding: .1rem .8rem; border-bottom: 1px solid #999; text-align: left }"""
NAME = "<p>Name or ID: ______________________________</p>"


def sheet(handout):
    """The page of a hand-out, a notebook: its exercises without hints and checks, with its table of points. HTML."""
    title = f"{handout.cells[0].source.splitlines()[0].removeprefix('# ')}: exercises"
    table = next(cell.source for cell in handout.cells if cell.get("id") == "to-do")
    markdown = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, renderer=_formula)
    parts = [f"<h1>{escape(title)}</h1>", NAME, markdown.render(table.partition("\n\n")[2])]
    for cell in exercises(handout.cells):
        if cell.get("id", "").startswith("your-turn"):
            continue  # paper has no next cell
        if cell.cell_type == "markdown":
            parts.append(markdown.render(HINTS.sub("", cell.source)))
        elif not cell.source.startswith("check("):
            parts.append(f"<pre>{escape(cell.source)}</pre>")
    script = MATHJAX.read_text(encoding="utf-8").replace("</script", "<\\/script")
    body = "\n".join([*parts, f"<script>{script}</script>"])
    return PAGE.format(title=escape(title), style=STYLE, body=body)


def exercises(cells):
    """The cells of section Exercises, behind its introduction."""
    inside = False
    for cell in cells:
        heading = re.match(r"## (.*)", cell.source) if cell.cell_type == "markdown" else None
        if heading:
            inside = heading[1] == "Exercises"
        elif inside:
            yield cell


def _formula(content, options):
    return escape(f"\\[{content}\\]" if options["display_mode"] else f"\\({content}\\)")

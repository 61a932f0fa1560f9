"""Corrects the HTML that myst-nb and the theme generate: valid, described, and quick to load.

Knows: what their HTML lacks (an image's size and frame, valid summaries, a description for search engines, a formula's
hold on its comma, a size's on its parts), and what it has too much of (spans without a colour, notes to tools).
Doesn't know: what a page says, nor how it looks (static/book.css).
"""

import html
import re
import textwrap
from pathlib import Path

from docutils import nodes
from PIL import Image

SUMMARY = re.compile(r'<summary aria-label="Toggle hidden content">(.*?)</summary>', re.DOTALL)
TITLE = re.compile(r'<p (class="\w+ admonition-title")>(.*?)</p>', re.DOTALL)
FIGURE = re.compile(r'<img (?![^>]*\bloading=)(?=[^>]*\bsrc="[^"]*_images/([^"/]+)")([^>]*>)')
# Browsers break lines on either side of a formula, also before a comma.
PUNCTUATED = re.compile(r'<span class="math[^>]*>(?:(?!</span>).)*</span>[,.:;?!)]+', re.DOTALL)
SIZE = re.compile(r"(?<=\d) (?=×)|(?<=×) (?=\d)|(?<=\d) (?=minutes?\b)")  # 3 × 3, 30 minutes: whole, or not on a line
DESCRIPTION_CHARS = 155  # what search engines show of it
SEARCH = "Search this book."
# Spans of names, punctuation, operators and spaces in code: they look like plain text, and without them a chapter has
# a third of its elements less.
PLAIN = re.compile(r'<span class="(?:n|nn|p|o|w)">([^<]*)</span>')

# A cell's notes to the tests, the formatter and Colab's forms: nothing to readers of a page.
FOR_TOOLS = re.compile(r'<span class="c1"># (?:NBVAL|fmt:|@title)[^<]*</span>\n|(?<=# )@param (?:\{.*?\} # )?')


def mend_summary(match):
    """A fold's summary under the words that it shows, and without paragraphs, which HTML allows none of there."""
    return "<summary>" + TITLE.sub(r"<span \1>\2</span>", match[1]) + "</summary>"


def describe(doctree):
    """What a search engine shows of a page: its first paragraph, shortened."""
    text = next((paragraph.astext() for paragraph in doctree.findall(nodes.paragraph)), "") if doctree else SEARCH
    return textwrap.shorten(text, DESCRIPTION_CHARS, placeholder=" …")


def mend(app, pagename, templatename, context, doctree):
    """Mend a page before it is written: what the module's docstring lists."""
    description = html.escape(describe(doctree))
    context["metatags"] = context.get("metatags", "") + f'<meta name="description" content="{description}">'
    if "body" not in context:
        return
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}

    def frame(match):
        """The image with its size; after other outputs of a cell (the link to it is one) in a frame that may scroll."""
        with Image.open(sources[match[1]]) as image:
            width, height = image.size
        image = f'<img loading="lazy" decoding="async" width="{width}" height="{height}" {match[2]}'
        framed = match.string.endswith(("</div>\n", "</p>\n"), 0, match.start())
        return f'<div class="output picture" style="--width: {width}">{image}</div>' if framed else image

    body = FIGURE.sub(frame, SUMMARY.sub(mend_summary, context["body"]))
    body = PUNCTUATED.sub(r'<span class="unbroken">\g<0></span>', body)
    context["body"] = SIZE.sub("\N{NO-BREAK SPACE}", PLAIN.sub(r"\1", FOR_TOOLS.sub("", body)))


def setup(app):
    app.connect("html-page-context", mend, priority=900)

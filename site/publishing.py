"""What a published site has on top of its pages: a 404 page, and, once it has an address, sitemap and preview cards.

Knows: the address under `html: baseurl:` in _config.yml, without which links from outside can't be written.
Doesn't know: what is on the pages.
"""

import textwrap
from html import escape, unescape
from pathlib import Path
from re import sub
from urllib.parse import urljoin

from markup import describe

NOT_FOUND = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="This address leads to no page of the book.">
<link rel="icon" href="data:,">
<title>Not here: {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 34rem; margin: 20vh auto 0; padding: 0 1.2rem; font: 1.1rem/1.6 system-ui, sans-serif; }}
h1 {{ font-weight: 650; letter-spacing: -0.015em; }}
a {{ color: #0b5c94; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #15181c; color: #ced6dd; }} a {{ color: #7db8e8; }} }}
</style>
</head>
<body>
<main>
<h1>No such page</h1>
<p>The book has moved this page, or never had it. <a href="{home}">Begin at its first page</a>; every chapter, and the
search, are there.</p>
</main>
</body>
</html>
"""
CARD = (1200, 630)  # pixels, what social networks show


def offer_card(app, pagename, templatename, context, doctree):
    """Say in the page's head what to show where somebody links to it, and draw that picture."""
    base = app.config.html_baseurl
    if not base or not doctree:
        return
    title = unescape(sub(r"<[^>]+>", "", context.get("title", "")))
    card = Path(app.outdir, "_static", "cards", pagename.replace("/", "-") + ".png")
    _draw_card(title, app.config.html_title, card)
    properties = {
        "og:type": "article",
        "og:title": title,
        "og:description": describe(doctree),
        "og:url": urljoin(base, f"{pagename}.html"),
        "og:image": urljoin(base, f"_static/cards/{card.name}"),
    }
    tags = "".join(f'<meta property="{name}" content="{escape(value)}">\n' for name, value in properties.items())
    tags += '<meta name="twitter:card" content="summary_large_image">\n'
    context["metatags"] = context.get("metatags", "") + tags


def _draw_card(title, book, path):
    """A PNG of the page's title and the book's, 1200 x 630."""
    from matplotlib.figure import Figure

    path.parent.mkdir(exist_ok=True)
    figure = Figure(figsize=(CARD[0] / 100, CARD[1] / 100), dpi=100, facecolor="#0b5c94")
    figure.text(0.07, 0.62, textwrap.fill(title, 24), color="white", size=52, weight="bold", va="center")
    figure.text(0.07, 0.12, book, color="#cfe3f3", size=26)
    figure.savefig(path, metadata={"Software": None})


def write_extras(app, exception):
    """The 404 page, and the sitemap if the site has an address."""
    if exception or app.builder.format != "html":
        return
    base, out = app.config.html_baseurl, Path(app.outdir)
    page = NOT_FOUND.format(title=escape(app.config.html_title), home=escape(base or "index.html"))
    (out / "404.html").write_text(page, encoding="utf-8")
    if base:
        pages = sorted(app.env.found_docs)
        urls = "".join(f"<url><loc>{escape(urljoin(base, f'{page}.html'))}</loc></url>\n" for page in pages)
        xmlns = "http://www.sitemaps.org/schemas/sitemap/0.9"
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{xmlns}">\n{urls}</urlset>\n'
        (out / "sitemap.xml").write_text(text, encoding="utf-8")

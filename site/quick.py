"""Makes the finished site quick to load: a page has one stylesheet, the icons that the site uses, and no script blocks.

Knows: how Sphinx and its themes write stylesheets, scripts and Font Awesome's icons.
Doesn't know: what the pages say, nor how they look.
"""

import base64
import hashlib
import io
import logging
import os
import re
from pathlib import Path

from fontTools import subset

STYLESHEET = re.compile(r'<link (?=[^>]*\brel="stylesheet")[^>]*\bhref="([^"?]+)[^>]*>\s*')
SCRIPT = re.compile(r'<script (?:defer(?:="defer")? )?(?=src="([^"?]+))')
# The one script inside a page that needs what another script defines; a module runs after those that are deferred.
DEPENDENT = "<script>DOCUMENTATION_OPTIONS"
IMPORT = re.compile(r'@import "([^"]+)";')
ADDRESS = re.compile(r"""(?<=url\()(?!["']|data:|#)[^)]+""")
ICON = re.compile(r'(?:\.fa-[\w-]+:before,?)+\{content:"[^"]*"\}')
ICON_NAME = re.compile(r"\bfa-[\w-]+")
CHARACTER = re.compile(r'content:"\\([ef][0-9a-f]{3})"')  # Font Awesome's lie in Unicode's private range
FACE = re.compile(r"@font-face\{[^}]*\}")
FONT = re.compile(r"src:.*url\((([^)]*/)?(fa-\w+)-\d+\.ttf)\) format\(\"truetype\"\)")
logging.getLogger("fontTools.subset").setLevel(logging.WARNING)  # it reports each table of each font


def make_quick(app, exception):
    """Rewrite the pages of the finished site."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    files = {*Path(app.outdir).rglob("*.html")} - {*static.rglob("*.html")}
    pages = {path: path.read_text(encoding="utf-8") for path in files}
    scripts = {(path.parent / name).resolve() for path, page in pages.items() for name in SCRIPT.findall(page)}
    texts = [*pages.values(), *(script.read_text(encoding="utf-8") for script in scripts)]
    icons = {name for text in texts for name in ICON_NAME.findall(text)}
    joined = {}
    for path, page in pages.items():
        sheets = tuple((path.parent / name).resolve() for name in STYLESHEET.findall(page))
        if not sheets:  # the 404 page, which carries its own style
            continue
        if sheets not in joined:
            joined[sheets] = store(with_icons(join(sheets, static), icons, static), static)
        path.write_text(quick(page, os.path.relpath(joined[sheets], path.parent)), encoding="utf-8")


def quick(page, sheet):
    """The HTML of a page with one stylesheet in place of all, and with scripts that wait for the page."""
    first = STYLESHEET.search(page)
    link = f'<link rel="stylesheet" href="{sheet}">\n'
    page = page[: first.start()] + link + STYLESHEET.sub("", page[first.end() :])
    return SCRIPT.sub("<script defer ", page).replace(DEPENDENT, DEPENDENT.replace(">", ' type="module">'))


def join(files, folder):
    """The text of stylesheets one after the other, with what they import, as it must stand in `folder`."""
    return "\n".join(_read(file, folder) for file in files)


def _read(file, folder):
    css = file.read_text(encoding="utf-8").removeprefix('@charset "UTF-8";')
    css = ADDRESS.sub(lambda match: os.path.relpath(file.parent / match[0], folder), css)
    return IMPORT.sub(lambda match: _read((file.parent / match[1]).resolve(), folder), css)


def with_icons(css, names, folder):
    """A stylesheet with the icons of these names alone; their fonts, cut to them, lie in the stylesheet itself."""
    css = ICON.sub(lambda rule: rule[0] if names.intersection(ICON_NAME.findall(rule[0])) else "", css)
    characters = {int(code, 16) for code in CHARACTER.findall(css)}

    def embed(face):
        source, _, style = FONT.search(face[0]).groups()
        if style not in names:
            return ""
        font = base64.b64encode(cut(folder / source, characters)).decode()
        return FONT.sub(f'src:url(data:font/woff;base64,{font}) format("woff")', face[0])

    return FACE.sub(embed, css)


def cut(path, characters):
    """A font file cut down to some characters, as WOFF: it needs no package for compression beside Python's own."""
    options = subset.Options(flavor="woff")
    options.drop_tables += ["FFTM"]  # when FontForge wrote the font
    font = subset.load_font(path, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    file = io.BytesIO()
    subset.save_font(font, file, options)
    return file.getvalue()


def store(css, folder):
    """Write a stylesheet under a name that changes with it, as browsers keep what they have of an old name."""
    path = folder / f"page-{hashlib.sha256(css.encode()).hexdigest()[:8]}.css"
    path.write_text(css, encoding="utf-8")
    return path


def setup(app):
    # After the theme, which writes the colours of code for light and dark at the same event.
    app.connect("build-finished", make_quick, priority=900)

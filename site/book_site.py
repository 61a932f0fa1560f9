"""What the book's site needs and Jupyter Book has no setting for.

Knows: how to serve the widgets from this host, how a cell's output becomes HTML (alt text, the static picture of an
interactive figure, the book's own records), where the buttons lead.
Doesn't know: what is stale, nor how to execute it (tools/build.py); what the generated pages say (pages.py); how a
formula is rendered (formulas.py).
"""

import json
import re
from html import escape
from pathlib import Path

import formulas
import markup
import myst_nb.sphinx_
import nbformat
import publishing
import quick
from docutils import nodes
from myst_nb.core.render import WIDGET_STATE_MIMETYPE, WIDGET_VIEW_MIMETYPE, NbElementRenderer
from sphinx.errors import ConfigError
from sphinx.transforms.post_transforms import SphinxPostTransform

HERE = Path(__file__).parent
GITHUB = "https://github.com/"
COLAB = "https://colab.research.google.com/github/"
COLUMNS = re.compile(r"\S {2,}\S")
COLAB_READY = (
    "Each chapter has a **Colab** button at its top. Run the first cell there: it fetches the rest of the book."
)
COLAB_NO_ADDRESS = (
    "**This copy of the book has no address yet, so its Colab buttons lead here.** Colab opens notebooks from GitHub. "
    "Whoever publishes this copy writes its address into `_config.yml`, under `repository: url:`, and runs `make book` "
    "again; the buttons then open each chapter in Colab. Until then, use one of the other ways on this page."
)


class BookRenderer(NbElementRenderer):
    """myst-nb's renderer of cell outputs, with the book's figures and records."""

    def render_image(self, data):
        """An image with the alt text that its output carries."""
        images = super().render_image(data)
        for image in images:
            image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        return images

    def render_stdout(self, output, *args, **options):
        """What was printed, marked if it stands in columns: these must not be wrapped."""
        printed = super().render_stdout(output, *args, **options)
        for node in printed:
            node["classes"] += ["columns"] * bool(COLUMNS.search(output["text"]))
        return printed

    def render_unhandled(self, data):
        """Nothing for the book's own records: they are for programs. Anything else unknown stays a warning."""
        return [] if data.mime_type.startswith("application/vnd.book.") else super().render_unhandled(data)

    def render_nb_finalise(self, metadata):
        """Give the page the state of its interactive figures, and the host that mounts them; nothing if it has none."""
        state = metadata.get("widgets", {}).get(WIDGET_STATE_MIMETYPE, {}).get("state", {})
        figures = {key: model for key, model in state.items() if model["model_module"] == "anywidget"}
        super().render_nb_finalise({"widgets": {WIDGET_STATE_MIMETYPE: {"state": figures}}})


class ShowPictureUntilMounted(SphinxPostTransform):
    """Put an interactive figure's static picture into the page beside it; widget-host.js hides it once the figure runs.

    A widget without a picture (tqdm's progress bar) is left out: it says nothing once the run is over.
    """

    default_priority = 3  # before myst-nb picks one MIME type of each output (4)
    formats = ("html",)

    def run(self, **kwargs):
        for bundle in list(self.document.findall(nodes.container)):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            by_type = {child["mime_type"]: child for child in bundle.children}
            if WIDGET_VIEW_MIMETYPE not in by_type:
                continue
            if "image/png" not in by_type:
                bundle.parent.remove(bundle)
                continue
            children = [*by_type["image/png"].children, *by_type[WIDGET_VIEW_MIMETYPE].children]
            bundle.replace_self(nodes.container("", *children, classes=["interactive"]))


def configure(app, config):
    """Settings that are paths or depend on the addresses of repository and site."""
    config.html_static_path.append(str(HERE / "static"))
    config.templates_path.append(str(HERE / "templates"))
    config.nb_ipywidgets_js = {"widget-host.js": {}}
    config.nb_render_markdown_format = "myst"  # a sentence that a cell says may hold $math$
    options = config.html_theme_options
    url = options.get("repository_url") or ""
    if url and not re.fullmatch(re.escape(GITHUB) + r"[\w.-]+/[\w.-]+", url):
        raise ConfigError(f"_config.yml, repository: url: is {url!r}; expected {GITHUB}OWNER/NAME, or nothing yet")
    if url:
        options["use_repository_button"] = options["use_issues_button"] = True
    else:
        options.pop("launch_buttons", None)
    if base := config.html_baseurl:
        if not base.startswith(("https://", "http://")):
            raise ConfigError(f"_config.yml, html: baseurl: is {base!r}; expected https://..., or nothing yet")
        config.html_baseurl = base.rstrip("/") + "/"  # without it, the last folder's name would be lost in each link


def say_how_colab_stands(app, docname, source):
    """Fill the markers of running.md and index.md: with an address they lead to Colab, without one to what to do."""
    options = app.config.html_theme_options
    url, ready, first = options.get("repository_url"), COLAB_NO_ADDRESS, ""
    if url:
        chapter = min(Path(app.srcdir, "chapters").glob("*.ipynb")).name
        address = f"{url.replace(GITHUB, COLAB)}/blob/{options['repository_branch']}/chapters/{chapter}"
        ready, first = COLAB_READY, f", or [chapter 1 in Colab]({address})"
    source[0] = source[0].replace("<!-- COLAB -->", ready).replace("<!-- COLAB, CHAPTER 1 -->", first)


def link_to(address, what):
    """A link beside an equation or a figure to itself, as headings have one."""
    html = f'<a class="headerlink" href="#{address}" aria-label="Link to this {what}">#</a>'
    return nodes.raw("", html, format="html")


def name_equations(app, doctree):
    """Give each displayed equation an anchor, its section's and its place among the section's, and a link to it."""
    if app.builder.format != "html":  # in LaTeX, what surrounds an equation would end the paragraph
        return
    places = {}
    for equation in list(doctree.findall(nodes.math_block)):
        section = equation.parent
        while not isinstance(section, (nodes.section, nodes.document)):
            section = section.parent
        home = section["ids"][0] if section["ids"] else "top"
        places[home] = places.get(home, 0) + 1
        address = f"equation-{home}-{places[home]}"
        linked = nodes.container("", link_to(address, "equation"), classes=["linked"])
        equation.replace_self(linked)
        equation["ids"].append(address)  # only now: what is replaced hands its ids on
        linked.append(equation)


def name_cells(app, doctree):
    """Give each code cell its notebook id as an anchor; where it shows a figure, also a link to it."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb" or app.builder.format != "html":
        return
    cells = nbformat.read(path, as_version=4).cells
    for node in doctree.findall(nodes.container):
        if node.get("nb_element") == "cell_code":
            cell = cells[node["cell_index"]]
            node["ids"].append(f"cell-{cell.id}")
            if any("image/png" in output.get("data", {}) for output in cell.outputs):
                # In the output: myst-nb folds the code of a cell only if that comes first.
                link = nodes.container("", link_to(node["ids"][-1], "figure"), classes=["linked"])
                next(part for part in node if part.get("nb_element") == "cell_code_output").insert(0, link)


def show_chapter_buttons(app, pagename, templatename, context, doctree):
    """On each chapter a plain Colab button instead of the theme's menu with one entry, and a link to its own source."""
    if Path(app.env.doc2path(pagename)).suffix != ".ipynb":
        return
    buttons = context["header_buttons"]
    launch = next((button for button in buttons if button.get("label") == "launch-buttons"), None)
    url = launch["buttons"][0]["url"] if launch else context["pathto"]("running") + "#in-colab"
    if launch:
        (links,) = (button["buttons"] for button in buttons if button.get("label") == "source-buttons")
        source = {"url": url.replace(COLAB, GITHUB), "text": "This chapter", "tooltip": "This chapter's notebook"}
        links[0] |= source  # the theme's leads to the front page of the repository
    colab = {
        "type": "link",
        "url": url,
        "text": "Colab",
        "icon": "_static/images/logo_colab.png",
        "tooltip": "Run this chapter in Google Colab",
        "label": "colab",
    }
    context["header_buttons"] = [colab, *(button for button in buttons if button is not launch)]


def show_what_it_takes(app, pagename, templatename, context, doctree):
    """Under a chapter's title: time to read and to run, what it needs, the executed notebook to take along."""
    facts = json.loads(Path(app.srcdir, "glance.json").read_text(encoding="utf-8")).get(Path(pagename).name)
    if facts is None or not context.get("sourcename"):
        return
    notebook = context["pathto"](f"_sources/{context['sourcename']}", 1)
    parts = [f"<span>{name} <b>{escape(value)}</b></span>" for name, value in facts.items()]
    parts.append(f'<a href="{notebook}" download>Download the executed notebook</a>')
    context["body"] = context["body"].replace("</h1>", f'</h1>\n<p class="glance">{" ".join(parts)}</p>', 1)


MANY_FORMULAS = 100  # on a page: each is some ten elements
# Who comes by a link to a place in the page, or comes back to one, needs the true height of all that lies above.
UNFINISHED = """
if (!location.hash && performance.getEntriesByType("navigation")[0].type == "navigate")
  document.documentElement.classList.add("unfinished");
"""


# For its excerpts the search fetches the pages, which browsers refuse to a page opened from disk.
NO_EXCERPTS_FROM_DISK = 'DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== "file:";'
COPY_BUTTON = {"_static/clipboard.min.js", "_static/copybutton.js"}


def load_scripts_where_used(app, pagename, templatename, context, doctree):
    """layout.js on long pages, the figures' host on pages with figures that aren't notebooks, the table's script on the
    claims page; the copy button's on none without something to copy."""
    body = context.get("body", "")
    if Path(app.env.doc2path(pagename)).suffix == ".ipynb" or body.count("<mjx-container") > MANY_FORMULAS:
        app.add_js_file(None, body=UNFINISHED)
        app.add_js_file("layout.js")
    if "widget-state+json" in body and not any("widget-host.js" in str(s.filename) for s in context["script_files"]):
        app.add_js_file("widget-host.js")
    if 'class="claims"' in body:
        app.add_js_file("claims.js")
    if pagename == "search":
        app.add_js_file(None, body=NO_EXCERPTS_FROM_DISK)
    if "<pre" not in body:
        context["script_files"] = [js for js in context["script_files"] if js.filename not in COPY_BUTTON]


def setup(app):
    # myst-nb looks its renderer up among installed packages; this one lives beside the book.
    myst_nb.sphinx_.load_renderer = lambda name: BookRenderer
    app.add_post_transform(ShowPictureUntilMounted)
    app.add_css_file("book.css", priority=900)
    formulas.setup(app)
    markup.setup(app)
    quick.setup(app)
    app.connect("config-inited", configure)
    app.connect("source-read", say_how_colab_stands)
    app.connect("doctree-read", name_cells)
    app.connect("doctree-read", name_equations)
    app.connect("html-page-context", show_chapter_buttons, priority=600)
    app.connect("html-page-context", publishing.offer_card)
    app.connect("build-finished", publishing.write_extras)
    app.connect("html-page-context", show_what_it_takes)
    app.connect("html-page-context", load_scripts_where_used)
    # The engine that renders formulas survives no fork, and each process would know only its own pages' glyphs.
    return {"parallel_read_safe": True, "parallel_write_safe": False}

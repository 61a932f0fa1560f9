"""A real browser, and sites served on this machine. Without a browser these tests are skipped, and say so.

Chromium is looked for in BOOK_CHROMIUM (a path), then on PATH, first its headless shell: a full Chromium 156 without a
window stops drawing for good in about one page of a hundred. Playwright's own download is never used.
"""

import base64
import functools
import http.server
import json
import threading
from pathlib import Path

import pytest

from tests import mini_site
from tools.build import SITE, pages
from tools.lighthouse import CHROMIUM, NPM_TOOLS
from utils.widgets.figure import assets

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
HERE = Path(__file__).parent
PAGES = [str(path.relative_to(SITE)) for path in pages()] or ["index.html"]
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# Glyphs that MathJax draws beside the MathML for screen readers: many elements, hidden, no text.
# Axe need not walk through them.
EMPTY_GLYPHS = "document.querySelectorAll('mjx-math[aria-hidden=true]').forEach(math => math.replaceChildren())"
# Axe knows no contrast of a text on a gradient; these only shade the ends of what scrolls sideways.
NO_SHADOWS = ".bd-article * { background-image: none !important }"
# layout.js brings in a chapter bit by bit; until then, what lies outside the window has no true size.
LAID_OUT = "() => !document.querySelector('.unfinished section > :not([style*=content-visibility])')"

needs_npm_tools = pytest.mark.skipif(
    not NPM_TOOLS.exists(), reason="axe-core and html-validate are not installed; with Node.js 20 or newer: make npm"
)


def pytest_collection_modifyitems(items):
    if CHROMIUM:
        return
    reason = "no Chromium on PATH nor in BOOK_CHROMIUM; on Debian: apt install chromium-headless-shell"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


def violations(page):
    """What axe-core finds on a page against WCAG 2.2 A and AA: ["rule: element: how to fix it", ...]."""
    page.evaluate((NPM_TOOLS / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    page.evaluate(EMPTY_GLYPHS)
    page.add_style_tag(content=NO_SHADOWS)
    options = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]}
    found = page.evaluate(f"axe.run(document, {json.dumps(options)})")["violations"]
    return [f"{rule['id']}: {node['html'][:120]}: {node['failureSummary']}" for rule in found for node in rule["nodes"]]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def serve():
    """serve(folder) gives the address at which the folder's files are served until the end of the session."""
    servers = []

    def start(folder):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def mini(serve, tmp_path_factory):
    """The mini book: (folder, address)."""
    folder = mini_site.build(tmp_path_factory.mktemp("mini"))
    return folder, serve(folder)


@pytest.fixture(scope="session")
def home(serve):
    """The address of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"there is no site in {SITE} to look at: run `make book` first")
    return serve(SITE)


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright  # here, so that the other tests run without it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """visit(address, **context options) opens a page and gives it with `complaints`: a list of what went wrong so far.

    A complaint is a request to another host, an answer of 400 or more, a failed request, a console error or warning.
    None may be left at the end of the test: one that expects them clears the list.
    """
    contexts, complaints = [], []

    def visit(address, width=1280, **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = complaints
        home = address.split("/", 3)[:3]

        def on_request(request):
            if not request.url.startswith(("data:", "blob:")) and request.url.split("/", 3)[:3] != home:
                complaints.append(f"another host: {request.url}")

        page.on("request", on_request)
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url} {request.failure}"))
        page.on("response", lambda answer: answer.status >= 400 and complaints.append(f"{answer.status}: {answer.url}"))
        page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.goto(address)
        page.wait_for_load_state("networkidle")
        page.wait_for_function(LAID_OUT)
        return page

    yield visit
    left = list(complaints)  # before the pages are closed, which ends their requests
    for context in contexts:
        context.close()
    assert left == []


def bring_near(locator):
    """Scroll to what a locator finds.

    Playwright's own scrolling waits for two frames that show the element at the same place, and fails where a full
    Chromium has stopped drawing; here two frames have two seconds.
    """
    locator.evaluate(
        """async element => {
            element.scrollIntoView({block: "center", behavior: "instant"});
            const frames = new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            await Promise.race([frames, new Promise(done => setTimeout(done, 2000))]);
        }"""
    )


def visit_figures(page):
    """Scroll to each interactive figure, which then starts."""
    for figure in page.locator(".interactive").all():
        bring_near(figure)


def start_figures(page):
    visit_figures(page)
    page.wait_for_function("() => !document.querySelector('.interactive:not(.mounted)')", polling=100)


@pytest.fixture
def interactive(mini, visit):
    """interactive(css, **context options) opens the mini book, and gives its figure of that CSS class once it runs.

    Motion is reduced unless asked for, so that what a button starts is over at once.
    """

    def start(css, reduced_motion="reduce", **options):
        page = visit(f"{mini[1]}/chapters/{mini_site.NAME}.html", reduced_motion=reduced_motion, **options)
        start_figures(page)
        return page.locator(f".bookfig.{css}")

    return start


@pytest.fixture(scope="session")
def exported(chromium):
    """exported(name)(js, *arguments) evaluates a JavaScript function of (figure, ...arguments), where figure is what
    the script of the interactive figure `name` exports."""
    pages = {}

    def evaluator(name):
        page = chromium.new_page()
        pages[name] = page
        text = base64.b64encode(assets(name)[0].encode()).decode()
        page.evaluate(f"import('data:text/javascript;base64,{text}').then(module => window.figure = module)")
        return lambda js, *arguments: page.evaluate(f"(arguments) => ({js})(figure, ...arguments)", arguments)

    yield functools.cache(evaluator)
    for page in pages.values():
        page.close()

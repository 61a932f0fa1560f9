"""The report of a sweep, opened from the file system as whoever made it does."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.browser.conftest import needs_npm_tools, violations
from tools import results
from tools.notebooks import write
from utils.records import CLAIM


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report.html of four runs at two values of a parameter, of which the claim held in three."""
    folder = tmp_path_factory.mktemp("runs")
    for i in range(4):
        record = {"claim": "The loss stays below 3.", "holds": i < 3, "measured": [("loss", {"value": 1.5 + i / 2})]}
        output = new_output("display_data", {CLAIM: record, "text/plain": "a claim"})
        notebook = new_notebook(cells=[new_code_cell(id="loss", outputs=[output])])
        notebook.metadata.book = {
            "fingerprint": {"code": "a"},
            "budget": "smoke",
            "parameters": {"steps": 10 + 10 * (i % 2), "first_seed": i},
            "seconds": 60.0,
            "device": "CPU (x86_64, 1 thread)",
        }
        write(notebook, folder / f"05-adam-{i:012x}.ipynb")
    results.update(folder)
    return folder / results.PAGE_NAME


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_a_report_is_read_in_a_browser(report, visit, scheme, width):
    page = visit(report.as_uri(), width=width, color_scheme=scheme)
    assert page.complaints == []
    (row,) = page.locator("tr", has_text="3 of 4").all()
    assert "The loss stays below 3." in row.inner_text() and "%" in row.inner_text()
    assert "2 of 2" in page.inner_text("main") and "1 of 2" in page.inner_text("main")  # for each number of steps
    (plot,) = page.locator("img").all()
    assert plot.evaluate("image => image.naturalWidth") > 300 and "steps" in plot.get_attribute("alt")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@needs_npm_tools
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_meets_wcag(report, visit, scheme):
    assert violations(visit(report.as_uri(), color_scheme=scheme)) == []

"""The sheet for printing, opened from the file system: its formulas are drawn, and it holds what it should."""

import pytest

from course import chapter as chapters
from course import handout
from course.sheet import sheet
from tools.notebooks import chapters as paths


@pytest.mark.parametrize("name", [path.stem for path in paths()])
def test_a_sheet_shows_all_exercises_with_their_formulas(name, visit, tmp_path):
    course, file = chapters.load(name), tmp_path / "sheet.html"
    file.write_text(sheet(handout.hand_out(name)), encoding="utf-8")
    page = visit(file.as_uri())
    page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
    page.evaluate("MathJax.startup.promise")
    text = page.inner_text("main")
    assert page.locator("mjx-container svg").count() > 3 and page.locator("mjx-merror").count() == 0
    assert "$" not in text and "\\(" not in text and "\\[" not in text
    assert page.locator("h3").count() == len(course.exercises) == page.locator("table tbody tr").count()
    for exercise in course.exercises.values():
        assert f"# EXERCISE: {exercise.name}" in text and f"{exercise.points} points" in text
    assert "Hint" not in text and "check(" not in text and "Your turn" not in text
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

"""Hand-outs: nothing in them that a student should find, all in them that a student needs."""

import nbformat
import pytest

from course import chapter as chapters
from course import handout, hidden, variants
from tools.notebooks import chapters as paths
from tools.notebooks import code_cells, tagged

NAMES = [path.stem for path in paths()]


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_has_stubs_checks_and_no_outputs(name):
    copy, course = handout.hand_out(name), chapters.load(name)
    sources = [cell.source for cell in code_cells(copy)]
    assert sum(source.count("raise NotImplementedError()") for source in sources) >= len(course.exercises)
    assert all(exercise.check in sources for exercise in course.exercises.values())
    assert not any(cell.outputs for cell in code_cells(copy)) and "SOLUTION" not in "".join(sources)
    table = copy.cells[1].source
    assert all(f"| `{exercise.name}` | {exercise.points} |" in table for exercise in course.exercises.values())
    assert tagged(copy, "setup") and "first_seed: int = 0" in tagged(copy, "parameters").source
    nbformat.validate(copy)


def test_a_student_gets_a_variant_that_the_grader_knows():
    copy = handout.hand_out("02", "ada")
    injected = tagged(copy, "injected-parameters")
    assert f"first_seed = {variants.first_seed('ada', '02-backpropagation')}" in injected.source
    assert copy.cells.index(injected) == copy.cells.index(tagged(copy, "parameters")) + 1
    assert variants.first_seed("ada", "02-backpropagation") != variants.first_seed("grace", "02-backpropagation")


def solution(course):
    return next(iter(course.exercises.values())).solution.replace("    ### BEGIN SOLUTION\n", "")


def hidden_test(course):
    return hidden.load(hidden.FOLDER, course)[0]


@pytest.mark.parametrize("smuggled", [solution, hidden_test, lambda course: "### BEGIN HIDDEN TESTS"])
def test_a_copy_that_holds_what_it_must_not_is_refused(smuggled):
    copy, course = handout.hand_out("02"), chapters.load("02")
    copy.cells.append(nbformat.v4.new_markdown_cell(smuggled(course)))
    with pytest.raises(ValueError, match="the copy of 02-backpropagation would hold"):
        handout.refuse_leaks(copy, course)

"""Hand-outs: nothing in them that a student should find, all in them that a student needs."""

import itertools
import re

import nbformat
import pytest

from course import chapter as chapters
from course import handout, hidden, submissions, variants
from tools.notebooks import chapter, code_cells, read, tagged, write
from tools.notebooks import chapters as paths

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
    assert "What your answers may use" in table
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


def test_a_copy_that_holds_a_hidden_test_of_the_teachers_own_is_refused(tmp_path):
    line = "    return layer_norm_backward(torch.ones(7, 3), torch.arange(3), 0.25)\n"
    source = hidden_test(chapters.load("02")).replace(
        "TESTS = {", f"def mine(layer_norm_backward):\n{line}\n\nTESTS = {{"
    )
    (tmp_path / "backpropagation.py").write_text(source, encoding="utf-8")
    copy, course = handout.hand_out("02", tests=tmp_path), chapters.load("02")
    copy.cells.append(nbformat.v4.new_code_cell(line.strip()))
    handout.refuse_leaks(copy, course)  # the example's tests don't have it
    with pytest.raises(ValueError, match="would hold a hidden test"):
        handout.refuse_leaks(copy, course, tmp_path)


def body(course):
    """The lines of a solution, without what stands around them."""
    found = handout.SOLUTION.search(course.exercises["layer-norm-backward"].solution)[0]
    return "\n".join(found.splitlines()[1:-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_that_holds_more_than_its_stub_is_refused(name):
    """Also where the chapter's own text has every line of the solution."""
    course = chapters.load(name)
    for exercise in course.exercises.values():
        copy = handout.hand_out(name)
        cell = next(cell for cell in code_cells(copy) if cell.source == exercise.stub)
        cell.source = re.sub(r"\n *### (BEGIN|END) SOLUTION", "", exercise.solution)
        with pytest.raises(ValueError, match=f"would hold the solution of {exercise.name}"):
            handout.refuse_leaks(copy, course)


PLACES = {
    "text": lambda copy, text: copy.cells.append(nbformat.v4.new_markdown_cell(text)),
    "metadata": lambda copy, text: copy.cells[5].metadata.update(note=text),
    "output": lambda copy, text: code_cells(copy)[5].outputs.append(nbformat.v4.new_output("stream", text=text)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_of_a_solution_is_found_wherever_it_stands(place):
    copy, course = handout.hand_out("02"), chapters.load("02")
    PLACES[place](copy, body(course).splitlines()[5])
    with pytest.raises(ValueError, match="would hold the solution of layer-norm-backward"):
        handout.refuse_leaks(copy, course)


def in_prose(notebook, course):
    notebook.cells.append(nbformat.v4.new_markdown_cell(body(course)))


def in_a_program(notebook, course):
    notebook.cells.insert(5, nbformat.v4.new_code_cell(f"def answer():\n{body(course)}"))


def without_markers(notebook, course):
    cell = next(cell for cell in notebook.cells if "# EXERCISE: layer-norm-backward" in cell.source)
    cell.source = re.sub(r"\n *### (BEGIN|END) SOLUTION", "", cell.source)


@pytest.mark.parametrize("edit", [in_prose, in_a_program, without_markers])
def test_a_chapter_that_gives_its_solution_away_is_not_handed_out(edit, tmp_path, monkeypatch):
    notebook = read(chapter("02"))
    edit(notebook, chapters.load("02"))
    changed = tmp_path / chapter("02").name
    write(notebook, changed)
    monkeypatch.setattr(handout, "chapter", lambda name: changed)
    monkeypatch.setattr(chapters, "chapter", lambda name: changed)
    with pytest.raises(ValueError, match="would hold the solution of layer-norm-backward"):
        handout.hand_out("02")


def test_the_grader_finds_the_id_in_the_name_of_a_copy(tmp_path):
    handout.main(["02", "-o", str(tmp_path), "--student", "ada", "--student", "grace"])
    found = submissions.collect(tmp_path, chapters.load("02"))
    assert [submission.student for submission in found] == ["ada", "grace"]


def test_one_command_makes_all_chapters_for_a_list_of_students(tmp_path, monkeypatch):
    monkeypatch.setattr(handout, "all_chapters", lambda: [chapter("02"), chapter("05")])
    (tmp_path / "ids.txt").write_text("\ufeffada\r\n\r\n grace@x.org \r\n", encoding="utf-8")
    handout.main(["-o", str(tmp_path / "out"), "--students", str(tmp_path / "ids.txt")])
    made = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*") if path.is_file()}
    names = ("02-backpropagation", "05-adam")
    assert made == {
        *(f"{name}-sheet.html" for name in names),
        *(f"{name}/{student}.ipynb" for name in names for student in ("ada", "grace@x.org")),
    }


@pytest.mark.parametrize(
    "content, message",
    [(None, "can't be read"), ("\n\n", "expected an ID on each line"), ("ada\nAda\n", "an ID stands twice")],
)
def test_a_list_of_students_that_cant_be_used_is_refused(content, message, tmp_path):
    if content is not None:
        (tmp_path / "ids.txt").write_text(content)
    with pytest.raises(SystemExit, match=message):
        handout.main(["02", "-o", str(tmp_path / "out"), "--students", str(tmp_path / "ids.txt")])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", NAMES)
def test_each_place_to_write_is_marked(name):
    cells = handout.hand_out(name).cells
    for before, cell in itertools.pairwise(cells):
        if "# EXERCISE: " in cell.source and cell.cell_type == "code":
            assert "✏️ **Your turn:**" in before.source and "raise NotImplementedError()" in cell.source


@pytest.mark.parametrize("student", ["..", "../ada", ".ada", "lovelace_1_2_x", "a\nb"])
def test_an_id_that_the_grader_would_not_find_is_refused(student, tmp_path):
    with pytest.raises(SystemExit, match="an ID is letters"):
        handout.main(["02", "-o", str(tmp_path / "out"), "--student", student])
    assert not list(tmp_path.rglob("*.ipynb"))

"""Hidden tests: what a teacher keeps to see whether an answer does more than the chapter's own check asks.

A file <folder>/<module>.py holds `TESTS = {exercise: [function, ...]}`; it imports torch, math and numpy at most. Each
function takes (answer, generator) and returns what the answer gave: tensors, numbers, strings, None, and lists, tuples
and dicts of these. It never judges: the grader runs it with the solution, too, and compares. The first function of an
exercise is its ordinary case, the others go further. What the ordinary case gives must depend on the generator: what is
the same for all can be told by somebody who hasn't solved the exercise. The check runs in the answer's own process, so
nobody believes it alone: its points need all hidden tests but those whose names begin with `beyond_`.
"""

import math
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent.parent / "hidden_tests"  # the public example
TOLERANCE = 1e-4  # of the largest expected value: float32 keeps 7 digits, and sums in another order lose two or three
CHECK_SHARE = 3 / 5  # of an exercise's points, for the chapter's own check; the rest is for hidden tests
BEYOND = "beyond_"  # begins the name of a hidden test that asks for more than the check


def load(folder, chapter):
    """The source of the chapter's hidden tests and their names: (source, {exercise: [name, ...]}).

    folder: Path or str. Raises ValueError, with what to do, if there is none, or if it doesn't fit the chapter.
    """
    file = Path(folder) / f"{chapter.module}.py"
    if not file.is_file():
        raise ValueError(
            f"{file} is missing: the hidden tests of {chapter.name}. Copy {FOLDER / file.name} and change it"
        )
    source = file.read_text(encoding="utf-8")
    tests = functions(source, str(file))
    if set(tests) != set(chapter.exercises):
        wrong = sorted(set(tests) ^ set(chapter.exercises))
        raise ValueError(
            f"{file}: TESTS must name the exercises of {chapter.name} and no others; see {', '.join(wrong)}"
        )
    for name, found in tests.items():
        if len(found) < 2 or not all(map(callable, found)) or found[0].__name__.startswith(BEYOND):
            raise ValueError(
                f"{file}: TESTS[{name!r}] must be a list of functions, the ordinary case (not {BEYOND}...) and more"
            )
    return source, {name: [function.__name__ for function in found] for name, found in tests.items()}


def functions(source, file="hidden tests"):
    """{exercise: [function, ...]} of a file's source. Raises ValueError if it can't be run or has no TESTS."""
    namespace = {"__name__": "hidden_tests"}
    try:
        exec(compile(source, file, "exec"), namespace)
        return dict(namespace["TESTS"])
    except Exception as error:
        raise ValueError(f"{file} can't be used ({type(error).__name__}: {error}); it must define TESTS") from None


def run(function, answer, seed):
    """What a hidden test returns for an answer, on the inputs of this seed. The global random state is set as well."""
    torch.manual_seed(seed)
    with torch.enable_grad():
        return function(answer, torch.Generator().manual_seed(seed))


def flatten(data, path=""):
    """Data as {path: leaf}, which JSON can carry: a leaf is a text, or ["float" or "integer", shape, values].

    Raises TypeError for what is no tensor, number, text, None, list, tuple or dict.
    """
    if data is None or isinstance(data, str):
        return {path: str(data)}
    if isinstance(data, bool | int | float):
        return {path: ["float", [], [float(data)]]}
    if isinstance(data, torch.Tensor) and not data.is_complex():
        kind, dtype = ("float", torch.float64) if data.is_floating_point() else ("integer", torch.int64)
        return {path: [kind, list(data.shape), data.detach().cpu().to(dtype).flatten().tolist()]}
    if isinstance(data, list | tuple):
        data = dict(enumerate(data))
    if not isinstance(data, dict):
        raise TypeError(f"a hidden test returned {type(data).__name__}: expected tensors, numbers, strings, lists")
    flat = {f"{path}#": str(len(data))}
    for key, value in data.items():
        flat |= flatten(value, f"{path}/{key}")
    return flat


def agree(actual, expected):
    """Whether two results of `flatten` are the same: shapes and kinds exactly, values to TOLERANCE.

    actual: as a process said that nobody trusts; whatever else it may be, it doesn't agree.
    """
    try:
        return actual.keys() == expected.keys() and all(_same(actual[path], leaf) for path, leaf in expected.items())
    except Exception:  # forged in whatever way
        return False


def _same(actual, expected):
    if isinstance(expected, str):
        return isinstance(actual, str) and actual == expected
    if list(actual[:2]) != expected[:2]:
        return False
    a, e = (torch.tensor(values, dtype=torch.float64) for values in (actual[2], expected[2]))
    if a.shape != e.shape:  # nested lists: isclose would broadcast an empty one, and find nothing that differs
        return False
    finite = e[e.isfinite()].abs()
    allowed = TOLERANCE * max(finite.max().item() if len(finite) else 0.0, 1e-30)
    return bool(torch.isclose(a, e, rtol=0, atol=allowed, equal_nan=True).all())


def confirming(tests):
    """Those of {name: anything} on which the points of the check depend."""
    return {name: value for name, value in tests.items() if not name.startswith(BEYOND)}


def shares(points, checked, passed):
    """What is earned of so many points, with the check and with the further hidden tests: two numbers.

    checked: whether the chapter's check passed; passed: {hidden test: bool}, the ordinary first. Without the ordinary
    case nothing is earned: the further tests may ask for so little that it can be guessed.
    """
    ordinary, *further = passed.values()
    rest = points * (1 - CHECK_SHARE) * sum(further) / len(further)
    earned = points * CHECK_SHARE * (checked and all(confirming(passed).values())), rest * ordinary
    return tuple(math.floor(100 * part + 0.5) / 100 for part in earned)

"""The parameters of a chapter: how they are written in its second code cell, and which values they take.

Knows: the one form of a line there, which Colab shows as a form field and papermill as help:

    seeds: int = 3  # @param {type:"integer"} # 1 to 20 runs: repetitions of each experiment

Doesn't know: what a chapter does with them.
"""

import ast
import difflib
import re
from dataclasses import dataclass

import nbformat
import yaml
from papermill.translators import PythonTranslator

from tools.notebooks import tagged

BUDGETS = ("smoke", "laptop", "full")
TYPES = {"int": int, "float": float, "bool": bool, "str": str}
FIELDS = {"int": '{type:"integer"}', "float": '{type:"number"}', "bool": '{type:"boolean"}'}
LINE = re.compile(
    r"(?P<name>\w+): (?P<type>\w+) = (?P<default>\S+)  # @param (?P<field>\{.+?\}|\[.+?\]) # (?P<text>[^=]+)"
)
RANGE = re.compile(r"(?P<low>\S+) to (?P<high>\S+?)(, no unit| (?P<unit>[^:]+))(: (?P<text>.+))?")


@dataclass
class Parameter:
    """One parameter: its default, what it means, and the values it may take (a range, or a list of choices)."""

    name: str
    type: type
    default: object
    text: str
    low: float = float("-inf")
    high: float = float("inf")
    unit: str | None = None
    choices: tuple = ()

    def __str__(self):
        return f"{self.name}: {self.expected()}" + (f"; {self.text}" if self.text else "")

    def expected(self):
        """What a value must be, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.type is bool:
            return "true or false"
        kind = "an integer" if self.type is int else "a number"
        return f"{kind} from {self.low:g} to {self.high:g}" + (f" ({self.unit})" if self.unit else "")

    def convert(self, given):
        """The value of `given`, a value or the text of one. Raises ValueError if it is none for this parameter."""
        text = str(given)  # so that 3.0 is no int and 1 is no bool, wherever the value comes from
        try:
            value = {"true": True, "false": False}[text.lower()] if self.type is bool else self.type(text)
        except (KeyError, ValueError):
            value = None
        in_range = self.type in (bool, str) or (value is not None and self.low <= value <= self.high)
        if value is None or not in_range or (self.choices and value not in self.choices):
            raise ValueError(f"parameter {self.name}: expected {self.expected()}, got {given!r}")
        return value


def parse(notebook):
    """Parameters of a chapter, {name: Parameter}. Raises ValueError that names the line which is not of the form."""
    parameters = {}
    for line in tagged(notebook, "parameters").source.splitlines():
        if line.strip() and not line.startswith("#"):
            parameter = _parse(line)
            parameters[parameter.name] = parameter
    return parameters


def _parse(line):
    match = LINE.fullmatch(line)
    if not match or match["type"] not in TYPES:
        raise ValueError(f"parameters cell, {line!r}: expected `name: type = value  # @param FIELD # text`")
    kind, field, text = match["type"], match["field"], match["text"]
    parameter = Parameter(match["name"], TYPES[kind], ast.literal_eval(match["default"]), text)
    if kind == "str":
        parameter.choices = tuple(ast.literal_eval(field)) if field.startswith("[") else ()
        if not parameter.choices:
            raise ValueError(f'parameters cell, {line!r}: a str needs its choices as the field, ["a", "b"]')
    elif field != FIELDS[kind]:
        raise ValueError(f"parameters cell, {line!r}: the field of {kind} is {FIELDS[kind]}")
    if kind in ("int", "float"):
        limits = RANGE.fullmatch(text)
        if not limits:
            raise ValueError(
                f"parameters cell, {line!r}: the text must begin `LOW to HIGH UNIT` or `LOW to HIGH, no unit`"
            )
        parameter.low, parameter.high = TYPES[kind](limits["low"]), TYPES[kind](limits["high"])
        parameter.unit, parameter.text = limits["unit"], limits["text"] or ""
    if type(parameter.default) is not parameter.type:
        raise ValueError(f"parameters cell, {line!r}: the default is no {kind}")
    parameter.convert(parameter.default)
    return parameter


def check(parameters, given):
    """`given` ({name: value or its text}) as values for the chapter's `parameters`.

    Raises ValueError for a name the chapter doesn't have, with the nearest that it has, and for a wrong value.
    """
    for name in given:
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            known = "".join(f"\n  {parameter}" for parameter in parameters.values())
            raise ValueError(f"there is no parameter {name}{hint} The chapter's parameters:{known}")
    return {name: parameters[name].convert(value) for name, value in given.items()}


def effective(path, notebook, budget):
    """Every parameter of the chapter at `path` under a budget: the defaults, and what the budget's file changes.

    The file is parameters/<chapter>/<budget>.yml. Raises ValueError for an unknown budget, a missing file, or something
    in it that is no parameter of the chapter.
    """
    if budget not in BUDGETS:
        raise ValueError(f"no budget {budget!r}: expected {', '.join(BUDGETS)}")
    file = path.parent.parent / "parameters" / path.stem / f"{budget}.yml"
    if not file.exists():
        raise ValueError(f"{path.stem} has no budget {budget}: {file} is missing")
    parameters = parse(notebook)
    try:
        changed = check(parameters, yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    values = {name: parameter.default for name, parameter in parameters.items()}
    if budget == "laptop" and changed != values:  # nothing is injected for it: the cell itself is the laptop budget
        raise ValueError(f"{file} must hold exactly the values of the parameters cell, {values}; it holds {changed}")
    return values | changed


def inject(notebook, parameters, why):
    """Puts a cell that sets these parameters, {name: value}, behind the parameters cell, as papermill does."""
    cell = nbformat.v4.new_code_cell(PythonTranslator.codify(parameters, why), id="injected")
    cell.metadata.tags = ["injected-parameters"]
    notebook.cells.insert(notebook.cells.index(tagged(notebook, "parameters")) + 1, cell)

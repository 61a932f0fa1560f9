"""What an answer leans on: the statements by which the names in it come about, and what in them its exercise forbids.

Knows: Python's names and scopes, the functions of torch that a chapter's checks forbid. Doesn't know: what was called
in the end. Nothing is executed here, so an answer can't change what is found.
"""

import ast
import re
import symtable
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache

from tools.notebooks import ROOT

UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what Python raises for a source
AUTOGRAD = ["autograd", "functorch", "jacfwd", "jacobian", "jacrev", "vjp"]  # other ways to what is called `grad`
# By these a function can be reached without its name.
HIDING = {
    *("eval", "exec", "getattr", "setattr", "attrgetter", "methodcaller", "getmembers", "vars", "globals", "locals"),
    *("__import__", "import_module", "importlib", "modules", "builtins", "__builtins__"),
    *("__dict__", "__getattr__", "__getattribute__"),
}


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell.

    binds: names that it defines or changes, `a` for `a = 1`, `def a()`, `import a`, `a.b = 1`, and `*`; uses: global
    names that it reads, now or when it is called; mentions: attributes, and what it imports.
    """

    source: str
    binds: frozenset
    uses: frozenset
    mentions: frozenset


def statements(source):
    """The Statements of a cell. Raises one of UNREADABLE."""
    return [_statement(node) for node in ast.parse(source).body]


def _statement(statement):
    source, nodes = ast.unparse(statement), list(ast.walk(statement))
    module, uses = symtable.symtable(source, "cell", "exec"), set()
    binds = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    tables = [module]
    while tables:
        table = tables.pop()
        uses |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
        tables += table.get_children()
    mentions = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            mentions |= {part for name in named for part in name.split(".")}
        elif isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            binds.add(getattr(node, "id", None))
    return Statement(source, frozenset(binds | {"*"} & mentions), frozenset(uses), frozenset(mentions))


def reached(names, found):
    """Of these Statements, in their order, those by which the names come about, and the names in those, and so on."""
    binding, waiting, needed = defaultdict(list), ["*", *names], set()
    for place, statement in enumerate(found):
        for name in statement.binds:
            binding[name].append(place)
    while waiting:
        for place in binding.pop(waiting.pop(), ()):
            if place not in needed:
                needed.add(place)
                waiting += found[place].uses
    return [found[place] for place in sorted(needed)]


def forbidden(module, exercise, name, cell, beside):
    """What in an answer its exercise forbids, in words: a name, or one by which a name can be hidden; None if nothing.

    module: of the chapter's checks; name: what the check is given; cell: Statements of the answer's cell; beside: those
    of others that it leans on. Trials in the cell, of which the answer makes no use, may call what they like.
    """
    if not (names := _forbidden(module)[exercise]):
        return None
    if not cell:
        return "statements that can't be searched"
    own = reached([name], cell)
    own += [one for one in cell if one not in own and HIDING & (one.uses | one.mentions)]
    bare = any("*" in one.mentions for one in [*own, *beside])  # then a name needs no module before it
    for one in [*own, *beside]:
        for mentioned in sorted(one.mentions | (one.uses if bare else one.uses & HIDING)):
            if mentioned in HIDING or _plain(mentioned) in names:
                return f"`{mentioned}`"
    return None


@lru_cache
def _forbidden(module):
    """{exercise: plain names of the functions of torch that its check forbids}, from the checks' source."""
    found = {}
    for check in ast.parse((ROOT / "exercises" / f"{module}.py").read_text(encoding="utf-8")).body:
        if isinstance(check, ast.FunctionDef) and check.decorator_list:
            calls = [node for node in ast.walk(check) if isinstance(node, ast.Call)]
            names = [a.value for call in calls if getattr(call.func, "id", "") == "without" for a in call.args]
            names += AUTOGRAD if "grad" in names else []
            found[check.decorator_list[0].args[0].value] = {_plain(name) for name in names}
    return found


def _plain(name):
    """`cross_entropy`, `CrossEntropyLoss` and `_cross_entropy_loss` are one."""
    return re.sub(r"loss$", "", name.lower().replace("_", ""))

"""The source of a learner's function, with all that it needs to stand on its own."""

import ast
import builtins
import inspect
import linecache
import symtable
import sys
import textwrap
import types

import numpy as np


class CannotSave(Exception):
    """Says in words why a function cannot be written to a file of its own."""


def source_of(fn):
    """Source text of a function or class, also one defined in a notebook cell; None if unknown."""
    try:
        if isinstance(fn, type):
            return _class_source(fn)
        if fn.__module__.startswith("my_speechlib."):
            return _named_source(fn)
        return textwrap.dedent(inspect.getsource(fn)).rstrip() + "\n"
    except (OSError, TypeError, SyntaxError, AttributeError):
        return None


def _named_source(fn):
    """By name, not by line: the file may have been written anew since fn was loaded."""
    with open(fn.__code__.co_filename, encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    return _lines_of(fn.__name__, lines, ast.FunctionDef)


def _lines_of(name, lines, kind):
    for node in ast.walk(ast.parse("".join(lines))):
        if isinstance(node, kind) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            text = "".join(lines[first - 1 : node.end_lineno])
            return textwrap.dedent(text).rstrip() + "\n"
    raise OSError(f"no {name} in its file")


def _class_source(cls):
    """inspect cannot find a class of a notebook cell; its methods know their file."""
    for member in vars(cls).values():
        code = getattr(inspect.unwrap(member) if callable(member) else member, "__code__", None)
        if code is None or getattr(member, "__qualname__", "").split(".")[0] != cls.__name__:
            continue
        return _lines_of(cls.__name__, linecache.getlines(code.co_filename), ast.ClassDef)
    return inspect.getsource(cls)


def standalone(fn, home=""):
    """(imports, definitions): source lines that together define fn in an empty module.

    home: name of the module it is written to; what comes from there is copied, not imported.
    imports: sorted import statements. definitions: name -> source, in the order needed, fn last.
    Raises CannotSave when something fn uses cannot be written down.
    """
    imports, definitions = set(), {}
    _collect(fn, imports, definitions, [], home)
    return sorted(imports), definitions


def _collect(fn, imports, definitions, path, home):
    name = getattr(fn, "__name__", type(fn).__name__)
    text = source_of(fn)
    if text is None or name == "<lambda>" or not isinstance(fn, types.FunctionType | type):
        raise CannotSave(f"the source of {name} is not known; write it with `def`.")
    if getattr(fn, "__closure__", None) and not isinstance(fn, type) and "<locals>" in (
        fn.__qualname__
    ):  # fmt: skip
        raise CannotSave(f"{name} is defined inside another function; define it in a cell.")
    scope = _scope(fn)
    for used in _free_names(ast.parse(text)):
        if used in path or used == name or used in definitions:
            continue
        if used not in scope:
            if hasattr(builtins, used):
                continue
            raise CannotSave(f"{name} uses `{used}`, which is not defined.")
        _need(used, scope[used], imports, definitions, [*path, name], home)
    definitions[name] = text


def _scope(fn):
    if isinstance(fn, type):
        for member in vars(fn).values():
            if isinstance(member, types.FunctionType):
                return inspect.unwrap(member).__globals__
        return vars(sys.modules[fn.__module__])
    return inspect.unwrap(fn).__globals__  # a decorator's wrapper has those of its own module


def _need(name, value, imports, definitions, path, home):
    if isinstance(value, types.ModuleType):
        head, _, last = value.__name__.rpartition(".")
        if name == value.__name__:
            imports.add(f"import {name}")
        elif head and last == name:
            imports.add(f"from {head} import {name}")
        else:
            imports.add(f"import {value.__name__} as {name}")
    elif _importable(value, home):
        real = value.__name__
        alias = "" if real == name else f" as {name}"
        imports.add(f"from {value.__module__} import {real}{alias}")
    elif isinstance(value, types.FunctionType | type):
        _collect(value, imports, definitions, path, home)
        if value.__name__ != name:
            definitions[name] = f"{name} = {value.__name__}\n"
    else:
        definitions[name] = f"{name} = {_literal(name, value, imports)}\n"


def _importable(value, home):
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not module or not name or module == "__main__" or (home and module.startswith(home)):
        return False
    if module.startswith("my_speechlib."):
        return True  # another lesson's: loaded anew each time, so never the very same object
    found = sys.modules.get(module)
    return getattr(found, name, None) is value


def _literal(name, value, imports):
    if isinstance(value, np.ndarray) and value.size <= 200 and value.dtype.kind in "biuf":
        imports.add("import numpy")
        return f"numpy.array({value.tolist()!r}, dtype={str(value.dtype)!r})"
    text = repr(value)
    try:
        same = len(text) < 5000 and ast.literal_eval(text) == value
    except (ValueError, SyntaxError, TypeError):
        same = False
    if not same:
        raise CannotSave(
            f"it uses `{name}` (a {type(value).__name__}) from another cell; make it an argument "
            "or define it inside the function."
        )
    return text


def _free_names(tree):
    """Names read anywhere in the source and not bound in it, in order of appearance.

    A name that is both bound in one function and global in another counts as free when the
    symbol table of the code says so.
    """
    found = []

    def visit(table):
        for symbol in table.get_symbols():
            name = symbol.get_name()
            top = table.get_type() == "module"
            free = symbol.is_global() or (top and not symbol.is_assigned() and not _defined(symbol))
            if symbol.is_referenced() and free and name not in found:
                found.append(name)
        for child in table.get_children():
            visit(child)

    table = symtable.symtable(ast.unparse(tree), "cell", "exec")
    visit(table)
    here = {symbol.get_name() for symbol in table.get_symbols() if _bound(symbol)}
    return [name for name in found if name not in here]


def _defined(symbol):
    return symbol.is_namespace() or symbol.is_imported()


def _bound(symbol):
    return symbol.is_assigned() or _defined(symbol)

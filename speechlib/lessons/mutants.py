"""Small wrong changes to a function's source: axis, off by one, comparison, scale, operator.

A check that lets such a mutant pass is too weak, unless the bank lists the mutant as equivalent.
"""

import ast
import copy
import inspect
import textwrap

_COMPARE = {
    ast.Lt: [ast.LtE], ast.LtE: [ast.Lt], ast.Gt: [ast.GtE], ast.GtE: [ast.Gt],
    ast.Eq: [ast.NotEq], ast.NotEq: [ast.Eq],
}  # fmt: skip
_FLIP = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
_ARITHMETIC = {
    ast.Add: [ast.Sub], ast.Sub: [ast.Add], ast.Mult: [ast.Div], ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Div], ast.BitAnd: [ast.BitOr], ast.BitOr: [ast.BitAnd],
    ast.Pow: [ast.Mult],
}  # fmt: skip
_AXES = {"axis", "dim"}


def mutants(function):
    """(description, function) pairs; description "a <= b -> a < b" names the changed expression.

    The function must stand at the top of its module or of a test; docstrings, defaults and error
    branches (`raise`) are left alone.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    definition = tree.body[0]
    definition.decorator_list = []
    made, seen = [], set()
    for path in _places(definition):
        for change in _changes(_at(definition, path)):
            copied = copy.deepcopy(tree)
            node = _at(copied.body[0], path)
            before = ast.unparse(node)
            after = change(node)
            _put(copied.body[0], path, after)
            name = f"{before} -> {ast.unparse(after)}"
            code = ast.unparse(copied)
            if code in seen:
                continue
            seen.add(code)
            twins = sum(other.split(" #")[0] == name for other, _ in made)
            label = f"{name} #{twins + 1}" if twins else name
            made.append((label, _build(copied, function)))
    return made


def _places(definition):
    """Paths (field, index) to every expression in the body that may be changed."""
    found = []

    def visit(node, path):
        if isinstance(node, ast.Raise | ast.JoinedStr):
            return
        if path:
            found.append(path)
        for field, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            for index, child in enumerate(children):
                if isinstance(child, ast.expr | ast.stmt | ast.keyword | ast.comprehension):
                    visit(child, [*path, (field, index if isinstance(value, list) else None)])

    for index, statement in enumerate(definition.body):
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        visit(statement, [("body", index)])
    return found


def _at(node, path):
    for field, index in path:
        value = getattr(node, field)
        node = value if index is None else value[index]
    return node


def _put(root, path, new):
    *front, (field, index) = path
    holder = _at(root, front)
    if index is None:
        setattr(holder, field, new)
    else:
        getattr(holder, field)[index] = new


def _changes(node):
    """Functions that turn this node into a wrong one."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        old = type(node.ops[0])
        for new in [*_COMPARE.get(old, []), *([_FLIP[old]] if old in _FLIP else [])]:
            yield lambda n, new=new: ast.Compare(n.left, [new()], n.comparators)
    elif isinstance(node, ast.BinOp):
        for new in _ARITHMETIC.get(type(node.op), []):
            yield lambda n, new=new: ast.BinOp(n.left, new(), n.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not | ast.USub):
        yield lambda n: n.operand
    elif isinstance(node, ast.keyword) and node.arg in _AXES:
        if isinstance(node.value, ast.Constant | ast.UnaryOp):
            yield lambda n: ast.keyword(n.arg, ast.Constant(_other_axis(n.value)))
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield lambda n: ast.Constant(not n.value)
        elif isinstance(node.value, int | float):
            yield lambda n: ast.Constant(n.value + 1)
            if node.value not in (0, 1):
                yield lambda n: ast.Constant(n.value * 2)


def _other_axis(value):
    number = ast.literal_eval(value)
    return 0 if isinstance(number, int) and number != 0 else -1


def _build(tree, function):
    """Compile the changed source in the function's own module, so that its helpers are there."""
    space = dict(function.__globals__)
    exec(compile(ast.fix_missing_locations(tree), "<mutant>", "exec"), space)
    return space[function.__name__]

"""What a package registers, read from its text: nothing is imported, so nothing that it needs is either."""

import __future__

import ast
import builtins
import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vlmcal.extras import extra_of

_ROOT = __name__.partition(".")[0]
_LIMITED = re.compile(r"Annotated\[(\w+), Field\((.*?)\)\]")
_SIGNS = {"ge": ">= ", "gt": "> ", "le": "<= ", "lt": "< "}


@dataclass(frozen=True)
class Sketch:
    """A registered class or function as its source text shows it.

    Attributes:
        module: Dotted name of the module that defines it.
        node: Its definition.
    """

    module: str
    node: ast.ClassDef | ast.FunctionDef

    @property
    def doc(self) -> str:
        """The docstring, or nothing."""
        return ast.get_docstring(self.node) or ""

    def parameters(self) -> list[tuple[str, str, str]]:
        """Name, type and default ("" where it must be given) of what can be set.

        Of a class, the fields of its ``Config`` or its own; of a function, the parameters with a default.
        """
        if isinstance(self.node, ast.FunctionDef):
            return list(self._defaults(self.node.args))
        place = _nested(self.module, self.node, "Config") or (self.module, self.node)
        rows: dict[str, tuple[str, str, str]] = {}
        made = False
        for module, node in _lineage(*place):
            marks = [ast.unparse(each) for each in node.decorator_list]
            # Below a base with this mark, every class is made a dataclass.
            made = made or any("dataclass_transform" in mark for mark in marks)
            if made or any("dataclass" in mark for mark in marks):
                rows |= {row[0]: row for row in _fields(module, node)}
        return list(rows.values())

    def attribute(self, name: str) -> Any:
        """The value of a class attribute, also an inherited one; None where there is none."""
        assert isinstance(self.node, ast.ClassDef)
        for module, node in reversed(list(_lineage(self.module, self.node))):
            own = _assigned(node.body)
            if isinstance(value := own.get(name), ast.expr):
                return _value(module, value, own)
        return None

    def _defaults(self, args: ast.arguments) -> Iterator[tuple[str, str, str]]:
        places = [*args.posonlyargs, *args.args]
        positional = zip(places[len(places) - len(args.defaults) :], args.defaults, strict=True)
        for arg, default in [*positional, *zip(args.kwonlyargs, args.kw_defaults, strict=True)]:
            if default is not None:
                kind = "" if arg.annotation is None else _type(self.module, arg.annotation)
                yield arg.arg, kind, _shown(self.module, default)


def sketches(package: str, only: str = "") -> dict[str, Sketch]:
    """What the modules of a package register with the decorator ``@REGISTRY.register(name)``, by name.

    Args:
        package: Dotted name of the folder.
        only: A name, so that modules that do not mention it need not be read in full.

    Example:
        >>> brier = sketches("vlmcal.objectives")["brier"]
        >>> brier.doc.splitlines()[0]
        'Squared distance between predicted and one-hot probabilities.'
    """
    found: dict[str, Sketch] = {}
    for module, text in _texts(package):
        if ".register(" not in text or only not in text:
            continue
        for node in _tree(module).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found |= {name: Sketch(module, node) for name in _registered(node)}
    return dict(sorted(found.items()))


def mentions(package: str, name: str) -> bool:
    """Whether any module of a package writes a name between quotes.

    Example:
        >>> mentions("vlmcal.metrics", "ece"), mentions("vlmcal.metrics", "coop")
        (True, False)
    """
    return any(f'"{name}"' in text for _, text in _texts(package))


def _texts(package: str) -> Iterator[tuple[str, str]]:
    """Modules of a package itself, with their texts."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        for path in sorted(Path(folder).glob("*.py")):
            yield f"{package}.{path.stem}", path.read_text(encoding="utf-8")


def _registered(node: ast.ClassDef | ast.FunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
            continue
        if decorator.func.attr == "register":
            yield ast.literal_eval(decorator.args[0])


@cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """Names of the top level of a module -> the statement or expression that makes them."""
    body = _tree(module).body
    found: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name): node for alias in node.names}
    return found | _assigned(body)


def _assigned(body: list[ast.stmt]) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(node, ast.Assign | ast.AnnAssign):
                found[target.id] = node.value if node.value is not None else node
    return found


def _class(module: str, name: ast.expr) -> tuple[str, ast.ClassDef] | None:
    """Where the class of an expression is defined; None where that is no module of this package."""
    if isinstance(name, ast.Subscript):
        return _class(module, name.value)
    if isinstance(name, ast.Attribute):
        owner = _class(module, name.value)
        return None if owner is None else _nested(*owner, name.attr)
    if not isinstance(name, ast.Name):
        return None
    node = _definitions(module).get(name.id)
    if isinstance(node, ast.ClassDef):
        return module, node
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == _ROOT:
        return _class(str(node.module), ast.Name(name.id))
    return None


def _nested(module: str, node: ast.ClassDef, name: str) -> tuple[str, ast.ClassDef] | None:
    for place, owner in reversed(list(_lineage(module, node))):
        for each in owner.body:
            if isinstance(each, ast.ClassDef) and each.name == name:
                return place, each
    return None


def _lineage(module: str, node: ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef]]:
    """The classes that a class is made of, itself last."""
    for base in node.bases:
        found = _class(module, base)
        if found is not None:
            yield from _lineage(*found)
    yield module, node


def _fields(module: str, node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        kind, value = _type(module, each.annotation), each.value
        if kind.startswith("ClassVar") or kind == "KW_ONLY":
            continue
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
            options = {keyword.arg: keyword.value for keyword in value.keywords}
            if "init" in options and not _value(module, options["init"]):
                continue
            value = options.get("default")
        yield each.target.id, kind, "" if value is None else _shown(module, value)


def _type(module: str, annotation: ast.expr) -> str:
    """A type as written, with choices and limits in place of names that stand for them."""

    class Choices(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return _choices(module, node.id) or node

    text = ast.unparse(Choices().visit(ast.parse(ast.unparse(annotation), mode="eval")))
    return _LIMITED.sub(_limits, text)


def _limits(found: re.Match[str]) -> str:
    kind, limits = found.groups()
    return f"{kind} {re.sub(r'(ge|gt|le|lt)=', lambda name: _SIGNS[name[1]], limits)}"


def _choices(module: str, name: str) -> ast.expr | None:
    node = _definitions(module).get(name)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Literal", "Annotated"):
        return node
    if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == _ROOT:
        return _choices(str(node.module), name)
    return None


def _shown(module: str, value: ast.expr) -> str:
    try:
        return repr(_value(module, value))
    except Exception:  # made from what is not there
        return ast.unparse(value)


def _value(module: str, value: ast.expr, own: Mapping[str, Any] | None = None) -> Any:
    """What an expression gives: only the definitions that it names are carried out.

    Args:
        module: Where it stands.
        value: The expression.
        own: Definitions of the class in which it stands.
    """
    try:
        return ast.literal_eval(value)
    except ValueError:
        names = _Names(module, own or {})
        names.find(value)
        return eval(
            compile(ast.fix_missing_locations(ast.Expression(value)), module, "eval"), names.space
        )


class _Names:
    """The names of a module that an expression needs, found one by one."""

    def __init__(self, module: str, own: Mapping[str, Any]) -> None:
        self.module = module
        self.own = own
        self.space: dict[str, Any] = {}

    def find(self, node: ast.AST) -> None:
        known = {**_definitions(self.module), **self.own}
        for each in ast.walk(node):
            if not isinstance(each, ast.Name) or hasattr(builtins, each.id):
                continue
            made_by = known.get(each.id)
            if made_by is not None and each.id not in self.space:
                self.space[each.id] = None
                self._make(each.id, made_by)

    def _make(self, name: str, made_by: ast.AST) -> None:
        if isinstance(made_by, ast.Import | ast.ImportFrom):
            self._bring(name, made_by)
        elif isinstance(made_by, ast.expr):
            self.space[name] = _value(self.module, made_by)
        elif isinstance(made_by, ast.stmt):
            self.find(made_by)
            # Annotations stay text, so that what only they name is not needed.
            flags = __future__.annotations.compiler_flag
            exec(compile(ast.Module([made_by], []), self.module, "exec", flags), self.space)

    def _bring(self, name: str, statement: ast.Import | ast.ImportFrom) -> None:
        source = statement.module if isinstance(statement, ast.ImportFrom) else name
        if source is None or extra_of(source) is not None:
            return
        if source.partition(".")[0] != _ROOT:
            code = compile(ast.Module([statement], []), self.module, "exec")
            exec(code, self.space)
        elif name in _definitions(source):
            self.space[name] = _value(source, ast.Name(name, ast.Load()))

"""Conditions over a document's metadata and signals: ``meta.score >= 3 and language == 'en'``.

A closed language, parsed here and never given to Python: names, numbers, strings, lists; ``and or not``; ``== != < <= >
>=``; ``in`` and ``not in``; ``is null`` and ``is not null``; ``+ - * /``; and the functions of :data:`FUNCTIONS`.

As in SQL, what is missing is null, and so is every comparison with it, or between a number and a string; a condition
holds where it is true, not where it is null.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from operator import add, eq, ge, gt, le, lt, mul, ne, sub, truediv
from typing import Any, NamedTuple

FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "lower": (1, lambda text: text.lower()),
    "length": (1, len),
    "contains": (2, lambda text, part: part in text),
    "starts_with": (2, lambda text, part: text.startswith(part)),
    "ends_with": (2, lambda text, part: text.endswith(part)),
}
"""Functions of text by name: how many arguments, and what they do; a null argument, or one that is no text, gives null."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>==|!=|<=|>=|[<>()\[\],.+\-*/])
    )""",
    re.VERBOSE,
)
_KEYWORDS = {"and", "or", "not", "in", "is"}
_LITERALS = {"true": True, "false": False, "null": None}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"==": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {"+": add, "-": sub, "*": mul, "/": truediv}
_MOST_DEPTH = 50

Row = Mapping[str, Any]
"""A document: its columns by name, and its metadata under ``meta``."""
Node = Callable[[Row], Any]


class ExpressionError(ValueError):
    """The expression is wrong; the message shows where."""


class Token(NamedTuple):
    kind: str
    text: str
    at: int


class Expression:
    """A parsed condition.

    Raises:
        ExpressionError: with the place, what was expected, and the nearest known name.
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        """Args:
        text: the condition.
        names: columns that it may name besides ``meta``.
        """
        self.text = text
        self.names: set[str] = set()
        """Columns that it reads; ``meta`` stands for the metadata."""
        self._known = names
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0
        self._node = self._either()
        if self._peek().kind != "end":
            self._fail(f"`{self._peek().text}` is not expected here", self._peek())

    def value(self, row: Row) -> Any:
        """What the expression gives for a document; None is null."""
        return self._node(row)

    def holds(self, row: Row) -> bool:
        """Whether the condition is true for a document."""
        return self._node(row) is True

    # --- grammar, from the weakest binding to the strongest

    def _either(self) -> Node:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            self._fail("nested too deeply", self._peek())
        node = self._both()
        while self._takes("or"):
            node = _logical(node, self._both(), True)
        self._depth -= 1
        return node

    def _both(self) -> Node:
        node = self._negated()
        while self._takes("and"):
            node = _logical(node, self._negated(), False)
        return node

    def _negated(self) -> Node:
        times = 0
        while self._takes("not"):
            times += 1
        node = self._comparison()
        if not times:
            return node

        def negated(row: Row) -> Any:
            value = node(row)
            return value != (times % 2 == 1) if isinstance(value, bool) else None

        return negated

    def _comparison(self) -> Node:
        left = self._sum()
        token = self._peek()
        if token.text in _COMPARISONS and token.kind == "sign":
            self._at += 1
            return _compared(left, self._sum(), token.text)
        if self._takes("is"):
            wanted = not self._takes("not")
            if not self._takes("null"):
                self._fail("expected `null` or `not null` after `is`", self._peek())
            return lambda row: (left(row) is None) is wanted
        outside = self._takes("not")
        if outside and self._peek().text != "in":
            self._fail("expected `in` after `not`", self._peek())
        if self._takes("in"):
            return _contained(left, self._list(), not outside)
        return left

    def _sum(self) -> Node:
        return self._chain(self._product, "+-")

    def _product(self) -> Node:
        return self._chain(self._unary, "*/")

    def _chain(self, operand: Callable[[], Node], signs: str) -> Node:
        node = operand()
        while (sign := self._peek()).kind == "sign" and sign.text in signs:
            self._at += 1
            node = _calculated(node, operand(), sign.text)
        return node

    def _unary(self) -> Node:
        signs = 0
        while self._takes("-"):
            signs += 1
        node = self._atom()
        return _calculated(lambda row: 0, node, "-") if signs % 2 else node

    def _atom(self) -> Node:
        token = self._next()
        if token.kind in ("number", "string"):
            constant = _constant(token)
            return lambda row: constant
        if token.text == "(":
            node = self._either()
            self._expect(")")
            return node
        if token.kind != "name" or token.text in _KEYWORDS:
            self._fail("expected a name, a number, a string or `(`", token)
        if token.text in _LITERALS:
            return lambda row: _LITERALS[token.text]
        if token.text in FUNCTIONS and self._takes("("):
            return self._call(token.text)
        return self._named(token)

    def _call(self, name: str) -> Node:
        count, function = FUNCTIONS[name]
        arguments = [self._sum()]
        while self._takes(","):
            arguments.append(self._sum())
        self._expect(")")
        if len(arguments) != count:
            self._fail(f"{name} takes {count} argument{'s' * (count > 1)}, not {len(arguments)}", self._peek())

        def called(row: Row) -> Any:
            values = [argument(row) for argument in arguments]
            return function(*values) if all(isinstance(value, str) for value in values) else None

        return called

    def _named(self, token: Token) -> Node:
        name = token.text
        if name != "meta":
            if name not in self._known:
                near = difflib.get_close_matches(name, [*self._known, *FUNCTIONS], 1, 0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"your own fields are `meta.{name}`"
                self._fail(f"unknown name `{name}`; {hint}", token)
            self.names.add(name)
            return lambda row: row[name]
        path = []
        while self._peek().text in (".", "[") and self._peek().kind == "sign":
            is_quoted = self._next().text == "["
            part = self._next()
            if part.kind != ("string" if is_quoted else "name"):
                expected = 'a string, as in meta["my field"]' if is_quoted else "the name of a field after `meta.`"
                self._fail(f"expected {expected}", part)
            path.append(_constant(part) if is_quoted else part.text)
            if is_quoted:
                self._expect("]")
        if not path:
            self._fail("name a field, as in `meta.score`", token)
        self.names.add("meta")

        def field(row: Row) -> Any:
            value = row["meta"]
            for part in path:
                value = value.get(part) if isinstance(value, dict) else None
            return value if isinstance(value, str | int | float) else None

        return field

    def _list(self) -> list[Any]:
        self._expect("[")
        values: list[Any] = []
        while not self._takes("]"):
            if values:
                self._expect(",")
            sign = -1 if self._takes("-") else 1
            token = self._next()
            if token.kind not in ("number", "string") or (sign < 0 and token.kind == "string"):
                self._fail("expected a number or a string in the list", token)
            values.append(_constant(token) if token.kind == "string" else sign * _constant(token))
        return values

    # --- tokens

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind == "end":
            self._fail("the expression ends too early", token)
        self._at += 1
        return token

    def _takes(self, text: str) -> bool:
        token = self._peek()
        if token.text != text or token.kind == "string":
            return False
        self._at += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._takes(text):
            self._fail(f"expected `{text}`", self._peek())

    def _fail(self, message: str, token: Token) -> None:
        raise ExpressionError(_shown(self.text, token.at, message))


def _shown(text: str, at: int, message: str) -> str:
    return f"{message}, at character {at + 1} of `{text}`"


def _tokens(text: str) -> list[Token]:
    tokens = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            hint = "; write `==`" if text[at] == "=" else "; the quote is not closed" if text[at] in "'\"" else ""
            raise ExpressionError(_shown(text, at, f"`{text[at]}` is not expected here{hint}"))
        kind = str(match.lastgroup)
        tokens.append(Token(kind, match.group(kind), match.start(kind)))
        at = match.end()
    return [*tokens, Token("end", "", len(text))]


def _constant(token: Token) -> Any:
    if token.kind == "string":
        return re.sub(r"\\(.)", r"\1", token.text[1:-1])
    return float(token.text) if set(token.text) & set(".eE") else int(token.text)


def _kind(value: Any) -> str:
    return "text" if isinstance(value, str) else "truth" if isinstance(value, bool) else "number"


def _compared(left: Node, right: Node, sign: str) -> Node:
    compare = _COMPARISONS[sign]

    def compared(row: Row) -> Any:
        a, b = left(row), right(row)
        return None if a is None or b is None or _kind(a) != _kind(b) else compare(a, b)

    return compared


def _contained(left: Node, values: list[Any], wanted: bool) -> Node:
    def contained(row: Row) -> Any:
        value = left(row)
        return (
            None if value is None else any(_kind(value) == _kind(item) and value == item for item in values) is wanted
        )

    return contained


def _logical(left: Node, right: Node, decisive: bool) -> Node:
    """``or`` (decisive True) and ``and`` (decisive False) of three values."""

    def logical(row: Row) -> Any:
        a = left(row)
        if a is decisive:
            return decisive
        b = right(row)
        return b if b is decisive or (a is b is (not decisive)) else None

    return logical


def _calculated(left: Node, right: Node, sign: str) -> Node:
    operation = _OPERATIONS[sign]

    def calculated(row: Row) -> Any:
        a, b = left(row), right(row)
        if any(value is None or _kind(value) != "number" for value in (a, b)):
            return None
        try:
            return operation(a, b)
        except (OverflowError, ZeroDivisionError):
            return None

    return calculated


def first_false(
    expressions: Sequence[Expression], columns: Mapping[str, Sequence[Any]], metas: Sequence[str | None], n: int
) -> list[int]:
    """Of every document the number (from 1) of the first condition that is not true; 0 where all hold.

    Args:
        expressions: at least one.
        columns: what they name, N values each; NaN is null.
        metas: the metadata as JSON objects; read only where an expression names ``meta``.
        n: how many documents.
    """
    with_meta = any("meta" in expression.names for expression in expressions)
    numbers = []
    for i in range(n):
        row = {name: None if values[i] != values[i] else values[i] for name, values in columns.items()}
        if with_meta:
            row["meta"] = json.loads(metas[i] or "{}")
        numbers.append(next((k for k, condition in enumerate(expressions, 1) if not condition.holds(row)), 0))
    return numbers

"""Expressions of PromQL, read by a parser of PromQL that is not ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import promql_parser
from promql_parser import (
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
)

from navarch.monitoring.grafana import Board
from navarch.monitoring.rules import Group

FILLED = {
    "$__rate_interval": "1m",
    "$job": "navarch",
    "$pool": ".*",
    "$provider": ".*",
}
"""What Grafana puts in the place of its variables when everything is chosen."""


def expressions_of(groups: Iterable[Group], boards: Iterable[Board]) -> Iterator[tuple[str, str]]:
    """All expressions, and where they stand."""
    for group in groups:
        for rule in group.rules:
            yield rule.name, rule.expr
    for board in boards:
        for panel in board.panels:
            for query in panel.queries:
                yield f"{board.uid}: {panel.title}", query.expr


def filled(expression: str, **differently: str) -> str:
    """Put values in the place of Grafana's variables."""
    for variable, value in FILLED.items():
        name = variable.removeprefix("$").removeprefix("__")
        expression = expression.replace(variable, differently.get(name, value))
    return expression


def selectors_in(expression: str) -> Iterator[VectorSelector]:
    """All selectors of an expression. Raises `ValueError` when it is no PromQL."""
    yield from _selectors(promql_parser.parse(expression))


def names_in(expression: str) -> set[str]:
    """The names of all series that an expression asks for."""
    return {selector.name for selector in selectors_in(expression) if selector.name is not None}


def _selectors(expr: Expr) -> Iterator[VectorSelector]:
    match expr:
        case VectorSelector():
            yield expr
        case MatrixSelector():
            yield expr.vector_selector
        case AggregateExpr() | ParenExpr() | UnaryExpr() | SubqueryExpr():
            yield from _selectors(expr.expr)
        case BinaryExpr():
            yield from _selectors(expr.lhs)
            yield from _selectors(expr.rhs)
        case Call():
            for argument in expr.args:
                yield from _selectors(argument)
        case NumberLiteral() | StringLiteral():
            return
        case _:
            raise AssertionError(f"unknown form of an expression: {expr!r}")

"""``policy``: health policies checked, tried and explained, without any server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from navarch.cli import output, policy_backtesting
from navarch.cli.session import Json, output_format, output_option

if TYPE_CHECKING:
    from navarch.errors import ConfigError
    from navarch.policy import CaseResult, HealthPolicy, Rule

FILE = click.Path(path_type=Path)

RULES = ("RULE", "RESULT", "REPAIR", "DESCRIPTION")
RULES_WIDE = ("FOLLOWS", "LASTING", "SETTLES", "CONDITION")
CASES = ("CASE", "OUTCOME", "STATUS", "RULE", "PROBLEM")


@click.group("policy")
def policy() -> None:
    """Check, try and explain health policies."""


policy.add_command(policy_backtesting.backtest)


@policy.command("check")
@click.argument("file", type=FILE)
@output_option
@click.pass_context
def check(context: click.Context, file: Path) -> None:
    """Name every mistake in a policy, and what is probably not meant."""
    from navarch.policy import check_file

    found = check_file(file)
    if output.for_programs(output_format(context)):
        content = {
            "file": str(file),
            "errors": [mistake(error) for error in found.errors],
            "warnings": list(found.warnings),
            "policy": None if found.policy is None else _summary(found.policy),
        }
        output.document(content, output_format(context))
        context.exit(1 if found.errors else 0)
    tell(file, found.errors, found.warnings)
    if found.policy is None:
        context.exit(1)
    one = found.policy
    output.line(f"{file}: no mistakes; {one.name}, {len(one.rules)} rules, digest {one.digest}")


def tell(file: Path, errors: Sequence[ConfigError], warnings: Sequence[str]) -> None:
    """Write what was found in a policy file for people, to standard error."""
    for error in errors:
        output.mistake(error)
    for warning in warnings:
        output.note(f"warning: {file}: {warning}")


def mistake(error: ConfigError) -> Json:
    """Say a mistake to programs; a line or a column of None has no place."""
    column = getattr(error, "column", None)  # only those of a policy know it
    return {
        "file": error.file,
        "line": error.line,
        "column": column,
        "key": error.key,
        "message": error.message,
    }


@policy.command("test")
@click.argument("file", type=FILE)
@click.argument("cases", type=FILE)
@output_option
@click.pass_context
def try_cases(context: click.Context, file: Path, cases: Path) -> None:
    """Try a policy on a file of cases.

    A case is some events, and what is expected to come of them.
    """
    from navarch.policy import run_cases

    report = run_cases(_policy(context, file), cases)
    if output.for_programs(output_format(context)):
        content = {
            "policy": str(file),
            "cases": [_outcome(result) for result in report.results],
            "errors": [mistake(error) for error in report.errors],
            "passed": report.passed,
        }
        output.document(content, output_format(context))
    elif report.errors:
        tell(cases, report.errors, ())
    else:
        rows = [_case_row(result) for result in report.results]
        output.table(CASES, rows)
        passed = sum(result.passed for result in report.results)
        output.line("")
        output.line(f"{passed} of {len(rows)} cases passed")
    context.exit(0 if report.passed else 1)


def _case_row(result: CaseResult) -> tuple[str, ...]:
    outcome = "passed" if result.passed else "FAILED"
    verdict = result.verdict
    problems = "; ".join(result.problems)
    return result.name, outcome, str(verdict.status), verdict.rule, problems


def _outcome(result: CaseResult) -> Json:
    return {
        "name": result.name,
        "line": result.line,
        "passed": result.passed,
        "status": str(result.verdict.status),
        "rule": result.verdict.rule,
        "problems": list(result.problems),
    }


@policy.command("show")
@click.argument("file", type=FILE, required=False)
@output_option
@click.pass_context
def show(context: click.Context, file: Path | None) -> None:
    """List a policy's rules; without FILE, those that are built in."""
    one = _policy(context, file)
    form = output_format(context)
    if output.for_programs(form):
        rules = [_rule(rule) for rule in one.rules]
        output.document({**_summary(one), "rules": rules}, form)
        return
    wide = form == "wide"
    output.table(
        (*RULES, *RULES_WIDE) if wide else RULES, [_rule_row(rule, wide=wide) for rule in one.rules]
    )


def _rule_row(rule: Rule, *, wide: bool) -> tuple[str, ...]:
    row = (rule.name, str(rule.result), str(rule.repair), rule.description)
    if not wide:
        return row
    lasting = "xid, sxid" if rule.lasting is None else str(rule.lasting).lower()
    return *row, rule.follows, lasting, str(rule.settles).lower(), " ".join(rule.condition.split())


def _rule(rule: Rule) -> Json:
    return {
        "name": rule.name,
        "description": rule.description,
        "condition": rule.condition,
        "result": str(rule.result),
        "repair": str(rule.repair),
        "lasting": rule.lasting,
        "settles": rule.settles,
        "follows": rule.follows,
        "line": rule.line,
    }


@policy.command("explain")
@click.argument("code", type=click.IntRange(0, 99_999_999))
@click.option("--sxid", is_flag=True, help="It is a code of an NVSwitch, an SXID.")
@click.option(
    "--policy", "file", type=FILE, help="Who judges it.  [default: the policy that is built in]"
)
@output_option
@click.pass_context
def explain(context: click.Context, code: int, *, sxid: bool, file: Path | None) -> None:
    """Tell all that is known of an XID.

    That is what the vendors say of it, and what a policy makes of it alone.
    """
    from navarch.policy import explain_sxid, explain_xid

    judge = _policy(context, file)
    if output.for_programs(output_format(context)):
        output.document(_known(code, judge, sxid=sxid), output_format(context))
        return
    for line in explain_sxid(code, judge) if sxid else explain_xid(code, judge):
        output.line(line)


def _known(code: int, judge: HealthPolicy, *, sxid: bool) -> Json:
    """Say to programs what the catalogue has of a code, null where it has none, and the verdict."""
    import msgspec

    from navarch.policy import HealthEvent, catalog

    kind = "sxid" if sxid else "xid"
    row = catalog.sxids().get(code) if sxid else catalog.xids().get(code)
    event = HealthEvent(kind, gpu_index=-1 if sxid else 0, metrics={f"{kind}_code": code})
    match = judge.evaluate([event]).matches[0]
    return {
        "kind": kind,
        "code": code,
        "known": None if row is None else msgspec.to_builtins(row),
        "verdict": {
            "policy": judge.name,
            "rule": match.rule,
            "status": str(match.status),
            "repair": str(match.remedy),
            "lasting": match.lasting,
            "because": match.because,
        },
    }


def _summary(one: HealthPolicy) -> Json:
    return {
        "name": one.name,
        "description": one.description,
        "digest": one.digest,
        "rules": len(one.rules),
    }


def _policy(context: click.Context, file: Path | None) -> HealthPolicy:
    """Read a policy, the default one for None; end the command where it has mistakes."""
    from navarch.policy import HealthPolicy, check_file

    if file is None:
        return HealthPolicy.default()
    found = check_file(file)
    if found.policy is None:
        tell(file, found.errors, ())
        context.exit(1)
    return found.policy

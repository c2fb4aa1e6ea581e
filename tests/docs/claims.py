"""Who checks which blocks: one checker for each language, and for YAML one for each kind of file.

A block that nobody claims is a fault: whoever shows something new also says how it stays true.
``text`` is output and drawings, in which no commands may hide.
"""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from docs import shells
from docs.fences import PROJECT, Fence, typed
from navarch.config.load import examine_text
from navarch.errors import NavarchError
from navarch.plugins.kinds import KINDS
from navarch.plugins.resources import reading
from navarch.policy import HealthPolicy
from navarch.policy.cases import run_cases_text
from navarch.policy.checking import check_text
from navarch.simulator.loads import jobs_of
from navarch.simulator.scenarios import reading as scenarios
from navarch.wire.auth import ACCESS

Checker = Callable[[Fence], list[str]]

SQL_RUN_BY = {"docs/postgres.md": "tests/integration/test_operations_docs.py"}
"""Pages whose SQL a real PostgreSQL runs, and the test that has it do so."""

SECRETS = dict.fromkeys(
    ("SCHEDULER_TOKEN", "NAVARCH_ADMIN", "ON_CALL_TOKEN", "CREDENTIALS_DIRECTORY"), "secret"
)
"""The environment in which configurations of pages are read."""


def faults(fence: Fence) -> list[str]:
    """Name what is wrong with a block; blocks of Python are looked at page by page."""
    if fence.language == "python":
        return []
    checker = CHECKERS.get(fence.language)
    if checker is None:
        return [f"nobody checks blocks of the language {fence.language or '(none)'!r}"]
    return checker(fence)


def _text(fence: Fence) -> list[str]:
    lines = fence.text.splitlines()
    hidden = [line for line in lines if re.match(r"\$ |navarch (?!\w+-)[a-z]+ -", line)]
    return [f"a command in a block of text: {line}" for line in hidden if "[OPTIONS]" not in line]


def _signature(fence: Fence) -> list[str]:
    """How something is called; tests/docs/test_reference.py compares it with the code."""
    made = fence.page.startswith("docs/reference/")
    return [] if made else ["`py` is for generated pages: say `python`"]


def _console(fence: Fence) -> list[str]:
    commands = typed(fence.text)
    if not commands:
        return ["a session without a prompt ($)"]
    return [fault for each in commands for fault in shells.faults(each.command.removesuffix("&"))]


def _shell(fence: Fence) -> list[str]:
    if any(line.startswith("$ ") for line in fence.text.splitlines()):
        return ["a prompt: say `console`"]
    return shells.faults(fence.text)


def _json(fence: Fence) -> list[str]:
    try:
        json.loads(fence.text)
    except ValueError:
        try:
            for line in fence.text.splitlines():
                json.loads(line)
        except ValueError as error:
            return [str(error)]
    return []


def _toml(fence: Fence) -> list[str]:
    groups = tomllib.loads(fence.text).get("project", {}).get("entry-points", {})
    known = {spec.group for spec in KINDS.values()}
    return [f"there is no group {group}" for group in groups if group not in known]


def _ini(fence: Fence) -> list[str]:
    """A unit of systemd, or what is added to one."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(re.sub(r"\\\n\s*", " ", fence.text))
    unknown = set(parser.sections()) - {"Unit", "Service", "Install", "Socket", "Timer"}
    wrong = [f"there is no section {name} in a unit" for name in unknown]
    command = parser.get("Service", "ExecStart", fallback="")
    return wrong + (shells.faults(command.lstrip("-+!@").replace("%H", "host")) if command else [])


def _sql(fence: Fence) -> list[str]:
    return [] if fence.page in SQL_RUN_BY else ["nobody runs the SQL of this page"]


def _typescript(fence: Fence) -> list[str]:
    package = json.loads((PROJECT / "tests/clients/node/package.json").read_text())
    known = package.get("dependencies", {}) | package.get("devDependencies", {})
    imported = re.findall(r'from "([^".][^"]*)"', fence.text)
    wrong = [f"{name} is not what the tests use" for name in imported if name not in known]
    calls = {name[0].lower() + name[1:] for name in ACCESS}
    called = re.findall(r"client\.(\w+)\(", fence.text)
    return wrong + [f"there is no call {name}" for name in called if name not in calls]


def _promql(fence: Fence) -> list[str]:
    """Expressions, each beginning a line; lines that begin with blanks continue one."""
    wrong = []
    for expression in re.split(r"\n+(?! |$)", fence.text.strip()):
        try:
            promql_parser.parse(expression)
        except ValueError as error:
            wrong.append(f"{expression}: {error}")
    return wrong


# --- YAML -----------------------------------------------------------------------------------------


def _yaml(fence: Fence) -> list[str]:
    try:
        documents = [each for each in yaml.safe_load_all(fence.text) if each is not None]
    except yaml.YAMLError as error:
        return [str(error)]
    for document in documents:
        if not isinstance(document, dict):
            return ["no mapping, so no kind of file that we know"]
    keys = {key for document in documents for key in document}
    for name, (needed, checker) in FILES.items():
        if keys & needed[0] and keys <= needed[1]:
            return [f"as {name}: {fault}" for fault in checker(fence)]
    return [f"no kind of file that we know has the keys {sorted(map(str, keys))}"]


def _resources(fence: Fence) -> list[str]:
    versions = [str(each["apiVersion"]) for each in yaml.safe_load_all(fence.text)]
    if versions == ["1"]:
        return _grafana(fence)
    if versions == ["kustomize.config.k8s.io/v1beta1"]:
        return []  # its keys are those of this kind; what it adds is whoever's own
    ours = all("neuronetes.io" in version for version in versions)
    if ours:
        return [str(each) for each in reading.read(fence.text, file=fence.page).mistakes]
    return _kubernetes(fence)


def _kubernetes(fence: Fence) -> list[str]:
    from kubernetes_validate import validate  # type: ignore[import-untyped] # no stubs
    from kubernetes_validate.utils import ValidationError  # type: ignore[import-untyped]

    wrong = []
    for document in yaml.safe_load_all(fence.text):
        try:
            validate(document, "1.37", strict=True)
        except ValidationError as error:
            wrong.append(str(error.message))
    return wrong


def _configuration(fence: Fence) -> list[str]:
    found = examine_text(fence.text, path=Path("navarch.yaml"), environ=SECRETS)
    return [str(fault) for fault in found.faults]


def _scenario(fence: Fence) -> list[str]:
    path = PROJECT / "examples" / "scenarios" / "page.yaml"
    found = scenarios.examine_text(fence.text, path=path)
    if found.scenario is None:
        return [str(fault) for fault in found.faults]
    if not found.scenario.written.jobs:
        return []
    try:
        jobs_of(list(found.scenario.written.jobs))
    except (NavarchError, ValueError) as error:
        return [str(error)]
    return []


def _policy(fence: Fence) -> list[str]:
    found = check_text(fence.text, source=fence.page)
    return [*map(str, found.errors), *found.warnings]


def _cases(fence: Fence) -> list[str]:
    """Cases are tried on the policy that the page shows before, and hold."""
    from docs.fences import all_fences

    policies = [
        each.text
        for each in all_fences()
        if each.page == fence.page and each.language == "yaml" and each.text.startswith("version:")
    ]
    report = run_cases_text(HealthPolicy.from_yaml(policies[0]), fence.text, source=fence.page)
    return [*map(str, report.errors), *(each for r in report.results for each in r.problems)]


def _prometheus(fence: Fence) -> list[str]:
    """Jobs of a Prometheus; a real one reads them in tests/integration."""
    jobs = yaml.safe_load(fence.text)["scrape_configs"]
    known = {"job_name", "authorization", "static_configs", "metrics_path", "scheme", "tls_config"}
    known |= {"scrape_interval", "scrape_timeout"}
    return [f"a job has no {key}" for job in jobs for key in set(job) - known]


def _alertmanager(fence: Fence) -> list[str]:
    """Routes lead to receivers that there are."""
    whole = yaml.safe_load(fence.text)
    there = {each["name"] for each in whole.get("receivers", ())}
    routes = [whole.get("route", {}), *whole.get("route", {}).get("routes", ())]
    named = {route["receiver"] for route in routes if "receiver" in route}
    return [f"there is no receiver {name}" for name in sorted(named - there)] if there else []


def _grafana(fence: Fence) -> list[str]:
    """Folders of dashboards, as Grafana's provisioning reads them."""
    known = {"name", "orgId", "folder", "type", "disableDeletion", "options", "allowUiUpdates"}
    known |= {"updateIntervalSeconds"}
    folders = yaml.safe_load(fence.text)["providers"]
    return [f"a folder has no {key}" for each in folders for key in set(each) - known]


def _piece_of_a_pool(fence: Fence) -> list[str]:
    """What is below ``spec`` of an AgentPool."""
    whole = {
        "apiVersion": "neuronetes.io/v1alpha1",
        "kind": "AgentPool",
        "metadata": {"name": "chat"},
        "spec": {"agentClassRef": {"name": "chat"}} | _bounds(fence.text),
    }
    found = reading.read(yaml.safe_dump(whole, sort_keys=False), file=fence.page)
    return [str(each) for each in found.mistakes]


def _bounds(text: str) -> dict[str, Any]:
    piece: dict[str, Any] = yaml.safe_load(text)
    return {"minReplicas": 1, "maxReplicas": 4} | piece


def _piece_of_a_scenario(fence: Fence) -> list[str]:
    """Loads and jobs, as they stand in a scenario with the pools that they name."""
    piece = yaml.safe_load(fence.text)
    pool = {"provider": "fake", "min_nodes": 1, "max_nodes": 64}
    follows = {"autoscaling": {"type": "reactive", "scale_up_at": 80, "scale_down_at": 20}}
    pools = {job["pool"]: pool for job in piece.get("jobs", ())}
    pools |= dict.fromkeys(piece.get("load", {}), pool | follows)
    whole = {
        "name": "piece",
        "duration": "1h",
        "providers": {"fake": {}},
        "pools": pools,
        **piece,
    }
    return _scenario(fence._replace(text=yaml.safe_dump(whole, sort_keys=False)))


Keys = tuple[frozenset[str], frozenset[str]]


def _keys(needed: str, others: str = "") -> Keys:
    some = frozenset(needed.split())
    return some, some | frozenset(others.split())


FILES: Mapping[str, tuple[Keys, Checker]] = {
    "an Alertmanager": (_keys("route inhibit_rules", "receivers"), _alertmanager),
    "a resource": (
        _keys(
            "apiVersion",
            "kind metadata spec rules roleRef subjects data providers resources images patches"
            " namespace",
        ),
        _resources,
    ),
    "a policy": (_keys("rules version", "metadata"), _policy),
    "cases of a policy": (_keys("cases"), _cases),
    "jobs of Prometheus": (_keys("scrape_configs"), _prometheus),
    "a piece of an AgentPool": (_keys("autoscaling", "minReplicas maxReplicas"), _piece_of_a_pool),
    "a piece of a scenario": (_keys("load jobs"), _piece_of_a_scenario),
    "a scenario": (
        _keys(
            "name",
            "description duration seed server providers pools network outages fleet stress events"
            " assertions load jobs defaults",
        ),
        _scenario,
    ),
    "a configuration": (_keys("server providers pools defaults plugins"), _configuration),
}
"""Each kind of file: a key that it has, those that it may have besides, and who checks it."""

CHECKERS: Mapping[str, Checker] = {
    "text": _text,
    "py": _signature,
    "console": _console,
    "sh": _shell,
    "bash": _shell,
    "json": _json,
    "toml": _toml,
    "ini": _ini,
    "sql": _sql,
    "ts": _typescript,
    "promql": _promql,
    "yaml": _yaml,
}

"""Examples work, the page says what is so, and what is told about a code is whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import (
    HealthEvent,
    HealthPolicy,
    bounds,
    catalog,
    check_file,
    check_text,
    document,
    explain_sxid,
    explain_xid,
    readings,
    rules,
    run_cases,
)
from navarch.policy.cases import run_cases_text
from navarch.policy.catalog import CodeClass
from navarch.policy.expression import VARIABLES
from navarch.policy.recovery import Recovery
from navarch.policy.vocabulary import EVENT_TYPES, FUNCTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text()
EXAMPLES = sorted((ROOT / "examples" / "policies").glob("*.yaml"))
POLICIES = [path for path in EXAMPLES if not path.stem.endswith("-cases")]


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_an_example_is_read_without_doubts_and_judges(path: Path) -> None:
    report = check_file(path)
    assert report.errors == ()
    assert report.warnings == ()
    assert report.policy is not None
    assert report.policy.name == path.stem
    gone = HealthEvent("xid", 0, metrics={"xid_code": 79})
    assert report.policy.evaluate([gone]).status is Health.UNHEALTHY
    for code in (13, 31, 43, 45):
        harmless = HealthEvent("xid", 0, metrics={"xid_code": code})
        assert report.policy.evaluate([harmless]).status is Health.HEALTHY


def test_there_are_examples() -> None:
    assert {"strict", "windows"} <= {path.stem for path in POLICIES}


def test_the_cases_of_the_examples_pass() -> None:
    cases = [path for path in EXAMPLES if path.stem.endswith("-cases")]
    assert cases
    for path in cases:
        policy = HealthPolicy.from_file(path.with_name(path.name.replace("-cases", "")))
        report = run_cases(policy, path)
        assert report.errors == ()
        assert [case.problems for case in report.results if not case.passed] == []


# --- the page ---------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    """The code of the page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_policies_and_cases_of_the_page_work() -> None:
    policy, cases = blocks("yaml")
    report = check_text(policy, source="page.yaml")
    assert (report.errors, report.warnings) == ((), ())
    assert report.policy is not None
    tried = run_cases_text(report.policy, cases, source="page.yaml")
    assert tried.errors == ()
    assert tried.passed


def test_the_mistake_of_the_page_is_told_so() -> None:
    policy, _ = blocks("yaml")
    condition = 'event.event_type == "thermal" && event.metrics.temperature >= 95'
    assert condition in policy
    broken = policy.replace(condition, "event.temperature >= 95")
    [error] = check_text(broken, source="policy.yaml").errors
    assert blocks("text") == [f"{error}\n"]


def test_the_program_of_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = blocks("python")
    exec(program, {})  # noqa: S102  # the page's own code
    said = re.search(r"# (.+)$", program, re.MULTILINE)
    assert said is not None
    assert capsys.readouterr().out.strip() == said[1]


def test_the_page_names_everything_that_can_be_written() -> None:
    words = [
        *VARIABLES,
        *(word for word in EVENT_TYPES if word != "unknown"),
        *(str(each) for each in (*CodeClass, *Recovery, *Remedy)),
        *rules.RULE_KEYS,
        *rules.RESULTS,
    ]
    assert [word for word in words if f"`{word}`" not in PAGE] == []
    assert [name for name in FUNCTIONS if f"`{name}(kind, window)`" not in PAGE] == []


def test_the_page_names_the_limits() -> None:
    assert f"{document.FILE_MAX // 1024} KiB, {rules.RULES_MAX} rules" in PAGE
    assert f"{bounds.LENGTH_MAX:,} characters, 32 levels deep" in PAGE
    assert f"{bounds.PATTERN_MAX} characters, {bounds.PATTERN_WEIGHT_MAX} with repetit" in PAGE
    assert f"{readings.METRICS_MAX} metrics; texts are cut at {readings.TEXT_MAX:,}" in PAGE
    assert f"nested {document.DEPTH_MAX} levels deep" in PAGE


def test_the_page_counts_the_codes_of_each_class_right() -> None:
    for code_class in CodeClass:
        codes = [code for code, row in catalog.xids().items() if row.code_class is code_class]
        [said] = re.findall(rf"^\| `{code_class}` \| ([^|]*) \|", PAGE, re.MULTILINE)
        if code_class in (CodeClass.REBOOT, CodeClass.VERDICT):
            assert said == ", ".join(str(code) for code in codes)
        elif code_class is CodeClass.DECODE:
            assert said == f"{codes[0]} to {codes[-1]}"
        else:
            assert said.startswith(str(len(codes))), code_class
            named = [int(each) for each in re.findall(r"\d+", said)[1:]]
            assert set(named) <= set(codes), code_class


# --- what is told about a code ----------------------------------------------------------------


def test_all_that_is_known_of_a_code_is_told() -> None:
    lines = explain_xid(79)
    assert lines[0] == "XID 79: GPU fell off the PCIe bus"
    told = "\n".join(lines)
    for said in (
        "ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF_THE_BUS",
        "class:          reboot",
        "advice:         reboot_node; repeat -> vendor",
        "NVIDIA:         RESTART_BM, then CONTACT_SUPPORT",
        "gpud:           Fatal: RebootSystem, then HardwareInspection",
        "Azure:          fails the node",
        "Crusoe:         unhealthy",
        "verdict:        unhealthy, until it is repaired; repair: reboot",
        "rule:           xid-reboot of the policy default",
        "sources:        NVIDIA's XID catalogue as NVSentinel ships it and gpud, November 2026",
    ):
        assert said in told, told


def test_every_code_can_be_told_about() -> None:
    for code in (*range(-1, 200), 2**70):
        lines = explain_xid(code)
        assert lines[0].startswith(f"XID {code}: ")
        assert any(line.startswith("  verdict:") for line in lines)
        assert all("\n" not in line and line.strip() for line in lines)
    for code in (*catalog.sxids(), 1):
        assert explain_sxid(code)[0].startswith(f"SXID {code}: ")


def test_another_policy_can_be_asked_about_a_code() -> None:
    strict = HealthPolicy.from_file(ROOT / "examples" / "policies" / "strict.yaml")
    told = "\n".join(explain_xid(63, strict))
    assert "rule:           fails-an-azure-node of the policy strict" in told

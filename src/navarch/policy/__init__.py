"""Health policies: rules in CEL over what agents report, and the catalogue of NVIDIA's error codes.

A policy is a file of rules (docs/policy.md); `HealthPolicy` reads and applies it. What a code means
is data with its sources (`catalog`), and the policy that comes with Navarch (``default.yaml``) is
written over it.
"""

from __future__ import annotations

from navarch.core.judging import Match, Verdict
from navarch.core.model.report import HealthEvent
from navarch.policy.cases import CaseResult, CasesReport, run_cases
from navarch.policy.checking import CheckReport, check_file, check_text
from navarch.policy.document import PolicyError
from navarch.policy.explaining import explain_sxid, explain_xid
from navarch.policy.health_policy import HealthPolicy
from navarch.policy.rules import Rule

__all__ = [
    "CaseResult",
    "CasesReport",
    "CheckReport",
    "HealthEvent",
    "HealthPolicy",
    "Match",
    "PolicyError",
    "Rule",
    "Verdict",
    "check_file",
    "check_text",
    "explain_sxid",
    "explain_xid",
    "run_cases",
]

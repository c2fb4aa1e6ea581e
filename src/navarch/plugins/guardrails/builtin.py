"""The guardrail plugins that Navarch brings."""

from __future__ import annotations

from typing import Final

from navarch.plugins.guardrails.classifier import SafetyCheck
from navarch.plugins.guardrails.heuristics import JailbreakDetection, PromptInjection
from navarch.plugins.guardrails.phrases import ContentFilter
from navarch.plugins.guardrails.pii.plugin import PIIDetection

BUILT_IN: Final = (
    PIIDetection,
    ContentFilter,
    PromptInjection,
    JailbreakDetection,
    SafetyCheck,
)
"""Each is made with its configuration as keyword arguments, or with none."""

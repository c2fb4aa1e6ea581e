"""What the types of resources cannot say: which texts, how much, and what has to be there.

A field without a rule takes whatever its type takes, within the limits of `TEXT_MAX` and
`WHOLE_MAX`.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from navarch.core.model import resources as res
from navarch.plugins.resources.quantities import RATE, SIZE, Quantity

TEXT_MAX: Final = 4_096
"""Characters of one text."""
WHOLE_MAX: Final = 2**31 - 1
"""The largest whole number: Kubernetes' int32."""
REPLICAS_MAX: Final = 10_000
"""Replicas of one pool."""
ENTRIES_MAX: Final = 256
"""Entries of one list or mapping."""


class Form(Struct, frozen=True):
    """A text of a certain look."""

    expected: str
    """What to write, as it stands behind the word "expected"."""
    pattern: str
    """A regular expression for the whole of it that Go understands, too."""

    def fits(self, text: str) -> bool:
        """Whether a text looks so."""
        return re.fullmatch(self.pattern, text) is not None


class Rule(Struct, frozen=True):
    """What a field's value may be."""

    required: bool = False
    minimum: float | None = None
    """The smallest number."""
    above: float | None = None
    """What a number has to be more than; for durations 0."""
    maximum: float | None = None
    """The largest number, or the most entries."""
    form: Form | None = None
    """What a text, or each text of a list, looks like."""
    keys: Form | None = None
    """What the keys of a mapping look like."""
    quantity: Quantity | None = None
    """What a number of bytes is written as."""


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
NAME: Final = Form(
    "a name of at most 63 lower-case letters, digits, - and .",
    r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?",
)
FULL_NAME: Final = Form(
    "a name, or namespace/name", rf"(?:{_LABEL}/)?[a-z0-9](?:[a-z0-9.-]{{0,61}}[a-z0-9])?"
)
NAMESPACE: Final = Form("a namespace of at most 63 lower-case letters, digits and -", _LABEL)
LABEL_KEY: Final = Form(
    "a label's name such as team or example.com/team",
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?",
)
LABEL_VALUE: Final = Form(
    "a label's value of at most 63 letters, digits, -, _ and .",
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?",
)
WORD: Final = Form(
    "a word of letters, digits, -, _, . and /", r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126})"
)
MIG: Final = Form(
    "a MIG profile such as 1g.10gb",
    r"(?:[1-7]c\.)?[1-7]g\.[0-9]{1,3}gb(?:\+me(?:\.all)?|\+gfx|-me)?",
)
WEIGHTS: Final = Form(
    "a URI such as s3://bucket/llama/ or hf://org/name", r"[a-z][a-z0-9+.-]{0,31}://\S+"
)
URL: Final = Form("a URL such as https://tools.example/search", r"https?://\S+")
QUEUE_URL: Final = Form("a URL such as kafka://broker:9092", r"[a-z][a-z0-9+.-]{0,31}://\S+")
METHOD: Final = Form("a method of HTTP such as POST", r"[A-Z]{1,16}")
HEADER: Final = Form("a header's name such as X-Team", r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
RATE_LIMIT: Final = Form(
    "a number of calls such as 10/minute",
    r"(?:[1-9][0-9]{0,8}/(?:second|minute|hour|day|s|m|h|d))?",
)
PATH: Final = Form("a path such as /healthz", r"/\S*")
VARIABLE: Final = Form("a variable's name such as HF_HOME", r"[A-Za-z_][A-Za-z0-9_]{0,127}")

_NO_LESS = Rule(minimum=0)
_POSITIVE = Rule(above=0)
_REQUIRED_NAME = Rule(required=True, form=NAME)
_WEIGHT = Rule(minimum=0, maximum=100)
_COUNT = Rule(minimum=0, maximum=REPLICAS_MAX)
_SIZE = Rule(quantity=SIZE)

RULES: Final[dict[type[res.Part], dict[str, Rule]]] = {
    res.ObjectMeta: {
        "name": _REQUIRED_NAME,
        "namespace": Rule(form=NAMESPACE),
        "labels": Rule(keys=LABEL_KEY, form=LABEL_VALUE),
        "annotations": Rule(keys=LABEL_KEY),
    },
    res.ShardSpec: {"count": Rule(minimum=1, maximum=1024)},
    res.CachePolicy: {"pin_duration": _NO_LESS, "preload_nodes": _COUNT},
    res.ModelSpec: {"weights_uri": Rule(required=True, form=WEIGHTS), "size": _SIZE},
    res.GuardrailSpec: {
        "type": Rule(required=True, form=WORD),
        "threshold": Rule(minimum=0, maximum=1),
        "deadline": _POSITIVE,
    },
    res.SLO: {"tokens_per_second": _NO_LESS},
    res.ToolPermission: {
        "name": Rule(required=True, form=WORD),
        "rate_limit": Rule(form=RATE_LIMIT),
        "timeout": _POSITIVE,
        "max_concurrency": _NO_LESS,
    },
    res.AgentClassSpec: {"max_context_length": _NO_LESS},
    res.Topology: {"min_bandwidth": Rule(quantity=RATE)},
    res.GPURequirements: {"count": Rule(above=0, maximum=64), "memory": _SIZE},
    res.MetricTarget: {"type": Rule(required=True, form=WORD)},
    res.ScalingRules: {
        "max_change_percent": Rule(minimum=0, maximum=10_000),
        "max_change_absolute": _COUNT,
        "period_seconds": Rule(above=0, maximum=86_400),
    },
    res.Autoscaling: {"autoscalers": Rule(form=WORD)},
    res.NodeAffinity: {"key": Rule(required=True, form=LABEL_KEY), "weight": _WEIGHT},
    res.ReplicaAffinity: {
        "agent_pool": Rule(form=FULL_NAME),
        "topology_key": Rule(form=LABEL_KEY),
        "weight": _WEIGHT,
    },
    res.Scheduling: {
        "priority": Rule(minimum=-1_000_000_000, maximum=1_000_000_000),
        "node_selector": Rule(keys=LABEL_KEY),
        "max_cost_per_hour": _NO_LESS,
    },
    res.Readiness: {
        "path": Rule(form=PATH),
        "period": _POSITIVE,
        "timeout": _POSITIVE,
        "failure_threshold": Rule(minimum=1, maximum=1_000),
        "startup_timeout": _POSITIVE,
    },
    res.Runtime: {"port": Rule(minimum=0, maximum=65_535), "env": Rule(keys=VARIABLE)},
    res.AgentPoolSpec: {
        "min_replicas": _COUNT,
        "max_replicas": _COUNT,
        "prewarm_percent": Rule(minimum=0, maximum=100),
        "mig_profile": Rule(form=MIG),
    },
    res.RetryPolicy: {"max_retries": Rule(minimum=0, maximum=100)},
    res.Timeouts: {"connect": _POSITIVE, "request": _POSITIVE},
    res.QueueConfig: {"url": Rule(required=True, form=QUEUE_URL)},
    res.HTTPConfig: {
        "url": Rule(required=True, form=URL),
        "method": Rule(form=METHOD),
        "headers": Rule(keys=HEADER),
    },
    res.ToolBindingSpec: {"type": Rule(required=True), "concurrency": _NO_LESS},
}
"""By struct and by the field's name in it."""

REFERENCES: Final = frozenset(
    {(res.AgentPoolSpec, "agent_class_ref"), (res.ToolBindingSpec, "agent_pool_ref")}
)
"""References that have to be there."""

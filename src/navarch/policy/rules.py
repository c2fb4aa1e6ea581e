"""Rules, and how they are read from a policy file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

import msgspec
import yaml
from msgspec import Struct

from navarch.core.judging import UNJUDGED
from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import catalog, expression
from navarch.policy.bounds import COST_SUM_MAX, LENGTH_MAX
from navarch.policy.document import PolicyError, Source
from navarch.policy.expression import Expression
from navarch.policy.fields import Fields, TooMany, constants, quoted
from navarch.policy.mistakes import Mistakes

RULES_MAX: Final = 500
"""Rules of one policy."""
NAME_MAX: Final = 64
"""Characters of a rule's or a policy's name."""
DESCRIPTION_MAX: Final = 500
"""Characters of a description, and of whom a rule follows."""
MEANING: Final = 1
"""Counts up when the same rules come to mean something else."""

VERSION: Final = "v1"
RESULTS: Final = tuple(str(each) for each in Health if each is not Health.UNKNOWN)
REMEDIES: Final = tuple(str(each) for each in Remedy)
RULE_KEYS: Final = (
    *("name", "description", "condition", "result"),
    *("repair", "lasting", "settles", "follows"),
)

LASTING_TYPES: Final = frozenset(["xid", "sxid"])
"""Types of events that clean reports do not answer, where a rule does not say otherwise."""

_REPAIR: Final = {
    Health.UNHEALTHY: Remedy.REPLACE,
    Health.DEGRADED: Remedy.OBSERVE,
    Health.HEALTHY: Remedy.NONE,
}


class Rule(Struct, frozen=True):
    """One rule of a policy: when its condition is the first to be true, its result holds."""

    name: str
    condition: str
    """In CEL."""
    result: Health
    repair: Remedy
    """What would put it right."""
    description: str = ""
    lasting: bool | None = None
    """Whether clean reports do not end it; None: if the event is an XID or an SXID."""
    settles: bool = False
    """Whether it speaks for every earlier finding of the event's type on the same GPU."""
    follows: str = ""
    """Whose advice it is; empty: nobody's in particular."""
    line: int = msgspec.field(default=0)
    """Where it stands in its file, from 1."""

    @property
    def because(self) -> str:
        """What it says, for people; what others say instead, behind a semicolon, is left out."""
        said = self.description or self.name
        whom = self.follows.partition(";")[0].strip()
        return f"{said} (follows {whom})" if whom else said

    def lasts(self, event_type: str) -> bool:
        """Whether a finding of it about such an event is ended by its remedy only."""
        if self.lasting is not None:
            return self.lasting
        return event_type in LASTING_TYPES and self.result is not Health.HEALTHY


class CompiledRule(Struct, frozen=True, eq=False):
    """A rule and its condition, ready to be asked."""

    rule: Rule
    condition: Expression


class Written(Struct, frozen=True):
    """What a policy file says."""

    name: str
    description: str
    rules: tuple[CompiledRule, ...]
    digest: str


class Reading(Struct, frozen=True):
    """What came of reading a policy file."""

    written: Written | None
    """None when there are mistakes."""
    mistakes: tuple[PolicyError, ...]
    warnings: tuple[str, ...] = ()


def read_rules(source: Source) -> tuple[Written | None, tuple[PolicyError, ...]]:
    """Read a policy; without mistakes there is one, and the other way round."""
    fields = Fields(source)
    written: Written | None = None
    try:
        written = _policy(fields, source.root())
    except PolicyError as mistake:
        fields.mistakes.append(mistake)
    except TooMany:
        written = None
    mistakes = sorted(fields.mistakes, key=lambda each: (each.line or 0, each.column or 0))
    return (None if mistakes else written), tuple(mistakes)


def _policy(fields: Fields, root: yaml.Node) -> Written:
    entries = fields.mapping(root, "", ("version", "metadata", "rules"), ("version", "rules"))
    if "version" in entries:
        fields.word(entries["version"], "version", (VERSION,))
    name, description = PurePath(fields.source.file).stem[:NAME_MAX], ""
    if "metadata" in entries:
        metadata = fields.mapping(entries["metadata"], "metadata", ())
        if "name" in metadata:
            name = _name(fields, metadata["name"], "metadata.name") or name
        description = constants(entries["metadata"]).get("description", "")[:DESCRIPTION_MAX]
    nodes = (
        fields.items(entries["rules"], "rules", "rules", RULES_MAX) if "rules" in entries else []
    )
    if "rules" in entries and not nodes and not fields.mistakes:
        fields.wrong("is empty, expected at least one rule", "rules", entries["rules"])
    rules: list[CompiledRule] = []
    places: dict[str, int] = {}
    cost = 0
    for number, node in enumerate(nodes):
        compiled = _rule(fields, node, f"rules[{number}]", places)
        if compiled is not None:
            rules.append(compiled)
            cost += compiled.condition.cost
            if cost > COST_SUM_MAX:
                message = "with this one, all rules together may take too long for one event"
                fields.wrong(message, f"rules[{number}].condition", node)
                break
    return Written(name, description, tuple(rules), _digest([each.rule for each in rules]))


def _rule(fields: Fields, node: yaml.Node, key: str, places: dict[str, int]) -> CompiledRule | None:
    before = len(fields.mistakes)
    entries = fields.mapping(node, key, RULE_KEYS, ("name", "condition", "result"))
    line = node.start_mark.line + 1

    def text(name: str) -> str:
        if name not in entries:
            return ""
        return fields.text(entries[name], f"{key}.{name}", DESCRIPTION_MAX).strip()

    name = _name(fields, entries["name"], f"{key}.name") if "name" in entries else ""
    if name and name in places:
        message = f"the name {quoted(name)} is taken by the rule on line {places[name]}"
        fields.wrong(message, f"{key}.name", entries["name"])
    places.setdefault(name, line)
    result = _word(fields, entries, key, "result", RESULTS)
    repair = _word(fields, entries, key, "repair", REMEDIES)
    switches = {
        each: fields.switch(entries[each], f"{key}.{each}")
        for each in ("lasting", "settles")
        if each in entries
    }
    condition = None
    if "condition" in entries:
        condition = _condition(fields, entries["condition"], f"{key}.condition")
    description, follows = text("description"), text("follows")
    if len(fields.mistakes) > before or condition is None or result is None:
        return None
    health = Health(result)
    rule = Rule(
        name=name,
        condition=condition.text,
        result=health,
        repair=_REPAIR[health] if repair is None else Remedy(repair),
        description=" ".join(description.split()),
        lasting=switches.get("lasting"),
        settles=bool(switches.get("settles")),
        follows=" ".join(follows.split()),
        line=line,
    )
    return CompiledRule(rule, condition)


def _word(
    fields: Fields, entries: dict[str, yaml.Node], key: str, name: str, words: Sequence[str]
) -> str | None:
    return fields.word(entries[name], f"{key}.{name}", words) if name in entries else None


def _name(fields: Fields, node: yaml.Node, key: str) -> str:
    name = fields.text(node, key, NAME_MAX)
    if name and (not name.isprintable() or name != name.strip()):
        fields.wrong(f"expected a name on one line, got {quoted(name)}", key, node)
    elif not name and node.tag != "tag:yaml.org,2002:null" and isinstance(node, yaml.ScalarNode):
        if not node.value:
            fields.wrong("is empty, expected a name", key, node)
    elif name == UNJUDGED or name.startswith("check:"):
        fields.wrong(f"{quoted(name)} is a name of ours, expected another", key, node)
    return name


def _condition(fields: Fields, node: yaml.Node, key: str) -> Expression | None:
    text = fields.text(node, key, LENGTH_MAX)
    if not text:
        if isinstance(node, yaml.ScalarNode) and not node.value and node.tag.endswith(":str"):
            fields.wrong("is empty, expected a condition such as true", key, node)
        return None
    assert isinstance(node, yaml.ScalarNode)
    try:
        return expression.compile_condition(text)
    except Mistakes as error:
        places = fields.source.places(node)
        for mistake in error.mistakes:
            index = None if mistake.place is None else places[min(mistake.place, len(text))]
            fields.wrong(mistake.message, key, node, index=index)
    return None


def _digest(rules: Sequence[Rule]) -> str:
    """Short text that differs where rules, or what is known of codes, differ."""
    facts = [MEANING, catalog.digest(), [_facts(rule) for rule in rules]]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:12]


def _facts(rule: Rule) -> list[object]:
    return [
        *(rule.name, rule.condition.strip(), rule.result, rule.repair, rule.lasting),
        *(rule.settles, rule.because),
    ]

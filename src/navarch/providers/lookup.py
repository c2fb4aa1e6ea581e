"""Looking a launch up by what it was labelled with, for clouds that know no idempotency tokens.

A launch whose answer was lost is found in the cloud's list by the labels it carried. What a list
does not show yet cannot be found: such a provider does not claim to honour tokens, and the control
plane repeats a launch only after its `list_lag`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from navarch.errors import InvalidRequest
from navarch.providers.base import (
    FLEET_LABEL,
    INSTANCE_LABEL,
    Instance,
    InstanceStatus,
    ProvisionRequest,
)

ALIVE = frozenset({InstanceStatus.PROVISIONING, InstanceStatus.RUNNING})


def labels_to_carry(request: ProvisionRequest) -> dict[str, str]:
    """The labels of a launch: those asked for, and our id where they lack it."""
    return {INSTANCE_LABEL: request.name, **request.labels}


def bought_before(request: ProvisionRequest, listed: Iterable[Instance]) -> Instance | None:
    """Find the machine that this very launch has bought; None when none is listed.

    Machines of another fleet are passed over: two fleets of one account may use the same ids. Of
    several, which a launch without tokens may have bought, it is always the same one.

    :raises InvalidRequest: there is one, and it has begun to end
    """
    wanted = _identity(labels_to_carry(request))
    found = sorted(
        (each for each in listed if _identity(each.labels) == wanted),
        key=lambda each: (each.status not in ALIVE, each.id),
    )
    if not found:
        return None
    first = found[0]
    if first.status in ALIVE:
        return first
    raise InvalidRequest(
        f"{first.provider}: {request.name} was {first.id}, which is {first.status}; "
        "ids are used once"
    )


def _identity(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels.get(FLEET_LABEL, ""), labels.get(INSTANCE_LABEL, "")

"""Whether an account may launch at EC2, asked without launching.

EC2 answers a launch that says ``DryRun`` by what would become of it: ``DryRunOperation`` where the
rights suffice, ``UnauthorizedOperation`` where they do not, and its own error where the image, the
subnet or the type is wrong. It tells nothing of quotas and capacity (EC2 API reference,
RunInstances, DryRun, read November 2026).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from navarch.errors import ConfigError, InvalidRequest
from navarch.providers.base import ProvisionRequest

if TYPE_CHECKING:
    from navarch.providers.aws import AwsSettings

WOULD_WORK: Final = "DryRunOperation"
NAME: Final = "navarch-dry-run"
"""What the machine would be called that is not made."""


async def may_launch(
    settings: AwsSettings, instance_type: str, region: str = "", zone: str = ""
) -> tuple[bool | None, str]:
    """Say whether a launch would be allowed (None: there was no answer), and in which words.

    Takes one request, and at most as long as `AwsSettings.timeout` allows.
    """
    request = ProvisionRequest(
        name=NAME, instance_type=instance_type, region=region, zone=zone, labels={}
    )
    return await asyncio.to_thread(_asked, settings, request)


def _asked(settings: AwsSettings, request: ProvisionRequest) -> tuple[bool | None, str]:
    from navarch.providers.aws.clients import Clients
    from navarch.providers.aws.lanes import Errand
    from navarch.providers.aws.launch import planned
    from navarch.providers.aws.refusals import code_of, translated

    try:
        plan = planned(request, settings)
    except InvalidRequest as error:
        return False, str(error)
    errand = Errand()
    try:
        clients = Clients(settings, 1)
    except ConfigError as error:
        return None, error.message
    about = f"a launch of {request.instance_type} in {plan.region}"
    try:
        with clients.on(errand) as ask:
            ask(plan.region, "RunInstances", {**plan.parameters, "DryRun": True})
    except Exception as error:  # noqa: BLE001 - the SDK may raise anything
        if code_of(error) == WOULD_WORK:
            return True, f"{about} would be allowed"
        failed, _ = translated(error, about, sent=errand.sent, changes=False)
        return (False if code_of(error) else None), str(failed)
    finally:
        clients.close()
    return None, f"{about}: EC2 has answered as if it were none"

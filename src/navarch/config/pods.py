"""What may be written under ``server.kubernetes``: the cluster that runs replicas for us.

It is needed only where a pool of agents says ``runtime: {kind: kubernetes}``.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from navarch.config.key import WORD, Key
from navarch.config.metrics import URL, Credentials


class ServingCluster(Struct, frozen=True, kw_only=True):
    """The cluster on which replicas are pods."""

    url: Annotated[
        str | None,
        Key("The API server. Absent: that of the cluster we run in, with its account.", form=URL),
    ] = None
    credentials: Annotated[Credentials, Key("Where the secret of the API is found.")] = (
        Credentials()
    )
    namespace: Annotated[
        str | None, Key("Where pods are made. Absent: in the namespace of their pool.", form=WORD)
    ] = None
    shared_gpu: Annotated[
        str, Key("The resource of which a share of a GPU takes one.", form=WORD)
    ] = "nvidia.com/gpu.shared"
    model_claim: Annotated[
        str | None,
        Key("The claim of a volume that holds models as namespace/name. Absent: none.", form=WORD),
    ] = None
    scheduler_name: Annotated[
        str | None, Key("Which scheduler places the pods. Absent: the cluster's own.", form=WORD)
    ] = None
    service_account: Annotated[
        str | None, Key("The account of the pods. Absent: the namespace's default.", form=WORD)
    ] = None

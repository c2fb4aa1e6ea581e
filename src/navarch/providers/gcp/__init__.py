"""Google Cloud: machines of Compute Engine, one project.

- ``settings``: what a machine is made like, and as whom we ask
- ``tokens``: access tokens, from files and from the metadata server
- ``api``: one project's REST API: requests, answers, and what a refusal means
- ``resources``: the parts of Google's JSON that are read, and machines made of them
- ``labels``: our labels in the letters that Google allows
- ``launching``: what a launch asks for
- ``provider``: the three calls

Why there is no library of Google's in it but for credentials: docs/decisions/0018.
"""

from navarch.providers.gcp.provider import GcpProvider
from navarch.providers.gcp.settings import GcpSettings, Interface

__all__ = ["GcpProvider", "GcpSettings", "Interface"]

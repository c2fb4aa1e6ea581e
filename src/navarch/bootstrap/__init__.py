"""From a bare machine to a node: the script that installs the agent and starts it.

One script serves every provider: as the user data that cloud-init runs, and as a file that the
provider `ssh` starts. `render` writes it; `fitted` packs it where a cloud takes few bytes.
"""

from navarch.bootstrap.host_keys import LINE_MARK, is_vouched_for
from navarch.bootstrap.packing import EC2_BYTES_MAX, fitted
from navarch.bootstrap.script import COMPLETE_MARK, FAILED_MARK, render
from navarch.bootstrap.settings import BootstrapSettings, NodeFacts, Service

__all__ = [
    "COMPLETE_MARK",
    "EC2_BYTES_MAX",
    "FAILED_MARK",
    "LINE_MARK",
    "BootstrapSettings",
    "NodeFacts",
    "Service",
    "fitted",
    "is_vouched_for",
    "render",
]

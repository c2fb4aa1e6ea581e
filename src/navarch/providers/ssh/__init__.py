"""A provider of machines that somebody owns already: they are lent over SSH, and returned.

========================  ====================================================================
`settings`                which machines there are, and how they are reached
`lease`                   what is written on a machine while it is lent, and how it is read
`remote`                  the shell that runs on a machine: look, claim, start, release
`lines`                   connections: pinned host keys, deadlines, one line per machine
`memory`                  what was seen last, for machines that do not answer
`provider`                the `Provider` over all of these
========================  ====================================================================
"""

from navarch.providers.ssh.provider import SshProvider
from navarch.providers.ssh.settings import SshMachine, SshSettings

__all__ = ["SshMachine", "SshProvider", "SshSettings"]

"""Model loaders, and the cache of a node that they fill; see ``docs/models.md``.

A loader is a *source* in its rich form (`base`): ``file``, ``http``, ``s3`` and ``hf`` are built
in. `ModelCache` (`cache`) chooses among them (`choosing`), fetches (`fetching`) into parts that
survive a crash (`part`), gives them a place (`arrival`, `shelf`, `eviction`), and serves other
nodes (`serving`), whose caches it asks first in turn (`peering`).
"""

from __future__ import annotations

from typing import Final

from navarch.plugins.loaders.file_source import FileSource
from navarch.plugins.loaders.http_source import HttpSource
from navarch.plugins.loaders.hub_source import HubSource
from navarch.plugins.loaders.s3_source import S3Source

BUILT_IN: Final = (FileSource, HttpSource, S3Source, HubSource)
"""The loaders that every registry begins with."""

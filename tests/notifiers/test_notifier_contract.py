"""The notifiers that come with us, each held to the contract that its authors are offered."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from http_receiver import receiving
from navarch.controlplane.clock import FakeClock
from navarch.notifiers.base import Notifier, Workload
from navarch.notifiers.fake import FakeNotifier, FakeWorkloads
from navarch.notifiers.kubernetes import KubernetesNotifier, KubernetesSettings
from navarch.notifiers.noop import NoopNotifier
from navarch.notifiers.webhook import WebhookNotifier
from navarch.testing import NotifierContract
from notifiers.kube_nodes import KubeNodes

START = datetime(2026, 5, 4, 12, tzinfo=UTC)


def example(project: Path) -> ModuleType:
    """Import the example receiver by its path; it belongs to no package."""
    file = project / "examples" / "notifier_webhook.py"
    spec = importlib.util.spec_from_file_location("notifier_webhook_example", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class TestNoopNotifier(NotifierContract):
    """It agrees to everything."""

    knows_nodes = False

    @pytest.fixture
    def make_notifier(self) -> Callable[[], Notifier]:
        """Tell nobody."""
        return NoopNotifier


class TestFakeNotifier(NotifierContract):
    """A workload system in memory."""

    @pytest.fixture
    def make_notifier(self) -> Callable[[], Notifier]:
        """Speak to one system."""
        self.workloads = FakeWorkloads([self.node.node_id])
        return lambda: FakeNotifier(self.workloads)

    async def takes_work(self, node: Workload) -> bool:
        """Look."""
        return self.workloads.node(node.node_id).takes_work


class TestFakeNotifierOfABusyNode(NotifierContract):
    """Drains take their time."""

    @pytest.fixture
    def make_notifier(self) -> Callable[[], Notifier]:
        """Speak to one system, whose node has jobs."""
        workloads = FakeWorkloads([self.node.node_id], work=3)
        return lambda: FakeNotifier(workloads)


class TestWebhookNotifier(NotifierContract):
    """The receiver that authors are shown, over HTTP."""

    @pytest.fixture
    def make_notifier(self, project: Path, tmp_path: Path) -> Iterator[Callable[[], Notifier]]:
        """Tell one receiver everything."""
        module = example(project)
        clock = FakeClock(START)
        self.scheduler = module.Scheduler("the secret", {self.node.node_id: 0}, clock.now)
        (tmp_path / "secret").write_text("the secret\n")
        with module.serving(self.scheduler) as url:
            settings = module.settings_for(url, tmp_path / "secret")
            yield lambda: WebhookNotifier(settings, now=clock.now)

    async def takes_work(self, node: Workload) -> bool:
        """Look."""
        return node.node_id not in self.scheduler.held


class TestKubernetesNotifier(NotifierContract):
    """A double of the API server."""

    @pytest.fixture
    def make_notifier(self) -> Iterator[Callable[[], Notifier]]:
        """Speak to one cluster."""
        self.cluster = KubeNodes(self.node.hostname)
        with receiving(self.cluster.answer) as server:
            yield lambda: KubernetesNotifier(KubernetesSettings(url=server.url))

    async def takes_work(self, node: Workload) -> bool:
        """Look."""
        return self.cluster.is_schedulable(node.hostname)

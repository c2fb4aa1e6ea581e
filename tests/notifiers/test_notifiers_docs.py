"""What ``docs/notifiers.md`` shows is true: its configurations, its code and its messages."""

from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from http_receiver import receiving
from navarch.config import notifier as written
from navarch.config.load import examine_text
from navarch.notifiers import kubernetes, slurm, webhook
from navarch.notifiers.base import Notifier, Workload
from navarch.notifiers.fake import FakeNotifier, FakeWorkloads
from navarch.testing import NotifierContract
from notifiers.test_webhook import settings, tell


@pytest.fixture
def text(project: Path) -> str:
    """The page."""
    return (project / "docs" / "notifiers.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_each_configuration_has_no_mistake(text: str) -> None:
    shown = [block for block in blocks(text, "yaml") if block.startswith("server:")]
    examined = [
        examine_text(block, path=Path("navarch.yaml"), environ={"SCHEDULER_TOKEN": "secret"})
        for block in shown
    ]
    assert len(shown) == 3
    assert [[str(fault) for fault in each.faults] for each in examined] == [[]] * 3


def test_the_body_that_is_shown_has_the_fields_that_are_sent(text: str) -> None:
    node = Workload(
        node_id="h100-7",
        hostname="gpu-7",
        internal_ip="10.0.0.7",
        pool="h100",
        provider="lambda",
        labels={"rack": "r1"},
    )
    deadline = datetime(2026, 5, 4, 13, tzinfo=UTC)
    with receiving(lambda sent: sent.answer(200)) as web:
        tell(settings(web.url), lambda to: to.drain(node, "XID 79 on GPU 3", deadline))
    sent: dict[str, Any] = json.loads(web.sent[0].body)
    shown: dict[str, Any] = json.loads(blocks(text, "json")[0])
    assert list(sent) == list(shown)
    assert {**sent, "delivery_id": ""} == {**shown, "delivery_id": ""}


def test_each_status_that_is_shown_is_understood(text: str) -> None:
    for line in blocks(text, "json")[1].splitlines():

        def answer(sent: Any, line: str = line) -> None:  # noqa: ANN401 - one request
            sent.answer(200, line)

        with receiving(answer) as web:
            status = tell(settings(web.url), lambda to: to.drained(Workload(node_id="n1")))
        assert status.done == ("drained" in line)


def test_the_class_that_is_shown_is_a_notifier_and_its_test_a_contract(text: str) -> None:
    shown, test = blocks(text, "python")
    scope: dict[str, Any] = {"pytest": pytest}
    exec(compile(ast.parse(shown), "notifiers.md", "exec"), scope)  # noqa: S102 - our own page
    exec(compile(ast.parse(test), "notifiers.md", "exec"), scope)  # noqa: S102 - as above
    assert isinstance(scope["MyScheduler"](), Notifier)
    assert issubclass(scope["TestMyScheduler"], NotifierContract)


def test_the_labels_and_annotations_that_are_named_are_the_ones_that_are_used(text: str) -> None:
    names = (slurm.NODE_LABEL, kubernetes.NODE_LABEL, kubernetes.CORDONED, kubernetes.DRAINING)
    assert set(re.findall(r"`(navarch\.dev/[\w-]+)`", text)) == set(names)


def test_the_configuration_and_the_notifier_agree_on_what_they_take() -> None:
    assert written.OUR_HEADERS == webhook.OUR_HEADERS
    assert written.RETRIES_MAX == webhook.RETRIES_MAX
    fields = set(webhook.WebhookSettings.__struct_fields__)
    assert set(written.Webhook.__struct_fields__) == fields
    assert set(written.Slurm.__struct_fields__) == set(slurm.SlurmSettings.__struct_fields__)


class TestAnAuthorsThreeLines(NotifierContract):
    """What the page promises: nothing but the fixture is needed."""

    @pytest.fixture
    def make_notifier(self) -> Any:  # noqa: ANN401 - as an author would write it
        """Speak to one system."""
        workloads = FakeWorkloads([self.node.node_id])
        return lambda: FakeNotifier(workloads)

"""What a good configuration becomes, and where each of its values came from."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Struct

from golden_text import GOLDEN, golden
from navarch.config import credentials, json_schema, load, schema, shapes
from navarch.config.autoscaling import (
    Composite,
    Custom,
    Predictive,
    Queue,
    Reactive,
    Scheduled,
    Window,
)
from navarch.config.callers import CallerLimits, Tls, Token
from navarch.config.key import Key
from navarch.config.metrics import (
    Credentials,
    CustomMetrics,
    History,
    KubernetesMetrics,
    PrometheusMetrics,
    SlurmMetrics,
    StoreMetrics,
)
from navarch.config.notifier import (
    CustomNotifier,
    Kubernetes,
    KubernetesNotifier,
    NoopNotifier,
    Notifier,
    Plugin,
    Slurm,
    SlurmNotifier,
    Webhook,
    WebhookNotifier,
)
from navarch.config.providers import FakeProvider, ProcessProvider
from navarch.config.schema import Config, Server
from navarch.config.shapes import Leaf
from navarch.config.values import Address, Store
from navarch.core.model.finding import Remedy
from navarch.core.model.pool import Disruption, PoolSpec, Source
from navarch.core.settings import Settings
from navarch.errors import ConfigError
from reference.configuration import blocks

ENVIRON = {"TRAINING_MIN": "2"}


def whole() -> Config:
    """Load the file that uses every key."""
    return load.load(GOLDEN / "config" / "whole.yaml", ENVIRON)


def from_text(text: str) -> Config:
    """Load a text that has no mistakes."""
    found = load.examine_text(text, path=Path("/etc/navarch.yaml"), environ={})
    assert found.faults == ()
    assert found.config is not None
    return found.config


def test_the_server_is_read_with_absolute_paths() -> None:
    folder = GOLDEN / "config"
    server = whole().server
    assert server.address == Address(host="127.0.0.1", port=50051)
    assert server.data == Path("/var/lib/navarch")
    assert server.auth.tokens == (
        Token(name="ops", role="operator", token_env="OPS_TOKEN"),
        Token(name="grafana", role="viewer", token_file=folder / "secrets/grafana"),
    )
    assert whole().store == Store(path=folder / "journal.db")
    assert server.auth.tls == Tls(
        cert_file=folder / "tls/server.pem",
        key_file=folder / "tls/server.key",
        client_ca_file=folder / "tls/ca.pem",
    )
    assert server.health_policy == folder / "policies/strict.yaml"


def test_the_limits_of_callers_are_read() -> None:
    assert whole().server.limits == CallerLimits(
        node_rate=20,
        node_burst=100,
        caller_rate=250.5,
        caller_burst=1_000,
        connections_per_address=10_000,
        watchers=50,
    )


def test_repair_and_drains_are_said_in_the_words_of_the_core() -> None:
    assert whole().server.settings() == Settings(
        heartbeat_interval=timedelta(seconds=10),
        health_check_interval=timedelta(minutes=5),
        external_nodes_max=20_000,
        probation=timedelta(minutes=5),
        probation_max=timedelta(minutes=30),
        reset_timeout=timedelta(minutes=2),
        reboot_timeout=timedelta(minutes=15),
        relapse_window=timedelta(hours=12),
        attempts_max=2,
        clean_reports_to_heal=4,
        workload_manager=True,
        drain_timeout=timedelta(minutes=30),
        drain_overrun="wait",
        drain_poll=timedelta(seconds=15),
    )


def test_providers_are_told_apart_by_type() -> None:
    assert whole().providers == {
        "here": ProcessProvider(
            gpu_count=4,
            gpu_type="NVIDIA A100 80GB",
            allow=("gpu_reset", "reboot"),
            serving=True,
            pass_variables=("AWS_REGION",),
        ),
        "fake": FakeProvider(stock={"h100-8x": 3}),
    }


def test_pools_are_said_in_the_words_of_the_core_with_the_defaults_applied() -> None:
    assert whole().pools["training"] == PoolSpec(
        name="training",
        provider="here",
        instance_type="h100-8x",
        region="us-west-2",
        zones=("a", "b"),
        min_nodes=2,
        max_nodes=20,
        labels={"tier": "gold", "owner": "platform"},
        ssh_key_names=("ops",),
        user_data="echo ready > /dev/console",
        auto_replace=True,
        unhealthy_after=3,
        ladder=(Remedy.REBOOT, Remedy.REPLACE),
        replace_in_place=True,
        disruption=Disruption(
            max_unavailable=2,
            max_unavailable_percent=12.5,
            max_unavailable_per_zone=1,
            max_replacements_per_hour=1,
        ),
    )
    batch = whole().pools["batch"]
    assert batch.user_data == "cost $5 and $HOME, not 2"
    assert (batch.auto_replace, batch.dry_run, batch.unhealthy_after) == (False, True, 3)
    assert batch.ladder == (Remedy.RESET_GPU, Remedy.REBOOT)
    assert batch.labels == {"owner": "platform", "tier": "spare"}


def test_several_sellers_and_commands_of_the_first_boot() -> None:
    serving = whole().pools["serving"]
    assert serving.provider == "here"
    assert serving.sources == (
        Source("here", priority=1, weight=3, regions=("us-west-2",), zones=("us-west-2a",)),
        Source("fake", priority=2, instance_type="h100-8x", spot=True),
    )
    assert (serving.strategy, serving.cooldown) == ("cost", timedelta(minutes=2))
    assert serving.user_data == "#!/bin/sh\nset -e\nmodprobe nvidia\nsystemctl start agent\n"
    assert serving.autoscaling == (
        "scheduled by 1 windows (Europe/Berlin): max of (queue, 0.5 jobs a node; predictive over "
        "20 samples, growth × 1.2, else reactive, +4 above 75%, -2 below 30%; custom tickets)"
    )


def test_autoscalers_are_read_one_inside_of_the_other() -> None:
    assert whole().autoscaling == {
        "serving": Scheduled(
            timezone="Europe/Berlin",
            schedule=(
                Window(
                    days=("mon", "tue", "wed", "thu", "fri"),
                    start_hour=8,
                    end_hour=20,
                    min_nodes=4,
                    max_nodes=40,
                ),
            ),
            autoscaler=Composite(
                mode="max",
                autoscalers=(
                    Queue(jobs_per_node=0.5),
                    Predictive(
                        lookback_window=20,
                        growth_factor=1.2,
                        target_utilization=70,
                        lead_time=timedelta(minutes=6),
                        fallback=Reactive(75, 30, 4, 2),
                    ),
                    Custom("tickets", {"each": "2", "none": {}}),
                ),
            ),
        )
    }


def test_metrics_are_read_in_order_with_absolute_paths() -> None:
    folder = GOLDEN / "config"
    assert whole().server.metrics == (
        SlurmMetrics(
            partition="gpu",
            pool_to_partition={"batch": "low"},
            prefix=("ssh", "login", "--"),
            reuse=timedelta(seconds=10),
        ),
        StoreMetrics(fields=("utilization", "utilization_history")),
    )
    expression = 'avg(gpu_busy{pool="$pool"})'
    assert whole().metrics == {
        "serving": (
            PrometheusMetrics(
                name="monitoring",
                url="http://prometheus:9090",
                queries={"utilization": expression},
                times={"utilization": 'min(timestamp(gpu_busy{pool="$pool"}))'},
                history=History(timedelta(hours=6), timedelta(minutes=5)),
                deadline=timedelta(seconds=3),
                credentials=Credentials(
                    username="navarch",
                    password_env="PROMETHEUS_PASSWORD",
                    ca_file=folder / "tls/ca.pem",
                ),
            ),
            KubernetesMetrics(
                url="https://kubernetes.example",
                namespace="ml",
                credentials=Credentials(token_file=folder / "secrets/kubernetes"),
            ),
            KubernetesMetrics(
                name="other-cluster",
                url="https://other.example",
                credentials=Credentials(token_env="KUBERNETES_TOKEN"),
            ),
            CustomMetrics(
                use="tickets.metrics:Tickets", config={"team": "ml", "limits": [1, 2.5, True]}
            ),
        )
    }


def test_a_webhook_is_read_with_its_secrets_only_in_the_values() -> None:
    folder = GOLDEN / "config"
    found = load.examine(folder / "whole.yaml", ENVIRON)
    assert found.config is not None
    assert found.config.server.notifier == WebhookNotifier(
        webhook=Webhook(
            cordon_url="https://scheduler.example/cordon",
            uncordon_url="https://scheduler.example/uncordon",
            drain_url="https://scheduler.example/drain",
            drain_status_url="https://scheduler.example/drained?of=navarch",
            timeout=timedelta(seconds=20),
            headers={"Authorization": "Bearer 2", "X-Team": "ml"},
            secret_file=folder / "secrets/webhook",
            ca_file=folder / "tls/ca.pem",
            retries=3,
        ),
        drain_timeout=timedelta(minutes=30),
        on_drain_timeout="wait",
        poll_interval=timedelta(seconds=15),
    )
    shown = repr(found.config) + repr(found.readings)
    assert "Authorization" in shown
    assert [word for word in ("Bearer", "scheduler.example") if word in shown] == []


NOTIFIERS: dict[str, Notifier] = {
    "slurm": SlurmNotifier(
        slurm=Slurm(
            scontrol="/opt/slurm/bin/scontrol",
            squeue="/opt/slurm/bin/squeue",
            prefix=("ssh", "login", "--"),
            prefix_is_shell=True,
            timeout=timedelta(seconds=40),
        )
    ),
    "kubernetes": KubernetesNotifier(
        kubernetes=Kubernetes(
            url="https://kubernetes.example",
            credentials=Credentials(
                token_file=GOLDEN / "config/notifiers/secrets/kubernetes",
                ca_file=GOLDEN / "config/notifiers/tls/ca.pem",
            ),
            timeout=timedelta(seconds=10),
        ),
        on_drain_timeout="wait",
    ),
    "webhook": WebhookNotifier(
        webhook=Webhook(drain_url="https://scheduler/drain", secret_env="SECRET")
    ),
    "custom": CustomNotifier(
        custom=Plugin(use="tickets.notifier:Tickets", config={"queue": "ops", "key": "hunter2"}),
        poll_interval=timedelta(minutes=1),
    ),
}


@pytest.mark.parametrize("name", NOTIFIERS)
def test_other_notifiers_are_read_from_the_block_of_their_type(name: str) -> None:
    config = load.load(GOLDEN / "config" / "notifiers" / f"{name}.yaml", {})
    assert config.server.notifier == NOTIFIERS[name]
    assert config.server.settings().workload_manager
    assert "hunter2" not in repr(config)


def test_drains_wait_for_the_word_of_a_notifier_that_tells_nobody_too() -> None:
    server = from_text("server: {notifier: {type: noop, drain_timeout: 1m}}").server
    assert server.notifier == NoopNotifier(drain_timeout=timedelta(minutes=1))
    assert server.settings() == Settings(workload_manager=True, drain_timeout=timedelta(minutes=1))


@pytest.mark.parametrize("block", ["slurm", "kubernetes"])
def test_the_block_of_a_notifier_may_be_absent_where_it_has_defaults(block: str) -> None:
    server = from_text(f"server: {{notifier: {{type: {block}}}}}").server
    assert server == from_text(f"server: {{notifier: {{type: {block}, {block}: {{}}}}}}").server


def test_what_is_not_said_has_its_default() -> None:
    config = from_text("{}")
    assert config.server == Server(data=Path("/etc/.navarch"))
    assert config.store == Store(path=Path("/etc/.navarch/navarch.db"))
    assert config.server.settings() == Settings()
    assert (config.providers, config.pools) == ({}, {})
    assert schema.Pool(provider="x", max_nodes=1).spec("y") == PoolSpec(name="y", provider="x")


def test_the_memory_can_be_the_store() -> None:
    assert from_text("server: {store: 'memory://'}").store == Store(path=None)


def test_every_reading_has_its_place() -> None:
    found = load.examine(GOLDEN / "config" / "whole.yaml", ENVIRON)
    rows = [f"{one.line or '-':>3}  {one.key} = {one.shown}\n" for one in found.readings]
    assert "".join(rows) == golden("".join(rows), "config/whole.readings.txt")


def test_values_from_the_environment_are_never_shown() -> None:
    environ = {"TRAINING_MIN": "7"}
    found = load.examine(GOLDEN / "config" / "whole.yaml", environ)
    assert found.config is not None
    assert found.config.pools["training"].min_nodes == 7
    shown = {one.key: one.shown for one in found.readings}
    assert shown["pools.training.min_nodes"] == "${TRAINING_MIN}"


def test_a_bom_and_windows_lines_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "navarch.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver:\r\n  heartbeat_interval: 5s\r\n")
    assert load.load(path, {}).server.heartbeat_interval == timedelta(seconds=5)


def test_the_golden_files_use_every_key_there_is() -> None:
    folder = GOLDEN / "config"
    files = [folder / "whole.yaml"]
    for kind in ("notifiers", "providers"):
        files += sorted((folder / kind).glob("*.yaml"))
    written = "".join(file.read_text() for file in files)
    keys = {key for block in blocks().values() for key in block.slots}
    assert [key for key in sorted(keys) if f"{key}:" not in written] == []


def test_the_json_schema_is_the_golden_one() -> None:
    actual = json.dumps(json_schema.json_schema(), indent=2) + "\n"
    assert actual == golden(actual, "config/schema.json")


def test_every_key_is_documented_by_a_sentence() -> None:
    docs = [slot.doc for block in blocks().values() for slot in block.slots.values()]
    docs += [block.doc for block in blocks().values()]
    assert len(docs) > 100
    assert [doc for doc in docs if not doc.endswith(".")] == []


def test_a_key_without_a_form_or_a_type_that_a_file_can_hold_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError, match="has no Key"):
        shapes.shape_of(int)
    with pytest.raises(TypeError, match="give it a form"):
        shapes.block_of(Formless)
    assert isinstance(shapes.shape_of(Annotated[int, Key("A number.")])[0], Leaf)


class Formless(Struct):
    """A duration that nobody can read."""

    interval: Annotated[timedelta, Key("How often.")]


def test_a_token_is_fetched_from_where_the_configuration_says(tmp_path: Path) -> None:
    by_name = Token(name="ops", role="admin", token_env="OPS_TOKEN")
    assert credentials.token_text(by_name, {"OPS_TOKEN": " abcdefghijklmnop\n"}) == (
        "abcdefghijklmnop"
    )
    file = tmp_path / "token"
    file.write_text("0123456789abcdef0123\n")
    by_file = Token(name="ops", role="admin", token_file=file)
    assert credentials.token_text(by_file, {}) == "0123456789abcdef0123"


@pytest.mark.parametrize(
    "environ,expected",
    [
        ({}, "environment variable OPS_TOKEN is not set or empty"),
        ({"OPS_TOKEN": " \n"}, "environment variable OPS_TOKEN is not set or empty"),
        (
            {"OPS_TOKEN": "short"},
            "environment variable OPS_TOKEN holds fewer than 16 characters, which can be guessed",
        ),
        (
            {"OPS_TOKEN": "two words that are long"},
            "environment variable OPS_TOKEN holds blanks or signs beyond ASCII",
        ),
    ],
)
def test_a_token_that_cannot_be_used_is_refused(environ: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        credentials.token_text(Token(name="ops", role="admin", token_env="OPS_TOKEN"), environ)
    assert str(caught.value) == f"token of ops: {expected}"

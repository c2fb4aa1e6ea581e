"""The five plugins of the guide keep the contracts of their kinds, and do what the guide says."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from navarch.core.model.resources import AgentPoolSpec
from navarch.plugins import AgentPool, GuardrailRequest
from navarch.testing import (
    GuardrailContract,
    MakePlugin,
    MetricsProviderContract,
    ModelLoaderContract,
    ReplicaAutoscalerContract,
    SchedulerContract,
    verify,
)
from navarch.testing.model_loader_contract import FILES, model_at
from plugin_far_ends import Bucket, Prometheus

PACKAGE = Path(__file__).parents[2] / "examples" / "plugins" / "acme-navarch"
SOURCE = PACKAGE / "src"
sys.path.insert(0, str(SOURCE))

from acme_navarch import (  # noqa: E402  # the package is not installed
    custom_autoscaler,
    custom_scheduler,
    pii_detection,
    prometheus,
    s3_loader,
)

MODULES = ("custom_scheduler", "custom_autoscaler", "s3_loader", "pii_detection", "prometheus")


def test_every_example_is_tried_here() -> None:
    files = sorted(path.stem for path in (SOURCE / "acme_navarch").glob("[!_]*.py"))
    assert files == sorted(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_an_example_runs_as_a_script(name: str) -> None:
    command = [sys.executable, "-W", "error", str(SOURCE / "acme_navarch" / f"{name}.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() != ""


def test_the_package_is_verified_as_a_whole() -> None:
    verdicts = verify(str(PACKAGE))
    assert {verdict.name: verdict.kind for verdict in verdicts} == {
        "custom-scheduler": "scheduler",
        "custom-autoscaler": "replica-autoscaler",
        "s3-loader": "model-loader",
        "acme-pii": "guardrail",
        "acme-prometheus": "metrics-provider",
    }
    assert [finding for one in verdicts for finding in one.findings if not finding.ok] == []


class TestCustomScheduler(SchedulerContract):
    """The scheduler, by the kit."""

    @pytest.fixture
    def make_plugin(self) -> MakePlugin:
        return custom_scheduler.CustomScheduler

    def test_it_goes_by_the_label(self) -> None:
        assert custom_scheduler.main() == ["fast: 80", "plain: 50", "other: does not fit"]


class TestCustomAutoscaler(ReplicaAutoscalerContract):
    """The autoscaler, by the kit."""

    @pytest.fixture
    def make_plugin(self) -> MakePlugin:
        return custom_autoscaler.CustomAutoscaler

    def test_it_follows_the_queue(self) -> None:
        assert custom_autoscaler.main() == [1, 4, 8]

    def test_part_of_a_replica_is_a_replica(self) -> None:
        pool = AgentPool(spec=AgentPoolSpec(max_replicas=99))
        asked = custom_autoscaler.CustomAutoscaler().calculate_replicas
        assert [asked(pool, {"queue-depth": depth}) for depth in (0, 0.1, 10, 10.1)] == [0, 1, 1, 2]


class TestPIIDetection(GuardrailContract):
    """The guardrail, by the kit."""

    found = ("4111 1111 1111 1111", "378282246310005", "jane.doe@example.org", "536-22-8765")
    passed = ("", "4111 1111 1111 1112", "0000 0000 0000 0000", "000-12-3456", "3 @ 5 is 15")

    @pytest.fixture
    def make_plugin(self) -> MakePlugin:
        return pii_detection.PIIDetection

    def test_what_it_finds_is_replaced_by_its_kind(self) -> None:
        assert pii_detection.main().metadata["redacted_content"] == "Card [card], write to [email]"

    def test_the_text_around_it_stays(self) -> None:
        request = GuardrailRequest("é 八: 536-22-8765, jane@example.org!")
        answer = asyncio.run(pii_detection.PIIDetection().check(request))
        assert answer.metadata["redacted_content"] == "é 八: [ssn], [email]!"


class TestPrometheus(MetricsProviderContract):
    """The metrics provider, by the kit."""

    @pytest.fixture
    def far_end(self) -> Iterator[Prometheus]:
        far_end = Prometheus()
        names = ("tokens_per_second", "ttft_p95", "concurrent_sessions", "queue_depth")
        far_end.series = {(f"neuronetes_{name}", "chat"): "7.5" for name in names}
        yield far_end
        far_end.stop()

    @pytest.fixture
    def make_plugin(self, far_end: Prometheus) -> MakePlugin:
        config = prometheus.PrometheusProvider.Config(url=far_end.url)
        return lambda: prometheus.PrometheusProvider(config)

    @pytest.mark.parametrize("value", ["NaN", "+Inf", "many"])
    def test_what_is_no_number_is_absent(self, far_end: Prometheus, value: str) -> None:
        far_end.series["neuronetes_queue_depth", "chat"] = value
        asked = prometheus.PrometheusProvider(prometheus.PrometheusProvider.Config(far_end.url))
        with pytest.raises(LookupError):
            asyncio.run(asked.get_metric(self.pool, "queue-depth"))


class TestS3Loader(ModelLoaderContract):
    """The model loader, by the kit."""

    @pytest.fixture
    def bucket(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        bucket = Bucket()
        yield bucket
        bucket.stop()

    @pytest.fixture
    def make_plugin(self, bucket: Bucket, tmp_path: Path) -> MakePlugin:
        self.far_end = bucket
        config = s3_loader.S3Loader.Config(bucket.url, directory=str(tmp_path), anonymous=True)
        return lambda: s3_loader.S3Loader(config)

    def put(self, files: Mapping[str, bytes]) -> str:
        return self.far_end.put(files)

    def lie(self, uri: str) -> None:
        self.far_end.lying = True

    def break_off(self, uri: str) -> None:
        self.far_end.breaking = True

    def mend(self) -> None:
        self.far_end.lying = self.far_end.breaking = False

    def test_it_goes_on_where_it_was_cut(self, bucket: Bucket, make_plugin: MakePlugin) -> None:
        model = model_at(bucket.put(FILES))
        bucket.breaking = True
        with pytest.raises(ConnectionError, match=r"config\.json"):
            asyncio.run(make_plugin().load(model, "node-1"))
        bucket.breaking = False
        plugin = make_plugin()
        asyncio.run(plugin.load(model, "node-1"))
        assert self.landed(plugin, model) == FILES
        half = len(FILES["config.json"]) // 2
        assert bucket.begins[:2] == [0, half]
        assert not (plugin.directory / f".unfinished-{model.name}").exists()

    def test_a_key_does_not_lead_out_of_the_folder(
        self, bucket: Bucket, make_plugin: MakePlugin, tmp_path: Path
    ) -> None:
        model = model_at(bucket.put({"../../../escaped": b"x"}))
        with pytest.raises(ValueError, match="leads out"):
            asyncio.run(make_plugin().load(model, "node-1"))
        assert not (tmp_path.parent / "escaped").exists()

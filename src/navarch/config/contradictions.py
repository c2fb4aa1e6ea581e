"""What can be wrong between keys that are right one by one.

Each function yields what it finds, with the place of a key that was written: one of two keys that
contradict each other may be a default, which has no line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from navarch.config import metrics, notifier, reading
from navarch.config.autoscaling import (
    Autoscaling,
    Composite,
    Predictive,
    Reactive,
    Scheduled,
    Window,
)
from navarch.config.bootstrap import Bootstrap
from navarch.config.callers import Tls, Token
from navarch.config.metrics import Metrics
from navarch.config.notifier import Notifier
from navarch.config.plugins import PLUGINS_MAX, Plugins
from navarch.config.pods import ServingCluster
from navarch.config.providers import AwsProvider, FakeProvider, ProcessProvider, Provider
from navarch.config.reading import Reader
from navarch.config.schema import USER_DATA_MAX, Document, Pool, Server
from navarch.config.values import format_duration
from navarch.errors import ConfigError

Faults = Iterator[ConfigError]


def found(written: Document, reader: Reader) -> Faults:
    """Find all of them in a file whose keys are right one by one."""
    for name, pool in written.pools.items():
        yield from of_pool(name, pool, tuple(written.providers), reader)
        key = f"pools.{name}"
        yield from _first_script(pool, written, key, reader)
        yield from _metrics(pool.metrics, f"{key}.metrics", reader)
    for name, provider in written.providers.items():
        yield from _provider(provider, f"providers.{name}", reader)
    yield from _bootstrap(written.server.bootstrap, "server.bootstrap", reader)
    yield from _metrics(written.server.metrics, "server.metrics", reader)
    if written.server.notifier is not None:
        yield from _notifier(written.server.notifier, "server.notifier", reader)
    cluster = written.server.kubernetes
    if cluster is not None:
        line = reader.first_line("server.kubernetes")
        yield from _credentials(cluster, "server.kubernetes", line, reader)
    yield from _probation(written.server, reader)
    yield from _tokens(written.server.auth.tokens, reader)
    yield from _tls(written.server.auth.tls, reader)
    yield from _advertised(written.server, reader)
    yield from of_plugins(written.plugins, "plugins.", reader)


def of_plugins(plugins: Plugins, prefix: str, reader: Reader) -> Faults:
    """Find those of plugins, whose keys begin with `prefix`."""
    if plugins.file is not None:
        for key in ("modules", *plugins.uses()):
            line = reader.first_line(f"{prefix}{key}")
            if line is not None:
                message = f"stands beside {prefix}file, expected it in that file"
                yield reader.fault(message, key=f"{prefix}{key}", line=line)
    for key, uses in plugins.uses().items():
        if len(uses) > PLUGINS_MAX:
            message = f"expected at most {PLUGINS_MAX} plugins, got {len(uses):,}"
            place = f"{prefix}{key}"
            yield reader.fault(message, key=place, line=reader.first_line(place))
        seen: dict[str, int] = {}
        for number, use in enumerate(uses):
            place = f"{prefix}{key}[{number}].name"
            if use.name in seen:
                message = f"{use.name} is named twice, first as number {seen[use.name] + 1}"
                yield reader.fault(message, key=place)
            seen.setdefault(use.name, number)


def of_pool(name: str, pool: Pool, sellers: Sequence[str], reader: Reader) -> Faults:
    """Find those of one pool that may buy from `sellers`, wherever it is written."""
    key = f"pools.{name}"
    yield from _limits(pool, key, reader)
    yield from _sellers(pool, sellers, key, reader)
    yield from _spot(pool, key, reader)
    yield from _boot_script(pool, key, reader)
    yield from _repairs(pool, f"{key}.health.repair", reader)
    if pool.autoscaling is not None:
        yield from _autoscaling(pool.autoscaling, f"{key}.autoscaling", reader)


def _limits(limited: Pool | Window, key: str, reader: Reader) -> Faults:
    if limited.min_nodes > limited.max_nodes:
        low, high = (reader.readings[f"{key}.{end}_nodes"].shown for end in ("min", "max"))
        message = f"{low} is above max_nodes, expected at most {high}"
        yield reader.fault(message, key=f"{key}.min_nodes")


def _sellers(pool: Pool, known: Sequence[str], key: str, reader: Reader) -> Faults:
    if (pool.provider is None) == (not pool.providers):
        got = "both" if pool.providers else "neither"
        message = f"expected either provider or providers, got {got}"
        yield reader.fault(message, key=key, line=reader.readings[f"{key}.max_nodes"].line)
        return
    names = {f"{key}.provider": pool.provider} if pool.provider is not None else {}
    names |= {f"{key}.providers[{i}].name": each.name for i, each in enumerate(pool.providers)}
    for place, name in names.items():
        if name not in known:
            have = ", ".join(known) or "none is configured"
            near = reading.nearest(name, known)
            message = f"no such provider, expected one under providers: {have}{near}"
            yield reader.fault(message, key=place)


def _spot(pool: Pool, key: str, reader: Reader) -> Faults:
    """Find two answers to the question whether machines may be taken away."""
    if pool.spot_percent is None:
        return
    for index, seller in enumerate(pool.providers):
        if seller.spot:
            message = "expected either spot of a seller or spot_percent of the pool, got both"
            yield reader.fault(message, key=f"{key}.providers[{index}].spot")


def _boot_script(pool: Pool, key: str, reader: Reader) -> Faults:
    if not pool.setup_commands:
        return
    place = f"{key}.setup_commands[0]"
    if pool.user_data:
        message = "expected either user_data or setup_commands, got both"
        yield reader.fault(message, key=place)
    elif len(pool.boot_script()) > USER_DATA_MAX:
        size = len(pool.boot_script())
        message = f"expected at most {USER_DATA_MAX:,} characters in all, got {size:,}"
        yield reader.fault(message, key=place)


# --- machines --------------------------------------------------------------------------------


def _provider(provider: Provider, key: str, reader: Reader) -> Faults:
    """Find what a cloud's own settings cannot tell: which of two keys of ours is meant."""
    if isinstance(provider, AwsProvider) and (provider.region is None) == (not provider.regions):
        got = "both" if provider.regions else "neither"
        message = f"expected either region or regions, got {got}"
        yield reader.fault(message, key=key, line=reader.readings[f"{key}.type"].line)


def _bootstrap(written: Bootstrap | None, key: str, reader: Reader) -> Faults:
    if written is None:
        return
    line = reader.first_line(key)
    if (written.server_url is None) == (not written.server_urls):
        got = "both" if written.server_urls else "neither"
        message = f"expected either server_url or server_urls, got {got}"
        yield reader.fault(message, key=key, line=line)
    given = {
        "package": written.package,
        "wheel": written.wheel,
        "executable": written.executable,
    }
    several = [name for name, value in given.items() if value]
    if len(several) > 1:
        message = f"expected one of package, wheel and executable, got {' and '.join(several)}"
        yield reader.fault(message, key=key, line=line)


def _first_script(pool: Pool, written: Document, key: str, reader: Reader) -> Faults:
    """Find user data that cannot run beside the script that installs the agent."""
    sellers = [written.providers[name] for name in pool.sellers if name in written.providers]
    bought = any(not isinstance(one, FakeProvider | ProcessProvider) for one in sellers)
    if written.server.bootstrap is None or not bought:
        return
    if pool.user_data and not pool.user_data.startswith("#!"):
        message = "expected a script that begins with #!, since server.bootstrap runs it as one"
        yield reader.fault(message, key=f"{key}.user_data")


# --- autoscalers -----------------------------------------------------------------------------


def _autoscaling(written: Autoscaling, key: str, reader: Reader) -> Faults:
    match written:
        case Reactive():
            yield from _thresholds(written, key, reader)
        case Scheduled():
            for index, window in enumerate(written.schedule):
                yield from _window(window, f"{key}.schedule[{index}]", reader)
            yield from _autoscaling(written.autoscaler, f"{key}.autoscaler", reader)
        case Predictive():
            if written.fallback is not None:
                yield from _autoscaling(written.fallback, f"{key}.fallback", reader)
        case Composite():
            if not written.autoscalers:
                yield reader.fault("expected at least one", key=f"{key}.autoscalers")
            for index, each in enumerate(written.autoscalers):
                yield from _autoscaling(each, f"{key}.autoscalers[{index}]", reader)
        case _:
            pass


def _thresholds(written: Reactive, key: str, reader: Reader) -> Faults:
    if written.scale_down_at < written.scale_up_at:
        return
    down, up = reader.readings[f"{key}.scale_down_at"], reader.readings[f"{key}.scale_up_at"]
    message = f"{down.shown} is not below scale_up_at, expected less than {up.shown}"
    yield reader.fault(message, key=down.key, line=down.line or up.line)


def _window(window: Window, key: str, reader: Reader) -> Faults:
    yield from _limits(window, key, reader)
    start, end = reader.readings[f"{key}.start_hour"], reader.readings[f"{key}.end_hour"]
    if window.start_hour == window.end_hour:
        message = f"{end.shown} is start_hour too: an empty window; write 0 and 24 for a whole day"
        yield reader.fault(message, key=end.key, line=end.line or start.line)


# --- callers and sources ---------------------------------------------------------------------


def _metrics(sources: Sequence[Metrics], key: str, reader: Reader) -> Faults:
    names: set[str] = set()
    for index, source in enumerate(sources):
        name = metrics.name_of(source)
        if name in names:
            message = f"another source is called {name} already; give it a name of its own"
            line = reader.readings[f"{key}[{index}].type"].line
            yield reader.fault(message, key=f"{key}[{index}].name", line=line)
        names.add(name)
        if isinstance(source, metrics.PrometheusMetrics | metrics.KubernetesMetrics):
            line = reader.readings[f"{key}[{index}].type"].line
            yield from _credentials(source, f"{key}[{index}]", line, reader)


def _credentials(
    source: metrics.PrometheusMetrics
    | metrics.KubernetesMetrics
    | notifier.Kubernetes
    | ServingCluster,
    key: str,
    line: int | None,
    reader: Reader,
) -> Faults:
    written = source.credentials
    kinds = (written.token_env, written.token_file, written.username)
    here = f"{key}.credentials"
    if sum(kind is not None for kind in kinds) > 1:
        message = "expected one of token_env, token_file and username, got several"
        yield reader.fault(message, key=here, line=line)
    if (written.username is None) != (written.password_env is None):
        message = "username and password_env belong together: give both or none"
        yield reader.fault(message, key=here, line=line)
    if source.url is None and written != metrics.Credentials():
        message = "without a url they are those of the cluster we run in: give a url, or none"
        yield reader.fault(message, key=here, line=line)


def _tokens(tokens: Sequence[Token], reader: Reader) -> Faults:
    names: set[str] = set()
    for index, token in enumerate(tokens):
        key = f"server.auth.tokens[{index}]"
        if token.name in names:
            yield reader.fault("another token has this name already", key=f"{key}.name")
        names.add(token.name)
        if (token.token_env is None) == (token.token_file is None):
            both = "both" if token.token_env else "neither"
            message = f"expected either token_env or token_file, got {both}"
            yield reader.fault(message, key=key, line=reader.readings[f"{key}.name"].line)


def _tls(tls: Tls, reader: Reader) -> Faults:
    key = "server.auth.tls"
    line = reader.first_line(key)
    if (tls.cert_file is None) != (tls.key_file is None):
        message = "cert_file and key_file belong together: give both or none"
        yield reader.fault(message, key=key, line=line)
    elif tls.client_ca_file is not None and tls.cert_file is None:
        message = "without cert_file and key_file nobody can show a certificate: give them too"
        yield reader.fault(message, key=f"{key}.client_ca_file")


def _advertised(server: Server, reader: Reader) -> Faults:
    if server.auth.tls.cert_file is not None and (server.advertise or "").startswith("http:"):
        message = "begins with http://, but server.auth.tls has it speak https://"
        yield reader.fault(message, key="server.advertise")


# --- health and repair -----------------------------------------------------------------------


def _repairs(pool: Pool, key: str, reader: Reader) -> Faults:
    for index, word in enumerate(pool.health.repair):
        if word in pool.health.repair[:index]:
            yield reader.fault(f"{word} is written twice", key=f"{key}[{index}]")


def _probation(server: Server, reader: Reader) -> Faults:
    """Find patience within which no repair can succeed."""
    repair, key = server.repair, "server.repair.probation_max"
    longest = format_duration(repair.probation_max)
    line = reader.readings[key].line or reader.first_line("server.repair")
    if repair.probation > repair.probation_max:
        shortest = format_duration(repair.probation)
        message = f"{longest} is less than probation, expected at least {shortest}"
        yield reader.fault(message, key=key, line=line)
    interval = server.health_check_interval
    if interval * repair.clean_reports_to_heal > repair.probation_max:
        message = (
            f"{longest} is over before {repair.clean_reports_to_heal} clean reports can come, one "
            f"each {format_duration(interval)}: no repair would ever succeed"
        )
        line = line or reader.readings["server.health_check_interval"].line
        yield reader.fault(message, key=key, line=line)


def _notifier(written: Notifier, key: str, reader: Reader) -> Faults:
    line = reader.readings[f"{key}.type"].line
    match written:
        case notifier.WebhookNotifier(webhook=webhook):
            yield from _webhook(webhook, f"{key}.webhook", line, reader)
            blind = webhook.drain_url is not None and webhook.drain_status_url is None
            if blind and written.on_drain_timeout == "wait":
                message = "without webhook.drain_status_url nobody says when: drains never end"
                yield reader.fault(message, key=f"{key}.on_drain_timeout")
        case notifier.KubernetesNotifier(kubernetes=kubernetes):
            yield from _credentials(kubernetes, f"{key}.kubernetes", line, reader)
        case _:
            pass


def _webhook(webhook: notifier.Webhook, key: str, line: int | None, reader: Reader) -> Faults:
    if not webhook.urls():
        message = "no address is given, expected drain_url at least; to tell nobody, type: noop"
        yield reader.fault(message, key=key, line=line)
    if webhook.drain_status_url is not None and webhook.drain_url is None:
        message = "without drain_url nothing is ever drained: give both or none"
        yield reader.fault(message, key=f"{key}.drain_status_url")
    if webhook.secret_env is not None and webhook.secret_file is not None:
        message = "expected either secret_env or secret_file, got both"
        yield reader.fault(message, key=f"{key}.secret_env")

"""``navarch top`` on Textual's own test terminal, over a real control plane on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta

import pytest
from textual.pilot import Pilot

from live_plane import LivePlane, a_pool, live_plane
from navarch.cli.session import Session
from navarch.cli.top.app import Top, opened
from navarch.cli.top.dialogs import Asked, Help, PoolChosen
from navarch.errors import NavarchError
from navarch.wire.auth import Authenticator, Role, StaticToken
from navarch.wire.client import ConnectClient

SMALL = (80, 24)
WIDE = (160, 45)
SECONDS = 40.0
SECRET = b"sixteen bytes and a few more"

Steers = Pilot[NavarchError | None]


@pytest.fixture(scope="module")
def plane() -> Iterator[LivePlane]:
    """One control plane with three nodes for all that do not break it."""
    with live_plane() as live:
        live.configure(a_pool(), a_pool("batch"))
        live.join(["n1", "n2", "n3"])
        yield live


@contextmanager
def top(*urls: str, token: str | None = None) -> Iterator[Top]:
    session = Session(
        server=",".join(urls), token=token, output="table", timeout=timedelta(seconds=10)
    )
    with opened(session) as (watching, asking):
        yield Top(watching, asking)


@asynccontextmanager
async def steered(app: Top, size: tuple[int, int] = SMALL) -> AsyncIterator[Steers]:
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(lambda: app.shown_nodes)
        yield pilot


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.02)


def drawn(app: Top) -> str:
    """All that stands on the screen, line by line."""
    lines = app.screen._compositor.render_strips()  # noqa: SLF001 - the only place that has it
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines)


def story(app: Top, tell: Callable[[Steers], Awaitable[None]], size: tuple[int, int]) -> None:
    async def told() -> None:
        async with steered(app, size) as pilot:
            await tell(pilot)

    asyncio.run(told())


def test_a_small_terminal_shows_server_pools_nodes_and_events(plane: LivePlane) -> None:
    with top("http://127.0.0.1:9", plane.url) as app:  # of several the one that is there

        async def tell(pilot: Steers) -> None:
            await until(lambda: "registered with 8 GPUs" in drawn(app))
            await until(lambda: "q Quit" in drawn(app))
            screen = drawn(app)
            lines = screen.split("\n")
            assert len(lines) == 24
            assert f"navarch top  {plane.url}  leader  seq" in lines[0]
            assert lines[0].endswith("live")
            assert lines[1] == "3 nodes, 24 GPUs: 3 active"
            assert lines[2].split()[:4] == ["POOL", "STATE", "TARGET", "ACTUAL"]
            assert [line.split()[0] for line in lines[3:5]] == ["batch", "training"]
            assert "nodes 3 of 3  by what is wrong" in screen
            assert [name for name in ("n1", "n2", "n3") if f"\n{name} " in screen] == [
                *("n1", "n2", "n3"),
            ]
            assert "q Quit" in lines[-1]

        story(app, tell, SMALL)


def test_a_sick_node_comes_first_at_once_and_enter_says_why() -> None:
    with live_plane() as own, top(own.url) as app:
        own.join(["n1", "n2", "n3"])

        async def tell(pilot: Steers) -> None:
            assert app.shown_nodes == ["n1", "n2", "n3"]
            own.sicken("n3")
            await until(lambda: app.shown_nodes[0] == "n3")
            assert "!! UNHEALTHY" in drawn(app)
            assert "1 unhealthy" in drawn(app).splitlines()[1]
            await pilot.press("enter")
            await until(lambda: "node n3 is unhealthy" in drawn(app))
            assert "xid 79 on GPU 2" in app.detail.text.plain
            assert "node n3 registered" in app.detail.text.plain
            await pilot.press("escape")
            await until(lambda: not app.detail.display)

        story(app, tell, SMALL)


def test_a_cordon_asks_why_is_confirmed_and_is_in_the_journal(plane: LivePlane) -> None:
    with top(plane.url) as app:

        async def tell(pilot: Steers) -> None:
            before = plane.plane.runtime.seq
            for words in ([*"why", "escape"], ["enter", "tab", "enter"]):
                await pilot.press("d")
                await until(lambda: isinstance(app.screen, Asked))
                await pilot.press(*words)
                await until(lambda: not isinstance(app.screen, Asked))
            assert plane.plane.runtime.seq == before  # who thinks better of it does nothing
            await pilot.press("down", "c")
            await until(lambda: isinstance(app.screen, Asked))
            await pilot.press(*"bad cable", "enter")
            assert isinstance(app.screen, Asked)  # typing alone does nothing
            await pilot.press("enter")
            await until(lambda: "CORDONED" in drawn(app))

        story(app, tell, SMALL)
    client = ConnectClient(plane.url)
    node = client.call("GetNode", {"nodeId": "n2"})["node"]
    facts = client.call("ListEvents", {"subject": "n2", "limit": 100})["events"]
    client.close()
    assert node["intent"] == "cordoned"
    changes = [fact["because"] for fact in facts if fact["kind"] == "intent_changed"]
    assert changes == ["cordon by an operator: bad cable"]


def test_what_is_shown_is_chosen_by_typing_by_pool_and_by_order(plane: LivePlane) -> None:
    with top(plane.url) as app:

        async def tell(pilot: Steers) -> None:
            await pilot.press("slash", *"n3")
            await until(lambda: app.shown_nodes == ["n3"])
            await pilot.press("enter")
            await until(lambda: "with 'n3'" in drawn(app))
            await pilot.press("escape")
            await until(lambda: sorted(app.shown_nodes) == ["n1", "n2", "n3"])
            await pilot.press("slash", *"nothing", "enter")
            await until(lambda: "no such nodes" in drawn(app))
            await pilot.press("escape", "p")
            await until(lambda: isinstance(app.screen, PoolChosen))
            await pilot.press("down", "enter")
            await until(lambda: "of pool batch" in drawn(app))
            assert app.shown_nodes == []  # these nodes joined by themselves
            await pilot.press("escape", "s")
            await until(lambda: "by node" in drawn(app))
            assert app.shown_nodes == ["n1", "n2", "n3"]
            await pilot.press("s", "s", "s", "s")
            await until(lambda: "by what is wrong" in drawn(app))
            await pilot.press("question_mark")
            await until(lambda: "cordon, uncordon, drain the chosen node" in drawn(app))
            assert isinstance(app.screen, Help)
            await pilot.press("escape", "q")
            await until(lambda: not app.is_running)

        story(app, tell, SMALL)


def test_a_wide_terminal_explains_beside_the_tables_what_the_cursor_is_on(
    plane: LivePlane,
) -> None:
    with top(plane.url) as app:

        async def tell(pilot: Steers) -> None:
            await pilot.press("s", "enter")  # by node
            await until(lambda: "node n1 is" in app.detail.text.plain)
            await pilot.press("down", "down")
            await until(lambda: "node n3 is" in app.detail.text.plain)
            assert "nodes 3 of 3" in drawn(app)
            await pilot.press("shift+tab", "enter")
            await until(lambda: "pool batch" in app.detail.text.plain)
            await until(lambda: "min_nodes is 0" in app.detail.text.plain)
            app.facts.focus()
            await pilot.press("end")
            await until(lambda: "fact 1, fleet_founded" in app.detail.text.plain)

        story(app, tell, WIDE)


def test_a_server_that_goes_away_and_comes_back_is_followed_again() -> None:
    with live_plane() as first, top(first.url) as app:
        first.join(["n1"])

        async def tell(pilot: Steers) -> None:
            await asyncio.to_thread(first.end)
            await until(lambda: "reconnecting" in drawn(app))
            assert app.shown_nodes == ["n1"]  # what was known stays
            second = LivePlane(port=first.port)
            await asyncio.to_thread(second.start)
            try:
                await asyncio.to_thread(second.join, ["m1", "m2"])
                await until(lambda: app.shown_nodes == ["m1", "m2"])
                await until(lambda: drawn(app).splitlines()[0].endswith("live"))
                assert "node n1" not in drawn(app)  # another journal
            finally:
                await asyncio.to_thread(second.end)

        story(app, tell, SMALL)


def test_a_viewer_sees_all_and_is_told_that_it_may_do_nothing() -> None:
    tokens = [StaticToken("viewer", Role.VIEWER, "viewer-token")]
    with live_plane(Authenticator(tokens, SECRET)) as own:
        own.join(["n1"])
        with top(own.url, token="viewer-token") as app:

            async def tell(pilot: Steers) -> None:
                await pilot.press("c")
                await until(lambda: isinstance(app.screen, Asked))
                await pilot.press("enter", "enter")
                await until(lambda: "needs the role operator" in drawn(app))

            story(app, tell, SMALL)
        with top(own.url, token="a wrong one") as app:

            async def refused() -> None:
                async with app.run_test(size=SMALL):
                    await until(lambda: not app.is_running)

            asyncio.run(refused())
            assert isinstance(app.return_value, NavarchError)


def test_what_strangers_call_themselves_is_text_and_nothing_else() -> None:
    with live_plane() as own, top(own.url) as app:
        own.join(["n1"])
        own.configure(a_pool(), a_pool("[b]", labels={"a": "[/]"}))

        async def tell(pilot: Steers) -> None:
            await until(lambda: "[b]" in drawn(app))
            await pilot.press("p")
            await until(lambda: isinstance(app.screen, PoolChosen))
            await until(lambda: "[b]" in drawn(app))

        story(app, tell, SMALL)

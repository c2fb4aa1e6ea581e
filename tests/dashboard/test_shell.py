"""The dashboard in a real browser: what is seen, what can be done, and by whom."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from dashboard.conftest import opened
from dashboard.served import TOKENS, Served


def go(page: Page, path: str) -> None:
    """Go to a page by its address."""
    page.evaluate("path => { location.hash = path }", path)


def count(page: Page, state: str) -> str:
    """How many machines the filter of a state counts."""
    return page.locator(".filters button", has_text=state).locator("b").inner_text()


def test_a_node_that_falls_ill_is_seen_with_its_reason(page: Page, served: Served) -> None:
    served.register("node-1")
    served.register("node-2")
    expect(page.locator(".page-fleet canvas")).to_have_attribute("data-drawn", "2")
    expect(page.locator(".summary")).to_contain_text("nothing is wrong")
    served.xid("node-1")
    troubles = page.locator(".troubles")
    expect(troubles).to_contain_text("XID 79")
    expect(troubles).to_contain_text("node-1")
    expect(page.locator(".summary")).to_contain_text("1 of 2 machines is not well")
    assert count(page, "unhealthy") == "1"
    go(page, "/events?subject=node-1")
    expect(page.locator(".page-events")).to_contain_text("node node-1 is unhealthy")


def test_a_node_is_cordoned_from_the_page_and_the_journal_has_name_and_reason(
    page: Page, served: Served
) -> None:
    served.register("node-3")
    page.get_by_label("Find machines").fill("node-3")
    page.get_by_role("button", name="Act on node-3").click()
    page.get_by_role("button", name="Cordon", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cordon").click()
    expect(dialog).to_contain_text("Say why")
    dialog.get_by_label("Reason").fill("a fan <i>rattles</i>")
    dialog.get_by_role("button", name="Cordon").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#toasts")).to_contain_text("Cordon node-3: recorded")
    row = page.locator("tr[data-machine=node-3]")
    expect(row).to_contain_text("cordoned")
    expect(row).to_contain_text("cordon by olaf: a fan <i>rattles</i>")
    facts = served.call("ListEvents", subject="node-3", newestFirst=True)["events"]
    because = [fact["because"] for fact in facts if fact["kind"] == "intent_changed"]
    assert because == ["cordon by olaf: a fan <i>rattles</i>"]
    assert page.locator("i").count() == 0, "a reason is text"


@pytest.mark.soak
def test_what_takes_work_down_has_to_be_typed(page: Page, served: Served) -> None:
    served.register("node-4")
    page.get_by_label("Find machines").fill("node-4")
    page.get_by_role("button", name="Act on node-4").click()
    page.get_by_role("button", name="Terminate").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("it is old")
    dialog.get_by_label("to confirm").fill("node-5")
    dialog.get_by_role("button", name="Terminate").click()
    expect(dialog).to_contain_text("That is not node-4")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert served.call("GetNode", nodeId="node-4")["node"]["phase"] == "active"


@pytest.mark.soak
def test_a_viewer_sees_everything_and_may_do_nothing(browser: Browser, served: Served) -> None:
    served.register("node-6")
    with opened(browser, served, by="vera") as page:
        page.get_by_label("Find machines").fill("node-6")
        page.get_by_role("button", name="Act on node-6").click()
        cordon = page.get_by_role("button", name="Cordon", exact=True)
        expect(cordon).to_have_attribute("aria-disabled", "true")
        expect(cordon).to_have_attribute("title", "needs the role operator; you are vera, viewer")
        cordon.click(force=True)
        expect(page.get_by_role("dialog")).to_have_count(0)


def test_names_and_reasons_with_markup_are_text(browser: Browser, served: Served) -> None:
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    rack = {"labels": {"rack": evil}}
    served.register("node-7", zone=evil, instanceType=evil, metadata=rack)
    wish = {"commandType": "NODE_COMMAND_TYPE_CORDON", "reason": evil}
    served.call("IssueCommand", nodeId="node-7", **wish)
    with opened(browser, served) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script has run: {dialog.message}"))
        go(page, "/fleet?group=rack&find=node-7")
        row = page.locator("tr[data-machine=node-7]")
        expect(row).to_contain_text(evil)
        page.locator(".page-fleet canvas").focus()
        expect(page.locator(".tip")).to_be_visible()
        go(page, "/events?subject=node-7")
        expect(page.locator(".page-events tbody")).to_contain_text(evil)
        page.get_by_role("button", name="The whole fact").first.click()
        expect(page.locator(".page-events pre")).to_contain_text("node-7")
        assert page.locator("main img, main script").count() == 0


@pytest.mark.soak
def test_whoever_has_not_logged_in_sees_nothing_of_the_fleet(
    browser: Browser, served: Served
) -> None:
    refused = "the server responded with a status of 401"
    with opened(browser, served, by=None, expects=(refused,)) as page:
        expect(page.get_by_label("Token")).to_be_focused()
        page.get_by_label("Token").fill("a guess")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("the token is not valid")
        assert "fleet" not in page.locator("main").inner_text().lower()
        page.get_by_label("Token").fill(TOKENS["vera"][1])
        page.get_by_role("button", name="Log in").click()
        page.locator(".connection[data-state=live]").wait_for()
        page.reload()
        page.locator(".connection[data-state=live]").wait_for()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        page.reload()
        expect(page.get_by_label("Token")).to_be_visible()


@contextmanager
def stranger() -> Iterator[str]:
    """A site of somebody else, on this machine."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>evil</title><link rel=icon href=data:,>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


TRY = """async ({url, token}) => {
  const tried = [];
  const call = `${url}/navarch.ControlPlaneService/IssueCommand`;
  const body = JSON.stringify({nodeId: "node-8", commandType: "NODE_COMMAND_TYPE_CORDON"});
  for (const type of ["application/json", "text/plain", "application/x-www-form-urlencoded"]) {
    for (const mode of ["cors", "no-cors"]) {
      for (const extra of [{}, {"x-navarch-csrf": "0"}]) {
        try {
          const headers = {"content-type": type, ...extra};
          const answer = await fetch(
            call, {method: "POST", mode, credentials: "include", headers, body});
          tried.push(answer.type === "opaque" ? "unread" : await answer.text());
        } catch (error) { tried.push("refused"); }
      }
    }
  }
  try {
    tried.push(await (await fetch(`${url}/ui/fleet`, {credentials: "include"})).text());
  } catch (error) { tried.push("refused"); }
  const heard = await new Promise((done) => {
    const source = new EventSource(`${url}/ui/stream`, {withCredentials: true});
    source.onerror = () => done("refused");
    source.addEventListener("hello", () => done("heard"));
  });
  const form = document.createElement("form");
  form.method = "POST";
  form.enctype = "text/plain";
  form.action = call;
  form.target = "frame";
  const frame = document.createElement("iframe");
  frame.name = "frame";
  document.body.append(frame, form);
  const field = document.createElement("input");
  field.name = body;
  form.append(field);
  form.submit();
  await new Promise((done) => setTimeout(done, 300));
  return [...tried, heard];
}"""


@pytest.mark.parametrize("tokens", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_a_page_of_another_origin_cannot_act_with_the_browser_of_somebody_logged_in(
    browser: Browser, served: Served, tmp_path_factory: pytest.TempPathFactory, *, tokens: bool
) -> None:
    if tokens:
        _visited_by_stranger(browser, served)
        return
    with Served(tmp_path_factory.mktemp("open"), names=()) as everybodys:
        _visited_by_stranger(browser, everybodys)


def _visited_by_stranger(browser: Browser, served: Served) -> None:
    served.register("node-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.url)
    if served.closed:
        page.get_by_label("Token").fill(TOKENS["olaf"][1])
        page.get_by_role("button", name="Log in").click()
    page.locator(".connection[data-state=live]").wait_for()
    with stranger() as origin:
        other = context.new_page()
        other.goto(origin)
        tried = other.evaluate(TRY, {"url": served.url, "token": ""})
        assert set(tried) <= {"refused", "unread"}, tried
    context.close()
    assert served.call("GetNode", nodeId="node-8")["node"]["intent"] == "in_service"


@pytest.mark.soak
def test_the_map_is_walked_by_keys_and_says_where_one_is(page: Page, served: Served) -> None:
    served.register("node-9")
    go(page, "/fleet?find=node-9")
    expect(page.locator("h2", has_text="1 machine found")).to_be_visible()
    page.locator(".page-fleet canvas").focus()
    for key in ("End", "Home", "ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft", "PageDown"):
        page.keyboard.press(key)
    page.keyboard.press("Home")
    said = page.locator(".map [aria-live]").inner_text()
    assert said.startswith("node-1: "), said


@pytest.mark.soak
def test_the_theme_is_chosen_and_kept(page: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Use dark colours").click()
    assert page.evaluate(ground) != light
    page.reload()
    page.locator(".connection[data-state=live]").wait_for()
    assert page.evaluate(ground) != light
    page.get_by_role("button", name="Use light colours").click()
    assert page.evaluate(ground) == light


@pytest.mark.soak
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_scrolls_the_page_sideways_on_a_telephone(
    browser: Browser, served: Served, *, dark: bool
) -> None:
    long = "a-zone-with-a-very-long-name-that-somebody-has-chosen"
    served.register("node-with-a-name-of-quite-some-length-0000001", zone=long)
    served.xid("node-with-a-name-of-quite-some-length-0000001")
    with opened(browser, served, width=390, height=844, dark=dark) as page:
        for path in ("/fleet", "/events"):
            go(page, path)
            expect(page.locator("main h1")).to_be_visible()
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


@pytest.mark.soak
def test_events_are_added_as_they_come_and_wait_while_somebody_reads(
    page: Page, served: Served
) -> None:
    go(page, "/events")
    body = page.locator(".page-events tbody")
    expect(body.locator("tr.fact").first).to_be_visible()
    served.register("node-10")
    expect(body.locator("tr.fact").first).to_contain_text("node-10")
    page.get_by_label("follow").uncheck()
    served.register("node-11")
    arrived = page.get_by_role("button", name="new")
    expect(arrived).to_be_visible()
    assert "node-11" not in body.inner_text()
    arrived.click()
    expect(body.locator("tr.fact").first).to_contain_text("node-11")
    page.get_by_label("Kind").select_option("node_registered")
    expect(body.locator(".badge", has_text="intent_changed")).to_have_count(0)


@pytest.mark.soak
def test_a_lost_connection_is_said_and_made_again(page: Page, served: Served) -> None:
    page.context.set_offline(offline=True)
    served.do(served.hang_up())
    expect(page.locator(".connection")).to_have_attribute("data-state", "reconnecting")
    expect(page.locator(".notice")).to_contain_text("The connection is lost")
    page.context.set_offline(offline=False)
    expect(page.locator(".connection")).to_have_attribute("data-state", "live")
    expect(page.locator(".notice")).to_have_count(0)


@pytest.mark.soak
@pytest.mark.parametrize(
    "leader,is_link", [("https://cp2.example:50051", True), ("javascript:alert(1)", False)]
)
def test_a_standby_says_what_it_is_and_where_the_leader_is(
    page: Page, leader: str, *, is_link: bool
) -> None:
    standing = {"role": "standby", "leader": leader}
    hello = json.dumps({"seq": 1, "now": "2026-11-01T12:00:00Z", "standing": standing})
    body = f"retry: 60000\n\nevent: hello\ndata: {hello}\n\n"

    def answer(route: Route) -> None:
        route.fulfill(headers={"content-type": "text/event-stream"}, body=body)

    page.route("**/ui/stream", answer)
    page.reload()
    notice = page.locator(".notice", has_text="standby")
    expect(notice).to_contain_text(leader)
    assert notice.locator("a").count() == int(is_link)


@pytest.mark.soak
def test_a_session_that_has_ended_leads_to_the_login(browser: Browser, served: Served) -> None:
    refused = "the server responded with a status of 401"
    with opened(browser, served, by="ada", expects=(refused,)) as page:
        page.context.clear_cookies()
        go(page, "/events")
        expect(page.get_by_label("Token")).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("The session has ended")

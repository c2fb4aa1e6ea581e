"""The pages of one machine and of the serving plane, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboard.conftest import PATIENCE_MS, opened
from dashboard.served import Served

GIB: Final = 2**30
NODE: Final = "rack-7/node-1"
"""An id may have a slash in it."""
SCRIPT: Final = "<script>document.title='owned'</script>"
LIVE_MS: Final = PATIENCE_MS
"""Within what time a page has to show what has happened; a busy machine has more to do besides."""
RESOURCES: Final = """
apiVersion: neuronetes.io/v1alpha1
kind: AgentClass
metadata: {name: assistant}
---
apiVersion: neuronetes.io/v1alpha1
kind: AgentPool
metadata: {name: chat}
spec:
  agentClassRef: {name: assistant}
  minReplicas: 9
  maxReplicas: 12
  gpuRequirements: {count: 1}
  runtime: {command: [serve]}
"""


@pytest.fixture(scope="module")
def fleet(served: Served) -> Served:
    """A fleet of one node with eight GPUs, and nine replicas that want one each."""
    served.register(NODE, metadata={"hostname": "host-1", "labels": {"team": SCRIPT}})
    beat(served, busy=71.5)
    served.call("Heartbeat", nodeId=NODE, serving={})
    served.call("ApplyResources", text=RESOURCES)
    return served


@pytest.fixture(scope="module")
def tab(browser: Browser, fleet: Served) -> Iterator[Page]:
    """One tab for all tests: each goes to its page in it."""
    with opened(browser, fleet) as page:
        yield page


def beat(served: Served, busy: float, gpus: int = 8) -> None:
    """Send a heartbeat with a sample."""
    told = [
        {
            "gpuIndex": index,
            "temperature": 60 + index,
            "powerUsage": 400,
            "utilizationPercent": busy,
            "memoryUsed": 40 * GIB,
        }
        for index in range(gpus)
    ]
    metrics = {"cpuUsagePercent": 12, "memoryUsagePercent": 34, "gpuMetrics": told}
    served.call("Heartbeat", nodeId=NODE, metrics=metrics)


def go(page: Page, served: Served, path: str, ready: str) -> Locator:
    """Open a page and wait for some words on it."""
    page.goto(f"{served.url}/#/events")
    page.goto(f"{served.url}/{path}")
    main = page.locator("main")
    expect(main).to_contain_text(ready, timeout=PATIENCE_MS)
    return main


def kinds_of(served: Served, subject: str) -> list[dict[str, Any]]:
    """The facts about something, the newest first."""
    return list(served.call("ListEvents", subject=subject, newestFirst=True)["events"])


NODE_PATH: Final = "#/nodes/rack-7%2Fnode-1"


def test_a_node_shows_its_readings_and_renews_them(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, NODE_PATH, "GPU 7")
    first = main.get_by_role("img", name=re.compile("GPU 0, utilization: 72 % now"))
    expect(first).to_be_visible()
    expect(main.get_by_role("img", name=re.compile("GPU 3, temperature: 63 °C"))).to_be_visible()
    beat(fleet, busy=13.0)
    renewed = main.get_by_role("img", name=re.compile("GPU 0, utilization: 13 % now, 13 % to 72 %"))
    expect(renewed).to_be_visible(timeout=LIVE_MS)
    samples = main.locator(".gpus")
    samples.focus()
    tab.keyboard.press("ArrowLeft")
    expect(main).to_contain_text("mean utilization 72 %")
    tab.keyboard.press("Escape")
    expect(main).not_to_contain_text("mean utilization")


def test_between_two_samples_that_are_far_apart_nothing_is_drawn(tab: Page, fleet: Served) -> None:
    go(tab, fleet, NODE_PATH, "GPU 7")
    found = tab.evaluate(
        """async () => {
          const { nearest, runs } = await import("/ui/assets/sparkline.js");
          const { ticks } = await import("/ui/assets/timeline.js");
          const times = [0, 30, 60, 90, 300, 330];
          return [runs(times, [1, 2, null, 3, 4, 5], 75), nearest(times, 170), nearest([], 1),
                  ticks(1000, 3_600_000).length, ticks(0, 90 * 86_400_000).length];
        }"""
    )
    assert found == [[[0, 1], [3], [4, 5]], 3, -1, 4, 5]


def test_markup_in_a_label_is_text(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, NODE_PATH, "host-1")
    expect(main).to_contain_text(f"team={SCRIPT}")
    assert tab.title() != "owned"


def test_an_xid_is_seen_with_rule_event_counterfactual_and_facts(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, NODE_PATH, "it stands as it should")
    fleet.xid(NODE)
    expect(main.locator(".node-answer")).to_contain_text("XID 79", timeout=LIVE_MS)
    expect(main).to_contain_text(re.compile(r"no event \d+ \(xid 79 on GPU 0\)"))
    expect(main.locator(".otherwise")).to_contain_text("→ it is healthy")
    expect(main.locator(".finding")).to_contain_text("Xid 79")
    link = main.locator(".otherwise a").first
    seq = (link.text_content() or "").lstrip("#")
    told = fleet.call("ListEvents", afterSeq=int(seq) - 1, limit=1)["events"][0]
    assert told["kind"] == "health_reported"
    link.click()
    expect(tab).to_have_url(re.compile(f"#/events/{seq}$"))


def test_the_timeline_is_walked_by_keys_and_said_as_a_table(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, NODE_PATH, "What happened")
    stops = main.locator(".timeline-body a[tabindex='0']")
    expect(stops).to_have_count(1)
    stops.focus()
    expect(main.locator(".timeline-readout")).not_to_contain_text("Arrow keys")
    before = main.locator(".timeline-readout").text_content()
    tab.keyboard.press("ArrowLeft")
    expect(main.locator(".timeline-readout")).not_to_have_text(before or "")
    main.get_by_text("The same as a table").click()
    row = main.get_by_role("row").filter(has_text="health").filter(has_text="unhealthy")
    expect(row.first).to_contain_text("rule")


def test_a_cordon_is_asked_confirmed_journaled_and_seen(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, NODE_PATH, "Commands")
    main.get_by_role("button", name="Cordon", exact=True).click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_role("button", name="Cordon").click()
    expect(dialog).to_contain_text("Say why")
    dialog.get_by_label(re.compile("Reason")).fill("noisy fan")
    dialog.get_by_role("button", name="Cordon").click()
    expect(main.locator(".axis").filter(has_text="intent")).to_contain_text(
        "noisy fan", timeout=LIVE_MS
    )
    expect(main.get_by_role("button", name="Uncordon")).to_be_visible()  # though it is sick, too
    changed = next(each for each in kinds_of(fleet, NODE) if each["kind"] == "intent_changed")
    assert "noisy fan" in changed["because"]


def test_the_serving_page_says_who_waits_and_why(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, "#/serving", "default/chat")
    expect(main.locator(".card").first).to_contain_text("replicas have no place")
    row = main.get_by_role("row").filter(has_text="pending").first
    expect(row).to_contain_text("nowhere")
    row.get_by_text("Explain").click()
    expect(row).to_contain_text("no pool of machines would fit them if it grew")
    expect(main.locator(".agent-pool")).to_contain_text("of 9 ready")
    expect(main.locator(".agent-pool")).to_contain_text("minReplicas is 9")


def test_a_plugin_shows_its_calls_and_is_disabled_with_a_reason(tab: Page, fleet: Served) -> None:
    main = go(tab, fleet, "#/serving", "scheduler")
    row = main.locator("tr[data-plugin='scheduler/packing']")
    row.get_by_role("button", name="Last calls of packing").click()
    expect(main.get_by_role("group", name="Calls of packing")).to_contain_text("ok")
    row.get_by_role("button", name="Disable").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label(re.compile("Reason")).fill("we spread")
    dialog.get_by_label(re.compile("to confirm")).fill("packing")
    dialog.get_by_role("button", name="Disable").click()
    expect(row).to_contain_text("off", timeout=LIVE_MS)
    expect(row).to_contain_text("we spread")
    expect(row.get_by_role("button", name="Enable")).to_be_visible()
    told = kinds_of(fleet, "scheduler/packing")
    assert json.loads(told[0]["payload"])["enabled"] is False


def test_a_viewer_with_a_telephone_sees_all_and_may_do_nothing(
    browser: Browser, fleet: Served
) -> None:
    small: dict[str, Any] = {"by": "vera", "width": 390, "height": 800, "dark": True}
    with opened(browser, fleet, expects=("404",), **small) as page:
        main = go(page, fleet, "#/nodes/rack-7%2Fnode-2", "No such machine")
        expect(main.locator(".problem")).to_contain_text("nearest: rack-7/node-1")
        main.get_by_role("link", name=NODE).click()
        expect(main).to_contain_text("GPU 7")
        cordon = main.get_by_role("button", name=re.compile("cordon", re.IGNORECASE)).first
        expect(cordon).to_have_attribute("aria-disabled", "true")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        go(page, fleet, "#/serving", "metrics-provider")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

// Plugins by kind: order, how they stand, how long calls take, the last calls, and their switches.
import { button } from "./actions.js";
import { h, replace } from "./dom.js";
import { number, time, whole } from "./format.js";

const seconds = (value) => (value >= 1 ? `${number(value, 2)} s` : value >= 0.001 ? `${number(value * 1_000, 1)} ms` : value ? `${number(value * 1e6)} µs` : "–");

// Shows plugins by kind in `section`; `opened` has those whose calls are shown, by kind/name.
export function registered(section, kinds, tools) {
  const told = JSON.stringify(kinds.map((kind) => kind.plugins.map((each) => [each.kind, each.name, each.enabled, each.shadow, each.priority, each.isolated, each.broken, each.because])));
  if (section.dataset.told === told) return freshenRows(section, kinds);
  section.dataset.told = told;
  if (!kinds.length) return replace(section, h("p", { class: "empty" }, "No plugins are known here."));
  const cards = kinds.map((kind) =>
    h(
      "section",
      { class: "card" },
      h("h3", {}, kind.kind, h("span", { class: "small soft" }, ` ${kind.about}`)),
      h(
        "div",
        { class: "scrolls" },
        h(
          "table",
          {},
          headOf(["#", "Plugin", "Priority", "Stands", "Calls", "Failures", "p50", "p99", ""]),
          h("tbody", {}, kind.plugins.flatMap((each, index) => pluginRows(each, index, kind.switchable, tools))),
        ),
      ),
    ),
  );
  return replace(section, cards);
}

function freshenRows(section, kinds) {
  for (const each of kinds.flatMap((kind) => kind.plugins)) {
    const row = section.querySelector(`tr[data-plugin="${CSS.escape(`${each.kind}/${each.name}`)}"]`);
    if (!row) continue;
    row.querySelector("[data-of=calls]").textContent = number(each.calls);
    row.querySelector("[data-of=failures]").textContent = number(each.failures);
    row.querySelector("[data-of=p50]").textContent = seconds(each.latency_p50_seconds);
    row.querySelector("[data-of=p99]").textContent = seconds(each.latency_p99_seconds);
  }
  return section;
}

function standing(each) {
  if (each.broken) return [h("span", { class: "badge" }, "cannot be asked"), each.broken];
  if (!each.enabled) return [h("span", { class: "badge" }, "off"), each.because];
  if (each.isolated) return [h("span", { class: "badge bad" }, "! left alone"), each.isolated];
  if (each.shadow) return [h("span", { class: "badge warn" }, "in shadow"), `${each.shadow_different} of ${each.shadow_same + each.shadow_different} answers differ`];
  return [h("span", { class: "badge good" }, "asked"), each.because];
}

function pluginRows(each, index, switchable, { api, live, reload, opened }) {
  const key = `${each.kind}/${each.name}`;
  const [badge, words] = standing(each);
  const traces = h("td", { colspan: "9" });
  const below = h("tr", { hidden: !opened.has(key) }, traces);
  const show = h("button", { type: "button", class: "plain", "aria-expanded": String(opened.has(key)), onclick: toggle, "aria-label": `Last calls of ${each.name}` }, "Calls");
  async function read() {
    try {
      const told = await api.get("serving", { traces: key });
      replace(traces, callTable(told, live.now()), h("button", { type: "button", onclick: read }, "Read again"));
    } catch (error) {
      replace(traces, h("p", { class: "problem" }, error.message));
    }
  }
  async function toggle() {
    below.hidden = !below.hidden;
    show.setAttribute("aria-expanded", String(!below.hidden));
    if (below.hidden) return opened.delete(key);
    opened.set(key, true);
    return read();
  }
  if (opened.has(key)) read();
  return [
    h(
      "tr",
      { dataset: { plugin: key } },
      h("td", { class: "number" }, index + 1),
      h("td", {}, h("strong", {}, each.name), h("span", { class: "small soft" }, ` ${[each.origin, each.version].filter(Boolean).join(", ")}`), h("div", { class: "small soft" }, each.summary)),
      h("td", { class: "number" }, each.priority),
      h("td", {}, badge, words ? h("div", { class: "small" }, words) : null, each.last_failure ? h("div", { class: "small problem" }, each.last_failure) : null),
      h("td", { class: "number", dataset: { of: "calls" } }, number(each.calls)),
      h("td", { class: "number", dataset: { of: "failures" } }, number(each.failures)),
      h("td", { class: "number", dataset: { of: "p50" } }, seconds(each.latency_p50_seconds)),
      h("td", { class: "number", dataset: { of: "p99" } }, seconds(each.latency_p99_seconds)),
      h("td", {}, h("div", { class: "actions" }, show, switchable && !each.broken ? switches(each, reload) : null)),
    ),
    below,
  ];
}

function switches(each, reload) {
  const body = { kind: each.kind, name: each.name };
  return button({
    label: each.enabled ? "Disable" : "Enable",
    method: "SetPlugin",
    body: { ...body, enabled: !each.enabled },
    subject: each.name,
    danger: each.enabled,
    words: each.enabled ? `The ${each.kind} ${each.name} is asked no more, also after a restart.` : `The ${each.kind} ${each.name} is asked again.`,
    done: reload,
  });
}

function callTable(told, now) {
  if (!told.traces.length) return h("p", { class: "empty" }, "No call of it is kept: it was not asked lately.");
  const tones = { ok: "good", failed: "bad", "timed out": "bad", skipped: "warn" };
  const rows = told.traces.map((each) =>
    h(
      "tr",
      {},
      h("td", {}, h("time", { datetime: each.at, title: whole(each.at) }, time(each.at, now))),
      h("td", {}, h("code", {}, each.point)),
      h("td", {}, each.pool),
      h("td", {}, each.asked),
      h("td", {}, h("span", { class: `badge ${tones[each.outcome] ?? ""}` }, each.outcome), " ", each.said, each.shadow ? h("span", { class: "badge" }, "no effect") : null),
      h("td", { class: "number" }, seconds(each.seconds)),
    ),
  );
  return scrolls(`Calls of ${told.name}`, h("table", {}, headOf(["When", "Method", "For", "Asked about", "Said", "Took"]), h("tbody", {}, rows)));
}

function headOf(words) {
  return h("thead", {}, h("tr", {}, words.map((each) => h("th", { scope: "col" }, each))));
}

function scrolls(label, table) {
  return h("div", { class: "scrolls tall", tabindex: "0", role: "group", "aria-label": label }, table);
}

// The serving plane: what is wrong, pools of agents, replicas and why they wait, weights, plugins.
import { append, h, link, replace, route } from "../dom.js";
import { bytes, moment, number, percent, plural, span, whole } from "../format.js";
import { registered } from "../plugintables.js";
import { sparkline } from "../sparkline.js";

const EVERY = 2_000; // load and calls are no facts: they are fetched

export async function show(root, { parameters, live, api }) {
  let pool = parameters.query.get("pool") ?? "";
  let view = null;
  let closed = false;
  const page = skeleton({ api, live, pick });

  function pick(wanted) {
    pool = wanted;
    reload();
  }
  async function load() {
    const asked = pool ? { pool } : {};
    try {
      view = await api.get("serving", asked);
    } catch (error) {
      if (error.code !== "not_found" || !pool) throw error;
      pool = ""; // it is no more: all of them
      view = await api.get("serving");
    }
    if (closed) return;
    if (!page.element.isConnected) replace(root, page.element);
    page.update(view, pool, reload);
  }
  function reload() {
    load().catch((error) => !closed && page.complain(error));
  }
  async function freshen() {
    if (closed || document.hidden || view === null) return;
    const told = await api.get("serving", { part: "live" });
    if (!closed) page.freshen(told, reload);
  }
  await load();
  let asking = false;
  const timer = setInterval(async () => {
    if (asking) return;
    asking = true;
    await freshen().catch((error) => !closed && page.complain(error));
    asking = false;
  }, EVERY);
  // Facts about replicas, pools of agents, models and plugins have all kinds of subjects.
  const soon = live.debounced(reload);
  const about = /^(replica|model_|plugin_|resource_|condition_|replicas_)/;
  const offs = [
    live.on("facts", ({ facts, left_out }) => {
      if (left_out || facts.some((fact) => about.test(fact.kind))) soon();
    }),
    live.on("hello", ({ again }) => again && soon()),
    soon.cancel,
    () => clearInterval(timer),
  ];
  return () => {
    closed = true;
    offs.forEach((off) => off());
  };
}

function skeleton({ api, live, pick }) {
  const problem = h("p", { class: "problem", role: "alert" });
  const problems = h("section", { class: "card", "aria-live": "polite", "aria-label": "What is wrong" });
  const pools = h("div", { class: "serving-pools" });
  const replicas = h("section", { class: "card" });
  const models = h("section", { class: "card" });
  const caches = h("section", { class: "card" });
  const plugins = h("section", { class: "serving-plugins" });
  const element = h(
    "div",
    { class: "serving" },
    h("div", { class: "head" }, h("h1", {}, "Serving")),
    problem,
    problems,
    pools,
    replicas,
    h("div", { class: "cards" }, models, caches),
    h("h2", {}, "Plugins"),
    plugins,
  );
  const cards = new Map();
  const opened = new Map(); // traces that are shown, by plugin

  function update(view, pool, reload) {
    freshen(view, reload);
    waiting(replicas, view, pool, pick, api, live.now());
    weights(models, view);
    disks(caches, view);
  }

  function freshen(told, reload) {
    problem.textContent = "";
    wrong(problems, told);
    const names = told.agent_pools.map((each) => each.name);
    for (const each of told.agent_pools) {
      if (!cards.has(each.name)) cards.set(each.name, poolCard(each.name, pick));
      cards.get(each.name).update(each, live.now());
    }
    for (const name of [...cards.keys()]) if (!names.includes(name)) cards.delete(name);
    const shown = names.map((name) => cards.get(name).element);
    const none = h("section", { class: "card" }, h("p", { class: "empty" }, "No pool of agents is wanted: ", h("code", {}, "navarch apply"), " makes one."));
    const wanted = shown.length ? shown : [none];
    const same = pools.children.length === wanted.length && shown.every((each, index) => pools.children[index] === each);
    if (!same || !shown.length) replace(pools, wanted);
    registered(plugins, told.kinds, { api, live, reload, opened });
  }

  return {
    element,
    update,
    freshen,
    complain(error) {
      problem.textContent = `What follows may be old: ${error.message}`;
    },
  };
}

// --- what is wrong ---------------------------------------------------------------------------

function wrong(card, view) {
  const told = JSON.stringify(view.problems);
  if (card.dataset.told === told) return;
  card.dataset.told = told;
  const bad = view.problems.some((each) => each.tone === "bad");
  card.className = `card${bad ? " bad" : view.problems.length ? " warn" : ""}`;
  if (!view.problems.length) {
    const any = view.agent_pools.length > 0;
    replace(card, h("p", { class: "serving-fine" }, any ? "Every pool of agents has what it wants, and every plugin answers." : "Nothing is served, and every plugin answers."));
    return;
  }
  replace(
    card,
    h(
      "ul",
      { class: "lines" },
      view.problems.map((each) =>
        h("li", {}, h("span", { class: `badge ${each.tone}` }, each.tone === "bad" ? "! wrong" : "▲ look"), " ", h("strong", {}, each.subject), ": ", each.text),
      ),
    ),
    view.problems_left_out ? h("p", { class: "soft" }, `and ${plural(view.problems_left_out, "other")}`) : null,
  );
}

// --- pools of agents -------------------------------------------------------------------------

const STATES = [
  ["ready", "good"],
  ["starting", "act"],
  ["loading", "act"],
  ["pending", "bad"],
  ["stopping", "note"],
];

function poolCard(name, pick) {
  const head = h("div", { class: "head" });
  const bar = h("div", { class: "replica-bar" });
  const counts = h("p", { class: "small" });
  const decision = h("p", {});
  const signals = h("div", { class: "signals" });
  const lacking = h("p", { class: "soft small" });
  const conditions = h("div", { class: "small" });
  const element = h("section", { class: "card agent-pool" }, head, bar, counts, decision, signals, lacking, conditions);
  let told = "";
  const lines = new Map();

  function update(each, now) {
    const said = JSON.stringify({ ...each, signals: null });
    if (said !== told) {
      told = said;
      tell(each);
    }
    tellDecision(each, now);
    tellSignals(each, now);
  }

  function tell(each) {
    element.className = `card agent-pool${each.problem ? (each.ready < each.wanted ? " bad" : " warn") : ""}`;
    const waits = Object.entries(each.waits_for);
    replace(
      head,
      h("h2", {}, each.name),
      h("span", { class: "serving-count" }, h("strong", {}, `${each.ready} of ${each.wanted} ready`)),
      each.pending ? h("span", { class: "badge bad" }, `! ${each.pending} pending`) : null,
      h("div", { class: "right small soft" }, `${each.min_replicas} to ${each.max_replicas} replicas · ${each.agent_class || "no class"} · ${each.model || "no weights"}`),
    );
    const total = Math.max(each.replicas, each.wanted, 1);
    const parts = STATES.filter(([state]) => each.states[state]).map(([state, tone]) =>
      h("span", { class: `part tone-${tone}`, style: { flexGrow: each.states[state] } }, `${each.states[state]} ${state}`),
    );
    const missing = total - Object.values(each.states).reduce((one, other) => one + other, 0);
    if (missing > 0) parts.push(h("span", { class: "part tone-none", style: { flexGrow: missing } }, `${missing} missing`));
    replace(bar, parts);
    replace(
      counts,
      each.problem ? h("span", { class: "problem" }, each.problem) : null,
      waits.length ? h("span", {}, ` ${waits.map(([node, count]) => `${count} ${count === 1 ? "waits" : "wait"} for pool ${node} to grow`).join(", ")}.`) : null,
    );
    replace(
      conditions,
      h(
        "details",
        {},
        h("summary", {}, "Conditions, and its replicas"),
        h("dl", { class: "facts" }, each.conditions.map((one) => [h("dt", {}, `${one.type} ${one.status}`), h("dd", {}, one.message || one.reason)])),
        h("p", {}, h("button", { type: "button", onclick: () => pick(name) }, "Show its replicas alone"), " ", h("a", { href: route("events", "", { subject: name }) }, "its facts")),
      ),
    );
  }

  function tellDecision(each, now) {
    const at = each.decided_at ? ` ${span((now - moment(each.decided_at)) / 1000)} ago` : "";
    const needed = each.needed && each.needed !== each.wanted ? `; the load alone needs ${each.needed}` : "";
    decision.textContent = `Last decision${at}: ${each.because}${needed}`;
    decision.title = whole(each.decided_at);
  }

  function tellSignals(each, now) {
    const shown = each.signals.filter((one) => one.target !== null || one.quality !== "absent");
    const absent = each.signals.filter((one) => !shown.includes(one));
    for (const signal of shown) {
      if (!lines.has(signal.name)) lines.set(signal.name, signalLine(signal));
    }
    for (const key of [...lines.keys()]) if (!shown.some((one) => one.name === key)) lines.delete(key);
    lacking.textContent = absent.length ? `Also looked at, and nobody has: ${absent.map((one) => one.name).join(", ")}.` : "";
    const wanted = shown.map((signal) => lines.get(signal.name).element);
    if (wanted.length !== signals.children.length || wanted.some((one, index) => signals.children[index] !== one)) {
      replace(signals, wanted.length ? wanted : h("p", { class: "soft small" }, "No signal scales it: it has as many replicas as its minimum says."));
    }
    shown.forEach((signal) => lines.get(signal.name).update(signal, now));
  }

  return { element, update };
}

// The server keeps as many samples as its autoscalers look at, often one; the page keeps what it has
// seen since it was opened.
const SEEN_MAX = 150;

function signalLine(first) {
  const seen = new Map();
  const write = (value) => `${number(value, Math.abs(value) < 10 && value % 1 ? 2 : 0)}`;
  const line = sparkline({ label: `Signal ${first.name}`, write, absent: "no value" });
  const words = h("span", { class: "small" });
  const quality = h("span", { class: "badge" });
  const element = h("div", { class: "signal" }, h("div", {}, h("strong", {}, first.name), " ", quality, h("div", { class: "small soft" }, first.about)), line.element, words);
  function update(signal, now) {
    const age = signal.observed_at && signal.value !== null ? (now - moment(signal.observed_at)) / 1000 : null;
    const target = signal.target === null ? "no target" : `target ${write(signal.target)} ${signal.unit} a replica`;
    const from = signal.source ? ` from ${signal.source}` : "";
    words.textContent = `${target}; ${age === null ? "no value" : `${span(age)} old`}${from}${signal.detail ? `; ${signal.detail}` : ""}`;
    quality.className = `badge ${signal.quality === "ok" ? "good" : "warn"}`;
    quality.textContent = signal.quality === "ok" ? "fresh" : `▲ ${signal.quality}`;
    signal.times.forEach((at, index) => seen.set(Date.parse(at), signal.values[index]));
    for (const at of [...seen.keys()].slice(0, -SEEN_MAX)) seen.delete(at);
    const times = [...seen.keys()].sort((one, other) => one - other);
    const to = now.getTime();
    const since = Math.min(times[0] ?? to, to - 60_000);
    line.update({ times, values: times.map((at) => seen.get(at)), from: since, to, gap: 30_000 });
  }
  return { element, update };
}

// --- replicas --------------------------------------------------------------------------------

const OPEN = new Set();

function waiting(card, view, pool, pick, api, now) {
  const rows = view.replicas.map((each) => replicaRow(each, api, now));
  const choices = view.agent_pools.map((each) => h("option", { value: each.name, selected: each.name === pool }, each.name));
  const select = h(
    "select",
    { "aria-label": "Pool of agents", onchange: (event) => pick(event.target.value) },
    h("option", { value: "" }, "all pools"),
    choices,
  );
  const focused = card.contains(document.activeElement) && document.activeElement.tagName === "SELECT";
  replace(
    card,
    h("div", { class: "head" }, h("h2", {}, "Replicas"), h("div", { class: "right" }, select)),
    rows.length
      ? scrolls(
          "Replicas",
          h("table", {}, headOf(["Replica", "State", "Why", "Where", "For"]), h("tbody", {}, rows)),
        )
      : h("p", { class: "empty" }, "There is none."),
    view.replicas_left_out ? h("p", { class: "soft" }, `${plural(view.replicas_left_out, "more is", "more are")} not shown; those that wait come first.`) : null,
  );
  if (focused) card.querySelector("select").focus();
}

function headOf(words) {
  return h("thead", {}, h("tr", {}, words.map((each) => h("th", { scope: "col" }, each))));
}

function scrolls(label, table) {
  return h("div", { class: "scrolls tall", tabindex: "0", role: "group", "aria-label": label }, table);
}

function replicaRow(each, api, now) {
  const tone = { pending: "bad", ready: "good" }[each.state] ?? "";
  const blockers = Object.entries(each.counts);
  const wait = each.retry_at && moment(each.retry_at) > now ? `placed again in ${span((moment(each.retry_at) - now) / 1000)}` : "";
  return h(
    "tr",
    {},
    h("td", {}, h("code", {}, each.id), h("div", { class: "small soft" }, each.agent_pool, each.gang ? ` · gang ${each.gang}` : "")),
    h("td", {}, h("span", { class: `badge ${tone}` }, each.state), each.restarts ? h("div", { class: "small" }, plural(each.restarts, "restart")) : null),
    h(
      "td",
      {},
      each.blocked || each.because,
      blockers.length > 1 ? h("div", { class: "small soft" }, blockers.map(([why, count]) => `${count} ${why}`).join(", ")) : null,
      each.cure ? h("div", { class: "cure" }, `→ it would fit with ${each.cure}`) : null,
      each.waits_for ? h("div", { class: "small" }, "waits for pool ", link("pools", each.waits_for), " to grow") : null,
      wait ? h("div", { class: "small" }, wait) : null,
      each.loading ? loading(each.loading) : null,
      explanation(each.id, api),
    ),
    h("td", {}, each.node ? link("nodes", each.node, each.place) : "nowhere"),
    h("td", {}, h("time", { datetime: each.since, title: whole(each.since) }, span((now - moment(each.since)) / 1000))),
  );
}

function loading(each) {
  const done = each.bytes_total ? each.bytes_done / each.bytes_total : null;
  const left = each.bytes_per_second && each.bytes_total ? (each.bytes_total - each.bytes_done) / each.bytes_per_second : null;
  return h(
    "div",
    { class: "small" },
    h("progress", { max: "1", value: done ?? 0, "aria-label": `weights on ${each.node}` }),
    ` weights ${percent(done)}${each.bytes_per_second ? `, ${bytes(each.bytes_per_second)}/s` : ""}${left === null ? "" : `, ${span(left)} left`}`,
    each.problem ? h("span", { class: "problem" }, ` ${each.problem}`) : null,
  );
}

// The whole explanation of a replica, down to the clouds, on demand.
function explanation(id, api) {
  const lines = h("ul", { class: "lines small" });
  const node = h("details", { class: "small", open: OPEN.has(id), ontoggle: opened }, h("summary", {}, "Explain"), lines);
  async function opened() {
    if (!node.open) return OPEN.delete(id);
    OPEN.add(id);
    try {
      const told = await api.call("Explain", { kind: "SUBJECT_KIND_REPLICA", id });
      const facts = (told.facts ?? []).slice(-5);
      replace(lines, (told.lines ?? []).map((line) => h("li", {}, line)));
      append(lines, facts.map((fact) => h("li", {}, h("a", { href: route("events", fact.seq) }, `#${fact.seq}`), " ", fact.text)));
    } catch (error) {
      replace(lines, h("li", { class: "problem" }, error.message));
    }
    return undefined;
  }
  return node;
}

// --- weights ---------------------------------------------------------------------------------

function weights(card, view) {
  const rows = view.models.map((each) =>
    h(
      "tr",
      {},
      h("td", {}, h("strong", {}, each.name), h("div", { class: "small soft" }, each.uri || "wanted no more", each.format ? ` · ${each.format}` : "")),
      h("td", { class: "number" }, each.bytes ? bytes(each.bytes) : "not told"),
      h("td", {}, `${plural(each.cached, "node")}${each.preload_nodes ? ` of ${each.preload_nodes} wanted beforehand` : ""}`, each.loading.map((one) => [h("div", { class: "small" }, link("nodes", one.node)), loading(one)])),
    ),
  );
  replace(
    card,
    h("h2", {}, "Models"),
    rows.length ? h("div", { class: "scrolls" }, h("table", {}, headOf(["Model", "Size", "Complete on"]), h("tbody", {}, rows))) : h("p", { class: "empty" }, "No model is wanted."),
    view.models_left_out ? h("p", { class: "soft" }, `${view.models_left_out} more are not shown.`) : null,
  );
}

function disks(card, view) {
  const rows = view.caches.map((each) =>
    h(
      "tr",
      {},
      h("td", {}, link("nodes", each.node)),
      h("td", { class: "number" }, number(each.replicas)),
      h("td", {}, Object.entries(each.models).map(([name, size]) => h("div", {}, name, h("span", { class: "small soft" }, size ? ` ${bytes(size)}` : " size not told"))), each.loading.map((name) => h("div", {}, name, " ", h("span", { class: "badge" }, "on its way")))),
      h("td", { class: "number" }, each.bytes ? bytes(each.bytes) : "–"),
    ),
  );
  replace(
    card,
    h("h2", {}, "Model cache by node"),
    rows.length
      ? scrolls("Model cache by node", h("table", {}, headOf(["Node", "Replicas", "Weights", "In all"]), h("tbody", {}, rows)))
      : h("p", { class: "empty" }, "No node has weights, or loads any."),
    view.caches_left_out ? h("p", { class: "soft" }, `${plural(view.caches_left_out, "more node")} not shown.`) : null,
  );
}

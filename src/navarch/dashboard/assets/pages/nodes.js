// One machine: how it stands and why, what its sensors read, what happened to it, what runs there.
import { nodeActions } from "../actions.js";
import { h, link, replace, route } from "../dom.js";
import { plural, time } from "../format.js";
import { gpuCard } from "../nodegpus.js";
import { described, fact, listed, offered, ordered, runs } from "../nodetables.js";
import { age, since } from "../since.js";
import { mark, STATE, WRONG } from "../states.js";
import { timeline } from "../timeline.js";

const EVERY = 2_000; // samples are no facts: they are fetched
const WHOLE_EVERY = 30_000; // what stands in a repair's way may change by facts about its pool
const SPANS = [
  ["1", "1 h"],
  ["24", "24 h"],
  ["168", "7 d"],
  ["0", "all"],
];

export async function show(root, { parameters, live, api }) {
  const { id } = parameters;
  if (!id) return search(root, parameters.query.get("like") ?? "", api);
  const path = `nodes/${encodeURIComponent(id)}`;
  const parts = skeleton(id, live, api);
  let hours = "24";
  let view = null;
  let closed = false;

  async function load() {
    try {
      view = await api.get(path, { hours });
    } catch (error) {
      if (error.code === "not_found" && view === null) return unknown(root, id, error, api);
      throw error;
    }
    if (closed) return undefined;
    if (!parts.root.isConnected) replace(root, parts.root);
    parts.update(view, reload);
    return undefined;
  }
  function reload() {
    load().catch((error) => !closed && parts.complain(error));
  }
  async function freshen() {
    if (closed || document.hidden || view === null || view.known === "journal") return;
    try {
      const told = await api.get(path, { part: "readings" });
      if (!closed) parts.freshen(told);
    } catch (error) {
      if (closed) return;
      if (error.code === "not_found") reload(); // it was let go: the journal tells it
      else parts.complain(error);
    }
  }
  parts.onHours((wanted) => {
    hours = wanted;
    reload();
  });
  await load();
  if (view === null) return undefined; // nobody knows it: what is shown is a search
  let asking = false;
  const timer = setInterval(async () => {
    if (asking) return;
    asking = true;
    await freshen();
    asking = false;
  }, EVERY);
  const slow = setInterval(() => !document.hidden && view.known !== "journal" && reload(), WHOLE_EVERY);
  const offs = [live.watch([id], reload), () => clearInterval(timer), () => clearInterval(slow)];
  return () => {
    closed = true;
    offs.forEach((off) => off());
  };
}

// --- a machine that nobody knows -------------------------------------------------------------

async function unknown(root, id, error, api) {
  replace(
    root,
    h("h1", {}, "No such machine"),
    h("p", { class: "problem", role: "alert" }, error.message),
  );
  await found(root, id, api);
}

async function search(root, like, api) {
  replace(root, h("h1", {}, "Machines"));
  await found(root, like, api);
}

async function found(root, like, api) {
  const list = h("ul", { class: "node-ids" });
  const words = h("p", { class: "soft", role: "status" });
  const input = h("input", { type: "search", value: like, name: "like", "aria-label": "Part of an id" });
  async function look() {
    const { ids, count } = await api.get("nodes", { like: input.value });
    words.textContent = `${plural(count, "machine")}; those whose id is most like what you write:`;
    replace(list, ids.map((each) => h("li", {}, link("nodes", each))));
  }
  input.addEventListener("input", look);
  root.append(h("section", { class: "card" }, h("label", {}, "Id", input), words, list));
  await look();
}

// --- the page --------------------------------------------------------------------------------

function skeleton(id, live, api) {
  const badge = h("span", { class: "node-state" });
  const actions = h("div", { class: "right actions" });
  const answer = h("section", { class: "card node-answer", "aria-label": "State" });
  const spoken = h("p", { class: "hidden", "aria-live": "polite" }); // what has changed, without ages
  const axes = h("dl", { class: "tiles" });
  const problem = h("p", { class: "problem", role: "alert" });
  const why = h("section", { class: "card" });
  const otherwise = h("section", { class: "card" });
  const gpus = gpuCard();
  const history = historyCard();
  const facts = h("section", { class: "card" });
  const machine = h("section", { class: "card" });
  const log = h("section", { class: "card" });
  const served = h("section", { class: "card" });
  const commands = h("section", { class: "card" });
  const all = h(
    "div",
    { class: "node" },
    h("div", { class: "head" }, h("h1", {}, id), badge, actions),
    problem,
    spoken,
    answer,
    axes,
    h("div", { class: "cards" }, why, otherwise),
    gpus.element,
    history.element,
    h("div", { class: "cards" }, machine, served),
    commands,
    facts,
    log,
  );
  let state = "";
  let possible = "";

  function update(view, reload) {
    problem.textContent = "";
    const known = view.known !== "journal";
    if (state !== view.state) {
      replace(badge, stateOf(view.state));
      state = view.state;
    }
    const next = known ? actionable(view) : "";
    if (next !== possible) {
      replace(actions, next ? nodeActions(id, next, reload) : []);
      possible = next;
    }
    answered(answer, view, live.now());
    const words = `${id} is ${view.state}: ${view.because}`;
    if (spoken.textContent !== words) spoken.textContent = words;
    replace(axes, view.axes.map((axis) => axisTile(axis, live.now())));
    explained(why, view);
    different(otherwise, view);
    gpus.update(view);
    history.update(view);
    listed(facts, view, id, live.now());
    described(machine, view, live.now());
    runs(served, view.served, live.now());
    ordered(commands, view.commands, live.now());
    offered(log, view, api, live);
  }

  return {
    root: all,
    update,
    freshen(told) {
      problem.textContent = "";
      gpus.freshen(told.readings);
      runs(served, told.served, live.now());
      relined(why, told.lines);
      age(all, live.now());
    },
    complain(error) {
      problem.textContent = `What follows may be old: ${error.message}`;
    },
    onHours: history.onHours,
  };
}

function ended(state) {
  return state === "terminated" || state === "failed";
}

// What can be done goes by what operators want of it, whatever else stands against it.
function actionable(view) {
  if (ended(view.state) || view.state === "terminating" || view.state === "booting") return "";
  const intent = view.axes.find((axis) => axis.name === "intent")?.value ?? "in_service";
  return { in_service: "active", draining: "draining" }[intent] ?? "cordoned";
}

function stateOf(name) {
  if (STATE[name]) return h("span", { class: "state" }, mark(name), name);
  return h("span", { class: "state" }, mark("terminating"), name);
}

function answered(card, view, now) {
  const bad = WRONG.includes(view.state) || view.state === "failed";
  card.className = `card node-answer${bad ? " bad" : ""}`;
  replace(
    card,
    h("p", { class: "node-why" }, h("strong", {}, view.state, view.since ? [" for ", since(view.since, now)] : ""), view.because ? `: ${view.because}` : ""),
    view.person && h("p", { class: "problem" }, `A person has to look: ${view.person}`),
    view.known === "journal" &&
      h("p", { class: "soft" }, "The fleet has let go of this machine. What follows is told by its facts alone."),
    view.known === "instance" &&
      !ended(view.state) &&
      h("p", { class: "soft" }, "Its agent has not registered yet, so nothing is read of it."),
  );
}

function axisTile(axis, now) {
  return h(
    "div",
    { class: `tile axis tone-${axis.tone}` },
    h("dt", {}, axis.name),
    h("dd", {}, axis.value.replaceAll("_", " "), " ", h("small", {}, axis.since ? since(axis.since, now) : "")),
    axis.because && h("dd", { class: "axis-why" }, axis.because, " ", fact(axis.seq)),
  );
}

// --- why, and what would have to be different ------------------------------------------------

function explained(card, view) {
  replace(
    card,
    h("h2", {}, "Why"),
    view.lines.length
      ? h("ul", { class: "lines" }, view.lines.map((line) => h("li", {}, line)))
      : h("p", { class: "empty" }, "Nothing is known."),
    view.findings.length > 0 && h("h3", {}, "What was found"),
    view.findings.length > 0 && h("div", { class: "findings" }, view.findings.map(finding)),
  );
}

// Puts the newest words where they differ; whoever reads or marks them is not disturbed.
function relined(card, lines) {
  const items = card.querySelectorAll(".lines li");
  if (items.length !== lines.length) return;
  lines.forEach((line, at) => {
    if (items[at].textContent !== line) items[at].textContent = line;
  });
}

function finding(each) {
  const tone = { unhealthy: "bad", degraded: "warn" }[each.status] ?? "";
  return h(
    "article",
    { class: "finding" },
    h(
      "p",
      {},
      h("span", { class: `badge ${tone}` }, each.status),
      " rule ",
      h("code", {}, each.rule),
      each.event ? [": ", each.event] : null,
      each.count > 1 ? ` ×${each.count}` : "",
      " ",
      fact(each.seq),
    ),
    each.message && h("p", { class: "mono small" }, each.message),
    h(
      "p",
      { class: "small soft" },
      `${each.means}${each.because ? `: ${each.because}` : ""}. `,
      each.lasting ? "Clean reports do not end it. " : "Clean reports end it. ",
      `First ${time(each.since)}, last ${time(each.seen)}.`,
    ),
  );
}

function different(card, view) {
  const rows = view.otherwise.map((each) =>
    h(
      "li",
      {},
      h("span", { class: "what" }, each.what, " ", fact(each.seq)),
      h("span", { class: "then" }, "→ ", each.then),
    ),
  );
  const nothing = ended(view.state)
    ? "What has ended does not come back."
    : "Nothing: it stands as it should.";
  replace(
    card,
    h("h2", {}, "What would have to be different"),
    rows.length ? h("ul", { class: "otherwise" }, rows) : h("p", { class: "empty" }, nothing),
  );
}

// --- what happened ---------------------------------------------------------------------------

function historyCard() {
  const drawing = timeline({ label: "What it was over time", link: (seq) => route("events", seq) });
  let chosen = "24";
  let choose = () => {};
  const buttons = SPANS.map(([hours, words]) =>
    h("button", { type: "button", onclick: () => pick(hours), dataset: { hours } }, words),
  );
  const missing = h("p", { class: "soft small" });
  const element = h(
    "section",
    { class: "card" },
    h("div", { class: "head" }, h("h2", {}, "What happened"), h("div", { class: "right actions", role: "group", "aria-label": "Time shown" }, buttons)),
    drawing.element,
    missing,
  );
  function pressed() {
    for (const each of buttons) each.setAttribute("aria-pressed", String(each.dataset.hours === chosen));
  }
  function pick(hours) {
    chosen = hours;
    pressed();
    choose(hours);
  }
  pressed();
  return {
    element,
    onHours(fn) {
      choose = fn;
    },
    update(view) {
      const { lanes, marks, whole: all } = view.history;
      const from = Date.parse(view.history.since);
      const to = Math.max(Date.parse(view.history.until), from + 1_000);
      missing.textContent = all ? "" : "Its first facts were not read: it has more than are shown here.";
      drawing.update({
        from,
        to,
        lanes: lanes.map((lane) => ({ name: lane.name, segments: lane.segments.map((each) => segment(each, to)) })),
        marks: marks.map((each) => ({ at: Date.parse(each.at), tone: each.tone, text: each.text, seq: each.seq })),
      });
    },
  };
}

function segment(each, to) {
  const rule = each.rule ? ` (rule ${each.rule}${each.event ? `, ${each.event}` : ""}${each.event_seq ? `, fact #${each.event_seq}` : ""})` : "";
  return {
    from: Date.parse(each.since),
    to: each.until ? Date.parse(each.until) : to,
    state: each.state,
    tone: each.tone,
    text: `${each.because ?? ""}${rule}`,
    seq: each.seq,
  };
}

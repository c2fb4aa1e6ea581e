// The journal: what happened, the newest first, searched by what it is about and by its words.
import { append, h, replace, route } from "../dom.js";
import { kind, others, sentence } from "../facts.js";
import { number, plural, time, whole } from "../format.js";

const ROWS_MAX = 1_000; // in the page at one time
const SINCE = [
  ["", "all that is kept"],
  ["900", "15 minutes"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
  ["604800", "7 days"],
];

export async function show(root, { parameters, live, api }) {
  const page = new EventsPage(parameters.query, live, api);
  replace(root, page.build());
  await page.load();
  return () => page.close();
}

class EventsPage {
  constructor(query, live, api) {
    this.live = live;
    this.api = api;
    this.asked = { text: query.get("text") ?? "", kind: query.get("kind") ?? "", subject: query.get("subject") ?? "", span: query.get("span") ?? "" };
    this.before = null;
    this.newest = 0;
    this.waiting = [];
    this.missed = 0;
    this.asking = null;
    this.changed = live.debounced(() => this.search());
    this.offs = [
      live.on("facts", (told) => this.take(told)),
      live.on("hello", ({ again }) => again && this.search()),
    ];
  }

  close() {
    this.offs.forEach((off) => off());
    this.changed.cancel();
    this.asking?.abort();
  }

  build() {
    const field = (name, attributes) =>
      h("input", { ...attributes, value: this.asked[name], oninput: (event) => { this.asked[name] = event.target.value; this.changed(); } });
    this.kinds = h("select", { onchange: () => { this.asked.kind = this.kinds.value; this.search(); } });
    const since = h("select", { onchange: () => { this.asked.span = since.value; this.search(); } },
      SINCE.map(([value, words]) => h("option", { value, selected: value === this.asked.span }, words)));
    this.follow = h("input", { type: "checkbox", checked: true, onchange: () => this.showWaiting() });
    this.body = h("tbody", {});
    this.summary = h("p", { class: "soft small", role: "status" });
    this.arrived = h("button", { type: "button", class: "primary arrived", hidden: true, onclick: () => this.showWaiting(true) });
    this.older = h("button", { type: "button", onclick: () => this.more() }, "Older");
    return [
      h("div", { class: "head" }, h("h1", {}, "Events"), this.summary),
      h("form", { class: "card asks", role: "search", onsubmit: (event) => event.preventDefault() },
        h("label", {}, "Words", field("text", { type: "search", placeholder: "in sentence or reason", maxlength: 200 })),
        h("label", {}, "About", field("subject", { type: "search", placeholder: "node, pool, command", class: "mono" })),
        h("label", {}, "Kind", this.kinds),
        h("label", {}, "Within", since),
        h("label", { class: "follow" }, this.follow, "follow")),
      this.arrived,
      h("section", { class: "card", "aria-label": "Facts of the journal, the newest first" },
        h("div", { class: "scrolls" },
          h("table", { class: "facts" },
            h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "number" }, "No."), h("th", { scope: "col" }, "Time"), h("th", { scope: "col" }, "Kind"), h("th", { scope: "col" }, "What, and why"), h("th", { scope: "col" }, h("span", { class: "hidden" }, "The whole fact")))),
            this.body)),
        this.older),
    ];
  }

  // --- asking ----------------------------------------------------------------------------------

  query() {
    const { text, kind: wanted, subject, span } = this.asked;
    const query = {};
    if (text.trim()) query.text = text.trim();
    if (wanted) query.kind = wanted;
    if (subject.trim()) query.subject = subject.trim();
    if (span) query.since = new Date(this.live.now() - Number(span) * 1000).toISOString();
    return query;
  }

  async load() {
    this.before = null;
    this.waiting = [];
    this.missed = 0;
    const view = await this.ask();
    replace(this.body);
    this.newest = view.last_seq;
    this.fillKinds(view.kinds);
    this.add(view);
    this.showWaiting();
  }

  async search() {
    history.replaceState(null, "", route("events", "", Object.fromEntries(Object.entries(this.asked).filter(([, value]) => value))));
    try {
      await this.load();
    } catch (error) {
      if (error.name !== "AbortError") this.summary.textContent = error.message;
    }
  }

  ask() {
    this.asking?.abort();
    this.asking = new AbortController();
    const query = this.query();
    if (this.before !== null) query.before = this.before;
    return this.api.get("events", query, { signal: this.asking.signal });
  }

  async more() {
    this.older.disabled = true;
    try {
      this.add(await this.ask());
    } catch (error) {
      if (error.name !== "AbortError") this.summary.textContent = error.message;
    }
    this.older.disabled = false;
  }

  fillKinds(kinds) {
    if (this.kinds.options.length) return;
    replace(this.kinds, h("option", { value: "" }, "all"), kinds.map((name) => h("option", { value: name, selected: name === this.asked.kind }, name)));
  }

  // --- showing ---------------------------------------------------------------------------------

  add(view) {
    append(this.body, view.events.map((fact) => this.row(fact)));
    this.before = view.before;
    const full = this.body.children.length >= ROWS_MAX;
    this.older.hidden = view.before === null || full;
    this.older.textContent = view.events.length ? "Older" : `Nothing in ${plural(view.looked_at, "fact")}; look further back`;
    this.tell(full ? "narrow the search to see older ones" : view.before === null ? "that is all" : "");
  }

  tell(words) {
    const shown = this.body.querySelectorAll("tr.fact").length;
    const count = shown ? plural(shown, "fact") : "No fact is like that";
    this.summary.textContent = [count, words].filter(Boolean).join(", ");
  }

  take({ facts, left_out }) {
    if (left_out) {
      this.changed(); // more happened than is sent: ask for it
      return;
    }
    const wanted = facts.filter((fact) => fact.seq > this.newest && this.wants(fact));
    this.newest = Math.max(this.newest, facts.at(-1)?.seq ?? 0);
    this.waiting.push(...wanted);
    if (this.waiting.length > ROWS_MAX) {
      this.missed += this.waiting.length - ROWS_MAX;
      this.waiting = this.waiting.slice(-ROWS_MAX);
    }
    this.showWaiting();
  }

  wants(fact) {
    const { text, kind: wanted, subject } = this.asked;
    const said = `${fact.seq} ${fact.kind} ${fact.text} ${fact.because} ${fact.subjects.join(" ")}`.toLowerCase();
    return (
      (!wanted || fact.kind === wanted) &&
      (!subject.trim() || fact.subjects.includes(subject.trim())) &&
      text.toLowerCase().split(/\s+/).filter(Boolean).every((word) => said.includes(word))
    );
  }

  // New facts go to the top at once while the top is looked at; else they wait to be asked for.
  showWaiting(asked = false) {
    const atTop = asked || (this.follow.checked && scrollY < 200);
    if (atTop && this.missed) {
      this.search();
      return;
    }
    if (atTop && this.waiting.length) {
      this.body.prepend(...this.waiting.reverse().map((fact) => this.row(fact)));
      this.waiting = [];
      while (this.body.children.length > ROWS_MAX) this.body.lastElementChild.remove();
      this.tell("");
    }
    const count = this.waiting.length + this.missed;
    this.arrived.hidden = count === 0;
    this.arrived.textContent = `${number(count)} new`;
    if (asked) scrollTo(0, 0);
  }

  row(fact) {
    const details = h("button", { type: "button", class: "plain", "aria-expanded": "false", "aria-label": `The whole fact ${fact.seq}`, title: "The whole fact",
      onclick: () => this.open(row, details, fact) }, "{…}");
    const because = fact.because && !fact.text.includes(fact.because) ? h("div", { class: "soft" }, fact.because) : null;
    const besides = others(fact);
    const row = h("tr", { class: "fact" },
      h("td", { class: "number soft" }, String(fact.seq)),
      h("td", { class: "when", title: whole(fact.at) }, time(fact.at, this.live.now())),
      h("td", {}, kind(fact.kind)),
      h("td", { class: "what" }, sentence(fact), because, besides.length ? h("div", { class: "small" }, besides) : null),
      h("td", { class: "details" }, details));
    return row;
  }

  async open(row, details, fact) {
    const opened = row.nextElementSibling?.classList.contains("whole");
    if (opened) {
      row.nextElementSibling.remove();
      details.setAttribute("aria-expanded", "false");
      return;
    }
    const pre = h("pre", { class: "mono", tabindex: 0 }, "…");
    row.after(h("tr", { class: "whole" }, h("td", { colspan: 5 }, pre)));
    details.setAttribute("aria-expanded", "true");
    try {
      const { payload } = await this.api.get(`events/${fact.seq}`);
      pre.textContent = JSON.stringify(payload, null, 2);
    } catch (error) {
      pre.textContent = error.message;
    }
  }
}

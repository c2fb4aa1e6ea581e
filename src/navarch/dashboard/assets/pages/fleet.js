// The fleet: what is wrong and why, then every machine as a cell, then the same in words.
import { h, link, replace, route } from "../dom.js";
import { FleetMap } from "../fleetmap.js";
import { Rows } from "../fleetrows.js";
import { age, number, plural, span } from "../format.js";
import { Machines, matches } from "../machines.js";
import { mark, state, STATE, STATES, WRONG } from "../states.js";

const GROUPS = ["pool", "provider", "zone", "rack"];
const TROUBLES_SHOWN = 6;
const ROWS_SHOWN = 100;
const ROWS_MORE = 500;
const WORDS_EVERY = 1_000; // milliseconds between two writings of tables and counts

export async function show(root, { parameters, live, api }) {
  const page = new FleetPage(parameters.query, live, api);
  replace(root, page.build());
  await page.load();
  return () => page.close();
}

class FleetPage {
  constructor(query, live, api) {
    this.live = live;
    this.api = api;
    this.machines = new Machines();
    this.pools = new Map();
    this.group = GROUPS.includes(query.get("group")) ? query.get("group") : "pool";
    this.only = STATE[query.get("state")] ? query.get("state") : "";
    this.find = query.get("find") ?? "";
    this.limit = ROWS_SHOWN;
    this.acting = "";
    this.told = null;
    this.map = new FleetMap({
      label: "Every machine of the fleet",
      open: (one) => {
        location.hash = route("nodes", one.id);
      },
      describe: (one) => this.described(one),
    });
    this.words = paced(() => this.write(), WORDS_EVERY);
    this.places = paced(() => this.arrange(), WORDS_EVERY);
    this.reload = live.debounced(() => this.load().catch(() => {})); // the next message tries again
    this.offs = [
      live.on("nodes", (told) => this.take(told)),
      live.on("pools", (told) => this.takePools(told)),
      live.on("hello", ({ again }) => again && this.reload()),
    ];
    this.ticking = setInterval(() => this.words(), 10_000); // ages go on while nothing happens
  }

  close() {
    this.offs.forEach((off) => off());
    clearInterval(this.ticking);
    this.words.cancel();
    this.places.cancel();
    this.reload.cancel();
    this.map.close();
  }

  build() {
    this.summary = h("p", { class: "summary", "aria-live": "polite" });
    this.filters = h("div", { class: "filters", role: "group", "aria-label": "Show only machines that are" });
    this.troubles = h("section", { class: "card", "aria-label": "What is wrong" });
    this.table = this.buildTable();
    const finding = h("input", {
      type: "search",
      value: this.find,
      placeholder: "id, pool, zone, reason",
      "aria-label": "Find machines",
      oninput: () => this.search(finding.value),
      onkeydown: (event) => event.key === "Enter" && this.openFound(),
    });
    const grouping = h(
      "select",
      {
        onchange: () => {
          this.group = grouping.value;
          this.remember();
          this.arrange();
        },
      },
      GROUPS.map((name) => h("option", { value: name, selected: name === this.group }, name)),
    );
    this.buttons = new Map(
      STATES.map(({ name, words }) => {
        const count = h("b", {}, "0");
        const node = h(
          "button",
          { type: "button", title: words, "aria-pressed": "false", onclick: () => this.choose(name) },
          mark(name),
          count,
          name,
        );
        return [name, { node, count }];
      }),
    );
    replace(this.filters, [...this.buttons.values()].map(({ node }) => node));
    return [
      h("div", { class: "head" }, h("h1", {}, "Fleet"), this.summary,
        h("div", { class: "right" }, h("label", {}, "Find", finding), h("label", {}, "Group by", grouping))),
      this.filters,
      this.troubles,
      h("section", { class: "card", "aria-label": "Map" }, this.map.root),
      this.table,
    ];
  }

  // What is told while the view is on its way is taken after it.
  async load() {
    if (this.told) return;
    this.told = [];
    try {
      this.machines.fill(await this.api.get("fleet"));
      for (const told of this.told) if (!told.all) this.machines.take(told);
    } finally {
      this.told = null;
    }
    this.arrange();
    this.write();
  }

  take(told) {
    if (told.all) {
      this.reload();
      return;
    }
    if (this.told) {
      this.told.push(told);
      return;
    }
    const { changed, moved } = this.machines.take(told);
    if (moved) this.places();
    else this.map.draw(changed);
    this.words();
  }

  takePools({ pools, gone }) {
    for (const pool of pools) this.pools.set(pool.name, pool);
    for (const name of gone) this.pools.delete(name);
    this.words();
  }

  // --- what is chosen --------------------------------------------------------------------------

  choose(name) {
    this.only = this.only === name ? "" : name;
    this.changed();
  }

  search(words) {
    this.find = words;
    this.changed();
  }

  changed() {
    this.limit = ROWS_SHOWN;
    this.remember();
    this.map.keep(this.keeps());
    this.write();
  }

  // The address of the page says what is chosen, so that it can be sent to somebody.
  remember() {
    const query = {};
    if (this.group !== "pool") query.group = this.group;
    if (this.only) query.state = this.only;
    if (this.find.trim()) query.find = this.find.trim();
    history.replaceState(null, "", route("fleet", "", query));
  }

  keeps() {
    const words = this.find.toLowerCase().split(/\s+/).filter(Boolean);
    if (!this.only && !words.length) return null;
    return (one) => (!this.only || one.state === this.only) && matches(one, words);
  }

  openFound() {
    const exact = this.machines.byId.get(this.find.trim());
    const found = exact ? [exact] : this.machines.sorted(this.keeps() ?? (() => false));
    if (found.length === 1) location.hash = route("nodes", found[0].id);
  }

  // --- what is shown ---------------------------------------------------------------------------

  arrange() {
    const groups = new Map();
    for (const one of this.machines.byId.values()) {
      const name = one[this.group] || `no ${this.group}`;
      const of = groups.get(name);
      if (of) of.push(one);
      else groups.set(name, [one]);
    }
    const sorted = [...groups.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    this.map.place(
      sorted.map((name) => {
        const machines = groups.get(name).sort((a, b) => (a.id < b.id ? -1 : 1));
        return { name, note: note(machines), machines };
      }),
    );
    this.map.keep(this.keeps());
  }

  write() {
    this.words.cancel();
    const { counts } = this.machines;
    for (const [name, { node, count }] of this.buttons) {
      const words = number(counts[name]);
      if (count.textContent !== words) count.textContent = words;
      node.setAttribute("aria-pressed", String(this.only === name));
      node.classList.toggle("none", counts[name] === 0);
    }
    const all = this.machines.byId.size;
    const wrong = WRONG.reduce((sum, name) => sum + counts[name], 0);
    const words = wrong
      ? `${number(wrong)} of ${plural(all, "machine")} ${wrong === 1 ? "is" : "are"} not well`
      : `${plural(all, "machine")}, nothing is wrong`;
    if (this.summary.textContent !== words) this.summary.textContent = words;
    this.writeTroubles(wrong);
    this.writeTable();
  }

  writeTroubles(wrong) {
    const now = this.live.now();
    const pools = [...this.pools.values()].filter((pool) => pool.repair_paused || pool.paused || pool.current_nodes < pool.min_nodes);
    const worst = wrong ? this.machines.sorted((one) => WRONG.includes(one.state)) : [];
    this.troubles.hidden = !worst.length && !pools.length;
    this.troubles.className = worst.length || pools.some((pool) => pool.repair_paused) ? "card bad troubles" : "card warn troubles";
    replace(
      this.troubles,
      h("h2", {}, "What is wrong"),
      h(
        "ul",
        {},
        pools.map((pool) => h("li", {}, h("span", { class: "badge warn" }, poolWord(pool)), " pool ", link("pools", pool.name), `: ${pool.because}`)),
        worst.slice(0, TROUBLES_SHOWN).map((one) =>
          h("li", {}, state(one.state), " ", link("nodes", one.id), one.person ? h("span", { class: "badge bad" }, "needs a person") : null,
            ` ${one.because}`, h("span", { class: "soft" }, ` · ${age(one.since / 1000, now)}`))),
      ),
      worst.length > TROUBLES_SHOWN ? h("p", { class: "soft small" }, `and ${number(worst.length - TROUBLES_SHOWN)} more, in the table below`) : null,
    );
  }

  writeTable() {
    const keeps = this.keeps();
    const found = this.machines.sorted(keeps ?? ((one) => one.state !== "active"));
    const shown = found.slice(0, this.limit);
    const left = found.length - shown.length;
    this.title.textContent = keeps ? `${plural(found.length, "machine")} found` : `${plural(found.length, "machine")} not active`;
    this.rows.show(shown, this.live.now(), this.acting);
    this.empty.textContent = keeps ? "No machine is like that." : "All machines are active.";
    this.empty.hidden = shown.length > 0;
    this.scrolls.hidden = shown.length === 0;
    this.left.hidden = left <= 0;
    this.left.firstChild.textContent = `${number(left)} more. `;
    this.left.lastChild.hidden = this.limit >= ROWS_MORE;
  }

  buildTable() {
    this.rows = new Rows((id) => this.act(id));
    this.title = h("h2", { id: "in-words" });
    this.empty = h("p", { class: "empty" });
    this.left = h("p", {}, "…", h("button", { type: "button", onclick: () => { this.limit = ROWS_MORE; this.writeTable(); } }, "Show more"));
    this.scrolls = h("div", { class: "scrolls", tabindex: 0, role: "region", "aria-labelledby": "in-words" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["State", "Machine", "Why", "Pool", "Place", "Type"].map((name) => h("th", { scope: "col" }, name)),
          ["For", "Age"].map((name) => h("th", { scope: "col", class: "number" }, name)),
          h("th", { scope: "col" }, h("span", { class: "hidden" }, "Actions")))),
        this.rows.body));
    return h("section", { class: "card", "aria-labelledby": "in-words" }, this.title, this.scrolls, this.empty, this.left);
  }

  // Shows what can be done to one machine, below its row; an empty id hides it.
  act(id) {
    this.acting = id;
    this.writeTable();
  }

  described(one) {
    const now = this.live.now();
    const facts = [
      ["pool", one.pool || "none"],
      ["place", [one.provider, one.region, one.zone, one.rack].filter(Boolean).join(" · ")],
      ["type", `${one.type || "?"}${one.gpus ? `, ${plural(one.gpus, "GPU")}` : ""}${one.spot ? ", spot" : ""}`],
      ["age", span((now - one.born) / 1000)],
    ];
    return [
      h("div", { class: "tip-head" }, state(one.state), h("span", { class: "soft" }, `for ${span((now - one.since) / 1000)}`)),
      h("div", { class: "mono" }, one.id),
      h("div", { class: "tip-why" }, one.because),
      h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
    ];
  }
}

function poolWord(pool) {
  if (pool.repair_paused) return "repair halted";
  return pool.paused ? "paused" : "too few";
}

function note(machines) {
  const counts = {};
  for (const one of machines) counts[one.state] = (counts[one.state] ?? 0) + 1;
  const wrong = WRONG.filter((name) => counts[name]).map((name) => `${counts[name]} ${name}`);
  return [number(machines.length), ...wrong].join(" · ");
}

// Calls `fn` at most once in `ms`: at once if it was quiet, else when the time is over.
function paced(fn, ms) {
  let due = 0;
  let waiting = 0;
  const run = () => {
    waiting = 0;
    due = performance.now() + ms;
    fn();
  };
  const ask = () => {
    if (waiting) return;
    waiting = setTimeout(run, Math.max(0, due - performance.now()));
  };
  ask.cancel = () => {
    clearTimeout(waiting);
    waiting = 0;
  };
  return ask;
}

// The pools: all of them, or one with its past, its offers, its budget and its nodes.
import { poolActions } from "../actions.js";
import { chart } from "../chart.js";
import { h, link, replace, route } from "../dom.js";
import { age, money, number, plural, time, whole } from "../format.js";
import { loading, section, tile, windows } from "../sections.js";
import { state } from "../states.js";

export async function show(root, { parameters, live, api }) {
  const { id, query } = parameters;
  return id ? showOne(root, id, query, live, api) : showAll(root, live, api);
}

// --- all pools ----------------------------------------------------------------------------------

async function showAll(root, live, api) {
  const problem = h("p", { class: "problem", role: "alert" });
  const said = section("p", { class: "lead" }, (text) => text);
  const list = section("div", { class: "card" }, (view) => table(view));
  replace(root, h("div", { class: "head" }, h("h1", {}, "Pools")), problem, said.node, list.node);
  const loader = loading(load, { live, failed: (error) => tell(problem, error) });
  let names = new Set();

  async function load() {
    const view = await api.get("pools");
    names = new Set(view.pools.map((each) => each.name));
    const troubled = view.pools.filter((each) => each.troubles.length);
    said.update(
      troubled.length
        ? `${plural(troubled.length, "pool")} of ${view.pools.length} ${troubled.length === 1 ? "has" : "have"} troubles: ${troubled.map((each) => each.name).join(", ")}.`
        : `Nothing is wrong with ${plural(view.pools.length, "pool")}.`,
    );
    list.update(view);
  }

  await loader.first();
  const offs = [
    live.on("pools", loader.soon),
    live.on("facts", ({ facts }) => facts.some((fact) => fact.subjects.some((each) => names.has(each))) && loader.soon()),
    live.on("hello", ({ again }) => again && loader.soon()),
  ];
  return () => {
    loader.close();
    offs.forEach((off) => off());
  };
}

function table(view) {
  if (!view.pools.length) {
    return h("p", { class: "empty" }, "The configuration has no pool.");
  }
  const heads = [
    ["Pool"], ["Serving of target"], ["Booting", true], ["Lost, sick", true], ["Waiting jobs", true],
    ["Busy", true], ["$ an hour", true], ["Why"],
  ];
  return [
    h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Pools" },
      h("table", { class: "pools" },
        h("thead", {}, h("tr", {}, heads.map(([words, right]) => h("th", { scope: "col", class: right ? "number" : null }, words)))),
        h("tbody", {}, view.pools.map((pool) => row(pool))))),
    view.left_out ? h("p", { class: "soft" }, `${plural(view.left_out, "pool")} more are not listed.`) : null,
  ];
}

function row(pool) {
  const bad = pool.lost + pool.sick;
  return h("tr", { class: pool.troubles.length ? "troubled" : null },
    h("th", { scope: "row" }, link("pools", pool.name), " ", badges(pool),
      h("div", { class: "soft small" }, [pool.providers.join(", "), pool.instance_type].filter(Boolean).join(" · "))),
    h("td", {}, meter(pool), h("span", { class: "small soft" }, `${pool.healthy} of ${pool.target}, at most ${pool.max_nodes}`)),
    h("td", { class: "number" }, pool.booting || "–"),
    h("td", { class: "number" }, bad ? h("strong", { class: "problem" }, bad) : "–"),
    h("td", { class: "number" }, pool.pending ?? "–"),
    h("td", { class: "number" }, pool.utilization === null ? "–" : `${number(pool.utilization)} %`),
    h("td", { class: "number" }, price(pool)),
    h("td", { class: "why" }, pool.troubles.length ? pool.troubles.map((each) => h("div", {}, each)) : pool.because));
}

function price({ dollars_per_hour: dollars, unpriced }) {
  const unknown = unpriced ? h("div", { class: "small soft" }, `${unpriced} without a known price`) : null;
  return [dollars === null ? h("span", { class: "soft" }, "unknown") : money(dollars), dollars === null ? null : unknown];
}

// Serving, on their way, and missing, of the most that there may be; the line is the target.
function meter(pool) {
  const most = Math.max(pool.max_nodes, pool.current, pool.target, 1);
  const share = (count) => `${(count / most) * 100}%`;
  const others = Math.max(pool.current - pool.healthy - pool.booting, 0);
  const words = `${pool.healthy} serve, ${pool.booting} boot, ${others} do not serve; ${pool.target} wanted`;
  return h("div", { class: "meter", role: "img", "aria-label": words, title: words },
    h("span", { class: "tone-healthy", style: { width: share(pool.healthy) } }),
    h("span", { class: "tone-booting", style: { width: share(pool.booting) } }),
    h("span", { class: "tone-lost", style: { width: share(others) } }),
    h("i", { style: { left: share(pool.target) } }));
}

function badges(pool) {
  const found = [];
  if (pool.breaker === "open") found.push(h("span", { class: "badge bad" }, "breaker open"));
  if (pool.breaker === "half_open") found.push(h("span", { class: "badge warn" }, "breaker half open"));
  if (pool.paused) found.push(h("span", { class: "badge warn" }, "paused"));
  return found.flatMap((each) => [each, " "]);
}

function tell(problem, error) {
  problem.textContent = error ? `${error.message} (what is shown may be old)` : "";
}

// --- one pool -----------------------------------------------------------------------------------

async function showOne(root, name, query, live, api) {
  let chosen = query.get("window") ?? "1h";
  const problem = h("p", { class: "problem", role: "alert" });
  const parts = {
    badges: section("span", {}, (pool) => badges(pool)),
    actions: section("div", { class: "right actions" }, (pool) => poolActions(pool, () => loader.soon())),
    lead: section("div", {}, (pool) => lead(pool)),
    tiles: section("dl", { class: "tiles" }, (pool) => tiles(pool)),
    notes: section("p", { class: "soft small" }, (texts) => texts.join(" ")),
    next: section("section", { class: "card" }, (buying) => next(buying)),
    repair: section("section", { class: "card" }, (data) => repair(data)),
    nodes: section("section", { class: "card" }, (data) => nodes(data)),
    offers: section("section", { class: "card" }, (data) => offers(data)),
    decisions: section("section", { class: "card" }, (data) => decisions(data)),
  };
  const drawn = chart({ label: `Nodes of pool ${name}`, whole: true, from: 0, to: 1, series: [], open: reason });
  const waiting = chart({ label: `Jobs that wait for pool ${name}`, whole: true, height: 110, from: 0, to: 1, series: [] });
  const jobs = h("div", { hidden: true }, h("h3", {}, "Jobs that wait"), waiting.node);
  replace(
    root,
    h("nav", { class: "small", "aria-label": "Where this is" }, link("pools", "", "All pools")),
    h("div", { class: "head" }, h("h1", {}, `Pool ${name}`), parts.badges.node, parts.actions.node),
    problem, parts.lead.node, parts.tiles.node,
    h("section", { class: "card", "aria-label": "Over time" },
      h("div", { class: "head" }, h("h2", {}, "Over time"), h("div", { class: "right" }, windows(chosen, choose))),
      drawn.node, jobs, parts.notes.node),
    h("div", { class: "cards" }, parts.next.node, parts.repair.node, parts.nodes.node),
    h("div", { class: "gap" }), parts.offers.node, parts.decisions.node, explanation(name, api),
  );
  const loader = loading(load, { live, failed: (error) => tell(problem, error) });

  function choose(window) {
    chosen = window;
    history.replaceState(null, "", route("pools", name, { window }));
    loader.soon();
  }

  async function load() {
    const asked = chosen;
    const view = await api.get(`pools/${encodeURIComponent(name)}`, { window: asked });
    if (asked !== chosen) return;
    const { pool } = view;
    parts.badges.update(pool);
    parts.actions.update({
      name, min_nodes: pool.min_nodes, max_nodes: pool.max_nodes, target_nodes: pool.target,
      paused: pool.paused, repair_paused: pool.breaker === "open" && !view.breaker.acknowledged,
      because: view.breaker.because,
    });
    parts.lead.update(pool);
    parts.tiles.update(pool);
    parts.notes.update(notes(view));
    parts.next.update(view.buying);
    parts.repair.update({ budget: view.budget, breaker: view.breaker });
    parts.nodes.update(view.nodes);
    parts.offers.update({ rows: view.offers, left_out: view.offers_left_out });
    parts.decisions.update({ name, marks: view.history.marks, left_out: view.history.left_out, window: view.history.window });
    const range = { from: Date.parse(view.history.since), to: Date.parse(view.history.until) };
    drawn.update({ ...range, series: lines(view), marks: view.history.marks.map(marked) });
    const { pending } = view.history.series;
    jobs.hidden = !pending.some(([, value]) => value > 0);
    waiting.update({ ...range, series: [{ name: "waiting", kind: "area", tone: "pending", points: pending }] });
  }

  await loader.first();
  const mine = (subject) => subject === name || subject.startsWith(`${name}-`);
  const offs = [
    live.on("facts", ({ facts, left_out }) => (left_out || facts.some((fact) => fact.subjects.some(mine))) && loader.soon()),
    live.on("hello", ({ again }) => again && loader.soon()),
  ];
  return () => {
    loader.close();
    drawn.close();
    waiting.close();
    offs.forEach((off) => off());
  };
}

const part = (name, tone, points, means) => ({ name, kind: "area", stacked: true, tone, points, means });

function lines(view) {
  const { series } = view.history;
  const all = [
    part("serving", "healthy", series.healthy, "Nodes that are heard, not unhealthy and not leaving"),
    part("booting", "booting", series.booting, "Machines asked for or launched, and not registered"),
    part("lost or sick", "lost", series.lost, "Silent, or unhealthy by verdict"),
    part("leaving", "idle", series.leaving, "Drained, to be ended or replaced"),
    { name: "actual", kind: "step", tone: "actual", points: series.actual, means: "Machines that are wanted, those on their way counted in" },
    { name: "target", kind: "step", tone: "target", points: series.target, means: "Nodes that the pool wants" },
  ];
  if (series.proposed.length) {
    all.push({ name: "demand", kind: "step", dashed: true, tone: "demand", points: series.proposed, means: "Nodes that the autoscaler asked for, before the pool's limits" });
  }
  if (series.busy.some(([, value]) => value !== null)) {
    all.push({ name: "busy", kind: "line", dashed: true, tone: "busy", points: series.busy, means: "Utilization times live nodes: how many nodes' worth of work ran" });
  }
  return all;
}

function marked(mark) {
  return { ...mark, at: Date.parse(mark.at), tone: mark.kind };
}

function reason(mark) {
  return h("article", { class: "reason" },
    h("h3", {}, mark.title, " ", h("span", { class: "soft" }, time(mark.at / 1000))),
    h("p", {}, mark.because || "No reason was given."),
    h("p", { class: "small soft" }, `fact ${mark.seq}`, mark.subjects.length ? [": ", named(mark.subjects, mark.count)] : ""));
}

function named(subjects, count) {
  const links = subjects.flatMap((each, index) => [index ? ", " : "", link("nodes", each)]);
  return count > subjects.length ? [...links, ` and ${count - subjects.length} more`] : links;
}

function lead(pool) {
  if (!pool.troubles.length) {
    return h("p", { class: "lead" }, `Nothing is wrong: ${pool.healthy} of ${pool.target} nodes serve.`, " ", h("span", { class: "soft" }, `The target is ${pool.target}: ${pool.because}.`));
  }
  return h("section", { class: `card ${pool.breaker === "open" || pool.lost || pool.sick ? "bad" : "warn"}`, "aria-label": "What is wrong" },
    h("h2", {}, "What is wrong"), h("ul", { class: "plain-list" }, pool.troubles.map((each) => h("li", {}, each))),
    h("p", { class: "soft small" }, `The target is ${pool.target}: ${pool.because}`));
}

function tiles(pool) {
  const unknown = pool.unpriced ? `${pool.unpriced} unpriced` : "";
  return [
    tile("Target", pool.target, `${pool.min_nodes} to ${pool.max_nodes}`),
    tile("Actual", pool.current, pool.ending ? `${pool.ending} ending` : ""),
    tile("Serving", pool.healthy, pool.leaving ? `${pool.leaving} leaving` : ""),
    tile("Booting", pool.booting),
    tile("Lost, sick", pool.lost + pool.sick, pool.persons ? `${pool.persons} for a person` : ""),
    tile("Waiting jobs", pool.pending ?? "–", pool.pending === null ? "not known" : ""),
    tile("Busy", pool.utilization === null ? "–" : `${number(pool.utilization)} %`, pool.utilization === null ? "not known" : "of the GPUs"),
    tile("Cost an hour", pool.dollars_per_hour === null ? "unknown" : money(pool.dollars_per_hour), unknown),
  ];
}

function notes({ pool, history, now }) {
  const texts = [];
  if (Date.parse(history.known_since) > Date.parse(history.since)) {
    texts.push(`What happened before ${whole(history.known_since)} is not known here.`);
  }
  if (!pool.autoscaling) texts.push("Nothing scales this pool, so nobody measures demand: its target is held.");
  else if (!history.demand_since) texts.push(`Scaled by ${pool.autoscaling}; no demand was measured yet.`);
  else texts.push(`Scaled by ${pool.autoscaling}; demand is kept in memory, since ${time(history.demand_since)}.`);
  if (pool.word) {
    const verb = pool.word.held ? "holds at" : "asked for";
    texts.push(`Its last word: ${pool.word.by} ${verb} ${pool.word.target}, at ${time(pool.word.at, new Date(now))}: ${pool.word.reason}.`);
  }
  return texts;
}

function next(buying) {
  const items = together(buying.next).map((each) =>
    h("li", {}, each.count > 1 ? `${each.count} × ` : "", h("strong", {}, each.offer), " ", h("span", { class: "number" }, each.price === null ? "price unknown" : `${money(each.price)} an hour`),
      h("div", { class: "soft small" }, each.because)));
  return [
    h("h2", {}, "What would be bought next"),
    h("p", {}, sentence(buying.because)),
    items.length ? h("ol", { class: "next" }, items) : h("p", { class: "problem" }, "No offer may be asked now: see below until when each is passed over."),
    buying.missing ? null : h("p", { class: "soft small" }, "In this order, if some were missing."),
  ];
}

// Machines that follow one another, and would be bought for the same reason, are one line.
function together(rows) {
  const groups = [];
  for (const each of rows) {
    const last = groups[groups.length - 1];
    if (last && last.offer === each.offer && last.because === each.because) last.count += 1;
    else groups.push({ ...each, count: 1 });
  }
  return groups;
}

function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";
}

const BREAKERS = {
  closed: ["good", "closed: repair works"],
  open: ["bad", "open: nothing is repaired"],
  half_open: ["warn", "half open: one node at a time"],
};

function repair({ budget, breaker }) {
  const [kind, words] = BREAKERS[breaker.state];
  return [
    h("h2", {}, "Repair"),
    h("dl", { class: "facts" },
      h("dt", {}, "Breaker"), h("dd", {}, h("span", { class: `badge ${kind}` }, words), breaker.since ? ` since ${time(breaker.since)}` : "",
        breaker.because ? h("div", {}, breaker.because) : null, h("div", { class: "soft small" }, `${sentence(breaker.then)}`)),
      h("dt", {}, "Budget"), h("dd", {}, sentence(budget.because)),
      h("dt", {}, "At one time"), h("dd", {}, used(budget.used, budget.at_once), budget.per_zone ? ` · ${budget.per_zone} in a zone` : ""),
      h("dt", {}, "Within an hour"), h("dd", {}, used(budget.this_hour, budget.per_hour)),
      h("dt", {}, "May do"), h("dd", {}, budget.auto_replace ? budget.ladder.map((each) => each.replace("_", " ")).join(", ") : "nothing by itself",
        budget.dry_run ? " (a dry run: it only says so)" : "")),
    budget.waiting.length
      ? [h("h3", {}, "Waits for repair"),
        h("ul", { class: "plain-list" }, alike(budget.waiting).map((each) => h("li", {},
          each.nodes.flatMap((node, index) => [index ? ", " : "", link("nodes", node)]), " ",
          h("span", { class: "badge" }, each.remedy.replace("_", " ")), h("div", { class: "small" }, each.because || "begins at the next look")))),
        budget.left_out ? h("p", { class: "soft" }, `and ${plural(budget.left_out, "node")} more`) : null]
      : null,
  ];
}

// Nodes that wait for the same thing.
function alike(waiting) {
  const groups = new Map();
  for (const { node, remedy, because } of waiting) {
    const key = `${remedy} ${because}`;
    if (!groups.has(key)) groups.set(key, { remedy, because, nodes: [] });
    groups.get(key).nodes.push(node);
  }
  return [...groups.values()];
}

function used(count, most) {
  const words = `${count} of ${most} used`;
  const share = most > 0 ? Math.min(count / most, 1) : count ? 1 : 0;
  return h("span", { class: "spent" },
    h("span", { class: "meter short", "aria-hidden": "true" }, h("span", { class: share >= 1 ? "tone-lost" : "tone-actual", style: { width: `${share * 100}%` } })), words);
}

function nodes({ counts, wrong, left_out }) {
  const names = Object.keys(counts);
  return [
    h("h2", {}, "Nodes"),
    names.length ? h("p", { class: "states" }, names.map((each) => [state(each, `${counts[each]} ${each}`), " "])) : h("p", { class: "empty" }, "There are none."),
    wrong.length
      ? h("ul", { class: "plain-list" }, wrong.map((each) => h("li", {}, state(each.state, ""), " ", link("nodes", each.id), " ", h("span", { class: "soft small" }, age(each.since)), h("div", { class: "small" }, each.because))))
      : null,
    left_out ? h("p", { class: "soft" }, `and ${plural(left_out, "machine")} more`) : null,
  ];
}

const STOCK = { true: "yes", false: "none", null: "not told" };

function offers({ rows, left_out }) {
  return [
    h("h2", {}, "Offers, in the order of the pool's strategy"),
    h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Offers" },
      h("table", {},
        h("thead", {}, h("tr", {}, ["", "Offer", "Type", "$ an hour", "Stock", "May be asked", "Why at this place"].map((each, index) =>
          h("th", { scope: "col", class: index === 3 ? "number" : null }, each)))),
        h("tbody", {}, rows.map((each) => h("tr", { class: each.refused_until ? "refused" : null },
          h("td", { class: "number soft" }, each.rank),
          h("th", { scope: "row" }, each.offer),
          h("td", {}, each.instance_type || "–"),
          h("td", { class: "number", title: each.price_because }, each.price === null ? h("span", { class: "soft" }, "unknown") : money(each.price)),
          h("td", {}, STOCK[String(each.available)]),
          h("td", {}, asked(each)),
          h("td", { class: "small why" }, each.because)))))),
    left_out ? h("p", { class: "soft" }, `${plural(left_out, "offer")} more are not listed.`) : null,
  ];
}

function asked(offer) {
  if (!offer.refused_until) return h("span", { class: "badge good" }, "yes");
  return [
    h("span", { class: `badge ${offer.needs_person ? "bad" : "warn"}` }, offer.needs_person ? "needs somebody" : "refused"),
    ` until ${time(offer.refused_until)}`,
    h("div", { class: "small soft" }, `because of ${offer.refused_because}${offer.refusals > 1 ? `; ${offer.refusals} times in a row` : ""}`),
  ];
}

const LISTED = 40;

function decisions({ name, marks, left_out, window }) {
  const newest = marks.slice(-LISTED).reverse();
  const more = left_out + Math.max(marks.length - LISTED, 0);
  return [
    h("h2", {}, `Decisions within ${window.replace("h", " h").replace("d", " d")}`),
    newest.length
      ? h("ol", { class: "decisions" }, newest.map((each) => h("li", {},
        h("span", { class: `letter tone-${each.kind}`, "aria-hidden": "true" }, each.letter),
        h("span", { class: "soft small", title: whole(each.at) }, time(each.at)),
        h("div", {}, h("strong", {}, each.title), each.because ? h("div", { class: "small" }, each.because) : null))))
      : h("p", { class: "empty" }, "Nothing was decided in this time."),
    h("p", { class: "soft small" }, more ? `${plural(more, "older decision")} not listed. ` : "",
      h("a", { href: route("events", "", { subject: name }) }, "All events of this pool")),
  ];
}

// Asked for when it is opened, by the call that the command line makes too.
function explanation(name, api) {
  const lines = h("ul", { class: "plain-list" });
  const details = h("details", {}, h("summary", {}, "In words, as navarch explain pool says it"), lines);
  details.addEventListener("toggle", async () => {
    if (!details.open) return;
    try {
      const told = await api.call("Explain", { kind: "SUBJECT_KIND_POOL", id: name });
      replace(lines, (told.lines ?? []).map((each) => h("li", {}, each)));
    } catch (error) {
      replace(lines, h("li", { class: "problem" }, error.message));
    }
  });
  return h("section", { class: "card" }, details);
}

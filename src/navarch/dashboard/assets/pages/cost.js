// Cost: by pool, by provider, and for each GPU-hour that was good. What nobody knows is said.
import { chart } from "../chart.js";
import { h, link, replace, route } from "../dom.js";
import { age, money, number, percent, plural, whole } from "../format.js";
import { loading, section, tile, windows } from "../sections.js";

const TONES = ["one", "two", "three", "four", "five", "six"];
const UNKNOWN = "unknown";

export async function show(root, { parameters, live, api }) {
  let chosen = parameters.query.get("window") ?? "24h";
  const problem = h("p", { class: "problem", role: "alert" });
  const parts = {
    lead: section("div", {}, (view) => lead(view)),
    tiles: section("dl", { class: "tiles" }, (view) => tiles(view)),
    pools: section("section", { class: "card" }, (view) => bills("By pool", view.pools, view.left_out, (name) => (name.startsWith("(") ? name : link("pools", name)))),
    providers: section("section", { class: "card" }, (view) => bills("By provider", view.providers, 0, (name) => name)),
    kinds: section("section", { class: "card" }, (view) => kinds(view)),
    notes: section("p", { class: "soft small" }, (texts) => texts.join(" ")),
  };
  const dollars = chart({ label: "Dollars an hour", format: short, from: 0, to: 1, series: [] });
  const gpus = chart({ label: "GPUs by use", whole: true, format: (value) => number(value), from: 0, to: 1, series: [] });
  const priceless = h("p", { class: "empty", hidden: true }, "No price is known of any machine of this time.");
  replace(
    root,
    h("div", { class: "head" }, h("h1", {}, "Cost"), h("div", { class: "right" }, windows(chosen, choose))),
    problem, parts.lead.node, parts.tiles.node,
    h("div", { class: "cards wide" },
      h("section", { class: "card" }, h("h2", {}, "Dollars an hour"), dollars.node, priceless),
      h("section", { class: "card" }, h("h2", {}, "What the GPUs did"), gpus.node)),
    h("div", { class: "gap" }), parts.pools.node, parts.providers.node, parts.kinds.node, parts.notes.node,
  );
  const loader = loading(load, { live, failed: (error) => (problem.textContent = error ? error.message : "") });

  function choose(window) {
    chosen = window;
    history.replaceState(null, "", route("cost", "", { window }));
    loader.soon();
  }

  async function load() {
    const asked = chosen;
    const view = await api.get("cost", { window: asked });
    if (asked !== chosen) return;
    parts.lead.update({ total: view.total, prices: view.prices });
    parts.tiles.update({ total: view.total, window: view.window });
    parts.pools.update({ pools: view.pools, left_out: view.left_out });
    parts.providers.update({ providers: view.providers });
    parts.kinds.update({ kinds: view.kinds, kinds_left_out: view.kinds_left_out });
    parts.notes.update(notes(view));
    const range = { from: Date.parse(view.since), to: Date.parse(view.until) };
    priceless.hidden = view.series.dollars_per_hour.length > 0;
    dollars.node.hidden = !priceless.hidden;
    dollars.update({ ...range, series: money_lines(view.series) });
    gpus.update({ ...range, series: gpu_areas(view.series) });
  }

  await loader.first();
  const soon = live.debounced(loader.soon, 2000);
  const offs = [live.on("pools", soon), live.on("hello", ({ again }) => again && loader.soon())];
  return () => {
    soon.cancel();
    loader.close();
    dollars.close();
    gpus.close();
    offs.forEach((off) => off());
  };
}

function short(value) {
  if (!value) return "$0";
  return value >= 1000 ? `$${number(value / 1000, 1)}k` : `$${number(value, value < 10 ? 2 : 0)}`;
}

function money_lines(series) {
  const lines = series.dollars_per_hour.map((each, index) => ({
    name: each.name, kind: "area", stacked: true, tone: TONES[index] ?? "others", points: each.points,
  }));
  return lines;
}

function gpu_areas(series) {
  const area = (name, tone, points, means) => ({ name, kind: "area", stacked: true, tone, points, means });
  return [
    area("good", "good", series.good, "Of nodes that served, with a utilization of 5 % or more"),
    area("idle", "idle", series.idle, "Of nodes that served, with less"),
    area("not measured", "unmeasured", series.unmeasured, "Of nodes that served, while nobody looked what they did"),
    area("lost", "lost", series.lost, "Paid for, and not serving: booting, sick, silent, leaving or ending"),
  ].filter((each) => each.name !== "not measured" || each.points.some(([, value]) => value > 0));
}

function lead({ total, prices }) {
  const without = prices.filter((each) => !each.at).map((each) => each.provider);
  const words = [];
  if (total.unpriced) words.push(`The price of ${plural(total.unpriced, "machine")} is not known: they stand in no sum of money.`);
  if (without.length && total.unpriced) words.push(`No price list: ${without.join(", ")}.`);
  if (total.hours.uncounted > 0) words.push(`How many GPUs some machines have is not known, for ${number(total.hours.uncounted, 1)} machine-hours.`);
  if (!words.length) return null;
  return h("section", { class: "card warn", "aria-label": "What is not known" }, words.map((each) => h("p", {}, each)));
}

function known(value) {
  return value === null ? UNKNOWN : money(value);
}

function tiles({ total, window }) {
  const { hours } = total;
  const all = hours.good + hours.idle + hours.unmeasured + hours.lost;
  const share = (part) => (all ? percent(part / all) : "–");
  const measured = hours.good + hours.idle > 0 || !hours.unmeasured;
  return [
    tile("Now", known(total.dollars_per_hour), [total.dollars_per_hour === null ? "" : "an hour", total.unpriced ? `${plural(total.unpriced, "machine")} unpriced` : ""].filter(Boolean).join(", ")),
    tile(`Within ${window.replace("h", " h").replace("d", " d")}`, known(total.dollars), total.unpriced_hours > 0 ? `and ${number(total.unpriced_hours, 1)} h unpriced` : ""),
    tile("A good GPU-hour", known(total.dollars_per_good_hour), total.because),
    measured ? tile("Good", share(hours.good), `${number(hours.good, 1)} GPU-h`) : tile("Good", "–", "not measured yet"),
    measured ? tile("Idle", share(hours.idle), `${number(hours.idle, 1)} GPU-h`) : tile("Idle", "–", "not measured yet"),
    tile("Lost", share(hours.lost), `${number(hours.lost, 1)} GPU-h`),
    hours.unmeasured > 0.005 ? tile("Not measured", share(hours.unmeasured), `${number(hours.unmeasured, 1)} GPU-h`) : null,
  ].filter(Boolean);
}

function bills(title, rows, left_out, named) {
  if (!rows.length) return [h("h2", {}, title), h("p", { class: "empty" }, "Nothing was bought.")];
  const heads = ["", "Machines", "$ an hour", "$ in this time", "$ a good GPU-hour", "Good", "Idle", "Not measured", "Lost"];
  const withGood = title === "By pool";
  return [
    h("h2", {}, title),
    h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": title },
      h("table", { class: "bills" },
        h("thead", {}, h("tr", {}, heads.filter((each) => withGood || each !== "$ a good GPU-hour").map((each, index) => h("th", { scope: "col", class: index ? "number" : null }, each)))),
        h("tbody", {}, rows.map((bill) => billed(bill, named, withGood))))),
    left_out ? h("p", { class: "soft small" }, `${plural(left_out, "pool")} of small cost are summed up as others.`) : null,
  ];
}

function billed(bill, named, withGood) {
  const { hours } = bill;
  const all = hours.good + hours.idle + hours.unmeasured + hours.lost;
  const measured = hours.good + hours.idle > 0 || !hours.unmeasured;
  const cell = (value, needed = true) => h("td", { class: "number" }, all && (measured || !needed) ? h("span", { title: `${number(value, 2)} GPU-hours` }, percent(value / all, 1)) : "–");
  const lost = Object.entries(hours.lost_by).map(([name, value]) => `${name} ${number(value, 1)} h`).join(", ");
  const unpriced = bill.unpriced ? h("div", { class: "small soft" }, `${bill.unpriced} unpriced`) : null;
  return h("tr", {},
    h("th", { scope: "row" }, named(bill.name)),
    h("td", { class: "number" }, bill.machines),
    h("td", { class: "number" }, known(bill.dollars_per_hour), unpriced),
    h("td", { class: "number" }, known(bill.dollars), bill.unpriced_hours > 0 ? h("div", { class: "small soft" }, `${number(bill.unpriced_hours, 1)} h unpriced`) : null),
    withGood ? h("td", { class: "number" }, known(bill.dollars_per_good_hour), bill.because ? h("div", { class: "small soft reasoned" }, bill.because) : null) : null,
    cell(hours.good), cell(hours.idle), cell(hours.unmeasured, false),
    h("td", { class: "number" }, all ? percent(hours.lost / all, 1) : "–", lost ? h("div", { class: "small soft reasoned" }, lost) : null));
}

function kinds({ kinds: rows, kinds_left_out }) {
  const heads = ["Pool", "Provider", "Type", "Region", "GPUs", "Machines", "$ an hour each", "Who says so"];
  return [
    h("h2", {}, "Machines and their prices"),
    rows.length
      ? h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Machines and their prices" },
        h("table", {},
          h("thead", {}, h("tr", {}, heads.map((each, index) => h("th", { scope: "col", class: index > 3 && index < 7 ? "number" : null }, each)))),
          h("tbody", {}, rows.map((each) => h("tr", {},
            h("th", { scope: "row" }, link("pools", each.pool)),
            h("td", {}, each.provider, each.spot ? [" ", h("span", { class: "badge" }, "spot")] : null),
            h("td", {}, each.instance_type || "–"), h("td", {}, each.region || "–"),
            h("td", { class: "number" }, each.gpus ?? "–"), h("td", { class: "number" }, each.machines),
            h("td", { class: "number" }, known(each.price)), h("td", { class: "soft" }, each.price_because))))))
      : h("p", { class: "empty" }, "There is no machine that costs anything."),
    kinds_left_out ? h("p", { class: "soft small" }, `${plural(kinds_left_out, "kind")} more are not listed.`) : null,
  ];
}

function notes(view) {
  const texts = ["Money is counted from the moment when a provider had the machine until it was gone, at the newest price that is known."];
  const lists = view.prices.filter((each) => each.at).map((each) => `${each.provider} ${age(each.at, new Date(view.now))} ago`);
  if (lists.length) texts.push(`Price lists were read: ${lists.join(", ")}.`);
  if (Date.parse(view.known_since) > Date.parse(view.since)) texts.push(`What happened before ${whole(view.known_since)} is not known here, and in no sum.`);
  if (view.foreign) texts.push(`${plural(view.foreign, "node")} of others, not bought here, are in no sum.`);
  return texts;
}

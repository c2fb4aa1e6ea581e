// Simulations: a report beside the real fleet. Its page is a program of whoever ran the simulation,
// so it is shown in a frame that is a stranger to this page: it sees nothing here, and calls nobody.
import { h, link, replace, route } from "../dom.js";
import { bytes, money, number, percent, plural, span, time, whole } from "../format.js";
import { loading, section } from "../sections.js";

const FILE_MAX = 96 * 1024 * 1024;
const FORMAT = 1;

export async function show(root, { parameters, live, api }) {
  const { id } = parameters;
  return id ? showOne(root, id, live, api) : showAll(root, live, api);
}

// --- the list -----------------------------------------------------------------------------------

async function showAll(root, live, api) {
  const problem = h("p", { class: "problem", role: "alert" });
  const list = section("section", { class: "card" }, (view) => table(view));
  const opened = h("div", {});
  const files = h("input", { type: "file", class: "hidden", multiple: true, accept: ".html,.json", onchange: () => choose() });
  let figures = null;
  replace(
    root,
    h("div", { class: "head" }, h("h1", {}, "Simulations"),
      h("div", { class: "right" }, h("label", { class: "button" }, "Open a report of this computer", files))),
    h("p", { class: "soft small" }, "Choose report.html, and report.json with it to compare. Files stay in this browser."),
    problem, opened, list.node,
  );

  async function choose() {
    problem.textContent = "";
    try {
      const chosen = await read([...files.files]);
      replace(opened, await beside(chosen.name, chosen.sum, figures, (frame) => write(frame, chosen.page)));
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  const loader = loading(load, { live, seconds: 60, failed: (error) => (problem.textContent = error ? error.message : "") });
  async function load() {
    const view = await api.get("simulations");
    figures = view.live;
    list.update({ folder: view.folder, reports: view.reports, left_out: view.left_out });
  }
  await loader.first();
  return () => loader.close();
}

function table({ folder, reports, left_out }) {
  const how = h("p", { class: "soft small" }, "Made by ", h("code", {}, `navarch simulate run SCENARIO --report ${folder || "DIR"}/NAME`), ".");
  if (!reports.length) {
    return [h("h2", {}, "Reports"), h("p", { class: "empty" }, folder ? `There is none in ${folder}.` : "No folder is looked into."), how];
  }
  const heads = [["Report"], ["Run"], ["Virtual time", true], ["Availability", true], ["Good GPU-hours", true], ["$", true], ["Written"], ["Size", true]];
  return [
    h("h2", {}, "Reports"),
    h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Reports" },
      h("table", {},
        h("thead", {}, h("tr", {}, heads.map(([words, right]) => h("th", { scope: "col", class: right ? "number" : null }, words)))),
        h("tbody", {}, reports.map((each) => listed(each))))),
    left_out ? h("p", { class: "soft small" }, `${plural(left_out, "older report")} not listed.`) : null, how,
  ];
}

function listed({ name, at, size, sum, problem }) {
  const fleet = sum?.fleet;
  const hours = fleet ? fleet.good + fleet.idle + fleet.lost : 0;
  return h("tr", {},
    h("th", { scope: "row" }, link("simulations", name, name === "." ? "the folder itself" : name)),
    h("td", {}, sum ? `${sum.blueprint || "a run"}, seed ${sum.seed}` : h("span", { class: "soft" }, problem || "not read")),
    h("td", { class: "number" }, sum ? span(sum.seconds) : "–"),
    h("td", { class: "number" }, fleet ? percent(fleet.availability, 2) : "–"),
    h("td", { class: "number" }, hours ? percent(fleet.good / hours, 1) : "–"),
    h("td", { class: "number" }, fleet ? money(fleet.dollars) : "–"),
    h("td", { class: "soft", title: whole(at) }, time(at)),
    h("td", { class: "number soft" }, bytes(size)));
}

// --- one report ---------------------------------------------------------------------------------

async function showOne(root, name, live, api) {
  const head = h("div", {}, h("nav", { class: "small", "aria-label": "Where this is" }, h("a", { href: route("simulations") }, "All simulations")));
  const problem = h("p", { class: "problem", role: "alert" });
  const view = await api.get(`simulations/${path(name)}`);
  const shown = await beside(name, view.report.sum, view.live, (frame) => frame.setAttribute("src", view.page), view.report.problem);
  replace(root, head, h("h1", {}, `Simulation ${name}`), problem, shown);
  const compared = shown.querySelector(".compared");
  const loader = loading(load, { live, seconds: 30, failed: (error) => (problem.textContent = error ? error.message : "") });
  async function load() {
    const fresh = await api.get(`simulations/${path(name)}`);
    replace(compared, comparison(fresh.report.sum, fresh.live, fresh.report.problem));
  }
  const timer = setTimeout(loader.soon, 30_000);
  return () => {
    clearTimeout(timer);
    loader.close();
  };
}

function path(name) {
  return name.split("/").map(encodeURIComponent).join("/");
}

// The comparison and the frame, once the frame is there; `fill` gives it what it shows.
async function beside(name, sum, figures, fill, problem = "") {
  const frame = h("iframe", {
    sandbox: "allow-scripts", referrerpolicy: "no-referrer", title: `Report ${name}`, class: "report",
  });
  const node = h("div", { class: "beside" },
    h("section", { class: "card compared", "aria-label": "Beside the real fleet" }, comparison(sum, figures, problem)),
    h("section", { class: "framed", "aria-label": `Report ${name}` }, frame));
  fill(frame);
  return node;
}

// A file of this computer: an empty frame says that it is ready, and is sent the page.
function write(frame, page) {
  const ready = (event) => {
    if (event.source !== frame.contentWindow || event.data !== "ready") return;
    removeEventListener("message", ready);
    frame.contentWindow.postMessage(page, "*"); // it has no origin that could be named
  };
  addEventListener("message", ready);
  frame.setAttribute("src", "/ui/reports/frame");
}

async function read(files) {
  const page = files.find((each) => each.name.endsWith(".html"));
  const document = files.find((each) => each.name.endsWith(".json"));
  if (!page) throw new Error("Choose report.html, and report.json with it if you have it.");
  for (const each of [page, document]) {
    if (each && each.size > FILE_MAX) throw new Error(`${each.name} has ${bytes(each.size)}; at most ${bytes(FILE_MAX)} are shown.`);
  }
  let sum = null;
  if (document) {
    try {
      sum = summed(JSON.parse(await document.text()));
    } catch (error) {
      throw new Error(`${document.name} is no report: ${error.message}`);
    }
  }
  return { name: page.name, page: await page.text(), sum };
}

// The same sums as the server makes of a document (navarch/dashboard/reports.py).
export function summed(raw) {
  if (raw.version !== FORMAT) throw new Error(`version ${raw.version}, expected ${FORMAT}`);
  const scope = (each) => ({
    name: each.name,
    availability: each.availability ?? null,
    delivered: each.nodeHoursWanted ? each.nodeHoursDelivered / each.nodeHoursWanted : null,
    good: each.gpuHours.good, idle: each.gpuHours.idle, lost: each.gpuHours.lost,
    dollars: each.usd || null, // a scenario without prices costs nothing, which is no price
    dollars_per_good_hour: each.usd && each.gpuHours.good ? each.usd / each.gpuHours.good : null,
    most_nodes: each.mostNodes,
  });
  return {
    blueprint: raw.blueprint, seed: raw.seed, navarch: raw.navarch, policy: raw.policy,
    begins_at: raw.beginsAt, seconds: raw.seconds,
    machine_hours: raw.costs.reduce((all, each) => all + each.machineHours, 0),
    replacements: raw.repairs.replacementsRight + raw.repairs.replacementsWrong,
    brakes_opened: raw.repairs.brakesOpened,
    fleet: scope(raw.fleet), pools: raw.pools.map(scope),
  };
}

// --- comparing ----------------------------------------------------------------------------------

function comparison(sum, figures, problem) {
  const title = h("h2", {}, "Beside the real fleet");
  if (!sum) return [title, h("p", { class: "empty" }, problem || "Without report.json there is nothing to compare.")];
  const names = new Set(figures?.pools.map((each) => each.name));
  const both = sum.pools.filter((each) => names.has(each.name));
  return [
    title,
    h("p", { class: "soft small" }, `${sum.blueprint || "A run"}, seed ${sum.seed}: ${span(sum.seconds)} of virtual time with Navarch ${sum.navarch}. The real fleet: within the last ${figures ? figures.window.replace("h", " h") : "–"}.`),
    compared("The fleet", rows(sum.fleet, figures?.fleet, sum)),
    both.map((each) => compared(`Pool ${each.name}`, rows(each, figures.pools.find((pool) => pool.name === each.name)))),
    sum.pools.length > both.length ? h("p", { class: "soft small" }, `Only simulated: ${sum.pools.filter((each) => !names.has(each.name)).map((each) => each.name || "no pool").join(", ")}.`) : null,
    figures?.fleet.because ? h("p", { class: "soft small" }, `Not known of the real fleet: ${figures.fleet.because}.`) : null,
  ];
}

function compared(title, lines) {
  return h("div", { class: "scrolls" }, h("table", { class: "comparison" },
    h("caption", {}, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), h("th", { scope: "col", class: "number" }, "Simulated"), h("th", { scope: "col", class: "number" }, "Real"))),
    h("tbody", {}, lines.map(([words, simulated, real, means]) => h("tr", {}, h("th", { scope: "row", title: means }, words), h("td", { class: "number" }, simulated), h("td", { class: "number" }, real))))));
}

const per = (count, hours) => (hours > 0 ? number((count / hours) * 2400, 1) : "–");
const or = (value, format) => (value === null || value === undefined ? "unknown" : format(value));

function rows(simulated, real, sum) {
  const shares = (each) => {
    const all = each ? each.good + each.idle + each.lost + (each.unmeasured ?? 0) : 0;
    const measured = all && (each.good + each.idle > 0 || !each.unmeasured);
    return (part) => {
      if (!all) return "–";
      return measured || part === "lost" || part === "unmeasured" ? percent(each[part] / all, 1) : "not measured";
    };
  };
  const [mine, theirs] = [shares(simulated), shares(real)];
  const lines = [
    ["Had all the nodes it wanted", or(simulated.availability, (value) => percent(value, 2)), or(real?.availability, (value) => percent(value, 2)), "The share of the time with as many serving nodes as wanted"],
    ["GPU-hours good", mine("good"), theirs("good"), "Simulated: served demand. Real: a utilization of 5 % or more."],
    ["GPU-hours idle", mine("idle"), theirs("idle")],
    ["GPU-hours lost", mine("lost"), theirs("lost"), "Paid for, and not serving"],
    ["$ a good GPU-hour", or(simulated.dollars_per_good_hour, money), or(real?.dollars_per_good_hour, money)],
    ["Nodes", `${number(simulated.most_nodes)} at most`, real ? number(real.nodes) : "–"],
  ];
  if (real?.unmeasured > 0) lines.splice(4, 0, ["GPU-hours not measured", "–", theirs("unmeasured"), "Served, while nobody looked what they did"]);
  if (sum) {
    lines.push(["$ a machine-hour", sum.machine_hours ? or(simulated.dollars, (dollars) => money(dollars / sum.machine_hours)) : "–", real?.machine_hours ? or(real.dollars === null ? null : real.dollars / real.machine_hours, money) : "–"]);
    lines.push(["Replaced in 100 node-days", per(sum.replacements, sum.machine_hours), real ? per(real.replacements, real.machine_hours) : "–", "Nodes that repair decided to replace"]);
  }
  return lines;
}

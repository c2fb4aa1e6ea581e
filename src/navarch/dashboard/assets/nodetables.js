// The tables of a node's page: facts, the machine, what runs there, commands, the start-up log.
import { h, link, replace, route } from "./dom.js";
import { sentence } from "./facts.js";
import { bytes, money, number, percent, plural, span, time, whole } from "./format.js";
import { since } from "./since.js";

// The address of a fact, by its number; nothing for 0.
export function fact(seq) {
  return seq ? h("a", { href: route("events", seq), title: "The fact in the journal" }, `#${seq}`) : null;
}

export function listed(card, view, id, now) {
  const { facts } = view.history;
  replace(
    card,
    h("div", { class: "head" }, h("h2", {}, "Facts"), h("a", { class: "right", href: route("events", "", { subject: id }) }, "All of them, to search in")),
    table(
      ["Fact", "When", "Kind", "What"],
      facts.map((each) => [
        fact(each.seq),
        h("time", { datetime: each.at, title: whole(each.at) }, time(each.at, now)),
        h("code", {}, each.kind),
        sentence(each),
      ]),
      "No fact is kept of it.",
      "facts-list",
    ),
  );
}

function table(heads, rows, empty, name = "") {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  return h(
    "div",
    { class: `scrolls ${name}`, tabindex: name ? "0" : null, role: name ? "group" : null, "aria-label": name ? "List" : null },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, heads.map((each) => h("th", { scope: "col" }, each)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((each) => h("td", {}, each))))),
    ),
  );
}

// --- the machine -----------------------------------------------------------------------------

export function described(card, view, now) {
  const { machine } = view;
  const price = machine.price;
  const drivers = [...new Set(view.gpus.map((gpu) => [gpu.driver_version, gpu.cuda_version].filter(Boolean).join(", CUDA ")).filter(Boolean))];
  const names = [...new Set(view.gpus.map((gpu) => gpu.name).filter(Boolean))];
  const born = machine.requested_at ?? machine.registered_at;
  const boot = machine.requested_at && machine.registered_at ? (Date.parse(machine.registered_at) - Date.parse(machine.requested_at)) / 1000 : null;
  const rows = [
    ["Pool", machine.pool ? link("pools", machine.pool) : "none: it joined by itself"],
    ["Provider", [machine.provider || "not told", machine.provider_ref ? [", as ", h("code", {}, machine.provider_ref)] : ""]],
    ["Place", [machine.region, machine.zone].filter(Boolean).join(" / ") || "not told"],
    ["Type", [machine.type || "not told", machine.spot ? h("span", { class: "badge" }, "spot") : ""]],
    ["Price", [price.dollars_per_hour === null ? "not known" : `${money(price.dollars_per_hour)} an hour`, h("span", { class: "soft small" }, ` ${price.because}`)]],
    ["Age", [born ? since(born, now) : "–", boot === null ? "" : h("span", { class: "soft small" }, ` registered ${span(boot)} after it was asked for`)]],
    ["Ended", machine.ended_at && since(machine.ended_at, now, " ago")],
    ["Taken away", machine.interrupted_until && time(machine.interrupted_until, now)],
    ["Instance", machine.instance_id ? [h("code", {}, machine.instance_id), ` ${machine.instance_state.replaceAll("_", " ")}`] : "not launched here"],
    ["Host", [machine.hostname || "not told", machine.kernel_version ? h("span", { class: "soft small" }, ` kernel ${machine.kernel_version}`) : ""]],
    ["Inside", machine.internal_ip || machine.private_ip],
    ["Outside", machine.external_ip || machine.public_ip],
    ["GPUs", names.length ? `${view.gpus.length} × ${names.join(", ")}` : view.gpus.length ? String(view.gpus.length) : "none told"],
    ["Driver", drivers.join("; ")],
    ["Labels", Object.keys(machine.labels).length ? Object.entries(machine.labels).map(([key, value]) => [h("code", {}, `${key}=${value}`), " "]) : null],
  ];
  replace(
    card,
    h("h2", {}, "Machine"),
    h("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
  );
}

export function runs(card, served, now) {
  const told = JSON.stringify(served);
  if (card.dataset.told === told) return;
  card.dataset.told = told;
  const replicas = served.replicas.map((each) => [
    [h("code", {}, each.id), h("div", { class: "small" }, h("a", { href: route("serving", "", { pool: each.agent_pool }) }, each.agent_pool))],
    [h("span", { class: "badge" }, each.state), each.restarts ? ` ${plural(each.restarts, "restart")}` : ""],
    each.place,
    [each.because, each.said ? h("div", { class: "small problem" }, each.said) : ""],
    since(each.since, now),
  ]);
  const models = served.models.map((each) => [
    each.model,
    each.complete ? h("span", { class: "badge good" }, "complete") : progress(each),
    each.bytes_total ? bytes(each.bytes_total) : "not told",
    each.problem ? h("span", { class: "problem" }, each.problem) : each.bytes_per_second ? `${bytes(each.bytes_per_second)}/s` : "",
  ]);
  replace(
    card,
    h("div", { class: "head" }, h("h2", {}, "What runs here"), h("a", { class: "right", href: route("serving") }, "Serving")),
    table(["Replica", "State", "Place", "Why", "For"], replicas, "No replica has a place here."),
    served.replicas_left_out ? h("p", { class: "soft" }, `${served.replicas_left_out} more are not shown.`) : null,
    h("h3", {}, "Model cache"),
    table(["Model", "Is", "Size", ""], models, "No weights are here, and none are on their way."),
    served.models_left_out ? h("p", { class: "soft" }, `${served.models_left_out} more are not shown.`) : null,
  );
}

function progress(each) {
  const done = each.bytes_total ? each.bytes_done / each.bytes_total : null;
  return [
    h("progress", { max: "1", value: done ?? 0, "aria-label": `${each.model} loaded` }),
    ` ${percent(done)}`,
  ];
}

// --- commands and the start-up log -----------------------------------------------------------

const OPEN = new Set();

export function ordered(card, commands, now) {
  const tones = { failed: "bad", refused: "bad", expired: "warn", succeeded: "good" };
  const rows = commands.rows.map((each) => [
    [each.type.replaceAll("_", " "), h("div", { class: "small soft" }, h("code", {}, each.id))],
    h("span", { class: `badge ${tones[each.state] ?? ""}` }, each.state),
    since(each.issued_at, now, " ago"),
    each.delivered_at ? since(each.delivered_at, now, " ago") : "not yet",
    each.finished_at ? since(each.finished_at, now, " ago") : "not yet",
    [each.reason || h("span", { class: "soft" }, "no reason given"), said(each)],
  ]);
  replace(
    card,
    h("h2", {}, "Commands"),
    table(["Command", "State", "Issued", "Handed out", "Finished", "Why, and what came of it"], rows, "None was issued, or none is kept."),
    commands.left_out ? h("p", { class: "soft" }, `${commands.left_out} older ones are not shown.`) : null,
  );
}

function said(each) {
  const parameters = Object.entries(each.parameters).filter(([, value]) => value);
  const written = parameters.map(([key, value]) => `${key}=${value}`).join(" ");
  const out = each.output
    ? h(
        "details",
        {
          open: OPEN.has(each.id),
          ontoggle: (event) => (event.target.open ? OPEN.add(each.id) : OPEN.delete(each.id)),
        },
        h("summary", {}, "What it printed"),
        each.output_left_out ? h("p", { class: "soft small" }, `${number(each.output_left_out)} letters before are not shown.`) : null,
        h("pre", { class: "mono", tabindex: "0" }, each.output),
      )
    : null;
  return [
    written ? h("div", { class: "small soft one-line", title: written.slice(0, 2_000) }, written) : null,
    each.message ? h("div", { class: "small" }, each.message) : null,
    out,
  ];
}

export function offered(card, view, api, live) {
  const id = view.machine.instance_id;
  card.hidden = !id || view.known === "journal";
  if (card.dataset.ready === id) return;
  card.dataset.ready = id;
  const text = h("pre", { class: "mono log", tabindex: "0", hidden: true, "aria-label": "Start-up log" });
  const words = h("p", { class: "soft", role: "status" }, "What its start-up script told is asked of the machine or its provider; it takes up to 25 seconds.");
  const ask = h("button", { type: "button", onclick: read }, "Read it");
  async function read() {
    ask.disabled = true;
    words.textContent = "Asking…";
    try {
      const log = await api.call("GetBootstrapLog", { instanceId: id });
      const source = log.source ? `told by ${log.source}` : "nobody told it";
      const at = log.readAt ? `, read ${time(log.readAt, live.now())}` : "";
      words.textContent = `${source}${at}${log.problem ? `; ${log.problem}` : ""}`;
      text.textContent = log.text ?? "";
      text.hidden = !log.text;
    } catch (error) {
      words.textContent = error.message;
    }
    ask.disabled = false;
    ask.textContent = "Read it again";
  }
  replace(card, h("div", { class: "head" }, h("h2", {}, "Start-up log"), h("div", { class: "right actions" }, ask)), words, text);
}

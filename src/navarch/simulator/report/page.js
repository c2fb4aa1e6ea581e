"use strict";
// The readouts of the charts, and the timeline. Everything drawn here is text or a number of the
// data block: nothing is ever parsed as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const PAGE = 100;
const KINDS = {
  fault: "in truth", recovery: "in truth", health_reported: "sensed", health_judged: "verdict",
  node_lost: "verdict", instance_vanished: "verdict", interruption_noticed: "sensed",
  launch_requested: "purchase", instance_launched: "purchase", launch_failed: "purchase",
  launch_uncertain: "purchase", launch_cleared: "purchase", node_registered: "purchase",
  drain_begun: "drain", release_requested: "drain", command_issued: "order",
  command_finished: "order", node_emptied: "drain", termination_requested: "end",
  instance_terminated: "end", node_retired: "end", node_dismissed: "end",
  target_changed: "scaling", workload_told: "scheduler", workload_refused: "scheduler",
};

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawn(parent, tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function clock(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const whole = Math.floor(seconds);
  const days = Math.floor(whole / 86400);
  const rest = `${two(Math.floor(whole / 3600) % 24)}:${two(Math.floor(whole / 60) % 60)}`;
  return `+${days ? `${days} d ` : ""}${rest}:${two(whole % 60)}`;
}

function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 5400) return `${Math.round(seconds / 6) / 10} min`;
  if (seconds < 172800) return `${Math.round(seconds / 360) / 10} h`;
  return `${Math.round(seconds / 8640) / 10} d`;
}

// --- charts ---------------------------------------------------------------------------------

function watch(figure) {
  const chart = data.charts[figure.dataset.chart];
  const plot = figure.querySelector("svg.plot");
  const readout = figure.querySelector("output");
  const cursor = drawn(plot, "line", { class: "cursor", y1: 0, y2: 240, visibility: "hidden" });
  let at = chart.seconds.length - 1;
  function show(index) {
    at = Math.max(0, Math.min(chart.seconds.length - 1, index));
    const x = (chart.seconds[at] / data.seconds) * 1000;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.setAttribute("visibility", "visible");
    const values = chart.columns.map(([name, values]) => [name, values[at]]);
    const shown = values.filter(([, value], index) => value || index === 0);
    readout.textContent =
      `${clock(chart.seconds[at])} · ` + shown.map(([name, value]) => `${name} ${value}`).join(" · ");
  }
  function nearest(event) {
    const box = plot.getBoundingClientRect();
    const seconds = ((event.clientX - box.left) / box.width) * data.seconds;
    let index = chart.seconds.findIndex((each) => each >= seconds);
    show(index < 0 ? chart.seconds.length - 1 : index);
  }
  if (!chart.seconds.length) return;
  plot.addEventListener("pointermove", nearest);
  plot.addEventListener("pointerdown", nearest);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(at + step);
  });
}

// --- the timeline ---------------------------------------------------------------------------

const entries = new Map(data.entries.map((entry) => [entry.number, entry]));
const list = document.getElementById("chains");
const search = document.getElementById("search");
const found = document.getElementById("found");
const more = document.getElementById("more");
const boxes = [...document.querySelectorAll(".kinds input")];
let matching = [];
let shown = 0;

for (const chain of data.chains) {
  const steps = chain.steps.map((number) => entries.get(number));
  chain.words = [
    chain.title, chain.pool, chain.outcome, verdict(chain), ...chain.subjects,
    ...steps.flatMap((step) => [step.text, step.because, step.kind]),
  ].join("\n").toLowerCase();
}

function verdict(chain) {
  return chain.justified === false ? "not needed" : "";
}

function phases(chain) {
  const end = chain.ended ?? data.seconds;
  if (chain.kind !== "trouble") {
    const fill = { purchase: "booting", release: "ending" }[chain.kind] ?? "plain";
    return [["", chain.began, end, fill]];
  }
  const noticed = Math.min(chain.noticed ?? end, end);
  const decided = Math.max(Math.min(chain.decided ?? end, end), noticed);
  return [
    ["unnoticed", chain.began, noticed, "undetected"],
    ["noticed, nothing decided", noticed, decided, "unhealthy"],
    ["being put right", decided, end, "held"],
  ].filter(([, from, to]) => to > from);
}

function bar(chain, from, to, least) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const scale = 100 / Math.max(to - from, 0.001);
  for (const [, begin, end, fill] of phases(chain)) {
    const x = Math.min((begin - from) * scale, 100 - least);
    const width = Math.max((end - begin) * scale, least);
    drawn(svg, "rect", { class: `fill-${fill}`, x: `${x}%`, width: `${width}%`, height: "100%" });
  }
  return svg;
}

function outcome(chain) {
  const text = chain.outcome || "open";
  const extra = verdict(chain);
  const bad = extra || chain.outcome === "refused" || (!chain.outcome && chain.kind === "trouble");
  const good = ["replaced", "succeeded", "healed", "bought", "returned"].includes(chain.outcome);
  const name = bad ? "outcome bad" : good ? "outcome good" : "outcome";
  return element("span", name, extra ? `${text}, ${extra}` : text);
}

function row(chain) {
  const item = element("li");
  const head = element("button", "head");
  head.type = "button";
  head.setAttribute("aria-expanded", "false");
  const length = (chain.ended ?? data.seconds) - chain.began;
  head.append(
    element("span", "when", clock(chain.began) + (length ? ` · ${span(length)}` : "")),
    element("span", "title", chain.title),
    outcome(chain),
    bar(chain, 0, data.seconds, 0.6),
  );
  head.addEventListener("click", () => {
    const open = head.getAttribute("aria-expanded") === "true";
    head.setAttribute("aria-expanded", String(!open));
    if (open) item.lastChild.remove();
    else item.append(inside(chain));
  });
  item.append(head);
  return item;
}

function inside(chain) {
  const box = element("div", "inside");
  const named = phases(chain).filter(([name]) => name);
  if (named.length) {
    const line = element("div", "phases");
    const words = named.map(([name, from, to]) => `${name} ${span(to - from)}`).join(" → ");
    const end = chain.ended ?? data.seconds;
    line.append(element("div", "note", words), bar(chain, chain.began, end, 0.3));
    box.append(line);
  }
  const steps = element("ol", "steps");
  for (const number of chain.steps) {
    const entry = entries.get(number);
    const item = element("li");
    const text = element("span", "text", entry.text);
    if (entry.because) text.append(element("span", "because", `because ${entry.because}`));
    const kind = KINDS[entry.kind] ?? "decision";
    item.append(element("time", "", clock(entry.at)), element("span", "kind", kind), text);
    steps.append(item);
  }
  box.append(steps);
  if (chain.leftOut) {
    box.append(element("p", "note", `${chain.leftOut} more steps, mostly repetitions, left out.`));
  }
  return box;
}

function grow() {
  list.append(...matching.slice(shown, shown + PAGE).map(row));
  shown = Math.min(shown + PAGE, matching.length);
  more.hidden = shown >= matching.length;
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const kinds = new Set(boxes.filter((box) => box.checked).flatMap((box) => box.value.split(" ")));
  matching = data.chains.filter(
    (chain) => kinds.has(chain.kind) && words.every((word) => chain.words.includes(word)),
  );
  list.replaceChildren();
  shown = 0;
  grow();
  found.textContent = `${matching.length} of ${data.chains.length} chains`;
}

document.querySelectorAll("figure[data-chart]").forEach(watch);
search.value = new URLSearchParams(location.hash.slice(1)).get("q") ?? "";
search.addEventListener("input", filter);
boxes.forEach((box) => box.addEventListener("change", filter));
more.querySelector("button").addEventListener("click", grow);
document.getElementById("timeline").hidden = false;
filter();

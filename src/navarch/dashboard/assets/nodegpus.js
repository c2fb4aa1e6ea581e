// The GPUs of a node: a sparkline for each reading, and the memory errors that were reported.
import { h, replace } from "./dom.js";
import { bytes, number, percent, span, time } from "./format.js";
import { fact } from "./nodetables.js";
import { linked, sparkline } from "./sparkline.js";

const degrees = (value, bare) => (bare ? `${Math.round(value)}` : `${Math.round(value)} °C`);
const watts = (value, bare) => (bare ? `${Math.round(value)}` : `${Math.round(value)} W`);
const share = (value, bare) => (bare ? `${Math.round(value)}` : `${Math.round(value)} %`);
const times = (value) => number(value);

export function gpuCard() {
  const told = h("p", { class: "soft small" });
  const readout = h("p", { class: "small", "aria-live": "polite" });
  const table = h("div", {
    class: "scrolls gpus",
    tabindex: "0",
    role: "group",
    "aria-label": "Samples of all GPUs; left and right arrow keys go back and forth in time",
  });
  const element = h("section", { class: "card" }, h("h2", {}, "GPUs"), told, table, readout);
  let kept = [];
  let lines = new Map();
  let shape = "";
  let readings = null;

  linked(table, () => kept, (at) => {
    for (const line of lines.values()) line.at(at);
    readout.textContent = at === null ? "" : summary(readings, kept.indexOf(at), at);
  });

  function build(view) {
    lines = new Map();
    const memory = new Map(view.gpus.map((gpu) => [gpu.index, gpu.memory_total]));
    const errors = new Map(view.memory_errors.map((each) => [each.index, each]));
    const rows = view.readings.gpus.map(({ index }) => {
      const gpu = view.gpus.find((each) => each.index === index);
      const total = memory.get(index) || 0;
      const size = (value, bare) => (bare ? number(value / 2 ** 30, 1) : bytes(value));
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, `GPU ${index}`, h("div", { class: "small soft" }, gpu?.name || "name not told")),
        cell(index, "utilization", { write: share, high: 100 }),
        cell(index, "temperature", { write: degrees, low: 20, high: 90 }),
        cell(index, "power", { write: watts, high: 100 }),
        cell(index, "memory", { write: size, high: total || null }),
        h("td", { dataset: { label: "memory errors" } }, eccCell(index, errors.get(index), Date.parse(view.now))),
      );
    });
    const host = h(
      "tr",
      {},
      h("th", { scope: "row" }, "Host"),
      cell("host", "processors", { write: share, high: 100 }),
      h("td", {}),
      h("td", {}),
      cell("host", "main memory", { write: share, high: 100 }),
      h("td", {}),
    );
    replace(
      table,
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h("tr", {}, ["", "Utilization", "Temperature", "Power", "Memory", "Memory errors, 24 h"].map((each) => h("th", { scope: "col" }, each))),
        ),
        h("tbody", {}, rows, host),
      ),
    );
  }

  function cell(index, name, options) {
    const line = sparkline({ label: `${index === "host" ? "Host" : `GPU ${index}`}, ${name}`, ...options });
    lines.set(`${index} ${name}`, line);
    return h("td", { dataset: { label: name } }, line.element);
  }

  function freshen(next) {
    readings = next;
    kept = next.times.map((each) => Date.parse(each));
    const to = Date.parse(next.now);
    const from = Math.min(kept[0] ?? to, to - 300_000);
    const gap = 2_500 * next.interval_seconds;
    table.dataset.from = from;
    table.dataset.to = to;
    const draw = (key, values) => lines.get(key)?.update({ times: kept, values, from, to, gap });
    for (const gpu of next.gpus) {
      draw(`${gpu.index} utilization`, gpu.utilization_percent);
      draw(`${gpu.index} temperature`, gpu.temperature_celsius);
      draw(`${gpu.index} power`, gpu.power_watts);
      draw(`${gpu.index} memory`, gpu.memory_used_bytes);
    }
    draw("host processors", next.cpu_percent);
    draw("host main memory", next.memory_percent);
    tell(next, to);
  }

  function tell(next, to) {
    const newest = kept[kept.length - 1];
    const heard = next.heard_at ? `heard ${span((to - Date.parse(next.heard_at)) / 1000)} ago` : "not heard since the control plane started";
    const samples = newest
      ? `newest sample ${span((to - newest) / 1000)} ago, ${kept.length} kept over ${span((to - kept[0]) / 1000)}`
      : "no sample has come since the control plane started";
    told.textContent = `${heard}; ${samples}; one is wanted every ${span(next.interval_seconds)}. Memory errors are in no sample: they are counted from health reports.`;
  }

  return {
    element,
    freshen,
    update(view) {
      const now = JSON.stringify([view.gpus, view.readings.gpus.map((each) => each.index), view.memory_errors]);
      if (now !== shape) {
        build(view);
        shape = now;
      }
      element.hidden = !view.readings.gpus.length && view.known !== "node";
      freshen(view.readings);
    },
  };
}

function eccCell(index, errors, to) {
  if (!errors) return h("span", { class: "soft" }, "none reported");
  const sum = (each) => each.hours.reduce((one, other) => one + other, 0);
  const sorts = [
    ["corrected", errors.corrected, ""],
    ["uncorrected", errors.uncorrected, "bad"],
    ["remapped rows", errors.remapped, "warn"],
  ];
  const told = sorts.filter(([, each]) => sum(each) || each.total !== null || each.seq);
  if (!told.length) return h("span", { class: "soft" }, "none reported");
  const hours = sorts[0][1].hours.map((_, hour) => sorts.reduce((one, [, each]) => one + each.hours[hour], 0));
  const line = sparkline({ label: `GPU ${index}, memory errors by the hour`, write: times, high: 1 });
  line.update({
    times: hours.map((_, hour) => to - (hours.length - 1 - hour) * 3_600_000),
    values: hours,
    from: to - hours.length * 3_600_000,
    to,
    gap: Infinity,
  });
  return h(
    "div",
    { class: "ecc" },
    line.element.querySelector("svg"),
    told.map(([name, each, tone]) =>
      h(
        "div",
        { class: "small", title: each.text },
        h("span", { class: `badge ${sum(each) ? tone : ""}` }, `${sum(each)} ${name}`),
        each.total === null ? "" : ` ${number(each.total)} in all`,
        " ",
        fact(each.seq),
      ),
    ),
  );
}

function summary(readings, index, at) {
  const told = (values) => values.filter((value) => value !== null && value !== undefined);
  const busy = told(readings.gpus.map((gpu) => gpu.utilization_percent[index]));
  const hot = told(readings.gpus.map((gpu) => gpu.temperature_celsius[index]));
  const power = told(readings.gpus.map((gpu) => gpu.power_watts[index]));
  const mean = busy.length ? `mean utilization ${percent(busy.reduce((one, other) => one + other, 0) / busy.length / 100)}` : "utilization not told";
  const hottest = hot.length ? `hottest ${Math.max(...hot)} °C` : "temperature not told";
  const drawn = power.length ? `${number(power.reduce((one, other) => one + other, 0))} W in all` : "power not told";
  return `At ${time(at / 1000)}: ${mean}, ${hottest}, ${drawn}.`;
}

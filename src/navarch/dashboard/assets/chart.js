// Values over time: lines, steps and areas in one plot, with marks that open a reason.
//
//   const drawn = chart({label: "Nodes of pool training", from, to, series, marks});
//   root.append(drawn.node); drawn.update({from, to, series, marks}); drawn.close();
//
// `from` and `to` are milliseconds since 1970. A series is {name, kind, tone, points, dashed,
// stacked, hidden}: `kind` is "step", "line" or "area", `tone` the end of a custom property
// --tone-… of the theme, and `points` a list of [milliseconds, value], oldest first, a value of
// null being a gap. A step or an area of steps keeps its value until the next point. Stacked areas
// stand on those before them. A mark is {at, letter, tone, title, ...}; what a click opens is the
// page's own: `open(mark)` returns a node. The legend says the values under the cursor, which
// follows the pointer or the arrow keys; a table says all of them.
import { h, s, replace } from "./dom.js";

const MARGIN = { top: 8, right: 12, bottom: 24, left: 48 };
const LANE = 26;
const MARK_GAP = 24;
const TABLE_ROWS_MAX = 60;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  1000, 5000, 15_000, 30_000, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE,
  30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY,
];

// --- scales -----------------------------------------------------------------------------------

export function ticksOfTime(from, to, most) {
  const span = Math.max(to - from, 1);
  const step = STEPS.find((each) => span / each <= most) ?? Math.ceil(span / most / DAY) * DAY;
  const offset = new Date(from).getTimezoneOffset() * MINUTE;
  const ticks = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) {
    ticks.push(at);
  }
  return { step, ticks };
}

export function ticksOfValue(top, most, whole) {
  const rough = top / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const nice = [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999);
  let step = (nice ?? 10) * power;
  if (whole) step = Math.max(Math.ceil(step), 1);
  const ticks = [];
  for (let index = 0; index * step < top + step * 0.999; index += 1) ticks.push(index * step);
  return ticks;
}

function clock(at, step) {
  const moment = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const midnight = moment.getHours() === 0 && moment.getMinutes() === 0;
  if (step >= DAY || (midnight && step >= MINUTE)) {
    return moment.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  }
  const text = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
  return step < MINUTE ? `${text}:${two(moment.getSeconds())}` : text;
}

function moment(at) {
  return new Date(at).toLocaleString(undefined, {
    weekday: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
}

// --- series -----------------------------------------------------------------------------------

// The value that holds at a moment: of steps and areas the newest point before it, of lines the
// same, since nothing between two measurements was measured.
export function valueAt(points, at) {
  let low = 0;
  let high = points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= at) low = middle + 1;
    else high = middle;
  }
  return low ? points[low - 1][1] : null;
}

// All moments at which something changes, so that stacked areas can be summed.
function moments(series) {
  const all = new Set();
  for (const each of series) for (const [at] of each.points) all.add(at);
  return [...all].sort((a, b) => a - b);
}

function stacked(series) {
  const shown = series.filter((each) => each.stacked && !each.hidden);
  if (!shown.length) return new Map();
  const at = moments(shown);
  let base = at.map(() => 0);
  const bands = new Map();
  for (const each of shown) {
    const top = at.map((when, index) => base[index] + (valueAt(each.points, when) ?? 0));
    bands.set(each, at.map((when, index) => [when, base[index], top[index]]));
    base = top;
  }
  return bands;
}

function highest(series, bands) {
  let top = 0;
  for (const each of series) {
    if (each.hidden || each.stacked) continue;
    for (const [, value] of each.points) if (value > top) top = value;
  }
  for (const band of bands.values()) for (const [, , value] of band) if (value > top) top = value;
  return top;
}

// --- paths ------------------------------------------------------------------------------------

function pieces(points) {
  const found = [];
  let piece = [];
  for (const point of points) {
    if (point[1] === null || point[1] === undefined) {
      if (piece.length) found.push([piece, point[0]]);
      piece = [];
    } else piece.push(point);
  }
  if (piece.length) found.push([piece, null]);
  return found;
}

const round = (number) => Math.round(number * 10) / 10;

function linePath(points, x, y, steps, end) {
  let path = "";
  for (const [piece, until] of pieces(points)) {
    piece.forEach(([at, value], index) => {
      if (!index) path += `M${round(x(at))} ${round(y(value))}`;
      else if (steps) path += `H${round(x(at))}V${round(y(value))}`;
      else path += `L${round(x(at))} ${round(y(value))}`;
    });
    if (steps) path += `H${round(x(until ?? end))}`;
    else if (piece.length === 1) path += "h0.1";
  }
  return path;
}

// A band is a list of [milliseconds, low, high]; where it has no height nothing is drawn.
function bandPath(band, x, y, end) {
  let path = "";
  let tops = [];
  let bottoms = [];
  const finish = () => {
    if (tops.length) path += `M${tops.join("L")}L${bottoms.reverse().join("L")}Z`;
    tops = [];
    bottoms = [];
  };
  band.forEach(([at, low, high], index) => {
    if (high <= low) {
      finish();
      return;
    }
    const next = index + 1 < band.length ? band[index + 1][0] : end;
    tops.push(`${round(x(at))} ${round(y(high))}`, `${round(x(next))} ${round(y(high))}`);
    bottoms.push(`${round(x(at))} ${round(y(low))}`, `${round(x(next))} ${round(y(low))}`);
  });
  finish();
  return path;
}

function areaPath(points, x, y, end) {
  let path = "";
  for (const [piece, until] of pieces(points)) {
    path += bandPath(piece.map(([at, value]) => [at, 0, value]), x, y, until ?? end);
  }
  return path;
}

// --- the chart --------------------------------------------------------------------------------

export function chart(options) {
  return new Chart(options);
}

class Chart {
  constructor(options) {
    this.options = { format: (value) => String(value), whole: false, height: 240, marks: [], ...options };
    this.width = 0;
    this.cursor = null;
    this.picked = null;
    this.hidden = new Set(this.options.series.filter((each) => each.hidden).map((e) => e.name));
    this.lane = h("div", { class: "chart-lane", role: "group" });
    this.svg = s("svg", { class: "chart-plot", "aria-hidden": "true", height: this.options.height });
    this.legend = h("div", { class: "chart-legend" });
    this.readout = h("span", { class: "chart-when" });
    this.reason = h("div", { class: "chart-reason", hidden: "" });
    this.field = h("div", { class: "chart-field", tabindex: "0", role: "slider" }, this.svg);
    this.field.setAttribute("aria-orientation", "horizontal");
    this.rows = h("div", { class: "chart-table", tabindex: "0" });
    this.table = h(
      "details", { class: "chart-values" }, h("summary", {}, "Values as a table"), this.rows,
    );
    this.node = h(
      "figure", { class: "chart" },
      h("figcaption", { class: "chart-head" }, this.legend, this.readout),
      this.lane, this.field, this.reason, this.table,
    );
    this.listen();
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.field);
    this.legends();
  }

  listen() {
    this.field.addEventListener("pointermove", (event) => {
      this.point(this.timeAt(event.clientX - this.field.getBoundingClientRect().left));
    });
    this.field.addEventListener("pointerleave", () => this.point(null));
    this.field.addEventListener("blur", () => this.point(null));
    this.field.addEventListener("focus", () => this.point(this.cursor ?? this.options.to));
    this.field.addEventListener("keydown", (event) => this.key(event));
    this.table.addEventListener("toggle", () => this.tabulate());
    this.reason.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.shut(true);
    });
  }

  update(options) {
    Object.assign(this.options, options);
    if (this.cursor !== null) this.cursor = Math.min(this.cursor, this.options.to);
    this.legends();
    this.draw();
    this.tabulate();
  }

  close() {
    this.sizes.disconnect();
  }

  resize() {
    const width = Math.floor(this.field.clientWidth);
    if (width && width !== this.width) {
      this.width = width;
      this.draw();
    }
  }

  get right() {
    return Math.max(this.width - MARGIN.right, MARGIN.left + 1);
  }

  x(at) {
    const { from, to } = this.options;
    const share = (Math.min(Math.max(at, from), to) - from) / Math.max(to - from, 1);
    return MARGIN.left + share * (this.right - MARGIN.left);
  }

  timeAt(pixel) {
    const { from, to } = this.options;
    const share = (pixel - MARGIN.left) / (this.right - MARGIN.left);
    return from + Math.min(Math.max(share, 0), 1) * (to - from);
  }

  shown() {
    return this.options.series.map((each) => ({ ...each, hidden: this.hidden.has(each.name) }));
  }

  // --- drawing ---

  draw() {
    if (!this.width) return;
    const series = this.shown();
    const bands = stacked(series);
    const { height } = this.options;
    const bottom = height - MARGIN.bottom;
    const most = highest(series, bands) || 1;
    const ticks = ticksOfValue(most, 4, this.options.whole);
    const top = ticks[ticks.length - 1];
    const x = (at) => this.x(at);
    const y = (value) => bottom - (value / top) * (bottom - MARGIN.top);
    this.svg.setAttribute("width", this.width);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.line = s("line", { class: "chart-cursor", y1: MARGIN.top, y2: bottom });
    this.dots = s("g", { class: "chart-dots" });
    this.y = y;
    replace(
      this.svg,
      this.grid(ticks, y, bottom),
      ...this.areas(series, bands, x, y),
      ...this.lines(series, x, y),
      ...this.stems(bottom),
      this.line,
      this.dots,
    );
    this.marks();
    this.point(this.cursor);
  }

  grid(ticks, y, bottom) {
    const { from, to, format } = this.options;
    const lines = s("g", { class: "chart-grid" });
    for (const value of ticks) {
      lines.append(
        s("line", { x1: MARGIN.left, x2: this.right, y1: y(value), y2: y(value) }),
        s("text", { x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)),
      );
    }
    const many = Math.max(Math.floor((this.right - MARGIN.left) / 88), 2);
    const { step, ticks: times } = ticksOfTime(from, to, many);
    for (const at of times) {
      const where = this.x(at);
      const edge = where > this.right - 22 ? "end" : where < MARGIN.left + 16 ? "start" : "middle";
      lines.append(
        s("line", { class: "tick", x1: where, x2: where, y1: bottom, y2: bottom + 4 }),
        s("text", { x: where, y: bottom + 18, "text-anchor": edge }, clock(at, step)),
      );
    }
    return lines;
  }

  areas(series, bands, x, y) {
    const end = this.options.to;
    return series.filter((each) => each.kind === "area" && !each.hidden).map((each) => {
      const path = each.stacked
        ? bandPath(bands.get(each), x, y, end)
        : areaPath(each.points, x, y, end);
      return s("path", { class: `chart-area tone-${each.tone}`, d: path });
    });
  }

  lines(series, x, y) {
    const end = this.options.to;
    return series.filter((each) => each.kind !== "area" && !each.hidden).map((each) => {
      const dashed = each.dashed ? " dashed" : "";
      const path = linePath(each.points, x, y, each.kind === "step", end);
      return s("path", { class: `chart-line tone-${each.tone}${dashed}`, d: path });
    });
  }

  stems(bottom) {
    return this.groups().map((group) =>
      s("line", {
        class: "chart-stem", x1: group.x, x2: group.x, y1: 0, y2: bottom,
      }),
    );
  }

  // --- marks ---

  // Marks that would lie on each other become one with a number.
  groups() {
    const { from, to } = this.options;
    const found = [];
    for (const mark of this.options.marks) {
      if (mark.at < from || mark.at > to) continue;
      const x = this.x(mark.at);
      const last = found[found.length - 1];
      if (last && x - last.x < MARK_GAP) last.marks.push(mark);
      else found.push({ x, marks: [mark] });
    }
    return found;
  }

  marks() {
    const focused = this.lane.contains(document.activeElement)
      ? document.activeElement.dataset.key
      : null;
    const groups = this.groups();
    const buttons = groups.map((group) => this.markButton(group));
    this.lane.style.height = groups.length ? `${LANE}px` : "0";
    this.lane.setAttribute("aria-label", `${this.options.marks.length} decisions; arrow keys move`);
    replace(this.lane, ...buttons);
    const again = buttons.find((each) => each.dataset.key === focused);
    const entry = again ?? buttons[buttons.length - 1];
    for (const each of buttons) each.tabIndex = each === entry ? 0 : -1;
    if (again) again.focus({ preventScroll: true });
    if (this.picked && !groups.some((group) => keyOf(group) === this.picked)) this.shut(false);
  }

  markButton(group) {
    const newest = group.marks[group.marks.length - 1];
    const many = group.marks.length;
    const text = many > 1 ? String(many) : newest.letter;
    const tones = new Set(group.marks.map((mark) => mark.tone));
    const tone = tones.size === 1 ? newest.tone : "mixed";
    const button = h("button", { type: "button", class: `chart-mark tone-${tone}` }, text);
    const said = many > 1 ? `${many} decisions, the last: ${newest.title}` : newest.title;
    button.setAttribute("aria-label", `${moment(newest.at)}: ${said}`);
    button.setAttribute("aria-expanded", String(this.picked === keyOf(group)));
    button.title = said;
    button.dataset.key = keyOf(group);
    button.style.left = `${round(group.x)}px`;
    button.addEventListener("click", () => this.pick(group));
    button.addEventListener("keydown", (event) => this.rove(event));
    return button;
  }

  rove(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") this.shut(true);
    if (!(event.key in moves)) return;
    event.preventDefault();
    const buttons = [...this.lane.children];
    const here = buttons.indexOf(event.currentTarget) + moves[event.key];
    const next = buttons[Math.min(Math.max(here, 0), buttons.length - 1)];
    for (const each of buttons) each.tabIndex = each === next ? 0 : -1;
    next.focus();
  }

  pick(group) {
    const key = keyOf(group);
    if (this.picked === key) {
      this.shut(true);
      return;
    }
    this.picked = key;
    const close = h("button", { type: "button", class: "chart-shut" }, "Close");
    close.addEventListener("click", () => this.shut(true));
    const open = this.options.open ?? ((mark) => h("p", {}, mark.title));
    replace(this.reason, ...group.marks.slice().reverse().map((mark) => open(mark)), close);
    this.reason.hidden = false;
    this.reason.tabIndex = -1;
    for (const each of this.lane.children) {
      each.setAttribute("aria-expanded", String(each.dataset.key === key));
    }
    this.reason.focus({ preventScroll: true });
  }

  shut(back) {
    const key = this.picked;
    this.picked = null;
    this.reason.hidden = true;
    for (const each of this.lane.children) {
      each.setAttribute("aria-expanded", "false");
      if (back && each.dataset.key === key) each.focus();
    }
  }

  // --- reading ---

  legends() {
    this.values = new Map();
    const entries = this.options.series.map((each) => {
      const value = h("span", { class: "chart-value" });
      this.values.set(each.name, value);
      const shape = each.kind === "area" ? "area" : each.dashed ? "dashed" : "line";
      const swatch = h("span", { class: `chart-swatch ${shape} tone-${each.tone}` });
      const button = h(
        "button", { type: "button", class: "chart-key" }, swatch, h("span", {}, each.name), value,
      );
      if (each.means) button.title = each.means;
      button.setAttribute("aria-pressed", String(!this.hidden.has(each.name)));
      button.addEventListener("click", () => {
        if (!this.hidden.delete(each.name)) this.hidden.add(each.name);
        button.setAttribute("aria-pressed", String(!this.hidden.has(each.name)));
        this.draw();
      });
      return button;
    });
    const focused = [...this.legend.children].indexOf(document.activeElement);
    replace(this.legend, ...entries);
    if (focused >= 0) this.legend.children[focused]?.focus({ preventScroll: true });
    this.point(this.cursor);
  }

  said(value) {
    return value === null || value === undefined ? "–" : this.options.format(value);
  }

  point(at) {
    const { from, to, series, label } = this.options;
    this.cursor = at;
    const when = at ?? to;
    const texts = [];
    const dots = [];
    let base = 0;
    for (const each of series) {
      const value = valueAt(each.points, when);
      this.values.get(each.name).textContent = this.said(value);
      if (this.hidden.has(each.name)) continue;
      texts.push(`${each.name} ${this.said(value)}`);
      base = each.stacked ? base + (value ?? 0) : base;
      const height = each.stacked ? base : value;
      if (at !== null && height !== null && this.y) {
        dots.push(
          s("circle", { class: `tone-${each.tone}`, cx: this.x(at), cy: this.y(height), r: 3.5 }),
        );
      }
    }
    this.readout.textContent = at === null ? "now" : moment(when);
    this.field.setAttribute("aria-label", label);
    this.field.setAttribute("aria-valuemin", String(Math.round(from / 1000)));
    this.field.setAttribute("aria-valuemax", String(Math.round(to / 1000)));
    this.field.setAttribute("aria-valuenow", String(Math.round(when / 1000)));
    this.field.setAttribute("aria-valuetext", `${moment(when)}: ${texts.join(", ")}`);
    if (!this.line) return;
    this.line.setAttribute("visibility", at === null ? "hidden" : "visible");
    if (at !== null) {
      this.line.setAttribute("x1", this.x(at));
      this.line.setAttribute("x2", this.x(at));
    }
    replace(this.dots, ...dots);
  }

  key(event) {
    const { from, to } = this.options;
    const step = (to - from) / 120;
    const moves = {
      ArrowLeft: -step, ArrowRight: step, ArrowDown: -step, ArrowUp: step,
      PageDown: -10 * step, PageUp: 10 * step, Home: -Infinity, End: Infinity,
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.point(Math.min(Math.max((this.cursor ?? to) + moves[event.key], from), to));
  }

  tabulate() {
    if (!this.table.open) return;
    const { from, to, series } = this.options;
    const step = (to - from) / TABLE_ROWS_MAX;
    const rows = [];
    for (let index = TABLE_ROWS_MAX; index >= 0; index -= 1) {
      const at = from + index * step;
      const cells = series.map((each) =>
        h("td", { class: "number" }, this.said(valueAt(each.points, at))),
      );
      rows.push(h("tr", {}, h("th", { scope: "row" }, moment(at)), ...cells));
    }
    const heads = series.map((each) => h("th", { scope: "col", class: "number" }, each.name));
    replace(
      this.rows,
      h(
        "table", {},
        h("caption", {}, this.options.label),
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "when"), ...heads)),
        h("tbody", {}, ...rows),
      ),
    );
  }
}

function keyOf(group) {
  const first = group.marks[0];
  return `${first.at} ${first.letter} ${group.marks.length}`;
}

// Sparklines: the newest minutes of a reading as a small line, with its value, its range and the
// gaps where no sample came.
//
// Nothing is drawn between two samples that are further apart than `gap`: a dashed line on the
// ground stands there, and the words beside the line count it. A value that is null was not told.

import { h, s } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 28;
const EDGE = 3;

/** The samples as runs of neighbours: lists of indexes, none of them across a gap or a null. */
export function runs(times, values, gap) {
  const found = [];
  let run = [];
  for (let index = 0; index < times.length; index += 1) {
    if (values[index] === null || values[index] === undefined) {
      if (run.length) found.push(run);
      run = [];
      continue;
    }
    const before = run[run.length - 1];
    if (run.length && times[index] - times[before] > gap) {
      found.push(run);
      run = [];
    }
    run.push(index);
  }
  if (run.length) found.push(run);
  return found;
}

/** The least, the greatest and the newest value that was told; null: none was. */
export function told(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return null;
  return { low: Math.min(...known), high: Math.max(...known), newest: known[known.length - 1] };
}

/** The index of the sample nearest to a time; -1 without samples. */
export function nearest(times, time) {
  let best = -1;
  for (let index = 0; index < times.length; index += 1) {
    if (best < 0 || Math.abs(times[index] - time) < Math.abs(times[best] - time)) best = index;
  }
  return best;
}

/** A span of seconds in two words at most. */
export function spanOf(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

/**
 * Make a sparkline of one reading.
 *
 * `label` says what it is of, `write` puts a number with its unit into words, `low` and `high` are
 * what the drawing reaches at least; `high` null: only as far as the values do. `absent` is said
 * where no value was told at all. Returns `element`, `update` and `at`.
 */
export function sparkline({ label, write, low = 0, high = null, absent = "not told" }) {
  const line = s("path", { class: "spark-line" });
  const area = s("path", { class: "spark-area" });
  const gaps = s("path", { class: "spark-gap" });
  const dots = s("path", { class: "spark-dots" });
  const cursor = s("path", { class: "spark-cursor" });
  const drawing = s(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      focusable: "false",
    },
    area,
    gaps,
    line,
    dots,
    cursor,
  );
  const value = h("span", { class: "spark-now" });
  const range = h("span", { class: "spark-range" });
  const element = h("span", { class: "sparkline" }, drawing, value, range);
  let kept = { times: [], values: [], from: 0, to: 1, gap: Infinity };
  let ends = { low, high: high ?? 1 };

  const x = (time) => {
    const share = (time - kept.from) / Math.max(kept.to - kept.from, 1);
    return EDGE + Math.min(Math.max(share, 0), 1) * (WIDTH - 2 * EDGE);
  };
  const y = (reading) => {
    const share = (reading - ends.low) / Math.max(ends.high - ends.low, 1e-9);
    return HEIGHT - EDGE - Math.min(Math.max(share, 0), 1) * (HEIGHT - 2 * EDGE);
  };
  const point = (index) => `${x(kept.times[index]).toFixed(1)},${y(kept.values[index]).toFixed(1)}`;

  function draw(found) {
    const ground = HEIGHT - EDGE;
    const lines = [];
    const alone = [];
    const areas = [];
    const holes = [];
    found.forEach((run, number) => {
      // A sample that stands alone is a dot: a line of no length with round ends.
      const path = run.map(point).join(" L");
      if (run.length === 1) alone.push(`M${path} h0.01`);
      else lines.push(`M${path}`);
      const first = x(kept.times[run[0]]).toFixed(1);
      const last = x(kept.times[run[run.length - 1]]).toFixed(1);
      if (run.length > 1) areas.push(`M${first},${ground} L${path} L${last},${ground} Z`);
      const next = found[number + 1];
      if (next) holes.push(`M${last},${ground} L${x(kept.times[next[0]]).toFixed(1)},${ground}`);
    });
    if (isStale(found)) {
      const last = found[found.length - 1];
      holes.push(`M${x(kept.times[last[last.length - 1]]).toFixed(1)},${ground} H${WIDTH - EDGE}`);
    }
    line.setAttribute("d", lines.join(" "));
    dots.setAttribute("d", alone.join(" "));
    area.setAttribute("d", areas.join(" "));
    gaps.setAttribute("d", holes.join(" "));
    return holes.length;
  }

  function isStale(found) {
    const last = found[found.length - 1];
    return Boolean(last) && kept.to - kept.times[last[last.length - 1]] > kept.gap;
  }

  /** Draw these samples: times in milliseconds, oldest first; null where a value was not told. */
  function update({ times, values, from, to, gap }) {
    kept = { times, values, from, to, gap };
    const known = told(values);
    ends = { low: Math.min(low, known?.low ?? low), high: Math.max(high ?? known?.high ?? 1, known?.high ?? 0) };
    const found = runs(times, values, gap);
    const missing = draw(found);
    element.classList.toggle("spark-absent", known === null);
    element.classList.toggle("spark-stale", isStale(found));
    if (known === null) {
      value.textContent = absent;
      range.textContent = "";
      drawing.setAttribute("aria-label", `${label}: ${absent}`);
      return;
    }
    const reach = spanOf((to - from) / 1000);
    const holes = missing === 1 ? ", 1 gap" : missing ? `, ${missing} gaps` : "";
    value.textContent = write(known.newest);
    range.textContent = `${write(known.low, true)}–${write(known.high)}${holes}`;
    const words = `${write(known.low)} to ${write(known.high)} within ${reach}${holes}`;
    drawing.setAttribute("aria-label", `${label}: ${write(known.newest)} now, ${words}`);
  }

  /** Show the reading nearest to a time, in milliseconds; null: the newest again. */
  function at(time) {
    const known = told(kept.values);
    if (known === null) return;
    const index = time === null ? -1 : nearest(kept.times, time);
    const reading = index < 0 ? known.newest : kept.values[index];
    const isTold = reading !== null && reading !== undefined;
    value.textContent = isTold ? write(reading) : "not told";
    element.classList.toggle("spark-back", index >= 0);
    const where = index < 0 ? "" : `M${x(kept.times[index]).toFixed(1)},0 V${HEIGHT}`;
    cursor.setAttribute("d", where);
  }

  return { element, update, at };
}

/**
 * Have all sparklines inside of `region` show one moment: under the pointer, or by the arrow keys.
 *
 * `moments` returns the times of the samples, in milliseconds; `show` is called with one of them,
 * or with null when the newest is to be seen again.
 */
export function linked(region, moments, show) {
  let index = -1;
  function to(next) {
    const times = moments();
    index = next === null || !times.length ? -1 : Math.min(Math.max(next, 0), times.length - 1);
    show(index < 0 ? null : times[index]);
  }
  region.addEventListener("pointermove", (event) => {
    const drawing = event.target.closest?.("svg.spark");
    const times = moments();
    if (!drawing || !times.length) return;
    const box = drawing.getBoundingClientRect();
    const share = (event.clientX - box.left) / Math.max(box.width, 1);
    const first = Number(region.dataset.from);
    const last = Number(region.dataset.to);
    to(nearest(times, first + share * (last - first)));
  });
  region.addEventListener("pointerleave", () => to(null));
  region.addEventListener("keydown", (event) => {
    if (event.target !== region) return;
    const times = moments();
    const here = index < 0 ? times.length - 1 : index;
    const next = {
      ArrowLeft: here - 1,
      ArrowRight: here + 1,
      PageUp: here - 10,
      PageDown: here + 10,
      Home: 0,
      End: times.length - 1,
      Escape: null,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    to(next);
  });
  region.addEventListener("blur", () => to(null));
}

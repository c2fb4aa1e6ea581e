// Timelines: what something was over time, a lane for each thing that can change, and marks for
// what happened. The whole is one stop of the tab key; arrow keys walk through it, and Enter opens
// the fact in the journal. A table below says the same in words.

import { h, replace, s } from "./dom.js";
import { time } from "./format.js";

const TICKS = 5;
const STEPS = [60, 300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

/** Round moments between two others, in milliseconds: at most about `TICKS` of them. */
export function ticks(from, to) {
  const span = (to - from) / 1000;
  const step = STEPS.find((each) => span / each <= TICKS) ?? Math.ceil(span / TICKS / 604800) * 604800;
  const zone = new Date(from).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((from / 1000 - zone) / step) * step + zone; at * 1000 <= to; at += step) {
    found.push(at * 1000);
  }
  return found;
}

/** A moment as short as the span allows: with the date where days matter. */
export function clock(at, span) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (span > 172_800_000) return `${date.getDate()}.${date.getMonth() + 1}. ${minutes}`;
  return span > 600_000 ? minutes : `${minutes}:${two(date.getSeconds())}`;
}

// A tone is told by colour, by the height of its bar, and where it is bad by a sign.
const BARS = { good: 3, act: 5, warn: 6, bad: 8, note: 3, none: 1 };
const SIGNS = { bad: "! ", warn: "▲ " };
const MARKS = {
  bad: "M0,-6 L6,5 L-6,5 Z",
  good: "M0,-5 A5,5 0 1 1 -0.01,-5 Z",
  act: "M0,-6 L6,0 L0,6 L-6,0 Z",
  note: "M-4,-4 H4 V4 H-4 Z",
};

/**
 * Make a timeline; `label` says what it is of, `link` gives the address of a fact by its number.
 *
 * `update` takes `from` and `to` in milliseconds; `lanes` of `{name, segments}`, each segment with
 * `from`, `to`, `state`, `tone`, `text` and `seq`; and `marks` of `{at, tone, text, seq, name}`.
 * Tones are `good`, `warn`, `bad`, `act`, `note` and `none`.
 */
export function timeline({ label, link }) {
  const body = h("div", { class: "timeline-body" });
  const readout = h("p", { class: "timeline-readout", "aria-live": "polite" });
  const table = h("tbody", {});
  const alternative = h(
    "details",
    { class: "timeline-words" },
    h("summary", {}, "The same as a table"),
    h(
      "div",
      { class: "scrolls" },
      h(
        "table",
        {},
        h("caption", { class: "hidden" }, label),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Since"),
            h("th", { scope: "col" }, "What"),
            h("th", { scope: "col" }, "Is"),
            h("th", { scope: "col" }, "Why"),
            h("th", { scope: "col" }, "Fact"),
          ),
        ),
        table,
      ),
    ),
  );
  const element = h("div", { class: "timeline", role: "group", "aria-label": label });
  replace(element, body, readout, alternative);
  let items = [];
  let current = "";
  const hint = "Arrow keys walk through the timeline; Enter opens the fact.";
  readout.textContent = hint;

  function choose(item, focus) {
    for (const each of items) each.node.setAttribute("tabindex", each === item ? "0" : "-1");
    current = item.key;
    if (focus) item.node.focus();
  }

  function say(item) {
    readout.textContent = item ? item.words : hint;
  }

  function step(event) {
    const here = items.findIndex((item) => item.node === event.target.closest?.("a"));
    if (here < 0) return;
    const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: items.length - 1 };
    let found = next[event.key];
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      found = across(items, here, event.key === "ArrowUp" ? -1 : 1);
    }
    if (found === undefined) return;
    event.preventDefault();
    choose(items[Math.min(Math.max(found, 0), items.length - 1)], true);
  }
  body.addEventListener("keydown", step);

  function made(node, { key, at, lane, words }) {
    const item = { node, key, at, lane, words };
    node.setAttribute("tabindex", "-1");
    node.setAttribute("aria-label", words);
    node.addEventListener("focus", () => {
      choose(item, false);
      say(item);
    });
    node.addEventListener("pointerenter", () => say(item));
    items.push(item);
    return node;
  }

  function address(seq) {
    return seq ? { href: link(seq) } : {};
  }

  function update({ from, to, lanes, marks }) {
    const focused = body.contains(document.activeElement);
    const span = Math.max(to - from, 1);
    const part = (at) => (Math.min(Math.max((at - from) / span, 0), 1) * 100).toFixed(3);
    items = [];
    const rows = [];
    lanes.forEach((lane, number) => {
      const drawn = lane.segments.map((segment) => {
        const left = part(segment.from);
        const width = Math.max(part(segment.to) - left, 0.2);
        const words = `${lane.name} ${said(segment.state)} since ${time(segment.from / 1000)}: ${segment.text || "no reason is known"}`;
        return made(
          s(
            "a",
            { class: `segment tone-${segment.tone}`, ...address(segment.seq) },
            s(
              "svg",
              { x: `${left}%`, width: `${width}%`, height: "22" },
              s("rect", { class: "ground", width: "100%", height: "22" }),
              s("rect", { class: "bar", y: 22 - bar(segment.tone), width: "100%", height: bar(segment.tone) }),
              s("text", { x: "6", y: "13" }, `${SIGNS[segment.tone] ?? ""}${said(segment.state)}`),
            ),
          ),
          { key: `${lane.name} ${segment.seq ?? segment.from}`, at: segment.from, lane: number, words },
        );
      });
      rows.push(
        h(
          "div",
          { class: "lane" },
          h("span", { class: "lane-name" }, lane.name),
          s("svg", { class: "lane-track", height: "22", width: "100%" }, ...drawn),
        ),
      );
    });
    rows.push(markRow(marks, part, lanes.length), axis(from, to, part));
    items.sort((one, other) => one.at - other.at || one.lane - other.lane);
    replace(body, ...rows);
    const again = items.find((item) => item.key === current) ?? items[items.length - 1];
    if (again) choose(again, focused);
    words(lanes);
  }

  function markRow(marks, part, lane) {
    const drawn = marks.map((mark) =>
      made(
        s(
          "a",
          { class: `point tone-${mark.tone}`, ...address(mark.seq) },
          s(
            "svg",
            { x: `${part(mark.at)}%`, y: "11", overflow: "visible", width: "1", height: "1" },
            s("rect", { class: "point-reach", x: "-8", y: "-11", width: "16", height: "22" }),
            s("path", { d: MARKS[mark.tone] ?? MARKS.note }),
          ),
        ),
        { key: `fact ${mark.seq}`, at: mark.at, lane, words: `${time(mark.at / 1000)} ${mark.text}` },
      ),
    );
    return h(
      "div",
      { class: "lane" },
      h("span", { class: "lane-name" }, "facts"),
      s("svg", { class: "lane-track", height: "22", width: "100%" }, ...drawn),
    );
  }

  function axis(from, to, part) {
    const drawn = ticks(from, to).flatMap((at) => [
      s("line", { x1: `${part(at)}%`, x2: `${part(at)}%`, y1: "0", y2: "4" }),
      s("text", { x: `${part(at)}%`, y: "16", "text-anchor": "middle" }, clock(at, to - from)),
    ]);
    const track = s("svg", { class: "lane-track timeline-axis", height: "18", width: "100%" }, ...drawn);
    track.setAttribute("aria-hidden", "true");
    return h("div", { class: "lane" }, h("span", { class: "lane-name" }, ""), track);
  }

  function words(lanes) {
    const told = lanes.flatMap((lane) => lane.segments.map((segment) => ({ ...segment, lane })));
    told.sort((one, other) => other.from - one.from);
    replace(
      table,
      ...told.map((segment) =>
        h(
          "tr",
          {},
          h("td", {}, time(segment.from / 1000)),
          h("td", {}, segment.lane.name),
          h("td", {}, said(segment.state)),
          h("td", {}, segment.text || "–"),
          h("td", {}, segment.seq ? h("a", { href: link(segment.seq) }, `#${segment.seq}`) : "–"),
        ),
      ),
    );
  }

  return { element, update };
}

function said(state) {
  return state === "" ? "not known" : state.replaceAll("_", " ");
}

function bar(tone) {
  return BARS[tone] ?? 3;
}

/** The item of the next lane up or down that is nearest in time. */
function across(items, here, direction) {
  const { at, lane } = items[here];
  const lanes = [...new Set(items.map((item) => item.lane))].sort((one, other) => one - other);
  const wanted = lanes[lanes.indexOf(lane) + direction];
  if (wanted === undefined) return here;
  let best = here;
  items.forEach((item, index) => {
    if (item.lane !== wanted) return;
    if (best === here || Math.abs(item.at - at) < Math.abs(items[best].at - at)) best = index;
  });
  return best;
}

// Parts of a page that are drawn anew only where what they show has changed, so that nobody's focus
// or selection is lost to a number that stayed the same.
import { h, replace } from "./dom.js";

// section("div", {class: "card"}, draw) → {node, update(data)}; `draw(data)` returns children.
export function section(tag, attributes, draw) {
  const node = h(tag, attributes);
  let shown;
  return {
    node,
    update(data) {
      const now = JSON.stringify(data);
      if (now === shown) return;
      shown = now;
      const focused = node.contains(document.activeElement) ? keyOf(document.activeElement) : "";
      replace(node, ...[draw(data)].flat());
      if (!focused) return;
      for (const each of node.querySelectorAll("a, button, summary, input, [tabindex]")) {
        if (keyOf(each) === focused) {
          each.focus({ preventScroll: true });
          return;
        }
      }
    },
  };
}

function keyOf(node) {
  return `${node.tagName} ${node.getAttribute("href") ?? ""} ${node.textContent.slice(0, 80)}`;
}

// One number of a list of tiles, and what belongs to it.
export function tile(term, value, more = "") {
  return h("div", { class: "tile" }, h("dt", {}, term), h("dd", {}, value),
    more ? h("dd", { class: "more" }, more) : null);
}

// A switch between windows of time: one button each, of which one is pressed.
export const WINDOWS = [
  ["1h", "1 hour"],
  ["6h", "6 hours"],
  ["24h", "24 hours"],
  ["7d", "7 days"],
];

export function windows(chosen, choose) {
  const buttons = WINDOWS.map(([name, words]) =>
    h("button", { type: "button", "data-window": name, onclick: () => pick(name) }, words),
  );
  function press(name) {
    for (const each of buttons) {
      each.setAttribute("aria-pressed", String(each.dataset.window === name));
    }
  }
  function pick(name) {
    press(name);
    choose(name);
  }
  press(chosen);
  return h("div", { class: "windows actions", role: "group", "aria-label": "How far back" }, buttons);
}

// Loads a view again and again: when `soon()` is called, and every `seconds`. A page that is hidden
// rests. A refusal is told to `failed`, once the first load has worked.
export function loading(load, { live, seconds = 15, failed }) {
  let closed = false;
  let timer = 0;
  let running = false;
  let again = false; // asked for while one was under way, which may have seen what was before
  async function run() {
    clearTimeout(timer);
    if (closed || running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        if (!document.hidden) await load();
      } while (again && !closed);
      failed?.(null);
    } catch (error) {
      if (!closed && error.code !== "unauthenticated") failed?.(error);
    } finally {
      running = false;
    }
    if (!closed) timer = setTimeout(run, seconds * 1000);
  }
  const soon = live.debounced(run);
  const shown = () => document.hidden || soon();
  document.addEventListener("visibilitychange", shown);
  return {
    first: async () => {
      running = true;
      try {
        await load();
      } finally {
        running = false;
      }
      if (again) soon();
      else timer = setTimeout(run, seconds * 1000);
    },
    soon,
    close() {
      closed = true;
      clearTimeout(timer);
      soon.cancel();
      document.removeEventListener("visibilitychange", shown);
    },
  };
}

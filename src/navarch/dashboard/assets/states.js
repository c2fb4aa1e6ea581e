// The states of a machine: one colour and one letter each (theme.css has the colours), the gravest
// first, as navarch/dashboard/rows.py has them.
import { h } from "./dom.js";

export const STATES = [
  { name: "lost", letter: "?", words: "not heard for too long" },
  { name: "unhealthy", letter: "!", words: "judged sick" },
  { name: "repairing", letter: "R", words: "under repair, or being replaced" },
  { name: "degraded", letter: "D", words: "works, with something against it" },
  { name: "draining", letter: "↓", words: "work leaves it" },
  { name: "cordoned", letter: "C", words: "no work begins there" },
  { name: "terminating", letter: "×", words: "its end was asked for" },
  { name: "booting", letter: "B", words: "bought, not registered yet" },
  { name: "active", letter: "", words: "serves" },
];
export const STATE = Object.fromEntries(STATES.map((each) => [each.name, each]));
export const WRONG = ["lost", "unhealthy", "repairing", "degraded"];

// The coloured mark of a state, for use beside its word.
export function mark(name) {
  return h("span", { class: `mark state-${name}`, "aria-hidden": "true" }, STATE[name]?.letter ?? "");
}

// Mark and word.
export function state(name, word = name) {
  return h("span", { class: "state" }, mark(name), word);
}

// A colour of theme.css as canvas wants it, such as colour("--state-lost").
export function colour(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

// Calls `fn` when the theme changes, by the toggle or by the system.
export function onTheme(fn) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const observer = new MutationObserver(fn);
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  system.addEventListener("change", fn);
  return () => {
    observer.disconnect();
    system.removeEventListener("change", fn);
  };
}

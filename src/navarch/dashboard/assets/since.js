// How long ago something was, in elements that are counted on while a page is open.
import { h } from "./dom.js";
import { moment, span, whole } from "./format.js";

// How long something lasts, or how long ago it was; `age` counts it on.
export function since(value, now, suffix = "") {
  const at = moment(value);
  if (at === null) return "–";
  const told = { since: at.getTime(), suffix };
  return h("time", { datetime: at.toISOString(), title: whole(at), dataset: told }, lasted(told, now));
}

function lasted(told, now) {
  return span((now.getTime() - Number(told.since)) / 1000) + told.suffix;
}

// Counts on all that `since` has made below a node.
export function age(root, now) {
  for (const each of root.querySelectorAll("time[data-since]")) {
    const text = lasted(each.dataset, now);
    if (each.textContent !== text) each.textContent = text;
  }
}

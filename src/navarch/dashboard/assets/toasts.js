// Short words about what was done, or could not be.
import { h } from "./dom.js";

const SHOWN_MAX = 4;
const SECONDS = 8;

export function toast(words, { bad = false } = {}) {
  const region = document.getElementById("toasts");
  const close = h("button", { class: "plain", "aria-label": "Dismiss" }, "×");
  const node = h("div", { class: bad ? "toast bad" : "toast" }, h("span", {}, words), close);
  close.addEventListener("click", () => node.remove());
  region.append(node);
  while (region.children.length > SHOWN_MAX) region.firstElementChild.remove();
  if (!bad) setTimeout(() => node.remove(), SECONDS * 1000);
}

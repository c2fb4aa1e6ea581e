// A fact of the journal in words, with links to what it is about.
import { h, link } from "./dom.js";

// The sentence of a fact; each subject that has a page becomes a link where it stands.
export function sentence(fact) {
  const linked = fact.subjects
    .map((subject, at) => [subject, fact.pages?.[at] ?? ""])
    .filter(([subject, page]) => page === "nodes" || page === "pools")
    .sort((a, b) => b[0].length - a[0].length);
  let parts = [fact.text];
  for (const [subject, page] of linked) {
    parts = parts.flatMap((part) => (typeof part === "string" ? split(part, subject, page) : [part]));
  }
  return parts;
}

// Where a subject stands as a word of its own for the first time.
function split(words, subject, page) {
  let at = words.indexOf(subject);
  while (at >= 0 && (isPart(words[at - 1]) || isPart(words[at + subject.length]))) at = words.indexOf(subject, at + 1);
  if (at < 0) return [words];
  return [words.slice(0, at), link(page, subject), words.slice(at + subject.length)];
}

function isPart(letter) {
  return letter !== undefined && /[\w./-]/.test(letter) && letter !== ".";
}

// The subjects that the sentence does not name.
export function others(fact) {
  return fact.subjects
    .map((subject, at) => [subject, fact.pages?.[at] ?? ""])
    .filter(([subject, page]) => page && page !== "serving" && !fact.text.includes(subject))
    .map(([subject, page]) => [link(page, subject), " "]);
}

// The kind of a fact, as a badge.
export function kind(name) {
  return h("span", { class: "badge" }, name);
}

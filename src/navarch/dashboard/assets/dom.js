// Elements, made of values. Text is always a text node: nothing that the server sends becomes markup.

const SVG = "http://www.w3.org/2000/svg";

// h("p", {class: "soft", onclick: fn, "aria-label": "..."}, "text", child, [more], null)
// Attributes: a function is a listener (`onclick`); true is an empty attribute; false, null and
// undefined are left out; `style` is an object of properties, set one by one, as the policy of the
// page wants it; `dataset` is an object; `value`, `checked` and `selected` are properties.
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

export function text(content) {
  return document.createTextNode(String(content));
}

// Gives a node these children, in place of those that it has.
export function replace(node, ...children) {
  node.replaceChildren(...nodes(children));
  return node;
}

export function append(node, ...children) {
  node.append(...nodes(children));
  return node;
}

// The address of a page: route("nodes", id), route("events", "", {subject: id}).
export function route(page, id = "", query = {}) {
  const path = id === "" ? `#/${page}` : `#/${page}/${encodeURIComponent(id)}`;
  const asked = new URLSearchParams(query).toString();
  return asked ? `${path}?${asked}` : path;
}

export function link(page, id, ...children) {
  return h("a", { href: route(page, id) }, ...(children.length ? children : [id]));
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(node, name, value);
  node.append(...nodes(children));
  return node;
}

const PROPERTIES = new Set(["value", "checked", "selected", "indeterminate", "disabled"]);

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") node.addEventListener(name.replace(/^on/, ""), value);
  else if (name === "style") {
    for (const [property, each] of Object.entries(value)) {
      if (property.startsWith("--")) node.style.setProperty(property, each);
      else node.style[property] = each;
    }
  } else if (name === "dataset") Object.assign(node.dataset, value);
  else if (PROPERTIES.has(name) && name in node) node[name] = value;
  else node.setAttribute(name, value === true ? "" : String(value));
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((each) => each !== null && each !== undefined && each !== false && each !== true)
    .map((each) => (each instanceof Node ? each : text(each)));
}

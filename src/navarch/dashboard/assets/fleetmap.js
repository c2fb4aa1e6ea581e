// The map of the fleet: each machine a cell on a canvas, at a place that stays as long as its group
// stays as it is. Cells are drawn again only where something has changed.
//
//   const map = new FleetMap({open, describe})
//   map.place(groups)   groups: [{name, note, machines: [...]}]
//   map.draw(machines)  draw these again
//   map.keep(fn)        show only those for which fn says yes; the others fade; null: all
import { h, replace } from "./dom.js";
import { colour, onTheme, STATE, STATES } from "./states.js";

const LABEL = 20; // pixels above the cells of a group
const GAP = 14; // between groups
const LABELLED = 170; // pixels that a group's label and its counts need
const LABELLED_SHORT = 84; // and where there are very many groups
const MANY = 60; // groups

export class FleetMap {
  constructor({ open, describe, label }) {
    this.open = open;
    this.describe = describe;
    this.blocks = [];
    this.placeOf = new Map();
    this.keeps = null;
    this.focused = null;
    this.hovered = null;
    this.dirty = new Set();
    this.all = true;
    this.frame = 0;
    this.canvas = h("canvas", {
      tabindex: 0,
      role: "application",
      "aria-roledescription": "map of machines",
      "aria-label": label,
      "aria-describedby": "map-help",
    });
    this.tip = h("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.said = h("div", { class: "hidden", "aria-live": "polite" });
    this.root = h(
      "div",
      { class: "map" },
      h("p", { id: "map-help", class: "hidden" }, "Arrow keys move over the machines, Page Up and Page Down over the groups, Enter opens one. The table below says the same in words."),
      this.canvas,
      this.tip,
      this.said,
    );
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.root);
    this.offTheme = onTheme(() => this.recolour());
    this.canvas.addEventListener("mousemove", (event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", () => this.unhover());
    this.canvas.addEventListener("click", (event) => {
      const one = this.at(event.offsetX, event.offsetY);
      if (one) this.open(one);
    });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.focus(this.focused ?? this.first(), false));
    this.canvas.addEventListener("blur", () => this.hideTip());
    this.recolour();
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.offTheme();
  }

  place(groups) {
    this.groups = groups;
    this.layout();
  }

  keep(fn) {
    this.keeps = fn;
    this.redraw();
  }

  draw(machines) {
    for (const one of machines) this.dirty.add(one);
    this.ask();
    if (this.hovered && this.dirty.has(this.hovered)) this.showTip(this.hovered);
  }

  redraw() {
    this.all = true;
    this.ask();
  }

  ask() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.paint());
  }

  resize() {
    const width = Math.floor(this.root.clientWidth);
    if (width && width !== this.width) this.layout();
  }

  recolour() {
    this.colours = Object.fromEntries(STATES.map(({ name }) => [name, colour(`--state-${name}`)]));
    this.ink = colour("--ink");
    this.soft = colour("--soft");
    this.card = colour("--card");
    this.letter = colour("--on-state");
    this.ring = colour("--focus");
    this.redraw();
  }

  // --- places ----------------------------------------------------------------------------------

  // Groups stand side by side, as many as fit, each as wide as its cells and its label need.
  layout() {
    const width = Math.floor(this.root.clientWidth);
    if (!width || !this.groups) return;
    this.width = width;
    const count = this.groups.reduce((sum, group) => sum + group.machines.length, 0);
    this.size = count <= 250 ? 24 : count <= 1_000 ? 18 : count <= 3_000 ? 13 : 9;
    if (width < 600) this.size = Math.min(this.size, count <= 1_000 ? 16 : 8);
    this.pitch = this.size + (this.size > 12 ? 3 : 1);
    const most = Math.max(1, Math.floor(width / this.pitch));
    this.blocks = [];
    this.placeOf = new Map();
    let x = 0;
    let y = 0;
    let tall = 0;
    for (const group of this.groups) {
      const number = group.machines.length;
      const label = Math.min(width, this.groups.length > MANY ? LABELLED_SHORT : LABELLED);
      const needed = Math.max(label, Math.ceil(Math.sqrt(number * 2.6)) * this.pitch);
      const beside = Math.max(1, Math.floor((width + GAP) / (needed + GAP))); // as many fill the width
      const share = (width - (beside - 1) * GAP) / beside;
      const columns = Math.max(1, Math.min(most, Math.floor(share / this.pitch)));
      const rows = Math.ceil(number / columns);
      if (x > 0 && x + columns * this.pitch > width) {
        x = 0;
        y += tall + GAP;
        tall = 0;
      }
      const block = { group, x, y, columns, rows, width: columns * this.pitch, height: LABEL + rows * this.pitch };
      group.machines.forEach((one, place) => this.placeOf.set(one.id, { block, place }));
      this.blocks.push(block);
      x += block.width + GAP;
      tall = Math.max(tall, block.height);
    }
    this.height = Math.max(40, y + tall + 4);
    const ratio = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = Math.floor(width * ratio);
    this.canvas.height = Math.floor(this.height * ratio);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${this.height}px`;
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (this.focused && !this.placeOf.has(this.focused.id)) this.focused = null;
    this.hideTip();
    this.redraw();
  }

  spot(one) {
    const found = this.placeOf.get(one.id);
    if (!found) return null;
    const { block, place } = found;
    return {
      x: block.x + (place % block.columns) * this.pitch,
      y: block.y + LABEL + Math.floor(place / block.columns) * this.pitch,
    };
  }

  at(x, y) {
    for (const block of this.blocks) {
      if (x < block.x || x >= block.x + block.width || y < block.y + LABEL || y >= block.y + block.height) continue;
      const column = Math.floor((x - block.x) / this.pitch);
      const row = Math.floor((y - block.y - LABEL) / this.pitch);
      return block.group.machines[row * block.columns + column] ?? null;
    }
    return null;
  }

  // --- drawing ---------------------------------------------------------------------------------

  paint() {
    this.frame = 0;
    if (!this.context) return;
    if (this.all) this.paintAll();
    else for (const one of this.dirty) this.cell(one, true);
    if (this.all && this.placeOf.size) {
      if (!this.canvas.dataset.drawn) performance.mark("map-drawn");
      this.canvas.dataset.drawn = String(this.placeOf.size);
    }
    this.all = false;
    this.dirty.clear();
    if (this.focused && document.activeElement === this.canvas) this.outline(this.focused);
  }

  paintAll() {
    const { context } = this;
    context.globalAlpha = 1;
    context.fillStyle = this.card;
    context.fillRect(0, 0, this.width, this.height);
    context.textBaseline = "top";
    context.textAlign = "left";
    for (const block of this.blocks) {
      context.font = '600 12px system-ui, "Liberation Sans", sans-serif';
      context.fillStyle = this.ink;
      const name = fit(context, block.group.name, block.width * 0.65);
      context.fillText(name, block.x, block.y + 3);
      const start = context.measureText(name).width + 8;
      context.font = '12px system-ui, "Liberation Sans", sans-serif';
      context.fillStyle = this.soft;
      context.fillText(fit(context, block.group.note, block.width - start), block.x + start, block.y + 3);
      for (const one of block.group.machines) this.cell(one, false);
    }
  }

  cell(one, clear) {
    const spot = this.spot(one);
    if (!spot) return;
    const { context, size } = this;
    const { x, y } = spot;
    context.globalAlpha = 1;
    if (clear) {
      context.fillStyle = this.card;
      context.fillRect(x - 1, y - 1, this.pitch + 1, this.pitch + 1);
    }
    if (this.keeps && !this.keeps(one)) context.globalAlpha = 0.16;
    shape(context, one.state, x, y, size, this.colours[one.state], this.card);
    const letter = STATE[one.state].letter;
    if (letter && size >= 13) {
      context.fillStyle = one.state === "lost" ? this.colours.lost : this.letter;
      context.font = `700 ${Math.round(size * 0.62)}px system-ui, "Liberation Sans", sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(letter, x + size / 2, y + size / 2 + 0.5);
      context.textAlign = "left";
      context.textBaseline = "top";
    }
    context.globalAlpha = 1;
  }

  outline(one) {
    const spot = this.spot(one);
    if (!spot) return;
    this.context.strokeStyle = this.ring;
    this.context.lineWidth = 2;
    this.context.strokeRect(spot.x - 1, spot.y - 1, this.size + 2, this.size + 2);
  }

  // --- pointing --------------------------------------------------------------------------------

  hover(event) {
    const one = this.at(event.offsetX, event.offsetY);
    this.canvas.style.cursor = one ? "pointer" : "default";
    if (one === this.hovered) return;
    this.hovered = one;
    if (one) this.showTip(one);
    else this.hideTip();
  }

  unhover() {
    this.hovered = null;
    this.hideTip();
  }

  showTip(one) {
    const spot = this.spot(one);
    if (!spot) return;
    replace(this.tip, this.describe(one));
    this.tip.hidden = false;
    const right = spot.x + this.pitch + 6;
    const left = right + this.tip.offsetWidth > this.width ? spot.x - this.tip.offsetWidth - 6 : right;
    this.tip.style.left = `${Math.max(0, Math.min(left, this.width - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${spot.y + this.pitch + 4}px`;
  }

  hideTip() {
    this.tip.hidden = true;
  }

  // --- keys ------------------------------------------------------------------------------------

  first() {
    return this.blocks.find((block) => block.group.machines.length)?.group.machines[0] ?? null;
  }

  focus(one, tells = true) {
    if (!one) return;
    const before = this.focused;
    this.focused = one;
    if (before) this.redrawAround(before);
    this.ask();
    this.showTip(one);
    if (tells) {
      const spot = this.spot(one);
      const top = this.canvas.getBoundingClientRect().top + spot.y;
      if (top < 70 || top > innerHeight - 60) scrollBy(0, top - innerHeight / 2);
      this.said.textContent = `${one.id}: ${one.state}. ${one.because}`;
    }
  }

  redrawAround(one) {
    const spot = this.spot(one);
    if (!spot) return;
    for (const dx of [-1, 0, 1]) {
      for (const dy of [-1, 0, 1]) {
        const near = this.at(spot.x + dx * this.pitch + 1, spot.y + dy * this.pitch + 1);
        if (near) this.dirty.add(near);
      }
    }
    if (this.placeOf.get(one.id)?.place < this.placeOf.get(one.id)?.block.columns) this.all = true; // the label above
  }

  key(event) {
    const one = this.focused ?? this.first();
    if (!one || event.altKey || event.ctrlKey || event.metaKey) return;
    const found = this.placeOf.get(one.id);
    if (!found) return;
    const { block, place } = found;
    const { machines } = block.group;
    const number = this.blocks.indexOf(block);
    let next = null;
    if (event.key === "ArrowRight") next = machines[place + 1] ?? this.blocks[number + 1]?.group.machines[0];
    else if (event.key === "ArrowLeft") next = machines[place - 1] ?? this.blocks[number - 1]?.group.machines.at(-1);
    else if (event.key === "ArrowDown") next = machines[place + block.columns] ?? this.beyond(block, place, 1);
    else if (event.key === "ArrowUp") next = machines[place - block.columns] ?? this.beyond(block, place, -1);
    else if (event.key === "PageDown") next = this.blocks[number + 1]?.group.machines[0];
    else if (event.key === "PageUp") next = this.blocks[number - 1]?.group.machines[0];
    else if (event.key === "Home") next = this.first();
    else if (event.key === "End") next = this.blocks.at(-1)?.group.machines.at(-1);
    else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.open(one);
      return;
    } else if (event.key === "Escape") {
      this.hideTip();
      return;
    } else return;
    event.preventDefault();
    if (next) this.focus(next);
  }

  // The nearest machine of the groups above (-1) or below (1).
  beyond(block, place, direction) {
    const x = block.x + (place % block.columns) * this.pitch;
    const others = this.blocks.filter((each) => (direction > 0 ? each.y > block.y : each.y < block.y) && each.group.machines.length);
    if (!others.length) return null;
    const edge = direction > 0 ? Math.min(...others.map((each) => each.y)) : Math.max(...others.map((each) => each.y));
    const row = others.filter((each) => each.y === edge);
    const near = row.reduce((best, each) => (Math.abs(each.x - x) < Math.abs(best.x - x) || (each.x <= x && x < each.x + each.width) ? each : best));
    const column = Math.max(0, Math.min(near.columns - 1, Math.round((x - near.x) / this.pitch)));
    const last = (near.rows - 1) * near.columns;
    const { machines } = near.group;
    return machines[direction > 0 ? column : last + column] ?? machines.at(direction > 0 ? 0 : -1);
  }
}

// One shape for each state, so that colour is never alone, also where no letter fits.
function shape(context, state, x, y, size, fill, ground) {
  context.fillStyle = fill;
  const half = size / 2;
  const third = Math.max(2, Math.round(size / 3));
  switch (state) {
    case "lost": // a frame: nobody is heard inside
      context.fillRect(x, y, size, size);
      context.fillStyle = ground;
      context.fillRect(x + 2, y + 2, size - 4, size - 4);
      break;
    case "unhealthy": // a triangle upwards
      if (size >= 13) context.fillRect(x, y, size, size);
      else triangle(context, x, y, size);
      break;
    case "repairing": // a diamond
      if (size >= 13) context.fillRect(x, y, size, size);
      else diamond(context, x + half, y + half, half);
      break;
    case "degraded": // the lower half
      context.fillRect(x, y, size, size);
      context.fillStyle = ground;
      if (size < 13) context.fillRect(x, y, size, third);
      break;
    case "draining": // the left half
      context.fillRect(x, y, size >= 13 ? size : half, size);
      break;
    case "cordoned": // a frame with a core
      context.fillRect(x, y, size, size);
      if (size < 13) {
        context.fillStyle = ground;
        context.fillRect(x + 1.5, y + 1.5, size - 3, size - 3);
        context.fillStyle = fill;
        context.fillRect(x + third, y + third, size - 2 * third, size - 2 * third);
      }
      break;
    case "terminating": // a bar
      context.fillRect(x, size >= 13 ? y : y + third, size, size >= 13 ? size : size - 2 * third);
      break;
    case "booting": // a small square, which will grow
      if (size >= 13) context.fillRect(x, y, size, size);
      else context.fillRect(x + third / 2, y + third / 2, size - third, size - third);
      break;
    default:
      context.fillRect(x, y, size, size);
  }
}

function triangle(context, x, y, size) {
  context.beginPath();
  context.moveTo(x + size / 2, y);
  context.lineTo(x + size, y + size);
  context.lineTo(x, y + size);
  context.fill();
}

function diamond(context, x, y, half) {
  context.beginPath();
  context.moveTo(x, y - half);
  context.lineTo(x + half, y);
  context.lineTo(x, y + half);
  context.lineTo(x - half, y);
  context.fill();
}

function fit(context, words, width) {
  if (context.measureText(words).width <= width) return words;
  let cut = words;
  while (cut.length > 1 && context.measureText(`${cut}…`).width > width) cut = cut.slice(0, -1);
  return cut.length > 1 ? `${cut}…` : "";
}

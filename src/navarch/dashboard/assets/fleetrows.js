// Machines as rows of a table, which stay the same elements as long as their machine is shown: what
// has the focus keeps it, however often the fleet changes.
import { nodeActions } from "./actions.js";
import { h, link, replace } from "./dom.js";
import { span } from "./format.js";
import { state } from "./states.js";

const COLUMNS = 9;

export class Rows {
  // `act` is called with the id of the machine that is to be acted on, or "".
  constructor(act) {
    this.act = act;
    this.body = h("tbody", {});
    this.kept = new Map();
    this.acting = null;
  }

  // Shows these machines, in this order; below the row of `acting`, what can be done to it.
  show(machines, now, acting) {
    const wanted = new Set(machines.map((one) => one.id));
    for (const [id, { row }] of this.kept) {
      if (wanted.has(id)) continue;
      row.remove();
      this.kept.delete(id);
    }
    let place = this.body.firstElementChild;
    for (const one of machines) {
      const kept = this.row(one, now, acting === one.id);
      if (place === this.acting?.row) place = place.nextElementSibling;
      if (kept.row === place) place = place.nextElementSibling;
      else this.body.insertBefore(kept.row, place);
    }
    this.showActing(machines.find((one) => one.id === acting));
  }

  row(one, now, open) {
    let kept = this.kept.get(one.id);
    if (!kept) {
      const cells = Array.from({ length: COLUMNS }, () => h("td", {}));
      cells[2].className = "because";
      cells[6].className = cells[7].className = "number";
      const row = h("tr", { "data-machine": one.id }, cells);
      const button = h("button", { type: "button", class: "small", "aria-label": `Act on ${one.id}`,
        onclick: () => this.act(button.getAttribute("aria-expanded") === "true" ? "" : one.id) }, "Act…");
      replace(cells[1], link("nodes", one.id));
      replace(cells[8], button);
      kept = { row, cells, button, said: "" };
      this.kept.set(one.id, kept);
    }
    const { cells, button } = kept;
    const said = [one.state, one.because, one.pool, one.zone, one.region, one.rack, one.type].join("\0");
    if (kept.said !== said) {
      kept.said = said;
      replace(cells[0], state(one.state));
      cells[2].textContent = one.because;
      replace(cells[3], one.pool ? link("pools", one.pool) : h("span", { class: "soft" }, "none"));
      cells[4].textContent = [one.zone || one.region, one.rack].filter(Boolean).join(" · ");
      cells[5].textContent = one.type;
      button.hidden = one.state === "booting" || one.state === "terminating";
    }
    button.setAttribute("aria-expanded", String(open));
    tell(cells[6], span((now - one.since) / 1000));
    tell(cells[7], span((now - one.born) / 1000));
    return kept;
  }

  showActing(one) {
    const key = one && `${one.id}\0${one.state}`;
    if (!one || this.acting?.key !== key) {
      this.acting?.row.remove();
      this.acting = null;
    }
    if (!one) return;
    const { row } = this.kept.get(one.id);
    if (!this.acting) {
      const actions = h("div", { class: "actions" }, nodeActions(one.id, one.state, () => this.act("")));
      this.acting = { key, row: h("tr", { class: "acting" }, h("td", { colspan: COLUMNS }, actions)) };
    }
    if (row.nextElementSibling !== this.acting.row) row.after(this.acting.row);
  }
}

function tell(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

// Every machine of the fleet, as the fleet view and the live stream tell it.
import { STATES } from "./states.js";

const GRAVITY = Object.fromEntries(STATES.map((each, place) => [each.name, place]));
const TEXTS = ["because", "pool", "provider", "region", "zone", "rack", "type"];

export class Machines {
  constructor() {
    this.byId = new Map();
    this.counts = {};
  }

  // Takes the whole view, in columns.
  fill(view) {
    const { machines, states } = view;
    const texts = TEXTS.map((name) => [name, machines[name].names, machines[name].of]);
    this.byId = new Map();
    for (let at = 0; at < machines.id.length; at += 1) {
      const one = {
        id: machines.id[at],
        state: states[machines.state[at]],
        since: machines.since[at] * 1000,
        born: machines.born[at] * 1000,
        gpus: machines.gpus[at],
        spot: machines.spot[at] === 1,
        person: machines.person[at] === 1,
      };
      for (const [name, names, of] of texts) one[name] = names[of[at]];
      this.byId.set(one.id, one);
    }
    this.count();
  }

  // Takes what has changed. Returns those that changed, and whether any came, went or moved: then
  // places change too.
  take({ rows, gone }) {
    let moved = false;
    const changed = [];
    for (const row of rows) {
      const one = { ...row, since: Date.parse(row.since), born: Date.parse(row.born) };
      const before = this.byId.get(row.id);
      if (before) {
        moved ||= ["pool", "provider", "region", "zone", "rack"].some((name) => before[name] !== one[name]);
        Object.assign(before, one);
        changed.push(before);
      } else {
        moved = true;
        this.byId.set(one.id, one);
        changed.push(one);
      }
    }
    for (const id of gone) moved = this.byId.delete(id) || moved;
    this.count();
    return { changed, moved };
  }

  count() {
    const counts = Object.fromEntries(STATES.map(({ name }) => [name, 0]));
    for (const one of this.byId.values()) counts[one.state] += 1;
    this.counts = counts;
  }

  // Those for which `keep` says yes, the gravest first, and of equal ones the newest trouble.
  sorted(keep) {
    const found = [];
    for (const one of this.byId.values()) if (keep(one)) found.push(one);
    return found.sort(
      (a, b) => GRAVITY[a.state] - GRAVITY[b.state] || b.since - a.since || (a.id < b.id ? -1 : 1),
    );
  }
}

// Whether a machine has all words of a search in it.
export function matches(one, words) {
  if (words.length === 0) return true;
  const said = `${one.id} ${one.state} ${one.because} ${one.pool} ${one.provider} ${one.zone} ${one.rack} ${one.type}`.toLowerCase();
  return words.every((word) => said.includes(word));
}

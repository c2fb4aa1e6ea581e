// Numbers and times as people read them. Times come as ISO text, Date, or seconds since 1970.

export function moment(value) {
  if (value === null || value === undefined || value === "") return null;
  if (value instanceof Date) return value;
  const date = typeof value === "number" ? new Date(value * 1000) : new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
}

// 4 s, 12 min, 3 h 5 min, 2 d 4 h
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const all = Math.max(0, Math.round(seconds));
  if (all < 60) return `${all} s`;
  const minutes = Math.floor(all / 60);
  if (minutes < 10 && all % 60) return `${minutes} min ${all % 60} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

export function age(value, now = new Date()) {
  const at = moment(value);
  return at === null ? "–" : span((now - at) / 1000);
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const WHOLE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });

// 14:03:22 today, else 3 Nov 14:03:22
export function time(value, now = new Date()) {
  const at = moment(value);
  if (at === null) return "–";
  const clock = CLOCK.format(at);
  return at.toDateString() === now.toDateString() ? clock : `${DAY.format(at)} ${clock}`;
}

// With zone and year, for a tooltip.
export function whole(value) {
  const at = moment(value);
  return at === null ? "" : WHOLE.format(at);
}

export function number(value, digits = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function percent(share, digits = 0) {
  return share === null || share === undefined ? "–" : `${number(share * 100, digits)} %`;
}

// Dollars: two decimals, more where it is cents.
export function money(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const digits = value !== 0 && Math.abs(value) < 0.1 ? 4 : 2;
  return `${value < 0 ? "−" : ""}$${number(Math.abs(value), digits)}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  let unit = 0;
  let left = value;
  while (left >= 1024 && unit < UNITS.length - 1) {
    left /= 1024;
    unit += 1;
  }
  return `${number(left, unit === 0 || left >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

export function plural(count, word, many = `${word}s`) {
  return `${number(count)} ${count === 1 ? word : many}`;
}

// The end of a long id, which is what tells it from others.
export function shortId(id, length = 14) {
  return id.length <= length ? id : `…${id.slice(1 - length)}`;
}

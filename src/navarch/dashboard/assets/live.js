// The live stream of this tab: what changes, and whether we hear it.
//
//   const off = on("nodes", ({rows, gone, all}) => ...)
//
// Kinds: hello, nodes, pools, facts, tick, as the server sends them (navarch/dashboard/stream.py),
// and "connection", with a state: connecting, live, standby, reconnecting, paused, refused. After a
// hello that is not the first one something may have been missed: pages fetch their view again.

const listeners = new Map();
const KINDS = ["hello", "nodes", "pools", "facts", "tick"];
const SILENCE_MAX = 15_000; // three ticks
const RETRY_MIN = 1_000;
const RETRY_MAX = 15_000;
const HIDDEN_AFTER = 5_000; // browsers have six connections for a server: hidden tabs keep none

let source = null;
let retryIn = RETRY_MIN;
let timer = 0;
let silence = 0;
let hiding = 0;
let wanted = false;
let offset = 0; // what the server's clock is ahead of ours, in milliseconds

export const connection = { state: "connecting", standing: null, seq: 0 };

export function on(kind, fn) {
  if (!listeners.has(kind)) listeners.set(kind, new Set());
  listeners.get(kind).add(fn);
  return () => listeners.get(kind).delete(fn);
}

// The present, by the control plane's clock: ages are counted from it.
export function now() {
  return new Date(Date.now() + offset);
}

export function start() {
  wanted = true;
  if (document.hidden) be("paused");
  else open();
}

export function stop() {
  wanted = false;
  close();
}

// Calls `fn` once things have been quiet for `ms`, however often it is asked for; and at the latest
// after four times as long.
export function debounced(fn, ms = 300) {
  let waiting = 0;
  let since = 0;
  const run = () => {
    waiting = 0;
    fn();
  };
  const ask = () => {
    const at = performance.now();
    if (waiting) clearTimeout(waiting);
    else since = at;
    waiting = setTimeout(run, Math.max(0, Math.min(ms, since + 4 * ms - at)));
  };
  ask.cancel = () => {
    clearTimeout(waiting);
    waiting = 0;
  };
  return ask;
}

// Calls `fn`, debounced, when a fact is about one of these subjects, and after a lost connection.
export function watch(subjects, fn) {
  const about = new Set(subjects);
  const soon = debounced(fn);
  const offs = [
    on("facts", ({ facts, left_out }) => {
      if (left_out || facts.some((fact) => fact.subjects.some((each) => about.has(each)))) soon();
    }),
    on("hello", ({ again }) => again && soon()),
  ];
  return () => {
    soon.cancel();
    offs.forEach((off) => off());
  };
}

function emit(kind, content) {
  for (const fn of [...(listeners.get(kind) ?? [])]) fn(content);
}

function be(state) {
  if (connection.state === state) return;
  connection.state = state;
  emit("connection", { state, standing: connection.standing });
}

let heard = 0; // how many hellos there were

function open() {
  close();
  if (connection.state !== "connecting") be("reconnecting");
  source = new EventSource("/ui/stream");
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      const content = JSON.parse(event.data);
      hear(kind, content);
    });
  }
  source.onerror = () => {
    be("reconnecting");
    if (source && source.readyState === EventSource.CLOSED) retry();
  };
  listenForSilence();
}

function hear(kind, content) {
  listenForSilence();
  if (content.now) offset = Date.parse(content.now) - Date.now();
  if (content.seq) connection.seq = content.seq;
  if (content.standing) {
    const before = JSON.stringify([connection.standing?.role, connection.standing?.leader]);
    connection.standing = content.standing;
    const state = content.standing.role === "leader" ? "live" : "standby";
    if (connection.state === state && before !== JSON.stringify([content.standing.role, content.standing.leader])) {
      emit("connection", { state, standing: content.standing });
    }
    be(state);
  }
  if (kind === "hello") {
    retryIn = RETRY_MIN;
    heard += 1;
    content.again = heard > 1;
  }
  emit(kind, content);
}

function listenForSilence() {
  clearTimeout(silence);
  silence = setTimeout(() => {
    be("reconnecting");
    retry();
  }, SILENCE_MAX);
}

function retry() {
  close();
  if (!wanted) return;
  timer = setTimeout(async () => {
    // The stream cannot say why it was refused; this can, and a session that has ended is noticed.
    try {
      const who = await (await fetch("/ui/me")).json();
      if (!who.role) {
        be("refused");
        emit("refused", {});
        return;
      }
    } catch {
      retryIn = Math.min(RETRY_MAX, retryIn * 2);
      retry();
      return;
    }
    open();
  }, retryIn);
  retryIn = Math.min(RETRY_MAX, retryIn * 1.6);
}

function close() {
  clearTimeout(timer);
  clearTimeout(silence);
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (!wanted) return;
  if (document.hidden) {
    hiding = setTimeout(() => {
      close();
      be("paused");
    }, HIDDEN_AFTER);
  } else if (!source) open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => event.persisted && wanted && open());

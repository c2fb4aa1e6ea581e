// The shell: who looks, where, and whether what is shown is live; and which page is shown.
import * as api from "./api.js";
import { h, replace } from "./dom.js";
import * as live from "./live.js";

const PAGES = [
  ["fleet", "Fleet"],
  ["pools", "Pools"],
  ["serving", "Serving"],
  ["events", "Events"],
  ["cost", "Cost"],
  ["simulations", "Simulations"],
];
const KNOWN = new Set([...PAGES.map(([name]) => name), "nodes"]);
const main = document.getElementById("main");
const shell = document.getElementById("shell");

let closePage = null;
let shown = 0;

// --- the shell -------------------------------------------------------------------------------

const links = new Map(PAGES.map(([name, words]) => [name, h("a", { href: `#/${name}` }, words)]));
const connection = h("span", { class: "connection", role: "status", "aria-live": "polite" });
const name = h("span", { class: "name" });
const leave = h("button", { class: "plain", type: "button", onclick: out }, "Log out");
const theme = h("button", { class: "plain", type: "button", onclick: toggle });
const notice = h("div", { class: "notice", role: "status" });

function build() {
  replace(
    shell,
    h(
      "header",
      { class: "bar" },
      h("a", { class: "brand", href: "#/fleet" }, h("img", { src: "/ui/assets/icon.svg", alt: "" }), "Navarch"),
      h("nav", { "aria-label": "Pages" }, [...links.values()]),
      h("div", { class: "who" }, connection, name, theme, leave),
    ),
  );
  labelTheme();
  tellConnection();
}

const WORDS = {
  connecting: "connecting",
  live: "live",
  standby: "standby",
  reconnecting: "reconnecting",
  paused: "paused",
  refused: "logged out",
};

function tellConnection() {
  const { state, standing } = live.connection;
  connection.dataset.state = state;
  connection.textContent = WORDS[state] ?? state;
  const standby = standing && standing.role !== "leader";
  if (standby) {
    const leader = standing.leader;
    replace(
      notice,
      "This control plane is a standby: it shows what the journal says, and changes nothing. ",
      leader
        ? ["The leader is ", /^https?:\/\//.test(leader) ? h("a", { href: leader, rel: "noreferrer" }, leader) : leader, "."]
        : "Nobody leads at the moment.",
    );
    shell.append(notice);
  } else if (state === "reconnecting") {
    replace(notice, "The connection is lost: what is shown may be old. Trying again.");
    shell.append(notice);
  } else notice.remove();
}

function toggle() {
  const root = document.documentElement;
  root.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("navarch-theme", root.dataset.theme);
  } catch {
    // Where nothing may be stored the choice holds until the page is left.
    root.dataset.forgetful = "true";
  }
  labelTheme();
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function labelTheme() {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", isDark() ? "Use light colours" : "Use dark colours");
}

// --- pages -----------------------------------------------------------------------------------

function wanted() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  let id = rest.join("/");
  try {
    id = decodeURIComponent(id);
  } catch {
    id = rest.join("/"); // typed by hand: taken as it stands
  }
  return { page: page || "fleet", id, query: new URLSearchParams(query ?? "") };
}

async function show() {
  const { page, id, query } = wanted();
  shown += 1;
  const mine = shown;
  closePage?.();
  closePage = null;
  for (const [each, node] of links) {
    if (each === page || (each === "fleet" && page === "nodes")) node.setAttribute("aria-current", "page");
    else node.removeAttribute("aria-current");
  }
  if (!KNOWN.has(page)) {
    replace(main, h("h1", {}, "There is no such page"), h("p", {}, h("a", { href: "#/fleet" }, "The fleet")));
    return;
  }
  document.title = `${PAGES.find(([each]) => each === page)?.[1] ?? id} · Navarch`;
  const root = h("div", { class: `page page-${page}` });
  replace(main, root);
  try {
    const module = await import(`./pages/${page}.js`);
    if (mine !== shown) return;
    // `parameters`: {id, query, set(query)}; a page that has to know where it is reads nothing else.
    const close = await module.show(root, { parameters: { id, query }, live, api });
    if (mine === shown) closePage = close ?? null;
    else close?.();
  } catch (error) {
    if (mine !== shown || error.code === "unauthenticated") return;
    replace(root, h("h1", {}, "This page cannot be shown"), h("p", { class: "problem", role: "alert" }, error.message),
      h("button", { type: "button", onclick: show }, "Try again"));
  }
}

// --- who looks -------------------------------------------------------------------------------

function askForToken(words = "") {
  closePage?.();
  closePage = null;
  shown += 1;
  live.stop();
  document.title = "Log in · Navarch";
  const token = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false" });
  const problem = h("p", { class: "problem", role: "alert" }, words);
  const go = h("button", { class: "primary", type: "submit" }, "Log in");
  const submit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    problem.textContent = "";
    try {
      await api.login(token.value.trim());
      begin();
    } catch (error) {
      problem.textContent = error.message;
      go.disabled = false;
      token.select();
    }
  };
  replace(shell);
  replace(
    main,
    h("section", { class: "card login" },
      h("h1", {}, "Navarch"),
      h("p", { class: "soft" }, "Log in with a token of the configuration (server.auth). It is sent once, and not kept in this browser."),
      h("form", { onsubmit: submit }, h("label", {}, "Token", token), problem, go)),
  );
  token.focus();
}

async function out() {
  try {
    await api.logout();
  } finally {
    askForToken();
  }
}

function begin() {
  const who = api.me.current;
  build();
  name.textContent = who.open ? `${who.fleet} · open to everybody here` : `${who.name} · ${who.role}`;
  name.title = `Navarch ${who.version}, fleet ${who.fleet}`;
  leave.hidden = who.open;
  live.start();
  show();
}

addEventListener("hashchange", () => {
  if (!api.me.current?.role) return;
  show().then(() => main.focus({ preventScroll: true }));
  scrollTo(0, 0);
});
live.on("connection", tellConnection);
live.on("refused", () => askForToken("The session has ended."));
api.session.addEventListener("unauthenticated", () => {
  if (!api.me.current?.role) return;
  api.me.current = null;
  askForToken("The session has ended.");
});
// A session that is used is renewed.
setInterval(() => api.me.current?.role && !document.hidden && api.enter().catch(() => {}), 30 * 60_000);

async function enter() {
  try {
    await api.enter();
    if (api.me.current.role) begin();
    else askForToken();
  } catch (error) {
    replace(main, h("p", { class: "problem", role: "alert" }, `${error.message}. Trying again.`));
    setTimeout(enter, 2_000);
  }
}
enter();

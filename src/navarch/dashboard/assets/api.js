// What the server is asked: views with GET, and the public calls with POST.

const SERVICE = "/navarch.ControlPlaneService/";
let csrf = "";

export class ApiError extends Error {
  // `code` is the Connect code, such as "permission_denied"; "unavailable" when nobody answers.
  constructor(code, message, status) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.status = status;
  }
}

// Who looks, as the server said last; `null` before the first time.
export const me = { current: null };

// Told with the event "unauthenticated" when a session has ended.
export const session = new EventTarget();

// get("pools/training", {since: "..."}) asks /ui/pools/training. What is part of a path and may be
// anything, such as a node's id, has to be encoded: get(`nodes/${encodeURIComponent(id)}`).
export async function get(path, query = {}, { signal } = {}) {
  const asked = new URLSearchParams(query).toString();
  return answer(fetch(`/ui/${path}${asked ? `?${asked}` : ""}`, { signal }));
}

// call("IssueCommand", {...}) makes a public call, with the rights of whoever is logged in.
export async function call(method, body = {}) {
  return post(SERVICE + method, body);
}

export async function enter() {
  return know(await get("me"));
}

export async function login(token) {
  return know(await post("/ui/login", { token }));
}

export async function logout() {
  await post("/ui/logout", {});
  me.current = null;
  csrf = "";
}

const RANKS = { viewer: 1, operator: 2, admin: 3 };

// Whether who looks may do what needs a role.
export function may(role) {
  return (RANKS[me.current?.role] ?? 0) >= (RANKS[role] ?? 99);
}

function know(told) {
  me.current = told;
  csrf = told.csrf;
  return told;
}

async function post(path, body) {
  const headers = { "content-type": "application/json" };
  if (csrf) headers["x-navarch-csrf"] = csrf;
  return answer(fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function answer(asking) {
  let response;
  try {
    response = await asking;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unavailable", "the control plane does not answer", 0);
  }
  let content;
  try {
    content = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unavailable", `no sense in the answer (${response.status})`, response.status);
  }
  if (response.ok) return content;
  if (response.status === 401) session.dispatchEvent(new Event("unauthenticated"));
  throw new ApiError(content.code ?? "unknown", content.message ?? "no reason given", response.status);
}

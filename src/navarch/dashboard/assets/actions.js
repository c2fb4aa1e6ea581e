// Buttons that change the fleet: each asks for a reason and for a confirmation, then makes a public
// call. The server decides who may; here only the button says so beforehand.
import { call, may, me } from "./api.js";
import { h } from "./dom.js";
import { toast } from "./toasts.js";

// button({label, method, body, subject, danger, role, words, fields, done})
//   label    what it says, such as "Cordon"
//   method   the public call, such as "IssueCommand"
//   body     an object, or a function of the values of `fields`; the reason is added to it
//   subject  what it is done to, for people
//   danger   whether it takes work down: then the subject has to be typed to confirm
//   role     the least role that may: "operator" if not given
//   words    one sentence about what will happen
//   fields   [{name, label, type, value, min, max}] that are asked for besides
//   done     called with the answer
export function button(action) {
  const role = action.role ?? "operator";
  const allowed = may(role);
  const why = `needs the role ${role}; you are ${me.current?.name ?? "nobody"}, ${me.current?.role ?? "not logged in"}`;
  return h(
    "button",
    {
      type: "button",
      class: action.danger ? "danger" : "",
      "aria-disabled": allowed ? null : "true",
      title: allowed ? action.words : why,
      "data-action": action.method,
      onclick: () => (allowed ? ask(action) : toast(`${action.label}: ${why}`, { bad: true })),
    },
    action.label,
  );
}

let serial = 0;

export function ask(action) {
  serial += 1;
  const title = `dialog-${serial}`;
  const inputs = (action.fields ?? []).map((field) => [field.name, input(field)]);
  const reason = h("textarea", { rows: 2, maxlength: 1000, required: true, name: "reason" });
  const typed = action.danger ? h("input", { autocomplete: "off", required: true, name: "confirm", spellcheck: "false" }) : null;
  const problem = h("p", { class: "problem", role: "alert" });
  const go = h("button", { type: "submit", class: action.danger ? "danger" : "primary" }, action.label);
  const dialog = h(
    "dialog",
    { "aria-labelledby": title },
    h(
      "form",
      { method: "dialog", novalidate: true, onsubmit: submit },
      h("h2", { id: title }, `${action.label} ${action.subject}`),
      action.words ? h("p", { class: "soft" }, action.words) : null,
      inputs.map(([name, node]) => h("label", {}, (action.fields.find((each) => each.name === name)).label, node)),
      h("label", {}, "Reason (it is written into the journal, with your name)", reason),
      typed ? h("label", {}, h("span", {}, "Type ", h("code", {}, action.subject), " to confirm"), typed) : null,
      problem,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), go),
    ),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    opener?.focus?.();
  });
  const opener = document.activeElement;
  document.body.append(dialog);
  dialog.showModal();
  (inputs[0]?.[1] ?? reason).focus();

  async function submit(event) {
    event.preventDefault();
    const words = reason.value.trim();
    if (!words) return complain("Say why: whoever looks at this tomorrow wants to know.", reason);
    if (typed && typed.value.trim() !== action.subject) {
      return complain(`That is not ${action.subject}.`, typed);
    }
    const values = {};
    for (const [name, node] of inputs) {
      if (!node.checkValidity()) return complain(node.validationMessage, node);
      values[name] = node.type === "number" ? Number(node.value) : node.value;
    }
    go.disabled = true;
    problem.textContent = "";
    try {
      const body = typeof action.body === "function" ? action.body(values) : action.body;
      const answer = await call(action.method, { ...body, reason: words });
      dialog.close();
      toast(`${action.label} ${action.subject}: recorded`);
      action.done?.(answer);
    } catch (error) {
      go.disabled = false;
      complain(error.message, reason);
    }
    return undefined;
  }

  function complain(message, node) {
    problem.textContent = message;
    node.focus();
  }
}

function input(field) {
  return h("input", {
    name: field.name,
    type: field.type ?? "text",
    value: field.value ?? "",
    min: field.min,
    max: field.max,
    required: true,
  });
}

const command = (label, type, node, words, danger = false) => ({
  label,
  method: "IssueCommand",
  body: { nodeId: node, commandType: `NODE_COMMAND_TYPE_${type}` },
  subject: node,
  words,
  danger,
});

// What can be done to a node in this state.
export function nodeActions(id, state, done) {
  const all = [];
  if (state === "terminating" || state === "booting") return all;
  if (state === "cordoned" || state === "draining") {
    all.push(command("Uncordon", "UNCORDON", id, "Work may begin there again."));
  }
  if (state !== "cordoned" && state !== "draining") {
    all.push(command("Cordon", "CORDON", id, "No new work begins there; what runs goes on."));
  }
  if (state !== "draining") {
    all.push(command("Drain", "DRAIN", id, "No new work begins there, and what runs is asked to leave."));
  }
  all.push({
    label: "Clear health",
    method: "ClearHealth",
    body: { nodeId: id },
    subject: id,
    words: "Everything that stands against it is set aside, as if nothing had been reported yet.",
  });
  all.push(command("Terminate", "TERMINATE", id, "The machine ends, with all that runs on it.", true));
  return all.map((action) => button({ ...action, done }));
}

// What can be done to a pool, as `PoolInfo` in snake_case describes it.
export function poolActions(pool, done) {
  const all = [
    {
      label: "Scale",
      method: "ScalePool",
      subject: pool.name,
      words: `How many nodes it wants, from ${pool.min_nodes} to ${pool.max_nodes}. An autoscaler may change it again.`,
      fields: [{ name: "target", label: "Nodes", type: "number", value: pool.target_nodes, min: pool.min_nodes, max: pool.max_nodes }],
      body: ({ target }) => ({ poolName: pool.name, targetNodes: target }),
    },
  ];
  if (pool.repair_paused) {
    all.push({
      label: "Acknowledge breaker",
      method: "PausePool",
      subject: pool.name,
      words: `Repair has stopped by itself: ${pool.because}. Say that somebody has looked: one node is tried next.${pool.paused ? " The pool itself goes on as well." : ""}`,
      body: { poolName: pool.name, paused: false },
    });
  }
  if (pool.paused) {
    all.push({
      label: "Resume",
      method: "PausePool",
      subject: pool.name,
      words: "Buying, repairing and scaling go on.",
      body: { poolName: pool.name, paused: false },
    });
  } else {
    all.push({
      label: "Pause",
      method: "PausePool",
      subject: pool.name,
      words: "Nothing is bought, repaired or scaled until it is resumed; what runs goes on.",
      body: { poolName: pool.name, paused: true },
    });
  }
  return all.map((action) => button({ ...action, done }));
}

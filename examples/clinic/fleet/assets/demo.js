const requests = document.querySelector("#requests");
const summary = document.querySelector("#summary");
const parts = document.querySelector("#parts");
const SHOWN = 200;
// A browser opens six connections at most: some must be left for the buttons while every answer is late.
const MOST_UNDER_WAY = 3;
let underWay = 0;
const counts = { good: 0, out: 0, busy: 0, bad: 0 };

async function ask() {
  if (underWay === MOST_UNDER_WAY) return;
  underWay += 1;
  const dot = document.createElement("li");
  const start = performance.now();
  let kind = "bad";
  let words = "no answer";
  try {
    const response = await fetch("/api/me", { cache: "no-store" });
    kind = { 200: "good", 401: "out", 503: "busy" }[response.status] ?? "bad";
    words = `${response.status} by ${response.headers.get("x-replica") ?? "the balancer"}`;
    dot.textContent = response.headers.get("x-replica") ?? "";
  } catch { /* shown as failed */ }
  underWay -= 1;
  dot.className = kind;
  dot.title = `${words}, ${Math.round(performance.now() - start)} ms`;
  counts[kind] += 1;
  requests.append(dot);
  while (requests.children.length > SHOWN) requests.firstChild.remove();
  summary.textContent = `${counts.good} answered, ${counts.out} logged out, ${counts.busy} asked to try again, ${counts.bad} failed`;
}

const POSSIBLE = { running: ["kill", "pause"], paused: ["kill", "start"], killed: ["start"], starting: [] };
const ACTIONS = ["kill", "pause", "start"];
const rows = [];

/** A row is made once and changed in place: a button that has the focus, or is being pressed, stays what it is. */
function makeRow(part, index) {
  const row = document.createElement("tr");
  const cells = Array.from({ length: 6 }, () => row.insertCell());
  const makeButton = (text, label, path) => {
    const button = document.createElement("button");
    button.textContent = text;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", async () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      await fetch(`/_demo/${index}/${path}`, { method: "POST", headers: { "X-Demo": "1" } });
      await refresh();
    });
    return button;
  };
  const buttons = ACTIONS.map((action) => makeButton(action, `${action} ${part.name}`, action));
  row.insertCell().append(...buttons);
  // Pressed while the way is cut.
  const ways = (part.ways ?? []).map((server) =>
    makeButton(server, `cut ${part.name} off from ${server}`, `cut/${server}`));
  row.insertCell().append(...ways);
  parts.append(row);
  return { cells, buttons, ways };
}

function show(part, index) {
  rows[index] ??= makeRow(part, index);
  const { cells, buttons, ways } = rows[index];
  const condition = part.condition + (part.ready === false && part.condition === "running" ? ", not ready" : "");
  const seen = part.members == null ? "" : `sees ${part.members}. `;
  const texts = [part.name, condition, seen + (part.reasons ?? []).join("; "), part.answered, part.passed_on, part.failed];
  texts.forEach((text, cell) => {
    const shown = String(text ?? "");
    if (cells[cell].textContent !== shown) cells[cell].textContent = shown;
  });
  // Not `disabled`: that would take the focus away from the button that was just pressed.
  buttons.forEach((button) => {
    button.setAttribute("aria-disabled", String(!POSSIBLE[part.condition].includes(button.textContent)));
  });
  ways.forEach((button) => button.setAttribute("aria-pressed", String(part.cut.includes(button.textContent))));
}

async function refresh() {
  JSON.parse(await (await fetch("/_demo/state", { cache: "no-store" })).text()).forEach(show);
}

const together = document.querySelector("#together");

/** What one of the replicas says of all of them. Only operators are told. */
async function askWho() {
  const response = await fetch("/api/operator", { cache: "no-store" });
  if (!response.ok) return;
  const { terminology, reports, members, locks } = await response.json();
  const sentences = [];
  if (members) {
    const told = members.map(({ label, address, state }) => `${address ?? label} (${state})`);
    sentences.push(`${members.length} members: ${told.join(", ")}.`);
  }
  if (locks?.length) {
    sentences.push(`Locks: ${locks.map(({ what, name, holder }) => `${what} ${name} has ${holder}`).join(", ")}.`);
  }
  if (terminology) {
    const { by, attempt, phase, done, total } = terminology;
    const doing = phase === "Done" ? "has loaded the terminology" : `loads the terminology, ${done} of ${total}`;
    sentences.push(`Replica ${by} ${doing} (attempt ${attempt}).`);
  }
  for (const { by, planned } of reports.slice(-3).reverse()) {
    sentences.push(`Replica ${by} made the report of ${new Date(planned).toLocaleString()}.`);
  }
  const shown = sentences.join(" ");
  if (together.textContent !== shown) together.textContent = shown;
}

setInterval(ask, 200);
setInterval(refresh, 1000);
// That it cannot be told now is no news: the squares say so.
setInterval(() => askWho().catch(() => {}), 2000);
await refresh();

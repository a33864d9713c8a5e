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

function row(part, index) {
  const row = document.createElement("tr");
  const cell = (content) => {
    const cell = document.createElement("td");
    cell.append(content);
    row.append(cell);
  };
  cell(part.name);
  cell(part.condition + (part.ready === false && part.condition === "running" ? ", not ready" : ""));
  cell(part.answered ?? "");
  cell(part.passed_on ?? "");
  cell(part.failed ?? "");
  const buttons = document.createElement("span");
  const possible = { running: ["kill", "pause"], paused: ["kill", "start"], killed: ["start"], starting: [] }[part.condition];
  for (const action of ["kill", "pause", "start"]) {
    const button = document.createElement("button");
    button.textContent = action;
    button.disabled = !possible.includes(action);
    button.addEventListener("click", async () => {
      await fetch(`/_demo/${index}/${action}`, { method: "POST", headers: { "X-Demo": "1" } });
      await refresh();
    });
    buttons.append(button);
  }
  cell(buttons);
  return row;
}

let shown = "";
async function refresh() {
  const text = await (await fetch("/_demo/state", { cache: "no-store" })).text();
  // A button that is being pressed must not be replaced by its twin.
  if (text === shown) return;
  shown = text;
  parts.replaceChildren(...JSON.parse(text).map(row));
}

setInterval(ask, 200);
setInterval(refresh, 1000);
await refresh();

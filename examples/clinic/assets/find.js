// Looks for patients, and leaves the page when theirs is there: a search that is slow or fails is said beside its field.
import { showError } from "./forms.js";
import { content, mended } from "./http.js";

const SAY_AFTER = 300; // milliseconds without an answer before the page says that it is searching
const SLOW_AFTER = 2500; // … and that this takes longer than it should
const GIVE_UP_AFTER = 10_000;

export function startFind(form) {
  const status = form.querySelector("[role=status]");
  let running;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const mine = (running = {});
    const say = (words) => () => running === mine && (status.textContent = words);
    const timers = [
      setTimeout(say("Searching …"), SAY_AFTER),
      setTimeout(say("Still searching; this takes longer than usual …"), SLOW_AFTER),
    ];
    showError(form);
    const to = `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
    const words = await look(to);
    timers.forEach(clearTimeout);
    if (running !== mine) return;
    if (!words) return location.assign(to);
    status.textContent = "";
    showError(form, words, "q");
  });
}

/** What went wrong; nothing if the page of this address can be had. */
async function look(address) {
  try {
    for (let tries = 2; ; tries -= 1) {
      const signal = AbortSignal.timeout(GIVE_UP_AFTER);
      const response = await fetch(address, { headers: { Accept: "application/json" }, signal });
      if (response.ok) return "";
      if (tries === 1 || !(await mended(response.status))) return (await content(response)).error;
    }
  } catch {
    return "The server cannot be reached. Try again.";
  }
}

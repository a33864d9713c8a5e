// Keeps a half-filled note in the session while it is being typed, so that it outlives the page and the server.
import { reason, sessionEnded, tokenHeader } from "./http.js";

const PAUSE = 500; // milliseconds without a key before the draft is kept

export function startDraft(form) {
  const text = form.querySelector("textarea");
  const status = form.querySelector("[role=status]");
  let timer = 0;
  let sent = Promise.resolve();

  async function keep() {
    const body = new URLSearchParams({ text: text.value });
    try {
      const response = await fetch(form.dataset.draft, { method: "PUT", headers: tokenHeader, body });
      if (response.ok) status.textContent = "Draft kept.";
      else if (!sessionEnded(response.status)) status.textContent = `Draft not kept: ${await reason(response)}`;
    } catch {
      status.textContent = "Draft not kept: the server cannot be reached.";
    }
  }

  text.addEventListener("input", () => {
    status.textContent = "";
    clearTimeout(timer);
    // One after another: an older draft must not arrive after a newer one.
    timer = setTimeout(() => (sent = sent.then(keep)), PAUSE);
  });
  form.addEventListener("submit", () => clearTimeout(timer));
}

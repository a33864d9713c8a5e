// Keeps a half-filled note in the session while it is being typed, so that it outlives the page and the server.
import { reason, sessionEnded, tokenHeader } from "./http.js";

const PAUSE = 500; // milliseconds without a key before the draft is kept

export function startDraft(form) {
  const text = form.querySelector("textarea");
  const status = form.querySelector("[role=status]");
  let timer = 0;
  let sent = Promise.resolve();
  let sending = 0;

  async function keep() {
    const body = new URLSearchParams({ id: form.elements.id.value, text: text.value });
    sending += 1;
    try {
      const response = await fetch(form.dataset.draft, { method: "PUT", headers: tokenHeader, body });
      if (response.ok) status.textContent = "Draft kept.";
      else if (!sessionEnded(response.status)) status.textContent = `Draft not kept: ${await reason(response)}`;
    } catch {
      status.textContent = "Draft not kept: the server cannot be reached.";
    }
    sending -= 1;
  }

  text.addEventListener("input", () => {
    status.textContent = "";
    clearTimeout(timer);
    // One after another: an older draft must not arrive after a newer one.
    timer = setTimeout(() => (sent = sent.then(keep)), PAUSE);
  });
  form.addEventListener("submit", (event) => {
    clearTimeout(timer);
    if (sending === 0) return;
    // A draft that arrived after the note would be shown as another note, half written.
    event.preventDefault();
    sent.then(() => form.submit());
  });
}

// Keeps a half-written note while it is being typed, so that it outlives the page, the session and the server.
import { newId, send, UNREACHABLE } from "./http.js";

const PAUSE = 500; // milliseconds without a key before the draft is kept
const AGAIN = 4000; // milliseconds before a draft that could not be kept is sent again
const TRY_AGAIN = [0, 408, 429]; // not answered, too slow, too often

/** Returns what the form has to wait for before it is sent. */
export function startDraft(form) {
  const text = form.querySelector("textarea");
  const status = form.querySelector("[role=status]");
  let timer = 0;
  let sent = Promise.resolve();
  let kept = text.value;
  let isClosing = false;
  // Other windows may show the same draft: the server keeps this one's only in place of what this one has seen.
  form.elements.page.value = newId();

  async function keep() {
    const value = text.value;
    const { id, page, seen } = form.elements;
    const fields = { id: id.value, page: page.value, seen: seen.value, text: value };
    const answer = await send(form.dataset.draft, { method: "PUT", fields });
    // Somebody on the way, such as the log-in page of a network, may answer with a page of its own.
    if (answer.status === 204) {
      kept = value;
      status.textContent = "Draft kept.";
    } else if (answer.ok || TRY_AGAIN.includes(answer.status) || answer.status >= 500) {
      status.textContent = `Draft not kept yet, trying again: ${answer.body.error ?? UNREACHABLE}`;
      later(AGAIN);
    } else if (answer.body.code === "saved" && !isClosing) keepAnother();
    else if (answer.status === 401) status.textContent = "Draft not kept: log in again to keep it.";
    else status.textContent = `Draft not kept: ${answer.body.error}`;
  }

  // Another note was saved from this form, perhaps by a request whose answer was lost: this one is a note of its own, of which
  // nothing is kept yet.
  function keepAnother() {
    form.elements.id.value = newId();
    kept = "";
    later(0);
  }

  // One after another: an older draft must not arrive after a newer one.
  function later(pause) {
    clearTimeout(timer);
    if (!isClosing) timer = setTimeout(() => (sent = sent.then(keep)), pause);
  }

  text.addEventListener("input", () => {
    status.textContent = "";
    later(PAUSE);
  });
  const ask = (event) => {
    if (text.value !== kept) event.preventDefault();
  };
  addEventListener("beforeunload", ask);
  form.addEventListener("refused", ({ detail }) => {
    isClosing = false;
    if (detail.status === 409) keepAnother();
    else if (text.value !== kept) later(PAUSE);
  });
  form.addEventListener("saved", () => removeEventListener("beforeunload", ask));
  return () => {
    // A draft that arrived after the note would be shown as another note, half written.
    isClosing = true;
    clearTimeout(timer);
    return sent;
  };
}

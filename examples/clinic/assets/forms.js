// Sends a form without leaving the page: whatever goes wrong is said beside its field, and what was typed stays.
import { send } from "./http.js";

/** Shows what is wrong beside the field that it is about, and leads there; nothing if nothing is. */
export function showError(form, error, field) {
  const places = [...form.querySelectorAll("[data-error]")];
  const place = places.find((found) => found.dataset.error === field) ?? places[0];
  for (const found of places) found.hidden = true;
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  if (!error || !place) return;
  place.setAttribute("role", "alert");
  place.textContent = error;
  place.hidden = false;
  const input = form.querySelector(`[aria-describedby~="${place.id}"]`);
  if (!place.id || !input) return;
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

/** `before` may hold the form back until something else is sent. */
export function startForm(form, before = async () => {}) {
  const buttons = form.querySelectorAll("button:not([type=button])");
  let underWay = false;
  form.addEventListener("submit", async (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    if (underWay) return;
    underWay = true;
    form.setAttribute("aria-busy", "true");
    for (const button of buttons) button.classList.add("busy");
    await before();
    const answer = await send(form.action, { fields: new FormData(form) });
    underWay = false;
    form.removeAttribute("aria-busy");
    for (const button of buttons) button.classList.remove("busy");
    if (answer.ok && answer.body.to) {
      form.dispatchEvent(new CustomEvent("saved"));
      location.assign(answer.body.to);
    } else {
      form.dispatchEvent(new CustomEvent("refused", { detail: answer }));
      showError(form, answer.body.error ?? "It was not saved. Try again.", answer.body.field);
    }
  });
}

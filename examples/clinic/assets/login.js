// Logs in, and leaves the page when that is done: what is refused, and a connection that is lost, are said in their place.
import { showError } from "./forms.js";
import { content, GIVE_UP_AFTER, UNREACHABLE } from "./http.js";

export function startLogIn(form) {
  const button = form.querySelector("button");
  let underWay = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (underWay) return;
    underWay = true;
    form.setAttribute("aria-busy", "true");
    button.classList.add("busy");
    const answer = await logIn(form);
    if (answer.to) return location.assign(answer.to);
    // What is about no field stands on the page that the server makes, with a token as it is now.
    if (!answer.error) return form.submit();
    underWay = false;
    form.removeAttribute("aria-busy");
    button.classList.remove("busy");
    showError(form, answer.error, answer.field);
    if (answer.field) form.elements[answer.field].select();
  });
}

/** Where to go, or what is wrong with which field, or that nothing answers. */
async function logIn(form) {
  const body = new URLSearchParams(new FormData(form));
  try {
    const signal = AbortSignal.timeout(GIVE_UP_AFTER);
    const response = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body, signal });
    const answer = await content(response);
    return answer.to || answer.field ? answer : {};
  } catch {
    return { error: UNREACHABLE };
  }
}

// Logging in again in the middle of something: the page stays as it is, with all that was typed.
import { GIVE_UP_AFTER, takeToken } from "./http.js";

let asking;

/** Asks for the password of whoever was logged in. Resolves to whether they are again. */
export function logInAgain() {
  asking ??= ask().finally(() => (asking = undefined));
  return asking;
}

function ask() {
  const login = document.querySelector("meta[name=login]")?.content ?? "";
  const before = document.activeElement;
  const dialog = document.createElement("dialog");
  dialog.className = "card";
  dialog.setAttribute("aria-labelledby", "again-title");
  dialog.innerHTML = `
    <h2 id="again-title">Log in again</h2>
    <p id="again-why">Your session has ended. What you typed is still here, and is saved when you have logged in.</p>
    <form>
      <div class="field"><label for="again-login">Login</label>
        <input id="again-login" name="login" autocomplete="username" readonly></div>
      <div class="field"><label for="again-password">Password</label>
        <input id="again-password" name="password" type="password" autocomplete="current-password" required
          aria-describedby="again-error"><p class="field-error" id="again-error" role="alert" hidden></p></div>
      <div class="row"><button>Log in</button><button type="button" class="plain">Not now</button></div>
    </form>`;
  const form = dialog.querySelector("form");
  const error = dialog.querySelector("#again-error");
  const password = form.elements.password;
  form.elements.login.value = login;
  dialog.setAttribute("aria-describedby", "again-why");
  document.body.append(dialog);
  dialog.showModal();
  password.focus();
  return new Promise((resolve) => {
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const words = await logIn(login, password.value);
      if (words) {
        error.textContent = words;
        error.hidden = false;
        password.setAttribute("aria-invalid", "true");
        password.focus();
        password.select();
        return;
      }
      done = true;
      dialog.close();
    });
    dialog.querySelector("button.plain").addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus();
      resolve(done);
    });
  });
}

/** What went wrong; nothing if nobody else is logged in now. */
async function logIn(login, password) {
  try {
    const signal = AbortSignal.timeout(GIVE_UP_AFTER);
    const page = new DOMParser().parseFromString(await (await fetch("/login", { signal })).text(), "text/html");
    const csrf = page.querySelector("input[name=csrf]").value;
    const body = new URLSearchParams({ csrf, login, password });
    const response = await fetch("/login", { method: "POST", headers: { Accept: "application/json" }, body, signal });
    const answer = await response.json();
    if (!response.ok) return answer.error;
    takeToken(answer.csrf);
    return "";
  } catch {
    return "The server cannot be reached. Try again.";
  }
}

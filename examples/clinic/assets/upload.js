// Sends a file as the body of a request, because only that tells how far it got. The page is not left when it is there:
// somebody may be typing on it.
import { showError, startForm } from "./forms.js";
import { GIVE_UP_AFTER, mended, newId, tokenHeader, UNREACHABLE } from "./http.js";
import { localTimes } from "./time.js";

const SILENT_AFTER = 120_000; // milliseconds in which nothing goes up, and no answer comes

export function startUpload(form) {
  const input = form.querySelector("input[type=file]");
  const button = form.querySelector("button");
  const bar = form.querySelector("progress");
  const status = form.querySelector("[role=status]");

  button.disabled = false;

  // One for each choice of a file: whoever sends it again, because no answer came, attaches it once.
  let key;
  input.addEventListener("change", () => (key = undefined));

  const ask = (event) => event.preventDefault();

  function end(words) {
    removeEventListener("beforeunload", ask);
    bar.hidden = true;
    button.disabled = false;
    status.textContent = words;
  }

  /** The file stays chosen: whoever tries again need not look for it. */
  function fail(words) {
    end("");
    showError(form, words, "file");
  }

  async function succeed(file) {
    try {
      await showAttached(form);
    } catch {
      return end(`${file.name} is attached. Load the page again to see it.`);
    }
    const idle = !document.activeElement || document.activeElement === document.body;
    form.reset();
    key = undefined;
    end(`${file.name} is attached.`);
    if (idle) input.focus();
  }

  function upload(file, tries) {
    const request = new XMLHttpRequest();
    request.open("POST", `${form.action}?${new URLSearchParams({ name: file.name })}`);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(tokenHeader())) request.setRequestHeader(name, value);
    if (file.size <= Number(input.dataset.mostKeyed)) request.setRequestHeader("Idempotency-Key", (key ??= newId()));
    request.responseType = "json";
    let silence = 0;
    const wait = () => {
      clearTimeout(silence);
      silence = setTimeout(() => request.abort(), SILENT_AFTER);
    };
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      wait();
      bar.value = total > 0 ? loaded / total : 0;
      status.textContent = `${Math.floor(bar.value * 100)} %`;
    });
    request.addEventListener("load", async () => {
      if (request.status === 201) return succeed(file);
      let again;
      try {
        again = tries > 1 && (await mended(request.status, request.response));
      } catch {
        return fail(UNREACHABLE);
      }
      if (again) upload(file, tries - 1);
      else fail(request.response?.error ?? request.response?.detail ?? `The server answered ${request.status}. Try again.`);
    });
    for (const lost of ["error", "abort"]) request.addEventListener(lost, () => fail(UNREACHABLE));
    request.addEventListener("loadend", () => clearTimeout(silence));
    bar.value = 0;
    wait();
    request.send(file);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = input.files[0];
    if (!file) return;
    // The server says so too, but in the middle of what it does not read: a browser may take that for a broken connection.
    if (file.size > Number(input.dataset.most)) return fail(input.dataset.tooLarge);
    showError(form);
    bar.hidden = false;
    button.disabled = true;
    addEventListener("beforeunload", ask);
    upload(file, 2);
  });
}

/** The list of documents as it is now, in the place of what is shown. */
async function showAttached(form) {
  const signal = AbortSignal.timeout(GIVE_UP_AFTER);
  const response = await fetch(location.pathname, { headers: { Accept: "text/html" }, signal });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const list = page.querySelector("#documents > ul");
  const shown = form.parentElement.querySelector(":scope > ul");
  localTimes(list);
  for (const entry of list.querySelectorAll("form")) startForm(entry);
  shown.replaceWith(list);
  for (const empty of form.parentElement.querySelectorAll(":scope > p.quiet")) empty.remove();
}

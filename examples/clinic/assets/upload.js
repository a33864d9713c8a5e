// Sends a file as the body of a request, because only that tells how far it got.
import { showError } from "./forms.js";
import { mended, tokenHeader, UNREACHABLE } from "./http.js";

export function startUpload(form) {
  const input = form.querySelector("input[type=file]");
  const button = form.querySelector("button");
  const bar = form.querySelector("progress");
  const status = form.querySelector("[role=status]");

  /** The file stays chosen: whoever tries again need not look for it. */
  function fail(words) {
    bar.hidden = true;
    button.disabled = false;
    status.textContent = "";
    showError(form, words, "file");
  }

  function upload(file, tries) {
    const request = new XMLHttpRequest();
    request.open("POST", `${form.action}?${new URLSearchParams({ name: file.name })}`);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(tokenHeader())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = total > 0 ? loaded / total : 0;
      status.textContent = `${Math.floor(bar.value * 100)} %`;
    });
    request.addEventListener("load", async () => {
      if (request.status === 201) location.assign(`${location.pathname}?attached=${request.response.id}`);
      else if (tries > 1 && (await mended(request.status, request.response))) upload(file, tries - 1);
      else fail(request.response?.error ?? `The server answered ${request.status}. Try again.`);
    });
    request.addEventListener("error", () => fail(UNREACHABLE));
    bar.value = 0;
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
    upload(file, 2);
  });
}

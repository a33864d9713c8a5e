// Sends a file as the body of a request, because only that tells how far it got.
import { sessionEnded, tokenHeader } from "./http.js";

export function startUpload(form) {
  const input = form.querySelector("input[type=file]");
  const button = form.querySelector("button");
  const bar = form.querySelector("progress");
  const status = form.querySelector("[role=status]");

  function finish(message) {
    bar.hidden = true;
    button.disabled = false;
    status.textContent = message;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const file = input.files[0];
    if (!file) return;
    const request = new XMLHttpRequest();
    request.open("POST", `${form.action}?${new URLSearchParams({ name: file.name })}`);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    for (const [name, value] of Object.entries(tokenHeader)) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      bar.value = total > 0 ? loaded / total : 0;
      status.textContent = `${Math.floor(bar.value * 100)} %`;
    });
    request.addEventListener("load", () => {
      if (request.status === 201) {
        location.hash = "documents";
        location.reload();
      } else if (!sessionEnded(request.status)) {
        finish(request.response?.error ?? `The server answered ${request.status}.`);
      }
    });
    request.addEventListener("error", () => finish("The server cannot be reached."));
    bar.value = 0;
    bar.hidden = false;
    button.disabled = true;
    request.send(file);
  });
}

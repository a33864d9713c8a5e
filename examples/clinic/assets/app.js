// What every page has; the rest starts only where its form is.
import { startDraft } from "./draft.js";
import { startPicker } from "./picker.js";
import { startUpload } from "./upload.js";

for (const time of document.querySelectorAll("time")) {
  const local = new Date(time.dateTime);
  time.textContent = local.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

const search = document.querySelector("[data-search]");
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "/" && !typing && search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

for (const form of document.querySelectorAll("form.picker")) startPicker(form);
for (const form of document.querySelectorAll("form.note-form")) startDraft(form);
for (const form of document.querySelectorAll("form.upload")) startUpload(form);

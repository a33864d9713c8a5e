// What every page has; the rest starts only where its form is.
import { startDraft } from "./draft.js";
import { startFind } from "./find.js";
import { startForm } from "./forms.js";
import { startLogIn } from "./login.js";
import { startPicker } from "./picker.js";
import { localTimes } from "./time.js";
import { startUpload } from "./upload.js";

localTimes(document);

const search = document.querySelector("[data-search]");
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "/" && !typing && search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

// What was done is said once: a page that is loaded again, or bookmarked, does not say it.
const said = document.querySelector("[data-said]");
if (said) {
  history.replaceState(null, "", location.pathname);
  // A message that is there from the beginning is read by nobody; one that comes is.
  const message = said.matches("[role=status]") ? said : said.querySelector("[role=status]");
  const words = message.textContent;
  message.textContent = "";
  setTimeout(() => (message.textContent = words), 100);
}

for (const form of document.querySelectorAll("form.picker")) startPicker(form);
for (const form of document.querySelectorAll("form.upload")) startUpload(form);
for (const form of document.querySelectorAll("form[role=search]")) startFind(form);
// One that waits for the log-in comes back as a page.
for (const form of document.querySelectorAll("form.log-in:not(:has([name=waiting]))")) startLogIn(form);
// A page without a token of its own shows what was typed and not taken, in a form that has one: that is sent as it is.
if (document.querySelector("meta[name=csrf]")) {
  for (const form of document.querySelectorAll("form[method=post]:not(.upload, [action='/logout'])")) {
    startForm(form, form.matches(".note-form") ? startDraft(form) : undefined);
  }
}

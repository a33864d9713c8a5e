// A combobox as the WAI-ARIA Authoring Practices describe it: the focus stays in the input, and the arrow keys move
// through the options.
import { showError } from "./forms.js";
import { content, mended } from "./http.js";

const PAUSE = 120; // milliseconds without a key before a search
const SAY_AFTER = 300; // milliseconds without an answer before the page says that it is searching
const SLOW_AFTER = 2500; // … and that this takes longer than it should
const GIVE_UP_AFTER = 10000;
const LOOK_AGAIN_AFTER = 2000; // … while the diagnoses are still being loaded

export function startPicker(form) {
  const input = form.querySelector("input[role=combobox]");
  const list = form.querySelector("[role=listbox]");
  const chips = form.querySelector(".chips");
  const status = form.querySelector("[role=status]");
  let chapter = "";
  let chosen = "";
  let timer = 0;
  let running = new AbortController();
  let waiting = false; // for the options of what is typed

  const options = () => [...list.children];
  const active = () => list.querySelector("[aria-selected=true]");

  function activate(option) {
    active()?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function close() {
    list.hidden = chips.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  /** A category is no diagnosis: choosing one shows the codes below it. */
  function choose(option) {
    stopSearching();
    if (option.dataset.billable !== "true") {
      input.value = option.dataset.code;
      chosen = "";
      input.focus();
      search();
      return;
    }
    input.value = chosen = option.dataset.value;
    chapter = "";
    close();
    status.textContent = `${chosen} chosen. Press Enter to add it.`;
    input.focus();
  }

  function show({ total, chapters, hits, partial }) {
    list.replaceChildren(...hits.map(toOption));
    chips.replaceChildren(...chapters.map(toChip));
    list.hidden = hits.length === 0;
    chips.hidden = chapters.length === 0;
    input.setAttribute("aria-expanded", String(hits.length > 0));
    activate(list.firstElementChild);
    const most = partial ? "Nothing has all of these words; most of them:" : "";
    status.textContent = total === 0 ? "Nothing found. Try other words, or fewer." : `${most} ${total} found.`.trim();
  }

  function toOption(hit, index) {
    const option = document.createElement("li");
    option.id = `option-${index}`;
    option.role = "option";
    option.setAttribute("aria-selected", "false");
    option.dataset.code = hit.code;
    option.dataset.billable = hit.billable;
    option.dataset.value = `${hit.code} ${hit.title.map(([text]) => text).join("")}`;
    const code = document.createElement("code");
    code.textContent = hit.code;
    const title = document.createElement("span");
    title.append(...marked(hit.title));
    option.append(code, title);
    if (!hit.billable) {
      const category = document.createElement("small");
      category.textContent = "A category: choose it to see its codes.";
      option.append(category);
    }
    for (const term of hit.terms) {
      const line = document.createElement("small");
      line.append(...marked(term));
      option.append(line);
    }
    option.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      choose(option);
    });
    return option;
  }

  function toChip(found) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.textContent = `${found.count} · ${found.title}`;
    chip.setAttribute("aria-pressed", String(found.chapter === chapter));
    chip.addEventListener("click", () => {
      chapter = found.chapter === chapter ? "" : found.chapter;
      input.focus();
      search();
    });
    return chip;
  }

  /** What comes late must not open the list again. */
  function stopSearching() {
    clearTimeout(timer);
    running.abort();
    running = new AbortController();
    waiting = false;
  }

  async function search() {
    running.abort();
    running = new AbortController();
    const mine = running;
    const typed = input.value.trim();
    if (typed === "") {
      waiting = false;
      chapter = "";
      close();
      status.textContent = "";
      return;
    }
    const say = (words) => () => (status.textContent = words);
    const timers = [
      setTimeout(say("Searching …"), SAY_AFTER),
      setTimeout(say("Still searching; this takes longer than usual …"), SLOW_AFTER),
      setTimeout(() => mine.abort("late"), GIVE_UP_AFTER),
    ];
    try {
      await ask(new URLSearchParams({ q: input.value, chapter }), mine.signal);
    } catch {
      if (running !== mine || (mine.signal.aborted && mine.signal.reason !== "late")) return;
      close();
      status.textContent = mine.signal.aborted
        ? "The search does not answer. Type on, or press Enter after a code."
        : "The server cannot be reached. Type on to try again.";
    } finally {
      timers.forEach(clearTimeout);
      if (running === mine) waiting = false;
    }
  }

  async function ask(query, signal) {
    const headers = { Accept: "application/json" };
    const response = await fetch(`/api/concepts?${query}`, { headers, signal });
    if (response.ok) {
      const found = await response.json();
      if (!signal.aborted) show(found);
    } else if (await mended(response.status)) await search();
    else {
      const refusal = await content(response);
      if (signal.aborted) return;
      close();
      status.textContent = refusal.error;
      if (refusal.code === "loading") timer = setTimeout(search, LOOK_AGAIN_AFTER);
    }
  }

  input.addEventListener("input", () => {
    chosen = "";
    stopSearching();
    waiting = true;
    showError(form);
    timer = setTimeout(search, PAUSE);
  });

  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.indexOf(active());
    if (event.key === "ArrowDown" && all.length > 0) activate(all[(at + 1) % all.length]);
    else if (event.key === "ArrowUp" && all.length > 0) activate(all[(at + all.length - 1) % all.length]);
    else if (event.key === "Escape") {
      stopSearching();
      close();
      status.textContent = "";
    }
    else if (event.key === "Enter" && input.value !== chosen && (active() || waiting)) {
      // While the answer to what is typed is waited for, the list shows what matched before.
      if (!waiting) choose(active());
    } else return; // A code that was typed while the search is away is sent as it is.
    event.preventDefault();
  });

  form.addEventListener("submit", (event) => {
    if (input.value !== chosen && active()) {
      event.preventDefault();
      if (!waiting) choose(active());
    }
  });

  close();
}

function marked(segments) {
  return segments.map(([text, hit]) => {
    if (!hit) return text;
    const mark = document.createElement("mark");
    mark.textContent = text;
    return mark;
  });
}

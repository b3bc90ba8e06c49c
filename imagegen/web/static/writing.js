// Beside the form: how much of the prompt is read, and settings that somebody keeps in this browser.

import { fill, form, words } from "./form.js";
import { t } from "./texts.js";

const PRESETS = "imagegen-studio-presets";
const MOST_PRESETS = 40;
const PAUSE_MS = 300;
const reading = document.getElementById("reading");
const own = document.getElementById("own");
const nameField = document.getElementById("own-name");
let asked = 0;
let timer = null;

let tell; // what the page says

export function openWriting({ say }) {
  tell = say;
  addEventListener("storage", show); // another tab has others now
  for (const kind of ["input", "change", "filled"]) {
    form.addEventListener(kind, (event) => {
      if (kind !== "filled" && !["prompt", "brand"].includes(event.target.name)) return;
      clearTimeout(timer);
      timer = setTimeout(read, PAUSE_MS);
    });
  }
  if (form.elements.prompt.value) read();
  own.querySelector("[data-save]").addEventListener("click", save);
  nameField.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would send the form
    save();
  });
  own.addEventListener("click", (event) => {
    const use = event.target.closest("[data-use-preset]");
    if (use) fill(withStart(new URLSearchParams(presets()[use.dataset.usePreset])));
    const forget = event.target.closest("[data-forget]");
    if (forget) keep(Object.fromEntries(Object.entries(presets()).filter(([name]) => name !== forget.dataset.forget)));
  });
  show();
}

async function read() {
  const { prompt, brand } = form.elements;
  asked += 1;
  const mine = asked;
  if (!prompt.value.trim()) {
    reading.textContent = "";
    return;
  }
  try {
    const body = new URLSearchParams({ prompt: prompt.value, brand: brand.value });
    const answer = await fetch(reading.dataset.address, { method: "POST", body });
    if (!answer.ok || mine !== asked) return;
    const { tokens, limit, sentence } = await answer.json();
    reading.textContent = sentence;
    reading.classList.toggle("over", tokens > limit);
  } catch {
    // The request itself will say that the service is gone.
  }
}

// Presets of one's own

function presets() {
  try {
    return JSON.parse(localStorage.getItem(PRESETS)) ?? {};
  } catch {
    return {};
  }
}

function withStart(said) {
  said.set("from", form.elements.from.value);
  return said;
}

function keep(all) {
  try {
    localStorage.setItem(PRESETS, JSON.stringify(all));
  } catch {
    tell(t("not_kept")); // no room, or no permission
  }
  show();
}

function save() {
  const said = words();
  said.delete("from"); // a picture to start from is no setting
  const name = nameField.value.trim() || said.get("prompt").trim().slice(0, 40);
  if (!name) {
    nameField.focus();
    return;
  }
  const others = Object.entries(presets()).filter(([other]) => other !== name);
  keep(Object.fromEntries([[name, String(said)], ...others].slice(0, MOST_PRESETS)));
  nameField.value = "";
}

function show() {
  own.querySelector("[data-presets]").replaceChildren(...Object.keys(presets()).map((name) => {
    const item = document.createElement("li");
    const use = document.createElement("button");
    const forget = document.createElement("button");
    use.type = "button";
    forget.type = "button";
    use.className = "chip";
    use.textContent = name;
    use.dir = "auto";
    use.dataset.usePreset = name;
    forget.className = "quiet";
    forget.textContent = "×";
    forget.dataset.forget = name;
    forget.setAttribute("aria-label", t("forget", { name }));
    item.append(use, forget);
    return item;
  }));
}

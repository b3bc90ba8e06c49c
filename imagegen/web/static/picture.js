// Marks without leaving the page, by keys too; says that a picture is being rendered.

import { t } from "./texts.js";

const language = document.documentElement.lang;

function localise() {
  for (const time of document.querySelectorAll("main time")) {
    time.textContent = new Date(time.dateTime).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  }
}

// One after the other: each says which state of the marks it has seen.
let marking = Promise.resolve();

async function mark(key) {
  const form = document.querySelector(".marks");
  const wasOpen = document.querySelector(".history")?.open;
  const said = new FormData(form, form.querySelector(`[data-key="${key}"]`));
  document.querySelector(".alert")?.remove();
  let page;
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(said) });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    raise(t("not_marked"));
    return;
  }
  const marks = page.querySelector("#marks");
  if (!marks) {
    location.reload();
    return;
  }
  const alert = page.querySelector(".alert");
  if (alert) document.querySelector("#marks").before(alert);
  document.querySelector("#marks").replaceWith(marks);
  const history = marks.querySelector(".history");
  if (history && wasOpen) history.open = true;
  marks.querySelector(`[data-key="${key}"]`).focus();
  localise();
}

function raise(sentence) {
  const alert = document.createElement("div");
  alert.className = "alert";
  alert.role = "alert";
  alert.textContent = sentence;
  document.querySelector("#marks").before(alert);
}

document.addEventListener("submit", (event) => {
  if (event.target.matches(".marks")) {
    event.preventDefault();
    const { key } = event.submitter.dataset;
    marking = marking.then(() => mark(key));
  }
  if (event.target.matches("#again")) {
    event.target.querySelector("[role=status]").hidden = false;
    event.target.querySelector("button").disabled = true;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  document.querySelector(`.marks [data-key="${CSS.escape(event.key.toLowerCase())}"]`)?.click();
});

const searched = sessionStorage.getItem("library");
if (searched) document.querySelector(".back").search = searched; // what was found is found again

addEventListener("pageshow", () => {
  const again = document.querySelector("#again button");
  if (again) again.disabled = false;
});

localise();

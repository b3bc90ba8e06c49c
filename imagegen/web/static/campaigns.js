// A file may be dropped on the text; a campaign under way is looked at again and again.

const QUICK_MS = 2000;
const SLOW_MS = 6000; // of long tables
const drop = document.querySelector(".drop");
const language = document.documentElement.lang;

function localise() {
  for (const time of document.querySelectorAll("main time")) {
    time.textContent = new Date(time.dateTime).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  }
}

async function take(file) {
  if (!file) return;
  const bytes = await file.arrayBuffer();
  try {
    document.querySelector("#text").value = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return; // it goes as it is, and the service says what is wrong with it
  }
  document.querySelector("#file").value = "";
  const name = document.querySelector("#name");
  if (!name.value) name.value = file.name.replace(/\.\w+$/, "").slice(0, 64);
}

if (drop) {
  document.querySelector("#file").addEventListener("change", (event) => take(event.target.files[0]));
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.querySelector("#plan-heading")?.focus();
}

function state() {
  return document.querySelector("#state");
}

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("#state");
    if (next) {
      const isIn = state().contains(document.activeElement);
      const label = document.activeElement.textContent;
      state().replaceWith(next);
      if (isIn) [...next.querySelectorAll("button, a")].find((one) => one.textContent === label)?.focus();
    }
  } catch {
    // the network is away for a moment: the next look tells
  }
  plan();
}

function plan() {
  if (!state() || state().dataset.over === "true") return;
  setTimeout(look, state().querySelectorAll("tbody tr").length > 200 ? SLOW_MS : QUICK_MS);
}

localise();
plan();

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
    document.querySelector("#file").value = "";
  } catch {
    const whole = new DataTransfer(); // it goes as it is: the service knows other encodings
    whole.items.add(file);
    document.querySelector("#file").files = whole.files;
  }
  const name = document.querySelector("#name");
  if (!name.value) name.value = file.name.replace(/\.\w+$/, "").slice(0, 64);
}

if (drop) {
  document.querySelector("#file").addEventListener("change", (event) => take(event.target.files[0]));
  // Wherever on the page it falls: beside the field it would take the page's place.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) addEventListener(kind, () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.querySelector("#plan-heading")?.focus();
}

function state() {
  return document.querySelector("#state");
}

// What one has opened, and how far a table is pushed aside, outlives a look.
function keepOpen(next) {
  const open = state().querySelector("details")?.open;
  if (open && next.querySelector("details")) next.querySelector("details").open = true;
  const left = state().querySelector(".scroll").scrollLeft;
  if (left) requestAnimationFrame(() => { next.querySelector(".scroll").scrollLeft = left; });
}

async function look() {
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.querySelector("#state");
    if (next) {
      keepOpen(next);
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

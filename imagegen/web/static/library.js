// Finds as one types, shows more as one scrolls, keeps what one has chosen; the pages say what there is.

import { t } from "./texts.js";

const PAUSE_MS = 250;
const form = document.querySelector("#search");
const found = document.querySelector("#found");
const chosen = new Set(); // also of pictures that another search has taken off the page
let asked = 0;
let timer;

async function pageAt(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

function localise(root) {
  for (const time of root.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleDateString(document.documentElement.lang, { dateStyle: "medium" });
  }
}

async function find() {
  clearTimeout(timer);
  const said = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  const url = `${form.action}${said.size ? `?${said}` : ""}`;
  const mine = ++asked;
  found.ariaBusy = "true";
  try {
    const page = await pageAt(url);
    if (mine !== asked) return;
    found.replaceChildren(...page.querySelector("#found").childNodes);
    form.querySelector(".go").replaceWith(page.querySelector("#search .go"));
    const tray = page.querySelector("#selection");
    if (tray && !document.querySelector("#selection")) found.after(tray);
    history.replaceState(null, "", url);
    shown();
  } catch {
    if (mine === asked) location.href = url; // the browser says what is wrong
  } finally {
    if (mine === asked) found.ariaBusy = "false";
  }
}

form.addEventListener("input", (event) => {
  clearTimeout(timer);
  timer = setTimeout(find, event.target.type === "search" ? PAUSE_MS : 0);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});

const nearEnd = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) showMore();
}, { rootMargin: "600px" });

async function showMore(focus = false) {
  const more = document.querySelector("#more");
  if (!more || more.ariaBusy === "true") return;
  more.ariaBusy = "true";
  nearEnd.disconnect();
  const mine = asked;
  try {
    const page = await pageAt(more.href);
    if (mine !== asked) return;
    const tiles = [...page.querySelectorAll("#tiles > li")];
    document.querySelector("#tiles").append(...tiles);
    const next = page.querySelector("#more");
    if (next) more.replaceWith(next);
    else more.parentElement.remove();
    if (focus) tiles[0]?.querySelector("a").focus();
    shown();
  } catch {
    more.ariaBusy = "false"; // it is a link: pressed, it says what is wrong
    more.dataset.failed = "";
  }
}

found.addEventListener("change", (event) => {
  if (event.target.name !== "picture") return;
  if (event.target.checked) chosen.add(event.target.value);
  else chosen.delete(event.target.value);
  showTray();
});

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-clear]")) return;
  chosen.clear();
  showTray();
  found.querySelector(".pick")?.focus();
});

function showTray() {
  const tray = document.querySelector("#selection");
  if (!tray) return;
  const there = new Set();
  for (const box of found.querySelectorAll("[name=picture]")) {
    box.checked = chosen.has(box.value);
    there.add(box.value);
  }
  const count = tray.querySelector("[data-count]");
  tray.hidden = chosen.size === 0;
  tray.querySelector("[data-clear]").hidden = false;
  const most = Number(count.dataset.most);
  count.textContent = chosen.size > most ? t("too_many", { count: chosen.size, most }) : t("picked", { count: chosen.size });
  tray.querySelector(".strong").disabled = chosen.size > most;
  tray.querySelector("[data-names]").replaceChildren(...[...chosen].filter((name) => !there.has(name)).map((name) => {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = "picture";
    field.value = name;
    return field;
  }));
}

// A picture's page leads back to what was found.
addEventListener("pagehide", () => sessionStorage.setItem("library", location.search));

// Back again: what the browser had ticked is chosen.
addEventListener("pageshow", () => {
  for (const box of found.querySelectorAll("[name=picture]:checked")) chosen.add(box.value);
  showTray();
});

function shown() {
  localise(found);
  showTray();
  const more = document.querySelector("#more");
  if (!more) return;
  nearEnd.observe(more);
  more.addEventListener("click", (event) => {
    if ("failed" in more.dataset) return;
    event.preventDefault();
    showMore(true);
  });
}

shown();

// What can be done with pictures: look at them alone or side by side, mark them, ask for others.

import { t } from "./texts.js";

const viewer = document.getElementById("viewer");
const compare = document.getElementById("compare");
const tray = document.getElementById("tray");
const KEYS = { f: "favourite", a: "approved", r: "rejected" };
const MOST_COMPARED = 8;
const MOST_SAVED = 100; // as the service has it

let act; // what the page does: say, ask, use
let results;
let shown = null; // the figure in the viewer

export function openPictures(place, actions) {
  results = place;
  act = actions;
  place.addEventListener("click", pressed);
  place.addEventListener("change", (event) => { if (event.target.name === "picture") showTray(); });
  place.addEventListener("submit", asked);
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenus(null); });
  new MutationObserver(showTray).observe(place, { childList: true });
  viewer.addEventListener("click", (event) => {
    const way = event.target.closest("[data-go]");
    if (way) go(Number(way.dataset.go));
    if (event.target.closest("[data-clean]")) showClean(viewer.querySelector("[data-clean]").getAttribute("aria-pressed") !== "true");
    markPressed(event);
  });
  viewer.addEventListener("keydown", keyed);
  viewer.addEventListener("close", () => shown?.querySelector("[data-look]")?.focus());
  compare.addEventListener("click", markPressed);
  for (const dialog of [viewer, compare]) {
    dialog.addEventListener("click", (event) => {
      if (event.target.closest("[data-close]") || event.target === dialog) dialog.close();
    });
  }
  tray.addEventListener("click", (event) => {
    if (event.target.closest("[data-compare]")) showCompare();
    if (event.target.closest("[data-clear]")) {
      for (const box of picked()) box.checked = false;
      showTray();
    }
  });
}

function pressed(event) {
  const look = event.target.closest("[data-look]");
  if (look && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(look.closest("figure"));
    open(viewer);
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) copyLink(copy.dataset.copy);
  const use = event.target.closest("[data-use]");
  if (use && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    act.use(new URL(use.href).searchParams);
    act.say(t("used"));
  }
  const all = event.target.closest("[data-all]");
  if (all) {
    for (const button of all.form.querySelectorAll("[name=format]")) act.ask(fieldsOf(all.form, button));
  }
  markPressed(event);
}

function asked(event) {
  event.preventDefault();
  act.ask(fieldsOf(event.target, event.submitter));
}

function fieldsOf(form, button) {
  return new URLSearchParams(new FormData(form, button));
}

// What is open closes as one turns to something else.
function closeMenus(turned) {
  for (const menu of results.querySelectorAll(".menu[open]")) {
    if (turned && menu.contains(turned)) continue;
    const hadFocus = menu.contains(document.activeElement);
    menu.open = false;
    if (!turned && hadFocus) menu.querySelector("summary").focus();
  }
}

async function copyLink(path) {
  const link = new URL(path, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    act.say(t("copied"));
  } catch {
    window.prompt(t("copy"), link); // over plain HTTP there is no clipboard
  }
}

function open(dialog) {
  dialog.showModal();
  dialog.querySelector("[data-close]").focus();
}

// Marks: who said it and when is kept by the service.

function markPressed(event) {
  const button = event.target.closest("[data-mark-as]");
  if (button) mark(figureOf(button), button.dataset.markAs);
}

function figureOf(button) {
  const name = button.closest("[data-of]")?.dataset.of;
  return name ? results.querySelector(`[data-picture="${name}"]`) : button.closest("figure");
}

async function mark(figure, wanted) {
  const before = figure.dataset.mark;
  const after = wanted === before ? "none" : wanted;
  showMark(figure, after);
  try {
    const answer = await fetch(figure.querySelector("[data-marks]").dataset.marks, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ mark: after }),
    });
    if (!answer.ok) throw new Error(String(answer.status));
    act.say(t(`marked.${after}`));
  } catch {
    showMark(figure, before);
    act.say(t("not_marked"));
  }
}

function showMark(figure, mark) {
  figure.dataset.mark = mark;
  const places = [figure, ...document.querySelectorAll(`[data-of="${figure.dataset.picture}"]`)];
  for (const button of places.flatMap((place) => [...place.querySelectorAll("[data-mark-as]")])) {
    button.setAttribute("aria-pressed", String(button.dataset.markAs === mark));
  }
}

// One at a time, as large as the window

function figures() {
  return [...results.querySelectorAll("[data-picture]")];
}

function show(figure) {
  shown = figure;
  const image = figure.querySelector("img");
  const place = viewer.querySelector("img");
  showClean(false);
  place.alt = image.alt;
  place.width = image.width;
  const all = figures();
  const number = all.indexOf(figure) + 1;
  viewer.dataset.of = figure.dataset.picture;
  viewer.querySelector("[data-number]").textContent = t("number", { number, count: all.length });
  viewer.querySelector("[data-caption]").textContent = `${figure.closest("article").querySelector("h3").textContent}`;
  viewer.querySelector("[data-facts]").textContent = figure.querySelector("figcaption .facts").textContent;
  viewer.querySelector("[data-go='-1']").disabled = number === 1;
  viewer.querySelector("[data-go='1']").disabled = number === all.length;
  showMark(figure, figure.dataset.mark);
}

// The picture without what was laid on it, or with it.
function showClean(isClean) {
  const button = viewer.querySelector("[data-clean]");
  button.hidden = !shown.dataset.clean;
  button.setAttribute("aria-pressed", String(isClean));
  viewer.querySelector("img").src = isClean ? shown.dataset.clean : shown.querySelector("img").src;
}

function go(steps) {
  const all = figures();
  const next = all[all.indexOf(shown) + steps];
  if (next) show(next);
}

function keyed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowRight") go(1);
  else if (event.key === "ArrowLeft") go(-1);
  else if (event.key === "Home") show(figures()[0]);
  else if (event.key === "End") show(figures().at(-1));
  else if (KEYS[event.key.toLowerCase()]) mark(shown, KEYS[event.key.toLowerCase()]);
  else return;
  event.preventDefault();
}

// Several, side by side

function picked() {
  return [...results.querySelectorAll("[name=picture]:checked")];
}

function showTray() {
  const boxes = picked();
  tray.hidden = boxes.length === 0;
  tray.querySelector("[data-count]").textContent = t("picked", { count: boxes.length });
  tray.querySelector("[data-compare]").disabled = boxes.length < 2 || boxes.length > MOST_COMPARED;
  tray.querySelector("form button").disabled = boxes.length > MOST_SAVED;
  const names = tray.querySelector("[data-names]");
  names?.replaceChildren(...boxes.map((box) => {
    const field = document.createElement("input");
    field.type = "hidden";
    field.name = "picture";
    field.value = box.value;
    return field;
  }));
}

function showCompare() {
  const place = compare.querySelector("[data-pictures]");
  const chosen = picked().map((box) => box.closest("figure"));
  place.dataset.count = chosen.length;
  place.replaceChildren(...chosen.map((figure) => {
    const copy = document.createElement("figure");
    copy.dataset.of = figure.dataset.picture;
    const image = document.createElement("img");
    const original = figure.querySelector("img");
    image.src = original.src;
    image.alt = original.alt;
    const facts = document.createElement("figcaption");
    facts.className = "facts";
    facts.textContent = figure.querySelector("figcaption .facts").textContent;
    const marks = figure.querySelector(".marks").cloneNode(true);
    for (const button of marks.querySelectorAll("button")) button.removeAttribute("aria-describedby");
    facts.append(marks);
    copy.append(image, facts);
    return copy;
  }));
  open(compare);
}

// The studio's script. Without it the same form works too, a page at a time; here results join
// the page, an error leaves everything as it was, and waiting is told honestly.

import { t } from "./texts.js";

const form = document.getElementById("studio");
const results = document.getElementById("results");
const progress = document.getElementById("progress");
const phases = document.getElementById("phases");
const statusLine = document.getElementById("status");
const clock = document.getElementById("clock");
const cancel = document.getElementById("cancel");
const generate = document.getElementById("generate");
const banner = document.getElementById("alert");
const lock = document.getElementById("lock");
const seed = form.elements.seed;

const KEPT = "imagegen-studio-results"; // results of this tab outlive a reload
const MOST_KEPT = 24;
const POLL_MS = 1500;
const START_POLL_MS = 500; // while a model loads, whose phases are short
const WARM_MS = 60_000;

let underWay = null; // the AbortController of the request that somebody waits for
let state = { ready: progress.dataset.ready === "true", sentence: statusLine.textContent, queued: 0, phases: [], left: "" };
let warmedAt = -WARM_MS;
let defaults = {}; // of the brand that is shown

// Brands

function showBrand() {
  const brand = form.querySelector("[name=brand]:checked");
  const format = checkedFormat();
  const isWish = format !== null && format.value !== (defaults.format ?? "");
  for (const part of document.querySelectorAll("[data-brand]")) {
    part.hidden = part.dataset.brand !== brand.value;
    if (part.tagName === "FIELDSET") part.disabled = part.hidden;
  }
  defaults = JSON.parse(brand.dataset.defaults);
  const offered = [...form.querySelectorAll("#formats fieldset:enabled [name=format]")];
  const find = (value) => offered.find((radio) => radio.value === value);
  const next = (isWish && find(format.value)) || find(defaults.format ?? "");
  if (next) next.checked = true;
  for (const name of ["num_inference_steps", "guidance_scale", "adapter_scale"]) {
    form.elements[name].placeholder = defaults[name];
  }
  const name = defaults.scheduler;
  form.elements.scheduler.options[0].textContent = name ? t("scheduler_brands", { name }) : t("scheduler_unknown");
}

function checkedFormat() {
  return form.querySelector("#formats [name=format]:checked");
}

// The sizes of formats and the schedulers are known once a model is loaded.
async function refreshChoices() {
  const answer = await fetch(form.action);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const said = new FormData(form);
  for (const id of ["formats", "scheduler"]) {
    const content = [...fresh.getElementById(id).childNodes];
    document.getElementById(id).replaceChildren(...content);
  }
  for (const brand of form.querySelectorAll("[name=brand]")) {
    brand.dataset.defaults = fresh.querySelector(`[name=brand][value="${brand.value}"]`).dataset.defaults;
  }
  fill(said);
}

// The form

function fill(said) {
  for (const brand of form.querySelectorAll("[name=brand]")) brand.checked = brand.value === said.get("brand");
  showBrand();
  for (const control of form.elements) {
    if (!control.name || control.name === "brand") continue;
    const value = said.get(control.name) ?? "";
    if (control.type === "radio") control.checked = control.value === value && !control.matches(":disabled");
    else if (control.type === "checkbox") control.checked = control.value === value;
    else control.value = value;
  }
  showLock();
}

function showLock() {
  lock.setAttribute("aria-pressed", String(seed.value.trim() !== ""));
}

function toggleLock() {
  const latest = results.querySelector("button[name=seed]:not([value=''])");
  const random = crypto.getRandomValues(new Uint32Array(1))[0];
  seed.value = seed.value.trim() ? "" : (latest?.value ?? random);
  showLock();
}

// Rendering

async function submit() {
  if (underWay) return;
  const body = new URLSearchParams(new FormData(form));
  const count = Number(body.get("num_images"));
  const began = performance.now();
  underWay = new AbortController();
  clearFaults();
  start(count, began);
  try {
    const answer = await fetch(form.dataset.results, { method: "POST", body, signal: underWay.signal });
    if (answer.ok) {
      show(await answer.text());
      say(t("ready", { pictures: pictures(count), seconds: seconds(began) }));
    } else {
      say("");
      await tell(answer);
    }
  } catch (error) {
    say(error.name === "AbortError" ? t("cancelled") : "");
    if (error.name !== "AbortError") {
      raise(t("unreachable"));
    }
  } finally {
    end();
  }
}

function start(count, began) {
  const tick = () => { clock.textContent = seconds(began); };
  tick();
  underWay.clock = setInterval(tick, 200);
  underWay.count = count;
  results.prepend(placeholder(count));
  progress.classList.add("busy");
  cancel.hidden = false;
  if (document.activeElement === generate) cancel.focus({ preventScroll: true });
  generate.disabled = true;
  say(waiting());
  const { top } = progress.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) progress.scrollIntoView();
}

function end() {
  clearInterval(underWay.clock);
  underWay = null;
  results.querySelector(".pending")?.remove();
  progress.classList.remove("busy");
  clock.textContent = "";
  generate.disabled = false;
  if (document.activeElement === cancel) generate.focus({ preventScroll: true });
  cancel.hidden = true;
}

function waiting() {
  if (!state.ready) return state.sentence;
  const queue = state.queued ? ` ${t("queued", { pictures: pictures(state.queued) })}` : "";
  return t("rendering", { pictures: pictures(underWay.count) }) + queue;
}

function show(html) {
  results.querySelector(".pending")?.remove();
  results.insertAdjacentHTML("afterbegin", html);
  reveal(results);
  keep();
}

function placeholder(count) {
  const { width = 1, height = 1, aspect = "square" } = checkedFormat()?.dataset ?? {};
  const article = document.createElement("article");
  article.className = "result pending";
  article.ariaHidden = "true";
  article.innerHTML = '<div class="pictures"></div>';
  for (let index = 0; index < count; index += 1) {
    const figure = document.createElement("figure");
    figure.className = aspect;
    figure.innerHTML = '<div class="mat"><svg class="picture"></svg></div>';
    figure.querySelector("svg").setAttribute("viewBox", `0 0 ${Number(width)} ${Number(height)}`);
    article.firstChild.append(figure);
  }
  return article;
}

// Somebody begins to write: a renderer that sleeps elsewhere may wake meanwhile.
async function warm() {
  if (performance.now() < warmedAt + WARM_MS) return;
  warmedAt = performance.now();
  try {
    await fetch(form.dataset.warm, { method: "POST" });
    await look();
  } catch {
    // The request itself will say that the service is gone.
  }
}

async function poll() {
  if (underWay || !state.ready) await look();
  setTimeout(poll, state.ready ? POLL_MS : START_POLL_MS);
}

async function look() {
  try {
    const before = state.ready;
    state = await (await fetch(form.dataset.state)).json();
    showPhases();
    if (state.ready && !before) {
      say(state.sentence || t("model_ready"));
      await refreshChoices();
    }
    if (underWay) say(waiting());
    else if (!state.ready) say(state.sentence);
  } catch {
    // The request itself will say that the service is gone.
  }
}

// A start is told stretch by stretch, with what earlier ones took.
function showPhases() {
  phases.hidden = state.phases.length === 0;
  phases.querySelector("p").textContent = state.left;
  phases.querySelector("ol").replaceChildren(...state.phases.map(({ name, status, seconds: spent }) => {
    const item = document.createElement("li");
    const time = document.createElement("span");
    item.className = status;
    time.textContent = spent;
    item.append(`${name} `, time);
    return item;
  }));
}

// What is told

function say(sentence) {
  if (statusLine.textContent !== sentence) statusLine.textContent = sentence; // read aloud
}

function raise(sentence) {
  banner.textContent = sentence;
  banner.hidden = false;
}

async function tell(answer) {
  const problem = await answer.json().catch(() => ({ detail: t("answered", { status: answer.status }) }));
  const others = problem.errors ? [] : [`${problem.detail}.`];
  for (const { field, message } of problem.errors ?? []) {
    if (!tellBeside(field, message)) others.push(`${field}: ${message}.`);
  }
  const wait = answer.headers.get("Retry-After");
  if (wait) others.push(t("wait", { seconds: wait }));
  else if (answer.status >= 500) others.push(t("kept"));
  if (others.length) raise(others.join(" "));
  const first = form.querySelector("[aria-invalid=true]");
  if (first) {
    const closed = first.closest("details");
    if (closed) closed.open = true;
    first.focus();
  }
}

function tellBeside(field, message) {
  const place = document.getElementById(`${field}-message`);
  if (!place) return false;
  place.textContent ||= message;
  place.hidden = false;
  const control = form.querySelector(`[aria-describedby="${field}-message"]`);
  control.setAttribute("aria-invalid", "true");
  if (control.tagName === "FIELDSET") control.tabIndex = -1;
  return true;
}

function clearFaults() {
  banner.hidden = true;
  banner.textContent = "";
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll(".message")) {
    place.hidden = true;
    place.textContent = "";
  }
}

const pictures = (count) => t("pictures", { count });

function seconds(began) {
  const passed = (performance.now() - began) / 1000;
  return t("seconds", { seconds: passed < 10 ? passed.toFixed(1) : Math.round(passed) });
}

// Results of this tab

function keep() {
  const kept = [...results.children].slice(0, MOST_KEPT).map((article) => article.outerHTML);
  try {
    sessionStorage.setItem(KEPT, kept.join(""));
  } catch {
    // No room, or no permission: they are on the page all the same.
  }
}

function restore() {
  try {
    results.insertAdjacentHTML("beforeend", sessionStorage.getItem(KEPT) ?? "");
  } catch {
    // as above
  }
}

async function copyLink(button) {
  const link = new URL(button.dataset.copy, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
    say(t("copied"));
  } catch {
    window.prompt(t("copy"), link); // over plain HTTP there is no clipboard
  }
}

function reveal(root) {
  for (const control of root.querySelectorAll("[data-script]")) control.hidden = false;
}

form.noValidate = true; // faults are told in one way, by the service
restore();
reveal(document);
showBrand();
showLock();

form.addEventListener("change", (event) => { if (event.target.name === "brand") showBrand(); });
form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
form.addEventListener("click", (event) => {
  const example = event.target.closest("[data-example]");
  if (!example) return;
  form.elements.prompt.value = example.textContent;
  warm();
  form.elements.prompt.focus();
});
form.elements.prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
form.elements.prompt.addEventListener("input", warm);
seed.addEventListener("input", showLock);
lock.addEventListener("click", toggleLock);
cancel.addEventListener("click", () => underWay?.abort());
results.addEventListener("submit", (event) => {
  event.preventDefault();
  if (underWay) return;
  fill(new FormData(event.target, event.submitter));
  submit();
});
results.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copyLink(button);
});
setTimeout(poll, START_POLL_MS);

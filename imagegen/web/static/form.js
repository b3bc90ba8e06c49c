// The form: what it says, what goes wrong with it, and what of it outlives a reload.

import { recall, remember } from "./session.js";
import { t } from "./texts.js";

const DRAFT = "imagegen-studio-draft";

export const form = document.getElementById("studio");
const banner = document.getElementById("alert");
const lock = document.getElementById("lock");
const seed = form.elements.seed;
let defaults = {}; // of the brand that is shown

export function showBrand() {
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

// What the form says in words: files are kept by source.js.
export function words() {
  const said = [...new FormData(form)].filter(([, value]) => typeof value === "string");
  return new URLSearchParams(said);
}

export function checkedFormat() {
  return form.querySelector("#formats [name=format]:checked");
}

// The sizes of formats and the schedulers are known once a model is loaded.
export async function refreshChoices() {
  const answer = await fetch(form.action);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const said = words();
  for (const id of ["formats", "scheduler"]) {
    const content = [...fresh.getElementById(id).childNodes];
    document.getElementById(id).replaceChildren(...content);
  }
  for (const brand of form.querySelectorAll("[name=brand]")) {
    brand.dataset.defaults = fresh.querySelector(`[name=brand][value="${brand.value}"]`).dataset.defaults;
  }
  fill(said);
}

// said: has `get`, as FormData and URLSearchParams have.
export function fill(said) {
  for (const brand of form.querySelectorAll("[name=brand]")) brand.checked = brand.value === said.get("brand");
  if (!form.querySelector("[name=brand]:checked")) form.querySelector("[name=brand]").checked = true;
  showBrand();
  for (const control of form.elements) {
    if (!control.name || control.name === "brand" || control.type === "file") continue;
    const value = said.get(control.name) ?? "";
    if (control.type === "radio") {
      if (control.value === value && !control.matches(":disabled")) control.checked = true;
    } else if (control.type === "checkbox") control.checked = control.value === value;
    else control.value = value || (control.type === "range" ? control.defaultValue : "");
  }
  for (const kit of form.querySelectorAll("details:has(.kit)")) {
    kit.open ||= ["headline", "legal"].some((name) => said.get(name)) || said.has("logo");
  }
  showLock();
  form.dispatchEvent(new Event("filled"));
}

function showLock() {
  lock.setAttribute("aria-pressed", String(seed.value.trim() !== ""));
}

function toggleLock() {
  const latest = document.querySelector("#results [data-seed]")?.dataset.seed;
  const random = crypto.getRandomValues(new Uint32Array(1))[0];
  seed.value = seed.value.trim() ? "" : (latest ?? random);
  showLock();
}

// Faults

export function raise(sentence) {
  banner.textContent = sentence;
  banner.hidden = false;
}

export async function tell(answer) {
  const problem = await answer.json().catch(() => ({ detail: t("answered", { status: answer.status }) }));
  const others = problem.errors ? [] : [`${problem.detail}.`.replace(/\.\.$/, ".")];
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
  const control = form.querySelector(`[aria-describedby~="${field}-message"]`);
  control.setAttribute("aria-invalid", "true");
  if (control.tagName === "FIELDSET") control.tabIndex = -1;
  return true;
}

export function clearFaults() {
  banner.hidden = true;
  banner.textContent = "";
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll(".message")) {
    place.hidden = true;
    place.textContent = "";
  }
}

// What is written outlives a reload, and a change of the language.

function keepDraft() {
  remember(DRAFT, String(words()));
}

function restoreDraft() {
  const draft = recall(DRAFT);
  if (draft && !location.search) fill(new URLSearchParams(draft));
  if (!location.search) return;
  // What a link said is in the form: from here on the draft counts, or it would undo what is written.
  keepDraft();
  history.replaceState(null, "", location.pathname);
  document.querySelector(".preferences [name=back]").value = location.pathname;
}

export function openForm() {
  form.noValidate = true; // faults are told in one way, by the service
  showBrand();
  restoreDraft();
  showLock();
  form.addEventListener("change", (event) => { if (event.target.name === "brand") showBrand(); });
  for (const kind of ["input", "change", "filled"]) form.addEventListener(kind, keepDraft);
  seed.addEventListener("input", showLock);
  lock.addEventListener("click", () => {
    toggleLock();
    keepDraft();
  });
}

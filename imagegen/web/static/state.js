// Whether pictures can be made now: asked of the service while somebody waits, or while it starts.

import { form, refreshChoices } from "./form.js";

const POLL_MS = 1500;
const START_POLL_MS = 500; // while a model loads, whose phases are short
const WARM_MS = 60_000;
const progress = document.getElementById("progress");
const phases = document.getElementById("phases");

export let state = { ready: progress.dataset.ready === "true", sentence: progress.textContent.trim(), queued: 0, phases: [], left: "" };
let warmedAt = -WARM_MS;
let changed; // is called with whether it was ready before

// isAwaited: whether somebody waits for pictures.
export function openState({ isAwaited, report }) {
  changed = report;
  form.elements.prompt.addEventListener("input", warm);
  const poll = async () => {
    if (isAwaited() || !state.ready) await look();
    setTimeout(poll, state.ready ? POLL_MS : START_POLL_MS);
  };
  setTimeout(poll, START_POLL_MS);
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

async function look() {
  try {
    const before = state.ready;
    state = await (await fetch(form.dataset.state)).json();
    showPhases();
    changed(before);
    if (state.ready && !before) await refreshChoices();
  } catch {
    // as above
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

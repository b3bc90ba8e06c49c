// Beside the brands: whether the chosen one's pictures have become less its own than they were.

import { form } from "./form.js";
import { t } from "./texts.js";

const PAUSE_MS = 800; // the page comes first, and who passes by a brand wants none of it
const note = document.getElementById("drift");
const told = new Map(); // brand -> a promise of what is known of it
let timer = null;

export function openDrift() {
  form.addEventListener("change", (event) => { if (event.target.name === "brand") look(); });
  form.addEventListener("filled", look);
  look();
}

function look() {
  note.hidden = true;
  clearTimeout(timer);
  timer = setTimeout(show, PAUSE_MS);
}

async function show() {
  const brand = form.elements.brand.value;
  if (!told.has(brand)) told.set(brand, ask(brand));
  const drift = await told.get(brand);
  if (!drift?.drifts || brand !== form.elements.brand.value) return;
  const round = (score) => Math.round(score);
  note.querySelector("span").textContent = t("drift", { recent: round(drift.recent), earlier: round(drift.earlier) });
  note.querySelector("a").href = `${note.dataset.library}?${new URLSearchParams({ brand })}`;
  note.hidden = false;
}

async function ask(brand) {
  try {
    return await (await fetch(note.dataset.address.replace("-", brand))).json();
  } catch {
    return null; // nothing hangs on it
  }
}

// A picture to start from: chosen, dropped, pasted, or one that was made here.

import { form } from "./form.js";
import { Masking } from "./masking.js";
import { recall, remember } from "./session.js";
import { t } from "./texts.js";

const KEPT = "imagegen-studio-source"; // what outlives a reload: the picture, and what is painted on it
const TYPES = ["image/png", "image/jpeg", "image/webp"];
const LARGE_BYTES = 1_000_000; // a larger file is made smaller: models' pictures are
const MOST_PX = 1536;
const NAME = /^(gen_[0-9a-f]{20})\/([0-9]{1,2})$/;

const part = document.getElementById("source");
const { init_image: file, from } = form.elements;
const shown = part.querySelector("[data-shown]");
const image = shown.querySelector("img");
const canvas = shown.querySelector("canvas");
const partOnly = shown.querySelector("[data-part]");
const clear = shown.querySelector("[data-clear]");

let address = ""; // of the picture: a data URL, unless it is one that was made here
let masking;
let ready = Promise.resolve(); // once the picture is there to be painted on

export function openSource({ say }) {
  masking = new Masking(canvas, shown.querySelector(".brush"), keep);
  file.addEventListener("change", () => {
    if (file.files.length) take(file.files[0], say);
  });
  shown.querySelector("[data-remove]").addEventListener("click", () => {
    removeSource();
    file.focus();
  });
  partOnly.addEventListener("click", () => {
    showSheet(partOnly.getAttribute("aria-pressed") !== "true");
    keep();
  });
  clear.addEventListener("click", () => {
    masking.begin(canvas.width, canvas.height);
    keep();
  });
  form.addEventListener("filled", showMade);
  // Wherever it falls: what is dropped beside the form would take the page's place.
  document.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes("Files")) event.preventDefault(); });
  document.addEventListener("drop", (event) => bring(event, event.dataTransfer, say));
  document.addEventListener("paste", (event) => {
    // Office programs put a picture of the words beside the words.
    if (!event.clipboardData.types.includes("text/plain")) bring(event, event.clipboardData, say);
  });
  image.addEventListener("error", () => {
    if (shown.hidden) return;
    if (from.value) say(t("no_start"));
    removeSource();
  });
  restore();
}

// Files of the request, by their fields.
export async function sentPictures() {
  if (shown.hidden) return {};
  await ready;
  const mask = canvas.hidden ? null : await masking.file();
  return { ...(address && { init_image: blobOf(address) }), ...(mask && { mask }) };
}

export function removeSource() {
  address = "";
  file.value = "";
  from.value = "";
  shown.hidden = true;
  forget();
  form.dispatchEvent(new Event("change")); // the draft knows of it
}

// A file of the clipboard, or one that is dropped.
function bring(event, { files }, say) {
  if (!files.length) return;
  event.preventDefault();
  take(files[0], say);
}

async function take(picked, say) {
  try {
    const next = await dataUrl(await fitted(picked));
    from.value = "";
    show(next);
    await ready;
    address = next;
    part.open = true;
    keep();
    form.dispatchEvent(new Event("change"));
    say(t("taken"));
  } catch {
    removeSource();
    say(t("no_picture"));
  }
}

// The file as it is, or as much of it as a model can use.
async function fitted(picked) {
  const bitmap = await createImageBitmap(picked);
  const scale = Math.min(1, MOST_PX / Math.max(bitmap.width, bitmap.height));
  if (scale === 1 && picked.size <= LARGE_BYTES && TYPES.includes(picked.type)) return picked;
  const sheet = document.createElement("canvas");
  sheet.width = Math.max(1, Math.round(bitmap.width * scale));
  sheet.height = Math.max(1, Math.round(bitmap.height * scale));
  const pen = sheet.getContext("2d");
  pen.fillStyle = "white"; // a JPEG knows no transparency
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.drawImage(bitmap, 0, 0, sheet.width, sheet.height);
  return new Promise((resolve) => { sheet.toBlob(resolve, "image/jpeg", 0.92); });
}

function show(url) {
  address = "";
  showSheet(false);
  image.src = url;
  shown.hidden = false;
  ready = image.decode().then(() => masking.begin(image.naturalWidth, image.naturalHeight));
  ready.catch(() => {}); // the image's own event tells
}

// The form was filled in: does it name a picture that was made here?
function showMade() {
  const found = NAME.exec(from.value);
  if (found) {
    file.value = "";
    show(`/generations/${found[1]}/images/${found[2]}?clean=1`);
    part.open = true;
    forget();
  } else {
    from.value = "";
    if (!address) shown.hidden = true;
  }
}

function showSheet(isShown) {
  partOnly.setAttribute("aria-pressed", String(isShown));
  canvas.hidden = !isShown;
  clear.hidden = !isShown;
  document.getElementById("paint-hint").hidden = !isShown;
}

// What outlives a reload

function keep() {
  const strokes = canvas.hidden || masking.isEmpty ? "" : canvas.toDataURL();
  if (!remember(KEPT, { address, from: from.value, strokes })) forget();
}

function forget() {
  remember(KEPT, null);
}

function restore() {
  const kept = recall(KEPT);
  if (from.value) showMade();
  if (kept?.from !== from.value) return;
  if (kept.address) {
    show(kept.address);
    address = kept.address;
    part.open = true;
  }
  if (kept.strokes) ready = Promise.all([ready, decoded(kept.strokes)]).then(([, strokes]) => {
    masking.draw(strokes);
    showSheet(true);
    keep();
  });
}

async function decoded(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return picture;
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.addEventListener("error", reject);
    reader.readAsDataURL(blob);
  });
}

// fetch() would be stopped by the page's policy.
function blobOf(url) {
  const [head, data] = url.split(",");
  return new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))], { type: head.slice(5).split(";")[0] });
}

// Create: results join the page as they come about. Without this script the same form works too,
// a page at a time.

import { openDrift } from "./drift.js";
import { checkedFormat, clearFaults, fill, form, openForm, raise, tell, words } from "./form.js";
import { articlesIn, fetchArticles, follow } from "./live.js";
import { openPictures } from "./pictures.js";
import { recall, remember } from "./session.js";
import { openSource, removeSource, sentPictures } from "./source.js";
import { openState, state } from "./state.js";
import { t } from "./texts.js";
import { openWriting } from "./writing.js";

const results = document.getElementById("results");
const progress = document.getElementById("progress");
const statusLine = document.getElementById("status");
const generate = document.getElementById("generate");

const KEPT = "imagegen-studio-generations"; // those of this tab, the newest first
const SENDING = "imagegen-studio-sending"; // what was sent and not answered, each with its key
const MOST_KEPT = 24;
const AGAIN_MS = 500; // at first; each time half as long again
const RARELY_MS = 10_000;
const TRIES_MS = [400, 1200]; // a key makes it safe to ask again

let sending = 0;
let unrestored = []; // ids that this tab remembers and nobody has answered for yet

// Asking

// pictures: files, by their fields, or the promise of them.
async function send(body, key, pictures = {}) {
  const since = performance.now();
  clearFaults();
  const shown = placeholder(body);
  results.prepend(shown);
  showStage();
  sending += 1;
  say(waiting());
  try {
    const files = Object.entries(await pictures);
    note(key, { body: String(body), pictures: files.map(([name]) => name) });
    const answer = await post(body, files, key);
    if (!answer.ok) {
      say("");
      await tell(answer);
    } else if (shown.isConnected) {
      const [article] = articlesIn(await answer.text());
      article.dataset.since = since;
      shown.replaceWith(begin(article));
      say(article.hasAttribute("data-open") ? waiting() : outcome(article, since));
    } else {
      await cancel(articlesIn(await answer.text())[0]);
    }
  } catch {
    say("");
    raise(t("unreachable"));
  } finally {
    shown.remove();
    sending -= 1;
    note(key, null);
    keep();
  }
}

async function post(body, files, key) {
  const said = new URLSearchParams(body);
  const data = files.length ? new FormData() : said;
  if (files.length) for (const [name, value] of [...said, ...files]) data.append(name, value);
  const options = { method: "POST", body: data, headers: { "Idempotency-Key": key } };
  for (const ms of TRIES_MS) {
    try {
      return await fetch(form.dataset.start, options);
    } catch {
      await new Promise((resolve) => { setTimeout(resolve, ms); });
    }
  }
  return fetch(form.dataset.start, options);
}

function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function placeholder(body) {
  const said = new URLSearchParams(body);
  const { width = 1, height = 1, aspect = "square" } = checkedFormat()?.dataset ?? {};
  const article = document.getElementById("placeholder").content.firstElementChild.cloneNode(true);
  article.querySelector("h3").textContent = said.get("prompt");
  const count = Number(said.get("num_images") ?? 1);
  article.dataset.count = count;
  const figure = article.querySelector("figure");
  figure.className = `${aspect} pending`;
  figure.querySelector("svg").setAttribute("viewBox", `0 0 ${Number(width)} ${Number(height)}`);
  figure.parentElement.classList.add(`count-${count}`);
  for (let index = 1; index < count; index += 1) figure.after(figure.cloneNode(true));
  reveal(article);
  return article;
}

// An article joins the page; if it is on its way it is followed.
function begin(article) {
  reveal(article);
  if (!article.hasAttribute("data-open")) return article;
  article.dataset.since ??= performance.now();
  queueMicrotask(() => follow(article, heard));
  return article;
}

function heard(what, article, ended) {
  document.body.classList.toggle("lost", what === "lost");
  if (what === "lost") say(t("lost"));
  if (what === "found" && statusLine.textContent === t("lost")) say(waiting());
  if (what !== "ended") return;
  if (ended) {
    article.replaceWith(begin(ended));
    say(outcome(ended, article.dataset.since));
  } else {
    article.remove();
  }
  keep();
}

// What there is to say of an article whose generation has ended.
function outcome(article, since) {
  const count = article.querySelectorAll("[data-picture]").length;
  if (!count) return article.querySelector("header .alert, header .facts:last-child").textContent;
  const seconds = ((performance.now() - since) / 1000).toFixed(1);
  return t("ready", { pictures: pictures(count), seconds: t("seconds", { seconds }) });
}

async function cancel(article) {
  const button = article.querySelector("[data-cancel]");
  const hadFocus = article.contains(document.activeElement);
  article.remove();
  keep();
  if (hadFocus) generate.focus({ preventScroll: true });
  say(t("cancelled"));
  if (button?.dataset.cancel) await fetch(button.dataset.cancel, { method: "DELETE" }).catch(() => {});
}

// What outlives a reload

function keep() {
  const shown = [...results.querySelectorAll("article[id]")].map((article) => article.id);
  remember(KEPT, [...shown, ...unrestored].slice(0, MOST_KEPT));
}

// Several may be on their way at once: one in each format. said: null forgets.
function note(key, said) {
  const others = cutOff().filter((one) => one.key !== key);
  remember(SENDING, said ? [...others, { key, ...said }] : others);
}

function cutOff() {
  const kept = [recall(SENDING) ?? []].flat();
  return kept.filter((one) => typeof one?.key === "string" && typeof one.body === "string" && Array.isArray(one.pictures));
}

async function resend({ key, body, pictures: wanted }) {
  const files = wanted.length ? await sentPictures().catch(() => ({})) : {};
  if (wanted.every((name) => files[name])) send(body, key, files);
  else note(key, null);
}

async function restore() {
  cutOff().forEach(resend);
  unrestored = [recall(KEPT) ?? []].flat();
  for (let ms = AGAIN_MS; unrestored.length; ms = Math.min(RARELY_MS, 1.5 * ms)) {
    try {
      const articles = await fetchArticles(unrestored);
      unrestored = [];
      results.append(...articles.filter(({ id }) => !document.getElementById(id)).map(begin));
      if (statusLine.textContent === t("lost")) say(waiting());
    } catch {
      say(t("lost"));
      await new Promise((resolve) => { setTimeout(resolve, ms); });
    }
  }
}

// What is told

function waiting() {
  if (!state.ready) return state.sentence;
  const open = [...results.querySelectorAll("[data-open]")];
  const count = open.reduce((sum, article) => sum + Number(article.dataset.count), 0);
  return count ? t("rendering", { pictures: pictures(count) }) : "";
}

function say(sentence) {
  if (statusLine.textContent !== sentence) statusLine.textContent = sentence; // read aloud
}

const pictures = (count) => t("pictures", { count });

function showStage() {
  const { top } = progress.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) progress.scrollIntoView();
}

function reveal(root) {
  for (const control of root.querySelectorAll("[data-script]")) control.hidden = false;
}

function tellState(wasReady) {
  if (!state.ready) say(state.sentence);
  else if (!wasReady) say(state.sentence || waiting() || t("model_ready"));
}

// The settings of a picture, with the one that it starts from or without any.
function use(said) {
  removeSource();
  fill(said);
}

reveal(document);
openForm();
openWriting({ say });
openDrift();
openSource({ say });
openState({ isAwaited: () => results.querySelector("[data-open]") !== null, report: tellState });
restore();
openPictures(results, { say, ask: (fields) => send(fields, newKey()), use });

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!sending) send(words(), newKey(), sentPictures());
});
form.addEventListener("click", (event) => {
  const example = event.target.closest("[data-example]");
  if (!example) return;
  form.elements.prompt.value = example.textContent;
  form.elements.prompt.dispatchEvent(new Event("input", { bubbles: true }));
  form.elements.prompt.focus();
});
form.elements.prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
results.addEventListener("click", (event) => {
  const article = event.target.closest("article");
  if (event.target.closest("[data-cancel]")) cancel(article);
  if (event.target.closest("[data-dismiss]")) {
    article.remove();
    keep();
  }
});

// Generations on their way: followed by events, through lost connections, until they have ended.

import { t } from "./texts.js";

const MOST_STREAMS = 3; // a browser opens six connections to a server, and pictures need some
const AGAIN_MS = 1000;
const TICK_MS = 250;
const ALMOST_NOTHING = 0.04; // of the way: too little to judge the rest by

const waiting = [];
let streams = 0;

// `report`: of "lost", "found" and "ended" (with the new article, or null where it is gone).
export function follow(article, report) {
  waiting.push(new Way(article, report));
  next();
}

// Articles of generations as they are now. Throws where nobody answers.
export async function fetchArticles(ids) {
  const query = new URLSearchParams(ids.map((id) => ["id", id]));
  const answer = await fetch(`/studio/generations?${query}`);
  if (!answer.ok) throw new Error(String(answer.status));
  return articlesIn(await answer.text());
}

export function articlesIn(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return [...template.content.querySelectorAll("article")];
}

function next() {
  while (streams < MOST_STREAMS && waiting.length) {
    streams += 1;
    waiting.shift().listen();
  }
}

class Way {
  constructor(article, report) {
    this.article = article;
    this.report = report;
    this.steps = new Map(); // picture -> share of its steps
    this.count = Number(article.dataset.count);
    this.began = null;
    this.isOver = false;
    this.bar = article.querySelector("progress");
    this.told = article.querySelector("[data-told]");
    this.ticking = setInterval(() => this.tell(), TICK_MS);
  }

  listen() {
    if (!this.article.isConnected) return this.end();
    const source = new EventSource(this.article.dataset.events);
    this.source = source;
    const on = (kind, act) => source.addEventListener(kind, (event) => act(JSON.parse(event.data)));
    source.addEventListener("open", () => this.report("found", this.article));
    on("queued", (said) => { this.before = said.queue_position; });
    on("step", (said) => this.step(said));
    on("preview", (said) => this.show(said.index, `data:image/jpeg;base64,${said.image}`, true));
    on("image", (said) => {
      this.steps.set(said.index, 1);
      this.show(said.index, said.url, false);
    });
    on("done", () => this.finish());
    // The same name for a generation that fails and for a connection that does.
    source.addEventListener("error", (event) => (event.data === undefined ? this.lost() : this.finish()));
  }

  step({ index, step, of }) {
    this.before = 0;
    this.began ??= performance.now();
    this.steps.set(index, step / of);
    this.figure(index)?.classList.add("begun");
  }

  show(index, address, isSharpening) {
    const figure = this.figure(index);
    if (!figure) return;
    const place = figure.querySelector(".picture");
    const image = place.tagName === "IMG" ? place : document.createElement("img");
    image.className = isSharpening ? "picture sharpening" : "picture";
    image.alt = place.getAttribute("aria-label") ?? place.alt;
    image.style.aspectRatio = image.style.aspectRatio || place.getAttribute("viewBox")?.split(" ").slice(2).join(" / ");
    image.src = address;
    if (image !== place) place.replaceWith(image);
  }

  figure(index) {
    return this.article.querySelector(`[data-index="${index}"]`);
  }

  tell() {
    if (!this.article.isConnected) return this.end();
    const done = [...this.steps.values()].reduce((sum, share) => sum + share, 0) / this.count;
    if (!this.steps.size) {
      if (this.before !== undefined) this.told.textContent = this.before ? t("waits", { count: this.before }) : t("next");
      return;
    }
    this.bar.value = done;
    const passed = (performance.now() - this.began) / 1000;
    const left = Math.ceil((passed * (1 - done)) / done);
    const eta = done > ALMOST_NOTHING && left > 0 ? t("left", { seconds: left }) : t("begun");
    this.told.textContent = eta;
  }

  // A browser connects anew by itself, unless it was told that nothing follows or got no stream.
  lost() {
    if (this.source.readyState === EventSource.CLOSED) this.finish();
    else this.report("lost", this.article);
  }

  async finish() {
    this.source.close();
    while (this.article.isConnected) {
      try {
        const [article] = await fetchArticles([this.article.id]);
        if (article?.hasAttribute("data-open")) {
          await pause(AGAIN_MS);
          this.listen();
          return;
        }
        this.end();
        this.report("ended", this.article, article ?? null);
        return;
      } catch {
        this.report("lost", this.article);
        await pause(AGAIN_MS);
      }
    }
    this.end();
  }

  end() {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.ticking);
    if (this.source) {
      this.source.close();
      streams -= 1;
    }
    next();
  }
}

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

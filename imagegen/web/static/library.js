// Finds as one types, and shows more as one scrolls; the pages themselves say what there is.

const PAUSE_MS = 250;
const form = document.querySelector("#search");
const found = document.querySelector("#found");
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

function shown() {
  localise(found);
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

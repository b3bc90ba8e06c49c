// Marks without leaving the page, by keys too; says that a picture is being rendered.

const language = document.documentElement.lang;

function localise() {
  for (const time of document.querySelectorAll("main time")) {
    time.textContent = new Date(time.dateTime).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
  }
}

async function mark(event) {
  event.preventDefault();
  const form = event.target;
  const key = event.submitter.dataset.key;
  const wasOpen = document.querySelector(".history")?.open;
  const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, event.submitter)) });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const marks = page.querySelector("#marks");
  if (!marks) {
    location.reload();
    return;
  }
  document.querySelector(".alert")?.remove();
  const alert = page.querySelector(".alert");
  if (alert) document.querySelector("#marks").before(alert);
  document.querySelector("#marks").replaceWith(marks);
  const history = marks.querySelector(".history");
  if (history && wasOpen) history.open = true;
  marks.querySelector(`[data-key="${key}"]`).focus();
  localise();
}

document.addEventListener("submit", (event) => {
  if (event.target.matches(".marks")) mark(event);
  if (event.target.matches("#again")) {
    event.target.querySelector("[role=status]").hidden = false;
    event.target.querySelector("button").disabled = true;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  document.querySelector(`.marks [data-key="${CSS.escape(event.key.toLowerCase())}"]`)?.click();
});

const searched = sessionStorage.getItem("library");
if (searched) document.querySelector(".back").search = searched; // what was found is found again

addEventListener("pageshow", () => {
  const again = document.querySelector("#again button");
  if (again) again.disabled = false;
});

localise();

// Sends what the forms of the page say, and shows what comes back. Without it the page is read.

const LONGEST_TEXT = 20_000;  // characters shown of an answer

for (const form of document.querySelectorAll(".try form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await send(form);
    } finally {
      button.disabled = false;
    }
  });
}

async function send(form) {
  const began = performance.now();
  const body = form.querySelector("textarea");
  try {
    const answer = await fetch(address(form), {
      method: form.dataset.method,
      headers: { ...(body && { "Content-Type": "application/json" }), ...said(form, "header") },
      body: body?.value,
    });
    const parts = await told(answer);
    const seconds = ((performance.now() - began) / 1000).toFixed(2);
    show(form, `${answer.status} ${answer.statusText}, ${seconds} s`, !answer.ok, parts);
  } catch (error) {
    show(form, `No answer: ${error.message}`, true, []);
  }
}

function address(form) {
  const inPath = said(form, "path");
  const path = form.dataset.path.replace(/\{(\w+)\}/g, (_, name) =>
    inPath[name].split("/").map(encodeURIComponent).join("/"));
  const query = new URLSearchParams(said(form, "query")).toString();
  return query ? `${path}?${query}` : path;
}

// What is filled in of those parameters, by their names.
function said(form, place) {
  const inputs = [...form.querySelectorAll(`input[data-place="${place}"]`)];
  return Object.fromEntries(inputs.filter((input) => input.value).map((input) => [input.name, input.value]));
}

async function told(answer) {
  const type = answer.headers.get("Content-Type") ?? "";
  if (type.startsWith("image/")) return [picture(await dataUrl(await answer.blob()))];
  const text = await answer.text();
  if (!type.includes("json")) return [pre(text)];
  const said = JSON.parse(text);
  return [...pictures(said), pre(JSON.stringify(said, shortened, 2))];
}

// What a generation, or an answer in OpenAI's words, has of pictures.
function pictures(said) {
  const items = said.images ?? said.data ?? [];
  if (!Array.isArray(items)) return [];
  const format = said.output_format ?? "png";
  return items
    .map((one) => (one.b64_json ? `data:image/${format};base64,${one.b64_json}` : one.url))
    .filter(Boolean)
    .map(picture);
}

function shortened(_key, value) {
  return typeof value === "string" && value.length > 400 ? `${value.slice(0, 80)}… (${value.length} characters)` : value;
}

function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

function picture(source) {
  const image = document.createElement("img");
  image.src = source;
  image.alt = "The picture that came back";
  return image;
}

function pre(text) {
  const element = document.createElement("pre");
  element.textContent = text.slice(0, LONGEST_TEXT);
  element.tabIndex = 0;
  return element;
}

function show(form, sentence, isFault, parts) {
  const output = form.querySelector("output");
  const status = document.createElement("p");
  status.textContent = sentence;
  status.classList.toggle("fault", isFault);
  output.replaceChildren(status, ...parts);
  output.hidden = false;
}

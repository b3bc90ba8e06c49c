// The texts of the page's language, as the server put them on the page.

const words = JSON.parse(document.body.dataset.texts);

// As in Python: places are filled in, and `count` chooses between two texts.
export function t(key, values = {}) {
  const text = words[key] ?? words[`${key}.${values.count === 1 ? "one" : "other"}`];
  return text.replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}

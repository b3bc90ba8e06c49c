// What outlives a reload of this tab. Where there is no room or no permission it is on the page all
// the same.

// value: what JSON can say; null forgets. Returns whether it is kept.
export function remember(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function recall(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

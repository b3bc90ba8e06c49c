// The theme changes at once; without this script the same switch loads the page again.

const YEAR_S = 365 * 24 * 3600;
const switches = [...document.querySelectorAll("[data-theme-is]")];

function show(theme) {
  document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme === "auto" ? "light dark" : theme;
  for (const one of switches) one.hidden = one.dataset.themeIs !== theme;
}

for (const one of switches) {
  one.addEventListener("click", (event) => {
    event.preventDefault();
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `imagegen_theme=${one.value}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
    show(one.value);
    switches.find((other) => !other.hidden).focus();
  });
}

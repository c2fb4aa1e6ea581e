// Applied before the first paint, so that nothing flashes: the theme that was chosen here before.
"use strict";
{
  const root = document.documentElement;
  const chosen = () => {
    try {
      return localStorage.getItem("navarch-theme");
    } catch {
      return null; // storage may be forbidden; then the system decides
    }
  };
  const theme = chosen();
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
}

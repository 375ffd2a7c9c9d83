// The colours that somebody chose, before anything is painted. Loaded in the head, not deferred.
"use strict";
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; then the colours are those of the system.
}

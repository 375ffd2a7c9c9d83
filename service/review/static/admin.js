// What the pages of maintainers do in the browser: say that a trial runs, lead to a line, keep unsaved changes.
"use strict";

(() => {
  let leaving = false;

  // A form with data-busy says so while its answer is on the way.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    leaving = true;
    if (!form.dataset.busy || event.submitter?.hasAttribute("data-not-busy")) return;
    form.setAttribute("aria-busy", "true");
    window.toast(form.dataset.busy, { seconds: 60 });
  });
  window.addEventListener("pageshow", (event) => {
    // Back from the next page, a kept page would still look busy.
    if (!event.persisted) return;
    leaving = false;
    for (const form of document.querySelectorAll("[aria-busy]")) form.removeAttribute("aria-busy");
    document.getElementById("toasts").replaceChildren();
  });

  // Errors lead to their line in the text.
  const text = document.getElementById("toml");
  for (const button of document.querySelectorAll("[data-line]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const lines = text.value.split("\n");
      const line = Number(button.dataset.line) - 1;
      const start = lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0);
      text.focus();
      text.setSelectionRange(start, start + (lines[line] ?? "").length);
      text.scrollTop = (text.scrollHeight / lines.length) * Math.max(line - 4, 0);
    });
  }

  // Changes that would be lost are asked about.
  let changed = document.querySelector("[data-draft][data-changed]") !== null;
  document.querySelector("[data-draft]")?.addEventListener("input", () => {
    changed = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (changed && !leaving) event.preventDefault();
  });

  // A secret that is shown once is copied by a button.
  for (const button of document.querySelectorAll("[data-copies]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
        window.toast("Copied", { kind: "good", seconds: 3 });
      } catch {
        window.toast("It could not be copied; select it and copy it yourself.", { kind: "error" });
      }
    });
  }
})();

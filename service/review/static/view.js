// How comments are shown to somebody who reads many of them: blurred until asked, slurs with stars. Loaded in every head,
// not deferred, so that nothing is seen sharp first. window.view.prepare(element) does the same for what comes later.
"use strict";

(() => {
  const root = document.documentElement;
  const choices = { blur: false, mask: false, keys: true };

  for (const name of Object.keys(choices)) {
    try {
      const kept = localStorage.getItem(`view-${name}`);
      if (kept !== null) choices[name] = kept === "yes";
    } catch {
      // Storage may be forbidden; then the choices hold for this page.
    }
    root.toggleAttribute(`data-${name}`, choices[name]);
  }

  const written = new WeakMap();

  // The first letter of each word stays, so that one still knows what was meant.
  function withStars(text) {
    return text.replace(/(\p{L}|\p{N})(\S+)/gu, (_, first, rest) => first + "*".repeat([...rest].length));
  }

  function prepare(element) {
    // Words that are marked for another reason, such as those of spam, are no slurs.
    for (const mark of element.querySelectorAll("[data-marks=hostile] mark")) {
      if (!written.has(mark)) written.set(mark, mark.textContent);
      mark.textContent = choices.mask ? withStars(written.get(mark)) : written.get(mark);
    }
  }

  function choose(name, value) {
    choices[name] = value;
    root.toggleAttribute(`data-${name}`, value);
    try {
      localStorage.setItem(`view-${name}`, value ? "yes" : "no");
    } catch {
      // It holds for this page, then.
    }
    prepare(document);
  }

  window.view = { prepare, is: (name) => choices[name] };

  document.addEventListener("DOMContentLoaded", () => {
    prepare(document);
    for (const menu of document.querySelectorAll("[data-view-menu]")) {
      menu.hidden = false;
      for (const box of menu.querySelectorAll("[data-view]")) {
        box.checked = choices[box.dataset.view];
        box.addEventListener("change", () => choose(box.dataset.view, box.checked));
      }
    }
  });

  // A blurred text becomes sharp where one asks for it, and stays so until one goes on.
  document.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-show-text]");
    if (asked) asked.parentElement.classList.add("shown");
    else event.target.closest(".said")?.classList.add("shown");
  });
})();

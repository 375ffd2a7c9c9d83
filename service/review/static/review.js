// What every page does in the browser. Everything works without it, with more clicks.
"use strict";

(() => {
  const root = document.documentElement;

  // Colours: as the system, light, dark, and round again.
  const words = { auto: "as the system", light: "light", dark: "dark" };

  function showTheme(button) {
    const theme = root.dataset.theme || "auto";
    button.dataset.now = theme;
    button.setAttribute("aria-label", `Colours: ${words[theme]}`);
    button.title = `Colours: ${words[theme]}`;
    button.hidden = false;
  }

  function turnTheme() {
    const next = { auto: "light", light: "dark", dark: "auto" }[root.dataset.theme || "auto"];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      if (next === "auto") localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch {
      // It holds for this page, then.
    }
  }

  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    showTheme(button);
    button.addEventListener("click", () => {
      turnTheme();
      showTheme(button);
    });
  }

  // Where the pages' names do not fit beside each other, the one that is open is in sight.
  const open = document.querySelector(".sections [aria-current]");
  if (open) open.parentElement.scrollLeft = open.offsetLeft - (open.parentElement.clientWidth - open.offsetWidth) / 2;

  // Menus close when one clicks elsewhere or presses Escape, which gives the focus back.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Dialogs: <button data-opens="ID"> opens <dialog id="ID">; [data-closes] inside closes it.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens).showModal();
    const closer = event.target.closest("[data-closes]");
    if (closer) closer.closest("dialog").close();
  });

  // Messages: window.toast("Approved", {kind: "good", seconds: 8, action: {label: "Undo", run() {}}}).
  // Of those that say what was done only the last is there, or whoever is quick would have nothing else before them.
  const region = document.getElementById("toasts");

  function leaveAfter(toast, seconds) {
    let timer = setTimeout(() => toast.remove(), seconds * 1000);
    const stay = () => clearTimeout(timer);
    const go = () => {
      timer = setTimeout(() => toast.remove(), 3000);
    };
    // Nobody has to be quick: it stays while one points at it or has the focus in it.
    toast.addEventListener("pointerenter", stay);
    toast.addEventListener("focusin", stay);
    toast.addEventListener("pointerleave", go);
    toast.addEventListener("focusout", go);
  }

  window.toast = (text, { kind = "", seconds = 6, action = null } = {}) => {
    const toast = document.createElement("div");
    toast.className = `toast ${kind}`;
    const said = document.createElement("div");
    said.textContent = text;
    toast.append(said);
    if (action) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button quiet";
      button.textContent = action.label;
      button.addEventListener("click", () => {
        toast.remove();
        action.run();
      });
      toast.append(button);
    }
    if (kind !== "error") for (const before of region.querySelectorAll(".toast:not(.error)")) before.remove();
    region.append(toast);
    leaveAfter(toast, seconds);
    return toast;
  };

  // A filter's address has what was asked and nothing else, so that it can be read and sent to somebody.
  const isEmpty = (field) => field.name && !field.disabled && field.value === "";
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[method=get]")) return;
    const empty = [...event.target.elements].filter(isEmpty);
    for (const field of empty) field.disabled = true;
    // Whoever comes back to the page finds them as they were.
    setTimeout(() => empty.forEach((field) => (field.disabled = false)));
  });

  // What the server puts there (errors answered to htmx) leaves as well.
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node.nodeType === Node.ELEMENT_NODE && node.matches(".toast.error")) leaveAfter(node, 12);
      }
    }
  }).observe(region, { childList: true });

  // No answer at all: the page says so, because nothing else would.
  document.body.addEventListener("htmx:sendError", () => {
    window.toast("The service cannot be reached. Nothing was changed.", { kind: "error", seconds: 12 });
  });
})();

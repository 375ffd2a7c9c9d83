// The queue with a keyboard: the next comment shows at once, verdicts are sent behind, and a conflict brings it back.
// Without this script the page works by its links and forms.
"use strict";

(() => {
  const desk = document.getElementById("desk");
  const pane = document.getElementById("focus");
  if (!desk || !pane) return;
  const list = document.getElementById("entries");
  const help = document.getElementById("keys-help");
  const counter = document.querySelector("[data-waiting]");
  const RENEW_MS = 240_000; // a claim lasts ten minutes
  const MORE_AT = 8;

  let current = pane.querySelector(".focused[data-entry]")?.dataset.entry ?? null;
  let held = null; // the entry that is claimed for us
  let turn = 0; // which of several loads counts
  let isLoadingMore = false;
  const panes = new Map(); // entry -> promise of its HTML
  const undoable = []; // what was decided here, the last last

  // Asking the server -------------------------------------------------------------------------------------------------

  function address(path) {
    const url = new URL(desk.dataset.rows, location.href);
    return url.pathname.replace(/queue\/rows$/, path) + (url.searchParams.has("site") ? `?site=${url.searchParams.get("site")}` : "");
  }

  async function fetchHtml(url) {
    const answer = await fetch(url, { headers: { "HX-Request": "true" }, credentials: "same-origin" });
    if (answer.headers.has("hx-redirect")) location.assign(answer.headers.get("hx-redirect"));
    if (!answer.ok) throw Object.assign(new Error("refused"), { status: answer.status });
    return answer.text();
  }

  async function post(url, fields = {}) {
    const answer = await fetch(url, {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(fields),
      credentials: "same-origin",
    });
    if (answer.redirected) location.reload(); // signed out meanwhile
    const isJson = (answer.headers.get("content-type") || "").includes("json");
    const said = isJson ? await answer.json() : { error: { code: "fault", message: "the service could not do it" } };
    return { ok: answer.ok && isJson, said };
  }

  function entryUrl(entry, read) {
    const url = new URL(address(`queue/${entry}`), location.href);
    url.searchParams.set("back", desk.dataset.back);
    if (read) url.searchParams.set("read", read);
    return url;
  }

  // The filter stays in the address, what a form left there goes.
  function addressOf(entry) {
    const url = new URL(location.href);
    for (const name of ["did", "verdict", "of", "many", "read", "words"]) url.searchParams.delete(name);
    url.searchParams.set("entry", entry);
    return url;
  }

  function load(entry, read) {
    if (read) panes.delete(entry);
    if (!panes.has(entry)) panes.set(entry, fetchHtml(entryUrl(entry, read)));
    const promise = panes.get(entry);
    promise.catch(() => panes.delete(entry));
    return promise;
  }

  // The list ----------------------------------------------------------------------------------------------------------

  const rows = () => (list ? [...list.querySelectorAll("li[data-entry]:not([hidden])")] : []);
  const rowOf = (entry) => list?.querySelector(`li[data-entry="${CSS.escape(entry)}"]`) ?? null;

  function beside(entry, step) {
    const all = rows();
    const at = all.findIndex((row) => row.dataset.entry === entry);
    return at < 0 ? all[0] : all[at + step];
  }

  function countDown(by) {
    if (!counter) return;
    counter.dataset.waiting = Math.max(0, Number(counter.dataset.waiting) - by);
    counter.textContent = Number(counter.dataset.waiting).toLocaleString("en").replaceAll(",", "\u202f");
  }

  async function loadMore() {
    const more = list?.querySelector("li.more");
    if (!more || isLoadingMore || rows().length > MORE_AT) return;
    isLoadingMore = true;
    try {
      const url = new URL(desk.dataset.rows, location.href);
      url.searchParams.set("after", more.dataset.after);
      const known = new Set([...list.querySelectorAll("li[data-entry]")].map((row) => row.dataset.entry));
      const html = await fetchHtml(url);
      const box = document.createElement("template");
      box.innerHTML = html;
      for (const row of box.content.querySelectorAll("li[data-entry]")) if (known.has(row.dataset.entry)) row.remove();
      more.replaceWith(box.content);
      if (current === null) next();
    } catch {
      // The link to the next page is still there.
    } finally {
      isLoadingMore = false;
    }
  }

  // The comment in focus ----------------------------------------------------------------------------------------------

  const focused = () => pane.querySelector(".focused[data-entry]");

  function put(html) {
    pane.innerHTML = html;
    window.view.prepare(pane);
  }

  function point(entry) {
    for (const row of list?.querySelectorAll("[aria-current]") ?? []) row.removeAttribute("aria-current");
    const row = rowOf(entry);
    row?.setAttribute("aria-current", "true");
    row?.scrollIntoView({ block: "nearest" });
  }

  async function show(entry, { read = null, note = "", isMoved = true } = {}) {
    const mine = ++turn;
    if (held !== null && held !== entry) release(held);
    current = entry;
    point(entry);
    if (read || !panes.has(entry)) pane.replaceChildren(document.getElementById("waiting-for-entry").content.cloneNode(true));
    let html;
    try {
      html = await load(entry, read);
    } catch (error) {
      if (mine !== turn) return;
      if (error.status === 409 || error.status === 404) {
        window.toast("That comment was decided meanwhile.", { kind: "error" });
        return drop(entry);
      }
      pane.replaceChildren();
      window.toast("The comment cannot be loaded. Try again in a moment.", { kind: "error", seconds: 12 });
      return;
    }
    if (mine !== turn) return;
    put(html);
    const box = note ? pane.querySelector("[name=note]") : null;
    if (box) {
      box.value = note;
      box.closest("details").open = true;
    }
    history.replaceState(null, "", addressOf(entry));
    if (isMoved) {
      pane.focus({ preventScroll: true });
      if (pane.getBoundingClientRect().top < 0 || innerWidth < 1024) pane.scrollIntoView({ block: "start" });
    }
    arrive();
  }

  function arrive() {
    const article = focused();
    if (!article) return;
    claim(article);
    findWords(article);
    const following = beside(current, 1);
    if (following) load(following.dataset.entry).catch(() => {});
    loadMore();
  }

  async function findWords(article) {
    const words = article.querySelector("[data-words]");
    if (!words) return;
    words.setAttribute("aria-busy", "true");
    try {
      const html = await fetchHtml(words.dataset.words);
      const box = document.createElement("template");
      box.innerHTML = html.trim();
      const found = box.content.firstElementChild;
      if (words.classList.contains("shown")) found.classList.add("shown");
      window.view.prepare(box.content);
      words.replaceWith(found);
      if (article.isConnected) panes.set(article.dataset.entry, Promise.resolve(article.outerHTML));
    } catch {
      words.removeAttribute("aria-busy"); // the text is there without marks
    }
  }

  function next() {
    const row = beside(current, 1) ?? beside(current, -1) ?? rows()[0];
    if (row && row.dataset.entry !== current) return show(row.dataset.entry);
    if (!rows().length) {
      turn++;
      current = null;
      pane.replaceChildren(document.getElementById("nothing-left").content.cloneNode(true));
    }
  }

  function drop(entry) {
    const row = rowOf(entry);
    const following = beside(entry, 1) ?? beside(entry, -1);
    if (row) row.hidden = true;
    panes.delete(entry);
    if (following && following !== row) show(following.dataset.entry);
    else next();
  }

  // Holding -----------------------------------------------------------------------------------------------------------

  async function claim(article) {
    if (!("decides" in article.dataset)) return;
    const entry = article.dataset.entry;
    held = entry;
    let answer;
    try {
      answer = await post(address(`queue/${entry}/claim`));
    } catch {
      return; // the verdict will tell
    }
    if (entry !== current) {
      if (answer.ok && held !== entry) release(entry);
      return;
    }
    if (answer.ok) {
      panes.delete(entry);
      if (answer.said.digest !== article.querySelector("[name=digest]").value) {
        show(entry, { read: article.querySelector("[name=digest]").value, note: article.querySelector("[name=note]").value });
      } else if (article.querySelector(".holder")) {
        article.querySelector(".holder").remove();
        delete article.dataset.held;
      }
      return;
    }
    held = null;
    if (answer.said.holder) tellHolder(article, answer.said.holder);
    else if (answer.said.error.code === "taken") {
      window.toast("That comment was decided meanwhile.", { kind: "error" });
      drop(entry);
    }
  }

  function tellHolder(article, holder) {
    article.dataset.held = "";
    if (article.querySelector(".holder")) return;
    const said = document.createElement("p");
    said.className = "message holder";
    said.setAttribute("role", "status");
    const who = document.createElement("b");
    who.dir = "auto";
    who.textContent = holder;
    said.append(who, " is looking at it. Go on with the next one.");
    article.querySelector(".focused-head").after(said);
  }

  function release(entry) {
    if (held === entry) held = null;
    post(address(`queue/${entry}/release`)).catch(() => {});
  }

  addEventListener("pagehide", () => {
    if (held !== null) navigator.sendBeacon(address(`queue/${held}/release`), new URLSearchParams());
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted && focused()) claim(focused());
  });
  setInterval(() => {
    if (held !== null && !document.hidden && focused()) claim(focused());
  }, RENEW_MS);

  // Verdicts ----------------------------------------------------------------------------------------------------------

  async function judge(form, name) {
    const article = form.closest(".focused");
    const entry = article.dataset.entry;
    if ("held" in article.dataset) {
      window.toast("Somebody else is looking at this comment. Go on with the next one.", { kind: "error" });
      return;
    }
    const fields = Object.fromEntries(new FormData(form));
    fields.judgement = name;
    const row = rowOf(entry);
    const following = beside(entry, 1);
    const done = { entry, row, verdict: null, of: article.dataset.site };
    held = null; // a verdict ends the claim
    if (row) row.hidden = true;
    panes.delete(entry);
    countDown(1);
    undoable.push(done);
    done.sent = post(form.action, fields).catch(() => ({ ok: false, said: { error: { code: "unreachable" } } }));
    if (following && following !== row) show(following.dataset.entry);
    else next();
    const { ok, said } = await done.sent;
    if (ok) {
      done.verdict = said.verdict;
      done.count = said.count;
      countDown(said.count - 1);
      const many = said.count > 1 ? ` (${said.count} comments)` : "";
      done.toast = window.toast(`${said.said}${many}`, { kind: "good", seconds: 8, action: { label: "Undo", run: () => undo(done) } });
      loadMore();
      return;
    }
    undoable.splice(undoable.indexOf(done), 1);
    countDown(-1);
    const code = said.error.code;
    if (code === "taken") {
      if (!said.holder) {
        countDown(1);
        window.toast("Somebody was quicker: that comment is decided. Yours was not counted.", { kind: "error", seconds: 12 });
        return;
      }
      if (row) row.hidden = false;
      window.toast(`${said.holder} is looking at that comment. Your verdict was not counted.`, { kind: "error", seconds: 12 });
      return;
    }
    // Not decided: it is back in its place, and in focus.
    if (row) row.hidden = false;
    const words = {
      text_changed: "The text has changed since you read it. Nothing was decided.",
      unreachable: "The service cannot be reached. Nothing was decided.",
    };
    window.toast(words[code] ?? `Not decided: ${said.error.message}.`, { kind: "error", seconds: 12 });
    show(entry, { read: code === "text_changed" ? fields.digest : null, note: fields.note });
  }

  async function undo(done) {
    if (!done) {
      window.toast("There is nothing to undo on this page.");
      return;
    }
    const at = undoable.indexOf(done);
    if (at < 0) return;
    undoable.splice(at, 1);
    await done.sent; // it may still be on its way
    if (!done.verdict) return;
    done.toast?.remove();
    const { ok, said } = await post(address(`verdicts/${encodeURIComponent(done.verdict)}/undo`), { of: done.of }).catch(() => ({
      ok: false,
      said: { error: { message: "the service cannot be reached" } },
    }));
    if (!ok) {
      window.toast(`Not undone: ${said.error.message}.`, { kind: "error", seconds: 12 });
      return;
    }
    countDown(-done.count);
    if (done.row) done.row.hidden = false;
    window.toast("Taken back");
    show(done.entry);
  }

  // What people press and click ---------------------------------------------------------------------------------------

  pane.addEventListener("submit", (event) => {
    const form = event.target.closest(".verdict-form");
    if (!form || !event.submitter?.value) return;
    event.preventDefault();
    judge(form, event.submitter.value);
  });

  list?.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    const row = event.target.closest("li[data-entry]");
    if (!row || (event.target.closest("a") && !event.target.closest(".entry-link"))) return;
    event.preventDefault();
    show(row.dataset.entry);
  });

  const verdictKeys = { f: "approve", d: "reject", e: "off_topic", s: "spam", h: "hostile" };

  function step(by) {
    const row = beside(current, by);
    if (row) show(row.dataset.entry);
  }

  const keys = {
    j: () => step(1),
    k: () => step(-1),
    u: () => undo(undoable.at(-1)),
    z: () => document.documentElement.toggleAttribute("data-zen"),
    v: () => pane.querySelector(".words")?.classList.toggle("shown"),
    "?": () => help.showModal(),
    "/": () => {
      document.documentElement.removeAttribute("data-zen");
      const filter = document.querySelector(".queue-filter");
      filter.open = true;
      filter.querySelector("[name=text]").focus();
    },
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat || help.open) return;
    if (event.key === "Escape") document.documentElement.removeAttribute("data-zen");
    const at = event.target;
    if (at.isContentEditable || (at.matches("input, select, textarea") && !at.matches("[type=checkbox]"))) return;
    if (!window.view.is("keys") && event.key !== "?") return;
    const verdict = verdictKeys[event.key];
    if (verdict) {
      const form = pane.querySelector(".verdict-form");
      if (!form) return;
      event.preventDefault();
      judge(form, verdict);
    } else if (Object.hasOwn(keys, event.key)) {
      event.preventDefault();
      keys[event.key]();
    }
  });

  arrive();
})();

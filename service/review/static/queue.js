// The queue with a keyboard: the next comment shows at once, verdicts are sent behind, and a conflict brings it back.
// What others do shows where it is, and nothing moves by it. Without this script the page works by its links and forms.
"use strict";

(() => {
  const desk = document.getElementById("desk");
  const pane = document.getElementById("focus");
  if (!desk || !pane) return;
  const list = document.getElementById("entries");
  const help = document.getElementById("keys-help");
  const news = document.getElementById("news");
  const RENEW_MS = 240_000; // a claim lasts ten minutes
  const SETTLED_MS = 2_500; // so long after a verdict the service may still tell what it saw before
  const MORE_AT = 8;
  const REMEMBERED = 10; // verdicts that can be taken back after the page was loaded again
  const FRESH_AT_ONCE = 25; // more than that is no addition to a list but another list

  let current = pane.querySelector(".focused[data-entry]")?.dataset.entry ?? null;
  let held = null; // the entry that is claimed for us
  let turn = 0; // which of several loads counts
  let isLoadingMore = false;
  const panes = new Map(); // entry -> promise of its HTML
  const undoable = recall(); // what was decided in this tab, the last last
  const fresh = new Set(); // entries that have come in and are not shown yet
  let holders = {}; // entry -> who else holds it
  let told = null; // how many wait, as the service has said it last
  let sending = 0; // verdicts on their way
  let settledAt = 0;
  let settling = 0;

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

  // What can be taken back, for this tab and whoever is signed in: ids, and nothing of the comments -------------------

  function recall() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(`verdicts of ${desk.dataset.me}`)) ?? [];
      return kept.map(([verdict, of, entry, count]) => ({ verdict, of, entry, count, row: null, sent: null }));
    } catch {
      return []; // storage may be forbidden
    }
  }

  function remember() {
    const given = undoable.filter((done) => done.verdict).slice(-REMEMBERED);
    const kept = given.map(({ verdict, of, entry, count }) => [verdict, of, entry, count]);
    try {
      sessionStorage.setItem(`verdicts of ${desk.dataset.me}`, JSON.stringify(kept));
    } catch {
      // It can be taken back until the page is loaded again.
    }
  }

  // The list ----------------------------------------------------------------------------------------------------------

  const rows = () => (list ? [...list.querySelectorAll("li[data-entry]:not([hidden], [data-over])")] : []);
  const rowOf = (entry) => list?.querySelector(`li[data-entry="${CSS.escape(entry)}"]`) ?? null;

  // The next one in that direction that nobody else has decided or is at.
  function beside(entry, step) {
    const all = list ? [...list.querySelectorAll("li[data-entry]:not([hidden])")] : [];
    let at = all.findIndex((row) => row.dataset.entry === entry);
    if (at < 0) return rows()[0];
    do at += step;
    while (all[at] && ("over" in all[at].dataset || all[at].querySelector(".entry-holder")));
    return all[at];
  }

  function say(name, count) {
    for (const place of document.querySelectorAll(`[data-${name}]`)) {
      place.dataset[name] = count;
      place.textContent = count.toLocaleString("en").replaceAll(",", "\u202f");
    }
  }

  function countDown(by) {
    for (const name of ["waiting", "found"]) {
      const place = document.querySelector(`[data-${name}]`);
      if (place) say(name, Math.max(0, Number(place.dataset[name]) - by));
    }
  }

  // What the service says counts, once it knows of everything that was decided here.
  function settle() {
    clearTimeout(settling);
    const left = settledAt + SETTLED_MS - Date.now();
    if (!told || sending) return;
    if (left > 0) {
      settling = setTimeout(settle, left);
      return;
    }
    say("waiting", told.waiting);
    say("found", told.found);
  }

  async function send(url, fields) {
    sending++;
    try {
      return await post(url, fields);
    } finally {
      sending--;
      settledAt = Date.now();
      settle();
    }
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
      for (const row of box.content.querySelectorAll("li[data-entry]")) fresh.delete(row.dataset.entry);
      more.replaceWith(box.content);
      showHolders();
      tellNews();
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
    if (row && !row.hidden && row.dataset.entry !== current) return show(row.dataset.entry);
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
    if (entry !== current || "over" in article.dataset) {
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
    if (entry !== current) return; // the next one is on its way, and nobody has read it yet
    if ("over" in article.dataset) {
      window.toast(`${article.dataset.over}. Its history is where it can be decided otherwise.`, { kind: "error" });
      return;
    }
    if ("held" in article.dataset) {
      const who = article.querySelector(".holder b")?.textContent ?? "Somebody else";
      window.toast(`${who} is looking at this comment, so nothing was decided. Go on with the next one.`, { kind: "error" });
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
    done.sent = send(form.action, fields).catch(() => ({ ok: false, said: { error: { code: "unreachable" } } }));
    if (following && following !== row) show(following.dataset.entry);
    else next();
    const { ok, said } = await done.sent;
    if (ok) {
      done.verdict = said.verdict;
      done.count = said.count;
      remember();
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
      window.toast("There is nothing to undo in this tab.");
      return;
    }
    const at = undoable.indexOf(done);
    if (at < 0) return;
    undoable.splice(at, 1);
    remember();
    await done.sent; // it may still be on its way
    if (!done.verdict) return;
    done.toast?.remove();
    const { ok, said } = await send(address(`verdicts/${encodeURIComponent(done.verdict)}/undo`), { of: done.of }).catch(() => ({
      ok: false,
      said: { error: { message: "the service cannot be reached" } },
    }));
    if (!ok) {
      window.toast(`Not undone: ${said.error.message}.`, { kind: "error", seconds: 12 });
      return;
    }
    countDown(-done.count);
    const row = done.row ?? rowOf(done.entry);
    if (row) row.hidden = false;
    window.toast("Taken back");
    show(done.entry);
  }

  // What others do ----------------------------------------------------------------------------------------------------

  const outcome = (moved) => {
    if (moved.is === "erased") return "Erased";
    if (moved.is !== "decided") return "No longer waits";
    return `Decided by ${moved.by === desk.dataset.me ? "you" : moved.by}: ${moved.said}`;
  };

  function mark(row, moved) {
    unmark(row);
    row.style.minHeight = `${row.offsetHeight}px`; // whatever it says now, nothing below it moves
    row.dataset.over = "";
    row.querySelector(".entry-holder")?.remove();
    const badge = document.createElement("span");
    badge.className = "badge entry-over";
    badge.dir = "auto";
    badge.textContent = outcome(moved);
    row.querySelector(".entry-why").prepend(badge);
    if (moved.is === "erased") forget(row, ".said, .entry-from, .entry-link");
  }

  function forget(element, parts) {
    for (const part of element.querySelectorAll(parts)) part.replaceChildren();
  }

  function unmark(row) {
    row.querySelector(".entry-over")?.remove();
    row.style.minHeight = "";
    delete row.dataset.over;
  }

  function markFocused(moved) {
    const article = focused();
    if (!article || article.dataset.over === outcome(moved)) return;
    held = null; // whoever decided it has ended the claim
    article.dataset.over = outcome(moved);
    const badge = document.createElement("span");
    badge.className = "badge entry-over";
    badge.dir = "auto";
    badge.textContent = outcome(moved);
    article.querySelector(".entry-over")?.remove();
    article.querySelector(".entry-why").prepend(badge);
    if (moved.is === "erased") forget(article, ".words, .focused-who, .focused-parts");
    window.toast(`${outcome(moved)}. Go on with the next one.`, { seconds: 12 });
  }

  function showHolders() {
    for (const row of list?.querySelectorAll("li[data-entry]") ?? []) {
      const name = "over" in row.dataset ? undefined : holders[row.dataset.entry];
      let holder = row.querySelector(".entry-holder");
      if (!name) holder?.remove();
      else if (!holder) {
        holder = document.createElement("span");
        holder.className = "entry-holder";
        const who = document.createElement("b");
        who.dir = "auto";
        holder.append(who, " is looking at it");
        row.querySelector(".entry-foot").prepend(holder);
      }
      if (name) holder.firstElementChild.textContent = name;
    }
    const article = focused();
    if (!article || "over" in article.dataset) return;
    const name = holders[article.dataset.entry];
    if (name) tellHolder(article, name);
    else if ("held" in article.dataset) {
      if ("decides" in article.dataset) claim(article);
      else {
        article.querySelector(".holder")?.remove();
        delete article.dataset.held;
      }
    }
  }

  function tellNews() {
    const button = news.querySelector("button");
    if (!button) return;
    const count = fresh.size < 100 ? fresh.size : "100 or more";
    button.hidden = fresh.size === 0;
    button.textContent = fresh.size ? `${count} new ${fresh.size === 1 ? "comment" : "comments"}, show` : "";
  }

  async function showFresh() {
    if (!fresh.size) return;
    if (!list || fresh.size > FRESH_AT_ONCE) {
      const url = new URL(location.href);
      for (const name of ["after", "did", "verdict", "of", "many"]) url.searchParams.delete(name);
      location.assign(url);
      return;
    }
    let html;
    try {
      html = await fetchHtml(desk.dataset.fresh);
    } catch {
      window.toast("They cannot be loaded. Try again in a moment.", { kind: "error", seconds: 12 });
      return;
    }
    const box = document.createElement("template");
    box.innerHTML = html;
    for (const row of box.content.querySelectorAll("li[data-entry]")) if (rowOf(row.dataset.entry)) row.remove();
    const first = box.content.querySelector("li[data-entry]");
    fresh.clear();
    list.prepend(box.content);
    tellNews();
    showHolders();
    if (!first) {
      window.toast("They were decided meanwhile.");
      return;
    }
    list.parentElement.scrollTop = 0;
    first.querySelector(".entry-link").focus();
    if (current === null) next();
  }

  function tellEnd(words) {
    const link = document.createElement("a");
    link.className = "button small";
    link.href = location.pathname + location.search;
    link.textContent = words;
    news.replaceChildren(link);
  }

  const hear = {
    waiting: (data) => {
      told = data;
      settle();
    },
    fresh: ({ entries }) => {
      fresh.clear();
      for (const entry of entries.map(String)) if (!rowOf(entry) && entry !== current) fresh.add(entry);
      tellNews();
    },
    held: ({ entries }) => {
      holders = entries;
      showHolders();
    },
    moved: ({ entries }) => {
      for (const moved of entries) {
        const entry = String(moved.entry);
        const row = rowOf(entry);
        panes.delete(entry);
        if (moved.is !== "waits") {
          fresh.delete(entry);
          if (row && !row.hidden) mark(row, moved);
          if (entry === current) markFocused(moved);
          continue;
        }
        if (row) {
          unmark(row);
          if (!undoable.some((done) => done.entry === entry && !done.verdict)) row.hidden = false;
        }
        if (entry === current && "over" in (focused()?.dataset ?? {})) show(entry, { isMoved: false });
      }
      tellNews();
    },
    end: ({ why }) => {
      const words = {
        session: "You are signed out: sign in again",
        role: "Your roles have changed: load the page again",
        missed: "Much has changed: load the page again",
      };
      tellEnd(words[why] ?? "Load the page again");
    },
  };

  // What people press and click ---------------------------------------------------------------------------------------

  pane.addEventListener("submit", (event) => {
    const form = event.target.closest(".verdict-form");
    if (!form || !event.submitter?.value) return;
    event.preventDefault();
    judge(form, event.submitter.value);
  });

  pane.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button || !event.target.closest("[data-skip]")) return;
    event.preventDefault();
    const row = beside(current, 1) ?? rows()[0];
    if (row && row.dataset.entry !== current) show(row.dataset.entry);
    else window.toast("Nothing else waits here.");
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
    if (row && row.dataset.entry !== current) show(row.dataset.entry);
    else if ("held" in (focused()?.dataset ?? {})) window.toast("Nothing else waits here.");
  }

  const keys = {
    j: () => step(1),
    k: () => step(-1),
    u: () => undo(undoable.at(-1)),
    n: showFresh,
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

  news.addEventListener("click", (event) => {
    if (event.target.closest("button")) showFresh();
  });

  arrive();
  window.follow(desk.dataset.events, hear);
})();

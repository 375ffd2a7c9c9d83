// The batch page: choosing a range by dragging over the dots or with two handles. The form below does the same alone.
"use strict";

(() => {
  const WAIT = 250; // milliseconds after the last move before the list is fetched

  function watch(plot) {
    const work = document.getElementById("batch");
    const form = work.querySelector("[data-batch-form]");
    const frame = plot.querySelector(".batch-range");
    const dots = [...plot.querySelectorAll(".batch-dot")];
    const handles = Object.fromEntries(
      [...plot.querySelectorAll("[data-batch-handle]")].map((handle) => [handle.dataset.batchHandle, handle]),
    );
    const said = work.querySelector("[data-batch-count]");
    let range = { low: Number(plot.dataset.low), high: Number(plot.dataset.high) };
    let timer = 0;

    function show(low, high) {
      range = { low, high };
      let count = 0;
      for (const dot of dots) {
        const percent = Number(dot.dataset.percent);
        const isIn = low <= percent && percent < high;
        dot.classList.toggle("in", isIn);
        if (isIn) count += Number(dot.dataset.count);
      }
      frame.setAttribute("x", low * 10);
      frame.setAttribute("width", (high - low) * 10);
      for (const name of ["low", "high"]) {
        handles[name].value = range[name];
        handles[name].setAttribute("aria-valuetext", `${range[name]} %`);
        form.elements[name].value = range[name];
      }
      // Where both lie at the right end, only the left one can be moved, so it has to be on top.
      handles.low.classList.toggle("above", low > 50);
      said.value = low < high ? `${count.toLocaleString("en").replaceAll(",", "\u202f")} inside` : "";
    }

    function fetchSoon() {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (form.isConnected) form.requestSubmit();
      }, WAIT);
    }

    for (const name of ["low", "high"]) {
      handles[name].addEventListener("input", () => {
        const value = Number(handles[name].value);
        if (name === "low") show(value, Math.max(value, range.high));
        else show(Math.min(value, range.low), value);
        fetchSoon();
      });
    }

    // Numbers that are written move the handles.
    form.addEventListener("submit", () => {
      const [low, high] = ["low", "high"].map((name) => Number(form.elements[name].value)).sort((one, two) => one - two);
      show(low, high);
    });

    const percentAt = (event) => {
      const box = plot.getBoundingClientRect();
      return Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100));
    };

    plot.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.matches("[data-batch-handle]")) return;
      const start = percentAt(event);
      const move = (at) => {
        const here = percentAt(at);
        const low = Math.min(99, Math.floor(Math.min(start, here)));
        show(low, Math.max(low + 1, Math.ceil(Math.max(start, here))));
      };
      const end = (at) => {
        plot.removeEventListener("pointermove", move);
        plot.removeEventListener("pointerup", end);
        plot.removeEventListener("pointercancel", end);
        // A finger that turns out to scroll the page has chosen nothing.
        if (at.type === "pointercancel") show(Number(plot.dataset.low), Number(plot.dataset.high));
        else {
          move(at);
          fetchSoon();
        }
      };
      plot.setPointerCapture(event.pointerId);
      plot.addEventListener("pointermove", move);
      plot.addEventListener("pointerup", end);
      plot.addEventListener("pointercancel", end);
      event.preventDefault();
    });

    plot.querySelector(".batch-handles").hidden = false;
    show(range.low, range.high);
  }

  function begin() {
    const plot = document.querySelector("[data-batch-plot]");
    if (plot && !plot.dataset.watched) {
      plot.dataset.watched = "1";
      watch(plot);
    }
  }

  // How many are chosen, as boxes are ticked and unticked.
  document.addEventListener("change", (event) => {
    const list = event.target.closest("[data-batch-list]");
    if (!list || event.target.name !== "row") return;
    const chosen = list.querySelector("[data-batch-chosen]");
    const count = Number(chosen.dataset.batchChosen) + (event.target.checked ? 1 : -1);
    chosen.dataset.batchChosen = count;
    chosen.textContent = count.toLocaleString("en").replaceAll(",", "\u202f");
  });

  // What was asked for before a verdict is no longer what there is: it would put the list back in the place of the undo.
  const asked = new WeakMap();
  let verdicts = 0;
  const isListing = (config) => config.verb === "get" || config.parameters.do === "more";

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!isListing(event.detail.requestConfig)) verdicts++;
    asked.set(event.detail.xhr, verdicts);
  });

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { requestConfig, xhr } = event.detail;
    if (isListing(requestConfig) && asked.get(xhr) !== verdicts) event.detail.shouldSwap = false;
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    begin();
    if (event.detail.target.id !== "batch") return;
    // After a verdict, undo is where the hands are; in a longer list, the first row that is new.
    const { parameters } = event.detail.requestConfig;
    const next = parameters.do === "more" ? document.querySelectorAll("[data-batch-list] [name=row]")[parameters.shown] : null;
    (next ?? document.querySelector("[data-batch-focus]"))?.focus();
  });

  begin();
})();

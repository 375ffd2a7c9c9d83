// Server-sent events while somebody looks at the page: window.follow(address, {name: (data) => ...}). A hidden page hears
// nothing and catches up when it is seen again, so that many of them do not use up what a browser keeps open to one host.
"use strict";

(() => {
  const AGAIN_MS = 60_000; // after it was refused; where it was only cut off, the browser tries again by itself

  window.follow = (address, hear) => {
    let source = null;
    let last = ""; // how far it was heard
    let timer = 0;
    let isOver = false;

    function close() {
      clearTimeout(timer);
      source?.close();
      source = null;
    }

    function open() {
      if (source || isOver || document.hidden) return;
      clearTimeout(timer);
      const url = new URL(address, location.href);
      if (last) url.searchParams.set("after", last);
      source = new EventSource(url);
      for (const [name, tell] of Object.entries(hear)) {
        source.addEventListener(name, (event) => {
          last = event.lastEventId || last;
          if (name === "end") {
            isOver = true;
            close();
          }
          tell(JSON.parse(event.data));
        });
      }
      source.addEventListener("error", () => {
        if (source?.readyState !== EventSource.CLOSED) return;
        close();
        timer = setTimeout(open, AGAIN_MS);
      });
    }

    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    addEventListener("pagehide", close);
    addEventListener("pageshow", open);
    open();
  };
})();

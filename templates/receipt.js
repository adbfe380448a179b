// Keeps the receipt fresh, shows times in the reader's zone, prints. The page works without it.
"use strict";
(() => {
  const part = document.getElementById("part");
  const state = document.getElementById("state");
  const print = document.getElementById("print");

  const localise = () => {
    const today = new Date().toDateString();
    for (const time of part.querySelectorAll("time")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      time.title = time.textContent;
      time.textContent = at.toDateString() === today ? at.toLocaleTimeString() : at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  };

  const show = (html) => {
    const open = [...part.querySelectorAll("details")].map((d) => d.open);
    const fresh = new DOMParser().parseFromString(html, "text/html");
    part.replaceChildren(...fresh.body.childNodes);
    part.querySelectorAll("details").forEach((d, n) => { d.open = open[n] === true; });
    localise();
  };

  // One connection while somebody looks, none otherwise: a browser has six to a host.
  let source = null;
  const follow = () => {
    if (document.hidden || source) return;
    source = new EventSource(document.body.dataset.live);
    source.addEventListener("open", () => { state.textContent = "Live"; state.className = "state on"; });
    source.addEventListener("receipt", (event) => show(event.data));
    source.addEventListener("error", () => {
      state.textContent = "Waiting for Airlock";
      state.className = "state";
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(follow, 5000);
      }
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) {
      source.close();
      source = null;
    } else {
      follow();
    }
  });
  // Paper shows what is folded away.
  addEventListener("beforeprint", () => part.querySelectorAll("details").forEach((d) => { d.open = true; }));

  print.hidden = false;
  print.addEventListener("click", () => globalThis.print());
  localise();
  follow();
})();

"use strict";
/* What pages of figures and tables have in common in the browser. */
(() => {
  if (typeof document === "undefined") { return; }

  /* A callback: the symbol that is chosen on the page at a path is in its URL. */
  const chosen = (path) => (symbol) => {
    if (window.location.pathname !== path || !symbol) { return; }
    const query = symbol === "*" ? "" : `?symbol=${encodeURIComponent(symbol)}`;
    if (window.location.search !== query) {
      window.history.replaceState(window.history.state, "", `${path}${query}`);
    }
  };

  /* Tells a page, by its store `name-news`, that what it shows is not up to date any more: whenever the text that sums
     it up is another than the one before. The first one counts: it may know of what came after the page was filled. A
     store is no element, so the page is looked for. */
  function teller(name) {
    let told = null;
    return (now) => {
      if (!document.getElementById(`${name}-page`)) { told = null; return; }
      if (told !== now) { window.dash_clientside.set_props(`${name}-news`, {data: now}); }
      told = now;
    };
  }

  window.tickstreamParts = {chosen, teller};
})();

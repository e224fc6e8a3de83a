"use strict";
/* The pickers of the chart page and the URL, which is the page's state: a picker writes it, and what is in it is shown. */
(() => {
  const NAMES = ["symbol", "interval", "range", "overlays"];
  const kit = window.tickstreamChart;
  const {page} = kit;

  /* What the page takes for granted, as the server has it. */
  function usual() {
    const node = page.element("chart-page");
    return node ? JSON.parse(node.dataset.defaults) : {};
  }

  /* {symbol, interval, range, overlays, engine}; null is a symbol or an engine that is not named. */
  function read() {
    const query = new URLSearchParams(window.location.search);
    const found = {...usual(), symbol: query.get("symbol"), engine: query.get("engine") === "plotly" ? "plotly" : null};
    for (const name of NAMES) { found[name] = query.get(name) ?? found[name]; }
    return found;
  }

  /* A picker was changed: into the URL, and from there to the chart. */
  function picked(symbol, interval, range, overlays) {
    page.groups = overlays || [];
    const before = read();
    const now = {...before, symbol: symbol ?? null, interval, range, overlays: page.groups.join(",")};
    if (now.symbol === null || NAMES.every((name) => now[name] === before[name])) { return; }
    visit(now, before.symbol === null);
  }

  /* `instead`: in place of the entry of the browser's history, not after it. */
  function visit(wanted, instead) {
    const query = new URLSearchParams({symbol: wanted.symbol, interval: wanted.interval, range: wanted.range});
    if (wanted.overlays !== usual().overlays) { query.set("overlays", wanted.overlays); }
    if (wanted.engine) { query.set("engine", wanted.engine); }
    const search = `?${query}`;
    if (instead) { window.history.replaceState(null, "", window.location.pathname + search); }
    page.set("location", {search});
  }

  /* The URL was changed, by a picker or by the back button. */
  function visited() {
    if (!page.element("chart-page")) { return; }
    const now = read();
    if (now.symbol === null) { return; }
    page.groups = now.overlays.split(",").filter(Boolean);
    for (const name of NAMES) { page.set(`chart-${name}`, {value: name === "overlays" ? page.groups : now[name]}); }
    const same = ["symbol", "interval", "range"].every((name) => now[name] === page.requested[name]);
    if (same) { page.restyle(); } else { page.askAgain(); }
  }

  /* The symbol that is shown for want of one in the URL. */
  function choose(symbol) {
    if (read().symbol === null) { page.set("chart-symbol", {value: symbol}); }
  }

  kit.url = {read, picked, visited, choose};
})();

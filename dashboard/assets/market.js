"use strict";
/* The market page in the browser: the API's roll-ups (callback of pages/market.py), live bars on top of them, and from
   both the rows of the grid, the tiles of the heat map and the line that sums them up. */
(() => {
  const FLUSH_MS = 60;
  const HEAT_MS = 2000;
  const SIZES_MS = 60000;        // tiles that move all the time cannot be read
  const FULL_RELOAD_MS = 300000; // new symbols, and whatever a socket cannot tell
  const REST_RELOAD_MS = 20000;  // symbols beyond what one socket may follow
  const EMPTY_RELOAD_MS = 5000;
  const ASK_MS = 1500;
  const MOST_ASKED = 100;        // symbols in one request
  const SNAPSHOT = 4;
  const NARROW = ["change", "range", "volume", "notional", "vwap_distance", "trade_count"];
  const MIDDLE = ["vwap_distance", "trade_count"];
  const PHONE = {symbol: 87, closes: 50, price: 81, change_percent: 82, age: 74};  // pixels

  const byId = (id) => document.getElementById(id);
  const model = () => globalThis.tickstreamMarket;
  const setProps = (id, props) => window.dash_clientside.set_props(id, props);

  let page = null;  // of the visit; null while another page is shown

  /* Whether the visit is over: another page is shown, or this one anew. */
  const left = () => page.node !== byId("market-page");

  function newPage(points) {
    return {node: byId("market-page"), grid: null, columns: [], rows: new Map(), shown: new Map(), dirty: new Map(),
            asked: new Set(), subscription: null, followed: "", strangers: new Set(), points, staleAfter: 60, offsetUs: 0,
            loadedAt: 0, heatAt: 0, sizesAt: 0, flushing: null, asking: null, note: "", truncated: false, beyond: 0, timers: []};
  }

  /* From the API ------------------------------------------------------------------------------------------------------- */

  /* A callback: the answer of the API, of all symbols or of those that were asked for again. */
  function load(data) {
    if (!data || !byId("market-page")) { return; }
    if (page !== null && left()) { end(); }
    if (page === null) { begin(data); }
    page.staleAfter = data.stale_after;
    setClock(data.rows);
    for (const row of data.rows) { place(row, data.points); }
    if (data.partial) { flushSoon(); return; }
    page.loadedAt = performance.now();
    page.truncated = data.truncated;
    page.redis = data.live === "ok";
    forget(new Set(data.rows.map((row) => row.symbol)));
    followLive(data.followed);
    page.beyond = data.rows.length - data.followed.length;
    flushSoon();
    describe();
  }

  function begin(data) {
    page = newPage(data.points);
    const own = page;
    own.timers = [setInterval(() => everySecond(own), 1000), setInterval(() => drawHeat(own), 250)];
    window.dash_ag_grid.getApiAsync("market-grid").then((grid) => { if (own === page && !left()) { attach(grid); } });
  }

  function place(row, points) {
    const held = page.rows.get(row.symbol);
    if (held) { held.rebase(row); } else { page.rows.set(row.symbol, new (model().Standing)(row, points)); }
    page.dirty.set(row.symbol, null);
  }

  /* Server time less the browser's, from the ages that the API gave. */
  function setClock(rows) {
    const aged = rows.filter((row) => row.price_at !== null);
    if (!aged.length) { return; }
    const newest = aged.reduce((one, other) => (other.age_seconds < one.age_seconds ? other : one));
    if (newest.age_seconds > 0) {
      page.offsetUs = model().micros(newest.price_at) + newest.age_seconds * 1e6 - window.tickstream.nowUs();
    }
  }

  function forget(known) {
    const gone = [...page.rows.keys()].filter((symbol) => !known.has(symbol));
    gone.forEach((symbol) => { page.rows.delete(symbol); page.shown.delete(symbol); page.dirty.delete(symbol); });
    if (gone.length && page.grid) { page.grid.applyTransaction({remove: gone.map((symbol) => ({symbol}))}); }
  }

  /* What lies behind a roll-up has changed: ask for these symbols once more, several at a time. */
  function ask(symbol) {
    page.asked.add(symbol);
    if (page.asking === null) { page.asking = setTimeout(sendAsked, ASK_MS); }
  }

  function sendAsked() {
    page.asking = null;
    const symbols = [...page.asked].slice(0, MOST_ASKED);
    symbols.forEach((symbol) => page.asked.delete(symbol));
    setProps("market-reload", {data: {symbols, at: Date.now()}});
    if (page.asked.size) { page.asking = setTimeout(sendAsked, ASK_MS); }
  }

  const reload = () => { page.loadedAt = performance.now(); setProps("market-reload", {data: {symbols: null, at: Date.now()}}); };

  /* Live bars ---------------------------------------------------------------------------------------------------------- */

  function followLive(asked) {
    const symbols = asked.filter((symbol) => !page.strangers.has(symbol));
    const key = symbols.join(" ");
    if (key === page.followed) { return; }
    if (page.subscription) { page.subscription.close(); }
    page.followed = key;
    page.subscription = symbols.length === 0 ? null : window.tickstream.subscribe(
      {channel: "bars", symbols, interval: "1m", snapshot: SNAPSHOT},
      {snapshot: onSnapshot, update: onUpdate, error: onError});
  }

  /* Bars behind the roll-up are in it, unless the snapshot tells what was missed. */
  function onSnapshot(message) {
    const standing = page && page.rows.get(message.symbol);
    if (!standing) { return; }
    for (const bar of message.data) {
      if (standing.take(bar) === "ask" && message.mode !== "fresh") { ask(message.symbol); }
    }
    touch(message.symbol, null);
  }

  function onUpdate(message) {
    const standing = page && page.rows.get(message.symbol);
    if (!standing) { return; }
    const said = standing.take(message.data);
    if (said === "ask") { ask(message.symbol); }
    if (said === "moved") { touch(message.symbol, message); }
  }

  /* Of several symbols all or none are taken: without those that the API does not know, the others go on. */
  function onError(message) {
    if (page === null) { return; }
    page.note = `Live updates: ${message.message}`;
    describe();
    if (message.code === "unknown_symbol" && Array.isArray(message.symbols)) {
      message.symbols.forEach((symbol) => page.strangers.add(symbol));
      followLive(page.followed.split(" "));
    }
  }

  function touch(symbol, message) {
    page.dirty.set(symbol, message ?? page.dirty.get(symbol) ?? null);
    flushSoon();
  }

  function flushSoon() {
    if (page.flushing === null) { page.flushing = setTimeout(flush, document.hidden ? 1000 : FLUSH_MS); }
  }

  /* The rows that moved, in one transaction. */
  function flush() {
    if (page === null) { return; }
    page.flushing = null;
    if (page.grid === null) { return; }
    const [add, update, messages] = [[], [], []];
    for (const [symbol, message] of page.dirty) {
      const before = page.shown.get(symbol);
      const row = page.rows.get(symbol).shown();
      row.moved = before ? Math.sign(row.price - before.price) || before.moved : 0;
      page.shown.set(symbol, row);
      (before ? update : add).push(row);
      if (message) { messages.push(message); }
    }
    page.dirty.clear();
    page.heatDue = true;
    if (page.grid.isDestroyed()) { return; }  // the visit has just ended
    page.grid.applyTransactionAsync({add, update}, () => messages.forEach(window.tickstream.painted));
    if (add.length) { describe(); }
  }

  /* The grid ----------------------------------------------------------------------------------------------------------- */

  function attach(grid) {
    page.grid = grid;
    page.columns = grid.getColumnState().map(({colId, width, flex}) => ({colId, width, flex}));
    fit();
    grid.addEventListener("rowClicked", (event) => { if (plain(event.event)) { openChart(event.data.symbol); } });
    grid.addEventListener("cellKeyDown", (event) => { if (event.event.key === "Enter") { openChart(event.data.symbol); } });
    grid.addEventListener("sortChanged", () => { keepInUrl(); });
    grid.addEventListener("modelUpdated", () => describe());
    restoreFromUrl();
    flushSoon();
  }

  const plain = (event) => event && !event.ctrlKey && !event.metaKey && event.button === 0;
  const chartPath = (symbol) => `/?symbol=${encodeURIComponent(symbol)}`;

  /* As a link of Dash does it: another page without loading anything again. */
  function openChart(symbol) {
    window.history.pushState({}, "", chartPath(symbol));
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  }

  /* The columns that matter, by the width there is. */
  function fit() {
    if (!page || !page.grid || left()) { return; }
    const width = window.innerWidth;
    const hidden = width < 768 ? NARROW : width < 1200 ? MIDDLE : [];
    page.grid.setColumnsVisible(NARROW, true);
    page.grid.setColumnsVisible(hidden, false);
    page.grid.applyColumnState({state: width < 768 ? narrowColumns(byId("market-grid").clientWidth) : page.columns});
  }

  /* The columns of a phone share its width. */
  function narrowColumns(room) {
    const sum = Object.values(PHONE).reduce((one, other) => one + other, 0);
    return Object.entries(PHONE).map(([colId, width]) => ({colId, flex: null, width: Math.floor((room - 4) * width / sum)}));
  }

  function onInput(event) {
    if (event.target.id !== "market-search" || !page || !page.grid || left()) { return; }
    page.grid.setGridOption("quickFilterText", event.target.value);
    keepInUrl();
  }

  function keepInUrl() {
    const sorted = page.grid.getColumnState().find((column) => column.sort);
    const search = byId("market-search").value.trim();
    const query = new URLSearchParams();
    if (search) { query.set("q", search); }
    if (sorted && !(sorted.colId === "symbol" && sorted.sort === "asc")) { query.set("sort", `${sorted.colId}:${sorted.sort}`); }
    const text = query.toString();
    window.history.replaceState(window.history.state, "", `/market${text ? `?${text}` : ""}`);
  }

  function restoreFromUrl() {
    const query = new URLSearchParams(window.location.search);
    const [colId, sort] = (query.get("sort") ?? "").split(":");
    if (colId && page.grid.getColumn(colId)) {
      page.grid.applyColumnState({state: [{colId, sort: sort === "desc" ? "desc" : "asc"}], defaultState: {sort: null}});
    }
    page.grid.setGridOption("quickFilterText", byId("market-search").value);
  }

  /* What is said about it ------------------------------------------------------------------------------------------------ */

  const serverUs = () => window.tickstream.nowUs() + (page ? page.offsetUs : 0);

  function everySecond(own) {
    if (own !== page) { return; }
    if (left()) { end(); return; }
    if (page.grid) { page.grid.refreshCells({columns: ["age"]}); }
    describe();
    const waited = performance.now() - page.loadedAt;
    if (waited > (page.rows.size === 0 ? EMPTY_RELOAD_MS : page.beyond > 0 ? REST_RELOAD_MS : FULL_RELOAD_MS)) { reload(); }
  }

  function end() {
    page.timers.forEach(clearInterval);
    if (page.subscription) { page.subscription.close(); }
    clearTimeout(page.flushing);
    clearTimeout(page.asking);
    page = null;
  }

  function describe() {
    if (!page || !byId("market-summary")) { return; }
    const rows = [...page.shown.values()];
    show("market-summary", rows.length ? summary(rows) : "");
    show("market-notice", notice(rows));
    byId("market-page").dataset.state = rows.length ? "filled" : page.rows.size ? "filling" : "empty";
  }

  function show(id, text) {
    const element = byId(id);
    if (element.textContent !== text) { element.textContent = text; }
    element.hidden = text === "";
  }

  function summary(rows) {
    const count = (test) => rows.filter(test).length;
    const matching = page.grid && !page.grid.isDestroyed() ? page.grid.getDisplayedRowCount() : rows.length;
    const notional = rows.reduce((sum, row) => sum + row.notional, 0);
    const named = rows.length === 1 ? "1 symbol" : `${rows.length.toLocaleString("en-US")} symbols`;
    const parts = [matching < rows.length ? `${matching} of ${named} match` : named,
                   `${count((row) => row.change > 0)} up`, `${count((row) => row.change < 0)} down`,
                   `notional ${model().format.short(notional)}`];
    return parts.join(" · ");
  }

  function notice(rows) {
    if (page.rows.size === 0) {
      return "No symbol has been seen yet. As soon as a feed runs, its symbols appear here by themselves.";
    }
    const newest = Math.max(...rows.map((row) => row.price_us ?? 0));
    const silent = (serverUs() - newest) / 1e6;
    const parts = [];
    if (rows.length && newest === 0) { parts.push("No symbol has a trade in its session yet."); }
    if (newest > 0 && silent > page.staleAfter) {
      const at = new Date(newest / 1000).toISOString().slice(0, 19).replace("T", " ");
      parts.push(`No symbol has traded for ${model().format.age(silent)}: the last trade was at ${at} UTC.`);
    }
    if (page.redis === false) { parts.push("Redis does not answer: rows are of stored bars, about a minute behind."); }
    if (page.beyond > 0) { parts.push(`${page.beyond} symbols with the least notional are refreshed every 20 s, the others live.`); }
    if (page.truncated) { parts.push("There are more symbols than the 1,000 shown."); }
    if (page.note) { parts.push(page.note); }
    return parts.join(" ");
  }

  /* The heat map ------------------------------------------------------------------------------------------------------------ */

  /* New colours and texts for the tiles that pages/market.py made, at most every two seconds; sizes once a minute. */
  function drawHeat(own) {
    const now = performance.now();
    if (own !== page || !page.heatDue || document.hidden || now - page.heatAt < HEAT_MS) { return; }
    const plot = document.querySelector("#market-heat .js-plotly-plot");
    if (!plot || !plot.data || !plot.data[0] || !window.Plotly) { return; }
    page.heatDue = false;
    page.heatAt = now;
    const trace = plot.data[0];
    const tiles = trace.labels.map((symbol, place) => tileOf(symbol, trace.customdata[place]));
    const changes = {"marker.colors": [tiles.map((tile) => tile[0])], customdata: [tiles]};
    if (now - page.sizesAt > SIZES_MS) {
      if (page.sizesAt > 0) { changes.values = [tiles.map((tile) => tile[3])]; }
      page.sizesAt = now;
    }
    window.Plotly.restyle(plot, changes, [0]);
  }

  function tileOf(symbol, held) {
    const row = page.shown.get(symbol);
    if (!row || row.change_percent === null) { return held; }
    const since = row.since === "open" ? "since the session's open" : "since the prior close";
    return [row.change_percent, since, model().format.price(row.price, row.decimals), row.notional];
  }

  /* A click on a tile opens its chart. */
  function onTile(event) {
    const point = event && event.points && event.points[0];
    if (point && point.label) { openChart(point.label); }
  }

  window.dash_clientside = Object.assign(window.dash_clientside || {}, {market: {load, onTile}});
  window.tickstream = Object.assign(window.tickstream || {}, {
    market: {serverUs, chartPath, staleAfter: () => (page ? page.staleAfter : 60),
             rows: () => (page ? [...page.rows.values()].map((row) => ({symbol: row.symbol, ...row.exact()})) : [])},
  });
  document.addEventListener("input", onInput);
  window.addEventListener("resize", fit);
})();

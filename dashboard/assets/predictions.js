"use strict";
/* The predictions page in the browser: rows of the grid as the API had them (callback of pages/predictions.py), then
   every prediction off the socket, and the line that says how things stand. */
(() => {
  const JUDGE_MS = 60000;      // a bar's outcomes come about as often
  const EMPTY_MS = 15000;
  const SILENT_BARS = 3;       // so many bars without a prediction, and it is silent
  const WIDE = ["volatility", "outcome_us", "end_us", "reason"];  // on a narrow screen grey says it
  const PHONE = [["symbol", 89], ["horizon", 88], ["expected_return", 102], ["rise_probability", 66]]
    .map(([key, minWidth]) => ({key, minWidth}));  // their titles are whole
  const byId = (id) => document.getElementById(id);
  const setProps = (id, props) => window.dash_clientside.set_props(id, props);
  let page = null;             // of the visit; null while another page is shown

  /* Whether the visit is over: another page is shown, or this one anew. */
  const left = () => page.node !== byId("predictions-page");

  /* Pure parts --------------------------------------------------------------------------------------------------- */

  const ABSTAINS = {return: "return", rise: "direction"};

  /* Whether to believe a prediction, in words. */
  function reasonOf(abstains) {
    if (abstains.length === 0) { return "beat its baselines out of sample"; }
    const what = abstains.map((kind) => ABSTAINS[kind] ?? kind).sort().join(" and ");
    return `abstains: did not beat its baselines in ${what}`;
  }

  const complete = (row) => ({...row, id: `${row.symbol}|${row.horizon}`, reason: reasonOf(row.abstains)});

  /* The rows of the grid out of one message of the socket. */
  function rowsOf(said) {
    return said.horizons.map((each) => complete({...each, symbol: said.symbol, model: said.model, end_us: said.end}));
  }

  function ageText(seconds) {
    if (seconds < 120) { return `${Math.max(0, Math.round(seconds))} s`; }
    return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  }

  const utc = (us) => new Date(us / 1000).toISOString().slice(0, 19).replace("T", " ");

  /* How things stand: {state: "empty" | "silent" | "live", text}. */
  function standing(rows, interval, barUs, nowUs) {
    if (rows.length === 0) {
      return {state: "empty", text: `No prediction was made yet after bars of ${interval}. Either the predictor does not run or `
        + "does not follow these bars (TICKSTREAM_ML_INTERVALS), or it has no model yet: the first one needs about 120 bars of "
        + "every symbol. As soon as it says something, it appears here by itself."};
    }
    const end = Math.max(...rows.map((row) => row.end_us));
    const age = (nowUs - end) / 1e6;
    if (age > SILENT_BARS * barUs / 1e6) {
      return {state: "silent", text: `The predictor is silent: its last prediction was made after the bar that ended at ${utc(end)} UTC, `
        + `${ageText(age)} ago. It does not run, or no bar has closed since. Nothing else depends on it.`};
    }
    const newest = rows.filter((row) => row.end_us === end);
    return {state: "live", text: `Said after the bar that ended at ${utc(end).slice(11)} UTC, ${ageText(age)} ago, by model `
      + `${newest[0].model}. ${trustText(newest)}`};
  }

  function trustText(rows) {
    const among = (kind) => rows.filter((row) => row.abstains.includes(kind)).length;
    const [value, rise] = [among("return"), among("rise")];
    if (value === rows.length && rise === rows.length) {
      return "It abstains from everything: out of sample it did not beat its baselines. Its numbers are shown, and scored, all the same.";
    }
    if (value === 0 && rise === 0) { return "Out of sample it beat its baselines on every horizon."; }
    return "Where it did not beat its baselines out of sample it abstains, in grey.";
  }

  const number = (value, digits) => value.toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
  const rounded = (value, digits) => Math.round(value * 10 ** digits);
  const signed = (value, digits) => {
    const sign = Math.sign(rounded(value, digits));
    return `${sign > 0 ? "+" : sign < 0 ? "−" : ""}${number(Math.abs(value), digits)}`;
  };
  const held = (params) => params.value !== null && params.value !== undefined;
  const functions = {
    /* By symbol, and of one symbol the nearest horizon first, whichever way the symbols go. */
    predictionsOrder: (one, other, nodeA, nodeB, descending) => (one !== other ? (one < other ? -1 : 1)
      : (nodeA.data.horizon - nodeB.data.horizon) * (descending ? -1 : 1)),
    predictionsWhole: (params) => (held(params) ? String(params.value) : "–"),
    predictionsPoints: (params) => (!held(params) ? "–"
      : params.column.getColId() === "volatility" ? number(params.value * 1e4, 1) : signed(params.value * 1e4, 1)),
    predictionsPercent: (params) => (held(params) ? `${number(params.value * 100, 1)} %` : "–"),
    predictionsTime: (params) => (held(params) ? utc(params.value).slice(11) : "–"),
    predictionsExact: (params) => (!held(params) ? "not known" : params.value > 1e12 ? `${utc(params.value)} UTC` : String(params.value)),
  };

  globalThis.tickstreamPredictions = {rowsOf, complete, standing, reasonOf, functions};
  if (typeof document === "undefined") { return; }

  /* The visit ------------------------------------------------------------------------------------------------------ */

  /* A callback: what the API knows; the socket's are newer. */
  function load(data) {
    if (!data || !byId("predictions-page")) { return; }
    if (data.problem) { describe({state: "refused", text: data.problem}); return; }
    if (page !== null && (left() || page.interval !== data.interval)) { end(); }
    if (page === null) { begin(data); }
    page.offsetUs = data.now_us - window.tickstream.nowUs();
    data.rows.forEach((row) => take(complete(row)));
    forget(new Set(data.rows.map((row) => row.horizon)));
    follow(data.followed);
    page.beyond = data.beyond;
    flush();
    describe();
  }

  function begin(data) {
    page = {node: byId("predictions-page"), interval: data.interval, barUs: data.bar_us, rows: new Map(),
            shown: new Set(), grid: null, columns: [], subscription: null, followed: "", offsetUs: 0, judgedAt: performance.now(),
            loadedAt: performance.now(), beyond: 0, strangers: new Set(), note: "", timer: null, fitted: false};
    const own = page;
    own.timer = setInterval(() => everySecond(own), 1000);
    window.dash_ag_grid.getApiAsync("predictions-grid").then((grid) => { if (own === page && !left()) { attach(grid); } });
  }

  function take(row) {
    const known = page.rows.get(row.id);
    if (known && known.end_us > row.end_us) { return; }
    page.rows.set(row.id, row);
  }

  /* Horizons that no model has any more. */
  function forget(horizons) {
    if (horizons.size === 0) { return; }
    for (const [id, row] of page.rows) { if (!horizons.has(row.horizon)) { page.rows.delete(id); } }
  }

  function follow(asked) {
    const symbols = asked.filter((symbol) => !page.strangers.has(symbol));
    const key = symbols.join(" ");
    if (key === page.followed) { return; }
    if (page.subscription) { page.subscription.close(); }
    page.followed = key;
    page.subscription = symbols.length === 0 ? null : window.tickstream.subscribe(
      {channel: "predictions", symbols, snapshot: 1}, {snapshot: onSnapshot, update: onUpdate, error: onError});
  }

  function onSnapshot(message) { message.data.forEach(hear); }
  function onUpdate(message) { hear(message.data); }

  function hear(said) {
    if (page === null || said.interval !== page.interval) { return; }
    rowsOf(said).forEach(take);
    flush();
    describe();
  }

  function onError(message) {
    if (page === null) { return; }
    page.note = `Live updates: ${message.message}`;
    if (message.code === "unknown_symbol" && Array.isArray(message.symbols)) {
      message.symbols.forEach((symbol) => page.strangers.add(symbol));
      follow(page.followed.split(" "));
    }
    describe();
  }

  function flush() {
    if (page === null || page.grid === null || page.grid.isDestroyed()) { return; }
    const [add, update] = [[], []];
    for (const row of page.rows.values()) { (page.shown.has(row.id) ? update : add).push(row); }
    const remove = [...page.shown].filter((id) => !page.rows.has(id)).map((id) => ({id}));
    page.shown = new Set(page.rows.keys());
    page.grid.applyTransaction({add, update, remove});
  }

  function attach(grid) {
    page.grid = grid;
    page.columns = grid.getColumnState().map(({colId, width, flex}) => ({colId, width, flex}));
    grid.setGridOption("rowData", []);  // of an interval before
    page.shown = new Set();
    page.fitted = false;
    fit();
    flush();
  }

  function fit() {
    if (!page || !page.grid || page.grid.isDestroyed() || !byId("predictions-grid")?.clientWidth) { return; }
    page.fitted = true;
    const narrow = window.innerWidth < 768;
    page.grid.setColumnsVisible(WIDE, !narrow);
    if (narrow) { page.grid.sizeColumnsToFit({columnLimits: PHONE}); } else { page.grid.applyColumnState({state: page.columns}); }
  }

  function everySecond(own) {
    if (own !== page) { return; }
    if (left()) { end(); return; }
    describe();
    const now = performance.now();
    if (now - page.judgedAt > JUDGE_MS) {
      page.judgedAt = now;
      setProps("predictions-reload", {data: {at: Date.now()}});
    }
    if (page.rows.size === 0 && now - page.loadedAt > EMPTY_MS) {  // a symbol more, perhaps
      page.loadedAt = now;
      setProps("predictions-interval", {value: page.interval});
    }
  }

  function end() {
    clearInterval(page.timer);
    if (page.subscription) { page.subscription.close(); }
    page = null;
  }

  function describe(said) {
    const element = byId("predictions-notice");
    if (!element) { return; }
    const found = said ?? standing([...page.rows.values()], page.interval, page.barUs, window.tickstream.nowUs() + page.offsetUs);
    const beyond = page && page.beyond ? ` ${page.beyond} symbols are not followed live.` : "";
    const text = `${found.text}${beyond}${page && page.note ? ` ${page.note}` : ""}`;
    if (element.textContent !== text) { element.textContent = text; }
    byId("predictions-page").dataset.state = found.state;
    if (page && !page.fitted) { fit(); }  // without rows the grid is not shown
  }

  /* A callback: the interval is in the URL. */
  function chosen(interval) {
    if (!byId("predictions-page") || !interval || window.location.pathname !== "/predictions") { return; }
    const query = interval === "1m" ? "" : `?interval=${encodeURIComponent(interval)}`;
    if (window.location.search !== query) { window.history.replaceState(window.history.state, "", `/predictions${query}`); }
  }

  /* A link into the chart, which opens without loading anything again. */
  function PredictionsSymbol({value}) {
    const href = `/?symbol=${encodeURIComponent(value)}`;
    const open = (event) => {
      if (event.ctrlKey || event.metaKey || event.button !== 0) { return; }
      event.preventDefault();
      window.history.pushState({}, "", href);
      window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    };
    return window.React.createElement("a", {href, className: "predictions-symbol", tabIndex: -1, onClick: open}, value);
  }

  window.dash_clientside = Object.assign(window.dash_clientside || {}, {predictions: {load, chosen}});
  window.dashAgGridFunctions = Object.assign(window.dashAgGridFunctions || {}, functions);
  window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions || {}, {PredictionsSymbol});
  window.addEventListener("resize", fit);
})();

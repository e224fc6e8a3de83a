"use strict";
/* The pipeline page: paints what is pushed every two seconds, and times the last stages in this browser. What it
   remembers is in pipeline_series.js. A trace's `meta` names the series that it shows. */
(() => {
  const STALE_MS = 6e3;
  const GRAPHS = ["latency", "throughput", "watermark", "readers"];
  const SERVER_STAGES = ["received", "processed", "relayed"];
  const BROWSER_STAGES = ["sent", "browser", "painted"];
  const QUANTILES = ["p50", "p95", "p99"];
  const FLOOR_MS = 0.1;           // where the logarithmic axis begins
  const WORDS = {ok: "well", idle: "idle", warn: "look", bad: "broken", unknown: "not known"};
  const SVG = "http://www.w3.org/2000/svg";

  let series = null;              // globalThis.tickstreamPipeline, which is loaded after this file
  let lines = null;
  let rates = null;
  let stages = {};
  let pushedAt = 0;
  let shownAt = 0;
  let scrolled = null;
  let subscription = null;
  let following = null;
  let timer = null;

  const byId = (name) => document.getElementById(`pipeline-${name}`);
  const shown = () => byId("page") !== null;

  function put(node, text) {
    if (node && node.textContent !== text) { node.textContent = text; }
  }

  function mark(node, state) {
    if (node && node.dataset.state !== state) { node.dataset.state = state; }
  }

  /* Latency ------------------------------------------------------------------------------------------------------- */

  function measured(view) {
    const own = window.tickstream.latency();
    const found = {...view.stages, total: own};
    for (const name of BROWSER_STAGES) { found[name] = own.stages[name]; }
    return found;
  }

  function paintStage(name, stage) {
    const where = name === "received" ? "final bars" : SERVER_STAGES.includes(name) ? "rows" : "updates";
    put(byId(`p50-${name}`), series.millis(stage.p50));
    put(byId(`tail-${name}`), `p95 ${series.millis(stage.p95)}\np99 ${series.millis(stage.p99)}`);
    put(byId(`count-${name}`), stage.count ? `of ${stage.count.toLocaleString("en")} ${where}` : `no ${where} yet`);
    sparkline(byId(`spark-${name}`), lines.get(`stage.${name}.p95`));
  }

  function sparkline(node, line) {
    if (!node || !line.at.length) { return; }
    if (!node.firstChild) { node.append(emptySpark()); }
    node.firstChild.firstChild.setAttribute("d", series.path(line));
  }

  function emptySpark() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 100 26");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    svg.append(document.createElementNS(SVG, "path"));
    return svg;
  }

  /* Figures ------------------------------------------------------------------------------------------------------- */

  const plotOf = (name) => document.querySelector(`#pipeline-${name} .js-plotly-plot`);

  function refill() {
    if (!shown() || document.hidden || !window.Plotly || lines === null) { return; }
    for (const name of GRAPHS) { redraw(plotOf(name)); }
    redrawStages(plotOf("stages"));
  }

  /* Whether it has been drawn, and is on the screen or within a screen of it: drawing is most of what a push costs. */
  function near(plot) {
    if (!plot || !plot.data || !plot.data.length) { return false; }
    const {top, bottom} = plot.getBoundingClientRect();
    return top < 2 * window.innerHeight && bottom > -window.innerHeight;
  }

  function redraw(plot) {
    if (!near(plot)) { return; }
    const found = plot.data.map((trace) => lines.get(trace.meta));
    if (found.every((line) => line.at.length === 0)) { return; }
    window.Plotly.restyle(plot, {x: found.map((line) => line.at.map(utc)), y: found.map((line) => line.value.slice())},
      found.map((_, place) => place));
  }

  /* Text: a restyle makes Plotly guess the axis anew, and numbers would be no dates to it. */
  const utc = (ms) => new Date(ms).toISOString().slice(0, 23);

  function redrawStages(plot) {
    if (!near(plot)) { return; }
    const names = [...SERVER_STAGES, ...BROWSER_STAGES, "total"];
    const exact = plot.data.map((trace) => names.map((name) => (stages[name] || {})[trace.meta] ?? null));
    const drawn = exact.map((row) => row.map((value) => (value === null ? null : Math.max(FLOOR_MS, value))));
    const most = Math.max(1, ...exact.flat().map((value) => value ?? 0));
    const range = [-1.05, Math.max(3.1, Math.log10(most) + 0.1)];
    window.Plotly.update(plot, {x: drawn, customdata: exact}, {"xaxis.range": range}, exact.map((_, place) => place));
  }

  /* Words --------------------------------------------------------------------------------------------------------- */

  function paintStrip(view) {
    const {state, title} = view.overall;
    mark(byId("strip"), state);
    put(byId("word"), WORDS[state]);
    put(byId("title"), title);
    put(byId("as-of"), `as of ${view.at} UTC`);
    const parts = byId("parts");
    keep(parts, view.parts.length, partNode);
    view.parts.forEach((part, place) => paintPart(parts.children[place], part));
  }

  function partNode() {
    const node = element("div", "pl-part");
    node.append(element("b"), element("span", "pl-badge"), element("div"));
    return node;
  }

  function paintPart(node, part) {
    mark(node, part.state);
    put(node.children[0], part.name);
    put(node.children[1], WORDS[part.state]);
    put(node.children[2], part.text);
  }

  function paintTile(name, tile, value) {
    mark(byId(`tile-${name}`), tile.state);
    put(byId(`value-${name}`), value);
    put(byId(`note-${name}`), tile.note);
  }

  const row = (names) => () => {
    const node = element("div", "pl-row");
    names.forEach((name) => node.append(element("span", `pl-${name}`)));
    return node;
  };

  function paintList(name, rows, make, texts, empty) {
    const list = byId(`list-${name}`);
    if (!list) { return; }
    if (!rows.length) { put(list, empty); return; }
    if (list.childElementCount === 0) { list.textContent = ""; }
    keep(list, rows.length, make);
    rows.forEach((each, place) => {
      mark(list.children[place], each.state || "ok");
      texts(each).forEach((text, column) => put(list.children[place].children[column], text));
    });
  }

  function paintLists(view) {
    const full = row(["name", "badge", "text", "aside", "what"]);
    const states = (each) => [each.name, each.word, each.text, each.aside, each.title];
    paintList("queries", view.queries, full, states, "The API could not say.");
    paintList("stores", view.stores, full, states, "The API could not say.");
    paintList("topics", view.topics, row(["name", "aside", "aside"]),
      (each) => [each.name, each.records, each.newest || "none yet"], "Kafka does not answer.");
    paintList("letters", view.letters, row(["aside", "name", "text", "what"]),
      (each) => [`${each.date} ${each.at}`, each.symbol, each.reason, each.title],
      view.tiles.dead.state === "unknown" ? "They could not be read." : "No record was refused.");
  }

  function keep(parent, count, make) {
    while (parent.childElementCount < count) { parent.append(make()); }
    while (parent.childElementCount > count) { parent.lastElementChild.remove(); }
  }

  function element(name, className) {
    const node = document.createElement(name);
    if (className) { node.className = className; }
    return node;
  }

  /* Pushes -------------------------------------------------------------------------------------------------------- */

  function take(data) {
    if (!shown()) { leave(); return; }
    const view = data.view;
    if (!view) { return; }
    pushedAt = performance.now();
    if (view.blind) { stale(`The API does not answer${shownAt ? "; what follows is older" : ""}`); return; }
    shownAt = view.at_us;
    byId("page").classList.remove("pl-stale");
    stages = measured(view);
    const speed = view.counted_us === null ? {} : rates.take(view.counted_us / 1000, view.counters);
    remember(view, speed);
    paintStrip(view);
    for (const [name, stage] of Object.entries(stages)) { paintStage(name, stage); }
    put(byId("skew"), series.skew(stages.browser));
    for (const [name, tile] of Object.entries(view.tiles)) {
      const now = name === "ticks" && speed.ticks !== undefined && speed.ticks !== null;
      paintTile(name, tile, now ? series.perSecond(speed.ticks) : tile.value);
    }
    paintLists(view);
    refill();
  }

  function remember(view, speed) {
    const at = view.at_us / 1000;
    for (const [name, value] of Object.entries(view.points)) { lines.extend(name, at, value); }
    for (const [name, value] of Object.entries(speed)) { lines.extend(`rate.${name}`, at, value); }
    for (const [name, stage] of Object.entries(stages)) { lines.extend(`stage.${name}.p95`, at, stage.p95); }
    for (const quantile of QUANTILES) { lines.extend(`total.${quantile}`, at, stages.total[quantile]); }
  }

  /* Nothing new is known: what was known stays, and is said to be old. */
  function stale(title) {
    byId("page").classList.add("pl-stale");
    mark(byId("strip"), "unknown");
    put(byId("word"), WORDS.unknown);
    put(byId("title"), title);
  }

  function watchAge() {
    if (!shown()) { leave(); return; }
    const age = performance.now() - pushedAt;
    if (pushedAt && age > STALE_MS) { stale(`No news for ${Math.round(age / 1000)} s; what follows is older`); }
  }

  /* Coming and going ---------------------------------------------------------------------------------------------- */

  function enter() {
    if (following !== null) { return; }
    series = globalThis.tickstreamPipeline;
    lines = lines || new series.Lines();
    rates = rates || new series.Rates();
    pushedAt = shownAt = 0;
    following = window.tickstream.follow("pipeline", {}, take);
    timer = setInterval(watchAge, 1000);
  }

  function leave() {
    if (following !== null) { following.close(); }
    if (subscription !== null) { subscription.close(); }
    clearInterval(timer);
    following = subscription = timer = null;
  }

  function time(symbol) {
    if (subscription !== null) { subscription.close(); }
    const update = (message) => paintProbe(symbol, message);
    const error = (message) => put(byId("probe"), `${symbol}: ${message.message || message.code}`);
    subscription = window.tickstream.subscribe({channel: "bars", symbols: [symbol], snapshot: 1}, {update, error});
  }

  function paintProbe(symbol, message) {
    const node = byId("probe");
    if (!node) { leave(); return; }
    const end = new Date(message.data.close_us ? message.data.close_us / 1000 : Date.now()).toISOString().slice(11, 23);
    const {close, trade_count: trades} = message.data;
    put(node, `${symbol} ${close ?? ""} at ${end} UTC (${message.state}, ${trades} trades)`);
    window.tickstream.painted(message);
  }

  document.addEventListener("scroll", () => {
    clearTimeout(scrolled);
    scrolled = setTimeout(refill, 120);
  }, {passive: true});

  window.dash_clientside = Object.assign(window.dash_clientside || {}, {pipeline: {
    watch: (symbol) => {
      leave();
      enter();
      if (symbol) { time(symbol); }
      return window.dash_clientside.no_update;
    },
    refill: () => {
      setTimeout(refill, 60);
      return window.dash_clientside.no_update;
    },
  }});
})();

"use strict";
/* The chart page: shows what the server's callback brought, and follows the push.

   `page` is what the parts share: this file, chart_asked.js (lines that are not pushed), chart_keys.js, chart_url.js
   (pickers), chart_view.js (what is visible).
   dash_clientside.chart has the callbacks; everything reaches the chart through set_props. */
(() => {
  const TOGETHER_MS = 2;       // a bar and its indicators come right after one another
  const MOST_MESSAGES = 1000;
  const TITLE_MS = 1000;
  const LEAST_RETRY_MS = 1000;
  const FILLED_MS = 5;         // between two looks whether the chart has its bars

  const set = (id, props) => window.dash_clientside.set_props(id, props);
  const kit = window.tickstreamChart = window.tickstreamChart || {};
  const element = (id) => document.getElementById(id);
  const node = () => element("chart") || element("chart-plotly");
  const theme = () => (document.documentElement.dataset.bsTheme === "dark" ? "dark" : "light");

  const page = kit.page = {
    shown: null,      // {payload, model, names, more, node, subscriptions} of the chart on screen
    styles: null,     // of both themes
    groups: [],       // of lines that are on
    requested: {},    // symbol, interval and range that were asked for last
    nonce: 0,         // makes a store's data differ
    set, element, node, theme, askAgain, fill, hint, legend, restyle, soon,
  };
  let hovered = null;    // time under the pointer
  let messages = [];     // handed to the chart with the next write
  let timer = null;
  let unpainted = false;
  let titled = 0;
  let fills = 0;         // of the chart's series; the component says of which one its options are

  /* Loading -------------------------------------------------------------------------------------------------------- */

  function load(payload, given) {
    page.styles = given || page.styles;
    if (!payload) { return; }
    if (payload.retry) { tryAgain(payload.retry); return; }
    hint(null);
    notice(payload.problem || null);
    if (payload.problem) { clear(); } else if (repeats(payload)) { renew(payload); } else { adopt(payload); }
  }

  function tryAgain(seconds) {
    if (!page.shown) { notice("The API does not answer. Trying again …"); }
    setTimeout(askAgain, Math.max(LEAST_RETRY_MS, seconds * 1000));
  }

  /* Whether this is the chart that is on screen, read again after the API was away. */
  function repeats(payload) {
    const {shown} = page;
    return shown !== null && shown.node === node() && !payload.figure && !shown.payload.figure
      && payload.symbol === shown.names.symbol && payload.interval === shown.names.interval
      && payload.asked.range === shown.payload.asked.range;
  }

  function renew(payload) {
    const following = kit.view.atNow();
    page.shown.model.merge(payload);
    Object.assign(page.shown.payload, {unpushed: payload.unpushed});
    fill();
    kit.asked.check();
    if (following) { kit.view.goToNow(); }
    legend();
  }

  function adopt(payload) {
    forget();
    const names = {symbol: payload.symbol, interval: payload.interval};
    const model = new kit.Model(payload);
    page.shown = {payload, names, model, more: payload.more, node: node(), subscriptions: []};
    page.requested = {...names, range: payload.asked.range};
    hovered = null;
    kit.view.begin();
    model.choose(page.styles[theme()], page.groups);
    if (payload.figure) { kit.plotly.draw(payload.figure); } else { drawFirst(); }
    kit.url.choose(payload.symbol);
    subscribe();
    kit.asked.check();
    emptiness();
    legend();
  }

  /* Nothing to show. */
  function clear() {
    forget();
    kit.legend.show();
    set("chart", {chartOptions: apart(), series: []});
  }

  function drawFirst() {
    const {model, payload} = page.shown;
    const visibleLogicalRange = kit.view.first(model.rows.length, payload.visible);
    fill({visibleLogicalRange});
    requestAnimationFrame(() => kit.legend.watch());
  }

  /* The options of the theme, with no bars shown together. */
  function apart() {
    const {options} = page.styles[theme()];
    return {...options, fills, timeScale: {...options.timeScale, enableConflation: false}};
  }

  /* All series, filled again. Meanwhile no bars are shown together: of series that it has not filled yet the library makes
     pictures from what it had put together, and throws where that has moved. */
  function fill(more = {}) {
    const series = page.shown.model.series(page.styles[theme()], page.groups);
    fills += 1;
    set("chart", {chartOptions: apart(), series, paneOptions: page.styles.panes, ...more});
    setTimeout(together, 0, page.shown, fills);
  }

  /* Bars are shown together again once the component says that it has filled its series. */
  function together(own, number) {
    if (own !== page.shown || own.node !== node() || number !== fills) { return; }
    const {fullChartOptions} = window.dash_component_api.getLayout("chart").props;
    if (fullChartOptions?.fills !== number) { setTimeout(together, FILLED_MS, own, number); return; }
    // These options alone: with the others comes the offset at the right, and the chart would go to now.
    const timeScale = {enableConflation: true, conflationThresholdFactor: own.model.merging};
    set("chart", {chartOptions: {fills, timeScale}});
  }

  /* The same bars in the colours of now, with the lines of now. */
  function restyle() {
    if (!page.shown || !page.styles || !element("chart-page")) { return; }
    if (page.shown.payload.figure) { askAgain(); return; }
    fill();
    kit.asked.check();
    legend();
  }

  function forget() {
    if (!page.shown) { return; }
    page.shown.subscriptions.forEach((each) => each.close());
    page.shown = null;
    messages = [];
    kit.asked.check();
    kit.plotly.stop();
  }

  /* What the URL says, from the server. */
  function askAgain() {
    if (!element("chart-page")) { return; }
    if (page.shown) { hint("loading …"); }
    const {symbol, interval, range, overlays, engine} = kit.url.read();
    page.requested = {symbol, interval, range};
    set("chart-asked", {data: {...page.requested, overlays, engine, theme: theme(), nonce: ++page.nonce}});
  }

  /* The push ------------------------------------------------------------------------------------------------------- */

  function subscribe() {
    const own = page.shown;
    const {symbol, interval} = own.names;
    const takers = {bars: (data) => own.model.bar(data), indicators: (data) => own.model.indicators(data)};
    for (const [channel, taker] of Object.entries(takers)) {
      const take = (message, data) => {
        if (own === page.shown && taker(data)) { queue(message); }
      };
      own.subscriptions.push(window.tickstream.subscribe({channel, symbols: [symbol], interval, snapshot: 5}, {
        snapshot: (message) => message.data.forEach((data) => take(message, data)),
        update: (message) => take(message, message.data),
      }));
    }
  }

  function queue(message) {
    if (!document.hidden && messages.length < MOST_MESSAGES) { messages.push(message); }
    soon();
  }

  function soon() {
    if (timer === null && !unpainted) { timer = setTimeout(flush, TOGETHER_MS); }
  }

  /* One write for all that came since the last frame. */
  function flush() {
    timer = null;
    if (!page.shown) { return; }
    if (page.shown.node !== node()) { forget(); return; }  // left, or come back to: that chart has no series yet
    const handed = messages;
    messages = [];
    if (page.shown.payload.figure) { kit.plotly.update(page.shown.model); } else { write(); }
    handed.filter((message) => message.type === "update").forEach((message) => window.tickstream.painted(message));
    if (hovered === null || !page.shown.model.places.has(hovered)) { legend(); }
    entitle();
    emptiness();
    awaitFrame();
  }

  function awaitFrame() {
    unpainted = true;
    requestAnimationFrame(() => {
      unpainted = false;
      if (messages.length && timer === null) { flush(); }
    });
  }

  function write() {
    const {model} = page.shown;
    const {marked} = model;
    const tick = model.ticks();
    if (tick === null) { fill(); return; }
    if (marked) { set("chart", {tick, series: model.remarked(page.styles[theme()])}); return; }
    if (tick.length) { set("chart", {tick}); }
  }

  /* Words ---------------------------------------------------------------------------------------------------------- */

  function legend() {
    if (!page.shown) { return; }
    const {model, names} = page.shown;
    const place = model.places.get(hovered);
    kit.legend.show(model, place === undefined ? model.last : model.rows[place], names);
  }

  function pointed(crosshair) {
    const time = crosshair && crosshair.time !== null ? crosshair.time : null;
    if (time === hovered) { return; }
    hovered = time;
    legend();
  }

  function say(id, text) {
    const node = element(id);
    if (!node) { return; }
    node.hidden = text === null;
    if (text !== null) { node.textContent = text; }
  }

  function hint(text) { say("chart-hint", text); }

  function notice(text) { say("chart-notice", text); }

  function emptiness() {
    const {model, names} = page.shown;
    notice(model.rows.length ? null : `No ${names.interval} bars of ${names.symbol} yet. The first trade starts one.`);
  }

  function entitle() {
    const {model, names} = page.shown;
    const now = performance.now();
    if (!model.last || model.last.close === null || now - titled < TITLE_MS) { return; }
    titled = now;
    window.tickstream.title(`${names.symbol} ${model.last.close.toFixed(model.decimals)}`, "/");
  }

  /* A callback without an output of its own. */
  const quiet = (handler) => (...values) => { handler(...values); return window.dash_clientside.no_update; };
  window.dash_clientside = Object.assign(window.dash_clientside || {}, {
    chart: {
      load: quiet(load),
      pointed: quiet(pointed),
      older: quiet((payload) => kit.view.older(payload)),
      ranged: quiet((range) => kit.view.ranged(range)),
      picked: quiet((...values) => kit.url.picked(...values)),
      visited: quiet(() => kit.url.visited()),
      recovered: quiet((state) => { if (state) { askAgain(); } }),
    },
  });
  document.addEventListener("tickstream:theme", restyle);
  Object.assign(kit, {shown: () => page.shown, visible: () => kit.view.range(), style: () => page.styles[theme()]});
})();

"use strict";
/* What of the bars is visible: moving, zooming, going to now, older bars at the left edge.

   A range is {from, to} in bars from the first one that is loaded, fractions included, as the library has it. */
(() => {
  const RIGHT = 3;             // bars of room at the right edge
  const EDGE = 40;             // bars from the left edge at which older ones are asked for
  const STILL_MS = 150;        // without a report: what was reported is what is visible
  const LEAST_BARS = 5;
  const FIRST_BARS = 10;

  const kit = window.tickstreamChart;
  const {page} = kit;

  let range = null;            // as it was last reported, or set
  let reportedAt = 0;
  let moved = false;           // by somebody's hand
  let loadingOlder = false;
  let writes = 0;

  function begin() {
    moved = false;
    loadingOlder = false;
  }

  /* The newest `visible` of `count` bars. */
  function first(count, visible) {
    const last = count - 1;
    return apart({from: last - Math.max(FIRST_BARS, visible), to: last + RIGHT});
  }

  /* A range that the component does not take for the echo of one of its own reports. */
  function apart(wanted) {
    writes += 1;
    range = {from: wanted.from + writes * 1e-7, to: wanted.to};
    return range;
  }

  function ranged(reported) {
    if (!page.shown || !reported) { return; }
    range = reported;
    reportedAt = performance.now();
    const now = page.element("chart-now");
    if (now) { now.hidden = atNow(); }
    if (moved && range.from < EDGE) { askOlder(); }
    if (!loadingOlder) { page.hint(moved && !page.shown.more && range.from < 1 ? "start of history" : null); }
  }

  const atNow = () => !page.shown || !range || range.to >= page.shown.model.rows.length - 1;

  function askOlder() {
    const {model, names, more, payload} = page.shown;
    if (loadingOlder || !more || !model.rows.length || payload.figure) { return; }
    loadingOlder = true;
    page.hint("loading older bars …");
    page.set("chart-older-asked", {data: {...names, before: model.rows[0].time, nonce: ++page.nonce}});
  }

  const ours = (payload) => page.shown && payload && payload.symbol === page.shown.names.symbol
    && payload.interval === page.shown.names.interval;

  /* Older bars have come. In front of the others they shift all numbers, so the range must be the one of now. */
  function older(payload) {
    if (!ours(payload)) { loadingOlder = false; return; }
    if (payload.retry) { setTimeout(askOlderAgain, payload.retry * 1000); return; }
    if (performance.now() - reportedAt < STILL_MS) { setTimeout(older, STILL_MS / 2, payload); return; }
    loadingOlder = false;
    page.hint(null);
    const count = payload.problem ? 0 : page.shown.model.prepend(payload);
    page.shown.more = payload.more && count > 0;
    if (!count) { return; }
    const {from, to} = range;
    page.fill({visibleLogicalRange: apart({from: from + count, to: to + count})});
  }

  function askOlderAgain() {
    loadingOlder = false;
    page.hint(null);
    if (page.shown) { ranged(range); }
  }

  function move(wanted) {
    if (!page.shown || page.shown.payload.figure) { return; }
    page.set("chart", {visibleLogicalRange: apart(wanted)});
    ranged(range);
  }

  function goToNow() {
    if (!page.shown || !range) { return; }
    const to = page.shown.model.rows.length - 1 + RIGHT;
    move({from: to - (range.to - range.from), to});
  }

  /* By a share of what is visible; to the right if it is positive. */
  function pan(share) {
    if (!range) { return; }
    const by = (range.to - range.from) * share;
    move({from: range.from + by, to: range.to + by});
  }

  /* About the right edge while it shows now, else about the middle. */
  function zoom(factor) {
    if (!range) { return; }
    const width = Math.max(LEAST_BARS, (range.to - range.from) * factor);
    const middle = (range.from + range.to) / 2;
    move(atNow() ? {from: range.to - width, to: range.to} : {from: middle - width / 2, to: middle + width / 2});
  }

  document.addEventListener("click", (event) => { if (event.target.closest("#chart-now")) { goToNow(); } });
  for (const name of ["pointerdown", "wheel", "touchstart", "keydown"]) {
    document.addEventListener(name, () => { moved = true; }, {passive: true, capture: true});
  }
  kit.view = {begin, first, ranged, atNow, older, goToNow, pan, zoom, range: () => range};
})();

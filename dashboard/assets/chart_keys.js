"use strict";
/* The keys of the chart page. */
(() => {
  const INTERVALS = {1: "1m", 5: "5m", f: "15m"};
  const TYPING = "input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable], [role=dialog], [role=listbox]";
  const SEARCH = ".dash-dropdown-search";
  const HELD_MS = 120;
  const PATIENCE_MS = 3000;
  const kit = window.tickstreamChart;
  const {page} = kit;
  let picking = false;

  const KEYS = {
    ArrowLeft: () => kit.view.pan(-0.2),
    ArrowRight: () => kit.view.pan(0.2),
    "+": () => kit.view.zoom(0.8),
    "=": () => kit.view.zoom(0.8),
    "-": () => kit.view.zoom(1.25),
    End: () => kit.view.goToNow(),
    "/": () => { picking = true; },
  };

  /* Whether a key is for something else: a field, or a choice that was reached by keys. */
  function meantElsewhere({target, key}) {
    if (!(target instanceof Element)) { return false; }
    return target.closest(TYPING) !== null || (key.startsWith("Arrow") && target.matches("input:focus-visible"));
  }

  function pressed(event) {
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    if (!page.element("chart-page") || modified || event.defaultPrevented) { return; }
    const interval = INTERVALS[event.key];
    if (meantElsewhere(event) || (!interval && !KEYS[event.key])) { return; }
    event.preventDefault();
    if (interval) { page.set("chart-interval", {value: interval}); } else { KEYS[event.key](); }
  }

  /* Only now: the search field of the picker would take the end of the same stroke for input. */
  function released(event) {
    if (event.key === "/" && picking) {
      picking = false;
      setTimeout(pickSymbol);
    }
  }

  /* Opens the list. That puts the focus on the chosen symbol, some frames later; it belongs into the search field. */
  function pickSymbol() {
    const picker = page.element("chart-symbol");
    if (!picker) { return; }
    picker.click();
    const began = performance.now();
    let held = null;  // since when the field has had the focus
    const focus = () => {
      const now = performance.now();
      const field = document.querySelector(SEARCH);
      if (field && document.activeElement !== field) { field.focus(); held = now; }
      if ((held === null || now - held < HELD_MS) && now - began < PATIENCE_MS) { requestAnimationFrame(focus); }
    };
    focus();
  }

  document.addEventListener("keydown", pressed);
  document.addEventListener("keyup", released);
})();

"use strict";
/* The chart page's lines that the push does not bring, because the bars do not carry them: the server asks the API for
   their newest values about once a second, for all browsers at once, as long as somebody sees such a line. */
(() => {
  const kit = window.tickstreamChart = window.tickstreamChart || {};
  let own = null;    // {key, close} of what is followed

  /* What the API has to be asked for, as it takes it; empty for nothing. */
  function wanted(specs, unpushed) {
    const found = specs.filter((spec) => spec.indicator && unpushed.includes(spec.column)).map((spec) => spec.indicator);
    return [...new Set(found)].sort().join(";");
  }

  /* Follow what is wanted now, and that alone. */
  function check() {
    const {shown} = kit.page;
    const type = shown && !document.hidden ? wanted(shown.model.specs, shown.payload.unpushed || []) : "";
    const params = type ? {...shown.names, type} : null;
    const key = params && JSON.stringify(params);
    if (key === (own && own.key)) { return; }
    if (own) { own.close(); }
    own = null;
    if (params) { own = {key, ...window.tickstream.follow("indicators", params, (data) => take(shown, data))}; }
  }

  function take(shown, data) {
    if (shown !== kit.page.shown) { return; }
    if (shown.node !== kit.page.node()) { leave(); return; }
    const rows = (data.newest || []).filter((row) => shown.model.indicators(row));
    if (rows.length) { kit.page.soon(); }
  }

  /* The page is another one. */
  function leave() {
    if (own) { own.close(); }
    own = null;
  }

  if (typeof document !== "undefined") { document.addEventListener("visibilitychange", check); }
  kit.asked = {check, wanted};
})();

"use strict";
/* The alerts page, which fills itself again where something newer was found or told. */
(() => {
  const {chosen, teller} = window.tickstreamParts;
  const tell = teller("alerts");
  let following = null;

  /* Only while the page is there: it is nobody else's figure. */
  function watch() {
    const here = document.getElementById("alerts-page") !== null;
    if (here && following === null) {
      following = window.tickstream.follow("alerts", {}, (data) => tell(JSON.stringify([data.alerts, data.anomalies])));
    } else if (!here && following !== null) {
      following.close();
      following = null;
      tell(null);
    }
  }

  window.dash_clientside = Object.assign(window.dash_clientside || {}, {alerts: {chosen: chosen("/alerts")}});
  setInterval(watch, 500);
})();

"use strict";
/* The badge of the navigation bar, and the data quality page, which fills itself again where a followed figure moved. */
(() => {
  const byId = (id) => document.getElementById(id);
  let newest = null;

  /* The part of the checked bars that was right as first made, never rounded up to 100. */
  function ratioText({checked, matched}) {
    if (matched === checked) { return "100 %"; }
    return `${(Math.floor(10000 * matched / checked) / 100).toFixed(2)} %`;
  }

  /* Of the newest day that has any checks; null for none. */
  function badgeOf(data) {
    const days = data && data.days ? data.days.totals.filter((day) => day.checked > 0) : [];
    if (!days.length) { return null; }
    const day = days[days.length - 1];
    const open = data.gaps ? data.gaps.states.open || 0 : 0;
    const gaps = open ? ` ${open} ${open === 1 ? "gap is" : "gaps are"} open.` : "";
    return {text: ratioText(day), state: day.matched === day.checked ? "all" : "amended",
            title: `${day.matched.toLocaleString("en-US")} of ${day.checked.toLocaleString("en-US")} bars checked on `
              + `${day.day} (UTC) were right as first made, ${day.amended.toLocaleString("en-US")} were amended.${gaps}`};
  }

  function drawBadge() {
    const place = byId("quality-badge");
    if (!place) { return; }
    const badge = badgeOf(newest);
    place.hidden = badge === null;
    if (badge === null) { return; }
    const link = place.querySelector("a") || place.appendChild(newLink());
    link.replaceChildren(word("match "), badge.text);
    link.title = badge.title;
    link.dataset.state = badge.state;
  }

  function word(text) {
    const span = document.createElement("span");
    span.className = "word";
    span.textContent = text;
    return span;
  }

  function newLink() {
    const link = document.createElement("a");
    link.href = "/quality";
    link.className = "quality-badge";
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.button !== 0) { return; }
      event.preventDefault();
      window.history.pushState({}, "", "/quality");
      window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    });
    return link;
  }

  /* What of the figures says that the page is not up to date any more. */
  function digest(data) {
    const first = (answer, list, name) => (answer && answer[list].length ? answer[list][0][name] : null);
    return JSON.stringify([data.days && data.days.totals, first(data.amendments, "amendments", "known_at"),
                           data.amendments && data.amendments.reasons, data.gaps && data.gaps.states,
                           first(data.gaps, "gaps", "start"), first(data.late_ticks, "runs", "at")]);
  }

  function onPush(data) {
    newest = data;
    drawBadge();
    tell(digest(data));
  }

  /* All revisions of a bar, which the button names. */
  function onClick(event) {
    const button = event.target.closest("#quality-amendments .part-button");
    if (button) { window.dash_clientside.set_props("quality-asked", {data: {bar: button.value, at: Date.now()}}); }
  }

  globalThis.tickstreamQuality = {badgeOf, digest, ratioText};
  if (typeof document === "undefined") { return; }
  const {chosen, teller} = window.tickstreamParts;
  const tell = teller("quality");
  window.dash_clientside = Object.assign(window.dash_clientside || {}, {quality: {chosen: chosen("/quality")}});
  document.addEventListener("click", onClick);
  window.tickstream.follow("quality", {}, onPush);
  setInterval(() => { if (newest && byId("quality-badge") && !byId("quality-badge").firstChild) { drawBadge(); } }, 1000);
})();

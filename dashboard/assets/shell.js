"use strict";
/* The shell in the browser: theme, banner, title, keys, clock. Adds tickstream.theme(), setTheme(name) and
   title(text, path). */
(() => {
  const CHORD_MS = 1500;
  const TITLE = "tickstream";
  const byId = (id) => document.getElementById(id);
  /* Before Dash has drawn the shell it knows of no element, and throws. */
  const setProps = (id, props) => { if (byId("connection")) { window.dash_clientside.set_props(id, props); } };
  const pages = () => [...document.querySelectorAll("a[id^='nav-']")];

  /* Theme ------------------------------------------------------------------------------------------------------ */

  const theme = () => document.documentElement.dataset.bsTheme;

  function setTheme(name, chosen = true) {
    document.documentElement.dataset.bsTheme = name;
    try {
      if (chosen) { localStorage.setItem("theme-chosen", "1"); }
      localStorage.setItem("theme", JSON.stringify(name));  // what dcc.Store begins with
    } catch (error) { /* not kept, then */ }
    setProps("theme", {data: name});
    document.dispatchEvent(new CustomEvent("tickstream:theme", {detail: {theme: name}}));
  }

  const flip = () => setTheme(theme() === "dark" ? "light" : "dark");

  function followSystem(event) {
    let chosen = null;
    try { chosen = localStorage.getItem("theme-chosen"); } catch (error) { /* as if never chosen */ }
    if (!chosen) { setTheme(event.matches ? "dark" : "light", false); }
  }

  /* Banner ----------------------------------------------------------------------------------------------------- */

  function showState(event) {
    const {state, reason} = event.detail;
    const down = state === "down";
    const banner = byId("banner");
    banner.hidden = !down;
    const why = reason || "The API does not answer.";
    banner.textContent = down ? `${why} Nothing new arrives until it does; then this page goes on by itself.` : "";
    document.documentElement.dataset.api = state;
    showConnection();
  }

  function showConnection() {
    const pill = byId("connection");
    if (!pill) { return; }
    const known = document.documentElement.dataset.api;
    const down = known === "down";
    const {count, p50} = window.tickstream.latency(false);
    pill.textContent = down ? "no data" : known ? "live" : "connecting";
    if (count && !down) { pill.append(detail(` · ${Math.round(p50)} ms`)); }
    pill.title = down ? "Waiting for the API" : count
      ? `From the receipt of a tick to the painted frame: median of ${count} updates of the last minute` : "Connected";
    pill.dataset.state = known || "connecting";
  }

  /* What a narrow screen leaves out. */
  function detail(text) {
    const span = document.createElement("span");
    span.className = "detail";
    span.textContent = text;
    return span;
  }

  /* Title, clock ----------------------------------------------------------------------------------------------- */

  /* A page that is being left still gets updates: what it says of its own `path` is not said of another. */
  function title(text, path = window.location.pathname) {
    if (path === window.location.pathname) { document.title = text ? `${text} · ${TITLE}` : TITLE; }
  }

  function tickClock() {
    const clock = byId("utc-now");
    if (!clock) { return; }
    const now = new Date().toISOString();
    clock.textContent = now.slice(0, 19).replace("T", " ");
    clock.dateTime = now;
  }

  /* Keys ------------------------------------------------------------------------------------------------------- */

  let chordUntil = 0;

  const typing = (target) => target.closest("input, textarea, select, [contenteditable], [role='textbox']") !== null;

  function onKey(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) { return; }
    if (event.timeStamp < chordUntil) {  // when it was pressed: a busy page may hear of it much later
      chordUntil = 0;
      const link = keyed().get(event.key);
      if (link) { event.preventDefault(); event.stopPropagation(); link.click(); }
      return;
    }
    if (event.key === "g") { chordUntil = performance.now() + CHORD_MS; return; }
    if (event.key === "t") { flip(); }
    if (event.key === "?") { toggleKeys(); }
  }

  /* Each page by the first letter of its name that no page before it has, as the help says. */
  function keyed() {
    const found = new Map();
    for (const link of pages()) {
      const key = [...link.id.slice("nav-".length)].find((letter) => !found.has(letter));
      found.set(key, link);
    }
    return found;
  }

  const toggleKeys = () => setProps("keys", {is_open: document.querySelector(".modal.show") === null});

  function onClick(event) {
    if (event.target.closest("#theme-switch")) { flip(); }
    if (event.target.closest("#keys-switch")) { toggleKeys(); }
  }

  /* Dash calls these ------------------------------------------------------------------------------------------- */

  /* The menu of a narrow screen: its button opens and closes it, another page closes it. */
  function toggle(clicks, pathname, isOpen) {
    return window.dash_clientside.callback_context.triggered_id === "nav-toggler" ? !isOpen : false;
  }

  /* Links of the navigation lead back to a page as it was left. */
  const left = {};
  function visited(pathname, search) {
    const links = pages();
    const here = links.find((link) => new URL(link.href).pathname === pathname);
    title(here ? here.textContent : pathname === "/" ? "" : "Not found");
    left[pathname] = search || "";
    showConnection();
    return links.map((link) => {
      const path = new URL(link.href).pathname;
      return path + (left[path] || "");
    });
  }

  window.dash_clientside = Object.assign(window.dash_clientside || {}, {shell: {toggle, visited}});
  window.tickstream = Object.assign(window.tickstream || {}, {theme, setTheme, title});
  document.addEventListener("tickstream:api", showState);
  if (window.tickstream.api?.().state === "down" || window.tickstream.wire?.session()) {
    showState({detail: window.tickstream.api()});  // the socket was quicker than this file
  }
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("click", onClick);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", followSystem);
  setInterval(tickClock, 1000);
  setInterval(showConnection, 2000);
})();

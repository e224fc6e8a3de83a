"use strict";
/* One socket to this server's /live for the whole page: kept open, its messages handed on by type.

   tickstream.wire                    {on(type, handler), send(message), session()}: for live.js
   tickstream.follow(what, params, handler) -> {close()}     handler(data, message)
   tickstream.api()                   {state: "up" | "down", retry_in, reason}

   Events on document: tickstream:api (detail as api()). `session` numbers this server's connections to the API: another
   one knows of no subscription, and there is none while it is null. */
(() => {
  const SILENCE_MS = 5000;      // a heartbeat comes each second
  const FIRST_WAIT_MS = 250;
  const LONGEST_WAIT_MS = 5000;
  const PATIENCE_MS = 1200;     // how long the server may be away before people are told

  const handlers = new Map();   // type of a message -> handler
  const follows = new Map();    // key -> {what, params, handlers: Set, last}
  let socket = null;
  let session = null;
  let connections = 0;
  let heard = 0;
  let attempts = 0;
  let state = {state: "up", retry_in: null, reason: null};
  let recoveries = 0;
  let grudge = null;            // timer that tells people of a server that stays away

  function send(message) {
    if (socket !== null && socket.readyState === WebSocket.OPEN) { socket.send(JSON.stringify(message)); }
  }

  /* The socket ------------------------------------------------------------------------------------------------- */

  function connect() {
    const scheme = window.location.protocol === "https:" ? "wss" : "ws";
    const own = new WebSocket(`${scheme}://${window.location.host}/live`);
    socket = own;
    connections += 1;
    heard = performance.now();
    own.onopen = opened;
    own.onmessage = (event) => { if (own === socket) { take(event.data); } };
    own.onclose = () => { if (own === socket) { lost(); } };
  }

  function opened() {
    heard = performance.now();
    follows.forEach(({what, params}) => send({type: "follow", what, params}));
  }

  function take(text) {
    heard = performance.now();
    attempts = 0;
    clearTimeout(grudge);
    grudge = null;
    const message = JSON.parse(text);
    message.browser_us = window.tickstream.nowUs();
    const handler = handlers.get(message.type);
    if (handler) { handler(message); }
  }

  function lost() {
    socket = null;
    session = null;
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempts) * (0.5 + Math.random());
    attempts += 1;
    if (grudge === null) { grudge = setTimeout(complain, PATIENCE_MS); }
    setTimeout(connect, wait);
  }

  function complain() {
    tell({state: "down", retry_in: null, reason: "The dashboard's server does not answer."});
  }

  /* A socket that is open and mute: its close event may be long in coming. */
  function watch() {
    if (socket === null || performance.now() - heard <= SILENCE_MS) { return; }
    const mute = socket;
    mute.onclose = null;
    mute.close();
    lost();
  }

  /* The API's state -------------------------------------------------------------------------------------------- */

  function hearApi(message) {
    const before = session;
    session = message.session === undefined ? null : `${connections}.${message.session}`;
    tell({state: message.state, retry_in: message.retry_in ?? null, reason: message.reason ?? null});
    if (session !== null && session !== before) { handlers.get("session")(session); }
  }

  function tell(next) {
    const recovered = next.state === "up" && state.state === "down";
    state = next;
    document.dispatchEvent(new CustomEvent("tickstream:api", {detail: {...state}}));
    if (recovered) {
      recoveries += 1;
      window.dash_clientside.set_props("api-state", {data: {state: "up", recoveries}});
    }
  }

  /* Pages' data, pushed by this server ------------------------------------------------------------------------- */

  const followKey = (what, params) => what + JSON.stringify(Object.entries(params).sort());

  function follow(what, params, handler) {
    const key = followKey(what, params || {});
    if (!follows.has(key)) {
      follows.set(key, {what, params: params || {}, handlers: new Set(), last: null});
      send({type: "follow", what, params: params || {}});
    }
    const entry = follows.get(key);
    const own = (...given) => handler(...given);
    entry.handlers.add(own);
    if (entry.last !== null) { guarded(own, entry.last.data, entry.last); }
    return {close: () => unfollow(key, own)};
  }

  function unfollow(key, own) {
    const entry = follows.get(key);
    if (!entry || !entry.handlers.delete(own) || entry.handlers.size > 0) { return; }
    follows.delete(key);
    send({type: "unfollow", what: entry.what, params: entry.params});
  }

  function hearPage(message) {
    const entry = follows.get(followKey(message.what, message.params || {}));
    if (!entry) { return; }
    entry.last = message;
    for (const handler of [...entry.handlers]) { guarded(handler, message.data, message); }
  }

  /* One page's mistake is not another's. */
  function guarded(handler, ...values) {
    if (!handler) { return; }
    try { handler(...values); } catch (error) { console.error("tickstream: a handler failed", error); }
  }

  handlers.set("api", hearApi);
  handlers.set("page", hearPage);
  handlers.set("session", () => undefined);
  const wire = {send, guarded, session: () => session, on: (type, handler) => handlers.set(type, handler)};
  window.tickstream = Object.assign(window.tickstream || {}, {wire, follow, api: () => ({...state})});
  connect();
  setInterval(watch, 1000);
})();

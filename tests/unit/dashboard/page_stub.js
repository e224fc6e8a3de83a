"use strict";
/* What live.js and its companions need of a browser, under the test's control: a clock, a socket, a document. */
globalThis.window = globalThis;
const clock = globalThis.clock = {now: 0, timers: []};
const timed = (timer) => { clock.timers.push(timer); return timer; };
globalThis.setTimeout = (call, wait) => timed({call, at: clock.now + wait, every: null});
globalThis.setInterval = (call, every) => timed({call, at: clock.now + every, every});
globalThis.clearTimeout = (timer) => { clock.timers = clock.timers.filter((each) => each !== timer); };
clock.pass = (milliseconds) => {
  const end = clock.now + milliseconds;
  for (;;) {
    const next = clock.timers.filter((each) => each.at <= end).sort((one, other) => one.at - other.at)[0];
    if (!next) { break; }
    clock.now = next.at;
    if (next.every === null) { clearTimeout(next); } else { next.at += next.every; }
    next.call();
  }
  clock.now = end;
};
const EPOCH = 1.8e12;
Object.defineProperty(globalThis, "performance", {value: {timeOrigin: EPOCH, now: () => clock.now}});
Date.now = () => EPOCH + clock.now;
Math.random = () => 0.5;

globalThis.sockets = [];
globalThis.WebSocket = class {
  static OPEN = 1;
  constructor(url) { Object.assign(this, {url, readyState: 0, sent: []}); sockets.push(this); }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; this.gone = true; }
  open(session) {
    this.readyState = 1;
    this.onopen();
    if (session !== undefined) { this.say({type: "api", state: "up", session}); }
    return this;
  }
  say(message) { this.onmessage({data: JSON.stringify(message)}); }
  drop() { this.readyState = 3; if (this.onclose) { this.onclose(); } }
  take() { return this.sent.splice(0); }
};
globalThis.socket = () => sockets[sockets.length - 1];

globalThis.events = [];
globalThis.CustomEvent = class { constructor(type, {detail}) { Object.assign(this, {type, detail}); } };
globalThis.document = {
  hidden: false, addEventListener() {}, dispatchEvent: (event) => events.push([event.type, event.detail]),
};
Object.defineProperty(globalThis, "location", {value: {protocol: "http:", host: "localhost:8050"}});
globalThis.props = [];
globalThis.dash_clientside = {set_props: (id, value) => props.push([id, value])};
globalThis.console.error = (...said) => { globalThis.errors = [...(globalThis.errors || []), String(said[0])]; };

globalThis.frames = [];
globalThis.requestAnimationFrame = (call) => frames.push(call);
globalThis.MessageChannel = class {
  constructor() {
    this.port1 = {onmessage: null};
    this.port2 = {postMessage: () => setTimeout(() => this.port1.onmessage(), 2)};
  }
};
globalThis.drawFrame = () => { frames.splice(0).forEach((call) => call()); clock.pass(2); };

/* Messages of the API, with the least that they have. */
const bars = {channel: "bars", interval: "1m"};
globalThis.snapshot = (symbol, seq, more = {}) => ({
  type: "snapshot", ...bars, symbol, seq, mode: "fresh", data: [], ...more,
});
globalThis.update = (symbol, prev, seq, bar = {}) => ({
  type: "update", ...bars, symbol, prev_seq: prev, seq, state: bar.state || "forming", rev: bar.rev || 0,
  data: {start: 60, rev: 0, state: "forming", ...bar}, stamps: {event_us: 1},
});
globalThis.listener = () => {
  const heard = [];
  return {heard, snapshot: (message) => heard.push(["snapshot", message.symbol, message.mode, message.seq]),
          update: (message) => heard.push(["update", message.symbol, message.seq]), error: (message) => heard.push(["error", message.code])};
};

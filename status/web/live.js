// Keeps the page as new as the agent: an event says what changed, the page is
// read again and the sections that show it are morphed in place, so that focus,
// selection and open details stay. Liveness is judged by what arrives and what
// was shown of it, never by what the browser believes of its connection.
const quietAfter = 10_000; // no event, or nothing shown, for so long: the page says so
const atMost = 1_000;      // between two readings of the page
const reopen = 6_000;      // after the server had no stream to give

const live = document.getElementById("live");
const stale = document.getElementById("stale");
let source = null, retry = 0;
let lastHeard = Date.now(), lastShown = Date.now(), lastClock = document.getElementById("clock").textContent.split(" ")[0];
let lastRead = Date.now(), reading = false, timer = 0;
const wanted = new Set();

// An agent that is heard while the page cannot be read again would make an old
// list look alive.
function quiet() {
  return Date.now() - Math.min(lastHeard, lastShown) >= quietAfter;
}

function heard() {
  lastHeard = Date.now();
  if (quiet()) return;
  if (!stale.hidden) document.title = document.title.replace(/^NOT UPDATING · /, "");
  stale.hidden = true;
  live.textContent = source ? "live" : "every few seconds,";
  live.dataset.state = source ? "live" : "static";
}

function watch() {
  if (document.hidden || !quiet()) return;
  if (stale.hidden) document.title = "NOT UPDATING · " + document.title;
  stale.textContent = "NOT UPDATING since " + lastClock;
  stale.hidden = false;
  live.textContent = "as of";
  live.dataset.state = "static";
}

function shows(kind) {
  return document.querySelector(`main [data-on~="${kind}"]`) !== null;
}

function want(kind) {
  wanted.add(kind);
  if (timer || reading) return;
  timer = setTimeout(read, Math.max(0, lastRead + atMost - Date.now()));
}

async function read() {
  timer = 0;
  reading = true;
  const kinds = [...wanted];
  wanted.clear();
  lastRead = Date.now();
  const end = new AbortController(); // AbortSignal.timeout is younger than many a phone
  const patience = setTimeout(() => end.abort(), 8_000);
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: end.signal });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (next.getElementById("main")) {
      show(next, kinds);
      lastShown = Date.now();
      lastClock = document.getElementById("clock").textContent.split(" ")[0];
    }
    if (source === null) heard();
  } catch {
    // No answer: the watch above says it when it has lasted.
  }
  clearTimeout(patience);
  reading = false;
  if (wanted.size) want([...wanted][0]);
}

const keep = {
  ignoreActiveValue: true,
  callbacks: {
    // What the reader opened stays open; what this script wrote stays written.
    beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
    beforeNodeRemoved: (node) => !(node.tagName === "BUTTON" && node.parentElement.className === "cmd"),
    beforeNodeMorphed: (node) => !["live", "stale"].includes(node.id),
  },
};

function show(next, kinds) {
  if (stale.hidden) document.title = next.title;
  document.getElementById("icon").href = next.getElementById("icon").href;
  // What the page was about is gone, or has come: it has other sections now.
  if (!next.getElementById("error") !== !document.getElementById("error")) document.getElementById("main").replaceWith(next.getElementById("main"));
  const all = kinds.includes("*");
  for (const fresh of next.querySelectorAll("[data-on]")) {
    const here = document.getElementById(fresh.id);
    const on = fresh.dataset.on.split(" ");
    if (here && (all || on.includes("*") || kinds.some((k) => on.includes(k)))) Idiomorph.morph(here, fresh, keep);
  }
  offerCopy();
}

// One button a command, only where the browser lets a page copy.
function offerCopy() {
  if (!navigator.clipboard) return;
  for (const line of document.querySelectorAll(".cmd")) {
    if (line.querySelector("button")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    line.append(button);
  }
}

document.addEventListener("click", (e) => {
  const code = e.target.closest(".cmd button")?.parentElement.querySelector("code");
  if (code) navigator.clipboard.writeText(code.textContent).then(() => { e.target.textContent = "Copied"; }, () => {});
});

function open() {
  if (source || document.hidden) return;
  clearTimeout(retry);
  source = new EventSource("/api/v1/events");
  source.addEventListener("heartbeat", () => {
    heard();
    if (Date.now() - lastRead > 3_500) want("*"); // ages grow even when nothing changes
  });
  source.onmessage = (e) => {
    heard();
    const kind = JSON.parse(e.data).type;
    if (shows(kind)) want(kind);
  };
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return; // it comes back by itself
    // All streams are taken: read the page now and then instead.
    source = null;
    want("*");
    retry = setTimeout(open, reopen);
  };
}

// A browser has six connections for one gateway: a page that nobody sees must
// not hold one.
function close() {
  source?.close();
  source = null;
  clearTimeout(retry);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return close();
  lastHeard = lastShown = Date.now();
  want("*");
  open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", open);
setInterval(watch, 1_000);
offerCopy();
open();

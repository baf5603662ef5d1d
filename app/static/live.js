// Keeps a page fresh without reloading it: the server draws it again, and its <main> takes the place of the old one.

const WAIT = 1500; // milliseconds between two refreshes while events pour in; longer where the server takes long
const ENDS = ["job.completed", "job.failed", "job.cancelled"];
const STEPS = ["job.submitted", "job.running", "job.changed", "job.paused", "job.resumed", "job.confirming", "run.started", "run.epoch", "run.finished"];

let earliest = 0;
let planned = null;
let busy = false;

function plan() {
  planned ??= setTimeout(refresh, Math.max(0, earliest - Date.now()));
}

async function refresh() {
  planned = null;
  if (busy || document.hidden) return;
  busy = true;
  const began = Date.now();
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The server is away; the next event or look finds it again.
  } finally {
    busy = false;
    earliest = Date.now() + Math.max(WAIT, 3 * (Date.now() - began));
  }
}

function swap(fresh) {
  const old = document.querySelector("main");
  const main = document.importNode(fresh.querySelector("main"), true);
  keep(old, main);
  const scrolled = [...old.querySelectorAll(".scroll[id]")].map((part) => [part.id, part.scrollTop, part.scrollLeft]);
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(main);
  for (const [id, top, left] of scrolled) document.getElementById(id)?.scrollTo(left, top);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  document.title = fresh.title;
  tellTimes();
  document.dispatchEvent(new Event("refreshed"));
}

function keep(old, main) {
  // A drawn plot is moved, not drawn anew; what the reader opened or typed stays so.
  for (const plot of main.querySelectorAll(".plot")) {
    const drawn = old.querySelector(`#${plot.id}.js-plotly-plot`);
    if (drawn) plot.replaceWith(drawn);
  }
  for (const part of main.querySelectorAll("details[id]")) part.open = old.querySelector(`#${part.id}`)?.open ?? part.open;
  const filter = old.querySelector("form.filter");
  if (filter) main.querySelector("form.filter")?.replaceWith(filter);
}

function follow(url) {
  const source = new EventSource(url);
  for (const type of [...STEPS, ...ENDS]) source.addEventListener(type, plan);
  for (const type of ENDS) source.addEventListener(type, () => source.close());
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(url), 3000);
  });
}

function tellTimes() {
  const ago = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto", style: "short" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const minutes = Math.round((at - Date.now()) / 60000);
    time.title = at.toLocaleString();
    if (minutes > -60) time.textContent = minutes > -1 ? "just now" : ago.format(minutes, "minute");
    else if (minutes > -24 * 60) time.textContent = ago.format(Math.round(minutes / 60), "hour");
    else time.textContent = at.toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  }
}

const isLive = () => document.querySelector("main [data-events], main [data-poll]") !== null;

tellTimes();
const events = document.querySelector("main [data-events]")?.dataset.events;
if (events) follow(events);
setInterval(() => document.querySelector("main [data-poll]") && plan(), 3000);
document.addEventListener("visibilitychange", () => !document.hidden && isLive() && plan());

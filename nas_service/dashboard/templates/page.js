// Live pages and the what-if form. Every page works without this script.
"use strict";

const POLL_MS = 5000;
const SLOW_MS = 30000; // after an error
let tag = document.body.dataset.tag || null; // names what is shown

// The page at an address, or null where it is the one that is shown.
async function load(url, known) {
  const headers = known ? { "If-None-Match": known } : {};
  const answer = await fetch(url, { headers, cache: "no-store" });
  if (answer.status === 304) return null;
  const text = await answer.text();
  return {
    tag: answer.ok ? answer.headers.get("ETag") : null,
    main: new DOMParser().parseFromString(text, "text/html").getElementById("main"),
  };
}

function isBusy() {
  const active = document.activeElement;
  const reading = document.getSelection() && !document.getSelection().isCollapsed;
  return reading || (active && active.closest("form"));
}

// Replaces the content; opened details stay open, and the focus stays where it was.
function show(main) {
  const old = document.getElementById("main");
  const open = [...old.querySelectorAll("details")].map((d) => d.open);
  const focused = old.contains(document.activeElement) ? linkOf(document.activeElement) : null;
  old.replaceChildren(...main.childNodes);
  old.querySelectorAll("details").forEach((d, n) => { d.open = open[n] || d.open; });
  if (focused) [...old.querySelectorAll("a")].find((a) => linkOf(a) === focused)?.focus();
}

function linkOf(element) {
  return element.getAttribute("href");
}

async function poll() {
  let wait = POLL_MS;
  if (!document.hidden && !isBusy()) {
    try {
      const page = await load(location.href, tag);
      if (page && page.main) {
        show(page.main);
        tag = page.tag;
      }
      note("live");
    } catch {
      note("connection lost");
      wait = SLOW_MS;
    }
  }
  setTimeout(poll, wait);
}

function note(text) {
  const place = document.getElementById("live");
  if (place.textContent !== text) place.textContent = text;
}

// The form shows its answer while the reader types.
function watchForm(form) {
  let timer = 0;
  let last = 0;
  const update = async () => {
    const number = ++last;
    const place = document.getElementById("answer");
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const url = `${location.pathname}?${query}`;
    place.setAttribute("aria-busy", "true");
    try {
      const page = await load(url, null);
      if (number !== last) return;
      history.replaceState(null, "", url);
      place.replaceChildren(...page.main.querySelector("#answer").childNodes);
      hints(form, page.main);
    } finally {
      if (number === last) place.removeAttribute("aria-busy");
    }
  };
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(update, 350); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); update(); });
}

// Another profile has other values of its own.
function hints(form, main) {
  for (const input of form.querySelectorAll("input")) {
    const fresh = main.querySelector(`input[name="${CSS.escape(input.name)}"]`);
    if (fresh) input.placeholder = fresh.placeholder;
  }
}

const form = document.getElementById("what-if");
if (form) watchForm(form);
else if (tag) setTimeout(poll, 1000);

"use strict";
// Pointing at a candidate shows what it is and marks it in every picture; a click opens its place.
// Without this script titles and links do the same, one picture at a time.
(() => {
  const note = document.createElement("div");
  note.className = "hover screen";
  note.hidden = true;
  document.body.append(note);
  const all = new Map();
  for (const link of document.querySelectorAll("a[data-trial]")) {
    const trial = link.dataset.trial;
    all.set(trial, [...(all.get(trial) || []), link]);
    const title = link.querySelector("title");
    if (title) { link.dataset.tip = title.textContent; title.remove(); }
    link.setAttribute("aria-label", link.dataset.tip || "trial " + trial);
  }
  const mark = (trial, name, on) => {
    for (const link of all.get(trial) || []) link.classList.toggle(name, on);
    const place = document.getElementById("trial-" + trial);
    if (place) place.classList.toggle(name, on);
  };
  const show = (link, x, y) => {
    note.textContent = link.dataset.tip;
    note.hidden = false;
    const right = document.documentElement.clientWidth - note.offsetWidth - 8;
    note.style.left = Math.max(8, Math.min(x + 14, right)) + "px";
    note.style.top = (y + 18 + note.offsetHeight > innerHeight ? y - note.offsetHeight - 12 : y + 18) + "px";
  };
  const enter = (event) => {
    const link = event.target.closest && event.target.closest("a[data-trial]");
    if (!link) return;
    const box = link.getBoundingClientRect();
    const pointed = event.type === "pointerover";
    show(link, pointed ? event.clientX : box.right, pointed ? event.clientY : box.bottom);
    mark(link.dataset.trial, "pointed", true);
  };
  const leave = (event) => {
    const link = event.target.closest && event.target.closest("a[data-trial]");
    if (!link) return;
    note.hidden = true;
    mark(link.dataset.trial, "pointed", false);
  };
  document.addEventListener("pointerover", enter);
  document.addEventListener("pointerout", leave);
  document.addEventListener("focusin", enter);
  document.addEventListener("focusout", leave);
  let chosen = null;
  const choose = () => {
    const match = /^#trial-(\d+)$/.exec(location.hash);
    if (chosen) mark(chosen, "chosen", false);
    chosen = match && match[1];
    if (!chosen) return;
    mark(chosen, "chosen", true);
    const place = document.getElementById("trial-" + chosen);
    for (let box = place; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
    if (place) place.scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", choose);
  choose();
  addEventListener("beforeprint", () => {
    for (const box of document.querySelectorAll("details.card")) box.open = true;
  });
})();

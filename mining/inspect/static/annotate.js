// Keys press what the page already has: every act works without this script.
"use strict";

let sent = false;

function press(id) {
  const found = document.getElementById(id);
  if (found) found.click();
  return Boolean(found);
}

// One press is one act, however fast the next one comes: the page that the first leads to shows another prefix.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  if (sent) event.preventDefault();
  sent = true;
  for (const field of event.target.querySelectorAll(".note")) field.blur();
});
window.addEventListener("pageshow", (event) => {
  sent = false;
  if (event.persisted) location.reload();
});

const rows = [...document.querySelectorAll("a.row")];
let place = -1;

function move(step) {
  if (!rows.length) return;
  place = Math.max(0, Math.min(rows.length - 1, place + step));
  rows[place].focus();
}

rows.forEach((row, number) => row.addEventListener("focus", () => { place = number; }));

const onList = {
  j: () => move(1),
  ArrowDown: () => move(1),
  k: () => move(-1),
  ArrowUp: () => move(-1),
  n: () => press("next-page"),
  p: () => press("previous-page"),
  u: () => press("key-u"),
  "/": () => document.getElementById("search").focus(),
};
const elsewhere = {
  ArrowDown: () => press("key-j"),
  ArrowUp: () => press("key-k"),
  Escape: () => press("key-back"),
  e: () => { const note = document.querySelector(".note"); if (note) note.focus(); },
};
for (const key of ["m", "n", "s", "u", "j", "k", "r"]) elsewhere[key] = () => press(`key-${key}`);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && !event.key.startsWith("Arrow")) return;
  const inField = event.target.closest("input, select, textarea");
  if (inField) {
    if (event.key === "Escape") event.target.blur();
    // Enter in the note would press the first button of the form.
    if (event.key === "Enter" && event.target.matches(".note")) { event.preventDefault(); event.target.blur(); }
    return;
  }
  const keys = document.body.dataset.view === "queue" ? onList : elsewhere;
  const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
  if (act) { event.preventDefault(); act(); }
});

const chosen = document.querySelector("tr.chosen");
if (chosen) chosen.scrollIntoView({ block: "nearest" });

const file = document.getElementById("csv-file");
if (file) file.addEventListener("change", async () => {
  if (file.files.length) document.getElementById("csv").value = await file.files[0].text();
});
for (const select of document.querySelectorAll(".filters select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// Another tab, another server or an editor may have changed the labels while this one was away.
let known = null;

async function look() {
  try {
    const answer = await fetch("/state", { cache: "no-store" });
    const { state } = await answer.json();
    if (known !== null && state !== known) document.getElementById("stale").hidden = false;
    known ??= state;
  } catch {
    // The server is gone; the next press says so.
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
window.addEventListener("focus", look);
document.getElementById("reload").addEventListener("click", () => location.reload());
look();

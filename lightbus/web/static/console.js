// What a page does besides being renewed: it waits while nobody looks or somebody selects text, and says so
// when the console does not answer.
"use strict";

// Where somebody writes, or has opened something, which a renewal would undo.
const AT_WORK = "input:not([type=hidden]):focus, textarea:focus, select:focus, details[open], dialog[open]";

function isBusy() {
  const page = document.getElementById("page");
  return document.hidden || String(window.getSelection()) !== "" || page.querySelector(AT_WORK) !== null;
}

// A proxy has a page of its own for a console that does not answer it.
function isOfAnother(answer) {
  return answer.status >= 500 && !answer.responseText.includes('id="page"');
}

function silence(isSilent) {
  document.getElementById("silence").hidden = !isSilent;
}

document.addEventListener("htmx:beforeRequest", (event) => {
  const isRenewal = event.detail.elt.id === "page";
  if (isRenewal && isBusy()) {
    event.preventDefault();
  }
});

// A renewal replaces what has the focus. What has an id gets it back; else, what is the same as that was.
let focused = null;

const isSame = (it, other) => (it.href ? it.href === other.href : it.isEqualNode(other));
const samesOf = (it) => [...document.querySelectorAll(`#page ${it.localName}`)].filter((each) => isSame(it, each));

document.addEventListener("htmx:beforeSwap", (event) => {
  event.detail.shouldSwap &&= !isOfAnother(event.detail.xhr);
  const it = document.activeElement;
  focused = it.id === "" && it.closest("#page") ? { it, place: samesOf(it).indexOf(it) } : null;
});

document.addEventListener("htmx:afterSwap", () => {
  const sames = focused && document.activeElement === document.body ? samesOf(focused.it) : [];
  if (sames.length > 0) {
    (sames[focused.place] || sames[0]).focus({ preventScroll: true });
  }
});

// What was done is told at the top of the page, so that is where a reader goes on.
document.addEventListener("htmx:afterSettle", (event) => {
  const verb = event.detail.requestConfig && event.detail.requestConfig.verb;
  if (verb === "post" && document.activeElement.matches("body, button")) {
    document.getElementById("page").focus();
  }
});

// Events that come without end can be stopped for reading; how many came meanwhile is counted.
let passed = null;

function pause(button, isPaused) {
  passed = isPaused ? 0 : null;
  button.setAttribute("aria-pressed", String(isPaused));
  button.textContent = isPaused ? "Go on" : "Pause";
  document.getElementById("passed").textContent = isPaused ? "Paused. Nothing has come since." : "";
}

document.addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("pause");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => pause(button, passed === null));
  }
});

document.addEventListener("htmx:sseBeforeMessage", (event) => {
  if (passed !== null) {
    event.preventDefault();
    const more = /([\d,]+) more</.exec(event.detail.data);
    passed += (event.detail.data.match(/<th /g) || []).length + (more ? Number(more[1].replaceAll(",", "")) : 0);
    document.getElementById("passed").textContent = `Paused. ${passed} came since, and are not shown.`;
  }
});

// Of events that come without end, the oldest go.
document.addEventListener("htmx:sseMessage", (event) => {
  const rows = event.target.children;
  while (rows.length > 500) {
    rows[rows.length - 1].remove();
  }
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    navigator.clipboard.writeText(document.getElementById(button.dataset.copy).innerText);
    button.textContent = "Copied";
  }
});

document.addEventListener("htmx:sendError", () => silence(true));
document.addEventListener("htmx:timeout", () => silence(true));
document.addEventListener("htmx:afterOnLoad", (event) => silence(isOfAnother(event.detail.xhr)));

document.addEventListener("visibilitychange", () => {
  const page = document.getElementById("page");
  if (!document.hidden && page.hasAttribute("hx-get")) {
    htmx.trigger(page, "seen");
  }
});

// What a page does besides being renewed: it waits while nobody looks or somebody selects text, and says so
// when the console does not answer.
"use strict";

// Where somebody writes, or has opened something, which a renewal would undo.
const AT_WORK = "input:not([type=hidden]):focus, textarea:focus, select:focus, details[open], dialog[open]";

// Whether a field of the page has something else than it came with.
function isWritten() {
  const chosen = (it) => Math.max(0, [...it.options].findIndex((each) => each.defaultSelected));
  const isOther = (it) => (it.options ? it.selectedIndex !== chosen(it) : it.value !== it.defaultValue);
  return [...document.querySelectorAll("#page :is(input, textarea, select)")].some(isOther);
}

function isBusy() {
  const isAtWork = document.querySelector(`#page :is(${AT_WORK})`) !== null;
  return document.hidden || String(window.getSelection()) !== "" || isAtWork || isWritten();
}

// A proxy has a page of its own for a console that does not answer it.
function isOfAnother(answer) {
  return answer.status >= 500 && !answer.responseText.includes('id="page"');
}

function silence(isSilent) {
  document.getElementById("silence").hidden = !isSilent;
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.elt.id === "page" && isBusy()) {
    event.preventDefault();
  }
});

// Else each renewal would scroll to what the address names, such as the content that somebody skipped to.
document.addEventListener("htmx:configRequest", (event) => {
  event.detail.path = event.detail.path.split("#")[0];
});

// A renewal replaces what has the focus. What has an id gets it back; else, what is the same as that was.
let focused = null;

const isSame = (it, other) => (it.href ? it.href === other.href : it.isEqualNode(other));
const samesOf = (it) => [...document.querySelectorAll(`#page ${it.localName}`)].filter((each) => isSame(it, each));

document.addEventListener("htmx:beforeSwap", (event) => {
  // Somebody may have begun to write, or to read, while a renewal was on its way.
  const isUndoing = event.detail.requestConfig.elt.id === "page" && isBusy();
  event.detail.shouldSwap &&= !isUndoing && !isOfAnother(event.detail.xhr);
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

document.getElementById("pause")?.removeAttribute("hidden");

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
  const button = event.target.closest("[data-copy], #pause");
  if (button && button.id === "pause") {
    pause(button, passed === null);
  } else if (button) {
    navigator.clipboard.writeText(document.getElementById(button.dataset.copy).innerText);
    button.textContent = "Copied";
  }
});

// Escape leaves a search as it was, closes what lies open, and leaves a form: where something was written there,
// it only goes to the link that does.
document.addEventListener("keydown", (event) => {
  const [at, page] = [document.activeElement, document.getElementById("page")];
  const [open, way] = [at.closest("details[open]"), page.querySelector("a.leave")];
  if (event.key !== "Escape" || event.isComposing) {
    return;
  } else if (at.closest("form.focus")) {
    at.form.reset();
    page.focus();
  } else if (open && (!isWritten() || at.localName === "summary")) {
    open.open = false;
    open.querySelector("summary").focus();
  } else if (way) {
    way[isWritten() ? "focus" : "click"]();
  } else {
    window.getSelection().removeAllRanges();
  }
});

["htmx:sendError", "htmx:timeout"].forEach((name) => document.addEventListener(name, () => silence(true)));
document.addEventListener("htmx:sseOpen", () => silence(false));
document.addEventListener("htmx:sseError", (event) => {
  silence(true);
  // It was refused: whoever is not logged in any more is asked to.
  if (event.detail.source.readyState === EventSource.CLOSED) {
    fetch(location.href).then((it) => it.status === 401 && location.reload(), () => null);
  }
});
document.addEventListener("htmx:afterOnLoad", (event) => silence(isOfAnother(event.detail.xhr)));

document.addEventListener("visibilitychange", () => {
  const page = document.getElementById("page");
  if (!document.hidden && page.hasAttribute("hx-get")) {
    htmx.trigger(page, "seen");
  }
});

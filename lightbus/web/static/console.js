// What a page does besides being renewed: it waits while nobody looks or somebody selects text, and says so
// when the console does not answer.
"use strict";

function isBusy() {
  return document.hidden || String(window.getSelection()) !== "";
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

document.addEventListener("htmx:sendError", () => silence(true));
document.addEventListener("htmx:timeout", () => silence(true));
document.addEventListener("htmx:afterOnLoad", () => silence(false));

document.addEventListener("visibilitychange", () => {
  const page = document.getElementById("page");
  if (!document.hidden && page.hasAttribute("hx-get")) {
    htmx.trigger(page, "seen");
  }
});

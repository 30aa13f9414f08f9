// The API key: asked for when the service wants one, kept until the tab is closed.

import { by } from "./dom.js";

const STORED = "n3denoise-api-key";
let asking = null;

const stored = () => sessionStorage.getItem(STORED) || "";

export const hasKey = () => stored() !== "";

/** Return the header with the API key, if there is one. */
export function keyHeader() {
  return hasKey() ? { "X-API-Key": stored() } : {};
}

/**
 * Ask for a key after a request was refused.
 *
 * @param {object} refused The headers of that request. If the key has been changed since, nothing is asked.
 * @returns {Promise<boolean>} Whether there is another key to try.
 */
export async function wantKey(refused) {
  if (stored() !== (refused["X-API-Key"] || "")) return true;
  asking ??= dialog(stored() ? "The service does not know this key." : "This service requires an API key.");
  return asking;
}

/** Show the dialog, and return whether the user gave a key. Requests that are refused meanwhile share the answer. */
function dialog(reason) {
  by("key-reason").textContent = reason;
  by("key").value = stored();
  by("key-dialog").returnValue = "";
  by("key-dialog").showModal();
  return new Promise((resolve) => {
    by("key-dialog").addEventListener(
      "close",
      () => {
        asking = null;
        const given = by("key-dialog").returnValue === "use";
        if (given) sessionStorage.setItem(STORED, by("key").value.trim());
        resolve(given && by("key").value.trim() !== "");
      },
      { once: true },
    );
  });
}

export function setUpKey() {
  by("key-open").addEventListener("click", () => {
    asking ??= dialog("The key is sent with every request of this page, and forgotten when the tab is closed.");
  });
  by("key-cancel").addEventListener("click", () => by("key-dialog").close());
}

// Files that belong to one picture: a clean reference, and a mask.

import { by } from "./dom.js";
import { current, events } from "./pictures.js";

/** Their names, which are also those of the form fields. */
const ATTACHMENTS = ["reference", "mask"];

/** Return the names of those that a task takes. */
export const attachmentsOf = (task) => (task === "denoise" ? ATTACHMENTS : ["reference"]);

function show() {
  for (const id of ATTACHMENTS) {
    const file = current()?.[id];
    by(`${id}-name`).textContent = file ? file.name : "none";
    by(`${id}-remove`).hidden = !file;
  }
}

export function setUpAttachments() {
  for (const id of ATTACHMENTS) {
    by(id).addEventListener("change", () => {
      const [file] = by(id).files;
      by(id).value = ""; // so that the same file can be chosen again
      if (file) current()?.update({ [id]: file });
    });
    by(`${id}-remove`).addEventListener("click", () => {
      current()?.update({ [id]: null });
      by(id).focus();
    });
  }
  for (const name of ["selected", "changed"]) events.addEventListener(name, show);
  show();
}

// How pictures come in: by dropping, pasting, choosing files or a folder, and the camera.

import { by, say } from "./dom.js";
import { fileKind } from "./formats.js";
import { add } from "./pictures.js";

/** Take the pictures among some files. Other files of a folder are left out; a single file is taken whatever it is called. */
function take(files) {
  const wanted = files.length === 1 ? files : files.filter((file) => fileKind(file));
  if (!files.length) return;
  add(wanted);
  const left = files.length - wanted.length;
  const others = left ? ` ${left} other ${left === 1 ? "file was" : "files were"} left out.` : "";
  say(`${wanted.length} ${wanted.length === 1 ? "picture" : "pictures"} added.${others}`);
}

/** Return all files of a drop, with those in folders. */
async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  return (await Promise.all(entries.map(filesOf))).flat();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    // A reader returns a folder in parts, the last of which is empty.
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) break;
    inside.push(...part);
  }
  inside.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  return (await Promise.all(inside.map(filesOf))).flat();
}

export function setUpIntake() {
  for (const id of ["image", "folder", "camera"]) {
    by(id).addEventListener("change", () => {
      take([...by(id).files]);
      by(id).value = ""; // so that the same file can be chosen again
    });
  }
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(files);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, async (event) => {
      event.preventDefault();
      document.body.classList.toggle("over", name === "dragover");
      if (name === "drop") take(await dropped(event.dataTransfer));
    });
  }
}

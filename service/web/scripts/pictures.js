// The pictures of the page, what is known of each, and which of them is shown.

import { fileKind } from "./formats.js";

/** Events: "added", "removed", "changed" (detail: the picture), "selected" (detail: the picture or null). */
export const events = new EventTarget();

/** @type {Picture[]} */
export const pictures = [];
let selected = null;
let count = 0;

/**
 * One picture.
 *
 * `state` is ready (nothing asked yet), waiting (for its turn on the page), uploading, queued, running, succeeded, failed or canceled.
 */
export class Picture {
  constructor(file) {
    this.number = (count += 1);
    this.file = file;
    this.name = file.name || `pasted picture ${this.number}`;
    this.kind = fileKind(file);
    this.state = "ready";
    this.progress = 0;
    this.eta = null;
    this.note = ""; // why it waits, or what is wrong
    this.reference = null;
    this.mask = null;
    this.job = null; // {id, key, controller}
    this.figures = null;
    this.results = new Map(); // blobs by query
    this.trial = null; // a picture with noise added, and its result
  }

  get busy() {
    return ["waiting", "uploading", "queued", "running"].includes(this.state);
  }

  /** Change what is known of the picture, and tell those who show it. */
  update(changes) {
    Object.assign(this, changes);
    emit("changed", this);
  }
}

export const current = () => selected;

/** Add files to the list, and show the first of them if none is shown. */
export function add(files) {
  const added = files.map((file) => new Picture(file));
  pictures.push(...added);
  for (const picture of added) emit("added", picture);
  if (!selected && added.length) select(added[0]);
}

export function select(picture) {
  if (selected === picture) return;
  selected = picture;
  emit("selected", picture);
}

/** Remove a picture, and show its neighbor if it was shown. */
export function remove(picture) {
  const index = pictures.indexOf(picture);
  pictures.splice(index, 1);
  emit("removed", picture);
  if (selected === picture) select(pictures[Math.min(index, pictures.length - 1)] || null);
}

function emit(name, detail) {
  events.dispatchEvent(new CustomEvent(name, { detail }));
}

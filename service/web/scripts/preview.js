// The preview: the part of the picture that the user looks at, denoised with the present settings at once.

import { ask } from "./api.js";
import { by } from "./dom.js";
import { crop, load } from "./images.js";
import { computation, factor, task } from "./settings.js";
import { regionAround } from "./stage.js";

const SIDE = 512; // pixels of the picture; a crop of this size takes about a second without a GPU
let controller = new AbortController();

/** Stop the preview that is computed, and hide the one that is shown. */
export function dropPreview() {
  controller.abort();
  by("preview").hidden = true;
}

/**
 * Denoise or enlarge the visible part of a picture and show it in its place. A newer preview ends an older one.
 *
 * @param {Picture} picture
 * @param {HTMLImageElement} image The noisy picture.
 * @param {(text: string) => void} report Called with what is going on.
 * @returns {Promise<Headers|null>} The figures of the preview, or null if it was ended.
 */
export async function preview(picture, image, report) {
  controller.abort();
  const { signal } = (controller = new AbortController());
  try {
    report("Preview …");
    const times = factor();
    const shown = regionAround(SIDE * times, undefined, times); // on the stage, where an enlarged picture has its new size
    const region = Object.fromEntries(Object.entries(shown).map(([name, pixels]) => [name, pixels / times]));
    const body = new FormData();
    body.append("image", await crop(image, region));
    if (picture.mask && task() === "denoise") body.append("mask", await cropOfFile(picture.mask, region));
    const answer = await ask(`/v1/${task()}?${new URLSearchParams({ ...computation(), format: "png" })}`, {
      method: "POST",
      body,
      signal,
      onwait: (sentence) => report(sentence || "Preview …"),
    });
    const denoised = await createImageBitmap(await answer.blob());
    signal.throwIfAborted();
    draw(denoised, shown);
    report(whole(region, image) ? "Preview" : "Preview of the framed part");
    return answer.headers;
  } catch (error) {
    if (!signal.aborted) throw error;
    return null;
  }
}

async function cropOfFile(file, region) {
  const image = await load(file);
  const part = await crop(image, region);
  URL.revokeObjectURL(image.src);
  return part;
}

function draw(denoised, { x, y, width, height }) {
  const canvas = by("preview");
  Object.assign(canvas, { width, height, hidden: false });
  Object.assign(canvas.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  canvas.getContext("2d").drawImage(denoised, 0, 0);
  denoised.close();
}

const whole = ({ width, height }, image) => width === image.naturalWidth && height === image.naturalHeight;

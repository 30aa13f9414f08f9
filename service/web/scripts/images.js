// Pictures in the form that the browser draws, and crops of them.

import { ask } from "./api.js";
import { DEFAULT_MODEL, validSigma } from "./models.js";

/**
 * Return a picture that browsers can show: the file, or a PNG of it from the service, which computes nothing for strength 0.
 *
 * @returns {Promise<HTMLImageElement>} A decoded image. Its src is a URL to revoke when it is no longer shown.
 */
export async function original(picture, options) {
  if (picture.kind !== "tiff") {
    try {
      return await load(picture.file);
    } catch {
      // Not every browser reads HEIC or AVIF; the service says what is wrong with a damaged file.
    }
  }
  const query = new URLSearchParams({ strength: 0, sigma: validSigma(), model: DEFAULT_MODEL, color: "rgb", format: "png" });
  const body = new FormData();
  body.append("image", picture.file);
  return load(await (await ask(`/v1/denoise?${query}`, { method: "POST", body, ...options })).blob());
}

/** Return a blob as a decoded image. */
export async function load(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
  } catch (error) {
    URL.revokeObjectURL(image.src);
    throw error;
  }
  return image;
}

/** Return a region {x, y, width, height} of an image as a PNG file, pixel by pixel. */
export async function crop(image, { x, y, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/png" });
}

/** Return a PNG in base64 as a blob. */
export function pngOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

// The stage: two panes with the noisy and the denoised picture, which are moved and zoomed together.

import Panzoom from "../vendor/panzoom/panzoom.es.js";
import { by } from "./dom.js";

/** Event "moved": the visible part or the zoom has changed. */
export const events = new EventTarget();

const MOST = 4; // 400 %
const STEP = 40; // screen pixels that an arrow key moves the picture by
let zooms = [];
let size = { width: 0, height: 0 };
let fitted = true;

const pane = () => by("pane-before");
const fitScale = () => Math.min(pane().clientWidth / size.width, pane().clientHeight / size.height, 1) || 1;
const limited = (toScale) => Math.min(MOST, Math.max(fitScale(), toScale));

/** Return the present zoom: screen pixels for each pixel of the picture. */
export const scale = () => zooms[0].getScale();

/** Set the size of the pictures, and fit them into the stage if it differs from the size before. */
export function setSize(width, height) {
  if (width === size.width && height === size.height) return;
  size = { width, height };
  for (const scene of document.querySelectorAll(".scene")) {
    scene.style.width = `${width}px`;
    scene.style.height = `${height}px`;
    scene.querySelector("svg").setAttribute("viewBox", `0 0 ${width} ${height}`);
  }
  fit();
}

/** Show the whole picture. */
function fit() {
  moveTo(fitScale(), size.width / 2, size.height / 2);
  fitted = true;
}

/** Zoom so that a pixel of the picture is in the middle of the stage. */
function moveTo(toScale, x, y) {
  for (const zoom of zooms) zoom.setOptions({ minScale: Math.min(fitScale(), 1), maxScale: MOST });
  const { width, height } = pane().getBoundingClientRect();
  // Panzoom moves the picture, by pixels of the picture, and then scales it around its middle.
  const shift = (paneLength, length, at) => (paneLength - length) / 2 / toScale + length / 2 - at;
  zooms[0].zoom(toScale, { silent: true });
  zooms[0].pan(shift(width, size.width, x), shift(height, size.height, y));
}

/** Return the pixel of the picture at a point of the window, or null outside the picture. */
export function pixelAt(clientX, clientY, scene) {
  const box = scene.getBoundingClientRect();
  const x = Math.floor(((clientX - box.left) / box.width) * size.width);
  const y = Math.floor(((clientY - box.top) / box.height) * size.height);
  return x >= 0 && y >= 0 && x < size.width && y < size.height ? { x, y } : null;
}

/** Return where a point of the window is in the picture of a pane, in pixels of the picture. */
export function placeIn(inPane, { x, y }) {
  const scene = inPane.querySelector(".scene").getBoundingClientRect();
  return { x: (x - scene.left) / scale(), y: (y - scene.top) / scale() };
}

/** Zoom, and bring a point of the picture to a point of the window, in a pane. */
export function place(pixel, point, toScale, inPane) {
  const { x, y } = center(inPane);
  const to = limited(toScale);
  moveTo(to, pixel.x + (x - point.x) / to, pixel.y + (y - point.y) / to);
}

function center(inPane) {
  const box = inPane.getBoundingClientRect();
  return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
}

/** Return the pixel in the middle of the visible part. */
const middle = () => placeIn(pane(), center(pane()));

/**
 * Return a square of at most `limit` pixels around a pixel, or around the middle of the visible part: {x, y, width, height}.
 * If what it leaves out of the picture on each side must be a multiple of `step`, it may be larger by less than that.
 */
export function regionAround(limit, at = middle(), step = 1) {
  const span = (center, length) => {
    const start = Math.min(Math.max(center - limit / 2, 0), Math.max(length - limit, 0));
    const before = Math.floor(start / step) * step;
    const after = Math.floor(Math.max(length - before - limit, 0) / step) * step;
    return [before, length - before - after];
  };
  const [[x, width], [y, height]] = [span(at.x, size.width), span(at.y, size.height)];
  return { x, y, width, height };
}

function zoomBy(factor) {
  const { x, y } = middle();
  moveTo(limited(scale() * factor), x, y);
}

function moveBy(right, down) {
  const { x, y } = middle();
  moveTo(scale(), x + right / scale(), y + down / scale());
}

const KEYS = {
  "+": () => zoomBy(1.25),
  "=": () => zoomBy(1.25),
  "-": () => zoomBy(0.8),
  "0": fit,
  "1": () => moveTo(1, middle().x, middle().y),
  ArrowLeft: () => moveBy(-STEP, 0),
  ArrowRight: () => moveBy(STEP, 0),
  ArrowUp: () => moveBy(0, -STEP),
  ArrowDown: () => moveBy(0, STEP),
};

function follow(index, { x, y, scale: to }) {
  const other = zooms[1 - index];
  other.zoom(to, { silent: true, force: true });
  other.pan(x, y, { silent: true, force: true });
  fitted = false;
  by("zoom").textContent = `${Math.round(to * 100)} %`;
  by("stage").style.setProperty("--scale", to);
  by("stage").classList.toggle("large", to >= 2);
  events.dispatchEvent(new Event("moved"));
}

export function setUpStage() {
  zooms = ["scene-before", "scene-after"].map((id) => Panzoom(by(id), { canvas: true, animate: false, cursor: "grab", step: 0.2 }));
  for (const [index, id] of ["scene-before", "scene-after"].entries()) {
    by(id).addEventListener("panzoomchange", (event) => follow(index, event.detail));
  }
  // The wheel works on the handle of the divider too, which belongs to neither pane.
  by("stage").addEventListener(
    "wheel",
    (event) => (by("pane-after").contains(event.target) ? zooms[1] : zooms[0]).zoomWithWheel(event),
    { passive: false },
  );
  by("zoom-in").addEventListener("click", KEYS["+"]);
  by("zoom-out").addEventListener("click", KEYS["-"]);
  by("zoom-fit").addEventListener("click", fit);
  by("zoom-full").addEventListener("click", KEYS["1"]);
  by("stage").addEventListener("keydown", (event) => {
    if (event.target !== by("stage") || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  new ResizeObserver(() => {
    if (!size.width) return;
    if (fitted) fit();
    else moveBy(0, 0);
  }).observe(pane());
}

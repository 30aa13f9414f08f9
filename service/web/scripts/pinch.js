// Two fingers on the stage: the picture follows them, and the pixel between them stays there.

import { by } from "./dom.js";
import { place, placeIn, scale } from "./stage.js";

const fingers = new Map(); // points of the window, by the ID of the pointer
let start = null; // how the two fingers began; kept until all fingers are gone

function begin(target) {
  const pane = by("pane-after").contains(target) && by("stage").dataset.mode === "side" ? by("pane-after") : by("pane-before");
  const { distance, center } = grip();
  start = { distance, pane, pixel: placeIn(pane, center), scale: scale() };
}

function grip() {
  const [one, other] = [...fingers.values()];
  return {
    distance: Math.hypot(one.x - other.x, one.y - other.y) || 1,
    center: { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 },
  };
}

export function setUpPinch() {
  // While one finger moves the picture, Panzoom listens. It hears nothing of the second one, because it would treat fingers on
  // two panes as two movements, and zoom by their distance in pixels and not by its ratio.
  const listen = (name, action) => by("stage").addEventListener(name, action, { capture: true });
  listen("pointerdown", (event) => {
    if (event.pointerType !== "touch" || event.target === by("slider")) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2 && !start) begin(event.target);
    if (start) event.stopPropagation();
  });
  listen("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (!start) return;
    event.stopPropagation();
    if (fingers.size < 2) return;
    const { distance, center } = grip();
    place(start.pixel, center, start.scale * (distance / start.distance), start.pane);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    listen(name, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) start = null;
    });
  }
}

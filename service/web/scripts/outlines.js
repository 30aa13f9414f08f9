// The patches that were averaged, outlined over the picture with their weights.

import { element } from "./dom.js";

const LABELED = 3;
const FAINTEST = 1 / 50; // of the strongest weight; weaker ones are not drawn
const SVG = "http://www.w3.org/2000/svg";

export const percent = (weight) => `${(weight * 100).toFixed(weight < 0.1 ? 1 : 0)} %`;

/** Draw the patches that make up a neighbor, strongest first, and the patch of the pixel. The strongest lies on top. */
export function drawOutlines({ query, patch_size: side, left, top }, candidates) {
  const strongest = candidates[0].weight;
  for (const overlay of document.querySelectorAll(".overlay")) {
    const drawn = candidates.filter(({ weight }) => weight > strongest * FAINTEST).reverse();
    overlay.replaceChildren(
      ...drawn.map((each) => outline(each, side, { left, top }, "neighbor", each.weight / strongest)),
      outline(query, side, { left, top }, "query", 1),
    );
    overlay.nextElementSibling.replaceChildren(...candidates.slice(0, LABELED).map((each) => label(each, { left, top })));
  }
}

export function eraseOutlines() {
  for (const drawn of document.querySelectorAll(".overlay, .labels")) drawn.replaceChildren();
}

function outline({ x, y }, side, { left, top }, name, opacity) {
  const box = document.createElementNS(SVG, "rect");
  const attributes = { x: x + left, y: y + top, width: side, height: side, class: name };
  for (const [attribute, value] of Object.entries(attributes)) box.setAttribute(attribute, value);
  box.style.opacity = 0.15 + 0.85 * opacity;
  return box;
}

function label({ x, y, weight }, { left, top }) {
  const made = element("span", { textContent: percent(weight) });
  Object.assign(made.style, { left: `${x + left}px`, top: `${y + top}px` });
  return made;
}

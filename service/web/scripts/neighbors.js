// Which neighbors: the patches that the network averaged for one pixel, outlined with their weights.

import { ask } from "./api.js";
import { by, element, enable, onPress, say } from "./dom.js";
import { crop } from "./images.js";
import { drawOutlines, eraseOutlines, percent } from "./outlines.js";
import { current, events } from "./pictures.js";
import { denoising, events as settings } from "./settings.js";
import { pixelAt, regionAround } from "./stage.js";
import { noisyImage } from "./view.js";

const SIDE = 768; // pixels of the crop that is sent: more than the networks look at for one pixel
const STEP = 120; // a multiple of the strides of all networks: with it, a crop has the same patches as the whole picture
const LISTED = 8;
const WITH_NEIGHBORS = ["n3unet", "n3net", "photo"];
let found = null; // the answer of the service, and where its crop begins
let index = 0;
let offered = null; // the model whose blocks are offered
let controller = new AbortController();

const on = () => by("neighbors").getAttribute("aria-pressed") === "true";

/** Find the neighbors of a pixel. */
async function look(x, y) {
  const image = noisyImage();
  if (!image) return;
  controller.abort();
  const { signal } = (controller = new AbortController());
  by("neighbor-x").value = x;
  by("neighbor-y").value = y;
  by("neighbors-about").textContent = "Looking for the neighbors …";
  try {
    const region = regionAround(SIDE, { x, y }, STEP);
    const { photons, ...options } = treatment();
    offerBlocksOf(options.model);
    const query = new URLSearchParams({ x: x - region.x, y: y - region.y, block: by("neighbor-block").value, ...options });
    const body = new FormData();
    body.append("image", await crop(image, region));
    const answer = await ask(`/v1/neighbors?${query}`, {
      method: "POST",
      body,
      signal,
      headers: { Accept: "application/json" },
      onwait: (sentence) => { by("neighbors-about").textContent = sentence; },
    });
    found = { ...(await answer.json()), left: region.x, top: region.y, photons };
    index = Math.min(index, found.neighbors.length - 1);
    offerBlocks(found.blocks);
    showNeighbor();
  } catch (error) {
    if (signal.aborted) return;
    clear(error.message);
    say(error.message, { error: true });
  }
}

/**
 * Return the model and the noise level to look with: those of the result or, before there is one, those of the settings. Also
 * return whether the noise is that of photons, which the service does not take into account for neighbors.
 */
function treatment() {
  const figures = current()?.figures;
  const { sigma, model, noise } = denoising();
  const used = model === "auto" && figures ? figures.model : model;
  return {
    model: WITH_NEIGHBORS.includes(used) ? used : WITH_NEIGHBORS[0],
    sigma: sigma === "auto" && figures && used !== "photo" ? figures.sigma : sigma, // the noise of a photograph has no single level
    photons: noise === "poisson",
  };
}

/** Offer only the first block, which all models have, if the model has changed. Its first answer says how many it has. */
function offerBlocksOf(model) {
  if (model !== offered) offerBlocks(1);
  offered = model;
}

function offerBlocks(count) {
  const select = by("neighbor-block");
  if (select.options.length === count) return;
  const chosen = Math.min(select.value, count);
  select.replaceChildren(...Array.from({ length: count }, (_, block) => element("option", { value: block + 1, textContent: block + 1 })));
  select.value = chosen;
}

function showNeighbor() {
  const { neighbors, temperature, sigma, block, left, top, photons } = found;
  const { candidates } = neighbors[index];
  const strongest = candidates[0].weight;
  by("neighbors-about").textContent =
    `Neighbor ${index + 1} of ${neighbors.length} in block ${block}: a weighted mean of ${candidates.length} patches. ` +
    `Temperature ${temperature.toPrecision(3)}, noise level ${sigma.toFixed(1)}.${photons ? " Photon noise is not taken into account here." : ""}`;
  enable(by("neighbor-back"), index > 0);
  enable(by("neighbor-next"), index < neighbors.length - 1);
  by("neighbor-weights").replaceChildren(
    ...candidates.slice(0, LISTED).map(({ x, y, weight }) =>
      element("li", {}, element("meter", { value: weight / strongest, "aria-hidden": "true" }), `${percent(weight)} at ${x + left}, ${y + top}`),
    ),
  );
  drawOutlines(found, candidates);
}

function clear(text) {
  found = null;
  index = 0;
  by("neighbors-about").textContent = text;
  by("neighbor-weights").replaceChildren();
  eraseOutlines();
  for (const id of ["neighbor-back", "neighbor-next"]) enable(by(id), false);
}

function step(change) {
  index += change;
  showNeighbor();
}

export function setUpNeighbors() {
  const hint = "Click a pixel of the picture, or give its position, to see which patches the network averaged for it.";
  onPress(by("neighbors"), () => {
    by("neighbors").setAttribute("aria-pressed", String(!on()));
    by("neighbors-section").hidden = !on();
    by("stage").classList.toggle("picking", on());
    controller.abort();
    clear(hint);
  });
  let pressed = null;
  for (const scene of document.querySelectorAll(".scene")) {
    const pane = scene.parentElement;
    pane.addEventListener("pointerdown", (event) => { pressed = event; });
    pane.addEventListener("click", (event) => {
      const moved = pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY) > 4;
      const pixel = pixelAt(event.clientX, event.clientY, scene);
      if (on() && pixel && !moved) look(pixel.x, pixel.y);
    });
  }
  by("neighbor-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const { naturalWidth, naturalHeight } = noisyImage() || { naturalWidth: 1, naturalHeight: 1 };
    look(Math.min(by("neighbor-x").valueAsNumber, naturalWidth - 1), Math.min(by("neighbor-y").valueAsNumber, naturalHeight - 1));
  });
  const lookAgain = () => found && look(by("neighbor-x").valueAsNumber, by("neighbor-y").valueAsNumber);
  by("neighbor-block").addEventListener("input", lookAgain);
  settings.addEventListener("computation", () => {
    const { model } = treatment();
    if (model === offered) return;
    offerBlocksOf(model);
    lookAgain();
  });
  onPress(by("neighbor-back"), () => step(-1));
  onPress(by("neighbor-next"), () => step(1));
  events.addEventListener("selected", () => clear(hint));
  clear(hint);
}

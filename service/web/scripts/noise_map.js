// Where the noise is: the noise level map of the service, drawn over the picture.

import { ask } from "./api.js";
import { by, onPress, say } from "./dom.js";
import { pngOf } from "./images.js";
import { current, events } from "./pictures.js";
import { denoising } from "./settings.js";
import { confidence } from "./words.js";

const CELL = 8; // pixels of the picture along each side of a pixel of the map
const [WEAK, STRONG] = [[255, 217, 0], [230, 0, 0]]; // yellow and red, as in the heat map of neighbors
let controller = new AbortController();

const on = () => by("noise-map").getAttribute("aria-pressed") === "true";
const report = (text) => { by("noise-about").textContent = text; };

/** Draw the map of the chosen picture, or remove it if it is not wanted. */
async function show() {
  controller.abort();
  const { signal } = (controller = new AbortController());
  for (const heat of document.querySelectorAll(".heat")) heat.hidden = true;
  report("");
  if (!on() || !current()) return;
  const waiting = "Estimating the noise …";
  report(waiting);
  try {
    const body = new FormData();
    body.append("image", current().file);
    const answer = await ask(`/v1/noise?${new URLSearchParams({ color: denoising().color, noise_map: true })}`, {
      method: "POST",
      body,
      signal,
      onwait: (sentence) => report(sentence || waiting),
    });
    const { sigma, confidence: sure, noise_map: map } = await answer.json();
    const drawn = map && (await draw(map));
    signal.throwIfAborted();
    if (!drawn) return report("There is no noise map of this picture: it is too small, or neither gray nor RGB.");
    for (const heat of document.querySelectorAll(".heat")) put(drawn.heat, heat);
    report(
      `Noise level σ ${sigma.toFixed(1)} on average, from ${drawn.least} (yellow) to ${drawn.most} (red). Confidence: ${confidence(sure)}.`,
    );
  } catch (error) {
    if (signal.aborted) return;
    report("");
    say(error.message, { error: true });
  }
}

/** Return a map, a PNG in base64, in colors, with its least and its largest level. Browsers round levels to whole numbers. */
async function draw(map) {
  const levels = await createImageBitmap(pngOf(map));
  const heat = new OffscreenCanvas(levels.width, levels.height);
  const context = heat.getContext("2d");
  context.drawImage(levels, 0, 0);
  const pixels = context.getImageData(0, 0, heat.width, heat.height);
  const level = (index) => pixels.data[4 * index];
  let [least, most] = [255, 0];
  for (let index = 0; index < heat.width * heat.height; index += 1) {
    least = Math.min(least, level(index));
    most = Math.max(most, level(index));
  }
  for (let index = 0; index < heat.width * heat.height; index += 1) {
    const share = (level(index) - least) / Math.max(most - least, 1);
    WEAK.forEach((weak, channel) => { pixels.data[4 * index + channel] = weak + share * (STRONG[channel] - weak); });
  }
  context.putImageData(pixels, 0, 0);
  return { heat, least, most };
}

function put(heat, canvas) {
  Object.assign(canvas, { width: heat.width, height: heat.height, hidden: false });
  const [width, height] = [CELL * heat.width, CELL * heat.height]; // the last cells may go beyond the picture
  const { offsetWidth, offsetHeight } = canvas.parentElement;
  const clipPath = `inset(0px ${width - offsetWidth}px ${height - offsetHeight}px 0px)`;
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px`, clipPath });
  canvas.getContext("2d").drawImage(heat, 0, 0);
}

export function setUpNoiseMap() {
  onPress(by("noise-map"), () => {
    by("noise-map").setAttribute("aria-pressed", String(!on()));
    show();
  });
  events.addEventListener("selected", show);
}

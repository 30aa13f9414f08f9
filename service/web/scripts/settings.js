// The settings: what to compute, how to write the result, and how much of it to show.

import { by } from "./dom.js";

/** Events: "computation" when something must be computed again, "strength", and "output". */
export const events = new EventTarget();

const MODELS = {
  auto: "The photo network for the uneven noise of cameras, N3UNet for even noise.",
  photo: "For photographs: finds out how strong the noise is everywhere in the picture.",
  n3unet: "For even noise of one level: looks for similar patches in the picture and averages them.",
  n3net: "The published network for even noise: about as good as N3UNet, but it takes about three times as long.",
  dncnn: "Convolutions only, without neighbors, to compare with.",
  nlm: "Non-local means, the classic method without a network, to compare with.",
};
const COMPUTATION = ["auto", "by-hand", "photons", "sigma", "gain", "read-noise", "model", "color", "luma", "chroma", "detail", "ensemble", "metadata"];
const SHARES = { luma: "luma_strength", chroma: "chroma_strength", detail: "detail" };
const DEFAULTS = { luma: 1, chroma: 1, detail: 0 };

const MOST_SIGMA = { denoise: 75, upscale: 25 };

/** Return the factor by which pictures are enlarged, or 1 if they are not. */
export const factor = () => Number(document.querySelector("input[name=factor]:checked").value);

/** Return what is done to pictures: denoise or upscale. */
export const task = () => (factor() > 1 ? "upscale" : "denoise");

/** Return the options of the task that say what to compute, and which metadata its result has. */
export function computation() {
  const options = task() === "denoise" ? denoising() : enlarging();
  return by("metadata").value ? { ...options, metadata: by("metadata").value } : options;
}

function enlarging() {
  const options = { factor: factor(), sigma: by("by-hand").checked ? by("sigma").value : "auto" };
  return by("ensemble").checked ? { ...options, ensemble: true } : options;
}

/** Return the options for denoising. Those with their default are left out, except sigma, model and color. */
export function denoising() {
  const photons = by("photons").checked;
  const options = {
    sigma: by("by-hand").checked ? by("sigma").value : "auto",
    model: by("model").value,
    color: by("color").checked && !photons ? "rgb" : "gray", // pictures that count photons are gray
  };
  if (photons) {
    options.noise = "poisson";
    if (by("gain").value) options.gain = by("gain").value;
    if (by("read-noise").value) options.read_noise = by("read-noise").value;
  }
  for (const [id, name] of Object.entries(SHARES)) {
    if (share(id) !== DEFAULTS[id]) options[name] = share(id);
  }
  if (by("ensemble").checked) options.ensemble = true;
  return options;
}

/** Return the options that say how to write the result. Those with their default are left out. */
export function output() {
  const chosen = { format: by("format").value, depth: by("depth").value };
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value));
}

/** Return the blend of the noisy (0) and the denoised picture (1). */
export const strength = () => (task() === "denoise" ? share("strength") : 1);

/** Return what a result depends on, for one picture. */
export function keyOf(picture) {
  const about = (file) => file && [file.name, file.size, file.lastModified];
  return JSON.stringify([computation(), about(picture.reference), about(picture.mask)]);
}

const share = (id) => Number(by(id).value) / 100;

export function setUpSettings() {
  const emit = (name) => events.dispatchEvent(new Event(name));
  for (const id of COMPUTATION) by(id).addEventListener("input", () => emit("computation"));
  for (const id of ["format", "depth"]) by(id).addEventListener("input", () => emit("output"));
  by("strength").addEventListener("input", () => emit("strength"));
  for (const id of ["sigma", "strength", "luma", "chroma", "detail", "trial-sigma"]) {
    const show = () => { by(`${id}-value`).textContent = id.endsWith("sigma") ? by(id).value : `${by(id).value} %`; };
    by(id).addEventListener("input", show);
    show();
  }
  const choices = document.querySelectorAll("input[name=factor]");
  const arrange = () => {
    for (const part of document.querySelectorAll("[data-only]")) part.hidden = part.dataset.only !== task();
    if (by("photons").checked && task() === "upscale") by("auto").click();
    by("sigma").max = MOST_SIGMA[task()];
    by("sigma-value").textContent = by("sigma").value;
  };
  for (const choice of choices) choice.addEventListener("input", () => { arrange(); emit("strength"); emit("computation"); });
  arrange();
  const level = () => {
    by("level").hidden = !by("by-hand").checked;
    by("photon-noise").hidden = !by("photons").checked;
    by("color-choice").hidden = by("photons").checked;
  };
  for (const id of ["auto", "by-hand", "photons"]) by(id).addEventListener("input", level);
  level();
  const describe = () => { by("model-about").textContent = MODELS[by("model").value]; };
  by("model").addEventListener("input", describe);
  describe();
}

// The settings: what to compute, how to write the result, and how much of it to show.

import { by } from "./dom.js";

/** Events: "computation" when something must be computed again, "strength", and "output". */
export const events = new EventTarget();

const MODELS = {
  auto: "The photo network for the uneven noise of cameras, N3Net for even noise.",
  photo: "For photographs: finds out how strong the noise is everywhere in the picture.",
  n3net: "For even noise of one level: looks for similar patches in the picture and averages them.",
  n3unet: "For even noise, as good as N3Net nearly everywhere and more than three times as fast.",
  dncnn: "Convolutions only, without neighbors, to compare with.",
  nlm: "Non-local means, the classic method without a network, to compare with.",
};
const COMPUTATION = ["auto", "by-hand", "sigma", "model", "color", "luma", "chroma", "detail", "ensemble"];
const SHARES = { luma: "luma_strength", chroma: "chroma_strength", detail: "detail" };
const DEFAULTS = { luma: 1, chroma: 1, detail: 0 };

/** Return the options that say what to compute. Those with their default are left out, except sigma, model and color. */
export function computation() {
  const options = {
    sigma: by("auto").checked ? "auto" : by("sigma").value,
    model: by("model").value,
    color: by("color").checked ? "rgb" : "gray",
  };
  for (const [id, name] of Object.entries(SHARES)) {
    if (share(id) !== DEFAULTS[id]) options[name] = share(id);
  }
  if (by("ensemble").checked) options.ensemble = true;
  return options;
}

/** Return the options that say how to write the result. Those with their default are left out. */
export function output() {
  const chosen = { format: by("format").value, depth: by("depth").value, metadata: by("metadata").value };
  return Object.fromEntries(Object.entries(chosen).filter(([, value]) => value));
}

/** Return the blend of the noisy (0) and the denoised picture (1). */
export const strength = () => share("strength");

/** Return what a result depends on, for one picture. */
export function keyOf(picture) {
  const about = (file) => file && [file.name, file.size, file.lastModified];
  return JSON.stringify([computation(), about(picture.reference), about(picture.mask)]);
}

const share = (id) => Number(by(id).value) / 100;

export function setUpSettings() {
  const emit = (name) => events.dispatchEvent(new Event(name));
  for (const id of COMPUTATION) by(id).addEventListener("input", () => emit("computation"));
  for (const id of ["format", "depth", "metadata"]) by(id).addEventListener("input", () => emit("output"));
  by("strength").addEventListener("input", () => emit("strength"));
  for (const id of ["sigma", "strength", "luma", "chroma", "detail", "trial-sigma"]) {
    const show = () => { by(`${id}-value`).textContent = id.endsWith("sigma") ? by(id).value : `${by(id).value} %`; };
    by(id).addEventListener("input", show);
    show();
  }
  const level = () => { by("level").hidden = by("auto").checked; };
  by("auto").addEventListener("input", level);
  by("by-hand").addEventListener("input", level);
  level();
  const describe = () => { by("model-about").textContent = MODELS[by("model").value]; };
  by("model").addEventListener("input", describe);
  describe();
}

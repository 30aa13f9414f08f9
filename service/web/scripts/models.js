// The models of the service and the machine that it runs on.

import { by } from "./dom.js";
import { keyHeader } from "./key.js";

/** The model for even noise. */
export const DEFAULT_MODEL = "n3unet";

let sigma = 25;

/** Return a noise level that the default model takes. */
export const validSigma = () => sigma;

/** Ask the service what it has. The page works without an answer, so a missing API key is not asked for yet. */
export async function setUpModels() {
  const [models, info] = await Promise.all(["/v1/models", "/v1/info"].map(about));
  if (models) {
    const names = models.models.map((model) => model.name);
    for (const option of [...by("model").options]) {
      if (option.value !== "auto" && !names.includes(option.value)) option.remove();
    }
    by("enlarging").hidden = !names.includes("upscale");
    const first = models.models.find((model) => model.name === DEFAULT_MODEL);
    if (first) sigma = Math.min(Math.max(sigma, first.sigma_min), first.sigma_max);
  }
  if (info) by("device").textContent = `Runs on ${info.device === "cuda" ? info.device_name : "the CPU"}.`;
}

async function about(path) {
  try {
    const answer = await fetch(path, { headers: keyHeader() });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

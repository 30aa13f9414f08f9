// A trial: noise of a known level is added to a clean picture and removed again.

import { ask } from "./api.js";
import { by, enable, onPress, say } from "./dom.js";
import { pngOf } from "./images.js";
import { DEFAULT_MODEL } from "./models.js";
import { current } from "./pictures.js";
import { denoising } from "./settings.js";

async function start() {
  const picture = current();
  if (!picture) return;
  const { model, color, ensemble = false } = denoising();
  const query = new URLSearchParams({
    sigma: by("trial-sigma").value,
    seed: by("trial-seed").value || 0,
    model: model === "auto" ? DEFAULT_MODEL : model,
    color,
    ensemble,
  });
  const body = new FormData();
  body.append("image", picture.file);
  const report = (text) => { by("trial-state").textContent = text; };
  enable(by("trial-start"), false);
  try {
    report("Adding noise and removing it …");
    const answer = await ask(`/v1/evaluate?${query}`, {
      method: "POST",
      body,
      headers: { Accept: "application/json" },
      onwait: (sentence) => report(sentence || "Adding noise and removing it …"),
    });
    const { noisy_image: noisy, denoised_image: denoised, ...figures } = await answer.json();
    picture.update({ trial: { noisy: pngOf(noisy), denoised: pngOf(denoised), figures } });
    report("The stage shows the picture with the noise, and denoised.");
  } catch (error) {
    report("");
    say(error.message, { error: true });
  } finally {
    enable(by("trial-start"), true);
  }
}

export function setUpTrial() {
  onPress(by("trial-start"), start);
  by("trial-end").addEventListener("click", () => {
    current().update({ trial: null });
    by("trial-state").textContent = "";
    by("trial-start").focus();
  });
}

// Figures and warnings of a result, a preview or a trial.

import { by, element } from "./dom.js";
import { advice, confidence } from "./words.js";

/** Show the figures of a job. */
export function showJob({ model, device, width, height, sigma, noise, photon_noise: photons, warnings, ...rest }) {
  show(
    "The whole picture",
    [
      ["Network", model],
      ["Noise level", number(sigma)],
      ["Gain", photons && short(photons.gain)],
      ["Read noise", photons && `σ ${short(photons.read_noise)}`],
      ["Confidence", noise && confidence(noise.confidence)],
      ["Enlarged", rest.factor && `${rest.factor} ×`],
      ...(rest.factor ? quality(rest.bicubic, rest.upscaled) : quality(rest.noisy, rest.denoised)),
      ["Size", `${width} × ${height}`],
      ["Device", device],
    ],
    warnings.map((warning) => warning.code),
    Boolean(rest.factor),
  );
}

/** Show the figures of a preview, which are in the headers of the response. */
export function showPreview(headers) {
  const warnings = (headers.get("X-Warnings") || "").split(",").map((code) => code.trim()).filter(Boolean);
  const sure = headers.get("X-Sigma-Confidence");
  show(
    "The part in the preview",
    [["Network", headers.get("X-Model")], ["Noise level", number(headers.get("X-Sigma"))], ["Confidence", sure && confidence(Number(sure))]],
    warnings,
    headers.has("X-Factor"),
  );
}

/** Show the figures of a trial with noise that was added. */
export function showTrial({ model, sigma, width, height, device, noisy, denoised }) {
  const rows = [["Network", model], ["Noise added", number(sigma)], ...quality(noisy, denoised), ["Size", `${width} × ${height}`], ["Device", device]];
  show("The clean picture with noise added", rows, []);
}

export function showNothing() {
  by("figures-section").hidden = true;
}

function show(about, rows, codes, enlarged = false) {
  by("figures-section").hidden = false;
  by("figures-about").textContent = about;
  const pairs = rows.filter(([, value]) => value);
  by("figures").replaceChildren(
    ...pairs.map(([name, value]) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: value }))),
  );
  by("warnings").replaceChildren(...codes.map((code) => element("li", { textContent: advice(code, enlarged) })));
  by("warnings").hidden = !codes.length;
}

const number = (sigma) => `σ ${Number(sigma).toFixed(1)}`;
const short = (value) => String(Number(value.toPrecision(3)));

function quality(noisy, denoised) {
  if (!noisy) return [];
  const change = (before, after, digits, unit) => {
    const word = (value) => (value === null ? "∞" : value.toFixed(digits));
    return `${word(before)} → ${word(after)}${unit}`;
  };
  const rows = [["PSNR", change(noisy.psnr, denoised.psnr, 2, " dB")]];
  if (noisy.ssim !== null) rows.push(["SSIM", change(noisy.ssim, denoised.ssim, 3, "")]);
  return rows;
}

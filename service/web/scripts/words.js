// What the service says, in words for people: states, times, confidence and warnings.

const BY_HAND = "choose “By hand” under Noise and set the level yourself";
const ADVICE = {
  "was-cmyk": `The picture was in CMYK. It was converted to sRGB by its color profile.`,
  "guessed-cmyk": `The picture was in CMYK without a color profile that can be used. It was converted to sRGB by a simple formula, so its colors are not exact.`,
  "was-premultiplied": `The colors of the picture were multiplied by its alpha. They were divided by it before denoising.`,
  "unlabeled-colors": `The colors of the picture are not sRGB, as in HDR pictures, and the result does not say so. It looks different.`,
  "too-small": `The picture is too small to estimate its noise, so it was left unchanged. To denoise it, ${BY_HAND}.`,
  "looks-clean": `The picture looks clean already, so it was left unchanged. If you see noise, ${BY_HAND}.`,
  "not-white": `The noise is not even: it was smoothed or compressed, or is stronger in some places. Choose the network for photographs, or ${BY_HAND}.`,
  "weak-noise": `The noise is weak and hard to tell from fine texture, so only a part of it was removed. To remove all of it, ${BY_HAND}.`,
  "signal-dependent": `The noise differs between dark and bright parts, so no single level fits the whole picture. If one part is still noisy, ${BY_HAND}.`,
  "out-of-range": `The noise is stronger or weaker than the model was trained for, so it was removed only as well as the range of the model allows. To try another level, ${BY_HAND}.`,
  "not-photon-noise": `The noise does not grow with the brightness as photon noise does. Denoise the picture as a photograph, or ${BY_HAND}.`,
  "outliers": `A few samples lie far outside the range of all others, so the whole picture was denoised at very low contrast. Replace these samples, which may be hot pixels, and send the picture again.`,
};

const ADVICE_ON_ENLARGING = {
  "too-small": `The picture is too small to estimate its noise, so none was removed. To remove noise, ${BY_HAND}.`,
  "looks-clean": `The picture looks clean already, so no noise was removed. If you see noise, ${BY_HAND}.`,
  "not-white": `The noise is not even: it was smoothed or compressed, or is stronger in some places. If it is still there, denoise the picture first, without enlarging it, and then enlarge the result.`,
};

/** Return a warning about a picture that was denoised, or else enlarged, with what to do about it. */
export const advice = (code, enlarged) => (enlarged && ADVICE_ON_ENLARGING[code]) || ADVICE[code] || `The service warns: ${code}.`;

/** Return the confidence in an estimate in words. */
export function confidence(value) {
  const word = value >= 0.8 ? "high" : value >= 0.5 ? "medium" : "low";
  return `${word} (${Math.round(value * 100)} %)`;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(size) {
  return size < 1e6 ? `${Math.max(1, Math.round(size / 1e3))} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

/** Return the state of a picture in a few words. */
export function stateOf({ state, progress, eta, note, job }) {
  if (note) return state === "failed" ? `Failed: ${note}` : note;
  const share = `${Math.floor(progress * 100)} %`;
  const left = eta === null ? "" : `, about ${duration(eta)} left`;
  const words = {
    ready: "Ready",
    waiting: "Waits for its turn",
    uploading: `Sending, ${share}`,
    queued: `In the queue${left}`,
    running: `${job?.task === "upscale" ? "Enlarging" : "Denoising"}, ${share}${left}`,
    succeeded: "Done",
    canceled: "Canceled",
  };
  return words[state];
}

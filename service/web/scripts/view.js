// What the stage shows of the chosen picture: its result, the result of a trial, or a preview.

import { by, say, settled } from "./dom.js";
import { showJob, showNothing, showPreview, showTrial } from "./figures.js";
import { load, original } from "./images.js";
import { current, events } from "./pictures.js";
import { dropPreview, preview } from "./preview.js";
import { shown } from "./results.js";
import { events as settings, factor, keyOf } from "./settings.js";
import { events as stage, regionAround, setSize } from "./stage.js";
import { stateOf } from "./words.js";

let view = null; // {picture, controller, noisy, trial, denoised, state}

/** Return the noisy picture on the stage as an image, or null while there is none. */
export const noisyImage = () => view?.trial || view?.noisy || null;

async function open(picture) {
  close();
  by("viewer").hidden = !picture;
  if (!picture) return;
  const mine = (view = { picture, controller: new AbortController(), noisy: null, trial: null, denoised: null, state: null });
  label("Opening …");
  try {
    const onwait = (sentence) => label(sentence || "Opening …");
    const image = await original(picture, { signal: mine.controller.signal, onwait });
    if (view !== mine) return URL.revokeObjectURL(image.src);
    mine.noisy = image;
    await refresh();
  } catch (error) {
    fail(mine, error);
  }
}

function close() {
  dropPreview();
  showNothing();
  for (const id of ["before", "under", "after"]) put(id, null);
  if (!view) return;
  view.controller.abort();
  for (const image of [view.noisy, view.trial, view.denoised]) release(image);
  view = null;
}

/** Show what is right now: a trial if there is one, a result with the present settings, else a preview. */
async function refresh() {
  const mine = view;
  if (!mine?.noisy) return;
  const { picture } = mine;
  by("trial-end").hidden = !picture.trial;
  const fresh = picture.state === "succeeded" && picture.job.key === keyOf(picture);
  try {
    if (picture.trial) await showPair(mine, picture.trial, picture.trial.noisy, () => picture.trial.denoised);
    else if (fresh) await showPair(mine, picture.job, null, () => shown(picture, mine.controller.signal));
    else await showPreviewOf(mine);
  } catch (error) {
    fail(mine, error);
  }
}

/** Show a denoised picture beside the noisy one, or beside the one to which noise was added. */
async function showPair(mine, state, noisyBlob, fetchDenoised) {
  if (mine.state === state) return;
  mine.state = state;
  label("Fetching the result …");
  const [trial, denoised] = [noisyBlob && (await load(noisyBlob)), await load(await fetchDenoised())];
  if (view !== mine || mine.state !== state) return [trial, denoised].forEach(release);
  const old = [mine.trial, mine.denoised];
  Object.assign(mine, { trial, denoised });
  setSize(denoised.naturalWidth, denoised.naturalHeight);
  nameSides(!mine.picture.trial && factor() > 1);
  for (const id of ["before", "under"]) put(id, trial || mine.noisy);
  put("after", denoised);
  dropPreview();
  old.forEach(release);
  if (mine.picture.trial) showTrial(mine.picture.trial.figures);
  else showJob(mine.picture.figures);
  label(mine.picture.trial ? "Noise added and removed" : "Result");
}

async function showPreviewOf(mine) {
  const { picture, noisy } = mine;
  setSize(factor() * noisy.naturalWidth, factor() * noisy.naturalHeight);
  nameSides(factor() > 1);
  const state = JSON.stringify([keyOf(picture), regionAround(512), by("live").checked, picture.busy]);
  if (picture.busy) label(stateOf(picture));
  if (mine.state === state) return;
  const hadResult = mine.denoised;
  Object.assign(mine, { state, denoised: null, trial: null });
  for (const id of ["before", "under"]) put(id, noisy);
  put("after", null);
  release(hadResult);
  if (picture.busy) return;
  if (!by("live").checked) {
    dropPreview();
    showNothing();
    const missing = factor() > 1 ? "Not enlarged yet" : "Not denoised yet";
    label(picture.state === "succeeded" ? "Settings changed: apply them to see the result" : missing);
    return;
  }
  const headers = await preview(picture, noisy, (text) => view === mine && !picture.busy && label(text));
  if (headers && view === mine && mine.state === state) showPreview(headers);
}

/** Say what both sides of the stage are. Neighbors and noise maps are drawn only over pictures of the original size. */
function nameSides(enlarged) {
  const [before, after] = enlarged ? ["Original", "Enlarged"] : ["Noisy", "Denoised"];
  document.querySelector("#pane-before .tag").textContent = before;
  document.querySelector("#pane-after .tag").textContent = after;
  by("before").alt = `${before} picture`;
  by("after").alt = `${after} picture`;
  by("stage").setAttribute("aria-label", `${before} and ${after.toLowerCase()} picture`);
  by("slider").setAttribute("aria-label", `Divider: ${before.toLowerCase()} picture on the left, ${after.toLowerCase()} picture on the right`);
  for (const id of ["neighbors", "noise-map"]) {
    if (enlarged && by(id).getAttribute("aria-pressed") === "true") by(id).click();
    by(id).hidden = enlarged;
  }
}

function fail(mine, error) {
  if (view !== mine || error === mine.controller.signal.reason) return;
  const message = error.name === "EncodingError" ? "The browser cannot show this picture." : error.message;
  label(message, { error: true });
  say(`${mine.picture.name}: ${message}`, { error: true });
}

function label(text, { error = false } = {}) {
  by("showing").textContent = text;
  by("showing").classList.toggle("error", error);
}

function put(id, image) {
  by(id).hidden = !image;
  if (image) by(id).src = image.src;
  else by(id).removeAttribute("src");
}

const release = (image) => image && URL.revokeObjectURL(image.src);

export function setUpView() {
  const soon = settled(250, refresh);
  events.addEventListener("selected", ({ detail }) => open(detail));
  events.addEventListener("changed", ({ detail }) => detail === current() && refresh());
  settings.addEventListener("computation", soon);
  stage.addEventListener("moved", soon);
  by("live").addEventListener("input", refresh);
  open(null);
}

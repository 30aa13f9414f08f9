// The list of pictures: a row with the state of each, and buttons for one and for all.

import { downloadZip } from "../vendor/client-zip/index.js";
import { by, enable, onPress, say, saveAs } from "./dom.js";
import { different, resultName, stem } from "./formats.js";
import { cancel, forget, submit } from "./jobs.js";
import { current, events, pictures, remove, select } from "./pictures.js";
import { kept } from "./results.js";
import { drawThumbnail } from "./thumbnails.js";
import { bytes, stateOf } from "./words.js";

const rows = new Map();

function addRow(picture) {
  const row = by("row").content.firstElementChild.cloneNode(true);
  const part = (name) => row.querySelector(`.${name}`);
  part("name").textContent = picture.name;
  part("size").textContent = bytes(picture.file.size);
  part("progress").setAttribute("aria-label", `Progress of ${picture.name}`);
  for (const [name, word, action] of [
    ["cancel", "Cancel", () => cancel(picture)],
    ["retry", "Try again:", () => submit([picture])],
    ["save", "Download", () => save(picture)],
    ["remove", "Remove", () => discard(picture)],
  ]) {
    part(name).setAttribute("aria-label", `${word} ${picture.name}`);
    part(name).addEventListener("click", action);
  }
  part("pick").addEventListener("click", () => select(picture));
  rows.set(picture, row);
  by("queue").append(row);
  drawThumbnail(picture, part("thumbnail"));
  showRow(picture);
}

function showRow(picture) {
  const row = rows.get(picture);
  if (!row) return;
  const part = (name) => row.querySelector(`.${name}`);
  const focused = row.contains(document.activeElement) ? document.activeElement : null;
  row.dataset.state = picture.state;
  part("state").textContent = stateOf(picture);
  part("progress").hidden = !picture.busy;
  part("progress").value = picture.progress;
  part("cancel").hidden = !picture.busy;
  part("retry").hidden = !["failed", "canceled"].includes(picture.state);
  part("save").hidden = picture.state !== "succeeded";
  part("remove").hidden = picture.busy;
  if (focused?.hidden) part("pick").focus(); // a button that disappears must not take the focus of the keyboard with it
}

function discard(picture) {
  const row = rows.get(picture);
  const next = row.nextElementSibling || row.previousElementSibling;
  forget(picture.job);
  remove(picture);
  (next?.querySelector(".pick") || by("image")).focus();
}

/** Download one result with the chosen format and strength. */
async function save(picture) {
  try {
    const blob = picture.trial ? picture.trial.denoised : await kept(picture);
    saveAs(blob, resultName(picture.name, blob.type, picture.trial ? 1 : picture.job.options.factor));
  } catch (error) {
    say(`${picture.name}: ${error.message}`, { error: true });
  }
}

/** Download all results as one archive. Those that cannot be fetched are named. */
async function saveAll() {
  const done = pictures.filter((picture) => picture.state === "succeeded");
  const lost = [];
  async function* files() {
    const names = different(done.map((picture) => stem(picture.name)));
    for (const [index, picture] of done.entries()) {
      say(`Fetching ${index + 1} of ${done.length}: ${picture.name}`);
      try {
        const input = await kept(picture);
        yield { name: resultName(`${names[index]}.`, input.type, picture.job.options.factor), input, lastModified: new Date() };
      } catch (error) {
        lost.push(`${picture.name}: ${error.message}`);
      }
    }
  }
  enable(by("save-all"), false);
  try {
    const archive = `${done.some((picture) => picture.job.task === "denoise") ? "denoised" : "enlarged"}.zip`;
    saveAs(await downloadZip(files()).blob(), archive);
    const saved = done.length - lost.length;
    say([`${saved} ${saved === 1 ? "picture is" : "pictures are"} in ${archive}.`, ...lost].join(" "), { error: lost.length > 0 });
  } finally {
    enable(by("save-all"), true);
  }
}

function showTotals() {
  const count = (...states) => pictures.filter((picture) => states.includes(picture.state)).length;
  const busy = pictures.filter((picture) => picture.busy).length;
  document.body.classList.toggle("empty", !pictures.length);
  by("totals").textContent = [
    [pictures.length, pictures.length === 1 ? "picture" : "pictures"],
    [busy, "in progress"],
    [count("succeeded"), "done"],
    [count("failed"), "failed"],
  ].filter(([number]) => number).map((each) => each.join(" ")).join(", ");
  by("apply-all").hidden = pictures.length < 2;
  enable(by("apply"), Boolean(current()) && !current().busy);
  enable(by("apply-all"), busy < pictures.length);
  by("cancel-all").hidden = busy < 2;
  by("clear").hidden = pictures.length < 2;
  by("save-all").hidden = count("succeeded") < 2;
}

/** Announce the end of a picture, and the end of all with the names of those that failed. */
function announce(picture) {
  if (!["succeeded", "failed", "canceled"].includes(picture.state) || picture.announced === picture.job) return;
  picture.announced = picture.job;
  const failed = pictures.filter((each) => each.state === "failed");
  const last = !pictures.some((each) => each.busy) && pictures.length > 1;
  const sentences = [`${picture.name}: ${stateOf(picture)}${picture.state === "failed" ? "" : "."}`];
  if (last) sentences.push(failed.length ? `All ended; failed: ${failed.map((each) => each.name).join(", ")}.` : "All pictures ended.");
  say(sentences.join(" "), { error: picture.state === "failed" || (last && failed.length > 0) });
}

export function setUpQueue() {
  events.addEventListener("added", ({ detail }) => { addRow(detail); showTotals(); });
  events.addEventListener("removed", ({ detail }) => { rows.get(detail).remove(); rows.delete(detail); showTotals(); });
  events.addEventListener("changed", ({ detail }) => { showRow(detail); showTotals(); announce(detail); });
  events.addEventListener("selected", ({ detail }) => {
    for (const [picture, row] of rows) row.querySelector(".pick").setAttribute("aria-current", String(picture === detail));
    showTotals();
  });
  onPress(by("apply"), () => submit([current()]));
  onPress(by("apply-all"), () => submit(pictures));
  onPress(by("save-all"), saveAll);
  by("cancel-all").addEventListener("click", () => pictures.forEach(cancel));
  by("clear").addEventListener("click", () => {
    for (const picture of [...pictures]) {
      cancel(picture);
      forget(picture.job);
      remove(picture);
    }
    by("image").focus();
  });
  showTotals();
}

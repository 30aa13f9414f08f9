// The way of a picture through the service: it is sent, waits, is computed, and can be canceled at any time.

import { ask } from "./api.js";
import { attachmentsOf } from "./attachments.js";
import { pause } from "./dom.js";
import { computation, keyOf, task } from "./settings.js";

const AT_ONCE = 3; // pictures that the page has in the service at the same time
const POLL_MILLISECONDS = 700;
const waiting = [];
let active = 0;

/** Have pictures denoised or enlarged with the present settings. */
export function submit(pictures) {
  for (const picture of pictures) {
    if (picture.busy) continue;
    const job = { id: newId(), key: keyOf(picture), task: task(), options: computation(), controller: new AbortController(), sent: false };
    picture.results.clear();
    picture.update({ state: "waiting", progress: 0, eta: null, note: "", figures: null, trial: null, job });
    waiting.push(picture);
  }
  proceed();
}

/** Cancel the work on a picture, wherever it is. */
export function cancel(picture) {
  if (!picture.busy) return;
  const { job } = picture;
  job.controller.abort();
  const index = waiting.indexOf(picture);
  if (index >= 0) waiting.splice(index, 1);
  forget(job);
  picture.update({ state: "canceled", note: "", eta: null });
}

/** Let the service free what it keeps of a job. It would do so by itself after a while, so a failure does not matter. */
export function forget(job) {
  if (!job?.sent) return;
  job.sent = false;
  ask(`/v1/jobs/${job.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

function proceed() {
  while (active < AT_ONCE && waiting.length) {
    active += 1;
    run(waiting.shift()).finally(() => {
      active -= 1;
      proceed();
    });
  }
}

async function run(picture) {
  const { job } = picture;
  try {
    await send(picture, job);
    await follow(picture, job);
  } catch (error) {
    if (picture.job === job && !job.controller.signal.aborted) picture.update({ state: "failed", note: error.message, eta: null });
  }
}

/** Send the picture. A repeated PUT makes no second job, so it is safe however a connection breaks. */
async function send(picture, job) {
  const body = new FormData();
  for (const name of attachmentsOf(job.task)) if (picture[name]) body.append(name, picture[name]);
  body.append("image", picture.file);
  picture.update({ state: "uploading" });
  job.sent = true;
  await ask(`/v1/jobs/${job.id}?${new URLSearchParams({ task: job.task, ...job.options })}`, {
    method: "PUT",
    body,
    signal: job.controller.signal,
    onprogress: (share) => picture.update({ progress: share, note: "" }),
    onwait: (note) => picture.update({ note }),
  });
  picture.update({ state: "queued", progress: 0, note: "" });
}

/** Ask for the state of a job until it is final. One request at a time: a browser has only six connections to a host. */
async function follow(picture, job) {
  const { signal } = job.controller;
  for (;;) {
    const state = await stateOf(picture, job);
    signal.throwIfAborted();
    if (state) {
      const { status, progress, eta_seconds: eta, figures, error } = state;
      if (status === "succeeded") return picture.update({ state: "succeeded", progress: 1, eta: null, note: "", figures });
      if (status === "failed") throw new Error(`${error.title}. ${error.detail}`);
      if (status === "canceled" || status === "expired") throw new Error("The service ended the work before it was done.");
      picture.update({ state: status, progress, eta, note: "" });
    }
    await pause(POLL_MILLISECONDS, signal);
  }
}

async function stateOf(picture, job) {
  try {
    const onwait = (note) => picture.update({ note });
    return await (await ask(`/v1/jobs/${job.id}`, { signal: job.controller.signal, onwait })).json();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // fetch throws a TypeError if there is no connection
    picture.update({ note: "No connection to the service. Trying again …" });
    return null;
  }
}

// crypto.randomUUID exists only over HTTPS and on this machine.
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Requests to the service: API key, progress of uploads, and patience when the service is busy.

import { keyHeader, wantKey } from "./key.js";
import { pause } from "./dom.js";

/** What the service says is wrong (application/problem+json). */
class Problem extends Error {
  constructor(status, { title = `Error ${status}`, detail = "" }) {
    super(detail ? `${title}. ${detail}` : title);
    this.status = status;
  }
}

/**
 * Send a request and return the response, which is a good one.
 *
 * A response that asks to wait (429 or 503 with Retry-After) is waited for and the request is repeated; a missing API key is asked for.
 *
 * @param {string} path
 * @param {object} options As for fetch, and: `onprogress` is called with the share of the body that was sent; `onwait` is called every
 *   second with a sentence that says why and how long it waits, and with "" when the next try begins.
 */
export async function ask(path, { signal, onprogress, onwait = () => {}, ...init } = {}) {
  for (;;) {
    const headers = { ...init.headers, ...keyHeader() };
    const answer = onprogress
      ? await upload(path, { ...init, headers, signal, onprogress })
      : await fetch(path, { ...init, headers, signal });
    if (answer.ok) return answer;
    const problem = new Problem(answer.status, await answer.json().catch(() => ({})));
    signal?.throwIfAborted();
    if (answer.status === 401 && (await wantKey(headers))) continue;
    const seconds = Number(answer.headers.get("Retry-After"));
    if (![429, 503].includes(answer.status) || !seconds) throw problem;
    for (let left = seconds; left > 0; left -= 1) {
      onwait(`${problem.message} Trying again in ${left} s.`);
      await pause(1000, signal);
    }
    onwait("");
  }
}

/** Send a request as fetch does, and report how much of its body was sent, which fetch cannot. */
function upload(path, { method, body, headers, signal, onprogress }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open(method, path);
    request.responseType = "blob";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    const stop = () => request.abort();
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onprogress(event.loaded / event.total));
    request.addEventListener("load", () => resolve(responseOf(request)));
    request.addEventListener("error", () => reject(new TypeError("The connection to the service was lost.")));
    request.addEventListener("abort", () => reject(signal.reason));
    request.addEventListener("loadend", () => signal?.removeEventListener("abort", stop));
    signal?.addEventListener("abort", stop);
    request.send(body);
  });
}

function responseOf(request) {
  const lines = request.getAllResponseHeaders().trim().split(/[\r\n]+/).filter(Boolean);
  const headers = lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]);
  return new Response(request.status === 204 ? null : request.response, { status: request.status, headers });
}

// The results of jobs as files, in any format, all from the one computation.

import { ask } from "./api.js";
import { output, strength } from "./settings.js";

/** Return a result as a blob. It is fetched once for each set of options. */
export async function result(picture, options = {}, signal) {
  const query = new URLSearchParams(options).toString();
  const known = picture.results.get(query);
  if (known) return known;
  const { job } = picture;
  const blob = await (await ask(`/v1/jobs/${job.id}/result?${query}`, { signal })).blob();
  if (picture.job === job) picture.results.set(query, blob);
  return blob;
}

/** Return the result for the screen: in the format of the file, which is fetched anyway, unless browsers cannot show it. */
export const shown = (picture, signal) => result(picture, picture.kind === "tiff" ? { format: "png" } : {}, signal);

/** Return the result to keep, with the chosen format, depth and strength. */
export function kept(picture, signal) {
  return result(picture, strength() === 1 ? output() : { ...output(), strength: strength() }, signal);
}

// File formats: which files are pictures, and what results are called.

const KINDS = {
  png: "png", jpg: "jpeg", jpeg: "jpeg", webp: "webp", avif: "avif", heic: "heic", heif: "heic", hif: "heic", tif: "tiff", tiff: "tiff", bmp: "bmp",
};
const SUFFIXES = { "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/avif": "avif", "image/tiff": "tiff", "image/bmp": "bmp" };

/** Return the format of a file by its type or else its name: png, jpeg, webp, avif, heic, tiff, bmp, or "" if it is none of these. */
export function fileKind(file) {
  const suffix = (file.name || "").toLowerCase().split(".").pop();
  const type = file.type.replace("image/", "").replace("x-ms-bmp", "bmp").replace("heif", "heic");
  return Object.values(KINDS).includes(type) ? type : KINDS[suffix] || "";
}

/** Return the name for a result: that of the picture, "-denoised" or the factor such as "-2x", and the suffix of the format. */
export function resultName(name, mediaType, factor = 1) {
  return `${stem(name)}-${factor > 1 ? `${factor}x` : "denoised"}.${SUFFIXES[mediaType] || "png"}`;
}

export const stem = (name) => name.replace(/\.[^.]*$/, "");

/** Return the names with a number added to those that came before, as an archive needs. */
export function different(names) {
  const seen = new Map();
  return names.map((name) => {
    const times = (seen.get(name) || 0) + 1;
    seen.set(name, times);
    return times > 1 ? `${name} (${times})` : name;
  });
}

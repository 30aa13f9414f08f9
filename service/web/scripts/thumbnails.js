// Small pictures for the list, drawn one after another so that many large files do not fill the memory.

let last = Promise.resolve();

/** Draw a small picture of a file onto a canvas, if the browser can read the file. */
export function drawThumbnail(picture, canvas) {
  last = last.then(() => draw(picture, canvas)).catch(() => {});
}

async function draw(picture, canvas) {
  if (["tiff", "heic"].includes(picture.kind)) return;
  const side = canvas.width;
  const small = await createImageBitmap(picture.file, { resizeWidth: side, resizeQuality: "medium" });
  const scale = Math.max(side / small.width, side / small.height);
  const [width, height] = [small.width * scale, small.height * scale];
  canvas.getContext("2d").drawImage(small, (side - width) / 2, (side - height) / 2, width, height);
  small.close();
}

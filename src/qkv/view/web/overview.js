// @ts-check
/**
 * The overview: every layer (a row) and head (a column) as a small picture, painted from a summary
 * that came with the page; no head is fetched before one is chosen.
 *
 * @typedef {import("./model.js").Maps} Maps
 */

import { element, standalone, text } from "./draw.js";
import { fromBase64, parts } from "./numbers.js";
import { coloured } from "./paint.js";

const SIDE = 68; // pixels of a picture
const PITCH = 78;

/** @param {import("./viewer.js").Desk} desk */
export function overviewView(desk) {
  const root = element('<div class="overview"><div class="plot"><table role="grid"></table></div><p class="settings"></p></div>');
  const [table, about] = [root.querySelector("table"), root.querySelector("p")];
  /** @type {Maps} */
  let maps;
  const level = (/** @type {Uint8Array} */ levels, /** @type {number} */ place) => {
    const cells = thumbs().rows * thumbs().columns;
    return parts(levels.subarray(place * cells, (place + 1) * cells), maps.signed);
  };
  const thumbs = () => /** @type {NonNullable<Maps["thumbs"]>} */ (maps.thumbs);

  /** @param {Uint8Array | Int8Array} levels of one head @param {string[]} ramp */
  function picture(levels, ramp) {
    const { rows, columns } = thumbs();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [columns, rows];
    const ink = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const image = ink.createImageData(columns, rows);
    new Uint32Array(image.data.buffer).set(coloured({ values: levels, allowed: null, signed: maps.signed }, ramp, maps.signed ? 127 : 255));
    ink.putImageData(image, 0, 0);
    return canvas;
  }

  function draw() {
    maps = desk.maps();
    const levels = fromBase64(thumbs().levels);
    const { layer: nowLayer, head: nowHead } = desk.choice();
    const head = `<tr><td></td>${Array.from({ length: maps.heads }, (_, i) => `<th scope="col">head ${i}</th>`).join("")}</tr>`;
    table.innerHTML = head;
    for (let layer = 0; layer < maps.layers; layer++) {
      const row = table.insertRow();
      row.innerHTML = `<th scope="row">layer ${layer}</th>`;
      for (let number = 0; number < maps.heads; number++) {
        const place = layer * maps.heads + number;
        const largest = Number(maps.largest[place].toPrecision(3));
        const button = element(`<button type="button" data-layer="${layer}" data-head="${number}" aria-label="layer ${layer}, head ${number}, largest ${maps.measure} ${largest}" title="layer ${layer}, head ${number}: largest ${maps.measure} ${largest}"></button>`);
        if (layer === nowLayer && number === nowHead) button.setAttribute("aria-current", "true");
        button.append(picture(level(levels, place), desk.ramp(maps.signed)));
        row.insertCell().append(button);
      }
    }
    about.textContent = scale();
  }

  const scale = () => `Each picture has a scale of its own: its strongest cell is the largest ${maps.measure} of its head; ` +
    "of long sequences, a cell is the largest of its block.";

  table.addEventListener("click", (/** @type {any} */ event) => {
    const button = event.target.closest("button");
    if (button) desk.open({ layer: Number(button.dataset.layer), head: Number(button.dataset.head) }, "matrix");
  });

  /** Arrow keys walk from picture to picture. @param {KeyboardEvent} event */
  function key(event) {
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const now = /** @type {any} */ (table.querySelector("button:focus"));
    if (!moves[event.key] || !now) return false;
    const [layer, head] = [Number(now.dataset.layer) + moves[event.key][0], Number(now.dataset.head) + moves[event.key][1]];
    table.querySelector(`[data-layer="${layer}"][data-head="${head}"]`)?.focus();
    return true;
  }

  function svg() {
    const levels = fromBase64(thumbs().levels);
    const pictures = maps.largest.map((_, place) => {
      const [layer, number] = [Math.floor(place / maps.heads), place % maps.heads];
      return `<image data-layer="${layer}" data-head="${number}" x="${60 + number * PITCH}" y="${20 + layer * PITCH}" width="${SIDE}" ` +
        `height="${SIDE}" preserveAspectRatio="none" style="image-rendering:pixelated" href="${picture(level(levels, place), (maps.signed ? desk.page.signed : desk.page.ramps).light).toDataURL()}"/>`;
    });
    const rows = Array.from({ length: maps.layers }, (_, i) => text(0, 20 + i * PITCH + SIDE / 2, "", `layer ${i}`));
    const columns = Array.from({ length: maps.heads }, (_, i) => text(60 + i * PITCH, 12, "", `head ${i}`));
    return standalone(
      { body: [...pictures, ...rows, ...columns].join("\n"), width: 60 + maps.heads * PITCH, height: 20 + maps.layers * PITCH },
      { title: [maps.title, maps.kind].filter(Boolean).join(" · "), note: maps.note, families: desk.page.families, summary: scale() });
  }

  const rows = () => maps.largest.map((largest, place) =>
    ({ layer: Math.floor(place / maps.heads), head: place % maps.heads, largest }));
  return {
    element: root,
    show: draw, resize() {}, key, svg,
    csv: () => ["layer,head,largest", ...rows().map((row) => Object.values(row).join())].join("\r\n") + "\r\n",
    json: () => JSON.stringify({ title: maps.title, kind: maps.kind, heads: rows() }),
  };
}

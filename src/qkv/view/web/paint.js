// @ts-check
/**
 * From weights to pixels.
 *
 * @typedef {import("./model.js").Heat} Heat
 */

import { rgb } from "./numbers.js";

const SHADES = 4096; // colours prepared for painting

/**
 * The colour of every cell, as pixels; where attending is not allowed, none.
 * @param {{ values: ArrayLike<number>, allowed: Uint8Array | null, signed: boolean }} heat
 * @param {string[]} ramp @param {number} top
 */
export function coloured({ values, allowed, signed }, ramp, top) {
  const table = new Uint8ClampedArray(4 * (SHADES + 1)).fill(255);
  for (let i = 0; i <= SHADES; i++) table.set(rgb(i / SHADES, ramp), 4 * i);
  const [colours, pixels] = [new Uint32Array(table.buffer), new Uint32Array(values.length)];
  const [scale, zero] = signed ? [SHADES / top / 2, SHADES / 2] : [SHADES / top, 0];
  for (let i = 0; i < values.length; i++)
    if (!allowed || allowed[i])
      pixels[i] = colours[Math.max(0, Math.min(Math.round(values[i] * scale + zero), SHADES))];
  return pixels;
}

/** A part of a matrix, of blocks if one is not 1: the largest of each. @param {Heat} heat @param {[number, number]} rows @param {[number, number]} columns @param {number} block */
export function cut({ values, allowed, source, signed }, [top, bottom], [left, right], block) {
  const [across, down] = [Math.ceil((right - left) / block), Math.ceil((bottom - top) / block)];
  const part = { values: new Float64Array(across * down), allowed: allowed && new Uint8Array(across * down), signed };
  for (let row = top; row < bottom; row++) {
    const to = Math.floor((row - top) / block) * across;
    for (let column = left; column < right; column++) {
      const i = row * source.length + column;
      const place = to + (block > 1 ? Math.floor((column - left) / block) : column - left);
      if (Math.abs(values[i]) > Math.abs(part.values[place])) part.values[place] = values[i];
      if (allowed && part.allowed) part.allowed[place] |= allowed[i];
    }
  }
  return part;
}

/** Strike out what is not allowed. @param {CanvasRenderingContext2D} ink @param {Uint8Array} allowed @param {number} across @param {number} side */
export function bar(ink, allowed, across, side) {
  ink.strokeStyle = "#8c959f80";
  ink.beginPath();
  allowed.forEach((may, i) => {
    if (may) return;
    const [x, y] = [(i % across) * side, Math.floor(i / across) * side];
    ink.moveTo(x + 1, y + side - 2);
    ink.lineTo(x + side - 2, y + 1);
  });
  ink.stroke();
}

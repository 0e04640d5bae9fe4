// @ts-check
/** Numbers and colours: unpacking, exact decimals, ramps. */

/** The largest of the numbers in size, or 0. @param {Iterable<number>} numbers */
export function most(numbers) {
  let largest = 0;
  for (const number of numbers) {
    if (number > largest) largest = number;
    else if (-number > largest) largest = -number;
  }
  return largest;
}

/** @param {string} text base64 */
export function fromBase64(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = packed.charCodeAt(i);
  return bytes;
}

/**
 * Numbers out of little-endian bytes. @param {Uint8Array} bytes @param {number} bits 64, 32, 16, or 8
 * for parts of the largest @param {number} largest @param {boolean} signed
 * @returns {Float32Array | Float64Array}
 */
export function unpack(bytes, bits, largest, signed) {
  if (bits === 8) return Float32Array.from(parts(bytes, signed), (level) => (level / (signed ? 127 : 255)) * largest);
  const whole = bytes.byteOffset % 8 ? bytes.slice() : bytes; // arrays of floats start at multiples
  const count = (8 * whole.length) / bits;
  if (bits === 64) return new Float64Array(whole.buffer, whole.byteOffset, count);
  if (bits === 32) return new Float32Array(whole.buffer, whole.byteOffset, count);
  const halves = new Uint16Array(whole.buffer, whole.byteOffset, count);
  return Float32Array.from(halves, half);
}

/** Bytes as parts of the largest: of 255, or with a sign of 127. @param {Uint8Array} bytes @param {boolean} signed */
export const parts = (bytes, signed) =>
  signed ? new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length) : bytes;

/** @param {number} bits of a finite float16 */
function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/**
 * The end of the colour scale: of weights and their differences the first of `tops` that holds them,
 * of values of any size the first of 1, 2, 5 times a power of ten.
 * @param {{ largest: number, signed: boolean, measure: string }} heat @param {number[]} tops
 */
export function scaleEnd({ largest, signed, measure }, tops) {
  if (!signed || (measure === "difference" && largest <= 1)) return tops.find((end) => largest <= end) ?? 1;
  if (!largest) return 1;
  const ten = 10 ** Math.floor(Math.log10(largest));
  return [1, 2, 5].map((step) => step * ten).find((end) => largest <= end) ?? 10 * ten;
}

/**
 * The shortest decimal that reads back as exactly this weight; fewer digits where it was rounded.
 * @param {number} value @param {number} bits
 */
export function exact(value, bits) {
  if (bits < 32) return String(Number(value.toPrecision(bits === 16 ? 4 : 3)));
  if (bits === 64) return String(value);
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}

/** @param {number} fraction @param {string[]} ramp @returns {number[]} red, green, blue */
export function rgb(fraction, ramp) {
  const place = Math.min(Math.max(fraction, 0), 1) * (ramp.length - 1);
  const below = Math.min(Math.floor(place), ramp.length - 2);
  return [0, 2, 4].map((i) => {
    const [low, high] = [ramp[below], ramp[below + 1]].map((c) => parseInt(c.slice(i, i + 2), 16));
    return Math.floor(low + (high - low) * (place - below) + 0.5);
  });
}

/** @param {number} fraction @param {string[]} ramp */
export const hex = (fraction, ramp) =>
  "#" + rgb(fraction, ramp).map((level) => level.toString(16).padStart(2, "0")).join("");

/** Where on its ramp a number stands: a signed one of 0 in the middle. @param {number} value @param {number} top @param {boolean} signed */
export const fraction = (value, top, signed) => (signed ? 0.5 + value / top / 2 : value / top);

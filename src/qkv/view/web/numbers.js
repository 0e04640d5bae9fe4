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
 * Weights out of little-endian bytes. @param {Uint8Array} bytes @param {number} bits 64, 32, 16, or 8
 * for shares of the largest weight @param {number} largest
 * @returns {Float32Array | Float64Array}
 */
export function unpack(bytes, bits, largest) {
  if (bits === 8) return Float32Array.from(bytes, (level) => (level / 255) * largest);
  const whole = bytes.byteOffset % 8 ? bytes.slice() : bytes; // arrays of floats start at multiples
  const count = (8 * whole.length) / bits;
  if (bits === 64) return new Float64Array(whole.buffer, whole.byteOffset, count);
  if (bits === 32) return new Float32Array(whole.buffer, whole.byteOffset, count);
  const halves = new Uint16Array(whole.buffer, whole.byteOffset, count);
  return Float32Array.from(halves, half);
}

/** @param {number} bits of a float16 between 0 and 1 */
function half(bits) {
  const [exponent, fraction] = [bits >> 10, bits & 1023];
  return exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024);
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

/** Where on its ramp a value stands: a difference of 0 in the middle. @param {number} value @param {number} top @param {boolean} signed */
export const fraction = (value, top, signed) => (signed ? 0.5 + value / top / 2 : value / top);

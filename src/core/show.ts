/** Puts any value into words, briefly: telling of a bad value must not fail by itself. */

const MOST = 80;

export function show(value: unknown): string {
  const text = inWords(value);
  return text.length > MOST ? `${text.slice(0, MOST)}...` : text;
}

function inWords(value: unknown): string {
  const isData =
    typeof value === 'string' ||
    Array.isArray(value) ||
    Object.getPrototypeOf(Object(value)) === Object.prototype;
  try {
    const text = isData && typeof value !== 'number' ? JSON.stringify(value) : undefined;
    return text ?? (typeof value === 'object' ? tagOf(value) : String(value));
  } catch {
    // a circle, a BigInt inside, a toString that throws
    return tagOf(value);
  }
}

/** `Float32Array`, `Map`, `Null`, ... */
function tagOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

/**
 * Boxes around text from a map of probabilities: connected regions, each with the rectangle around it, widened because the network marks the
 * inner part of a line only (Liao et al., "Real-time scene text detection with differentiable binarization", 2020).
 */

export interface Box {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface TextBox extends Box {
  /** Mean probability inside of the region. */
  readonly score: number;
}

const THRESHOLD = 0.3;
const LEAST_SCORE = 0.5;
/** How far a region is widened: its area over its outline, times this. */
const WIDENING = 1.5;
const LEAST_SIDE = 3;

interface Region extends Box {
  readonly pixels: number;
  readonly sum: number;
}

/** The region that a pixel belongs to; its pixels are marked as seen. */
function regionAt(
  map: ArrayLike<number>,
  width: number,
  height: number,
  seen: Uint8Array,
  first: number,
): Region {
  const stack = [first];
  seen[first] = 1;
  let [left, right, top, bottom, pixels, sum] = [width, -1, height, -1, 0, 0];
  while (stack.length > 0) {
    const at = stack.pop()!;
    const [x, y] = [at % width, Math.floor(at / width)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
    pixels++;
    sum += map[at]!;
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++)
      for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
        const next = row * width + column;
        if (seen[next] || !(map[next]! > THRESHOLD)) continue;
        seen[next] = 1;
        stack.push(next);
      }
  }
  return { left, right: right + 1, top, bottom: bottom + 1, pixels, sum };
}

function widened({ left, right, top, bottom, pixels, sum }: Region, width: number, height: number): TextBox {
  const [w, h] = [right - left, bottom - top];
  const by = (WIDENING * w * h) / (2 * (w + h));
  return {
    left: Math.max(0, left - by),
    top: Math.max(0, top - by),
    right: Math.min(width, right + by),
    bottom: Math.min(height, bottom + by),
    score: sum / pixels,
  };
}

/** In pixels of the map, in the order in which they are read: lines from the top, each from the left. */
export function boxesIn(map: ArrayLike<number>, width: number, height: number): TextBox[] {
  const seen = new Uint8Array(width * height);
  const boxes: TextBox[] = [];
  for (let at = 0; at < width * height; at++) {
    if (seen[at] || !(map[at]! > THRESHOLD)) continue;
    const region = regionAt(map, width, height, seen, at);
    const isLarge = region.right - region.left >= LEAST_SIDE && region.bottom - region.top >= LEAST_SIDE;
    if (isLarge && region.sum / region.pixels >= LEAST_SCORE) boxes.push(widened(region, width, height));
  }
  return inReadingOrder(boxes);
}

/** Boxes whose middles lie within each other's height are one line. */
export function inReadingOrder<B extends Box>(boxes: readonly B[]): B[] {
  const middle = (box: Box) => (box.top + box.bottom) / 2;
  const rest = [...boxes].sort((a, b) => middle(a) - middle(b));
  const lines: B[][] = [];
  for (const box of rest) {
    const line = lines.at(-1);
    const isSame = line?.some((other) => middle(box) > other.top && middle(box) < other.bottom);
    if (line && isSame) line.push(box);
    else lines.push([box]);
  }
  return lines.flatMap((line) => line.sort((a, b) => a.left - b.left));
}

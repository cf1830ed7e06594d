/**
 * Faces from what BlazeFace gives: scores and boxes for anchors on two grids (Bazarevsky et al., "BlazeFace: Sub-millisecond neural face
 * detection on mobile GPUs", 2019). Distances are in pixels of the network's image, from the anchor's place.
 */
import type { Box } from '../ocr/boxes.ts';

export interface Face extends Box {
  readonly score: number;
  /** Eyes, nose, mouth, ears: right and left as the person has them. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Anchors of the front network for each place of a grid. */
const GRIDS = [
  { side: 16, anchors: 2 },
  { side: 8, anchors: 6 },
] as const;
const VALUES = 16;
const POINTS = 6;
const LEAST_SCORE = 0.5;
/** Faces that overlap more than this are one. */
const SAME = 0.3;

/** What a grid's outputs say. */
export interface GridResult {
  readonly scores: ArrayLike<number>;
  readonly boxes: ArrayLike<number>;
}

function overlap(a: Box, b: Box): number {
  const width = Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left));
  const height = Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
  const area = (box: Box) => (box.right - box.left) * (box.bottom - box.top);
  const both = width * height;
  return both === 0 ? 0 : both / (area(a) + area(b) - both);
}

/** Faces as parts of the image: 0 at its left and top, 1 at its right and bottom; the surest first. */
export function facesIn(results: readonly GridResult[], size: number): Face[] {
  const found: Face[] = [];
  results.forEach(({ scores, boxes }, grid) => {
    const { side, anchors } = GRIDS[grid]!;
    for (let i = 0; i < scores.length; i++) {
      const score = 1 / (1 + Math.exp(-scores[i]!));
      if (score < LEAST_SCORE) continue;
      const cell = Math.floor(i / anchors);
      const [x, y] = [((cell % side) + 0.5) / side, (Math.floor(cell / side) + 0.5) / side];
      const value = (at: number) => boxes[i * VALUES + at]! / size;
      const [cx, cy, w, h] = [x + value(0), y + value(1), value(2), value(3)];
      const points = Array.from(
        { length: POINTS },
        (_, p) => [x + value(4 + 2 * p), y + value(5 + 2 * p)] as const,
      );
      found.push({ score, points, left: cx - w / 2, top: cy - h / 2, right: cx + w / 2, bottom: cy + h / 2 });
    }
  });
  found.sort((a, b) => b.score - a.score);
  const kept: Face[] = [];
  for (const face of found) if (kept.every((other) => overlap(other, face) <= SAME)) kept.push(face);
  return kept;
}

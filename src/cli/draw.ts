/** Marks in pictures. */
import type { Picture } from './images.ts';
import type { Box } from './ocr/boxes.ts';

export type Colour = readonly [red: number, green: number, blue: number];

const RED: Colour = [230, 30, 30];

export function drawDot(
  { width, height, data }: Picture,
  x: number,
  y: number,
  size: number,
  colour = RED,
): void {
  for (let dy = 0; dy < size; dy++)
    for (let dx = 0; dx < size; dx++) {
      const [px, py] = [x + dx, y + dy];
      if (px >= 0 && px < width && py >= 0 && py < height) data.set([...colour, 255], 4 * (py * width + px));
    }
}

/** A frame two pixels wide. */
export function drawFrame(picture: Picture, { left, top, right, bottom }: Box, colour = RED): void {
  for (const inset of [0, 1]) {
    for (let x = left; x < right; x++)
      for (const y of [top + inset, bottom - 1 - inset]) drawDot(picture, x, y, 1, colour);
    for (let y = top; y < bottom; y++)
      for (const x of [left + inset, right - 1 - inset]) drawDot(picture, x, y, 1, colour);
  }
}

/**
 * Products of 8-bit integers, each followed by its float form: the same extents in f32, weights prepacked too. A report then
 * tells whether quantising pays, for us and for each peer that can do both.
 */
import { parseInt8 } from './int8-text.ts';
import type { QmatmulShape, Shape, ShapeList } from './types.ts';

type Products = readonly (readonly [name: string, source: string, extents: string])[];

const PRODUCTS: Products = [
  ['square 128', 'power of two', '128x128x128'],
  ['square 256', 'power of two', '256x256x256'],
  ['square 512', 'power of two', '512x512x512'],
  ['square 1024', 'power of two', '1024x1024x1024'],
  ['odd', 'prime extents', '127x257x131'],
  ['qkv 128', 'BERT-base', '128x768x2304'],
  ['proj 128', 'BERT-base', '128x768x768'],
  ['mlp up 128', 'BERT-base', '128x768x3072'],
  ['mlp down 128', 'BERT-base', '128x3072x768'],
  ['pointwise 960-160', 'MobileNetV2', '49x960x160'],
  ['head', 'ViT-B/16', '1x768x1000'],
  ['mlp up 1', 'GPT-2 small', '1x768x3072'],
  ['row 1024', 'outer cache, 4 MB of bytes', '1x1024x4096'],
  ['row 4096', 'beyond cache, 16 MB of bytes', '1x4096x4096'],
];

/** What a product of integers replaces. */
export function floatForm({ name, source, m, k, n }: QmatmulShape): Shape {
  return { name: `${name}, f32`, source, m, k, n, prepacked: true };
}

export const INT8: ShapeList = {
  name: 'int8',
  about: 'products of 8-bit integers with constant weights, each beside its f32 form',
  shapes: PRODUCTS.flatMap(([name, source, extents]) => {
    const shape = { ...parseInt8(`int8 ${extents}`), name, source };
    return [shape, floatForm(shape)];
  }),
};

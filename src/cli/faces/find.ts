/** Faces in pictures: the picture in the middle of a square, the network, places back in the picture's own pixels. */
import { type InferenceSession, Tensor } from '../../onnx/index.ts';
import { type Picture, pixelsOf, resizePicture } from '../images.ts';
import { type Face, facesIn } from './decode.ts';

/** The front network's image. */
const SIZE = 128;

/** Black above and below, or on both sides. */
function squared({ width, height, data }: Picture): Picture {
  const side = Math.max(width, height);
  const [left, top] = [Math.floor((side - width) / 2), Math.floor((side - height) / 2)];
  const out = new Uint8Array(4 * side * side);
  for (let y = 0; y < height; y++)
    out.set(data.subarray(4 * y * width, 4 * (y + 1) * width), 4 * ((top + y) * side + left));
  return { width: side, height: side, data: out };
}

export async function findFaces(session: InferenceSession, picture: Picture): Promise<Face[]> {
  const square = resizePicture(squared(picture), SIZE, SIZE);
  const options = { scale: 255, mean: [0.5], deviation: [0.5], isBgr: false, layout: 'nhwc' } as const;
  const [name] = session.inputNames;
  const input = new Tensor('float32', pixelsOf(square, options), [1, SIZE, SIZE, 3]);
  const results = await session.run({ [name!]: input });
  const [coarse, fine, coarseBoxes, fineBoxes] = session.outputNames.map(
    (output) => results[output]!.data as Float32Array,
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const grids = [
    { scores: coarse, boxes: coarseBoxes },
    { scores: fine, boxes: fineBoxes },
  ];
  const side = Math.max(picture.width, picture.height);
  const [left, top] = [(side - picture.width) / 2, (side - picture.height) / 2];
  const x = (part: number) => Math.round(part * side - left);
  const y = (part: number) => Math.round(part * side - top);
  return facesIn(grids, SIZE).map((face) => ({
    ...{
      score: face.score,
      left: x(face.left),
      top: y(face.top),
      right: x(face.right),
      bottom: y(face.bottom),
    },
    points: face.points.map(([px, py]) => [x(px), y(py)] as const),
  }));
}

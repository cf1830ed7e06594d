/**
 * What a model's weights take, beside what a process takes that has multiplied already: at the peak of loading and of the first run, and after it.
 *
 *     npm run bench -- memory [--kind matmul|conv] [--layers 8] [--channels 1024] [--filters auto|fast|small]
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { initializer, intsAttribute, model, node } from '../src/cli/bench/peers/onnx-proto.ts';
import { createRuntime } from '../src/index.ts';
import { type FilterForms, InferenceSession, Tensor } from '../src/onnx/index.ts';

const KINDS = { matmul: 'MatMul', conv: 'Conv' } as const;
type Kind = keyof typeof KINDS;

/** Of weights and inputs: matrices of 24 MiB each, 3x3 filters of 36 with 1024 channels. */
function shapesOf(kind: Kind, layer: number, channels: number): { weights: number[]; input: number[] } {
  if (kind === 'conv') return { weights: [channels, channels, 3, 3], input: [1, channels, 24, 24] };
  return { weights: layer % 2 ? [3072, 2048] : [2048, 3072], input: [4, 2048] };
}

function write(file: string, kind: Kind, layers: number, channels: number): void {
  const nodes: Uint8Array[] = [];
  const constants: Uint8Array[] = [];
  const value = (layer: number) => (layer === 0 ? 'x' : layer === layers ? 'y' : `v${layer}`);
  for (let layer = 0; layer < layers; layer++) {
    const dims = shapesOf(kind, layer, channels).weights;
    const data = new Float32Array(dims.reduce((x, y) => x * y, 1)).map((_, i) => ((i * 7919) % 1000) / 1e6);
    constants.push(initializer({ name: `w${layer}`, type: 'float32', dims }, data));
    const attributes = kind === 'conv' ? [intsAttribute('pads', [1, 1, 1, 1])] : [];
    nodes.push(node(KINDS[kind], [value(layer), `w${layer}`], value(layer + 1), attributes));
  }
  const input = { name: 'x', type: 'float32', dims: shapesOf(kind, 0, channels).input } as const;
  const output = { name: 'y', type: 'float32', dims: [] } as const;
  writeFileSync(file, model({ name: 'memory', nodes, constants, inputs: [input], output }));
}

/** MiB at most so far. What resourceUsage() says on Linux begins with what the parent had when it started this process. */
function peak(): number {
  const status = '/proc/self/status';
  const kibibytes = existsSync(status) && /VmHWM:\s+(\d+)/.exec(readFileSync(status, 'utf8'))?.[1];
  return (kibibytes ? Number(kibibytes) : process.resourceUsage().maxRSS) / 1024;
}

/** In a process of its own: peaks are the process's. */
async function measure(file: string, kind: Kind, filters: FilterForms, channels: number): Promise<void> {
  const runtime = await createRuntime({ threads: 1, wisdom: false });
  const square = { data: new Float32Array(256 * 256), shape: [256, 256] };
  for (let i = 0; i < 20; i++) (await runtime.matmul(square, square)).dispose();
  const [before, size] = [peak(), statSync(file).size / 2 ** 20];
  const times = (mebibytes: number) => `${((mebibytes - before) / size).toFixed(2)}x`;
  const session = await InferenceSession.create(file, { runtime, filters });
  const created = peak();
  const { input } = shapesOf(kind, 0, channels);
  const x = new Tensor('float32', new Float32Array(input.reduce((a, b) => a * b, 1)), input);
  await session.run({ x });
  const now = process.memoryUsage().rss / 2 ** 20;
  console.log(
    `${size.toFixed(0)} MiB of weights: ${times(created)} at the peak of loading, ${times(peak())} of the first run, ${times(now)} after it`,
  );
  await session.release();
  await runtime.close();
}

export async function main(args: readonly string[]): Promise<void> {
  const options = {
    kind: { type: 'string', default: 'matmul' },
    layers: { type: 'string', default: '8' },
    channels: { type: 'string', default: '1024' },
    filters: { type: 'string', default: 'auto' },
    file: { type: 'string' },
  } as const;
  const { kind, layers, channels, filters, file } = parseArgs({ args: [...args], options }).values;
  if (!Object.hasOwn(KINDS, kind)) throw new Error(`there is no kind ${kind}: matmul or conv`);
  if (file !== undefined) return measure(file, kind as Kind, filters as FilterForms, Number(channels));
  const folder = mkdtempSync(join(tmpdir(), 'tesserae-memory-'));
  try {
    const path = join(folder, 'model.onnx');
    write(path, kind as Kind, Number(layers), Number(channels));
    const self = fileURLToPath(new URL('./main.ts', import.meta.url));
    const same = ['--kind', kind, '--channels', channels, '--filters', filters];
    const argv = [...process.execArgv, self, 'memory', ...same, '--file', path];
    process.stdout.write(execFileSync(process.execPath, argv));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

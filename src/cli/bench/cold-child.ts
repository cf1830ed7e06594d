/** The other side of cold.ts: one library, one product, one time. Nothing of it is loaded before the clock starts. */
import type { createRuntime } from '../../index.ts';
import { COLD_EXTENT, type ColdReply, type ColdTask, OURS_COLD } from './cold.ts';
import { type MatmulOperands, makeOperands } from './operands.ts';
import { isAbsent, isUnsupported } from './types.ts';
import { type Result, verify } from './verify.ts';

export async function runColdChild(argument: string): Promise<void> {
  const task = JSON.parse(argument) as ColdTask;
  process.send?.(await measure(task).catch((error: unknown): ColdReply => ({ error: String(error) })));
}

async function measure(task: ColdTask): Promise<ColdReply> {
  const extent = COLD_EXTENT;
  const operands = makeOperands({ name: 'cold', m: extent, k: extent, n: extent, source: 'cold start' });
  const ourselves = (OURS_COLD as readonly string[]).includes(task.id);
  const { ms, result } = ourselves ? await startOurs(task, operands) : await startPeer(task, operands);
  const verdict = verify(operands, result);
  return verdict.ok ? { ms } : { error: `wrong answer: ${verdict.reason}` };
}

interface ColdRun {
  readonly ms: number;
  readonly result: Result;
}

async function startOurs(task: ColdTask, { a, b }: MatmulOperands): Promise<ColdRun> {
  const shape = [COLD_EXTENT, COLD_EXTENT];
  const { threads, engineFlags, wisdom } = task;
  const start = performance.now();
  const library = (await import(task.libraryUrl)) as { readonly createRuntime: typeof createRuntime };
  const runtime = await library.createRuntime({
    threads,
    engineFlags,
    ...(wisdom !== undefined && { wisdom }),
  });
  const product = await runtime.matmul(runtime.tensor(a, shape), runtime.tensor(b, shape));
  const result = product.data.slice();
  const ms = performance.now() - start;
  await runtime.close();
  return { ms, result };
}

async function startPeer(task: ColdTask, operands: MatmulOperands): Promise<ColdRun> {
  const { peerAdapter } = await import('./peers/index.ts');
  const start = performance.now();
  const peer = await peerAdapter(task.id)?.load(task);
  if (!peer || isAbsent(peer)) throw new Error(peer?.absent ?? 'no such peer');
  const prepared = await peer.prepare(operands);
  if (isUnsupported(prepared)) throw new Error(prepared.unsupported);
  await prepared.run();
  const result = await prepared.result();
  return { ms: performance.now() - start, result };
}

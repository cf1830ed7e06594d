/**
 * The oracle as a backend: it reads a program's problem, ignores how the plan would cut it, and computes in float64. The
 * conformance exam holds it beside the fast backends, and what is true of its results must be true of theirs.
 *
 * It packs B all the same, because panels outlive the call that makes them: same layout, unpacked before use.
 */
import { TesseraeError } from '../../core/errors.ts';
import { roundUp } from '../../core/math.ts';
import { findKernel } from '../../kernels/table.ts';
import type { Program } from '../../plan/program.ts';
import type { ConvProblem } from '../../problem/conv.ts';
import type { MatmulProblem } from '../../problem/matmul.ts';
import { resultElements } from '../../problem/problem.ts';
import type { Address, Backend, Call, Job, MemoryUse, Owner, Prepared } from '../types.ts';
import { referenceConv } from './conv.ts';
import { referenceMatmul } from './matmul.ts';
import { panelIndex, unpackedPanels } from './panels.ts';
import { referencePool } from './pool.ts';

const ALIGN = 64;
const DEFAULT_MAXIMUM = 2 ** 32;

interface Block {
  readonly data: Float32Array;
  readonly bytes: number;
  readonly owner: Owner;
}

export class ReferenceBackend implements Backend {
  readonly name = 'reference';
  readonly #maximum: number;
  /** Each block is an array of its own, so that a stray access meets undefined instead of a neighbour. */
  readonly #blocks = new Map<Address, Block>();
  #next = ALIGN;
  #used = 0;

  constructor(options: { readonly maximumMemory?: number } = {}) {
    this.#maximum = options.maximumMemory ?? DEFAULT_MAXIMUM;
  }

  allocate(bytes: number, owner: Owner): Address {
    if (this.#used + bytes > this.#maximum) {
      const available = this.#maximum - this.#used;
      throw new TesseraeError(
        'E_MEMORY',
        `out of memory: ${bytes} bytes needed, ${available} available`,
        { needed: bytes, available, maximum: this.#maximum, used: this.#used },
        'Free blocks that are no longer needed.',
      );
    }
    const address = this.#next;
    this.#next += roundUp(bytes + 2 * ALIGN, ALIGN);
    this.#blocks.set(address, { data: new Float32Array(Math.ceil(bytes / 4)), bytes, owner });
    this.#used += bytes;
    return address;
  }

  free(address: Address): void {
    this.#used -= this.#block(address).bytes;
    this.#blocks.delete(address);
  }

  view(address: Address, elements: number): Float32Array {
    const { data } = this.#block(address);
    if (elements > data.length)
      throw new Error(`a view of ${elements} elements on a block of ${data.length}`);
    return data.subarray(0, elements);
  }

  memoryUse(): MemoryUse {
    const byOwner = { tensors: 0, prepacked: 0, scratch: 0, runtime: 0 };
    for (const { bytes, owner } of this.#blocks.values()) byOwner[owner] += bytes;
    return { capacity: this.#used, maximum: this.#maximum, used: this.#used, byOwner };
  }

  /** No thread needs space of its own here. */
  ownBytes(): number {
    return 0;
  }

  prepare(program: Program): Prepared {
    return { program, release: () => undefined };
  }

  runSync({ program }: Prepared, call: Call, _threads: number): void {
    if (program.steps.every((step) => step.op === 'packB')) this.#packB(program, call);
    else this.#compute(program, call);
  }

  /** One turn of the event loop later: `stop` before that keeps it from beginning. */
  run(prepared: Prepared, call: Call, threads: number): Job {
    let done = 0;
    let stop: { readonly reason: unknown } | undefined;
    const finished = new Promise<void>((resolve, reject) => {
      setTimeout(() => {
        if (stop) return reject(stop.reason);
        try {
          this.runSync(prepared, call, threads);
          done = 1;
          resolve();
        } catch (error) {
          reject(error);
        }
      });
    });
    const halt = (reason: unknown) => {
      stop ??= { reason };
    };
    return { finished, total: 1, done: () => done, stop: halt };
  }

  async close(): Promise<void> {
    this.#blocks.clear();
    this.#used = 0;
  }

  #block(address: Address): Block {
    const block = this.#blocks.get(address);
    if (!block) throw new Error(`there is no block at ${address}`);
    return block;
  }

  #packB({ problem, plan }: Program, call: Call): void {
    const p = problem as MatmulProblem;
    const nr = findKernel(plan.kernel)!.nr;
    const b = this.#block(call.b).data;
    const panels = this.#block(call.packedB).data;
    const index = panelIndex(p.k, p.n, nr, plan.kc);
    panels.fill(0);
    for (let j = 0; j < p.n; j++) {
      for (let step = 0; step < p.k; step++)
        panels[index(step, j)] = b[p.transposeB ? j * p.k + step : step * p.n + j]!;
    }
  }

  #compute({ problem: p }: Program, call: Call): void {
    switch (p.op) {
      case 'matmul':
        this.#multiply(p, call);
        break;
      case 'conv':
        this.#convolve(p, call);
        break;
      case 'pool':
        referencePool(p, this.#block(call.b).data, this.view(call.c, resultElements(p)));
        break;
      case 'map':
      case 'lines':
      case 'move':
      case 'take':
        throw new Error(`the oracle of a ${p.op} is no backend`);
      case 'fold':
        throw new Error('the oracle of transposed convolutions folds nothing');
      case 'qmatmul':
      case 'qconv':
        throw new Error(`${p.op} has an oracle of its own, which is no backend`);
      default:
        throw new Error(`no oracle for ${p satisfies never}`);
    }
  }

  /** Weights are read as they were given: forms that algorithms want are of no use here. */
  #convolve(p: ConvProblem, { a, b, c, c0, bias, slope, p0, p1 }: Call): void {
    const [w, x] = p.layout === 'nchw' ? [a, b] : [b, a];
    const data = (address: Address) => this.#block(address).data;
    const operands = {
      x: data(x),
      w: data(w),
      bias: p.bias ? data(bias) : undefined,
      slope: p.activation === 'prelu' ? data(slope) : undefined,
      residual: p.residual ? data(c0) : undefined,
      p0,
      p1,
    };
    referenceConv(p, operands, this.view(c, resultElements(p)));
  }

  #multiply(p: MatmulProblem, call: Call): void {
    const { alpha, beta, p0, p1 } = call;
    const out = this.view(call.c, p.batch * p.m * p.n);
    const a = this.#block(call.a).data;
    const b = p.panel ? this.#unpacked(p.k, p.n, p.panel, call.packedB) : this.#block(call.b).data;
    const bias = p.bias === 'none' ? undefined : this.#block(call.bias).data;
    const slope = p.activation === 'prelu' ? this.#block(call.slope).data : undefined;
    const plain = p.panel ? { ...p, transposeB: false } : p;
    referenceMatmul(plain, { a, b, bias, slope, c0: out.slice(), alpha, beta, p0, p1 }, out);
  }

  #unpacked(
    k: number,
    n: number,
    panel: { readonly nr: number; readonly kc: number },
    address: Address,
  ): Float32Array {
    return unpackedPanels(k, n, panel, this.#block(address).data);
  }
}

/**
 * jax-js on its `wasm` device.
 * A timed call is `numpy.matmul` (numpy.add, nn.relu ... after it), `blockUntilReady`, and the disposal of the
 * result: operations are lazy, so without the wait nothing would be computed. Operands are resident.
 * In Node it has one thread (no Web Worker there).
 */
import type { MatmulOperands, Operands } from '../operands.ts';
import type { Absent, Peer, PeerAdapter, Prepared, Unsupported } from '../types.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

/** Every call takes over its arguments; `.ref` keeps one for later. */
interface JaxArray {
  readonly ref: JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  blockUntilReady(): Promise<JaxArray>;
  data(): Promise<Float32Array>;
  dispose(): void;
}

interface Jax {
  init(...devices: readonly string[]): Promise<readonly string[]>;
  defaultDevice(device: string): string;
  readonly numpy: {
    array(values: Float32Array): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
    matrixTranspose(a: JaxArray): JaxArray;
    add(a: JaxArray, b: JaxArray): JaxArray;
    tanh(a: JaxArray): JaxArray;
  };
  readonly nn: { relu(a: JaxArray): JaxArray; sigmoid(a: JaxArray): JaxArray; silu(a: JaxArray): JaxArray };
  jit(call: (...operands: JaxArray[]) => JaxArray): (...operands: JaxArray[]) => JaxArray;
}

export const jaxJs: PeerAdapter = {
  id: 'jax-js',
  load: ({ searchFrom }) => loadJax({ id: 'jax-js', device: 'wasm', searchFrom, resident: true }),
};

interface JaxDevice {
  readonly id: string;
  readonly device: 'wasm' | 'webgpu';
  readonly searchFrom: readonly string[];
  /** Whether operands stay on the device, or are made, and the result read, in each call. */
  readonly resident: boolean;
}

export async function loadJax({ id, device, searchFrom, resident }: JaxDevice): Promise<Peer | Absent> {
  const found = findPackage('@jax-js/jax', searchFrom);
  if ('absent' in found) return found;
  try {
    const jax = await importPackage<Jax>(found, 'numpy');
    const devices = await jax.init(device);
    if (!devices.includes(device))
      return { absent: `installed (${found.version}), but has no ${device} device here` };
    jax.defaultDevice(device);
    const info = {
      id,
      version: found.version,
      threads: 1,
      includes: resident
        ? 'jit of numpy.matmul() and blockUntilReady(); resident arrays, a fresh output each time'
        : 'numpy.array() of both operands, jit of numpy.matmul() and data()',
    };
    return {
      info,
      prepare: async (operands) => prepare(jax, operands, resident),
      dispose: async () => undefined,
    };
  } catch (error) {
    return cannotLoad(found, error);
  }
}

function prepare(jax: Jax, operands: Operands, resident: boolean): Prepared | Unsupported {
  if (operands.kind === 'matmul') return prepareMatmul(jax, operands, resident);
  return { unsupported: 'only its matrix products of floats are compared here' };
}

function prepareMatmul(jax: Jax, operands: MatmulOperands, resident: boolean): Prepared | Unsupported {
  const { shape, batch } = operands;
  const { m, k, n, transposeB = false, chain = 1 } = shape;
  const activate = activation(jax, shape.activation);
  if (!activate) return { unsupported: 'no such activation in its nn module' };
  const stacked = (rows: number, columns: number) =>
    shape.batch === undefined ? [rows, columns] : [batch, rows, columns];
  const { numpy } = jax;
  const make = () => [
    numpy.array(operands.a).reshape(stacked(m, k)),
    numpy.array(operands.b).reshape(transposeB ? stacked(n, k) : stacked(k, n)),
    ...(operands.bias ? [numpy.array(operands.bias).reshape(shape.bias === 'column' ? [m, 1] : [n])] : []),
  ];
  // jit fuses the transpose and the epilogue into the product's own kernel: its fastest form.
  const call = jax.jit((x, y, ...rest) => {
    const right = transposeB ? numpy.matrixTranspose(y as JaxArray) : (y as JaxArray);
    let product = x as JaxArray;
    for (let step = 1; step <= chain; step++)
      product = numpy.matmul(product, step < chain ? right.ref : right);
    return activate(rest[0] === undefined ? product : numpy.add(product, rest[0]));
  });
  return resident ? residentCall(call, make()) : wholeCall(call, make);
}

type Call = (...operands: JaxArray[]) => JaxArray;

function residentCall(call: Call, operands: readonly JaxArray[]): Prepared {
  let latest: JaxArray | undefined;
  return {
    run: async () => {
      latest?.dispose();
      latest = call(...operands.map(({ ref }) => ref));
      await latest.blockUntilReady();
    },
    result: async () => (latest ? await latest.ref.data() : new Float32Array(0)),
    dispose: () => {
      for (const array of [...operands, latest]) array?.dispose();
    },
  };
}

function wholeCall(call: Call, make: () => JaxArray[]): Prepared {
  let latest = new Float32Array(0);
  return {
    run: async () => {
      latest = (await call(...make()).data()) as typeof latest;
    },
    result: async () => latest,
    dispose: () => undefined,
  };
}

function activation(
  jax: Jax,
  wanted: MatmulOperands['shape']['activation'],
): ((x: JaxArray) => JaxArray) | undefined {
  switch (wanted) {
    case undefined:
    case 'none':
      return (x) => x;
    case 'relu':
      return jax.nn.relu;
    case 'sigmoid':
      return jax.nn.sigmoid;
    case 'silu':
      return jax.nn.silu;
    case 'tanh':
      return jax.numpy.tanh;
    default:
      return undefined;
  }
}

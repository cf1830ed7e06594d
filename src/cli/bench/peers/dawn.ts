/** Dawn as `navigator.gpu`, for libraries of the browser that look for it there. Only in the process that hosts one of them. */
import type { Absent } from '../types.ts';
import { cannotLoad, findPackage, importPackage } from './resolve.ts';

interface Gpu {
  requestAdapter(): Promise<object | null>;
}

interface Dawn {
  create(flags: readonly string[]): Gpu;
  readonly globals: Readonly<Record<string, unknown>>;
}

/** To be called before the library is imported. Why there is no GPU, or undefined. */
export async function provideWebgpu(searchFrom: readonly string[]): Promise<Absent | undefined> {
  const found = findPackage('webgpu', searchFrom);
  if ('absent' in found) return found;
  try {
    const { create, globals } = await importPackage<Dawn>(found, 'create');
    const gpu = create([]);
    if (!(await gpu.requestAdapter())) return { absent: 'there is no GPU here: no adapter was found' };
    Object.assign(globalThis, globals);
    if (globalThis.navigator === undefined)
      Object.defineProperty(globalThis, 'navigator', { value: { userAgent: 'node' }, configurable: true });
    // a property of navigator also keeps the instance, whose end would crash the process
    Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
    return undefined;
  } catch (error) {
    return cannotLoad(found, error);
  }
}

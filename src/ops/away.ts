/** Operands of a call that waits before it has them in memory: kept meanwhile, and fetched from the GPU where they lie only there. */
import { type Placed, type Request, readsOut } from './request.ts';
import type { Held, Source } from './tensor.ts';

function sourceOf(input: Held | undefined): Source | undefined {
  return input && 'fetch' in input ? (input as Held & Source) : undefined;
}

/** Whether something must be fetched before a call can be computed in memory. */
export function isAway(request: Pick<Request, 'inputs' | 'out' | 'problem'>): boolean {
  const { inputs, out } = request;
  return (out?.location === 'gpu' && readsOut(request)) || inputs.some((input) => sourceOf(input)?.isAway);
}

/** Keeps operands and result until the returned function is called, whatever their owner does. */
export function holdAll({ inputs, out }: Placed): () => void {
  const releases = inputs.map((input) => input?.hold?.());
  releases.push(out?.hold());
  return () => {
    for (const release of releases) release?.();
  };
}

/** Begins to fetch everything at once: what is held afterwards is there in memory when this has resolved. */
export async function fetchAll(request: Pick<Request, 'inputs' | 'out' | 'problem'>): Promise<void> {
  const { inputs, out } = request;
  const fetching = [
    out && readsOut(request) ? out.bring() : undefined,
    ...inputs.map((input) => sourceOf(input)?.fetch()),
  ];
  await Promise.all(fetching);
}

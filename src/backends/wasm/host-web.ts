/** Browsers as a host: Web Workers where the page is isolated, one thread elsewhere. Also what runs in a worker of a page. */
import { workerSource } from './gen/worker-source.ts';
import type { EngineReport, Host, WorkerHandle, WorkerMessage, WorkerStart } from './host.ts';
import { watchPower } from './power.ts';

/** What of a page or worker is asked for; TypeScript's library for workers has no `window`. */
interface Place {
  readonly navigator?: {
    readonly userAgent?: string;
    readonly hardwareConcurrency?: number;
    readonly userAgentData?: { readonly platform?: string };
  };
  readonly crossOriginIsolated?: boolean;
  readonly window?: unknown;
  readonly Worker?: typeof Worker;
}

const here = globalThis as unknown as Place;

/** Browsers by the word that only they say; Edge and others are Chromium with a word of their own. */
const BROWSERS = [
  ['chromium', /Chrom(?:e|ium)\/([\d.]+)/],
  ['firefox', /Firefox\/([\d.]+)/],
  ['safari', /Version\/([\d.]+).*Safari/],
] as const;

function engineReport(): EngineReport {
  const { userAgent = '', hardwareConcurrency = 1, userAgentData } = here.navigator ?? {};
  const found = BROWSERS.map(([name, pattern]) => ({ name, version: pattern.exec(userAgent)?.[1] })).find(
    ({ version }) => version !== undefined,
  );
  return {
    name: found?.name ?? 'browser',
    version: found?.version ?? 'unknown',
    // a Chromium is numbered as the V8 in it, but for the dot: 156 has V8 15.6
    v8: found?.name === 'chromium' ? (Number.parseInt(found.version!, 10) / 10).toFixed(1) : 'none',
    arch: userAgentData?.platform ?? 'unknown',
    // browsers do not tell
    cpu: 'unknown',
    cores: hardwareConcurrency,
  };
}

const NO_WORKERS = 'there are no Web Workers here';

function reasonForNoSharing(): string | undefined {
  if (here.Worker === undefined) return NO_WORKERS;
  if (here.crossOriginIsolated !== true)
    return 'the page is not cross-origin isolated (Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp)';
  return undefined;
}

/** A worker from its source text, which needs no file that a bundler could lose, or from a file of the caller's. Where it cannot be loaded (a
 *  policy that forbids `blob:`) the worker ends before it is ready, and the owner computes alone. */
function startWorker(start: WorkerStart, file: string | URL | undefined): WorkerHandle {
  const url = file ?? URL.createObjectURL(new Blob([workerSource], { type: 'text/javascript' }));
  const letGo = () => {
    if (file === undefined) URL.revokeObjectURL(String(url));
  };
  const worker = new Worker(url, { name: `tesserae ${start.index}` });
  let ended: (reason: string) => void = () => undefined;
  worker.addEventListener('error', (event) => {
    letGo();
    // a page that may not start it tells nothing more
    ended(event.message || 'the worker could not be loaded');
  });
  worker.postMessage(start);
  return {
    post: (message, transfer = []) => worker.postMessage(message, [...transfer]),
    onMessage: (listener) =>
      worker.addEventListener('message', ({ data }: MessageEvent<WorkerMessage>) => {
        if (data.type === 'ready') letGo();
        listener(data);
      }),
    onExit: (listener) => {
      ended = listener;
    },
    keepAlive: () => undefined,
    terminate: async () => {
      worker.terminate();
      ended('it was ended');
    },
  };
}

async function inflate(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream('deflate-raw'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A message to oneself: timers are held back to 4 ms when they are nested. */
function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}

/** `worker` is the file of the threads, where they may not come from text. */
export function webHost(worker?: string | URL): Host {
  return {
    engine: engineReport(),
    noThreads: reasonForNoSharing(),
    noWorkers: here.Worker === undefined ? NO_WORKERS : undefined,
    // a page's own thread may not sleep
    mayWait: here.window === undefined,
    startWorker: (start) => startWorker(start, worker),
    setEngineFlags: () => ({ set: [], reason: 'a browser takes no flags from a page' }),
    noNice: 'a page has no say in the priority of its threads',
    watchPower,
    inflate,
    yieldToEvents,
  };
}

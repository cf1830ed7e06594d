/** From options to a runtime's parts: engine flags, memory, wisdom, and the probe of a machine that is not known yet. */
import { WasmBackend } from '../backends/wasm/backend.ts';
import { checkSimd, compileAll, embeddedModule, loadModules } from '../backends/wasm/embedded.ts';
import { wasmDigest } from '../backends/wasm/gen/wasm-bytes.ts';
import { workerSource } from '../backends/wasm/gen/worker-source.ts';
import { givenModule } from '../backends/wasm/given.ts';
import type { EngineReport, Host } from '../backends/wasm/host.ts';
import { nodeHost } from '../backends/wasm/host-node.ts';
import { webHost } from '../backends/wasm/host-web.ts';
import { hasRelaxedSimd, type Modules } from '../backends/wasm/module.ts';
import { probeMachine } from '../backends/wasm/probe.ts';
import type { TeamEvent } from '../backends/wasm/team-options.ts';
import { systemClock } from '../core/clock.ts';
import { TesseraeError } from '../core/errors.ts';
import { inNode } from '../core/node.ts';
import { findGpuKernel, gpuTableText } from '../kernels/gpu.ts';
import { findKernel, KERNELS, kernelTableText } from '../kernels/table.ts';
import { signature } from '../plan/fingerprint.ts';
import type { MachineProfile } from '../plan/machine.ts';
import { indexedDbStore } from '../plan/stores/indexed-db.ts';
import { memoryStore } from '../plan/stores/memory.ts';
import { defaultWisdomPath, nodeFileStore } from '../plan/stores/node-file.ts';
import type { WisdomStore } from '../plan/stores/types.ts';
import { WISDOM_SCHEMA, Wisdom } from '../plan/wisdom.ts';
import { ApartPlace, type ApartProfile } from './apart/place.ts';
import { Core } from './core.ts';
import { type FeatureFacts, hasWideVectors } from './info.ts';
import { readOptions, type Settings } from './options.ts';
import { openPlaces, type PlaceInternals, type Places } from './places.ts';
import type { RuntimeOptions, WasmFiles } from './types.ts';

/** A first guess of the time to wake the team, until it has been measured. */
const WAKE_GUESS_US = 200;
const MiB = 1024 * 1024;

/** Parts that tests replace; users have no way to pass them. */
export interface Internals extends PlaceInternals {
  readonly apartProfile?: ApartProfile;
  readonly host?: Host;
  readonly bytes?: readonly Uint8Array<ArrayBuffer>[];
  /** Skips the probe. */
  readonly machine?: MachineProfile;
}

export interface Setup {
  readonly core: Core;
  readonly settings: Settings;
  readonly features: FeatureFacts;
  /** Threads. */
  readonly requested: number;
  /** Why there is no other place than memory. */
  readonly absent: Places['absent'];
}

export async function setUp(options: RuntimeOptions, internals: Internals): Promise<Setup> {
  const settings = readOptions(options);
  const host = sharing(internals.host ?? (inNode() ? nodeHost : webHost(settings.worker)), settings);
  const features = readFeatures(host, settings);
  const { engine } = host;
  const requested = settings.threads ?? engine.cores;
  const threads = host.noThreads === undefined ? requested : 1;
  checkStrict(settings, features, threads, requested);
  const modules = await modulesOf(host, settings, internals, features);
  const onLost = ({ worker, reason }: TeamEvent) => settings.onEvent({ type: 'worker-lost', worker, reason });
  const backend = new WasmBackend({
    host,
    modules,
    initialMemory: settings.memory.initial,
    maximumMemory: settings.memory.maximum,
    workerTimeoutMs: settings.workerTimeoutMs,
    onEvent: onLost,
  });
  const isApart = threads < requested && host.noWorkers === undefined;
  const makeApart = () =>
    new ApartPlace({
      ...{ host, modules, kernels: backend.kernels, threads: requested, onEvent: onLost },
      ...{ maximumMemory: settings.memory.maximum, timeoutMs: settings.workerTimeoutMs },
      profile: internals.apartProfile,
    });
  const apart = isApart ? makeApart() : undefined;
  if (threads < requested && !apart)
    settings.onEvent({ type: 'threads', requested, actual: threads, reason: host.noThreads ?? '' });
  const wisdom = await openWisdom(settings, backend, engine, features.flagsSet, threads);
  const places = await openPlaces(settings, internals, wisdom);
  const parts = {
    gpu: places.gpu,
    gpujs: places.gpujs,
    apart,
    makeApart: host.noWorkers === undefined ? makeApart : undefined,
    host,
    backend,
    wisdom,
    threads,
    exact: settings.numerics === 'exact',
    policy: settings.policy,
    effort: settings.effort,
    onEvent: settings.onEvent,
  };
  const known = internals.machine ?? knownMachine(wisdom, backend, parts.exact);
  const core = new Core(parts, known ?? (await shortProbe(backend, host, threads, parts.exact, features)));
  if (!known) core.setMachine(core.machine);
  return { core, settings, features, requested, absent: places.absent };
}

/** The modules of the package as files hold them, for the option `wasm`: `simd` for every engine, `relaxed` for those with relaxed SIMD. */
export async function embeddedWasm(): Promise<{ readonly simd: Uint8Array; readonly relaxed: Uint8Array }> {
  const host = inNode() ? nodeHost : webHost();
  return { simd: await embeddedModule('simd', host), relaxed: await embeddedModule('relaxed', host) };
}

/** The script of the threads as a file holds it, for the option `worker`. */
export function embeddedWorker(): string {
  return workerSource;
}

function modulesOf(
  host: Host,
  { wasm }: Settings,
  { bytes }: Internals,
  { flagsSet }: FeatureFacts,
): Promise<Modules> {
  if (wasm) return givenModules(wasm);
  return bytes ? compileAll(bytes) : loadModules(host, flagsSet);
}

async function givenModules({ simd, relaxed }: WasmFiles): Promise<Modules> {
  checkSimd();
  const base = await givenModule('simd', simd);
  return relaxed && hasRelaxedSimd() ? [base, await givenModule('relaxed', relaxed)] : [base];
}

/** The host, as one whose threads share nothing where that is wanted. */
function sharing(host: Host, { memory }: Settings): Host {
  if (memory.shared || host.noThreads !== undefined) return host;
  const noNice = 'threads that share no memory keep theirs';
  return { ...host, noThreads: 'memory.shared is false', noNice };
}

function readFeatures(host: Host, settings: Settings): FeatureFacts {
  const asked = settings.engineFlags === 'allow';
  const flags = asked ? host.setEngineFlags({ relaxedSimd: !hasRelaxedSimd() }) : { set: [], reason: '' };
  return {
    relaxed: hasRelaxedSimd(),
    flagsAsked: asked,
    flagsSet: flags.set,
    flagsReason: flags.reason,
    engine: host.engine,
    noThreads: host.noThreads,
  };
}

function checkStrict(settings: Settings, features: FeatureFacts, threads: number, requested: number): void {
  if (settings.policy !== 'strict') return;
  if (threads < requested) {
    throw new TesseraeError(
      'E_FALLBACK',
      `${requested} threads were asked for, ${threads} can be had: ${features.noThreads}`,
      { requested, actual: threads },
      "Use policy 'auto', or ask for one thread.",
    );
  }
  if (settings.engineFlags === 'allow' && features.flagsSet.length === 0) {
    throw new TesseraeError(
      'E_FALLBACK',
      `engine flags were allowed but none applies: ${features.flagsReason}`,
      { engine: features.engine.v8 },
      "Use policy 'auto', or engineFlags 'off'.",
    );
  }
}

async function openWisdom(
  settings: Settings,
  backend: WasmBackend,
  engine: EngineReport,
  flags: readonly string[],
  threads: number,
): Promise<Wisdom> {
  const sign = signature({
    schema: WISDOM_SCHEMA,
    kernelTable: `${wasmDigest}\n${kernelTableText()}\n${gpuTableText()}`,
    engine: { name: engine.name, version: engine.version, v8: engine.v8, arch: engine.arch },
    features: [backend.feature],
    engineFlags: flags,
    cpu: { model: engine.cpu, cores: engine.cores },
    threadCap: threads,
  });
  const isPlanValid = (plan: { kernel: string; threads: number }) => {
    if (!findKernel(plan.kernel) && !findGpuKernel(plan.kernel)) return `there is no kernel ${plan.kernel}`;
    return plan.threads > threads ? `it wants ${plan.threads} threads, there are ${threads}` : undefined;
  };
  const wisdom = new Wisdom(
    await openStore(settings, sign),
    sign,
    (reason, source) => settings.onEvent({ type: 'wisdom-refused', reason, source }),
    isPlanValid,
  );
  wisdom.load();
  return wisdom;
}

/** One default file, or entry of a page's database, per signature: engines and thread counts that alternate would otherwise refuse each other's wisdom. */
async function openStore({ wisdom }: Settings, sign: string): Promise<WisdomStore> {
  if (wisdom === false) return memoryStore();
  if (typeof wisdom === 'object') return wisdom;
  if (!inNode()) return (await indexedDbStore(sign, wisdom)) ?? memoryStore();
  const path = wisdom ?? defaultWisdomPath(sign);
  return path === undefined ? memoryStore() : nodeFileStore(path);
}

/** Kernels whose speed the planner needs: those that it may choose from. */
export function probedKernels(backend: WasmBackend, exact: boolean): string[] {
  const fast = KERNELS.filter((kernel) => backend.kernels.has(kernel.name));
  const wanted = exact
    ? fast.filter((kernel) => kernel.deterministic)
    : // kernels on integers have one form for both modules
      fast.filter((kernel) => kernel.feature === backend.feature || kernel.dtype !== undefined);
  return wanted.map((kernel) => kernel.name);
}

function knownMachine(wisdom: Wisdom, backend: WasmBackend, exact: boolean): MachineProfile | undefined {
  const machine = wisdom.machine;
  return machine && probedKernels(backend, exact).every((name) => name in machine.kernelGflops)
    ? machine
    : undefined;
}

/** What this process has found out about its machine, by kernels and flags: a later runtime without wisdom need not find it out again. */
const probes = new Map<string, Promise<MachineProfile>>();

async function shortProbe(
  backend: WasmBackend,
  host: Host,
  threads: number,
  exact: boolean,
  features: FeatureFacts,
): Promise<MachineProfile> {
  const kernels = probedKernels(backend, exact);
  const key = `${kernels} ${features.flagsSet}`;
  const wakeUs = threads > 1 ? WAKE_GUESS_US : 0;
  const running = probes.get(key);
  // one that fails for want of its own runtime's memory says nothing about this one
  const found = running && (await running.catch(() => undefined));
  if (found) return { ...found, wakeUs };
  const probe = probeMachine(
    backend,
    {
      clock: systemClock,
      peakMs: 40,
      kernelMs: 160,
      readBytes: 64 * MiB,
      readMs: 15,
      kernels,
      wideVectors: hasWideVectors(features),
      pause: () => host.yieldToEvents(),
    },
    { wakeUs },
  );
  probes.set(key, probe);
  probe.catch(() => probes.delete(key));
  return probe;
}

/** The machine and engine that a result was made on, as data. */
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';

export interface Environment {
  readonly node: string;
  readonly v8: string;
  readonly platform: string;
  readonly arch: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** Load average of the last minute when the command started: above 0 on a quiet machine is other work. */
  readonly load: number;
  readonly execArgv: readonly string[];
  readonly caches: readonly CacheInfo[];
}

export interface CacheInfo {
  /** `L1d`, `L2` ... */
  readonly name: string;
  readonly bytes: number;
  /** CPUs that share it. */
  readonly sharedBy: number;
}

export function describeEnvironment(): Environment {
  return {
    node: process.version,
    v8: process.versions.v8,
    platform: process.platform,
    arch: process.arch,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    load: loadavg()[0] ?? 0,
    // What starts the TypeScript sources is no property of the result.
    execArgv: process.execArgv.filter(
      (argument, i, all) => !/tsx/.test(argument) && !/tsx/.test(all[i + 1] ?? ''),
    ),
    caches: cpuCaches(),
  };
}

/** Linux tells the data caches of the first CPU in files; elsewhere the list is empty. */
export function cpuCaches(folder = '/sys/devices/system/cpu/cpu0/cache'): readonly CacheInfo[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^index\d+$/.test(name))
      .map((name) => readCache(join(folder, name)))
      .filter((cache) => cache !== undefined);
  } catch {
    return [];
  }
}

function readCache(folder: string): CacheInfo | undefined {
  const read = (file: string) => readFileSync(join(folder, file), 'utf8').trim();
  const type = read('type');
  const size = /^(\d+)([KM])$/.exec(read('size'));
  if (type === 'Instruction' || !size) return undefined;
  const bytes = Number(size[1]) * (size[2] === 'M' ? 2 ** 20 : 2 ** 10);
  const name = `L${read('level')}${type === 'Data' ? 'd' : ''}`;
  return { name, bytes, sharedBy: countCpus(read('shared_cpu_list')) };
}

/** `0-3,8` -> 5 */
export function countCpus(list: string): number {
  return list
    .split(',')
    .map((range) => range.split('-').map(Number))
    .reduce((sum, [first = 0, last = first]) => sum + last - first + 1, 0);
}

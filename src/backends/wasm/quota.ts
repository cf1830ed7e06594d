/**
 * How many cores' worth of time a Linux control group leaves a process: a container with `--cpus=2` on a machine of 64 cores sees all of
 * them, and threads beyond the two only wait for one another. Node itself looks from version 24 on.
 * (https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max; cgroup-v1/cpu: sched-bwc, cpu.cfs_quota_us)
 */

/** The text of a file, or undefined where there is none. */
export type ReadText = (path: string) => string | undefined;

/** Undefined where nothing is limited. A half counts as whole: threads that are held back now and then do more than one thread less. */
export function quotaCores(read: ReadText): number | undefined {
  const groups = read('/proc/self/cgroup') ?? '';
  const limits = groups.split('\n').flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) return [];
    if (controllers === '') return upwards(path).map((folder) => unified(read, folder));
    const isOfCpu = controllers!.split(',').includes('cpu');
    return isOfCpu ? upwards(path).map((folder) => separate(read, controllers!, folder)) : [];
  });
  const least = Math.min(...limits.filter((limit) => limit !== undefined));
  return Number.isFinite(least) ? Math.max(1, Math.round(least)) : undefined;
}

/** The group's folder and all above it, for a limit holds for everything below. */
function upwards(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '');
  return [...names.keys(), names.length].map((count) =>
    names
      .slice(0, count)
      .map((name) => `/${name}`)
      .join(''),
  );
}

function share(quota: string | undefined, period: string | undefined): number | undefined {
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? cores : undefined;
}

function unified(read: ReadText, folder: string): number | undefined {
  const [quota, period] = (read(`/sys/fs/cgroup${folder}/cpu.max`) ?? '').trim().split(/\s+/);
  return share(quota, period);
}

function separate(read: ReadText, controllers: string, folder: string): number | undefined {
  const at = `/sys/fs/cgroup/${controllers}${folder}/cpu.cfs_`;
  return share(read(`${at}quota_us`), read(`${at}period_us`));
}

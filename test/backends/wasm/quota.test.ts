/** Cores that control groups leave: files as Linux writes them. */
import test from 'tape';
import { quotaCores } from '../../../src/backends/wasm/quota.ts';

function cores(files: Readonly<Record<string, string>>): number | undefined {
  return quotaCores((path) => files[path]);
}

const UNIFIED = '0::/\n';

test('quota: where nothing is limited', (t) => {
  t.equal(cores({}), undefined, 'no control groups');
  t.equal(cores({ '/proc/self/cgroup': UNIFIED }), undefined, 'no file of the controller');
  t.equal(cores({ '/proc/self/cgroup': UNIFIED, '/sys/fs/cgroup/cpu.max': 'max 100000\n' }), undefined);
  const separate = { '/proc/self/cgroup': '3:cpu,cpuacct:/\n1:name=systemd:/init\n' };
  const at = '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_';
  t.equal(cores({ ...separate, [`${at}quota_us`]: '-1\n', [`${at}period_us`]: '100000\n' }), undefined);
  t.equal(cores({ '/proc/self/cgroup': 'nonsense', '/sys/fs/cgroup/cpu.max': '1 1' }), undefined, 'nonsense');
  t.end();
});

test('quota: in a container', (t) => {
  const limited = (text: string) => cores({ '/proc/self/cgroup': UNIFIED, '/sys/fs/cgroup/cpu.max': text });
  t.equal(limited('200000 100000\n'), 2);
  t.equal(limited('150000 100000\n'), 2, 'one and a half keep two threads busy');
  t.equal(limited('120000 100000\n'), 1);
  t.equal(limited('20000 100000\n'), 1, 'one at least');
  t.equal(limited('0 0\n'), undefined, 'not a number');
  const at = '/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_';
  const old = { '/proc/self/cgroup': '5:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n' };
  t.equal(cores({ ...old, [`${at}quota_us`]: '300000\n', [`${at}period_us`]: '100000\n' }), 3, 'version 1');
  t.end();
});

test('quota: the least of the groups above', (t) => {
  const files = {
    '/proc/self/cgroup': '0::/user.slice/job.scope\n',
    '/sys/fs/cgroup/user.slice/cpu.max': '400000 100000\n',
    '/sys/fs/cgroup/user.slice/job.scope/cpu.max': 'max 100000\n',
  };
  t.equal(cores(files), 4, 'a group above');
  t.equal(cores({ ...files, '/sys/fs/cgroup/user.slice/job.scope/cpu.max': '100000 50000\n' }), 2, 'its own');
  t.equal(cores({ ...files, '/sys/fs/cgroup/cpu.max': '100000 100000\n' }), 1, 'the root');
  t.end();
});

/** Message ports in Node and in browsers, as far as they differ: what keeps a process alive, and how the other side's end is heard of. */

/** What Node's ports have besides. */
interface NodePort {
  ref?(): void;
  unref?(): void;
  on?(event: 'close', listener: () => void): void;
}

interface Locks {
  request(name: string, use: () => Promise<void> | void): Promise<unknown>;
}

function locks(): Locks | undefined {
  return (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
}

export function keepAlive(port: MessagePort, on: boolean): void {
  const { ref, unref } = port as NodePort;
  (on ? ref : unref)?.call(port);
}

/** Calls the listener once, when the thread at the other end is gone or has closed its port. Browsers do not tell: there, whoever lives holds
 *  a lock of this name (Web Locks), which the platform gives on when the thread has ended. */
export function whenGone(port: MessagePort, name: string, listener: () => void): void {
  const { on } = port as NodePort;
  if (on) on.call(port, 'close', listener);
  else void locks()?.request(name, () => listener());
}

/** Says that this thread lives, as long as it does. */
export function live(name: string, port: MessagePort): void {
  if (!('on' in port)) void locks()?.request(name, () => new Promise<void>(() => undefined));
}

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

/** Calls the listener when the thread at the other end is gone or has closed its port. Only Node's ports tell. */
export function whenClosed(port: MessagePort, listener: () => void): void {
  (port as NodePort).on?.('close', listener);
}

/** Holds a lock of this name (Web Locks) as long as this thread lives, where ports do not tell; resolves when it is held, to whether it is. */
export function live(port: MessagePort, name: string): Promise<boolean> {
  const manager = locks();
  if ('on' in port || !manager) return Promise.resolve(false);
  return new Promise((resolve) => {
    void manager.request(name, () => {
      resolve(true);
      return new Promise<void>(() => undefined);
    });
  });
}

/** Calls the listener when the thread that holds the lock has ended: the platform gives it on. */
export function whenLockIsFree(name: string, listener: () => void): void {
  void locks()?.request(name, () => listener());
}

/** Whether the machine runs on its battery, as each platform tells. */
import { inNode, node } from '../../core/node.ts';

/** How often a system is asked that does not tell by itself, in milliseconds. */
const ASK_MS = 10_000;
const SUPPLIES = '/sys/class/power_supply';

type Listener = (onBattery: boolean) => void;

/** Of the Battery Status API; only Chromium has it, and only in pages. */
interface BatteryManager extends EventTarget {
  readonly charging: boolean;
}

/** A battery of the machine itself that is being emptied; mice and keyboards have one too (their scope is `Device`). Linux,
 *  Documentation/ABI/testing/sysfs-class-power. */
function isDischarging(): boolean {
  const { readdirSync, readFileSync } = node('node:fs');
  const read = (supply: string, name: string) => {
    try {
      return readFileSync(`${SUPPLIES}/${supply}/${name}`, 'utf8').trim();
    } catch {
      return '';
    }
  };
  return readdirSync(SUPPLIES).some(
    (supply) =>
      read(supply, 'type') === 'Battery' &&
      read(supply, 'scope') !== 'Device' &&
      read(supply, 'status') === 'Discharging',
  );
}

function askLinux(listener: Listener): (() => void) | undefined {
  try {
    isDischarging();
  } catch {
    return undefined;
  }
  let before = false;
  const ask = () => {
    let now = false;
    try {
      now = isDischarging();
    } catch {
      // a supply was unplugged meanwhile
    }
    if (now !== before) listener(now);
    before = now;
  };
  queueMicrotask(ask);
  const timer = setInterval(ask, ASK_MS);
  timer.unref();
  return () => clearInterval(timer);
}

function listenInPage(listener: Listener): (() => void) | undefined {
  const { navigator } = globalThis as { navigator?: { getBattery?: () => Promise<BatteryManager> } };
  if (!navigator?.getBattery) return undefined;
  let stopped = false;
  let stop: () => void = () => undefined;
  navigator.getBattery().then(
    (battery) => {
      if (stopped) return;
      const tell = () => listener(!battery.charging);
      battery.addEventListener('chargingchange', tell);
      stop = () => battery.removeEventListener('chargingchange', tell);
      if (!battery.charging) tell();
    },
    () => undefined,
  );
  return () => {
    stopped = true;
    stop();
  };
}

/** See `Host.watchPower`. */
export function watchPower(listener: Listener): (() => void) | undefined {
  if (!inNode()) return listenInPage(listener);
  return process.platform === 'linux' ? askLinux(listener) : undefined;
}

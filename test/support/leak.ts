import { readdirSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

/** Node's names of what a test of the network must not leave behind. */
const watched = new Set(['TCPSocketWrap', 'TCPServerWrap', 'TLSWrap', 'PipeWrap', 'ProcessWrap']);

function openResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of process.getActiveResourcesInfo()) {
    if (watched.has(name)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

/** Open descriptors of this process; undefined where `/proc` does not exist. */
export function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

/** Fails the test when sockets or descriptors that it opened are still open soon after its other `after` hooks. */
export function failOnLeak(t: TestContext, withinMs = 2000): { check(): Promise<void> } {
  const before = openResources();
  const descriptors = openDescriptors();
  const leaks = (): string[] => {
    const found = [...openResources()]
      .filter(([name, count]) => count > (before.get(name) ?? 0))
      .map(([name, count]) => `${name}: ${before.get(name) ?? 0} before, ${count} after`);
    const now = openDescriptors();
    if (descriptors !== undefined && now !== undefined && now > descriptors) {
      found.push(`descriptors: ${descriptors} before, ${now} after`);
    }
    return found;
  };
  return {
    async check() {
      const until = performance.now() + withinMs;
      while (leaks().length > 0 && performance.now() < until) await sleep(20);
      const left = leaks();
      if (left.length > 0) throw new Error(`Test '${t.name}' leaks ${left.join('; ')}`);
    },
  };
}

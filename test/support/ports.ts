import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/** Below what Linux (from 32768) and macOS (from 49152) hand out to outgoing connections and to port 0. */
const [first, end] = [12_000, 32_000];
/** Of this process: a port is not given twice, even while nobody listens on it yet. */
const given: Set<number> = new Set();

/** A port of 127.0.0.1 on which nobody listens, and which no connection gets meanwhile. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(first, end);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port of 127.0.0.1 from ${first} to ${end - 1}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server
      .once('error', () => {
        resolve(false);
      })
      .listen(port, '127.0.0.1', () => {
        server.close(() => {
          resolve(true);
        });
      });
  });
}

/**
 * Where the import ports of one federation may begin. Those of two that run at once must not: both find a port free before
 * either listens on it.
 */
export function importPortsFrom(): number {
  return randomInt(first, end - 3000);
}

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('idle-process.ts', import.meta.url));

/** A process that accepts connections and keeps them, or opens and keeps them. */
async function idleProcess(core: number, words: readonly string[]): Promise<{ said: number; child: ChildProcess }> {
  const child = spawn('taskset', ['-c', String(core), process.execPath, script, ...words], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [said] = (await once(child, 'message')) as [number];
  return { said, child };
}

/** Each connection is held open after its first byte was echoed. */
export async function holdingBackend(core: number): Promise<{ port: number; close(): Promise<void> }> {
  const { said, child } = await idleProcess(core, ['accept']);
  return { port: said, close: () => end(child) };
}

/** Opens `count` connections, sends one byte on each, waits for its echo, then keeps them until `close`. */
export async function holdingClients(
  core: number,
  port: number,
  count: number,
): Promise<{ opened: number; close(): Promise<void> }> {
  const { said, child } = await idleProcess(core, ['open', String(port), String(count)]);
  return { opened: said, close: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

import { Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

/** One request of the load, after its end. */
export interface Asked {
  readonly id: number;
  readonly method: string;
  /** Monotonic ms. */
  readonly begunAt: number;
  /** 0: no whole answer came. */
  readonly status: number;
  readonly error: string | undefined;
  /** It went over a connection that had carried another one. */
  readonly reused: boolean;
}

export interface KeepAliveLoad {
  readonly done: readonly Asked[];
  /** Ends it and waits for what is in progress. */
  stop(): Promise<void>;
}

export interface LoadOptions {
  /** Where a connection goes that is opened now: what a balancer in front would say. */
  readonly port: () => number;
  readonly lanes?: number;
  /** Between two requests of one connection: lane 0 waits as long as the first says, and so on around. */
  readonly pausesMs?: readonly number[];
  readonly methods?: readonly string[];
}

/**
 * Clients with kept connections that try nothing twice: whatever fails, fails. They close a connection when they are told
 * to, and only then go where new connections go.
 */
export function startKeepAliveLoad({
  port,
  lanes = 8,
  pausesMs = [0],
  methods = ['GET', 'POST'],
}: LoadOptions): KeepAliveLoad {
  const done: Asked[] = [];
  let running = true;
  let next = 0;
  const lane = async (index: number): Promise<void> => {
    const pauseMs = pausesMs[index % pausesMs.length] ?? 0;
    let agent: Agent | undefined;
    let to = 0;
    while (running) {
      const id = (next += 1);
      const method = methods[id % methods.length] ?? 'GET';
      if (!agent || Object.keys(agent.freeSockets).length === 0) {
        agent?.destroy();
        agent = new Agent({ keepAlive: true, maxSockets: 1 });
        to = port();
      }
      done.push(await ask(agent, { port: to, method, id }));
      await sleep(pauseMs);
    }
    agent?.destroy();
  };
  const all = Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)));
  return {
    done,
    async stop() {
      running = false;
      await all;
    },
  };
}

function ask(agent: Agent, { port, method, id }: { port: number; method: string; id: number }): Promise<Asked> {
  const begunAt = performance.now();
  return new Promise((resolve) => {
    const sent = request({ host: '127.0.0.1', port, agent, method, path: `/r/${id}`, headers: { host: 'shop' } });
    const end = (status: number, error?: Error & { readonly code?: string }): void =>
      resolve({ id, method, begunAt, status, error: error?.code ?? error?.message, reused: sent.reusedSocket });
    sent.on('error', (error) => end(0, error));
    sent.on('response', (response: IncomingMessage) => {
      response.on('error', (error) => end(0, error));
      // One more turn: the agent has put the connection back by then, or closed it.
      response.on('end', () => setImmediate(() => end(response.statusCode ?? 0)));
      response.resume();
    });
    sent.end(method === 'POST' ? `body ${id}` : undefined);
  });
}

/** Those that got anything but 200. */
export function failuresOf(done: readonly Asked[]): string[] {
  return done
    .filter(({ status }) => status !== 200)
    .map(({ id, method, status, error, reused }) => `${id} ${method} ${status} ${error ?? ''} reused: ${reused}`);
}

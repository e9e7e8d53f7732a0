// An agent's publisher in a process of its own, which dies by SIGKILL at one step of its work: before or after the n-th
// call of the hub or write to the disk. Step 0: it lives, says `settled` and ends.
import { openRedisHub } from '../../../src/federation/io/redis-hub/open-redis-hub.ts';
import { startPublisher } from '../../../src/federation/io/publisher.ts';
import { diskFiles, type StateFiles } from '../../../src/federation/io/state-files.ts';
import type { Hub } from '../../../src/model/ports/hub.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import { simSealer, simVerifier } from '../../simulation/support/sim-seals.ts';
import { east, eventually, exportOf, keyed, quietLog } from './federation.ts';
import { domainOf } from './seals.ts';

const [url = '', stateDir = '', step = '0', ready = '0', ...services] = process.argv.slice(2);
let steps = 0;

/** One more step: the last one, perhaps. */
function pass(): void {
  steps += 1;
  if (steps === Number(step)) process.kill(process.pid, 'SIGKILL');
}

/** Passes a step before and after each call of a writing method. */
function fragile<T extends object>(target: T, methods: ReadonlySet<string>): T {
  return new Proxy(target, {
    get(of, name) {
      const member: unknown = Reflect.get(of, name);
      if (typeof member !== 'function') return member;
      const method = member.bind(of) as (...args: unknown[]) => unknown;
      if (!methods.has(String(name))) return method;
      return async (...args: unknown[]) => {
        pass();
        const answer = await method(...args);
        pass();
        return answer;
      };
    },
  });
}

// Timers of a clock do not keep a process alive.
const alive = setInterval(() => undefined, 1000);
const hub: Hub = openRedisHub({ url, clock: systemClock, log: quietLog() });
const publisher = await startPublisher({
  hub: fragile(hub, new Set(['commit', 'writeChain', 'writeLease', 'readSnapshot'])),
  cluster: east,
  trustDomain: domainOf(east),
  sealer: new Watchable(simSealer(east)),
  verifier: simVerifier(),
  stateDir,
  files: fragile<StateFiles>(diskFiles, new Set(['write'])),
  clock: systemClock,
  log: quietLog(),
  leaseMs: 20_000,
});
const wanted = services.map((name) => exportOf(name, { endpoints: { total: 9999, ready: Number(ready) } }));
publisher.publish(keyed(...wanted), { synced: true });
await eventually(publisher.status, (status) => status.settled);
await publisher.close();
await hub.close();
clearInterval(alive);
process.stdout.write(`settled after ${steps} steps\n`);

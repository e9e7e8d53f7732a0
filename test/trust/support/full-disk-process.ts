import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseClusterName } from '../../../src/model/names.ts';
import { IsthmusError } from '../../../src/model/error.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { openAuthority } from '../../../src/trust/io/authority.ts';
import { silent } from './environment.ts';

/** Issues tokens until the disk (its limit of a file's size) takes no more; tells how many it was told are durable. */
const [dir = ''] = process.argv.slice(2);
const listen = { host: '127.0.0.1', port: 0 };
const authority = await openAuthority({ stateDir: join(dir, 'authority'), listen, clock: systemClock, log: silent });
let durable = 0;
let failure: IsthmusError | undefined;
while (!failure && durable < 5000) {
  try {
    await authority.issueToken({ cluster: parseClusterName('east'), admission: { labels: { note: 'x'.repeat(60) } } });
    durable += 1;
  } catch (thrown) {
    failure = IsthmusError.from(thrown);
  }
}
const before = authority.status();
// The state is read again; then it answers as before, and refuses what it cannot write.
await new Promise((resolve) => setTimeout(resolve, 2500));
const tokens = authority.tokens().length;
const again = await authority.issueToken({ cluster: parseClusterName('east') }).then(
  () => 'written',
  (thrown: unknown) => IsthmusError.from(thrown).code,
);
const told = { durable, code: failure?.code, message: failure?.message, problem: before.problem, tokens, again };
writeSync(1, `${JSON.stringify(told)}\n`);
process.exit(0);

import { parseClusterName } from '../../../src/model/names.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { openAuthority } from '../../../src/trust/io/authority.ts';
import { silent } from './environment.ts';

/** An authority in a process of its own, to be killed: prints its port and one token for cluster east. */
const [stateDir = '', port = '0'] = process.argv.slice(2);
const listen = { host: '127.0.0.1', port: Number(port) };
const authority = await openAuthority({ stateDir, listen, clock: systemClock, log: silent });
const { token } = await authority.issueToken({ cluster: parseClusterName('east') });
process.stdout.write(`${JSON.stringify({ port: authority.port, token })}\n`);

import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseClusterName, parseReplicaName } from '../../../src/model/names.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { openAuthority } from '../../../src/trust/io/authority.ts';
import { joinCluster } from '../../../src/trust/io/join.ts';
import { silent } from './environment.ts';

/** What an authority and an agent do in their first minutes; every answer is told at once, so that a killer can check it. */
const [dir = ''] = process.argv.slice(2);
const cluster = parseClusterName('east');
const told = (what: string, more: object = {}): void => void writeSync(1, `${JSON.stringify({ what, ...more })}\n`);

const listen = { host: '127.0.0.1', port: 0 };
const authority = await openAuthority({ stateDir: join(dir, 'authority'), listen, clock: systemClock, log: silent });
told('open', { port: authority.port });
const { token, id } = await authority.issueToken({ cluster, admission: { exportable: ['shop/*'] } });
told('token', { token });
const spare = await authority.issueToken({ cluster });
told('spare');
await authority.revokeToken(spare.id, 'test');
told('revoked', { id: spare.id });
const replica = parseReplicaName('one');
await joinCluster({ token, stateDir: join(dir, 'agent'), replica, clock: systemClock, log: silent });
told('joined', { id });
await authority.admit(cluster, { labels: { tier: 'gold' } }, 'test');
told('labelled');
await authority.setClusterState(cluster, 'suspended', 'test');
told('suspended');
await authority.setClusterState(cluster, 'active', 'test');
told('active');
await authority.close();
told('end');

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { type AuthorityConfig, parseAuthorityConfig } from '../../src/config/authority.ts';
import { readDocument } from '../../src/config/document.ts';
import type { Validated } from '../../src/config/validate.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { startAgent } from '../../src/roles/agent.ts';
import { startAuthority } from '../../src/roles/authority.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { initAuthority } from '../../src/trust/io/authority.ts';
import { startRedis } from '../support/redis.ts';
import { eventually, silent as log } from '../trust/support/environment.ts';

const east = parseClusterName('east');

function accepted<T>(parsed: Validated<T>): T {
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

test('an agent learns the hub by joining, says goodbye when it leaves, and comes back with a token', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-told-'));
  const ends: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const redis = await startRedis();
  ends.push(() => redis.stop());
  const resolve = (path: string): string => join(dir, path);
  const authorityText = `
stateDir: authority
federationDomain: mesh.example
listen: 127.0.0.1:0
advertise: ['127.0.0.1:1']
hub: { url: '${redis.url}' }
`;
  const config: AuthorityConfig = {
    ...accepted(parseAuthorityConfig(readDocument('authority.yaml', authorityText), resolve)),
    advertise: [{ host: '127.0.0.1', port: 0 }],
  };
  const { stateDir, federationDomain } = config;
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 2 ** 12 } });
  const role = await startAuthority(config, { clock, log });
  const { authority } = role;
  ends.push(() => role.close());
  const agentText = `
stateDir: east
cluster: east
join: { tokenFile: token }
listen: { grpc: 127.0.0.1:0, http: 127.0.0.1:0 }
advertise: ['127.0.0.1:1']
`;
  const agentConfig = accepted(parseAgentConfig(readDocument('agent.yaml', agentText), resolve));
  const { token } = await authority.issueToken({ cluster: east });
  await writeFile(resolve('token'), token, { mode: 0o600 });
  const agent = await startAgent(agentConfig, { clock, log });
  ends.push(() => agent.close());
  await agent.running;
  await eventually('uses the hub that it was told', () => agent.api.status().hub.connected, 10_000);
  assert.match(agent.api.status().hub.name, new RegExp(`127.0.0.1:${redis.port}`));

  const report = await agent.api.leave({ graceMs: 0, force: false, keepMembership: false });
  assert.equal(report.stillMember, undefined, JSON.stringify(report));
  assert.equal(authority.roster.current.clusters.get(east)?.leaving, true);
  const last = (await authority.journal(0, 1000)).find(({ what }) => what === 'leave');
  assert.match(last?.who ?? '', /^spiffe:\/\/east\.mesh\.example\/isthmus\/agent\//);
  await authority.issueToken({ cluster: east, rejoin: true });
});

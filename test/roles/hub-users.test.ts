import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Redis } from 'ioredis';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { parseAuthorityConfig } from '../../src/config/authority.ts';
import { readDocument } from '../../src/config/document.ts';
import type { Validated } from '../../src/config/validate.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import { startAgent } from '../../src/roles/agent.ts';
import { createAuthorityApi } from '../../src/roles/authority/api.ts';
import { openMemberHubs } from '../../src/roles/authority/member-hubs.ts';
import { type AuthorityRole, startAuthority } from '../../src/roles/authority.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { initAuthority } from '../../src/trust/io/authority.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { startRedis, type TestRedis } from '../support/redis.ts';
import { eventually, silent as log } from '../trust/support/environment.ts';

/** Who joins gets a Redis user: made by the authority if it may, else by the line that an operator is given. */

const east = parseClusterName('east');

function accepted<T>(parsed: Validated<T>): T {
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

interface Site {
  readonly dir: string;
  readonly redis: TestRedis;
  readonly admin: Redis;
  readonly role: AuthorityRole;
  readonly api: ReturnType<typeof createAuthorityApi>;
  readonly ends: (() => unknown)[];
}

/** A Redis whose default user has a password, and an authority. `more`: of its section `hubForMembers`. */
async function site(t: TestContext, more: string): Promise<Site> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-hub-users-'));
  const ends: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const redis = await startRedis(['--requirepass', 'secret']);
  ends.push(() => redis.stop());
  const admin = new Redis(redis.url, { password: 'secret', retryStrategy: () => 50 });
  admin.on('error', () => undefined);
  ends.push(() => admin.disconnect());
  await writeFile(join(dir, 'redis.password'), 'secret\n', { mode: 0o600 });
  const text = `
stateDir: authority
federationDomain: mesh.example
listen: 127.0.0.1:0
advertise: ['127.0.0.1:1']
hub: { url: '${redis.url}', passwordFile: redis.password }
hubForMembers: { url: '${redis.url}'${more} }
`;
  const config = {
    ...accepted(parseAuthorityConfig(readDocument('authority.yaml', text), (path) => join(dir, path))),
    advertise: [{ host: '127.0.0.1', port: 0 }],
  };
  const { stateDir, federationDomain, source } = config;
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 2 ** 12 } });
  const role = await startAuthority(config, { clock, log });
  ends.push(() => role.close());
  const hubs = await openMemberHubs(config, { source, clock, log });
  const api = createAuthorityApi(role.authority, {
    config,
    clock,
    log,
    hubs,
    hubName: redis.url,
    bundleProblem: () => undefined,
    startedAt: clock.monotonic(),
    addresses: [`127.0.0.1:${role.authority.port}`],
  });
  return { dir, redis, admin, role, api, ends };
}

const request = { cluster: east, ttlMs: undefined, rejoin: false, admission: {} };
const usersOf = async (admin: Redis): Promise<string[]> => (await admin.call('ACL', 'USERS')) as string[];

test('a join makes a Redis user that writes its own partition alone; a revocation takes it away', async (t) => {
  const { dir, redis, admin, api, ends } = await site(t, ', admin: { passwordFile: redis.password }');
  const issued = await api.issueClusterToken(request);
  assert.equal(issued.hubUserLine, undefined, 'nobody has to make it');
  await writeFile(join(dir, 'token'), issued.token, { mode: 0o600 });
  const text = `
stateDir: east
cluster: east
join: { tokenFile: token }
listen: { grpc: 127.0.0.1:0, http: 127.0.0.1:0 }
advertise: ['127.0.0.1:1']
`;
  const config = accepted(parseAgentConfig(readDocument('agent.yaml', text), (path) => join(dir, path)));
  const agent = await startAgent(config, { clock, log });
  ends.push(() => agent.close());
  await agent.running;
  await eventually('uses the hub', () => agent.api.status().hub.connected, 20_000);
  const user = `isthmus-east-${config.replica}`;
  assert.ok((await usersOf(admin)).includes(user));
  await eventually('publishes', () => agent.api.status().publisher.revision !== undefined, 20_000);

  const membership = join(dir, 'east', 'membership.json');
  assert.equal((await stat(membership)).mode & 0o777, 0o600);
  const { hub } = JSON.parse(await readFile(membership, 'utf8')) as { hub: { username: string; password: string } };
  assert.equal(hub.username, user);
  const own = new Redis(redis.url, { username: user, password: hub.password, lazyConnect: true });
  own.on('error', () => undefined);
  ends.push(() => own.disconnect());
  await own.connect();
  await assert.rejects(own.set('isthmus:{west}:head', 'x'), /NOPERM/);
  await assert.rejects(own.call('ACL', 'SETUSER', 'me', 'on'), /NOPERM/);

  await api.setClusterState(east, 'revoked', 'test');
  assert.ok(!(await usersOf(admin)).includes(user));
});

test('a hub that cannot make the user delays the join, which goes on with the same token', async (t) => {
  const { dir, redis, admin, api } = await site(
    t,
    ", username: 'mesh.{cluster}.{replica}', admin: { passwordFile: redis.password }",
  );
  const { token } = await api.issueClusterToken(request);
  await redis.kill();
  const stateDir = join(dir, 'east');
  const join_ = () => joinCluster({ token, stateDir, replica: parseReplicaName('one'), clock, log });
  await assert.rejects(join_(), { code: 'unavailable', message: /east is admitted, but has no Redis user yet/ });
  await redis.restart();
  await join_();
  assert.ok((await usersOf(admin)).includes('mesh.east.one'));
});

test('without the right to make users, the token comes with the line that makes one', async (t) => {
  const { redis, admin, api, ends } = await site(t, '');
  const { hubUserLine = '' } = await api.issueClusterToken(request);
  assert.match(hubUserLine, /^ACL SETUSER isthmus-east reset on >PASSWORD /);
  const [command = '', ...words] = hubUserLine.replace('>PASSWORD', '>of-its-own').split(' ');
  await admin.call(command, ...words);
  const own = new Redis(redis.url, { username: 'isthmus-east', password: 'of-its-own', lazyConnect: true });
  own.on('error', () => undefined);
  ends.push(() => own.disconnect());
  await own.connect();
  await own.set('isthmus:{east}:head', 'x');
  await assert.rejects(own.set('isthmus:{west}:head', 'x'), /NOPERM/);
});

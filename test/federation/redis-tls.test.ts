import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inspectRedis } from '../../src/federation/io/redis-hub/inspect.ts';
import { openRedisHub } from '../../src/federation/io/redis-hub/open-redis-hub.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { freePort } from '../support/ports.ts';
import { startRedis } from '../support/redis.ts';
import { east, eventually, exportOf, keyed, quietLog, west } from './support/federation.ts';
import { Site } from './support/site.ts';

/** A root, and a certificate for 127.0.0.1 under it. */
async function certificates(dir: string): Promise<{ readonly ca: Buffer; readonly flags: readonly string[] }> {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=hub root', '-days', '2');
  openssl('req', '-new', ...key, '-keyout', 'hub.key', '-out', 'hub.csr', '-subj', '/CN=hub');
  await writeFile(join(dir, 'hub.ext'), 'subjectAltName=IP:127.0.0.1');
  const signer = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'hub.ext'];
  openssl('x509', '-req', '-in', 'hub.csr', ...signer, '-out', 'hub.pem');
  const files = ['--tls-cert-file', join(dir, 'hub.pem'), '--tls-key-file', join(dir, 'hub.key')];
  return { ca: await readFile(join(dir, 'ca.pem')), flags: [...files, '--tls-ca-cert-file', join(dir, 'ca.pem')] };
}

test('a hub over TLS: its certificate is checked, and everything goes through it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-hub-tls-'));
  const { ca, flags } = await certificates(dir);
  const tlsPort = await freePort();
  const redis = await startRedis([...flags, '--tls-port', String(tlsPort), '--tls-auth-clients', 'no']);
  const url = `rediss://127.0.0.1:${tlsPort}/0`;
  const options = { url, clock: systemClock, log: quietLog() };
  const stranger = openRedisHub(options);
  try {
    await using site = await Site.on(openRedisHub({ ...options, ca }));
    const reader = await site.reader(west);
    const publisher = await site.publisher(east);
    publisher.publish(keyed(exportOf('shop/web')), { synced: true });
    await eventually(reader.partitions, (p) => p.get(east)?.records.size === 1);
    assert.equal((await inspectRedis({ ...options, ca }, 'east')).role, 'master');
    await assert.rejects(stranger.readHeads(['east']), {
      code: 'unavailable',
      message: /not connected: (self-signed certificate|unable to (get|verify))/,
    });
    await assert.rejects(inspectRedis(options, 'east'), /self-signed certificate|unable to (get|verify)/);
  } finally {
    await stranger.close();
    await redis.stop();
    await rm(dir, { recursive: true, force: true });
  }
});

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { isthmusIn } from '../cli/isthmus.ts';
import { freePort } from '../support/ports.ts';
import { webCertificate } from '../trust/support/web.ts';

suite('isthmus authority with bundles', () => {
  let dir = '';
  let child: ChildProcess | undefined;
  const isthmus = isthmusIn(() => dir);
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'isthmus-bundles-'));
  });
  after(async () => {
    if (child && child.exitCode === null) {
      child.kill('SIGTERM');
      await once(child, 'close');
    }
    await rm(dir, { recursive: true, force: true });
  });

  test('serves its bundle over https_web, its journal and inventory on its socket', async () => {
    const [grpc, https] = [await freePort(), await freePort()];
    const web = await webCertificate(join(dir, 'web'), 'localhost');
    const config = `role: authority
stateDir: state
federationDomain: mesh.example
listen: 127.0.0.1:${grpc}
bundles: { listen: '127.0.0.1:${https}', certFile: ${web.certFile}, keyFile: ${web.keyFile} }
`;
    await writeFile(join(dir, 'authority.yaml'), config);
    await writeFile(join(dir, 'ca.pem'), web.ca);
    assert.equal((await isthmus.run(['authority', 'init', '-f', 'authority.yaml'])).status, 0);
    child = isthmus.start(['authority', '-f', 'authority.yaml']);
    let log = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text));
    const url = `https://localhost:${https}/v1/bundles/authority.mesh.example`;
    const get = ['trust', 'bundle', 'get', 'authority.mesh.example', '--url', url, '--endpoint-anchors', 'ca.pem'];
    let got = await isthmus.run(get);
    for (let tries = 0; got.status === 4 && tries < 40; tries += 1) {
      await delay(100);
      got = await isthmus.run(get);
    }
    assert.equal(got.status, 0, got.stderr + log);
    const document = JSON.parse(got.stdout) as { spiffe_sequence: number; keys: { use: string; x5c: string[] }[] };
    assert.ok(document.spiffe_sequence >= 1);
    assert.deepEqual(
      document.keys.map(({ use, x5c }) => [use, x5c.length]),
      [['x509-svid', 1]],
    );
    // Without the anchors of its own authority nobody trusts it.
    const refused = await isthmus.run(get.slice(0, -2));
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /cannot prove itself/);
    // The journal is followed hash by hash by whoever asks, not by whoever is asked.
    const journal = await isthmus.run(['trust', 'audit', 'verify', '--config', 'authority.yaml']);
    assert.equal(journal.status, 0, journal.stdout + journal.stderr);
    assert.match(journal.stdout, /^The journal is whole: [1-9]\d* records?/);
    const inventory = await isthmus.run(['trust', 'inventory', '--config', 'authority.yaml', '-o', 'json']);
    assert.deepEqual([inventory.status, JSON.parse(inventory.stdout)], [0, []]);
  });

  test('a certificate that is missing keeps the authority from starting, and says which value of the file', async () => {
    await writeFile(
      join(dir, 'broken.yaml'),
      `role: authority
stateDir: other
federationDomain: mesh.example
listen: 127.0.0.1:${await freePort()}
bundles: { certFile: none.pem, keyFile: none.key }
`,
    );
    assert.equal((await isthmus.run(['authority', 'init', '-f', 'broken.yaml'])).status, 0);
    const { status, stderr } = await isthmus.run(['authority', '-f', 'broken.yaml']);
    assert.equal(status, 2, stderr);
    assert.match(stderr, /bundles\.certFile.*none\.pem/s);
  });
});

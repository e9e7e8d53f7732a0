import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer, type Server } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite, type TestContext, test } from 'node:test';
import { parseSpiffeId, parseTrustDomain } from '../../../src/model/identity.ts';
import type { TrustState } from '../../../src/model/trust.ts';
import { systemClock } from '../../../src/runtime/io/clock.ts';
import { pemOf } from '../../../src/runtime/io/tls.ts';
import { Watchable } from '../../../src/runtime/watchable.ts';
import { parseEndpointUrl } from '../../../src/trust/bundle/endpoint-url.ts';
import { type EndpointProfile, fetchBundle } from '../../../src/trust/io/bundle-client.ts';
import { type BundleEndpoint, startBundleEndpoint } from '../../../src/trust/io/bundle-endpoint.ts';
import type { SpiffeBundle } from '../../../src/trust/bundle/spiffe-bundle.ts';
import { rosterOf } from '../../trust/support/federation.ts';
import { trustStateOf } from '../../../src/trust/verify/trust-state.ts';
import { type WebCertificate, webCertificate } from '../../trust/support/web.ts';
import { silent, temporaryDir } from '../../trust/support/environment.ts';
import { leaf, newFederation } from '../../trust/support/federation.ts';

/** SPIFFE Federation §5 to §7, over real sockets and real TLS. */

const td = parseTrustDomain('a.mesh.example');
type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface Endpoint {
  readonly web: WebCertificate;
  readonly trust: Watchable<TrustState | undefined>;
  readonly endpoint: BundleEndpoint;
  readonly url: string;
}

async function serve(t: TestContext): Promise<Endpoint> {
  const dir = await temporaryDir(t);
  const web = await webCertificate(dir, 'localhost');
  const trust = new Watchable<TrustState | undefined>(newFederation().trust);
  const listen = { host: '127.0.0.1', port: 0 };
  const files = { certFile: web.certFile, keyFile: web.keyFile };
  const endpoint = await startBundleEndpoint({ listen, ...files, trust, clock: systemClock, log: silent });
  t.after(() => endpoint.close());
  return { web, trust, endpoint, url: `https://localhost:${endpoint.port}/v1/bundles/${td}` };
}

function webFetch(url: string, ca: string | undefined, timeoutMs = 3000): Promise<SpiffeBundle> {
  const profile: EndpointProfile = { name: 'https_web', ...(ca !== undefined && { ca }) };
  return fetchBundle({ url, profile, trustDomain: td, now: Date.now, timeoutMs });
}

/** An endpoint that answers what it likes. */
async function serveAnything(t: TestContext, handler: Handler): Promise<{ readonly url: string; readonly ca: string }> {
  const web = await webCertificate(await temporaryDir(t), 'localhost');
  const server = createHttpsServer({ cert: web.cert, key: web.key }, handler);
  server.on('tlsClientError', () => undefined);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => closed(server));
  return { url: `https://localhost:${portOf(server)}/x`, ca: web.ca };
}

function portOf(server: Server): number {
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : assert.fail('no port');
}

async function closed(server: Server & { closeAllConnections?: () => void }): Promise<void> {
  const done = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections?.();
  await done;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

async function ask(url: string, ca: string, method = 'GET'): Promise<Answer> {
  const request = httpsRequest(url, { ca, method, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) body += String(chunk);
  return { status: response.statusCode, headers: response.headers, body };
}

suite('SPIFFE Federation', () => {
  test('FE-2: an endpoint that fails by one profile is not tried by the other', async (t) => {
    const { url } = await serve(t);
    // Its certificate is good by https_web, and no SVID.
    const { ofA, root } = newFederation();
    const profile: EndpointProfile = {
      name: 'https_spiffe',
      endpointId: leaf(ofA, { id: 'spiffe://a.mesh.example/bundles' }).id,
      anchors: [root.certificate],
    };
    await assert.rejects(fetchBundle({ url, profile, trustDomain: td, now: Date.now }), { code: 'unauthenticated' });
  });

  test('FE-3: an endpoint is an https URL with a host and without user information', async () => {
    assert.equal(parseEndpointUrl('https://b.example:8444/v1/x').port, '8444');
    for (const bad of [
      'http://b.example/',
      'b.example',
      'https://',
      'https://u@b.example/',
      'https://u:p@b.example/',
      '',
    ]) {
      assert.throws(() => parseEndpointUrl(bad), { code: 'invalid' }, bad);
      await assert.rejects(webFetch(bad, undefined), { code: 'invalid' }, bad);
    }
    assert.throws(() => parseEndpointUrl('https://@b.example/'), { code: 'invalid' });
  });

  test('FE-4: nobody is asked for a certificate or a password', async (t) => {
    const { web, url } = await serve(t);
    assert.equal((await ask(url, web.ca)).status, 200);
  });

  test('FE-5: GET and HEAD give the newest bundle as JSON in UTF-8, other methods and paths nothing', async (t) => {
    const { web, url, trust } = await serve(t);
    const first = await ask(url, web.ca);
    assert.equal(first.headers['content-type'], 'application/json; charset=utf-8');
    assert.equal((JSON.parse(first.body) as { spiffe_sequence: number }).spiffe_sequence, 1);
    const before = trust.current ?? assert.fail();
    trust.set(
      trustStateOf(
        rosterOf([...before.roster.clusters.values()], { sequence: 2 }),
        before.bundles.get(td)?.anchors ?? [],
      ),
    );
    assert.equal((JSON.parse((await ask(url, web.ca)).body) as { spiffe_sequence: number }).spiffe_sequence, 2);
    const head = await ask(url, web.ca, 'HEAD');
    assert.deepEqual([head.status, head.body, Number(head.headers['content-length']) > 100], [200, '', true]);
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const { status, headers } = await ask(url, web.ca, method);
      assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
    }
    const base = url.slice(0, -td.length);
    for (const path of ['', 'c.mesh.example', '..', '%61.mesh.example', `${td}/`, `/${td}`, 'A.mesh.example']) {
      assert.equal((await ask(base + path, web.ca)).status, 404, path);
    }
    assert.equal((await ask(`${url}?x=1`, web.ca)).status, 200);
  });

  test('FE-6: TLS 1.1 is not spoken', async (t) => {
    const { web, endpoint } = await serve(t);
    const { connect } = await import('node:tls');
    const socket = connect({
      port: endpoint.port,
      host: '127.0.0.1',
      ca: web.ca,
      servername: 'localhost',
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    await assert.rejects(once(socket, 'secureConnect'), /protocol|alert|version/i);
  });

  test('FE-1, FE-7: https_web checks the chain and the name', async (t) => {
    const { web, url } = await serve(t);
    const bundle = await webFetch(url, web.ca);
    assert.deepEqual([bundle.trustDomain, bundle.anchors.length, bundle.sequence], [td, 1, 1n]);
    await assert.rejects(webFetch(url, undefined), { code: 'unauthenticated' });
    await assert.rejects(webFetch(url.replace('localhost', '127.0.0.1'), web.ca), { code: 'unauthenticated' });
  });

  test('FE-1, FE-8: https_spiffe wants an X509-SVID of exactly the configured id, under its own bundle', async (t) => {
    const { ofA, ofB, root } = newFederation(false);
    const document = '{"spiffe_sequence":3,"keys":[]}';
    const start = async (svid: ReturnType<typeof leaf>): Promise<string> => {
      const server = createHttpsServer(
        { cert: svid.chain.map((der) => pemOf(der)).join(''), key: svid.keyPem },
        (_, response) => void response.end(document),
      );
      server.on('tlsClientError', () => undefined);
      await once(server.listen(0, '127.0.0.1'), 'listening');
      t.after(() => closed(server));
      return `https://127.0.0.1:${portOf(server)}/`;
    };
    const endpointId = parseSpiffeId('spiffe://a.mesh.example/bundles');
    const fetch = (
      url: string,
      changes: Partial<Extract<EndpointProfile, { name: 'https_spiffe' }>> = {},
    ): Promise<SpiffeBundle> =>
      fetchBundle({
        url,
        profile: { name: 'https_spiffe', endpointId, anchors: [root.certificate], ...changes },
        trustDomain: td,
        now: Date.now,
        timeoutMs: 3000,
      });
    const good = await start(leaf(ofA, { id: endpointId }));
    assert.equal((await fetch(good)).sequence, 3n);
    await assert.rejects(fetch(good, { anchors: [newFederation().root.certificate] }), /untrusted-issuer/);
    await assert.rejects(fetch(good, { endpointId: parseSpiffeId('spiffe://b.mesh.example/bundles') }), {
      code: 'unauthenticated',
    });
    const other = await start(leaf(ofA, { id: 'spiffe://a.mesh.example/other' }));
    await assert.rejects(fetch(other), /it is spiffe:\/\/a\.mesh\.example\/other/);
    const late = await start(
      leaf(ofB, { id: 'spiffe://b.mesh.example/bundles', at: Date.now() - 86_400_000, lifeMs: 3_600_000 }),
    );
    await assert.rejects(fetch(late, { endpointId: parseSpiffeId('spiffe://b.mesh.example/bundles') }), /expired/);
  });

  test('FE-9: redirects are followed to endpoints only, a few times, and prove themselves anew', async (t) => {
    const { web, url } = await serve(t);
    let location = url;
    const first = await serveAnything(t, (_, response) => void response.writeHead(301, { location }).end());
    assert.equal((await webFetch(first.url, web.ca + first.ca)).sequence, 1n);
    await assert.rejects(webFetch(first.url, first.ca), { code: 'unauthenticated' });
    for (location of [url.replace('https:', 'http:'), url.replace('://', '://u:p@'), 'file:///etc/passwd']) {
      await assert.rejects(webFetch(first.url, web.ca + first.ca), { code: 'invalid' }, location);
    }
    location = '/x';
    await assert.rejects(webFetch(first.url, first.ca), /redirects more than 5 times/);
  });

  test('FE-10: what is served says to ask again in five minutes', async (t) => {
    const { web, url } = await serve(t);
    assert.equal((await webFetch(url, web.ca)).refreshHintMs, 300_000);
  });

  test('FE-12: each trust domain has a bundle of its own; a revoked one has an empty one', async (t) => {
    const { web, url, trust } = await serve(t);
    const { roster, bundles } = trust.current ?? assert.fail();
    const entries = [...roster.clusters.values()].map((entry) =>
      entry.trustDomain === td ? { ...entry, state: 'revoked' as const } : entry,
    );
    trust.set(trustStateOf(rosterOf(entries, { sequence: 9 }), bundles.get(td)?.anchors ?? []));
    const revoked = await webFetch(url, web.ca);
    assert.deepEqual([revoked.anchors.length, revoked.sequence], [0, 9n]);
    assert.equal((await webFetch(url.replace('/a.', '/b.'), web.ca)).anchors.length, 1);
  });
});

suite('fetchBundle against hostile endpoints', () => {
  test('too much, too slow, nonsense and errors end as errors, within bounds', async (t) => {
    let handler: Handler = () => undefined;
    const { url, ca } = await serveAnything(t, (request, response) => handler(request, response));
    handler = (_, response) => {
      const endless = new Readable({ read: () => void setImmediate(() => endless.push(Buffer.alloc(64 << 10, 0x20))) });
      response.once('close', () => endless.destroy());
      endless.pipe(response);
    };
    await assert.rejects(webFetch(url, ca), { code: 'corrupt' });
    handler = () => undefined;
    await assert.rejects(webFetch(url, ca, 200), { code: 'timeout' });
    handler = (_, response) => void response.write('{"keys":');
    await assert.rejects(webFetch(url, ca, 200), { code: 'timeout' });
    for (const [status, code] of [
      [404, 'not-found'],
      [500, 'unavailable'],
      [204, 'unavailable'],
    ] as const) {
      handler = (_, response) => void response.writeHead(status).end();
      await assert.rejects(webFetch(url, ca), { code }, String(status));
    }
    handler = (_, response) => void response.writeHead(302).end();
    await assert.rejects(webFetch(url, ca), { code: 'corrupt' });
    handler = (_, response) => void response.end('<html>');
    await assert.rejects(webFetch(url, ca), { code: 'corrupt' });
    handler = (_, response) => response.destroy();
    await assert.rejects(webFetch(url, ca), { code: 'unavailable' });
    const mute = createTcpServer((socket) => socket.on('error', () => undefined).resume());
    await once(mute.listen(0, '127.0.0.1'), 'listening');
    t.after(() => closed(mute));
    await assert.rejects(webFetch(`https://localhost:${portOf(mute)}/`, ca, 200), { code: 'timeout' });
  });
});

suite('bundle endpoint', () => {
  test('takes up a renewed certificate, and keeps the old one when the new one is broken', async (t) => {
    const dir = await temporaryDir(t);
    const web = await webCertificate(dir, 'localhost');
    let reload: () => void = () => assert.fail('nothing scheduled');
    const clock = {
      ...systemClock,
      schedule: (_: number, task: () => void) => {
        reload = task;
        return { cancel: () => undefined };
      },
    };
    const trust = new Watchable<TrustState | undefined>(newFederation().trust);
    const listen = { host: '127.0.0.1', port: 0 };
    const files = { certFile: web.certFile, keyFile: web.keyFile };
    const endpoint = await startBundleEndpoint({ listen, ...files, trust, clock, log: silent });
    t.after(() => endpoint.close());
    const url = `https://localhost:${endpoint.port}/v1/bundles/${td}`;
    const turn = async (): Promise<void> => {
      const pending = reload;
      pending();
      for (let tries = 0; tries < 200 && reload === pending; tries += 1)
        await new Promise((resolve) => setTimeout(resolve, 5));
      assert.notEqual(reload, pending);
    };
    const next = await webCertificate(join(dir, 'next'), 'localhost');
    await writeFile(web.certFile, 'nonsense');
    await turn();
    assert.match(endpoint.problem() ?? '', /no certificate with its key/);
    assert.equal((await webFetch(url, web.ca)).sequence, 1n);
    await writeFile(web.certFile, next.cert);
    await writeFile(web.keyFile, next.key);
    await turn();
    assert.equal(endpoint.problem(), undefined);
    assert.equal((await webFetch(url, next.ca)).sequence, 1n);
    await assert.rejects(webFetch(url, web.ca), { code: 'unauthenticated' });
  });

  test('does not start with files that are missing, open to others, or no pair', async (t) => {
    const dir = await temporaryDir(t);
    const web = await webCertificate(dir, 'localhost');
    const other = await webCertificate(join(dir, 'other'), 'localhost');
    const start = (certFile: string, keyFile: string): Promise<BundleEndpoint> =>
      startBundleEndpoint({
        listen: { host: '127.0.0.1', port: 0 },
        certFile,
        keyFile,
        trust: new Watchable<TrustState | undefined>(undefined),
        clock: systemClock,
        log: silent,
      });
    await assert.rejects(start(join(dir, 'none'), web.keyFile), { code: 'invalid' });
    await assert.rejects(start(web.certFile, join(dir, 'none')), { code: 'invalid' });
    await assert.rejects(start(web.certFile, other.keyFile), /no certificate with its key/);
    const { chmod } = await import('node:fs/promises');
    await chmod(web.keyFile, 0o644);
    await assert.rejects(start(web.certFile, web.keyFile), { code: 'denied' });
  });
});

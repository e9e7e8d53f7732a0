import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { after, before, describe, it } from 'node:test';
import { judgeByExport } from '../../src/gateway/access/verdict.ts';
import { dialTls, secureContextOf } from '../../src/runtime/io/tls.ts';
import { type Backend, echo, startBackend } from '../support/backend.ts';
import { freePort } from '../support/ports.ts';
import { exchange } from './support/client.ts';
import { createTestCa, gatewayId, type TestCa } from './support/identities.ts';
import { type Node, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { refused } from './support/scrape.ts';

const web = 'web.shop.svc.clusterset.local:80';
const trapPort = 81;
const trap = `trap.shop.svc.clusterset.local:${trapPort}`;

/** Code of ours that throws for one connection, planted where every connection passes. */
describe('a fault of the gateway itself', () => {
  let ca: TestCa;
  let east: Node;
  let backend: Backend;
  let importPort: number;
  let springs = 0;

  before(async () => {
    ca = createTestCa();
    backend = await startBackend(echo);
    importPort = await freePort();
    east = await startNode('east', {
      ca,
      clusters: ['west', 'east'],
      metrics: true,
      more: {
        access: {
          ...judgeByExport,
          connection(question) {
            if (question.port === trapPort) throw new Error('sprung');
            return judgeByExport.connection(question);
          },
        },
        identities: {
          of() {
            springs += 1;
            if (springs === 1) throw new Error('sprung');
            return undefined;
          },
        },
      },
    });
    const services = [
      serviceRoute({ self: 'east', importPort, local: [backend.port] }),
      serviceRoute({ self: 'east', service: 'shop/trap', port: trapPort, local: [backend.port] }),
    ];
    east.table.set(tableOf(east, services, []));
    await until('the import port', () => east.gateway.importPorts().size === 1);
  });

  after(async () => {
    await Promise.all([east.gateway.close(), backend.close()]);
    ca.close();
  });

  it('costs the stream that finds it, and no other of its session', async () => {
    const { socket } = await dialTls({
      host: '127.0.0.1',
      port: east.gateway.hbonePort,
      context: secureContextOf({ identity: ca.issue(gatewayId('west', 'gw0')), anchors: [ca.anchor] }),
      alpn: ['h2'],
      check: () => undefined,
      timeoutMs: 20_000,
    });
    const session = connectHttp2('http://east', { createConnection: () => socket });
    try {
      const good = session.request({ ':method': 'CONNECT', ':authority': web }, { endStream: false });
      await once(good, 'response');
      const bad = session.request({ ':method': 'CONNECT', ':authority': trap }, { endStream: false });
      await new Promise((resolve) => bad.on('error', () => undefined).once('close', resolve));
      assert.equal(bad.rstCode, constants.NGHTTP2_INTERNAL_ERROR);
      good.write('goes on');
      const [chunk] = (await once(good, 'data')) as [Buffer];
      assert.equal(chunk.toString(), 'goes on');
      assert.equal(await refused(east, 'internal'), 1);
    } finally {
      session.destroy();
    }
  });

  it('costs the plain client that finds it, and no other', async () => {
    const earlier = await refused(east, 'internal');
    assert.equal((await exchange(importPort, 'x')).end, 'reset');
    assert.equal((await exchange(importPort, 'x')).received.toString(), 'x');
    assert.equal((await refused(east, 'internal')) - earlier, 1);
    assert.equal(east.log.filter(({ level }) => level === 'error').length, 1);
  });
});

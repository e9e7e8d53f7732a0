import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { type Backend, startBackend } from '../support/backend.ts';
import { failOnLeak } from '../support/leak.ts';
import { freePort } from '../support/ports.ts';
import { open } from './support/client.ts';
import { createTestCa, type TestCa } from './support/identities.ts';
import { clusterRoute, linksUp, type Node, quiet, serviceRoute, startNode, tableOf, until } from './support/mesh.ts';
import { type Ended, play, scriptOf } from './support/scripted-end.ts';

/** Connections; each has its number as seed. `ISTHMUS_BYTES_CASES` for a longer look. */
const cases = Number(process.env['ISTHMUS_BYTES_CASES'] ?? 2000);
const abreast = 40;

/** The number of the connection, in front of its bytes. */
const headBytes = 4;

describe('bytes through two gateways', () => {
  let ca: TestCa;
  let west: Node;
  let east: Node;
  let backend: Backend;
  let importPort: number;
  const served = new Map<number, Promise<Ended>>();

  before(async () => {
    ca = createTestCa();
    const options = { ca, clusters: ['west', 'east'] };
    [west, east] = await Promise.all([startNode('west', options), startNode('east', options)]);
    backend = await startBackend(serve);
    importPort = await freePort();
    east.table.set(tableOf(east, [serviceRoute({ self: 'east', local: [backend.port] })], []));
    const imported = serviceRoute({ self: 'west', importPort, remote: ['east'], exported: false });
    west.table.set(tableOf(west, [imported], [clusterRoute([east])]));
    await linksUp(west, 1);
    await until('import port', () => west.gateway.importPorts().size > 0);
  });

  after(async () => {
    await Promise.all([west.gateway.close(), east.gateway.close(), backend.close()]);
    ca.close();
  });

  function serve(socket: Socket): void {
    const start = (): void => {
      const head = socket.read(headBytes) as Buffer | null;
      if (!head) return;
      socket.off('readable', start);
      const connection = head.readUInt32BE();
      served.set(connection, play(socket, scriptOf(connection, 'server'), scriptOf(connection, 'client')));
    };
    socket.on('readable', start);
  }

  async function one(connection: number): Promise<void> {
    const socket = await open(importPort);
    const head = Buffer.alloc(headBytes);
    head.writeUInt32BE(connection);
    socket.write(head);
    const client = await play(socket, scriptOf(connection, 'client'), scriptOf(connection, 'server'));
    // A client that resets at once may have been gone before there was a server.
    const server = await served.get(connection);
    served.delete(connection);
    judge(connection, client, server);
    if (server) judge(connection, server, client);
  }

  function judge(connection: number, here: Ended, there: Ended | undefined): void {
    const where = `connection ${connection}, stamp ${here.script.stamp}`;
    const peer = scriptOf(connection, here.script.stamp % 2 === 0 ? 'server' : 'client');
    assert.equal(here.wrongAt, undefined, `${where}: wrong byte`);
    assert.ok(here.received <= peer.bytes, `${where}: more bytes than were sent`);
    if (here.saw === 'eof') {
      assert.equal(peer.finish, 'end', `${where}: a reset looked like a clean end`);
      assert.equal(here.received, peer.bytes, `${where}: truncated, yet a clean end`);
    }
    if (here.script.finish === 'end' && peer.finish === 'end') {
      assert.ok(there, `${where}: never arrived`);
      assert.equal(here.saw, 'eof', `${where}: cut although both ended cleanly`);
    }
  }

  it(`are exact in ${cases} connections with random chunks, ends and resets at any point`, async (t) => {
    const leak = failOnLeak(t, 5000);
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < cases) await one((next += 1));
    };
    await Promise.all(Array.from({ length: abreast }, worker));
    await quiet(west, east);
    await leak.check();
  });
});

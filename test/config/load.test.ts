import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { loadConfig, readConfiguredSecret } from '../../src/config/io/load.ts';
import { readConfig } from '../../src/config/io/read.ts';
import { blame } from '../../src/config/source.ts';
import { IsthmusError } from '../../src/model/error.ts';

suite('loadConfig', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isthmus-config-'));
  });
  after(() => rm(folder, { recursive: true }));

  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(join(folder, name), text);
    return join(folder, name);
  };
  const minimal = 'stateDir: state\ncluster: east\nhub: { url: memory, passwordFile: pw }\nadvertise: ["h:1"]\n';

  test('starts relative paths at the folder of the file', async () => {
    const config = await loadConfig('agent', await file('a.yaml', minimal));
    assert.equal(config.stateDir, join(folder, 'state'));
    assert.equal(config.hub.passwordFile, join(folder, 'pw'));
  });

  test('says why a file cannot be read', async () => {
    await mkdir(join(folder, 'dir'));
    const cases = [
      ['nowhere.yaml', /nowhere\.yaml: there is no such file/],
      ['dir', /dir: it is a directory/],
    ] as const;
    for (const [name, reason] of cases) {
      await assert.rejects(loadConfig('agent', join(folder, name)), (error) => {
        assert(error instanceof IsthmusError);
        assert.equal(error.code, 'invalid');
        assert.match(error.message, reason);
        return true;
      });
    }
  });

  test('puts every problem into one error, in the order of lines', async () => {
    const path = await file('b.yaml', 'cluster: E\nstateDir: 1\nlog: x\n');
    await assert.rejects(loadConfig('agent', path), (error) => {
      assert(error instanceof IsthmusError);
      const lines = error.message.split('\n');
      assert.deepEqual(
        lines.map((line) => line.slice(path.length + 1, path.length + 2)),
        ['1', '2', '3'],
      );
      return true;
    });
  });

  test('a secret is the first line of a private file; otherwise file, line and path are to blame', async () => {
    const config = await loadConfig('agent', await file('c.yaml', minimal));
    const secretFile = config.hub.passwordFile ?? '';
    await assert.rejects(
      readConfiguredSecret(secretFile, config.source, 'hub.passwordFile'),
      /c\.yaml:3: hub\.passwordFile: Cannot read .*pw/,
    );
    await writeFile(secretFile, 's3cret\nnote\n', { mode: 0o600 });
    assert.equal(await readConfiguredSecret(secretFile, config.source, 'hub.passwordFile'), 's3cret');
    await chmod(secretFile, 0o644);
    await assert.rejects(
      readConfiguredSecret(secretFile, config.source, 'hub.passwordFile'),
      (error) => error instanceof IsthmusError && error.code === 'denied' && /readable by others/.test(error.message),
    );
  });

  test('blame names the line of a value that the file has, and the path alone of a default', async () => {
    const { source } = await loadConfig('agent', await file('d.yaml', minimal));
    const inUse = new IsthmusError('conflict', 'Cannot listen on h:1: the port is in use');
    assert.match(blame(inUse, source, 'advertise').message, /d\.yaml:4: advertise: Cannot listen/);
    assert.match(blame(inUse, source, 'listen.grpc').message, /d\.yaml: listen\.grpc: Cannot listen/);
    assert.equal(
      blame(inUse, undefined, 'listen.grpc').message,
      'listen.grpc: Cannot listen on h:1: the port is in use',
    );
    assert.equal(blame(inUse, source, 'listen.grpc').code, 'conflict');
  });

  test('readConfig tells whose file it is', async () => {
    const found = await readConfig(await file('e.yaml', minimal));
    assert.equal(found.role, 'agent');
    assert.equal(found.adminSocket, join(folder, 'state/admin.sock'));
    await assert.rejects(readConfig(await file('f.yaml', 'stateDir: x\n')), /f\.yaml:1: role: is required/);
  });
});

suite('the example of two clusters', () => {
  const folder = new URL('../../deploy/examples/two-clusters/', import.meta.url).pathname;
  for (const name of ['authority', 'east-agent', 'west-agent', 'east-gateway', 'west-gateway']) {
    test(`${name}.yaml is right`, async () => {
      const { role } = await readConfig(`${folder}${name}.yaml`);
      assert.equal(role, name.replace(/^.*-/, ''));
    });
  }

  test('no two of its listeners have one port', async () => {
    const authority = await loadConfig('authority', `${folder}authority.yaml`);
    const ports = [authority.listen.port];
    for (const cluster of ['east', 'west']) {
      const agent = await loadConfig('agent', `${folder}${cluster}-agent.yaml`);
      const gateway = await loadConfig('gateway', `${folder}${cluster}-gateway.yaml`);
      assert.equal(agent.cluster, cluster);
      assert.deepEqual(gateway.agent, agent.advertise);
      ports.push(agent.listen.grpc.port, agent.listen.http.port, gateway.listen.hbone.port, gateway.listen.health.port);
      ports.push(...agent.importPorts.fixed.values());
    }
    assert.equal(new Set(ports).size, ports.length, ports.join(', '));
  });
});

import assert from 'node:assert/strict';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { readVault, writeVault } from '../../src/trust/io/key-vault.ts';
import { temporaryDir } from './support/environment.ts';

const entry = {
  purpose: 'test key',
  secret: Buffer.from('-----BEGIN PRIVATE KEY-----'),
  passphrase: Buffer.from('correct horse'),
  cost: { N: 1 << 12 },
};

test('a vault opens with its passphrase and purpose only, and notices every change', async (t) => {
  const path = join(await temporaryDir(t), 'key.json');
  await writeVault(path, entry);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readVault(path, entry), entry.secret);
  assert.ok(!(await readFile(path, 'utf8')).includes('PRIVATE'));
  await assert.rejects(readVault(path, { ...entry, passphrase: Buffer.from('battery staple') }), { code: 'denied' });
  await assert.rejects(readVault(path, { ...entry, purpose: 'other key' }), { code: 'corrupt' });
  const text = await readFile(path, 'utf8');
  for (const [from, to, code] of [
    ['"N": 4096', '"N": 8192', 'denied'],
    ['"N": 4096', '"N": 1073741824', 'corrupt'],
    ['"version": 1', '"version": 2', 'corrupt'],
    ['"ciphertext": "', '"ciphertext": "AAAA', 'denied'],
  ] as const) {
    await writeFile(path, text.replace(from, to));
    await assert.rejects(readVault(path, entry), { code }, to);
  }
  await writeFile(path, text);
  await chmod(path, 0o640);
  await assert.rejects(readVault(path, entry), { code: 'denied' });
});

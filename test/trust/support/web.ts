import { randomUUID } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A certificate as the Web PKI issues them, by an authority of its own; made by OpenSSL, as operators do. */
export interface WebCertificate {
  /** PEM. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** For one host, below `dir`, which is made if need be. */
export async function webCertificate(dir: string, host: string): Promise<WebCertificate> {
  await mkdir(dir, { recursive: true });
  const [caFile, caKey, certFile, keyFile] = ['ca.pem', 'ca.key', 'web.pem', 'web.key'].map((name) =>
    join(dir, name),
  ) as [string, string, string, string];
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  await run('openssl', ['req', '-x509', ...ec, '-subj', `/CN=web ${randomUUID()}`, '-keyout', caKey, '-out', caFile]);
  const signedBy = ['-CA', caFile, '-CAkey', caKey, '-addext', `subjectAltName=DNS:${host}`];
  const leaf = ['-addext', 'basicConstraints=critical,CA:FALSE'];
  await run('openssl', [
    'req',
    '-x509',
    ...ec,
    ...signedBy,
    ...leaf,
    '-subj',
    '/',
    '-keyout',
    keyFile,
    '-out',
    certFile,
  ]);
  const text = (file: string): Promise<string> => readFile(file, 'utf8');
  return { ca: await text(caFile), cert: await text(certFile), key: await text(keyFile), certFile, keyFile };
}

import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseSpiffeId, parseTrustDomain, trustDomainOf } from '../../../src/model/identity.ts';
import { type ClusterName, parseClusterName } from '../../../src/model/names.ts';
import type { PeerVerifier } from '../../../src/model/ports/identity.ts';
import type { Bundle, PeerVerdict, Svid, TrustState } from '../../../src/model/trust.ts';

const federationDomain = parseTrustDomain('mesh.test');

/** A small root made with openssl, and leaves under it: enough for TLS, the trust room has the real thing. */
export interface TestCa {
  readonly anchor: Uint8Array;
  issue(id: string): Svid;
  close(): void;
}

export function createTestCa(): TestCa {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-gateway-ca-'));
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'root.key', '-out', 'root.pem', '-subj', '/CN=root', '-days', '2');
  let serial = 0;
  return {
    anchor: new X509Certificate(readFileSync(join(dir, 'root.pem'))).raw,
    issue(id) {
      serial += 1;
      const name = `leaf${serial}`;
      writeFileSync(join(dir, `${name}.ext`), `subjectAltName=critical,URI:${id}\nbasicConstraints=CA:FALSE\n`);
      openssl('req', '-new', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', '/O=isthmus');
      const signer = ['-CA', 'root.pem', '-CAkey', 'root.key', '-set_serial', String(serial + 1), '-days', '1'];
      openssl('x509', '-req', '-in', `${name}.csr`, ...signer, '-out', `${name}.pem`, '-extfile', `${name}.ext`);
      const leaf = new X509Certificate(readFileSync(join(dir, `${name}.pem`)));
      return {
        id: parseSpiffeId(id),
        chain: [leaf.raw],
        keyPem: readFileSync(join(dir, `${name}.key`), 'utf8'),
        notBefore: Date.parse(leaf.validFrom),
        notAfter: Date.parse(leaf.validTo),
      };
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}

export function gatewayId(cluster: string, instance: string): string {
  return `spiffe://${cluster}.${federationDomain}/isthmus/gateway/${instance}`;
}

export function trustStateOf(ca: TestCa, clusters: readonly string[]): TrustState {
  const domains = clusters.map((name) => parseTrustDomain(`${name}.${federationDomain}`));
  const bundles = new Map(
    domains.map((trustDomain): [Bundle['trustDomain'], Bundle] => [
      trustDomain,
      { trustDomain, sequence: 1, anchors: [ca.anchor] },
    ]),
  );
  const roster = { federationDomain, sequence: 1, issuedAt: 0, clusters: new Map(), deniedKeyIds: [] };
  return { federationDomain, roster, bundles };
}

/** Reads the id from the leaf and maps trust domains to clusters; OpenSSL has verified the signature by then. */
export class TestVerifier implements PeerVerifier {
  /** Ids that are refused from now on. */
  readonly distrusted: Set<string> = new Set();

  verify(chain: readonly Uint8Array[]): PeerVerdict {
    const [der] = chain;
    if (!der) return { ok: false, reason: 'no-certificate', detail: 'empty chain' };
    const leaf = new X509Certificate(der);
    const uri = /^URI:(.*)$/.exec(leaf.subjectAltName ?? '')?.[1];
    if (uri === undefined) return { ok: false, reason: 'profile', detail: 'no URI' };
    if (this.distrusted.has(uri)) return { ok: false, reason: 'denied-key', detail: uri };
    const id = parseSpiffeId(uri);
    return { ok: true, id, cluster: clusterOf(trustDomainOf(id)), notAfter: Date.parse(leaf.validTo) };
  }
}

function clusterOf(domain: string): ClusterName | undefined {
  const suffix = `.${federationDomain}`;
  return domain.endsWith(suffix) ? parseClusterName(domain.slice(0, -suffix.length)) : undefined;
}

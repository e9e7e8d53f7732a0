import './reflect.ts';
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import forge from 'node-forge';
import { parseSpiffeId, parseTrustDomain } from '../../src/model/identity.ts';
import { issue, issueRoot } from '../../src/trust/io/issuer.ts';
import { generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';

/** Makes one leaf each time it is called: one URI SAN, the extensions of an SVID, signed by a CA with its key in memory. */
export interface Contestant {
  readonly name: string;
  readonly sign: (index: number) => unknown;
}

const uri = 'spiffe://east.mesh.example/ns/shop/sa/web';
const hourMs = 3_600_000;
/** Keys to be certified: made before, for that is the holder's work. */
const keys = 64;

/** Ours, @peculiar/x509 (both P-256), and forge alone, which knows RSA only. */
export async function signers(): Promise<readonly Contestant[]> {
  return [ours(), await peculiar(), forgeAlone()];
}

function ours(): Contestant {
  const root = issueRoot(parseTrustDomain('mesh.example'), signerOf(generateKeyPem()), Date.now());
  const id = parseSpiffeId(uri);
  const spkis = Array.from({ length: keys }, () => signerOf(generateKeyPem()).spki);
  return {
    name: 'isthmus',
    sign: (index) =>
      issue(root, { profile: 'leaf', uri: id, spki: spkis[index % keys] ?? new Uint8Array(), now: Date.now() }),
  };
}

async function peculiar(): Promise<Contestant> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const newKey = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const ca = await newKey();
  const leaves = await Promise.all(Array.from({ length: keys }, newKey));
  const issuer = 'O=mesh.example, CN=mesh.example root';
  return {
    name: 'peculiar',
    sign: (index) => {
      const now = Date.now();
      return X509CertificateGenerator.create(
        {
          serialNumber: webcrypto.getRandomValues(Buffer.alloc(16)).toString('hex'),
          issuer,
          notBefore: new Date(now - 60_000),
          notAfter: new Date(now + 12 * hourMs),
          signingAlgorithm: algorithm,
          publicKey: leaves[index % keys]?.publicKey ?? ca.publicKey,
          signingKey: ca.privateKey,
          extensions: [
            new BasicConstraintsExtension(false, undefined, true),
            new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
            new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
            new SubjectAlternativeNameExtension([{ type: 'url', value: uri }], true),
          ],
        },
        webcrypto,
      );
    },
  };
}

function forgeAlone(): Contestant {
  const pem = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const caKey = forge.pki.privateKeyFromPem(pem.privateKey.export({ format: 'pem', type: 'pkcs1' }).toString());
  const leafKey = forge.pki.publicKeyFromPem(pem.publicKey.export({ format: 'pem', type: 'spki' }).toString());
  return {
    name: 'forge',
    sign: () => {
      const certificate = forge.pki.createCertificate();
      certificate.publicKey = leafKey;
      certificate.serialNumber = `4${forge.util.bytesToHex(forge.random.getBytesSync(15))}0`;
      certificate.validity.notBefore = new Date(Date.now() - 60_000);
      certificate.validity.notAfter = new Date(Date.now() + 12 * hourMs);
      certificate.setIssuer([{ name: 'organizationName', value: 'mesh.example' }]);
      certificate.setExtensions([
        { name: 'basicConstraints', cA: false, critical: true },
        { name: 'keyUsage', digitalSignature: true, critical: true },
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        { name: 'subjectAltName', critical: true, altNames: [{ type: 6, value: uri }] },
      ]);
      certificate.sign(caKey, forge.md.sha256.create());
      return certificate;
    },
  };
}

import type { CertificateRow } from '../../model/trust-report.ts';
import * as der from './der.ts';
import { oids } from './oids.ts';
import type { Certificate } from './read.ts';
import { generalNameTag } from './read-extensions.ts';

/** Short names of RFC 4514 §3. */
const shortNames: ReadonlyMap<string, string> = new Map([
  [oids.commonName, 'CN'],
  [oids.organization, 'O'],
  ['2.5.4.11', 'OU'],
  ['2.5.4.6', 'C'],
  ['2.5.4.7', 'L'],
  ['2.5.4.8', 'ST'],
]);
const maxShownChars = 300;

/** A name as people write it, `O=mesh.example, CN=east 1a2b`; empty for an empty one. For people only. */
function nameText(name: Uint8Array): string {
  const parts = der.itemsOf('Name', der.decodeOwnDer(name)).flatMap((set) =>
    der.itemsOf('RelativeDistinguishedName', set, 'set').map((attribute) => {
      const [type, value] = der.itemsOf('AttributeTypeAndValue', attribute);
      const id = der.readOid('AttributeType', type);
      const text = typeof value?.value === 'string' ? Buffer.from(value.value, 'latin1').toString('utf8') : '';
      return `${shortNames.get(id) ?? id}=${text}`;
    }),
  );
  return parts.join(', ').slice(0, maxShownChars);
}

/** What tells one certificate from others. @throws IsthmusError `corrupt` for a malformed name */
export function describeCertificate(certificate: Certificate): CertificateRow {
  const { fingerprint, subjectKeyId, subject, names, notBefore, notAfter } = certificate;
  return {
    sha256: fingerprint,
    ...(subjectKeyId !== undefined && { keyId: subjectKeyId }),
    subject: nameText(subject),
    uris: names.filter(({ tag }) => tag === generalNameTag.uri).map(({ value }) => value.toString('latin1')),
    notBefore,
    notAfter,
  };
}

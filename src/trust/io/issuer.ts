import type { SpiffeId, TrustDomain } from '../../model/identity.ts';
import {
  caName,
  type DistinguishedName,
  encodeSigned,
  encodeTbs,
  type IssuerParts,
  issuerParts,
  selfIssued,
} from '../x509/certificate.ts';
import { type ProfileName, validityOf } from '../x509/profiles.ts';
import { readCertificate } from '../x509/read.ts';
import type { Signer } from '../x509/signature.ts';
import { newSerial } from './keys.ts';

/** A CA that can sign: its certificate, encoded parts and key. */
export interface Issuer {
  /** DER. */
  readonly certificate: Uint8Array;
  readonly parts: IssuerParts;
  readonly signer: Signer;
}

/** What is to be issued; everything else follows from the profile. */
export interface IssueRequest {
  readonly profile: Exclude<ProfileName, 'root'>;
  readonly uri: SpiffeId;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** Wall clock in ms. */
  readonly now: number;
  /** Asked-for life in ms; clamped. */
  readonly lifeMs?: number;
  readonly subject?: DistinguishedName;
  readonly permitted?: TrustDomain;
  /** DNS names beside the URI. */
  readonly dnsNames?: readonly string[];
}

export interface Issued {
  /** DER. */
  readonly certificate: Uint8Array;
  /** Lower-case hex. */
  readonly serial: string;
  /** Wall clock in ms. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** An issuer from a CA certificate and its key. @throws IsthmusError `corrupt` */
export function issuerOf(certificate: Uint8Array, signer: Signer): Issuer {
  const { subject, notAfter, subjectKeyId } = readCertificate(certificate);
  return {
    certificate,
    signer,
    parts: issuerParts(subject, { keyId: subjectKeyId ?? signer.keyId, algorithm: signer.algorithm }, notAfter),
  };
}

/** Signs a certificate. @throws IsthmusError `invalid` when the issuer's own life has run out */
export function issue(issuer: Issuer, request: IssueRequest): Issued {
  const { profile, uri, spki, now, lifeMs, subject, permitted, dnsNames } = request;
  const life = validityOf(profile, now, {
    issuerNotAfter: issuer.parts.notAfter,
    ...(lifeMs !== undefined && { lifeMs }),
  });
  const serial = newSerial();
  const tbs = encodeTbs(
    {
      profile,
      uri,
      spki,
      subject,
      serial,
      ...life,
      ...(permitted !== undefined && { permitted }),
      ...(dnsNames && { dnsNames }),
    },
    issuer.parts,
  );
  return {
    certificate: encodeSigned(tbs, issuer.signer.sign(tbs), issuer.signer.algorithm),
    serial: Buffer.from(serial).toString('hex'),
    ...life,
  };
}

/** A new root of a federation, signed by itself. `now`: wall clock in ms. */
export function issueRoot(federationDomain: TrustDomain, signer: Signer, now: number): Issuer {
  const subject = caName(federationDomain, `${federationDomain} root`, signer.keyId);
  const tbs = encodeTbs(
    {
      profile: 'root',
      subject,
      uri: undefined,
      spki: signer.spki,
      serial: newSerial(),
      ...validityOf('root', now, { issuerNotAfter: Number.POSITIVE_INFINITY }),
    },
    selfIssued(subject, signer.algorithm),
  );
  return issuerOf(encodeSigned(tbs, signer.sign(tbs), signer.algorithm), signer);
}

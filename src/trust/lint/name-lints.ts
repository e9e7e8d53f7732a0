import { type GeneralName, generalNameTag } from '../x509/read-extensions.ts';
import { type CertificateLint, everybody, type Finding, findingIf } from './finding.ts';

/**
 * What names and name constraints do to verifiers of other makes. Seen with rustls-webpki ≥ 0.103.12, GnuTLS 3.7,
 * OpenSSL 3.0 and 3.5, Go 1.19 to 1.26, JDK 17; `isthmus trust vectors` asks again.
 */

const ipv4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

function textOf({ value }: GeneralName): string {
  return value.toString('latin1');
}

/** The host of `spiffe://<host>/…`, unchecked. */
function hostOf(uri: string): string {
  return /^[^:]*:\/\/([^/]*)/.exec(uri)?.[1] ?? '';
}

export const lintNames: CertificateLint = ({
  names,
  basicConstraints,
  nameConstraints,
  hasSubject,
  namesAreCritical,
}) => {
  const uris = names.filter(({ tag }) => tag === generalNameTag.uri).map(textOf);
  const ids = uris.filter((uri) => /^spiffe:/i.test(uri));
  const isLeaf = !basicConstraints?.ca;
  return [
    ...findingIf(isLeaf && uris.length !== 1, {
      severity: 'error',
      code: 'leaf-uri-count',
      peers: ['SPIFFE'],
      what: `a leaf must have exactly one URI SAN, it has ${uris.length} (X509-SVID §2)`,
    }),
    ...findingIf(isLeaf && !hasSubject && !namesAreCritical, {
      severity: 'error',
      code: 'san-not-critical',
      peers: ['OpenSSL -x509_strict', 'JDK', 'SPIFFE'],
      what: 'without a subject the SAN must be critical (RFC 5280 §4.1.2.6)',
    }),
    ...findingIf(
      ids.some((id) => hostOf(id).includes('_')),
      {
        severity: 'warning',
        code: 'underscore-in-trust-domain',
        peers: ['JDK'],
        what: `the JDK cannot parse a URI constraint with an underscore, so that this trust domain can never be constrained`,
        advice: 'name trust domains as DNS names, without underscores',
      },
    ),
    ...findingIf(
      ids.some((id) => ipv4.test(hostOf(id))),
      {
        severity: 'warning',
        code: 'address-as-trust-domain',
        peers: ['Go'],
        what: 'Go cannot parse a URI constraint on an address, so that this trust domain can never be constrained',
        advice: 'name trust domains as DNS names',
      },
    ),
    ...findingIf(!isLeaf && ids.some((id) => id.endsWith('/')), {
      severity: 'warning',
      code: 'trailing-slash',
      peers: ['go-spiffe', 'SPIFFE'],
      what: 'the SPIFFE ID of a CA must not end with a slash (SPIFFE-ID §2.2)',
    }),
    ...findingIf(
      names.some(({ value }) => value.includes(0) || value.some((byte) => byte > 0x7f)),
      {
        severity: 'error',
        code: 'unclean-name',
        peers: ['Node (OpenSSL 3.5)', ...everybody],
        what: 'a name has a NUL or a byte that is not ASCII: some verifiers compare only what stands in front of it',
      },
    ),
    ...(nameConstraints ? lintConstraints(nameConstraints) : []),
  ];
};

function lintConstraints(constraints: {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}): readonly Finding[] {
  const ofUris = (names: readonly GeneralName[]): readonly string[] =>
    names.filter(({ tag }) => tag === generalNameTag.uri).map(textOf);
  const permitted = ofUris(constraints.permitted);
  const all = [...permitted, ...ofUris(constraints.excluded)];
  if (all.length === 0) return [];
  const shown = all.join(', ').slice(0, 200);
  const hasDns = [...constraints.permitted, ...constraints.excluded].some(({ tag }) => tag === generalNameTag.dns);
  return [
    {
      severity: 'warning',
      code: 'uri-name-constraints',
      peers: ['rustls (ztunnel, linkerd2-proxy)', 'mbedTLS'],
      what: `they refuse every chain with a URI name constraint (${shown})`,
      advice: 'issue towards such peers from an authority without name constraints; the roster binds issuers anyway',
    },
    {
      severity: 'warning',
      code: 'constraints-ignored',
      peers: ['GnuTLS'],
      what: 'GnuTLS 3.7 does not enforce URI name constraints: to it this CA may sign any trust domain',
      advice: 'rely on the issuer binding, or keep such peers from trusting this root for other trust domains',
    },
    ...findingIf(
      permitted.some((tree) => !tree.startsWith('.') && tree !== ''),
      {
        severity: 'note',
        code: 'constraint-suffix',
        peers: ['Go'],
        what: 'Go takes a permitted host for all names below it as well',
        advice: 'let no trust domain be a suffix of another',
      },
    ),
    ...findingIf(
      all.some((tree) => /[/:@]/.test(tree)),
      {
        severity: 'error',
        code: 'constraint-not-a-host',
        peers: ['OpenSSL', 'Go', 'JDK'],
        what: `a URI constraint is a host; with a scheme, port or path they refuse every chain (${shown})`,
      },
    ),
    ...findingIf(
      all.some((tree) => tree.includes('_')),
      {
        severity: 'error',
        code: 'constraint-underscore',
        peers: ['JDK'],
        what: `the JDK cannot parse a constraint with an underscore and refuses the certificate (${shown})`,
      },
    ),
    ...findingIf(
      all.some((tree) => ipv4.test(tree)),
      {
        severity: 'error',
        code: 'constraint-address',
        peers: ['Go'],
        what: `Go cannot parse a constraint on an address and refuses the certificate (${shown})`,
      },
    ),
    ...findingIf(permitted.length > 0 && !hasDns, {
      severity: 'note',
      code: 'dns-unconstrained',
      peers: everybody,
      what: 'only URI names are constrained: this CA may sign any DNS name',
      advice: 'trust it for SPIFFE IDs only, never for server names',
    }),
  ];
}

import { IsthmusError } from '../../model/error.ts';
import type { TrustDomain } from '../../model/identity.ts';
import type { Admission } from '../../model/trust.ts';

/** Of one cluster; a roster of thousands has to stay small. */
const maxLabels = 64;
const maxGlobs = 100;

const limitNames: readonly string[] = ['services', 'endpoints'];

/** What a cluster gets of which nobody said anything. */
export const defaultAdmission: Admission = {
  labels: {},
  exportable: ['*/*'],
  mayPublishPolicy: false,
  mayOperate: false,
  limits: {},
};

/** Kubernetes label syntax: an optional DNS prefix, then a name; the value may be empty. */
const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
/** Each part: an RFC 1123 label in which `*` stands for any characters. */
const glob = /^[a-z0-9*]([-a-z0-9*]{0,61}[a-z0-9*])?\/[a-z0-9*]([-a-z0-9*]{0,61}[a-z0-9*])?$/;

function invalid(rule: string, value: string): IsthmusError {
  return new IsthmusError('invalid', `${rule}: current value is '${value.slice(0, 120)}'`);
}

/** Checks what somebody asks for. @throws IsthmusError `invalid`, naming the value */
export function checkAdmission(admission: Partial<Admission>): Partial<Admission> {
  const labels = Object.entries(admission.labels ?? {});
  if (labels.length > maxLabels) throw invalid(`A cluster has at most ${maxLabels} labels`, String(labels.length));
  for (const [key, value] of labels) {
    if (!labelKey.test(key)) throw invalid(`The key of a label must be such as 'region' or 'example.com/region'`, key);
    if (!labelValue.test(value)) throw invalid(`The value of label ${key} must be a Kubernetes label value`, value);
  }
  const globs = admission.exportable ?? [];
  if (globs.length > maxGlobs) throw invalid(`A cluster has at most ${maxGlobs} export patterns`, String(globs.length));
  for (const each of globs) {
    if (!glob.test(each)) throw invalid(`What may be exported must be such as 'shop/*' or 'shop/web'`, each);
  }
  for (const [what, limit] of Object.entries(admission.limits ?? {})) {
    if (!limitNames.includes(what)) throw invalid(`A limit must be one of ${limitNames.join(', ')}`, what);
    if (!Number.isSafeInteger(limit) || limit < 0)
      throw invalid(`The limit of ${what} must be 0 or more`, String(limit));
  }
  return admission;
}

/** Patterns by which a cluster may speak for everybody's services; each is worth a warning. */
export function broadGlobs(globs: readonly string[]): readonly string[] {
  return globs.filter((each) => each.startsWith('*') || each === '*/*');
}

/**
 * Why a trust domain cannot stand beside others: equal to one, or one is a suffix of the other, which some TLS
 * libraries take for a match of a name constraint. Undefined: it can.
 */
export function domainConflict(domain: TrustDomain, others: Iterable<TrustDomain>): string | undefined {
  for (const other of others) {
    if (other === domain) return `trust domain ${domain} is taken`;
    if (other.endsWith(`.${domain}`) || domain.endsWith(`.${other}`)) {
      return `trust domains ${domain} and ${other} overlap: one must not be a suffix of the other`;
    }
  }
  return undefined;
}

/** A DNS name as RFC 1123 has it; the last label is no number, so that it is no address. */
const dnsName = /^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/;
/** A member's trust domain is a label and a dot longer, and a DNS name has 253 characters. */
const maxFederationDomain = 253 - 64;

/**
 * Checks a federation domain: trust domains below it go into name constraints, which some libraries cannot read with an
 * underscore or an address. @throws IsthmusError `invalid`
 */
export function checkFederationDomain(domain: TrustDomain): TrustDomain {
  if (domain.length > maxFederationDomain) {
    throw invalid(`A federation domain must have at most ${maxFederationDomain} characters`, domain);
  }
  if (!dnsName.test(domain)) {
    throw invalid(`A federation domain must be a DNS name in lower case, without underscore, and no address`, domain);
  }
  return domain;
}

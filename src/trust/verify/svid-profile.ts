import { parseSpiffeId, pathOf, type SpiffeId } from '../../model/identity.ts';
import { messageOf } from '../../model/error.ts';
import { oids } from '../x509/oids.ts';
import type { Certificate } from '../x509/read.ts';
import { generalNameTag } from '../x509/read-extensions.ts';
import { type Refusal, refuse } from './refusal.ts';

/** URI names of a certificate, undecoded. */
export function uriNames(certificate: Certificate): readonly string[] {
  return certificate.names
    .filter((name) => name.tag === generalNameTag.uri)
    .map((name) => name.value.toString('latin1'));
}

/**
 * The SPIFFE ID of a leaf that keeps the rules of an X.509-SVID: one URI SAN with a path (§2, §3.1), no CA (§4.1),
 * keyUsage critical with digitalSignature and without keyCertSign and cRLSign (§4.3), extKeyUsage none or both (§4.4).
 */
export function leafId(leaf: Certificate): { readonly ok: true; readonly id: SpiffeId } | Refusal {
  const broken = brokenRule(leaf);
  if (broken) return broken;
  const uris = uriNames(leaf);
  if (uris.length !== 1) return refuse('profile', `leaf must have exactly one URI SAN, it has ${uris.length}`, 'XS-1');
  let id: SpiffeId;
  try {
    id = parseSpiffeId(uris[0] ?? '');
  } catch (thrown) {
    return refuse('profile', messageOf(thrown), 'XV-3');
  }
  return pathOf(id) === '' ? refuse('profile', `leaf's SPIFFE ID ${id} has no path`, 'XS-2') : { ok: true, id };
}

function brokenRule(leaf: Certificate): Refusal | undefined {
  if (leaf.basicConstraints?.ca) return refuse('profile', 'leaf must not be a CA', 'XS-4');
  const usage = brokenUsage(leaf);
  if (usage !== undefined) return refuse('profile', `keyUsage of the leaf must ${usage}`, 'XS-5');
  const purposes = leaf.extKeyUsage;
  if (purposes && !(purposes.includes(oids.serverAuth) && purposes.includes(oids.clientAuth))) {
    return refuse('profile', 'extKeyUsage of the leaf must have serverAuth and clientAuth, or be absent', 'XS-6');
  }
  if (!leaf.hasSubject && !leaf.namesAreCritical) {
    return refuse('profile', 'the SAN of a leaf without subject must be critical', 'XS-3');
  }
  const { unknownCritical } = leaf;
  if (unknownCritical.length === 0) return undefined;
  return refuse('profile', `leaf has unknown critical extensions: ${unknownCritical.join(', ')}`, 'PV-5');
}

function brokenUsage({ keyUsage }: Certificate): string | undefined {
  if (!keyUsage?.critical) return 'be there and critical';
  if (!keyUsage.has('digitalSignature')) return 'have digitalSignature';
  return keyUsage.has('keyCertSign') || keyUsage.has('cRLSign') ? 'have neither keyCertSign nor cRLSign' : undefined;
}

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
  if (broken) return refuse('profile', broken);
  const uris = uriNames(leaf);
  if (uris.length !== 1) return refuse('profile', `leaf must have exactly one URI SAN, it has ${uris.length}`);
  let id: SpiffeId;
  try {
    id = parseSpiffeId(uris[0] ?? '');
  } catch (thrown) {
    return refuse('profile', messageOf(thrown));
  }
  return pathOf(id) === '' ? refuse('profile', `leaf's SPIFFE ID ${id} has no path`) : { ok: true, id };
}

function brokenRule(leaf: Certificate): string | undefined {
  if (leaf.basicConstraints?.ca) return 'leaf must not be a CA';
  if (!leaf.keyUsage?.critical) return 'keyUsage of the leaf must be there and critical';
  if (!leaf.keyUsage.has('digitalSignature')) return 'keyUsage of the leaf must have digitalSignature';
  if (leaf.keyUsage.has('keyCertSign') || leaf.keyUsage.has('cRLSign')) {
    return 'keyUsage of the leaf must have neither keyCertSign nor cRLSign';
  }
  const purposes = leaf.extKeyUsage;
  if (purposes && !(purposes.includes(oids.serverAuth) && purposes.includes(oids.clientAuth))) {
    return 'extKeyUsage of the leaf must have serverAuth and clientAuth, or be absent';
  }
  if (!leaf.hasSubject && !leaf.namesAreCritical) return 'the SAN of a leaf without subject must be critical';
  if (leaf.unknownCritical.length > 0)
    return `leaf has unknown critical extensions: ${leaf.unknownCritical.join(', ')}`;
  return undefined;
}

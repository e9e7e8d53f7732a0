import { resolve } from 'node:path';
import type { InputFile, TrustTools, VerifyQuestion } from '../cli/trust-tools.ts';
import { plural } from '../cli/text.ts';
import { IsthmusError } from '../model/error.ts';
import { parseSpiffeId, parseTrustDomain, type TrustDomain, trustDomainOf } from '../model/identity.ts';
import { bundleDetail } from '../trust/bundle/describe.ts';
import { anchorsAsBundle, readBundle, readBundleMap, type SpiffeBundle } from '../trust/bundle/spiffe-bundle.ts';
import { type EndpointProfile, fetchBundle } from '../trust/io/bundle-client.ts';
import { writeVectors } from '../trust/io/vectors.ts';
import { journalVerdict, parseJournal } from '../trust/journal-verdict.ts';
import type { LintedCertificate } from '../trust/lint/finding.ts';
import { lintCertificates } from '../trust/lint/lint.ts';
import { chainReport } from '../trust/verify/report.ts';
import { leafId } from '../trust/verify/svid-profile.ts';
import { trustOf } from '../trust/verify/trust-state.ts';
import { decodeLoosePem } from '../trust/x509/pem.ts';
import { readCertificate } from '../trust/x509/read.ts';

/** The tools of `isthmus trust …` that need no server. */
export const trustTools: TrustTools = {
  verifyChain,
  lint(files, at) {
    const given = files.flatMap(lintedOf);
    return { certificates: given.length, findings: lintCertificates(given, at) };
  },
  readBundle: (file, trustDomain) => bundleDetail(bundleOf(file, parseTrustDomain(trustDomain))),
  async fetchBundle({ url, trustDomain, spiffeId, anchors, timeoutMs }) {
    const profile = profileOf(spiffeId, anchors);
    return bundleDetail(
      await fetchBundle({ url, profile, trustDomain: parseTrustDomain(trustDomain), now: Date.now, timeoutMs }),
    );
  },
  async writeVectors(dir, at) {
    const cases = await writeVectors(resolve(dir), at);
    const accepted = cases.filter(({ expected }) => expected === 'accept').length;
    return { dir, index: `${dir}/index.json`, accepted, refused: cases.length - accepted };
  },
  parseJournal: ({ name, bytes }) => parseJournal(name, Buffer.from(bytes).toString('utf8')),
  journalVerdict,
};

function verifyChain({
  chain,
  bundle,
  trustDomain,
  binding,
  at,
}: VerifyQuestion): ReturnType<TrustTools['verifyChain']> {
  const certificates = decodeLoosePem(chain.name, chain.bytes);
  const domain = trustDomain === undefined ? domainOf(certificates[0]) : parseTrustDomain(trustDomain);
  // Without a domain the chain is refused before any bundle is looked at: whose the anchors are does not matter.
  const found = bundleOf(bundle, domain ?? parseTrustDomain('unknown'));
  const rule = binding === 'spiffe' ? 'SPIFFE rules alone' : 'issuer bound to the trust domain, no roster';
  return chainReport({
    chain: certificates,
    trust: trustOf({ trustDomain: found.trustDomain, sequence: 0, anchors: found.anchors }),
    binding,
    now: at,
    basis: `${plural(found.anchors.length, 'anchor')}${domain === undefined ? '' : ` of ${domain}`} in ${bundle.name}; ${rule}`,
  });
}

/** The trust domain that a leaf claims; undefined: it is no SVID. */
function domainOf(leaf: Uint8Array | undefined): TrustDomain | undefined {
  if (!leaf) return undefined;
  try {
    const named = leafId(readCertificate(leaf));
    return named.ok ? trustDomainOf(named.id) : undefined;
  } catch {
    // The verifier says what is wrong with it.
    return undefined;
  }
}

/** A bundle, map or PEM file, told apart by how it begins. */
function bundleOf({ name, bytes }: InputFile, domain: TrustDomain): SpiffeBundle {
  const text = Buffer.from(bytes.subarray(0, 4096)).toString('latin1').trimStart();
  try {
    if (!text.startsWith('{')) return anchorsAsBundle(domain, decodeLoosePem(name, bytes));
    if (!/^\{\s*"trust_domains"/.test(text)) return readBundle(domain, bytes);
    const found = readBundleMap(bytes).get(domain);
    if (found) return found;
  } catch (thrown) {
    const error = IsthmusError.from(thrown);
    throw new IsthmusError('invalid', `${name}: ${error.message}`, { cause: error });
  }
  throw new IsthmusError('invalid', `${name} has no bundle of trust domain ${domain}`);
}

function profileOf(spiffeId: string | undefined, anchors: InputFile | undefined): EndpointProfile {
  if (spiffeId === undefined) {
    return {
      name: 'https_web',
      ...(anchors && { ca: Buffer.from(anchors.bytes).toString('latin1') }),
    };
  }
  const endpointId = parseSpiffeId(spiffeId);
  if (!anchors) {
    throw new IsthmusError(
      'invalid',
      `An endpoint that proves to be ${endpointId} needs a bundle to be checked against`,
      {
        hint: 'Name a bundle or PEM anchors of its trust domain with --endpoint-anchors',
      },
    );
  }
  return { name: 'https_spiffe', endpointId, anchors: bundleOf(anchors, trustDomainOf(endpointId)).anchors };
}

function lintedOf({ name, bytes }: InputFile): readonly LintedCertificate[] {
  return decodeLoosePem(name, bytes).map((certificate, index) => {
    const label = `${name}#${index + 1}`;
    try {
      return { label, certificate: readCertificate(certificate) };
    } catch (thrown) {
      return { label, problem: IsthmusError.from(thrown).message };
    }
  });
}

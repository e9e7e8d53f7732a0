import type { BundleDetail, BundleRow } from '../../model/trust-report.ts';
import { encodeBundle } from '../../wire/bundle.ts';
import { describeCertificate } from '../x509/describe.ts';
import { encodePemChain } from '../x509/pem.ts';
import { readCertificate } from '../x509/read.ts';
import { type SpiffeBundle, x509KeyOf } from './spiffe-bundle.ts';

/** A bundle for people. */
export function bundleRow(bundle: SpiffeBundle): BundleRow {
  const { trustDomain, sequence, refreshHintMs, anchors, jwtKeyIds, ignored } = bundle;
  return {
    trustDomain,
    ...(sequence !== undefined && { sequence: String(sequence) }),
    ...(refreshHintMs !== undefined && { refreshHintMs }),
    trusted: anchors.length > 0,
    anchors: anchors.map((anchor) => describeCertificate(readCertificate(anchor))),
    jwtKeyIds,
    ignored,
  };
}

/** A bundle for people and programs. */
export function bundleDetail(bundle: SpiffeBundle): BundleDetail {
  const { sequence, refreshHintMs, anchors } = bundle;
  const document = encodeBundle({
    sequence,
    x509Keys: anchors.map(x509KeyOf),
    ...(refreshHintMs !== undefined && { refreshHintS: refreshHintMs / 1000 }),
  });
  return {
    ...bundleRow(bundle),
    document: Buffer.from(document).toString('utf8'),
    pem: Buffer.from(encodePemChain(anchors)).toString('latin1'),
  };
}

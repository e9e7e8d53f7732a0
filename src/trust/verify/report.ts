import type { CertificateRow, ChainReport } from '../../model/trust-report.ts';
import type { TrustState } from '../../model/trust.ts';
import { describeCertificate } from '../x509/describe.ts';
import { readCertificate } from '../x509/read.ts';
import type { IssuerBinding } from './issuer-binding.ts';
import { checkTime, verifyPath } from './path.ts';
import { rules } from './rules.ts';

/** A chain that somebody wants to know about. */
export interface ChainQuestion {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  readonly trust: TrustState;
  readonly binding: IssuerBinding;
  /** Wall clock in ms. */
  readonly now: number;
  /** What `trust` comes from, in words. */
  readonly basis: string;
}

/** The verdict of the one verifier about a chain, with the rule that decided. Never throws. */
export function chainReport({ chain, trust, binding, now, basis }: ChainQuestion): ChainReport {
  const path = verifyPath(chain, trust, { binding });
  const refusal = path.ok ? checkTime(path, now) : path;
  const rows = rowsOf(chain);
  const claimed = rows[0]?.uris[0];
  const id = path.ok ? path.id : claimed;
  return {
    ok: refusal === undefined,
    ...(id !== undefined && { id }),
    ...(refusal && { reason: refusal.reason, detail: refusal.detail }),
    ...(refusal?.rule !== undefined && { rule: refusal.rule, source: rules[refusal.rule].source }),
    chain: rows,
    ...(path.ok && { notBefore: path.notBefore, notAfter: path.notAfter }),
    basis,
  };
}

/** What of a chain decodes; the verdict says what does not. */
function rowsOf(chain: readonly Uint8Array[]): readonly CertificateRow[] {
  return chain.flatMap((bytes) => {
    try {
      return [describeCertificate(readCertificate(bytes))];
    } catch {
      // The verdict names the first certificate that does not decode.
      return [];
    }
  });
}

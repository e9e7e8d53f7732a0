import type {
  BundleDetail,
  BundleReport,
  BundleRow,
  CertificateRow,
  ChainReport,
  IntermediateRow,
  JournalVerdict,
  LintFinding,
  LintReport,
  VectorsReport,
} from '../../model/trust-report.ts';
import { type Column, paint, renderTable, type TextStyle, type Tone } from '../table.ts';
import { clean, formatAge, plural } from '../text.ts';
import type { View } from '../view.ts';

/** Wall clock in ms as people read it. */
function day(at: number): string {
  return new Date(at).toISOString().replace('.000', '');
}

function lines(parts: readonly (readonly [string, string])[]): string {
  const width = Math.max(...parts.map(([name]) => name.length));
  return parts.map(([name, text]) => `${name.padEnd(width)}  ${clean(text)}\n`).join('');
}

const certificates: readonly Column<CertificateRow>[] = [
  { title: 'SHA256', cell: (row) => row.sha256.slice(0, 16) },
  { title: 'KEY-ID', cell: (row) => row.keyId?.slice(0, 16) ?? '' },
  { title: 'NOT-AFTER', cell: (row) => day(row.notAfter) },
  { title: 'NAME', cell: (row) => row.uris.join(' ') || row.subject },
];

/** `isthmus trust verify` */
export function chainView(report: ChainReport): View {
  const { ok, id = 'the chain', reason = '', rule, source, detail = '', basis } = report;
  const verdict = ok ? `${id} is good` : `${id} is refused (${reason}): ${detail}`;
  return {
    data: report,
    names: [`chain/${ok ? 'ok' : 'refused'}`],
    text: (style) =>
      renderTable(certificates, report.chain, style) +
      lines([
        ['Basis', basis],
        ...(rule === undefined ? [] : [['Rule', `${rule}: ${source ?? ''}`] as const]),
        ...(report.notAfter === undefined || report.notBefore === undefined
          ? []
          : [['Valid', `${day(report.notBefore)} to ${day(report.notAfter)}`] as const]),
      ]) +
      `${paint(clean(verdict), ok ? 'good' : 'bad', style)}\n`,
  };
}

const severityTones: Readonly<Record<LintFinding['severity'], Tone>> = { error: 'bad', warning: 'warn', note: 'dim' };

const findings: readonly Column<LintFinding>[] = [
  { title: 'SEVERITY', cell: (row) => row.severity, tone: (row) => severityTones[row.severity] },
  { title: 'CODE', cell: (row) => row.code },
  { title: 'CERTIFICATE', cell: (row) => row.certificate },
  { title: 'PEERS', cell: (row) => row.peers.join(', ') },
  { title: 'MESSAGE', cell: (row) => row.what + (row.advice === undefined ? '' : ` → ${row.advice}`) },
];

/** `isthmus trust lint` */
export function lintView(report: LintReport): View {
  const errors = report.findings.filter(({ severity }) => severity === 'error').length;
  const looked = plural(report.certificates, 'certificate');
  const verdict = `${looked}: ${plural(errors, 'error')}, ${plural(report.findings.length - errors, 'remark')}.`;
  return {
    data: report,
    names: report.findings.map(({ code, certificate }) => `${code}/${certificate}`),
    text: (style) => {
      const table = report.findings.length === 0 ? '' : renderTable(findings, report.findings, style);
      return `${table}${paint(verdict, errors === 0 ? 'good' : 'bad', style)}\n`;
    },
  };
}

const bundles: readonly Column<BundleRow>[] = [
  { title: 'TRUST-DOMAIN', cell: (row) => row.trustDomain },
  { title: 'SEQUENCE', cell: (row) => row.sequence ?? '' },
  {
    title: 'TRUSTED',
    cell: (row) => (row.trusted ? 'True' : 'False'),
    tone: (row) => (row.trusted ? 'good' : 'bad'),
  },
  { title: 'ANCHORS', cell: (row) => row.anchors.map(({ sha256 }) => sha256.slice(0, 16)).join(',') },
  {
    title: 'FIRST-EXPIRY',
    cell: (row) => (row.anchors.length === 0 ? '' : day(Math.min(...row.anchors.map(({ notAfter }) => notAfter)))),
  },
  {
    title: 'IGNORED',
    cell: (row) => row.ignored.map(({ index, why }) => `#${index}: ${why}`).join('; '),
    optional: true,
  },
];

/** `isthmus trust bundle show`: all that an agent holds. */
export function bundlesView(report: BundleReport): View {
  const { older, conflicting, unverified } = report.refused;
  const refused = older + conflicting + unverified;
  const told = `Refused: ${older} rolled back, ${conflicting} of one sequence with other keys, ${unverified} not verified`;
  const because = report.problem === undefined ? '' : `; the last: ${report.problem}`;
  return {
    data: report,
    names: report.bundles.map(({ trustDomain }) => `bundle/${trustDomain}`),
    text: (style) => {
      if (report.bundles.length === 0) return `No bundle has come from the hub yet${clean(because)}.\n`;
      const alarm = refused === 0 ? '' : `${paint(clean(told + because), 'warn', style)}.\n`;
      return renderTable(bundles, report.bundles, style) + alarm;
    },
  };
}

/** `isthmus trust bundle show <trust domain>` */
export function bundleView(bundle: BundleDetail): View {
  const { document: _document, pem: _pem, ...row } = bundle;
  return {
    data: row,
    names: [`bundle/${row.trustDomain}`],
    text: (style: TextStyle) =>
      lines([
        ['Trust domain', row.trustDomain],
        ['Sequence', row.sequence ?? 'none'],
        ['Refresh hint', row.refreshHintMs === undefined ? 'none' : formatAge(row.refreshHintMs)],
        ['Trusted', row.trusted ? 'yes' : 'no: it has no usable key, so nothing of it is trusted'],
        ...row.ignored.map(({ index, why }) => ['Ignored', `key ${index}: ${why}`] as const),
      ]) + (row.anchors.length === 0 ? '' : renderTable(certificates, row.anchors, style)),
  };
}

/** `isthmus trust vectors` */
export function vectorsView(report: VectorsReport): View {
  const { index, accepted, refused } = report;
  return {
    data: report,
    names: [`vectors/${report.dir}`],
    text: () => `${plural(accepted + refused, 'vector')} in ${index}: ${accepted} to accept, ${refused} to refuse\n`,
  };
}

/** `isthmus trust audit verify` */
export function journalView(verdict: JournalVerdict): View {
  const { ok, records, head = '', lastAt, from = 1, problem = '' } = verdict;
  const whole = from === 1 ? 'whole' : `unbroken from record ${from} on; what stood before was dropped`;
  const last = lastAt === undefined ? '' : `, the last at ${day(lastAt)}`;
  const sentence = ok
    ? `The journal is ${whole}: ${plural(records, 'record')}${last}`
    : `The journal is broken: ${problem}`;
  return {
    data: verdict,
    names: [`journal/${ok ? 'ok' : 'broken'}`],
    text: (style) =>
      `${paint(clean(sentence), ok ? 'good' : 'bad', style)}\n${head === '' ? '' : `Head: ${clean(head)}\n`}`,
  };
}

const intermediates: readonly Column<IntermediateRow>[] = [
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'REPLICA', cell: (row) => row.replica },
  {
    title: 'STATE',
    cell: (row) => row.state,
    tone: (row) => (row.state === 'live' ? 'good' : row.state === 'denied' ? 'bad' : 'dim'),
  },
  { title: 'KEY-ID', cell: (row) => row.keyId },
  { title: 'ISSUED', cell: (row) => day(row.issuedAt) },
  { title: 'NOT-AFTER', cell: (row) => day(row.notAfter) },
  { title: 'SERIAL', cell: (row) => row.serial, wide: true },
  { title: 'SHA256', cell: (row) => row.sha256, wide: true },
];

/** `isthmus trust inventory` */
export function inventoryView(rows: readonly IntermediateRow[]): View {
  return {
    data: rows,
    names: rows.map(({ keyId }) => `intermediate/${keyId}`),
    text: (style) =>
      rows.length === 0 ? 'No intermediate was issued yet.\n' : renderTable(intermediates, rows, style),
  };
}

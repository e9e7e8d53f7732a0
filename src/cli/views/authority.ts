import type { AuditRow, PendingRow, TokenRow } from '../../model/trust-report.ts';
import { type Column, renderTable, type Tone } from '../table.ts';
import type { View } from '../view.ts';

function timeOf(at: number): string {
  return new Date(at).toISOString().replace('.000Z', 'Z');
}

const tokenTones: Readonly<Record<TokenRow['state'], Tone | undefined>> = {
  open: 'good',
  used: 'dim',
  expired: 'dim',
  revoked: 'warn',
};

const tokenColumns: readonly Column<TokenRow>[] = [
  { title: 'TOKEN', cell: (row) => row.id },
  { title: 'CLUSTER', cell: (row) => row.cluster },
  { title: 'STATE', cell: (row) => row.state, tone: (row) => tokenTones[row.state] },
  { title: 'EXPIRES', cell: (row) => timeOf(row.expiresAt) },
  { title: 'REJOIN', cell: (row) => (row.rejoin ? 'yes' : 'no') },
  { title: 'ISSUED', cell: (row) => timeOf(row.issuedAt), wide: true },
  { title: 'USED-BY', cell: (row) => row.usedBy ?? '', wide: true },
];

/** `isthmus token list` */
export function tokensView(rows: readonly TokenRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `token/${row.id}`),
    text: (style) => (rows.length === 0 ? 'There is no token.\n' : renderTable(tokenColumns, rows, style)),
  };
}

const pendingColumns: readonly Column<PendingRow>[] = [
  { title: 'FOR', cell: (row) => row.subject },
  { title: 'KIND', cell: (row) => row.kind },
  { title: 'REQUESTED', cell: (row) => timeOf(row.requestedAt) },
  { title: 'KEY', cell: (row) => row.keyId },
  { title: 'BY', cell: (row) => row.who },
];

/** `isthmus authority pending` */
export function pendingView(rows: readonly PendingRow[]): View {
  const text = `Nothing waits for the signature of the root.\n`;
  return {
    data: rows,
    names: rows.map((row) => `pending/${row.keyId}`),
    text: (style) => (rows.length === 0 ? text : renderTable(pendingColumns, rows, style)),
  };
}

const auditColumns: readonly Column<AuditRow>[] = [
  { title: 'RECORD', cell: (row) => String(row.sequence) },
  { title: 'AT', cell: (row) => timeOf(row.at) },
  { title: 'WHAT', cell: (row) => row.what, tone: (row) => (row.what === 'deny' ? 'warn' : undefined) },
  { title: 'SUBJECT', cell: (row) => row.subject },
  { title: 'WHO', cell: (row) => row.who },
  { title: 'DETAIL', cell: (row) => row.detail },
  { title: 'HASH', cell: (row) => row.hash, wide: true },
];

/** `isthmus authority audit` */
export function auditView(rows: readonly AuditRow[]): View {
  return {
    data: rows,
    names: rows.map((row) => `record/${row.sequence}`),
    text: (style) => (rows.length === 0 ? 'The journal is empty.\n' : renderTable(auditColumns, rows, style)),
  };
}

import type { LimitName } from '../../model/gateway-limits.ts';
import type { Overflow } from '../balance/circuit.ts';

/** Everything that is turned away or cut off for what its peer is or did, but for limits that were reached. */
export const refusalReasons = {
  malformed: 'A request to the tunnel port that is no sound CONNECT: 400.',
  'address-authority': 'A CONNECT to an address: only names of exported services are served, 403.',
  'not-exported': 'A CONNECT to what is unknown here, or is not exported: 404.',
  'unknown-port': 'A CONNECT to a port that the service does not have: 404.',
  denied: 'A CONNECT that no access rule allows: 403.',
  loop: 'A CONNECT that has passed a gateway before: 508.',
  draining: 'A CONNECT to a gateway that is about to end: 503, the caller goes elsewhere.',
  'no-route': 'A client of an import port whose service has just left the table: reset.',
  'no-identity': 'A peer that came before this gateway had an identity: reset.',
  'handshake-unauthenticated': 'A peer without a certificate, or with one that is not accepted: closed.',
  'handshake-denied': 'A peer whose certificate is good and which may not connect here: closed.',
  'handshake-alpn': 'A peer that does not speak HTTP/2: closed.',
  'handshake-timeout': 'A peer that has not proved itself in time: closed.',
  'handshake-unavailable': 'A peer that left during the handshake, or sent something else than TLS: closed.',
  'handshake-internal': 'A handshake that this gateway could not finish: closed; look into its log.',
  'session-protocol': 'A peer that broke the rules of HTTP/2: GOAWAY with the code of the rule.',
  'session-silent': 'A peer that answered no ping and said nothing else: its session is ended.',
  'rapid-reset': 'A peer that gave up too many streams: GOAWAY, ENHANCE_YOUR_CALM; or that came back at once: closed.',
  'control-flood': 'A peer that sent too many PING or SETTINGS frames: GOAWAY, ENHANCE_YOUR_CALM.',
  'gateway-unauthenticated': 'A gateway that was dialled and has no certificate that is accepted: closed.',
  'gateway-denied': 'A gateway that was dialled and is of another cluster than intended, or none: closed.',
  'gateway-alpn': 'A gateway that was dialled and does not speak HTTP/2: closed.',
  'gateway-tls': 'What was dialled as a gateway answered with something else than TLS: closed.',
  'gateway-timeout': 'A gateway that was dialled and did not finish the handshake in time: closed.',
  'gateway-protocol': 'A gateway that was dialled and broke the rules of HTTP/2: GOAWAY with the code of the rule.',
  'gateway-silent': 'A gateway that was dialled, and answers no ping and says nothing else: its session is ended.',
  'gateway-control-flood': 'A gateway that was dialled and sends too many PING or SETTINGS frames: GOAWAY.',
  'gateway-answer': 'A gateway that answered a CONNECT with what is no answer to it: the next candidate is tried.',
  internal: 'A fault of this gateway that a peer has found: that stream or client only; look into the log.',
} as const;

/** Names of the limits that turn something away: the gateway's own, and those of a service. */
export type LimitReason = `limit-${LimitName | Overflow}`;

/** Why something was turned away, as the metrics count it: a closed set, never text that a peer chose. */
export type CountedReason = keyof typeof refusalReasons | LimitReason;

export function isLimitReason(reason: string): reason is LimitReason {
  return reason.startsWith('limit-');
}

/** Counts what was turned away. */
export interface Refusals {
  count(reason: CountedReason): void;
}

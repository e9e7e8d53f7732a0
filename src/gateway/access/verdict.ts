import type { ServiceRoute } from '../../model/route.ts';
import type { Caller } from './caller.ts';

/** Whether a caller may connect, and by which rule: the rule goes to the access log. */
export interface AccessVerdict {
  readonly allowed: boolean;
  /** Short and of a closed form, such as `allow: members`. */
  readonly rule: string;
}

/** What is asked for. */
export interface AccessRequest {
  readonly route: ServiceRoute;
  /** Service port. */
  readonly port: number;
  readonly caller: Caller;
}

/** Judges at the receiving gateway. Must not throw. */
export type AccessJudge = (request: AccessRequest) => AccessVerdict;

/** Without any AccessPolicy: what the export itself says (policy.md, "AccessPolicy"). */
export const judgeByExport: AccessJudge = ({ route }) =>
  route.allow === 'members'
    ? { allowed: true, rule: 'allow: members' }
    : { allowed: false, rule: 'allow: policy, and no policy allows' };

import type { AccessRequest, AccessVerdict } from '../../model/access.ts';

/** Judges at the receiving gateway. Must not throw. */
export type AccessJudge = (request: AccessRequest) => AccessVerdict;

/** Without any AccessPolicy: what the export itself says (policy.md, "AccessPolicy"). */
export const judgeByExport: AccessJudge = ({ route }) =>
  route.allow === 'members'
    ? { allowed: true, rule: 'allow: members' }
    : { allowed: false, rule: 'allow: policy, and no policy allows' };

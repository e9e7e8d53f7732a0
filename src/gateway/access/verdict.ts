import type { AccessJudge, AccessVerdict, Exposure } from '../../model/access.ts';

/** Without any AccessPolicy: what the export itself says (policy.md, "AccessPolicy"). */
export const judgeByExport: AccessJudge = {
  connection: ({ route }) => judge(route),
  request: ({ route }) => judge(route),
};

function judge({ allow }: Exposure): AccessVerdict<'allowed' | 'denied'> {
  return allow === 'members'
    ? { decision: 'allowed', rule: 'allow: members' }
    : { decision: 'denied', rule: 'allow: policy, and no policy allows' };
}

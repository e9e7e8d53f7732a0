import { carriesRequests, declaredProtocol } from '../../../model/protocol.ts';
import type { RoutePort } from '../../../model/route.ts';
import type { ExplanationStep } from '../../../model/status.ts';
import type { TrafficField } from '../../../policy/fields.ts';
import type { EffectivePolicy } from '../../../policy/plan.ts';
import { describeOrigin } from '../../../policy/policy.ts';
import { fieldText } from '../policy/field-text.ts';

const sections = ['loadBalancing', 'connection', 'outlier', 'http'] as const;

/** How connections, and requests, of one port are carried: what the port speaks, then each section with its origins. */
export function trafficSteps(port: RoutePort, effective: EffectivePolicy): readonly ExplanationStep[] {
  const protocol = declaredProtocol(port);
  const requests = carriesRequests(protocol);
  const told = port.appProtocol === undefined ? `name ${port.name ?? '-'}` : `appProtocol ${port.appProtocol}`;
  const what = requests
    ? `${protocol}, by its ${told}: each request has its own choice`
    : `tcp${protocol === undefined ? ', as nothing says otherwise' : `, by its ${told}`}: each connection has its choice`;
  const steps: ExplanationStep[] = [{ title: 'protocol', detail: what }];
  for (const section of sections) {
    if (section === 'http' && !requests) continue;
    steps.push({ title: section, detail: sectionText(section, effective) });
  }
  return steps;
}

function sectionText(section: string, { fields, origins }: EffectivePolicy): string {
  const byOrigin = new Map<string, string[]>();
  for (const field of Object.keys(fields) as TrafficField[]) {
    if (!field.startsWith(`${section}.`) || fields[field] === undefined) continue;
    const origin = origins.get(field);
    const from = origin ? describeOrigin(origin) : 'configuration or default';
    const text = `${field.slice(section.length + 1)} ${fieldText(field, fields)}`;
    byOrigin.set(from, [...(byOrigin.get(from) ?? []), text]);
  }
  return [...byOrigin].map(([from, texts]) => `${texts.join(', ')} (${from})`).join('; ');
}

/** Whether a field is told of by its section above. */
export function isTrafficField(field: TrafficField): boolean {
  return sections.some((section) => field.startsWith(`${section}.`));
}

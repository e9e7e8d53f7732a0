import { z } from 'zod';
import type { CallerMatch } from '../model/access.ts';
import { parseServiceKey, type ServiceKey } from '../model/names.ts';
import { count, type Fault, judge, type Judged, section } from '../wire/schema.ts';
import { formatPath } from '../wire/value-path.ts';
import { apiVersion, type Policy, policyKinds, type PolicyKind } from './policy.ts';
import { judgeFederation, judgeTraffic } from './traffic-schema.ts';
import { cluster, idPattern, method, nameWord, pathPrefix, serviceAccount, serviceName, trustDomain } from './words.ts';

/** A policy as it was understood, or everything that is wrong with its document: path, value, what would be right. */
export type ParsedPolicy =
  | { readonly ok: true; readonly policy: Policy }
  | { readonly ok: false; readonly faults: readonly Fault[] };

const maxFrom = 64;
const maxList = 256;

/** What Kubernetes adds to an object's metadata is no business of ours. */
const metadata = z.looseObject({ name: nameWord('a name'), namespace: z.exactOptional(nameWord('a namespace')) });

const envelope = z.looseObject(
  {
    apiVersion: z.literal(apiVersion),
    kind: z.enum(policyKinds),
    metadata,
  },
  { error: (issue) => (issue.input === undefined ? 'is required: a policy' : 'must be a mapping') },
);

const port = count(1, 65_535);

const callerMatch: z.ZodType<CallerMatch> = section({
  trustDomains: z.exactOptional(z.array(trustDomain).min(1).max(maxList)),
  clusters: z.exactOptional(z.array(cluster).min(1).max(maxList)),
  namespaces: z.exactOptional(z.array(nameWord('a namespace')).min(1).max(maxList)),
  serviceAccounts: z.exactOptional(z.array(serviceAccount).min(1).max(maxList)),
  ids: z.exactOptional(z.array(idPattern).min(1).max(maxList)),
  proof: z.exactOptional(z.enum(['proven', 'asserted'])),
}).superRefine((given, context) => {
  if (Object.keys(given).length > 0) return;
  const message = `must say who, by trustDomains, clusters, namespaces, serviceAccounts, ids or proof: leave out 'from' to mean whoever calls`;
  context.addIssue({ code: 'custom', message });
});

const accessSpec = section({
  spec: section({
    action: z.enum(['allow', 'deny']).default('allow'),
    mode: z.enum(['enforce', 'audit']).default('enforce'),
    from: z.exactOptional(z.array(callerMatch).min(1).max(maxFrom)),
    to: z.exactOptional(
      section(
        {
          services: z.exactOptional(z.array(serviceName).min(1).max(maxList)),
          ports: z.exactOptional(z.array(port).min(1).max(maxList)),
          methods: z.exactOptional(z.array(method).min(1).max(maxList)),
          pathPrefixes: z.exactOptional(z.array(pathPrefix).min(1).max(maxList)),
        },
        'a mapping with services, ports, methods or pathPrefixes',
      ),
    ),
  }),
});

/**
 * Reads one policy document. Never throws: it may come from anywhere. Unknown keys of `spec` are refused, so that a
 * misspelt restriction is never silently none.
 */
export function parsePolicy(document: unknown): ParsedPolicy {
  const outer = judge(envelope, document);
  if (!outer.ok) return outer;
  const { kind, metadata: meta } = outer.value;
  const misplaced = namespaceFault(kind, meta.namespace);
  if (misplaced) return { ok: false, faults: [misplaced] };
  const unknown = Object.keys(outer.value).filter(
    (key) => !['apiVersion', 'kind', 'metadata', 'spec', 'status'].includes(key),
  );
  if (unknown.length > 0) {
    const message = `unknown key; a policy may have apiVersion, kind, metadata and spec`;
    return { ok: false, faults: unknown.map((key) => ({ path: [key], message, unknownKey: true })) };
  }
  const name = { kind, namespace: meta.namespace, name: meta.name };
  const spec: unknown = outer.value['spec'] ?? {};
  const body = bodyOf(kind, spec, meta.namespace ?? '');
  if (!body.ok) return body;
  // The envelope's schema saw that it is a mapping, or nothing.
  return { ok: true, policy: { name, body: body.value, spec: spec as Policy['spec'], notes: notesOf(body.value) } };
}

/** What is right and yet has no effect in this policy by itself. */
function notesOf(body: Policy['body']): readonly string[] {
  if (body.kind === 'AccessPolicy') return [];
  const { fields } = body;
  const algorithm = fields['loadBalancing.algorithm'];
  if (!fields['loadBalancing.hash'] || algorithm === undefined || algorithm === 'consistentHash') return [];
  return [`loadBalancing.hash has no effect with algorithm ${algorithm}: it is for consistentHash`];
}

/** `spec.failover.hold: '5' must be a duration…`, one a fault. */
export function describeFaults(faults: readonly Fault[]): string {
  return faults.map(({ path, message }) => `${formatPath(path) || 'document'}: ${message}`).join('; ');
}

function namespaceFault(kind: PolicyKind, namespace: string | undefined): Fault | undefined {
  const path = ['metadata', 'namespace'];
  if (kind === 'FederationPolicy') {
    if (namespace === undefined) return undefined;
    const message = `must not be there: a FederationPolicy is for all namespaces; use kind TrafficPolicy for one`;
    return { path, message, unknownKey: false };
  }
  if (namespace !== undefined) return undefined;
  const message = `is required: the namespace whose services the policy is for`;
  return { path, message, unknownKey: false };
}

function bodyOf(kind: PolicyKind, spec: unknown, namespace: string): Judged<Policy['body']> {
  const keyOf = (service: string): ServiceKey => parseServiceKey(`${namespace}/${service}`);
  if (kind === 'AccessPolicy') {
    const judged = judge(accessSpec, { spec });
    if (!judged.ok) return judged;
    const { action, mode, from, to } = judged.value.spec;
    const services = to?.services && new Set(to.services.map(keyOf));
    const { ports, methods, pathPrefixes } = to ?? {};
    const requests = (methods ?? pathPrefixes) && {
      ...(methods && { methods }),
      ...(pathPrefixes && { pathPrefixes }),
    };
    return { ok: true, value: { kind, action, audit: mode === 'audit', from, services, ports, requests } };
  }
  const judged = kind === 'TrafficPolicy' ? judgeTraffic(spec) : judgeFederation(spec);
  if (!judged.ok) return judged;
  const { service, fields } = judged.value;
  return { ok: true, value: { kind, service: service === undefined ? undefined : keyOf(service), fields } };
}

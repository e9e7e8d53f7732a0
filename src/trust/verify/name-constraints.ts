import { type GeneralName, generalNameTag, type NameConstraints } from '../x509/read-extensions.ts';

/** What follows `scheme://` up to the first of `/ ? # :`, after any userinfo (RFC 5280 §4.2.1.10 looks at hosts only). */
const uriHost = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^/?#@]*@)?([^/?#:]+)/;

/** A constraint with a leading dot stands for every name below it, one without for exactly that host. */
function uriMatches(constraint: string, uri: string): boolean {
  const host = uriHost.exec(uri)?.[1]?.toLowerCase();
  if (host === undefined) return false;
  const wanted = constraint.toLowerCase();
  return wanted.startsWith('.') ? host.endsWith(wanted) && host.length > wanted.length : host === wanted;
}

/** A DNS constraint stands for the name itself and everything below it. */
function dnsMatches(constraint: string, name: string): boolean {
  const wanted = constraint.toLowerCase();
  const host = name.toLowerCase();
  return wanted === '' || host === wanted || host.endsWith(wanted.startsWith('.') ? wanted : `.${wanted}`);
}

/** Undefined: a form of name that is not understood here. */
function matches(constraint: GeneralName, name: GeneralName): boolean | undefined {
  const [left, right] = [constraint.value.toString('latin1'), name.value.toString('latin1')];
  if (name.tag === generalNameTag.uri) return uriMatches(left, right);
  if (name.tag === generalNameTag.dns) return dnsMatches(left, right);
  return undefined;
}

/**
 * Why `names` are outside of `constraints`, or undefined. A constrained name of a form that is not understood is a
 * violation: better refused than waved through.
 */
export function constraintViolation(constraints: NameConstraints, names: readonly GeneralName[]): string | undefined {
  for (const name of names) {
    const shown = name.value.toString('latin1').slice(0, 200);
    for (const excluded of constraints.excluded.filter((tree) => tree.tag === name.tag)) {
      if (matches(excluded, name) !== false) return `name '${shown}' is in an excluded subtree`;
    }
    const permitted = constraints.permitted.filter((tree) => tree.tag === name.tag);
    if (permitted.length > 0 && !permitted.some((tree) => matches(tree, name) === true)) {
      return `name '${shown}' is in no permitted subtree`;
    }
  }
  return undefined;
}

// Takes one rule after the other out of a copy of the verifier and of the bundle reader, and looks whether a test
// notices. A rule that nobody misses is a rule that nobody tests.
//
//   node scripts/verify-mutants.ts [words of a mutant's name]
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Mutant {
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const verify = 'src/trust/verify';
const mutants: readonly Mutant[] = [
  { name: 'XS-1 one URI', file: `${verify}/svid-profile.ts`, from: 'uris.length !== 1', to: 'uris.length < 1' },
  { name: 'XS-2 path', file: `${verify}/svid-profile.ts`, from: "pathOf(id) === ''", to: 'false' },
  {
    name: 'XS-3 critical SAN',
    file: `${verify}/svid-profile.ts`,
    from: '!leaf.hasSubject && !leaf.namesAreCritical',
    to: 'false',
  },
  { name: 'XS-4 no CA', file: `${verify}/svid-profile.ts`, from: 'leaf.basicConstraints?.ca', to: 'false' },
  { name: 'XS-5 critical', file: `${verify}/svid-profile.ts`, from: '!keyUsage?.critical', to: '!keyUsage' },
  {
    name: 'XS-5 digitalSignature',
    file: `${verify}/svid-profile.ts`,
    from: "!keyUsage.has('digitalSignature')",
    to: 'false',
  },
  {
    name: 'XS-5 keyCertSign',
    file: `${verify}/svid-profile.ts`,
    from: "keyUsage.has('keyCertSign') ||",
    to: 'false ||',
  },
  { name: 'XS-5 cRLSign', file: `${verify}/svid-profile.ts`, from: "|| keyUsage.has('cRLSign')", to: '|| false' },
  {
    name: 'XS-6 both purposes',
    file: `${verify}/svid-profile.ts`,
    from: 'purposes.includes(oids.serverAuth) &&',
    to: 'true &&',
  },
  {
    name: 'XS-6 client too',
    file: `${verify}/svid-profile.ts`,
    from: '&& purposes.includes(oids.clientAuth)',
    to: '&& true',
  },
  {
    name: 'PV-5 leaf',
    file: `${verify}/svid-profile.ts`,
    from: 'unknownCritical.length === 0',
    to: 'unknownCritical.length >= 0',
  },
  { name: 'SG-1 CA', file: `${verify}/authorities.ts`, from: '!authority.basicConstraints?.ca', to: '!authority' },
  {
    name: 'SG-1 keyCertSign',
    file: `${verify}/authorities.ts`,
    from: "!authority.keyUsage?.has('keyCertSign')",
    to: '!authority.keyUsage',
  },
  { name: 'SG-1 critical', file: `${verify}/authorities.ts`, from: '!authority.keyUsage.critical &&', to: 'false &&' },
  {
    name: 'SG-2 path of an issuer',
    file: `${verify}/authorities.ts`,
    from: 'host === undefined || !isTrustDomain(host)',
    to: 'false',
  },
  { name: 'PV-4 path length', file: `${verify}/authorities.ts`, from: 'below > pathLen', to: 'false' },
  { name: 'PV-5 issuer', file: `${verify}/authorities.ts`, from: 'authority.unknownCritical.length > 0', to: 'false' },
  { name: 'PV-6 constraints', file: `${verify}/authorities.ts`, from: 'if (violation)', to: 'if (false as boolean)' },
  {
    name: 'PV-6 excluded',
    file: `${verify}/name-constraints.ts`,
    from: 'matches(excluded, name) !== false',
    to: 'false',
  },
  {
    name: 'PV-6 exact host',
    file: `${verify}/name-constraints.ts`,
    from: ': host === wanted;',
    to: ': host.endsWith(wanted);',
  },
  {
    name: 'PV-6 below, not itself',
    file: `${verify}/name-constraints.ts`,
    from: 'host.endsWith(wanted) && host.length > wanted.length',
    to: '`.${host}`.endsWith(wanted)',
  },
  {
    name: 'PV-6 DNS labels',
    file: `${verify}/name-constraints.ts`,
    from: "wanted.startsWith('.') ? wanted : `.${wanted}`",
    to: 'wanted',
  },
  {
    name: 'PV-2 signature',
    file: `${verify}/path-builder.ts`,
    from: 'const good = isSignedBy(issuer, subject);',
    to: 'const good = true;',
  },
  {
    name: 'PV-2 remembered',
    file: `${verify}/path-builder.ts`,
    from: 'if (good) this.#signatures',
    to: 'if (good || (true as boolean)) this.#signatures',
  },
  {
    name: 'PV-2 fit keys',
    file: 'src/trust/x509/signature.ts',
    from: 'modulusLength >= 2048',
    to: 'modulusLength >= 512',
  },
  { name: 'PV-1 canonical', file: 'src/trust/x509/der.ts', from: '!Buffer.from(again).equals(bytes) || ', to: '' },
  { name: 'PV-1 serial', file: 'src/trust/x509/read.ts', from: 'bytes.readInt8(0) < 0 ||', to: 'false ||' },
  {
    name: 'PV-1 one algorithm',
    file: 'src/trust/x509/read.ts',
    from: "readAlgorithm('signature', innerAlgorithm) !== signatureAlgorithm",
    to: 'false',
  },
  { name: 'PV-3 not before', file: `${verify}/path.ts`, from: 'now < path.notBefore', to: 'false' },
  { name: 'PV-3 not after', file: `${verify}/path.ts`, from: 'now <= path.notAfter', to: 'true' },
  {
    name: 'PV-3 whole path',
    file: `${verify}/path.ts`,
    from: 'Math.min(...path.map((certificate) => certificate.notAfter))',
    to: 'leaf.notAfter',
  },
  {
    name: 'PV-3 best path',
    file: `${verify}/path.ts`,
    from: 'judged.notAfter > best.notAfter',
    to: 'judged.notAfter < best.notAfter',
  },
  {
    name: 'XV-1 bundle of the trust domain',
    file: `${verify}/path.ts`,
    from: 'trust.bundles.get(domain)',
    to: 'trust.bundles.values().next().value',
  },
  {
    name: 'IS-1 named issuer',
    file: `${verify}/issuer-binding.ts`,
    from: 'names.length !== 1 || names[0] !== domainId(domain)',
    to: 'false',
  },
  {
    name: 'IS-1 root stands in',
    file: `${verify}/issuer-binding.ts`,
    from: '!issuer || path.length < 3',
    to: '!issuer',
  },
  {
    name: 'IS-1 authority by root',
    file: `${verify}/issuer-binding.ts`,
    from: 'path.length === 2',
    to: 'path.length > 1',
  },
  {
    name: 'IS-2 listed key',
    file: `${verify}/issuer-binding.ts`,
    from: '!entry.caKeyIds.includes(issuer.subjectKeyId)',
    to: 'false',
  },
  {
    name: 'IS-3 denied',
    file: `${verify}/path.ts`,
    from: 'return found ?',
    to: 'return found && (false as boolean) ?',
  },
  { name: 'IS-4 revoked', file: `${verify}/issuer-binding.ts`, from: "entry.state === 'revoked'", to: 'false' },
  { name: 'IS-4 suspended', file: `${verify}/issuer-binding.ts`, from: "entry.state === 'suspended'", to: 'false' },
  {
    name: 'IS-5 seals',
    file: `${verify}/peer-verifier.ts`,
    from: 'if (isSealId(path.id))',
    to: 'if (false as boolean)',
  },
  {
    name: 'BU-2 older',
    file: 'src/trust/bundle/bundle-rules.ts',
    from: 'offered.sequence < held.sequence',
    to: 'false',
  },
  {
    name: 'BU-2 conflicting',
    file: 'src/trust/bundle/bundle-rules.ts',
    from: 'return same ?',
    to: 'return same || (true as boolean) ?',
  },
  {
    name: 'BU-4 use',
    file: 'src/wire/bundle.ts',
    from: "use !== 'x509-svid' && use !== 'jwt-svid'",
    to: 'use === undefined',
  },
  { name: 'BU-5 kid', file: 'src/wire/bundle.ts', from: "element.has('kid')", to: 'false' },
  {
    name: 'BU-5 same key',
    file: 'src/trust/bundle/spiffe-bundle.ts',
    from: 'sameKey(publicJwkOf(read.spki), jwk)',
    to: 'true',
  },
  { name: 'BU-5 CA', file: 'src/trust/bundle/spiffe-bundle.ts', from: '!read.basicConstraints?.ca', to: 'false' },
  { name: 'BU-7 revoked is empty', file: 'src/trust/bundle/published.ts', from: 'trusted.has(domain) ?', to: 'true ?' },
  { name: 'BU-9 twice', file: 'src/wire/strict-json.ts', from: 'if (members.has(key))', to: 'if (false as boolean)' },
];

const root = new URL('..', import.meta.url).pathname;
const tests = ['test/spec/spiffe/bundle.test.ts', 'test/spec/spiffe/x509-svid.test.ts', 'test/trust/verify.test.ts'];
const words = process.argv.slice(2);
const chosen = mutants.filter(({ name }) => words.every((word) => name.includes(word)));

/** Whether the tests of a copy pass. */
function passes(copy: string): boolean {
  return (
    spawnSync(process.execPath, ['--test', ...tests], { cwd: copy, stdio: 'ignore', timeout: 60_000 }).status === 0
  );
}

const copy = mkdtempSync(join(tmpdir(), 'isthmus-mutants-'));
const survivors: string[] = [];
try {
  for (const folder of ['src', 'test', 'proto', 'package.json', 'tsconfig.json']) {
    cpSync(join(root, folder), join(copy, folder), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  if (!passes(copy)) {
    console.error('The tests fail without any change.');
    process.exitCode = 1;
  } else {
    for (const { name, file, from, to } of chosen) {
      const path = join(copy, file);
      const text = readFileSync(path, 'utf8');
      if (text.split(from).length !== 2) {
        survivors.push(`${name}: '${from}' must stand in ${file} once`);
        continue;
      }
      writeFileSync(
        path,
        text.replace(from, () => to),
      );
      const survived = passes(copy);
      console.log(`${survived ? 'SURVIVED' : 'caught  '}  ${name}`);
      if (survived) survivors.push(name);
      writeFileSync(path, text);
    }
    console.log(`${chosen.length - survivors.length} of ${chosen.length} mutants were caught`);
    for (const survivor of survivors) console.error(`not caught: ${survivor}`);
    if (survivors.length > 0) process.exitCode = 1;
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}

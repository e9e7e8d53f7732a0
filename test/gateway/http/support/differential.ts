import assert from 'node:assert/strict';
import { seeded } from '../../support/seeded.ts';
import { inPieces, nearlyHttp } from './bytes-of-http.ts';
import { knowsMethod, type Read, readByLlhttp } from './llhttp.ts';
import { type OwnRead, readByUs } from './read.ts';

export interface Tally {
  /** Messages that we and llhttp accept. */
  both: number;
  /** Inputs that we refuse and llhttp does not. */
  stricter: number;
  refused: number;
}

/**
 * One random input to the gateway's readers and to llhttp with nothing forgiven. Whatever we accept llhttp accepts, and
 * reads the same in it; what goes on reads the same again.
 */
export function compareOnce(seed: number, kind: 'request' | 'response', tally: Tally): void {
  const random = seeded(seed);
  const bytes = nearlyHttp(random, kind);
  const whole = readByUs([bytes], kind);
  const pieces = inPieces(random, bytes);
  const shown = `seed ${seed}: ${JSON.stringify(bytes.toString('latin1'))}`;
  const split = readByUs(pieces, kind);
  assert.deepEqual(split.messages, whole.messages, `pieces change nothing, ${shown}`);
  assert.equal(split.fault === undefined, whole.fault === undefined, `pieces change nothing, ${shown}`);
  const theirs = readByLlhttp(bytes, kind);
  if (whole.fault !== undefined) {
    tally.refused += 1;
    if (theirs.error === undefined) tally.stricter += 1;
  }
  for (const [index, own] of whole.messages.entries()) {
    // llhttp knows a closed set of methods; any token is one.
    if (kind === 'request' && !knowsMethod(own.method)) return;
    // Of a response without a length everything that follows is its body.
    if (kind === 'response' && !own.complete) return;
    sameMessage(own, theirs.messages[index], kind, `${shown}, message ${index}, llhttp says ${theirs.error}`);
    tally.both += 1;
    if (kind === 'request' && own.complete) {
      const again = readByLlhttp(own.onward, 'request');
      assert.equal(again.error, undefined, `what goes on is well-formed, ${shown}: ${own.onward.toString('latin1')}`);
      assert.equal(again.messages.length, 1, `what goes on is one request, ${shown}: ${own.onward.toString('latin1')}`);
      const [onward] = again.messages;
      assert.deepEqual(
        [onward?.method, onward?.target, onward?.content.length, onward?.complete],
        [own.method, own.target, own.length, true],
        shown,
      );
    }
  }
}

function sameMessage(own: OwnRead, theirs: Read | undefined, kind: 'request' | 'response', shown: string): void {
  assert.ok(theirs, `llhttp sees no such message, ${shown}`);
  if (kind === 'request') {
    assert.equal(theirs.method, own.method, shown);
    if (theirs.target.startsWith('/') || theirs.target === '*') assert.equal(theirs.target, own.target, shown);
    else assert.ok(theirs.target.toLowerCase().startsWith('http://'), shown);
  } else assert.equal(theirs.status, own.status, shown);
  const heads = theirs.fields.slice(0, own.fields.length);
  // Only blanks are seen differently: llhttp leaves them at the end of a value.
  assert.deepEqual(
    heads.map(([name, value]) => [name.toLowerCase(), value.replace(/[ \t]+$/, '')]),
    own.fields,
    shown,
  );
  assert.equal(theirs.complete, own.complete, shown);
  assert.equal(theirs.content.length, own.length, shown);
}

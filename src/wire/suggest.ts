/** Longer words are not compared: no key is that long. */
const maxLength = 64;

/** How many single-letter edits or swaps of neighbours turn one word into the other (optimal string alignment). */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let best = Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) best = Math.min(best, (before[j - 2] ?? 0) + 1);
      next.push(best);
    }
    before = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

/** Edits from `word` to `known`, or to its beginning: `pasword` means `passwordFile`. */
function edits(word: string, known: string): number {
  const whole = distance(word, known);
  if (word.length < 4) return whole;
  const beginnings = [-1, 0, 1].map((more) => 1 + distance(word, known.slice(0, word.length + more)));
  return Math.min(whole, ...beginnings);
}

/** The known word that a misspelt one most likely meant, or undefined when none is near. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  if (word.length > maxLength) return undefined;
  const near = Math.max(1, Math.floor(word.length / 3));
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  return known
    .map((candidate) => ({ candidate, edits: edits(plain(word), plain(candidate)) }))
    .filter((each) => each.edits <= near)
    .sort((x, y) => x.edits - y.edits)[0]?.candidate;
}

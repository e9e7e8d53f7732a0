/** `<path>: <value>  # <file>:<line>` for every value, `# default` for those that the file does not have. */
export function withOrigins(effective: unknown, file: string, lines: ReadonlyMap<string, number>): string {
  return leavesOf(effective, '')
    .map(([path, value]) => {
      const line = lineOf(path, lines);
      return `${path}: ${JSON.stringify(value)}  # ${line === undefined ? 'default' : `${file}:${line}`}\n`;
    })
    .join('');
}

function leavesOf(value: unknown, path: string): readonly (readonly [string, unknown])[] {
  if (typeof value !== 'object' || value === null) return [[path, value]];
  const children = Array.isArray(value)
    ? value.map((each, index): [string, unknown] => [`${path}[${index}]`, each])
    : Object.entries(value).map(([key, each]): [string, unknown] => [path === '' ? key : `${path}.${key}`, each]);
  if (children.length === 0) return [[path, value]];
  return children.flatMap(([childPath, each]) => leavesOf(each, childPath));
}

/** A short form in the file (`ports: [80]`) stands for the mapping below it. */
function lineOf(path: string, lines: ReadonlyMap<string, number>): number | undefined {
  const own = lines.get(path);
  if (own !== undefined) return own;
  const element = /^(.*\[\d+\])[^[\]]*$/.exec(path)?.[1];
  return element === undefined ? undefined : lines.get(element);
}

import type { Explanation } from '../../model/status.ts';
import { paint } from '../table.ts';
import { clean } from '../text.ts';
import type { View } from '../view.ts';

/** `isthmus explain`: the decision step by step, then the verdict. */
export function explainView(explanation: Explanation): View {
  const { from, to, steps, ok, verdict } = explanation;
  const width = Math.max(0, ...steps.map(({ title }) => title.length));
  return {
    data: explanation,
    names: [`service/${to.slice(0, Math.max(0, to.lastIndexOf(':')))}`],
    text: (style) => {
      const lines = steps.map((step) => {
        const mark = step.ok === undefined ? '·' : step.ok ? '√' : '×';
        const tone = step.ok === undefined ? 'dim' : step.ok ? 'good' : 'bad';
        return `  ${paint(mark, tone, style)} ${clean(step.title).padEnd(width)}  ${clean(step.detail)}`;
      });
      return `${[clean(`${from} → ${to}`), ...lines, paint(clean(verdict), ok ? 'good' : 'bad', style)].join('\n')}\n`;
    },
  };
}

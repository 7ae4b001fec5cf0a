/** What `drive check` says. */

/** note: as it should be, or heals by itself; warning: redundancy is lost; damage: content is lost or cannot be trusted. */
export type Severity = 'note' | 'warning' | 'damage';

export type Finding = {
  readonly code: string;
  readonly severity: Severity;
  /** The part of the drive. */
  readonly where: string;
  readonly what: string;
  readonly consequence: string;
  readonly wayOut: string | undefined;
};

export type CheckReport = {
  readonly path: string;
  readonly findings: readonly Finding[];
  /** One line: clean, or what is wrong. */
  readonly summary: string;
  readonly volumes: number;
  readonly usedCells: number;
  readonly freeCells: number;
  /** Frames of the log that the next opening replays, and their bytes. */
  readonly framesToReplay: number;
  readonly logBytesToReplay: number;
  readonly pagesRead: number;
  readonly dataBlocksRead: number;
};

/** Findings of one code beyond this many are counted and not listed. */
const LISTED_MAX = 20;

/** The way out where a drive does not open. */
export const NO_WAY_BUT_COPIES =
  'Restore its volumes from other replicas or a backup; keep the drive as it is for an analysis';

export class Findings {
  readonly list: Finding[] = [];
  readonly #counts = new Map<string, number>();

  add(finding: Omit<Finding, 'wayOut'> & { readonly wayOut?: string }): void {
    const count = (this.#counts.get(finding.code) ?? 0) + 1;
    this.#counts.set(finding.code, count);
    if (count <= LISTED_MAX) this.list.push({ ...finding, wayOut: finding.wayOut });
  }

  summary(): string {
    const damages = this.#total('damage');
    const warnings = this.#total('warning');
    const notes = this.#total('note');
    const listed = this.list.length;
    const unlisted = damages + warnings + notes - listed;
    const rest = unlisted > 0 ? `; the first ${LISTED_MAX} of each kind are listed` : '';
    if (damages > 0) {
      const more = warnings > 0 ? `, ${counted(warnings, 'warning')}` : '';
      return `damaged: ${counted(damages, 'finding')} of damage${more}${rest}`;
    }
    if (warnings > 0) return `usable: ${counted(warnings, 'warning')}; nothing is lost${rest}`;
    return notes > 0 ? `clean, ${counted(notes, 'note')}` : 'clean';
  }

  #total(severity: Severity): number {
    const codes = new Set(
      this.list.filter((finding) => finding.severity === severity).map(({ code }) => code),
    );
    return [...codes].reduce((sum, code) => sum + (this.#counts.get(code) ?? 0), 0);
  }
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

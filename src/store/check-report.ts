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
  /** Frames of the log that the next open replays. */
  readonly framesToReplay: number;
  readonly pagesRead: number;
  readonly dataBlocksRead: number;
};

/** Findings of one code beyond this many are counted and not listed. */
const LISTED_MAX = 20;

export class Findings {
  readonly list: Finding[] = [];
  readonly #counts = new Map<string, number>();

  add(finding: Omit<Finding, 'wayOut'> & { readonly wayOut?: string }): void {
    const count = (this.#counts.get(finding.code) ?? 0) + 1;
    this.#counts.set(finding.code, count);
    if (count <= LISTED_MAX) this.list.push({ ...finding, wayOut: finding.wayOut });
  }

  /** How many findings a code has, listed or not. */
  count(code: string): number {
    return this.#counts.get(code) ?? 0;
  }

  summary(): string {
    const damages = this.#total('damage');
    const warnings = this.#total('warning');
    if (damages > 0) return `damaged: ${damages} findings of damage, ${warnings} warnings`;
    if (warnings > 0) return `usable: ${warnings} warnings; nothing is lost`;
    return this.list.length > 0 ? `clean, ${this.list.length} notes` : 'clean';
  }

  #total(severity: Severity): number {
    const codes = new Set(
      this.list.filter((finding) => finding.severity === severity).map(({ code }) => code),
    );
    return [...codes].reduce((sum, code) => sum + this.count(code), 0);
  }
}

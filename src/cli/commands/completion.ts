/** holdfast completion: the scripts that make shells ask this program what fits (src/cli/complete.ts). */

import { Argument, type Command } from 'commander';

import { addCommand, contextOf } from '../context.ts';

const BASH = `# bash completion of holdfast. Now: eval "$(holdfast completion bash)"
# Always: holdfast completion bash > ~/.local/share/bash-completion/completions/holdfast
_holdfast() {
  local word=\${COMP_WORDS[COMP_CWORD]} lines value
  COMPREPLY=()
  lines=$("\${COMP_WORDS[0]}" complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return 0
  [ -n "$lines" ] || return 0
  [ "$word" != = ] || word=
  if [ "$lines" = :files ]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -f -- "$word")
    return 0
  fi
  while IFS=$'\\t' read -r value _; do COMPREPLY+=("$value"); done <<< "$lines"
}
complete -F _holdfast holdfast
`;

const ZSH = `#compdef holdfast
# zsh completion of holdfast. Now: source <(holdfast completion zsh)
# Always: holdfast completion zsh > a folder of $fpath/_holdfast
_holdfast() {
  local -a lines described
  local line
  lines=("\${(@f)$("\${(Q)words[1]}" complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  [[ -n "$lines[1]" ]] || return 1
  if [[ "$lines[1]" = :files ]]; then
    _files
    return
  fi
  for line in $lines; do
    described+=("\${\${line%%$'\\t'*}//:/\\\\:}\${\${(M)line%$'\\t'*}/$'\\t'/:}")
  done
  _describe holdfast described
}
if [[ "$funcstack[1]" = _holdfast ]]; then
  _holdfast "$@"
else
  compdef _holdfast holdfast
fi
`;

const FISH = `# fish completion of holdfast. Now: holdfast completion fish | source
# Always: holdfast completion fish > ~/.config/fish/completions/holdfast.fish
function __holdfast_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l lines ($words[1] complete -- $words[2..] "$word" 2>/dev/null)
    if test "$lines[1]" = :files
        __fish_complete_path (string replace -r '^--[^=]*=' '' -- "$word")
    else
        printf '%s\\n' $lines
    end
end
complete -c holdfast -f -a '(__holdfast_complete)'
`;

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

/** Adds the command to the program. */
export function addCompletionCommand(program: Command): void {
  addCommand(program, 'completion', {
    purpose: 'Prints the script that completes commands, options and names in a shell.',
    example: 'holdfast completion bash',
    isLocal: true,
  })
    .addArgument(new Argument('<shell>', 'whose script').choices(Object.keys(SCRIPTS)))
    .action((shell: string, _: object, command: Command) => {
      const script = SCRIPTS[shell] ?? '';
      contextOf(command).output.result({ shell, script }, script.trimEnd());
    });
}

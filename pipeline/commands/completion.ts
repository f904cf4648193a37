import { fileURLToPath } from 'node:url';
import { quoted } from '../shared/commands.js';
import { UsageError } from '../shared/errors.js';
import { command, pick } from './command.js';

const shells = ['bash', 'zsh', 'fish'] as const;

/** `pipeline completion`: the script by which a shell completes commands, flags, months and organizations. */
export const completion = command({
  name: 'completion [shell]',
  describe: 'Print the script by which a shell completes commands, flags, months and organizations',
  flags: {
    shell: { type: 'string', choices: shells, describe: 'The shell: bash, zsh or fish' },
    ...pick('json'),
  },
  epilogue:
    'The script asks this installation at each Tab. Months and organizations are those of the staging area that flags, environment and configuration file name, where it is a folder.',
  examples: [
    ['completion bash', 'into ~/.bashrc: eval "$(pipeline completion bash)"'],
    ['completion zsh', 'into ~/.zshrc: eval "$(pipeline completion zsh)"'],
    ['completion fish', 'into ~/.config/fish/config.fish: pipeline completion fish | source'],
  ],
  async work({ shell }) {
    if (shell === undefined)
      throw new UsageError('no shell is named', { next: `name ${shells.join(', ')}` });
    // This program and no other: what the word "pipeline" means may change from folder to folder.
    const program = [process.execPath, fileURLToPath(new URL('../cli.js', import.meta.url))];
    const script = scripts[shell](quoted([...program, 'complete', shell]));
    return Promise.resolve({
      text: () => script,
      json: () => ({ shell, script }),
      failed: false,
    });
  },
});

/** Each shell's script around the command that tells the candidates. */
const scripts: Readonly<Record<(typeof shells)[number], (ask: string) => string>> = {
  bash: (ask) => `_pipeline() {
  local IFS=$'\\n' LC_ALL=C reply
  reply=$({ ${ask} "\${COMP_LINE:0:COMP_POINT}" "$2"; } 2>/dev/null </dev/null)
  COMPREPLY=()
  case $reply in
    :files) compopt -o default 2>/dev/null ;;
    :folders) compopt -o dirnames 2>/dev/null ;;
    *)
      local line
      while read -r line; do
        [ -n "$line" ] && COMPREPLY+=("\${line%%$'\\t'*}")
      done <<<"$reply"
      ;;
  esac
}
complete -F _pipeline pipeline`,
  zsh: (ask) => `#compdef pipeline
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_pipeline() {
  local line reply tab=$'\\t'
  local -a candidates
  reply=$({ ${ask} "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" } 2>/dev/null </dev/null)
  case $reply in
    :files) compset -P '--*='; _files ;;
    :folders) compset -P '--*='; _files -/ ;;
    ?*)
      for line in "\${(@f)reply}"; do
        candidates+=("\${\${line%%$tab*}//:/\\\\:}\${\${(M)line%$tab*}/$tab/:}")
      done
      _describe pipeline candidates
      ;;
  esac
}
compdef _pipeline pipeline
[[ $funcstack[1] == _pipeline ]] && _pipeline "$@"`,
  fish: (ask) => `function __pipeline_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l typed (commandline -ct)
    set -l head (string match -r -- '^--[^=]*=' $typed)
    set -l path (string replace -r -- '^--[^=]*=' '' $typed)
    set -l reply (${ask} $words $typed 2>/dev/null </dev/null)
    switch "$reply"
        case :files
            for name in (__fish_complete_path $path)
                echo "$head$name"
            end
        case :folders
            for name in (__fish_complete_directories $path)
                echo "$head$name"
            end
        case '*'
            string join -- \\n $reply
    end
end
complete -c pipeline -f -a '(__pipeline_complete)'`,
};

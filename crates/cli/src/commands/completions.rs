//! `adit completions`.

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use clap::ValueEnum;
use clap_complete::{Shell as Known, generate};

/// The supported shells.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The script completes subcommands, options and the names that exist: devices, interfaces, namespaces, ports, \
presets, tunnels and running programs.

Example: adit completions bash > /etc/bash_completion.d/adit")]
pub(crate) struct Args {
    /// The shell to print completions for
    #[arg(value_name = "bash|zsh|fish", hide_possible_values = true)]
    shell: Shell,
}

/// What is added to the script of clap: names that exist now, by `adit complete`. Where that has none, the script
/// of clap completes.
const NAMES_BASH: &str = r#"
_adit_with_names() {
    local line=${COMP_LINE:0:COMP_POINT} words word before
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]}-1]}
    mapfile -t COMPREPLY < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        _adit "$@"
        return
    fi
    # bash replaces what follows the last ':' or '='.
    before=${word%"${word##*[:=]}"}
    [[ ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -F _adit_with_names -o nosort -o bashdefault -o default adit
"#;

const NAMES_ZSH: &str = r#"
_adit() {
    local -a names
    names=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
    if [[ -z "$names[1]" ]]; then
        _adit_static "$@"
    elif [[ "$names[1]" == *[:=] ]]; then
        compadd -S '' -a names
    else
        compadd -a names
    fi
}
"#;

const NAMES_FISH: &str = r#"
function __fish_adit_names
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    $words[1] complete -- $words[2..-1] "$word" 2>/dev/null
end
complete -c adit -a '(__fish_adit_names)'
"#;

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let shell = match self.shell {
            Shell::Bash => Known::Bash,
            Shell::Zsh => Known::Zsh,
            Shell::Fish => Known::Fish,
        };
        let mut script = Vec::new();
        generate(shell, &mut (context.program)(), "adit", &mut script);
        let script = String::from_utf8_lossy(&script);
        let script = match self.shell {
            Shell::Bash => format!("{script}{NAMES_BASH}"),
            // The function that is loaded by its name is ours, and calls that of clap.
            Shell::Zsh => {
                let begin = format!("{}\n_adit_static() {{", NAMES_ZSH.trim_end());
                script.replacen("_adit() {", begin.trim_start(), 1)
            }
            // The value of an option has candidates of its own.
            Shell::Fish => {
                let script = script.replace(" -r\n", " -r -a '(__fish_adit_names)'\n");
                format!("{script}{NAMES_FISH}")
            }
        };
        context.output.bytes(script.as_bytes())?;
        Ok(Exit::Ok)
    }
}

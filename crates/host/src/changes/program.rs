//! Programs that run to their end: hooks, nft, and what sets name servers.

use adit_device::process::unblock_signals_of;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take: hooks of users do small things; one that hangs would keep a tunnel
/// from starting, or from ending.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(5);

/// The longest output that is read.
const OUTPUT_LEN_MAX: u64 = 1 << 20;

/// Why a program failed.
#[derive(Debug)]
pub struct ProgramError {
    program: String,
    why: String,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.program, self.why)
    }
}

/// Runs a program to its end, without a shell; its output goes to standard error.
///
/// # Errors
/// The program does not exist, exits with a status other than 0, or takes longer than 30 s and is killed.
pub fn run(words: &[String], input: Option<&str>) -> Result<(), ProgramError> {
    let failed = |why: String| ProgramError { program: name(words), why };
    let mut command = command(words);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(io::stderr());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // A few lines: less than a pipe holds. A program that does not read them reports it in its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    wait(&mut child).map_err(failed)
}

/// Runs a program to its end and returns the first MiB of its output.
///
/// # Errors
/// As [`run`].
pub fn output(words: &[String]) -> Result<String, ProgramError> {
    let failed = |why: String| ProgramError { program: name(words), why };
    let mut command = command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let stdout = child.stdout.take();
    // On a thread of its own: the pipe stays open while a program hangs, and the limit must hold.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            // A part of the output is output.
            let _ = stdout.take(OUTPUT_LEN_MAX).read_to_end(&mut bytes);
        }
        bytes
    });
    wait(&mut child).map_err(failed)?;
    let bytes = reader.join().unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a program of this name is in `PATH`.
#[must_use]
pub fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn name(words: &[String]) -> String {
    words.first().cloned().unwrap_or_default()
}

/// A program with its arguments, in a process group of its own.
pub(crate) fn command(words: &[String]) -> Command {
    let mut command = Command::new(name(words));
    // In a process group of its own: Ctrl-C on the terminal is for us, and what the end undoes must be
    // undone whole.
    command.args(words.get(1..).unwrap_or_default()).process_group(0);
    // The helper blocks all, so that it ends after its worker.
    unblock_signals_of(&mut command);
    command
}

/// Waits for a program; kills it after [`TIME_MAX`].
fn wait(child: &mut Child) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < TIME_MAX {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(status.to_string()),
            Ok(None) => std::thread::sleep(POLL),
            Err(error) => return Err(error.to_string()),
        }
    }
    // Its own children too.
    let group = Pid::from_raw(child.id().try_into().unwrap_or(0));
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
    let _ = child.wait();
    Err(format!("it took longer than {} s and was killed", TIME_MAX.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_program_runs_with_its_words_and_no_shell() {
        run(&words("test $HOME = $HOME"), None).unwrap();
        run(&words("grep -q secret"), Some("a secret\n")).unwrap();
        assert!(run(&words("false"), None).unwrap_err().to_string().contains("exit status: 1"));
        assert!(run(&words("/no/such/program"), None).is_err());
        assert_eq!(output(&words("echo a b")).unwrap(), "a b\n");
        // It leads a process group of its own.
        let script = "cut -d' ' -f5 /proc/$$/stat; echo $$";
        let text = output(&["sh".into(), "-c".into(), script.into()]).unwrap();
        let (group, own) = text.trim().split_once('\n').unwrap();
        assert_eq!(group, own);
        assert!(output(&words("false")).is_err());
    }
}

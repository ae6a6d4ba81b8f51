//! `adit report`.

use crate::support::{ADIT, adit, bare, enter, text, try_adit, validate};
use crate::terminal::Terminal;
use std::os::unix::fs::PermissionsExt;

/// A folder with files that are full of secrets.
struct Files {
    folder: std::path::PathBuf,
    secrets: Vec<String>,
}

impl Files {
    fn new(name: &str) -> Self {
        enter();
        let folder =
            std::env::temp_dir().join(format!("adit-report-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (key, psk) = (adit("tunnel genkey"), adit("tunnel genpsk"));
        let (key, psk) = (key.trim().to_owned(), psk.trim().to_owned());
        let conf = format!(
            "[Interface]\nPrivateKey = {key} # {key}\nListenPort = 51821\nPostUp = curl -H 'Token: tok-4711'\n\
             [Peer]\nPublicKey = {psk}\nPresharedKey = {psk}\n"
        );
        let lab = format!("token = \"tok-4711\"\nmtu = 1400\nnote = \"{key}\"\n");
        std::fs::write(folder.join("site.conf"), conf).unwrap();
        std::fs::write(folder.join("lab.toml"), lab).unwrap();
        Self { folder, secrets: vec![key, psk, "tok-4711".to_owned()] }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Fails if a secret, or a part of a key, is in the text.
    fn assert_hidden(&self, text: &str) {
        for secret in &self.secrets {
            let part = secret.get(..20).unwrap_or(secret);
            assert!(!text.contains(part), "{secret}: {text}");
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_report_has_all_parts_and_no_secret() {
    let files = Files::new("parts");
    let (conf, lab, out) = (files.path("site.conf"), files.path("lab.toml"), files.path("out.txt"));
    let printed = try_adit(&["report", "--output", "-", &conf, &lab, "/run/none.toml"]);
    let printed = text(&printed.stdout);
    files.assert_hidden(&printed);
    for part in [
        "== versions",
        "kernel: Linux",
        "== adit doctor",
        "== adit status",
        "ListenPort = 51821",
        "mtu = 1400",
        "/run/none.toml",
        "cannot be read",
        "== journal",
    ] {
        assert!(printed.replace("kernel: ", "kernel: Linux").contains(part), "{part}: {printed}");
    }
    // Without a terminal it wants --yes, and then writes a file for its user alone, and none over another.
    let refused = try_adit(&["report", "--output", &out, &conf]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(!std::path::Path::new(&out).exists());
    let written = try_adit(&["report", "--yes", "--output", &out, &conf]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    assert_eq!(text(&written.stdout).trim(), out);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    files.assert_hidden(&std::fs::read_to_string(&out).unwrap());
    assert!(!try_adit(&["report", "--yes", "--output", &out]).status.success(), "it exists");
    let json = text(&try_adit(&["-j", "report", &conf]).stdout);
    files.assert_hidden(&json);
    validate(&[("report", json)]);
}

#[test]
fn a_report_is_shown_before_it_is_written() {
    let files = Files::new("asks");
    let (conf, out) = (files.path("site.conf"), files.path("out.txt"));
    for (answer, is_written) in [("n", false), ("y", true)] {
        let mut command = bare(ADIT);
        command.args(["report", "--output", &out, &conf]);
        let mut terminal = Terminal::run(command, 120, 60);
        let lines = terminal.wait("the question", |lines| {
            lines.iter().any(|line| line.contains("Write this to") && line.contains("[y/N]"))
        });
        assert!(lines.iter().any(|line| line.contains("ListenPort = 51821")), "{lines:#?}");
        assert!(!std::path::Path::new(&out).exists(), "before the answer");
        terminal.press(&format!("{answer}\n"));
        assert_eq!(terminal.end().success(), is_written);
        assert_eq!(std::path::Path::new(&out).exists(), is_written);
    }
}

//! `adit man`: man(1) shows each page without a warning.

use crate::support::{adit, command, text};
use std::fs;
use std::path::Path;

#[test]
fn man_shows_every_page_without_a_warning() {
    let folder = std::env::temp_dir().join(format!("adit-man-{}", std::process::id()));
    adit(&format!("man {}", folder.display()));
    let warnings = |page: &Path| {
        let mut man = command(["man", "--warnings", "-l"]);
        let output =
            man.arg(page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100").output().unwrap();
        assert!(output.status.success(), "{}: {}", page.display(), text(&output.stderr));
        assert!(text(&output.stdout).contains("SEE ALSO"), "{}", page.display());
        text(&output.stderr)
    };
    let mut count = 0;
    for page in fs::read_dir(&folder).unwrap() {
        let page = page.unwrap().path();
        assert_eq!(warnings(&page), "", "{}", page.display());
        count += 1;
    }
    assert!(count > 40, "{count} pages");
    fs::remove_dir_all(folder).unwrap();
    assert!(adit("man").contains(".SH \"EXIT STATUS\""));
}

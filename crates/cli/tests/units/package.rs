//! What packages are made of: files, the list of components, the profile of AppArmor, the manifests of the crates.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn manifest(folder: &Path) -> toml::Table {
    std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Each file of the package is in the tree, or made by packaging/build.sh; each file of `packaging` is in the package.
/// `.ci/package.sh` compares the package itself.
#[test]
fn the_package_has_files_that_are_there() {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = manifest(cli);
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().unwrap();
    let paths: Vec<_> = assets.iter().map(|asset| asset[0].as_str().unwrap()).collect();
    let script = std::fs::read_to_string(root().join("packaging/build.sh")).unwrap();
    let mut packed = BTreeSet::new();
    for path in paths {
        let (folder, name) = path.rsplit_once('/').unwrap();
        if let Some(made) = folder.strip_prefix("../../target/package") {
            let word = if name.contains('*') { made.trim_start_matches('/') } else { name };
            assert!(script.contains(word), "packaging/build.sh does not make {path}");
        } else if folder.starts_with("../../") {
            let ending = name.strip_prefix('*');
            let is_meant =
                |found: &&String| ending.map_or(*found == name, |it| found.ends_with(it));
            let there = names(&cli.join(folder));
            let meant: Vec<_> = there.iter().filter(is_meant).collect();
            assert!(!meant.is_empty(), "{path} is not there");
            packed.extend(meant.iter().map(|name| format!("{folder}/{name}")));
        }
    }
    for folder in ["../../packaging/systemd", "../../packaging/apparmor"] {
        for name in names(&cli.join(folder)) {
            assert!(packed.contains(&format!("{folder}/{name}")), "{name} is not in the package");
        }
    }
}

/// The list of components is valid, agrees with Cargo.lock, and has no crate of tests. `.ci/package.sh` compares it with
/// the program.
#[test]
fn the_list_of_components_agrees_with_the_lock_file() {
    let output = Command::new(root().join("packaging/sbom.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let lock: toml::Table =
        std::fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let locked = |name: &str, version: &str| {
        let mut packages = lock["package"].as_array().unwrap().iter();
        packages
            .find(|it| it["name"].as_str() == Some(name) && it["version"].as_str() == Some(version))
    };
    let mut listed = BTreeSet::new();
    let mut references = BTreeSet::from([concat!("pkg:cargo/adit@", env!("CARGO_PKG_VERSION"))]);
    for component in list["components"].as_array().unwrap() {
        let text = |key: &str| component[key].as_str().unwrap();
        let (name, version) = (text("name"), text("version"));
        let package = locked(name, version).unwrap_or_else(|| panic!("{name} {version}"));
        let checksum = package.get("checksum").and_then(toml::Value::as_str);
        assert_eq!(component["hashes"][0]["content"].as_str(), checksum, "{name}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
        references.insert(text("purl"));
        listed.insert(format!("{name}-{version}"));
    }
    for entry in list["dependencies"].as_array().unwrap() {
        let on = entry["dependsOn"].as_array().unwrap();
        for reference in on.iter().chain([&entry["ref"]]) {
            assert!(references.contains(reference.as_str().unwrap()), "{reference}");
        }
    }
    for name in names(&root().join("crates")).iter().filter(|name| *name != "cli") {
        let name = format!("adit-{name}-{}", env!("CARGO_PKG_VERSION"));
        assert!(listed.contains(&name), "{name}");
    }
    for other in ["proptest-", "palette-", "defmt-"] {
        assert!(!listed.iter().any(|name| name.starts_with(other)), "{other} is for tests alone");
    }
}

/// apparmor_parser compiles the profile, with the programs that the units run.
#[test]
fn the_profile_of_apparmor_is_valid_and_lets_units_run_their_programs() {
    let file = root().join("packaging/apparmor/adit-service");
    let words = ["--skip-kernel-load", "--skip-cache"];
    let output = Command::new("apparmor_parser").args(words).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let profile = std::fs::read_to_string(&file).unwrap();
    let folder = root().join("packaging/systemd");
    let mut programs = BTreeSet::new();
    for unit in names(&folder).iter().filter(|name| name.ends_with(".service")) {
        let text = std::fs::read_to_string(folder.join(unit)).unwrap();
        if !text.contains("AppArmorProfile=-adit-service\n") {
            continue;
        }
        // A `+` means root, without the profile.
        for line in text.lines().filter(|line| line.starts_with("Exec") && !line.contains("=+")) {
            let words = line.split(['=', ' ', '\'', ';']);
            let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
            programs.insert(words[1].rsplit('/').next().unwrap().to_owned());
        }
    }
    let expected = ["adit", "sh"].map(str::to_owned);
    assert_eq!(programs, BTreeSet::from(expected));
    // What the program runs: packet filter, name servers, the compiler of a mirror's filter.
    for program in
        programs.iter().map(String::as_str).chain(["nft", "resolvectl", "resolvconf", "tcpdump"])
    {
        let is_one = |line: &str| {
            line.trim_end().ends_with(" mrix,")
                && line.split(['/', '{', '}', ',', ' ']).any(|word| word == program)
        };
        assert!(profile.lines().any(is_one), "{program} may not be run");
    }
}

/// A crate has what crates.io asks for and shows.
#[test]
fn crates_have_what_a_registry_shows() {
    for name in names(&root().join("crates")) {
        let folder = root().join("crates").join(&name);
        let manifest = manifest(&folder);
        let package = manifest["package"].as_table().unwrap();
        let has = |key: &str| package.contains_key(key);
        for key in [
            "description",
            "documentation",
            "keywords",
            "categories",
            "license",
            "repository",
            "rust-version",
        ] {
            assert!(has(key), "{name} has no {key}");
        }
        let keywords = package["keywords"].as_array().unwrap();
        assert!((1..=5).contains(&keywords.len()), "{name}: crates.io takes at most five keywords");
        let readme = package.get("readme").map_or("README.md", |it| it.as_str().unwrap());
        for file in [readme, "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(folder.join(file).is_file(), "{name} has no {file}");
        }
    }
}

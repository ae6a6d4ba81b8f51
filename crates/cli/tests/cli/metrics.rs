//! Metrics: the manual, the dashboard and the alert rules name what there is.

use crate::support::text;
use adit_service::metrics::families::{Type, all};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MARK: &str = "--test cli metrics -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn monitoring(name: &str) -> PathBuf {
    root().join("docs/monitoring").join(name)
}

/// The names that a query may use.
fn known() -> BTreeSet<String> {
    let names = |family: adit_service::metrics::families::Family| {
        let name = family.query_name();
        match family.kind {
            Type::Histogram => ["_bucket", "_sum", "_count"].map(|end| name.clone() + end).to_vec(),
            _ => vec![name],
        }
    };
    all().flat_map(names).collect()
}

/// The names of metrics in a query.
fn named(query: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(|c: char| !is_word(c));
    let ours = words.filter(|word| word.starts_with("adit_") || word.starts_with("wireguard_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn the_page_lists_every_metric() {
    let path = root().join("docs/src/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (above, table) = page.split_once(MARK).expect("the page has the mark");
    let row = |family: adit_service::metrics::families::Family| {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, labels, help) = (family.query_name(), labels.join(" "), family.help);
        format!("| `{name}` | {kind} | {labels} | {help} |\n")
    };
    let rows: String = all().map(row).collect();
    let expected = format!("\n| name | type | labels beside `name` | |\n|---|---|---|---|\n{rows}");
    if std::env::var_os("ADIT_BLESS").is_some() {
        fs::write(&path, format!("{above}{MARK}{expected}")).unwrap();
        return;
    }
    assert_eq!(table, expected, "ADIT_BLESS=1 writes it");
}

/// Grafana takes it as it is: the data source is a variable, and no name in it is ours alone.
#[test]
fn the_dashboard_names_metrics_that_exist() {
    let text = fs::read_to_string(monitoring("grafana-dashboard.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let mut names = BTreeSet::new();
    let mut targets = 0;
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
            names.extend(named(target["expr"].as_str().unwrap()));
            targets += 1;
        }
    }
    let variables = board["templating"]["list"].as_array().unwrap();
    assert_eq!(
        (&variables[0]["name"], &variables[0]["type"]),
        (&"datasource".into(), &"datasource".into())
    );
    names.extend(named(variables[1]["definition"].as_str().unwrap()));
    assert!(targets > 20 && names.len() > 20, "{targets} {names:?}");
    let unknown: Vec<_> = names.difference(&known()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
    assert!(board.get("id").is_none() && board.get("__inputs").is_none(), "it needs no edit");
}

#[test]
fn the_alert_rules_are_valid_and_tested() {
    let rules = fs::read_to_string(monitoring("alerts.yml")).unwrap();
    let unknown: Vec<_> = named(&rules).difference(&known()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
    for words in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts-test.yml"]] {
        let mut promtool = Command::new("promtool");
        let output = promtool.args(words).current_dir(monitoring("")).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}

//! The emulation of links by the kernel's netem, as far as it goes.

use super::ends::{one_line, pairs, quoted};
use crate::plan::Plan;
use adit_engine::netem::{Loss, Profile, Rate};
use adit_service::netem::keys::to_json;
use std::fmt::Write as _;

/// Adds the links that netem emulates; an effect that it does not have is added to `missing`.
pub(super) fn write(text: &mut String, plan: &Plan, missing: &mut Vec<String>) {
    let mut lines = String::new();
    for (index, link) in plan.lab.links.iter().enumerate() {
        let Some(profiles) = &link.netem else { continue };
        for (end, profile) in [(0, &profiles.a_to_b), (1, &profiles.b_to_a)] {
            let pairs = pairs(plan, index);
            let (options, mut others) = options(profile);
            if pairs.len() > 1 {
                others.push("what VLANs share".to_owned());
            }
            let others = others.iter().filter(|_| !pairs.is_empty());
            let others = others.map(|other| format!("{other} of link {}", link.name));
            for other in others {
                if !missing.contains(&other) {
                    missing.push(other);
                }
            }
            for pair in pairs.iter().filter(|_| !options.is_empty()) {
                let made = &pair.ends[end];
                writeln!(lines, "emulate {} {}{options}", made.namespace, quoted(&made.interface))
                    .expect("a string takes all");
            }
        }
    }
    if !lines.is_empty() {
        *text += "\nemulate() {\n  node=$1 interface=$2\n  shift 2\n  \
                  tc -n \"$node\" qdisc add dev \"$interface\" root netem limit 10000 \"$@\" ||\n    \
                  echo \"$node $interface: not emulated: $*\" >&2\n}\n";
        *text += &lines;
    }
}

/// The options of netem, and the keys of a profile that it does not have.
fn options(profile: &Profile) -> (String, Vec<String>) {
    let mut options = String::new();
    let mut known = vec!["delay", "keep-order", "limit-packets", "limit-bytes"];
    if !profile.delay.base.is_zero() {
        options += &format!(" delay {}us", profile.delay.base.as_micros());
    }
    if let Loss::Random { share } = profile.loss {
        options += &format!(" loss {}%", share * 100.0);
        known.push("loss");
    }
    if profile.duplicate > 0.0 {
        options += &format!(" duplicate {}%", profile.duplicate * 100.0);
        known.push("duplicate");
    }
    if let Rate::Fixed(rate) = profile.rate {
        options += &format!(" rate {}bit", rate.bits_per_second());
        known.push("rate");
    }
    let others = to_json(profile).into_iter().filter(|(key, _)| !known.contains(&key.as_str()));
    let shown = |(key, value): (String, serde_json::Value)| {
        one_line(&format!("{key} {}", value.as_str().unwrap_or_default()))
    };
    (options, others.map(shown).collect())
}

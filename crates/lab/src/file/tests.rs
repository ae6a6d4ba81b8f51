use super::{Setting, of_source};
use crate::plan::Plan;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use proptest::prelude::{any, proptest};

fn read_with(text: &str, settings: &[&str]) -> Result<Plan, Vec<String>> {
    let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
    let (source, problems) = (Source::new("lab.toml", text), Problems::default());
    let plan = of_source(&source, &settings, 1, &problems).map(|(plan, _)| plan);
    let list: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
    if list.is_empty() { Ok(plan.expect("no problem, so a plan")) } else { Err(list) }
}

fn read(text: &str) -> Plan {
    read_with(text, &[]).unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
}

fn problems(text: &str) -> String {
    read_with(text, &[]).expect_err("something is wrong").join("\n")
}

fn addresses(plan: &Plan, name: &str) -> Vec<String> {
    let station = plan.station(&name.parse().unwrap()).unwrap();
    let all = station.interfaces.iter().flat_map(|interface| &interface.addresses);
    all.map(ToString::to_string).collect()
}

fn ends(plan: &Plan) -> Vec<String> {
    let links = plan.lab.links.iter().enumerate();
    let text = |(place, link): (usize, &crate::model::Link)| {
        format!("{}: {} {}", link.name, plan.end_text(place, 0), plan.end_text(place, 1))
    };
    links.map(text).collect()
}

#[test]
fn a_group_is_linked_to_one_node_or_to_a_group_of_its_size() {
    let plan = read(
        r#"
        [switch.lan]
        [host.h]
        count = 3
        address = "10.5.0.1{n}/24"
        [router.r]
        count = 3
        [host.gw]
        address = "10.5.0.{n}0/24"
        count = 1
        [[link]]
        ends = ["h", "lan"]
        [[link]]
        ends = ["r[1-2]:up", "r[2-3]:down"]
        name = "chain"
        [[link]]
        ends = ["lan", "r1:eth7"]
        "#,
    );
    let expected = [
        "h1-lan: h1:eth0 lan",
        "h2-lan: h2:eth0 lan",
        "h3-lan: h3:eth0 lan",
        "chain1: r1:up r2:down",
        "chain2: r2:up r3:down",
        "lan-r1: lan r1:eth7",
    ];
    assert_eq!(ends(&plan), expected);
    assert_eq!(addresses(&plan, "h2"), ["10.5.0.12/24", "fd00:ad17::c/64"]);
    assert_eq!(addresses(&plan, "r1")[2], "10.5.0.254/24");
    assert_eq!(
        plan.station(&"gw1".parse().unwrap()).unwrap().loopback[0].to_string(),
        "10.5.0.10/24"
    );
}

#[test]
fn a_parameter_has_its_value_of_the_file_or_of_the_command_line() {
    let text = r#"
        [parameters]
        delay = "20ms"
        n = 2
        [host.h]
        count = "${n}"
        run = "echo $${HOME} ${delay}"
        [[link]]
        ends = ["h1", "h2"]
        delay = "${delay}"
        "#;
    let plan = read_with(text, &["delay=80ms"]).unwrap();
    let netem = plan.lab.links[0].netem.as_ref().unwrap();
    assert_eq!(netem.a_to_b.delay.base.as_millis(), 80);
    let run = &plan.lab.nodes[0].as_host().unwrap().programs[0];
    assert_eq!(run.words, ["sh", "-c", "echo ${HOME} 80ms"]);
    let wrong = read_with(text, &["dlay=80ms"]).unwrap_err().join("\n");
    let expected =
        "--set:1:1: no parameter is called `dlay`\n 1 | dlay\n   | ^^^^ did you mean `delay`?";
    assert_eq!(wrong, expected);
}

#[test]
fn all_mistakes_are_reported_at_once_with_their_places() {
    let found = problems(
        r#"[host.a]
adress = "192.0.2.1/24"
[host.b]
address = "10.0.0.5"
[host.c.interface.eth0]
address = "10.0.0.7/24"
[host.d]
address = "10.0.0.7/24"
[switch.lan]
agein = "3s"
[[link]]
ends = ["c", "lna"]
[[link]]
ends = ["d", "c"]
delay = "${dely}"
vlan = 3
"#,
    );
    let expected = r#"lab.toml:2:1: unknown key `adress` in [host.a]
 2 | adress = "192.0.2.1/24"
   | ^^^^^^ did you mean `address`?
lab.toml:4:11: `address` has no prefix length
 4 | address = "10.0.0.5"
   |           ^^^^^^^^^^ did you mean "10.0.0.5/24"?
lab.toml:7:7: 'c' and 'd' have the same address 10.0.0.7
 7 | [host.d]
   |       ^
lab.toml:10:1: unknown key `agein` in [switch.lan]
 10 | agein = "3s"
    | ^^^^^ did you mean `ageing`?
lab.toml:12:14: `ends` lead nowhere: no node is called 'lna'
 12 | ends = ["c", "lna"]
    |              ^^^^^ did you mean `lan`?
lab.toml:15:9: no parameter is called `dely`
 15 | delay = "${dely}"
    |         ^^^^^^^^^ the file has no [parameters]; `$${dely}` is `${dely}` itself
lab.toml:16:8: `vlan` is for a link to a switch
 16 | vlan = 3
    |        ^ neither end is a switch"#;
    assert_eq!(found, expected);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[?(host|link|switch|nat)\\]?\\]?|[a-z=\\[\\]\"{}$:,0-9\\n. -]){0,80}", seed in any::<u64>()) {
        let (source, problems) = (Source::new("lab.toml", text), Problems::default());
        let _ = of_source(&source, &[], seed, &problems);
    }
}

#[test]
fn steps_name_what_the_file_makes() {
    let text = r#"
        [parameters]
        most = "20ms"
        [host.h]
        count = 2
        [switch.lan]
        [[link]]
        ends = ["h", "lan"]
        [[step]]
        set = { link = "h1-lan", delay = "1ms" }
        expect = ["ping h1 h2 within ${most}"]
        [[step]]
        expect = "ping h1 h3"
    "#;
    let (source, problems) = (Source::new("lab.toml", text), Problems::default());
    let (plan, scenario) = of_source(&source, &[], 1, &problems).unwrap();
    assert_eq!(scenario.steps[0].expect[0].text, "ping h1 h2 within 20ms");
    // What a step sets is emulated from the start.
    assert_eq!(plan.cables[0].medium, crate::plan::Medium::Port(0));
    assert!(plan.lab.links[0].netem.is_some() && plan.lab.links[1].netem.is_none());
    let problems = problems.into_list();
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.message.contains("unknown node: `h3`"), "{problem:?}");
    assert_eq!(problem.line, 13);
}

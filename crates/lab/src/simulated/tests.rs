use super::play::{Play, Recording};
use super::{Virtual, limits};
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_topology::file::of_source;
use adit_topology::plan::Plan;
use adit_topology::scenario::Scenario;
use adit_topology::scenario::report::{Measured, Outcome, Report};
use adit_topology::scenario::world::World;
use std::fs;
use std::time::Duration;

fn read(text: &str) -> (Plan, Scenario) {
    let (source, problems) = (Source::new("lab.toml", text), Problems::default());
    let read = of_source(&source, &[], 1, &problems);
    let problems: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    read.unwrap()
}

fn play(text: &str, seed: u64) -> Report {
    let (plan, scenario) = read(text);
    Play { plan: &plan, scenario: &scenario }.once(seed, &Recording::default(), |_| ()).unwrap()
}

/// Each expectation with its outcome.
fn outcomes(report: &Report) -> Vec<(&str, Outcome)> {
    report.entries().map(|(_, entry)| (entry.text.as_str(), entry.outcome)).collect()
}

fn passes(text: &str) -> Report {
    let report = play(text, 1);
    assert!(report.passed, "{:#?}", report.steps);
    assert!(report.entries().all(|(_, entry)| entry.outcome == Outcome::Passed), "{report:#?}");
    report
}

const DUMBBELL: &str = r#"
    name = "dumbbell"
    [host.h]
    count = 4
    [router.left]
    [router.right]
    [[link]]
    ends = ["h1", "left"]
    [[link]]
    ends = ["h2", "left"]
    [[link]]
    name = "bottleneck"
    ends = ["left", "right"]
    rate = "10mbit"
    delay = "20ms"
    queue-limit = "64KiB"
    [[link]]
    ends = ["right", "h3"]
    [[link]]
    ends = ["right", "h4"]
"#;

#[test]
fn a_dumbbell_carries_what_its_bottleneck_does() {
    let report = passes(&format!(
        "{DUMBBELL}
        [[step]]
        expect = ['ping h1 h3 within 41ms', 'ping6 h2 h4 within 41ms', 'route h1 to h4 via left right', 'ping h1 h3 loss <= 1%']
        [[step]]
        expect = ['throughput h1 h3 >= 8.5mbit <= 9.7mbit', 'transfer h2 h4 1MB within 1.2s']
        [[step]]
        traffic = [
          {{ name = 'one', from = 'h1', to = 'h3', for = '10s' }},
          {{ name = 'two', from = 'h2', to = 'h4', bytes = '4MB', streams = 2 }},
          {{ name = 'udp', from = 'h4', to = 'h2', for = '5s', protocol = 'udp', rate = '2mbit' }},
          {{ name = 'slow', from = 'h3', to = 'h1', for = '5s', rate = '1mbit' }},
        ]
        expect = ['traffic one >= 2mbit', 'traffic two >= 2mbit within 20s', 'traffic udp >= 1.9mbit <= 2mbit', 'traffic slow >= 950kbit <= 1mbit']"
    ));
    let total: u64 = report
        .entries()
        .filter_map(|(_, entry)| match &entry.measured {
            Some(Measured::Transfer { bytes, .. }) if entry.text.starts_with("traffic two") => {
                Some(*bytes)
            }
            _ => None,
        })
        .sum();
    assert_eq!(total, 4_000_000, "every byte of both streams");
}

#[test]
fn what_fails_is_found_and_what_heals_works_again() {
    passes(&format!(
        "{DUMBBELL}
        [[step]]
        expect = 'ping h1 h3'
        [[step]]
        at = '2s'
        fail = 'bottleneck'
        expect = ['ping h1 h3 never', 'ping h1 h2', 'ping h4 h3']
        [[step]]
        heal = 'all'
        expect = 'ping h1 h3'
        [[step]]
        fail = 'left'
        expect = ['ping h1 h2 never', 'ping h3 h4']
        [[step]]
        heal = 'left'
        partition = ['h1', 'left']
        expect = ['ping h1 h3 never', 'ping h1 h2 never', 'ping h3 h4']
        [[step]]
        heal = 'all'
        set = {{ link = 'bottleneck', delay = '50ms', loss = '20%' }}
        expect = ['ping h1 h3 within 102ms by 10s', 'ping h1 h3 loss <= 60%']"
    ));
    let report = play(
        &format!(
            "{DUMBBELL}
            [[step]]
            fail = 'bottleneck'
            expect = ['ping h1 h3', 'throughput h1 h3 >= 1mbit for 1s', 'transfer h1 h3 1MB within 1s', 'route h1 to h3 via right by 1s']"
        ),
        1,
    );
    let failed = report.entries().filter(|(_, entry)| entry.outcome == Outcome::Failed).count();
    assert_eq!((report.passed, failed), (false, 4), "{:#?}", outcomes(&report));
}

#[test]
fn switches_vlans_and_hosts_with_many_interfaces_are_simulated() {
    passes(
        r#"
        [host.staff]
        count = 2
        address = "10.10.0.{n}/24"
        [host.guest]
        address = ["10.20.0.1/24"]
        [host.multi]
        [host.peer]
        [router.core.interface.staff]
        address = ["10.10.0.254/24"]
        [router.core.interface.guests]
        address = ["10.20.0.254/24"]
        [switch.a]
        loop-guard = true
        [switch.b]
        loop-guard = true
        [[link]]
        ends = ["staff1", "a"]
        vlan = 10
        [[link]]
        ends = ["guest", "a"]
        vlan = 20
        [[link]]
        ends = ["staff2", "b"]
        vlan = 10
        [[link]]
        ends = ["core:staff", "b"]
        vlan = 10
        [[link]]
        ends = ["core:guests", "b"]
        vlan = 20
        [[link]]
        ends = ["a", "b"]
        [[link]]
        ends = ["a", "b"]
        [[link]]
        ends = ["multi", "core"]
        [[link]]
        ends = ["multi", "peer"]
        [[step]]
        expect = [
          "ping staff1 staff2 by 20s", "route staff2 to guest via core by 20s", "ping multi guest by 20s",
          "route multi to peer not via core", "ping core guest", "ping guest core", "ping6 multi core",
        ]
        "#,
    );
}

#[test]
fn a_nat_answers_at_its_gateway() {
    let (plan, _) = read(
        "[host.pc]
        [nat.internet]
        [[link]]
        ends = ['pc', 'internet']",
    );
    let mut world = Virtual::new(&plan).unwrap();
    let gateway = plan.outlets[0].gateways[0].ip();
    let host = world.host(&"pc".parse().unwrap()).unwrap();
    let ping = world.sim_mut().ping(host, gateway);
    world.wait_until(Duration::from_secs(1)).unwrap();
    assert!(world.sim().rtt(ping).is_some(), "{}", world.sim().trace());
    assert_eq!(limits::lacks(&plan), ["internet: nobody answers outside"]);
}

#[test]
fn a_tunnel_carries_what_its_ends_send_over_the_links_between_them() {
    let text = "[host.a]
        [host.b]
        [router.r]
        [[link]]
        ends = ['a', 'r']
        [[link]]
        ends = ['r', 'b']
        delay = '10ms'
        [[tunnel]]
        name = 't'
        ends = ['a', 'b']";
    let (plan, _) = read(text);
    let [a, b] = plan.tunnels[0].ends.each_ref().map(|end| end.addresses[0].ip());
    let report = passes(&format!(
        "{text}
        [[step]]
        expect = ['ping a {b} within 21ms by 1s', 'ping b {a} within 21ms', 'route a to {b} not via r']
        [[step]]
        fail = 'r-b'
        expect = 'ping a {b} never'
        [[step]]
        heal = 'all'
        expect = 'ping a {b} by 10s'"
    ));
    assert_eq!(report.entries().count(), 7);
    let mut world = Virtual::new(&plan).unwrap();
    let host = world.host(&"a".parse().unwrap()).unwrap();
    let ping = world.sim_mut().ping(host, b);
    world.wait_until(Duration::from_secs(1)).unwrap();
    assert!(world.sim().rtt(ping).is_some());
    let trace = world.sim().trace().to_string();
    let at_links =
        trace.lines().filter(|line| line.contains(" > b:0 ") || line.contains(" b:0 > "));
    let (encrypted, plain): (Vec<_>, Vec<_>) = at_links
        .filter(|line| !line.contains(" arp"))
        .partition(|line| line.contains(" udp 51820"));
    assert!(encrypted.len() >= 4 && plain.is_empty(), "a handshake and a ping: {trace}");
    assert!(limits::lacks(&plan).is_empty());
    // Each seed has keys of its own.
    let key = |plan: &Plan| plan.tunnels[0].ends[0].private_key.to_base64().to_string();
    assert_ne!(key(&plan), key(&plan.reseeded(9)));
}

#[test]
fn what_is_not_simulated_is_said_and_skipped() {
    let text = r#"
        [host.a]
        run = ["sleep 1d"]
        sysctl = { "net.ipv4.tcp_congestion_control" = "bbr", "net.ipv4.ip_default_ttl" = "9" }
        [router.r]
        routing = "bird:ospf"
        [guest.vm]
        kernel = "/boot/vmlinuz"
        [outside.up]
        port = "tap:x"
        [switch.lan]
        [[link]]
        ends = ["a", "r"]
        [[link]]
        ends = ["r", "lan"]
        [[link]]
        ends = ["vm", "lan"]
        [[link]]
        ends = ["up", "lan"]
        [[step]]
        run = { node = "a", command = "true" }
        traffic = { name = "fast", from = "a", to = "r", bytes = "1MB", congestion = "bbr" }
        expect = ["run a false", "throughput a r >= 1mbit using bbr", "traffic fast", "ping a vm", "ping a r"]
    "#;
    let report = play(text, 1);
    use Outcome::{Passed, Skipped};
    let outcomes: Vec<_> = report.entries().map(|(_, entry)| entry.outcome).collect();
    assert_eq!(outcomes, [Skipped, Skipped, Skipped, Skipped, Skipped, Skipped, Passed]);
    assert!(report.passed);
    let lacks = limits::lacks(&read(text).0).join("\n");
    for expected in [
        "a: the program",
        "a: TCP uses 'reno', not 'bbr'",
        "(1)",
        "r: its routing daemon is a model",
        "vm: the guest",
        "up: the port",
    ] {
        assert!(lacks.contains(expected), "{expected}: {lacks}");
    }
}

#[test]
fn the_same_seed_is_the_same_to_the_nanosecond_and_another_is_not() {
    let text = format!(
        "{DUMBBELL}
        [[step]]
        set = {{ link = 'bottleneck', loss = '2%', jitter = '3ms' }}
        traffic = {{ from = 'h1', to = 'h3', bytes = '200kB' }}
        [[step]]
        after = '3s'
        expect = 'ping h2 h4'"
    );
    let (plan, scenario) = read(&text);
    let folder = std::env::temp_dir().join(format!("adit-simulated-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let run = |seed: u64, name: &str| {
        let trace = folder.join(name);
        let capture = folder.join(format!("{name}.d"));
        let recording = Recording { trace: Some(trace.clone()), capture: Some(capture.clone()) };
        let play = Play { plan: &plan, scenario: &scenario };
        let report = play.once(seed, &recording, |_| ()).unwrap();
        let packets = fs::read(capture.join("bottleneck.pcapng")).unwrap();
        (report, fs::read_to_string(trace).unwrap(), packets)
    };
    let (first, again, other) = (run(7, "first"), run(7, "again"), run(8, "other"));
    fs::remove_dir_all(&folder).unwrap();
    assert!(first == again, "the same packets");
    assert_ne!(first.1, other.1);
    assert!(first.1.lines().count() > 500, "all events, from the first one on");
    assert!(first.2.len() > 200_000);
}

#[test]
fn many_seeds_run_on_many_threads() {
    let (plan, scenario) = read(&format!(
        "{DUMBBELL}
        [[step]]
        set = {{ link = 'bottleneck', loss = '30%' }}
        expect = 'ping h1 h3 loss <= 5% count 1 by 1ms'"
    ));
    let play = Play { plan: &plan, scenario: &scenario };
    let mut results = Vec::new();
    play.seeds(64, 2, |report| {
        results.push((report.seed, report.passed));
        true
    })
    .unwrap();
    results.sort_unstable();
    assert_eq!(results.len(), 64);
    let failed = results.iter().filter(|(_, passed)| !passed).count();
    assert!((10..60).contains(&failed), "{failed} of 64 lose one of some packets");
    for &(seed, passed) in &results[..8] {
        let report = play.once(seed, &Recording::default(), |_| ()).unwrap();
        assert_eq!(report.passed, passed, "seed {seed}");
    }
    let mut runs = 0;
    play.seeds(64, 1, |_| {
        runs += 1;
        runs < 3
    })
    .unwrap();
    assert_eq!(runs, 3);
}

#[test]
fn routing_daemons_find_another_way() {
    let report = play(
        "[router.r]
        count = 4
        routing = 'bird:ospf'
        [host.a]
        [host.b]
        [[link]]
        ends = ['a', 'r1']
        [[link]]
        ends = ['r1', 'r2']
        [[link]]
        ends = ['r2', 'r4']
        [[link]]
        ends = ['r1', 'r3']
        cost = 5
        [[link]]
        ends = ['r3', 'r4']
        [[link]]
        ends = ['r4', 'b']
        [[step]]
        expect = 'route a to b via r1 r2 r4'
        [[step]]
        fail = 'r2'
        expect = ['ping a b never', 'route a to b via r1 r3 r4', 'ping6 a b', 'ping b a']
        [[step]]
        heal = 'all'
        expect = ['route a to b via r1 r2 r4']",
        1,
    );
    assert!(report.passed, "{report:#?}");
}

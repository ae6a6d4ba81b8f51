//! Each command once, in text and in JSON.

use crate::support::{adit, adit_json, enter, json, refused, run, text, try_adit};
use serde_json::{Value, json as value};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn add_prints_the_name_that_the_device_got() {
    enter();
    assert_eq!(adit("dev add tun7 --mode tun"), "tun7\n");
    assert_eq!(adit("dev add tap%d --mode tap"), "tap0\n");
    assert_eq!(adit("dev add tap%d --mode tap"), "tap1\n");
    let device = adit_json("dev add vpn%d --mode tun --mtu 1280");
    assert_eq!((&device["ifname"], &device["mtu"]), (&Value::from("vpn0"), &Value::from(1280)));
    // Without an owner anybody could attach to it.
    assert_eq!(device["linkinfo"]["info_data"]["user"], "root");
    assert_eq!(device["linkinfo"]["info_data"]["persist"], true);
}

#[test]
fn add_does_all_that_was_asked() {
    enter();
    run("ip link add br0 type bridge");
    adit(
        "dev add tun0 --mode tun --addr 192.0.2.1 --peer 192.0.2.2 --addr 2001:db8::1/64,nodad --route 198.51.100.0/24,via=192.0.2.2,metric=7 --route default,via=2001:db8::2 --mtu 1400 --up",
    );
    let routes = run("ip route show dev tun0");
    assert!(routes.contains("198.51.100.0/24 via 192.0.2.2 proto 77 metric 7"), "{routes}");
    let routes = run("ip -6 route show dev tun0");
    assert!(routes.contains("default via 2001:db8::2"), "{routes}");
    let shown = &json("ip -j addr show tun0")[0];
    assert_eq!(shown["mtu"], 1400);
    assert_eq!(shown["addr_info"][0]["address"], "192.0.2.2");
    adit("dev add tap0 --mode tap --master br0 --mac 02:00:00:00:00:07 --alias x --index 99 --up");
    let shown = &json("ip -j link show tap0")[0];
    assert_eq!((&shown["master"], &shown["ifindex"]), (&Value::from("br0"), &Value::from(99)));
    assert_eq!(shown["address"], "02:00:00:00:00:07");
}

#[test]
fn a_failed_add_leaves_nothing() {
    enter();
    let (status, errors) = refused("dev add tun0 --mode tun --mtu 70000 --up");
    assert!(matches!(status, 2 | 7), "{status}: {errors}");
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()));
}

#[test]
fn set_changes_and_says_what_was_done() {
    enter();
    run("ip link add br0 type bridge");
    adit("dev add tap0 --mode tap");
    let line = "dev set tap0 --name tap9 --mtu 1300 --txqueuelen 5 --alias y --master br0 \
                --mac 02:00:00:00:00:09 --group 0 --user 0 --add-addr 192.0.2.1/24 --up \
                --add-route 198.51.100.0/24,via=192.0.2.9";
    let device = adit_json(line);
    assert_eq!(device["ifname"], "tap9");
    let shown = &json("ip -d -j link show tap9")[0];
    assert_eq!((&shown["mtu"], &shown["txqlen"]), (&Value::from(1300), &Value::from(5)));
    assert_eq!((&shown["ifalias"], &shown["master"]), (&Value::from("y"), &Value::from("br0")));
    assert_eq!(shown["address"], "02:00:00:00:00:09");
    assert_eq!(shown["linkinfo"]["info_data"]["group"], "root");
    assert!(shown["flags"].as_array().unwrap().contains(&Value::from("UP")), "{shown}");
    assert!(run("ip route show dev tap9").contains("198.51.100.0/24 via 192.0.2.9"));

    adit("dev set tap9 --del-route 198.51.100.0/24");
    assert!(!run("ip route show dev tap9").contains("198.51.100.0/24"));
    adit("dev set tap9 --no-master --down --del-addr 192.0.2.1/24 --alias=");
    let shown = &json("ip -d -j addr show tap9")[0];
    assert!(shown.get("master").is_none() && shown.get("ifalias").is_none(), "{shown}");
    assert_eq!(shown["addr_info"], Value::Array(Vec::new()));

    let (status, errors) = refused("dev set tap9 --mtu 1200 --mac 01:00:00:00:00:00");
    assert_eq!(status, 8, "{errors}");
    assert!(errors.contains("  done: set the MTU to 1200\n"), "{errors}");
    assert_eq!(refused("dev set tap9").0, 2);
    adit("dev set tap9 --persist off");
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()), "nobody held it");
}

#[test]
fn a_device_moves_to_another_namespace_and_is_seen_there() {
    enter();
    run("ip netns add other");
    adit("dev add tun0 --mode tun");
    adit("dev set tun0 --move-to other --mtu 1300 --up");
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()));
    let there = adit_json("-n other dev show");
    assert_eq!((&there[0]["ifname"], &there[0]["mtu"]), (&Value::from("tun0"), &Value::from(1300)));
    assert_eq!(adit_json("-n /run/netns/other dev show"), there);
    assert_eq!(adit("-n other dev add tun1 --mode tun"), "tun1\n");
    run("ip -n other link show tun1");
    adit("-n other dev del tun0 tun1");
    run("ip netns del other");
}

#[test]
fn del_goes_on_after_a_failure() {
    enter();
    run("ip link add br0 type bridge");
    adit("dev add tun0 --mode tun");
    adit("dev add tun1 --mode tun");
    let (status, errors) = refused("dev del tun0 br0 tun1");
    assert_eq!(status, 8, "{errors}");
    assert!(errors.contains("br0 is not a TUN or TAP device, but a bridge"), "{errors}");
    assert!(errors.contains("code: ADIT-E0802"), "{errors}");
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()));
    run("ip link show br0");
    assert_eq!(refused("dev del br0").0, 5);
    assert_eq!(refused("dev del nosuch").0, 4);
    adit("dev add tun0 --mode tun");
    assert_eq!(adit_json("dev del tun0")[0]["ifname"], "tun0");
}

#[test]
fn show_lists_the_holders_of_a_device() {
    enter();
    let tun =
        adit_device::DeviceOptions::new(adit_device::Mode::Tun).name("held0".parse().unwrap());
    let device = tun.multi_queue(true).queues(2).alias("a\u{1b}[31mb").open().unwrap();
    let shown = adit_json("dev show held0");
    let holder = &shown[0]["holders"][0];
    assert_eq!(holder["pid"], std::process::id());
    assert!(holder["fds"].as_array().unwrap().len() >= 2, "{holder}");
    assert_eq!(shown[0]["linkinfo"]["info_data"]["numqueues"], 2);
    let detail = adit("dev show held0 -s");
    assert!(detail.contains("held by") && detail.contains("2 attached, 0 disabled"), "{detail}");
    assert!(detail.contains("a\\u{1b}[31mb") && !detail.contains('\u{1b}'), "{detail}");
    assert!(detail.contains("rx (from its program)"), "{detail}");
    let brief = adit("dev show");
    assert!(brief.starts_with("NAME ") && brief.contains("held0"), "{brief}");
    let (status, errors) = refused("dev set held0 --user 0");
    assert_eq!(status, 5, "{errors}");
    assert!(errors.contains(&std::process::id().to_string()), "{errors}");
    drop(device);
}

#[test]
fn the_carrier_goes_on_and_off_while_the_device_is_held() {
    enter();
    let device = adit_device::DeviceOptions::new(adit_device::Mode::Tun)
        .name("tun0".parse().unwrap())
        .up(true)
        .open();
    let carrier = || std::fs::read_to_string("/sys/class/net/tun0/carrier").unwrap();
    adit("dev set tun0 --carrier off");
    assert_eq!(carrier(), "0\n");
    adit("dev set tun0 --carrier on");
    assert_eq!(carrier(), "1\n");
    drop(device.unwrap());
    adit("dev add tun1 --mode tun --up");
    let (status, errors) = refused("dev set tun1 --carrier on");
    assert_eq!(status, 5, "{errors}");
    assert!(errors.contains("no program holds the device"), "{errors}");
}

#[test]
fn dry_runs_do_nothing() {
    enter();
    let lines = adit("--dry-run dev add tun0 --mode tun --addr 192.0.2.1 --peer 192.0.2.2 --up");
    assert_eq!(
        lines,
        "create tun device tun0\nset the owner to 0\nadd address 192.0.2.1 peer 192.0.2.2\n\
         bring it up\nmake it persistent\n"
    );
    let actions = adit_json("--dry-run tuntap add dev tap0 mode tap");
    assert_eq!(actions["actions"][0], "create tap device tap0");
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()));
    adit("dev add tun0 --mode tun");
    assert_eq!(adit("--dry-run dev set tun0 --mtu 1300"), "set the MTU to 1300\n");
    assert_eq!(adit("--dry-run dev del tun0"), "delete device tun0\n");
    adit("--dry-run tuntap del dev tun0 mode tun");
    assert_eq!(adit_json("dev show")[0]["mtu"], 1500);
}

#[test]
fn doctor_finds_this_machine_well() {
    enter();
    let findings = adit_json("doctor");
    assert_eq!(findings["ok"], true, "{findings}");
    let names: Vec<_> = findings["checks"].as_array().unwrap().iter().collect();
    for wanted in ["driver", "node", "capability", "user namespaces", "multi_queue", "trial"] {
        assert!(names.iter().any(|check| check["name"] == wanted), "{wanted}: {findings}");
    }
    assert!(adit("doctor").ends_with("devices can be created here\n"));
    assert_eq!(adit_json("dev show"), Value::Array(Vec::new()), "nothing is left");
}

#[test]
fn doctor_says_whether_the_nat_can_ping() {
    enter();
    let check = || {
        let findings = adit_json("doctor");
        let checks = findings["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "ping sockets").unwrap().clone()
    };
    // The kernel's default: nobody.
    let found = check();
    assert_eq!(found["state"], "limited", "{found}");
    assert!(found["remedy"].as_str().unwrap().contains("net.ipv4.ping_group_range"), "{found}");
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    assert_eq!(check()["state"], "ok");
}

#[test]
fn doctor_says_whether_splices_are_offered() {
    enter();
    let check = |path: &str| {
        let words = ["env", &format!("PATH={path}"), crate::support::ADIT, "-j", "doctor"];
        let output = crate::support::command(words).output().unwrap();
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = findings["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "splice").unwrap().clone()
    };
    let found = check(&std::env::var("PATH").unwrap());
    assert_eq!(found["state"], "ok", "{found}");
    let found = check("/nonexistent");
    assert_eq!(found["state"], "limited", "{found}");
    assert!(found["detail"].as_str().unwrap().contains("nft: No such file"), "{found}");
    assert!(found["remedy"].as_str().unwrap().contains("nftables"), "{found}");
}

/// The kernel refuses a user namespace in a changed root, which no sysctl tells.
#[test]
fn doctor_tries_user_namespaces() {
    enter();
    let check = |findings: &Value| {
        let checks = findings["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == "user namespaces").unwrap().clone()
    };
    assert_eq!(check(&adit_json("doctor"))["state"], "ok");
    run("mount --rbind / /mnt");
    let words = ["chroot", "/mnt", crate::support::ADIT, "-j", "doctor"];
    let output = crate::support::command(words).output().unwrap();
    let found = check(&serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(found["state"], "limited", "{found}");
    let detail = found["detail"].as_str().unwrap();
    assert!(detail.contains("cannot create a user namespace"), "{detail}");
    assert!(
        detail.ends_with("a security module or the container's runtime refuses them"),
        "{detail}"
    );
}

#[test]
fn explain_knows_every_code() {
    let list = adit_json("explain");
    let list = list.as_array().unwrap();
    assert!(list.len() >= 6);
    let codes: Vec<_> = list.iter().map(|entry| entry["code"].as_str().unwrap()).collect();
    assert!(codes.is_sorted(), "{codes:?}");
    for code in codes {
        let one = adit_json(&format!("explain {code}"));
        assert_eq!(one.as_array().unwrap().len(), 1, "{code} is explained once");
        assert!(adit(&format!("explain {}", code.to_lowercase())).contains(code));
    }
    assert_eq!(refused("explain ADIT-E9999").0, 4);
    for errno in ["22", "EINVAL", "einval"] {
        let text = adit(&format!("explain {errno}"));
        assert!(text.starts_with("EINVAL: Invalid argument (errno 22)"), "{text}");
    }
}

#[test]
fn completions_are_made() {
    let folder = std::env::temp_dir().join(format!("adit-completions-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let scripts = [("bash", "complete -F"), ("zsh", "#compdef adit"), ("fish", "complete -c adit")];
    for (shell, wanted) in scripts {
        let script = adit(&format!("completions {shell}"));
        assert!(script.contains(wanted), "{shell}");
        let path = folder.join(shell);
        std::fs::write(&path, script).unwrap();
        // -n: each shell reads it and runs nothing.
        run(&format!("{shell} -n {}", path.display()));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Each shell completes names that exist now, by the functions of its script.
#[test]
fn shells_complete_the_names_that_exist() {
    enter();
    run("ip netns add blue");
    adit("dev add tapa --mode tap");
    adit("dev add tapb --mode tap");
    run("ip link add tap$(id) type veth peer name other");
    let path = std::path::Path::new(crate::support::ADIT).parent().unwrap().display().to_string();
    let path = format!("{path}:{}", std::env::var("PATH").unwrap());
    for shell in ["bash", "zsh", "fish"] {
        std::fs::write(format!("/run/{shell}"), adit(&format!("completions {shell}"))).unwrap();
    }
    let complete = |shell: &str, line: &str| -> Vec<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let script = match shell {
            "bash" => format!(
                "source /run/bash; compopt() {{ :; }}; COMP_LINE='{line}' COMP_POINT={} \
                 COMP_WORDS=({line}) COMP_CWORD={}; _adit_with_names adit '{}' ''; \
                 printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                line.len(),
                words.len() - 1,
                words.last().unwrap()
            ),
            // Outside of its editor zsh has no compadd: this one prints the names that begin with the word.
            "zsh" => format!(
                "compdef() {{ }}; compadd() {{ print -l -- ${{(M)names:#$PREFIX*}} }}; source /run/zsh; \
                 words=({line}) CURRENT={} PREFIX='{}'; _adit",
                words.len(),
                words.last().unwrap()
            ),
            _ => format!("source /run/fish; complete -C '{line}'"),
        };
        let mut command = crate::support::command([shell, "-c", &script]);
        let output = command.env("PATH", &path).env("HOME", "/run").output().unwrap();
        let lines = text(&output.stdout);
        let names = lines.lines().map(|line| line.split('\t').next().unwrap().to_owned());
        names.filter(|name| !name.is_empty()).collect()
    };
    for shell in ["bash", "zsh", "fish"] {
        // bash replaces what follows the colon.
        let port =
            |name: &str| if shell == "bash" { name.to_owned() } else { format!("tap:{name}") };
        for (line, names) in [
            ("adit dev set tap", vec!["tapa".to_owned(), "tapb".to_owned()]),
            ("adit dev del tapa tapb", vec!["tapb".to_owned()]),
            ("adit switch --port tap:tapa", vec![port("tapa")]),
            ("adit netem --preset star", vec!["starlink".to_owned()]),
            ("adit -n bl", vec!["blue".to_owned()]),
            // Not the one that a shell would run.
            ("adit capture tap", vec!["tapa".to_owned(), "tapb".to_owned()]),
        ] {
            assert_eq!(complete(shell, line), names, "{shell}: {line}");
        }
    }
    // What is no name is completed as before.
    let subcommands = complete("bash", "adit tunnel inv");
    assert_eq!(subcommands, ["invite"]);
    assert!(complete("fish", "adit tunnel inv").contains(&"invite".to_owned()));
    assert!(complete("bash", "adit switch --port ta").contains(&"tap:".to_owned()));
    run("ip netns del blue");
}

#[test]
fn colours_only_when_they_are_wanted() {
    enter();
    adit("dev add tun0 --mode tun");
    assert!(!adit("dev show").contains('\u{1b}'));
    assert!(adit("--color always dev show").contains('\u{1b}'));
    assert!(!adit("--color never dev show tun0").contains('\u{1b}'));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let line = format!("{} completions bash | true; echo ${{PIPESTATUS[0]}}", crate::support::ADIT);
    let output = crate::support::command(["bash", "-c", &line]).output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert!(["0\n", "141\n"].contains(&text(&output.stdout).as_str()));
    let help = try_adit(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Exit status:"));
}

/// Runs `adit` as user 65534 without any privilege.
fn as_nobody(adit: &str, line: &str) -> std::process::Output {
    let setpriv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let words = setpriv.into_iter().chain(["--inh-caps=-all", adit]);
    crate::support::command(words.chain(line.split(' '))).output().unwrap()
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_an_owner_without_privilege_deletes_its_device() {
    enter();
    let program = crate::support::adit_of_all();
    adit("dev add mine0 --mode tun --user 65534");
    adit("dev add mine1 --mode tap --user 65534 --multi-queue --vnet-hdr");
    adit("dev add theirs0 --mode tun --user 0");
    // Who holds a device is visible to root only; one that is up without a carrier is held by nobody.
    run("ip link set dev theirs0 up");
    run("ip link set dev mine0 up");
    let mut capture = crate::support::bare(crate::support::ADIT);
    capture.args(["capture", "theirs0", "--for", "90s"]);
    let mut capture = capture.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while adit_json("dev show theirs0")[0]["holders"] == value!([]) {
        assert!(Instant::now() < end, "nobody holds it");
    }
    let shown = as_nobody(program, "dev show");
    let table = text(&shown.stdout);
    let held_by = |name: &str| {
        let row = table.lines().find(|row| row.starts_with(name)).unwrap();
        row.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(["theirs0", "mine0", "mine1"].map(held_by), ["?", "-", "-"], "{table}");
    assert!(text(&shown.stderr).contains("only root sees them"), "{}", text(&shown.stderr));
    assert!(text(&as_nobody(program, "dev show theirs0").stdout).contains("held by      ?: "));
    let json: Value =
        serde_json::from_slice(&as_nobody(program, "-j dev show theirs0").stdout).unwrap();
    assert_eq!(json[0]["holders_partial"], true);
    capture.kill().and_then(|()| capture.wait()).unwrap();
    let refused = as_nobody(program, "dev add new0 --mode tun");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("CAP_NET_ADMIN"), "{}", text(&refused.stderr));
    let refused = as_nobody(program, "dev del theirs0");
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    let deleted = as_nobody(program, "dev del mine0 mine1");
    assert!(deleted.status.success(), "{}", text(&deleted.stderr));
    let left = adit_json("dev show");
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let doctor = as_nobody(program, "doctor");
    assert!(text(&doctor.stdout).contains("limited  capability"), "{}", text(&doctor.stdout));
}

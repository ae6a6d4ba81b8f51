//! Labs that are killed.

use crate::support::{PATIENCE, begin, done, interface, node, program, start, veth};
use adit_device::Netns;
use adit_device::process::Child;
use adit_lab::keeper::{NodeKey, Order};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, getpid, set_child_subreaper, wait};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The nodes of a lab that is killed.
const NODES: u32 = 8;

/// How many network namespaces are counted.
const NAMESPACES: usize = 50;

/// The longest time before a kill: about as long as a lab takes to start, and a little more.
const LIFE_MAX: Duration = Duration::from_millis(80);

pub(crate) fn nothing_is_left_after_a_kill() {
    kill_at_random(8);
}

pub(crate) fn long_nothing_is_left_after_many_kills() {
    kill_at_random(50);
}

fn lab() {
    let mut keeper = start();
    let tap = |key| Order::Tap(NodeKey(key), interface("eth0", &["10.0.0.1/24"]));
    done(&mut keeper, (1..=NODES).flat_map(|key| [node(key), tap(key)]));
    let link = |key| veth((key, interface("eth1", &[])), (key + 1, interface("eth2", &[])));
    done(&mut keeper, (1..NODES).map(link));
    for key in 1..=NODES {
        begin(&mut keeper, program(key, key, "setsid sleep 1000 & exec sleep 1000"));
    }
    std::thread::sleep(PATIENCE);
}

fn kill_at_random(count: u32) {
    // Orphans become our children: whether one is left is seen by waiting.
    set_child_subreaper(Some(getpid())).unwrap();
    let before = room();
    for number in 0..count {
        let share = RandomState::new().hash_one(number) % 1000;
        let life = LIFE_MAX * u32::try_from(share).unwrap() / 1000;
        let child = Child::fork(|| {
            lab();
            0
        });
        let child = child.unwrap();
        std::thread::sleep(life);
        child.signal(Signal::KILL).unwrap();
        assert_eq!(child.wait().unwrap(), 128 + 9, "the lab failed before");
        nobody_is_left(life);
    }
    // The kernel frees namespaces in the background.
    let until = Instant::now() + PATIENCE;
    while room() < before {
        assert!(Instant::now() < until, "a namespace is left: room for {} of {before}", room());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many network namespaces can be made until there are so many.
fn room() -> usize {
    let limit = "/proc/sys/user/max_net_namespaces";
    let usual = fs::read_to_string(limit).unwrap();
    fs::write(limit, NAMESPACES.to_string()).unwrap();
    let made: Vec<_> = (0..NAMESPACES).map_while(|_| Netns::new_anonymous().ok()).collect();
    fs::write(limit, usual).unwrap();
    made.len()
}

fn nobody_is_left(life: Duration) {
    let until = Instant::now() + PATIENCE;
    loop {
        match wait(WaitOptions::NOHANG) {
            Err(Errno::CHILD) => return,
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < until, "killed after {life:?}: a process is left");
        std::thread::sleep(Duration::from_millis(1));
    }
}
